//! What a page reports of itself: the bodies of touch and leave, and what a page request says by its headers.

use super::Headers;
use super::problem::Problem;
use super::route::GifTouch;
use crate::config::{Globs, PrivatePaths};
use crate::identity::origin::{is_never_kept, is_page};
use crate::presence::id::{PagePath, TabId, TabName, Title, Topic, UserId};
use crate::presence::member::{Place, State};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The most bytes that a touch or a leave may have.
pub const MAX_BODY: usize = 4096;

/// What a page tells of itself, apart from who looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Where the visitor is.
    pub place: Option<Place>,
    /// The tab that reports.
    pub tab: Option<TabId>,
    /// Whether they are looking.
    pub state: State,
    /// Whether a page was shown, or reports itself: no other request brings anybody in.
    pub arrives: bool,
}

#[derive(Deserialize, Default)]
struct TouchBody {
    path: Option<String>,
    title: Option<String>,
    tab: Option<String>,
    state: Option<State>,
    topic: Option<String>,
}

#[derive(Deserialize, Default)]
struct LeaveBody {
    tab: Option<String>,
}

impl Seen {
    /// Reads the body of a touch. An empty one is a touch that says nothing more.
    ///
    /// # Errors
    /// 400 where it is no JSON object, or a field is out of bounds.
    pub fn from_body(body: &[u8]) -> Result<Self, Problem> {
        let body: TouchBody = json(body, MAX_BODY)?;
        let tab = body.tab.as_deref().map(tab_id).transpose()?;
        let place = place(body.path.as_deref(), body.title, body.topic)?;
        Ok(Self { place, tab, state: body.state.unwrap_or_default(), arrives: true })
    }

    /// Reads the query of `touch.gif`.
    ///
    /// # Errors
    /// 400 where a parameter is out of bounds.
    pub fn from_gif(touch: GifTouch) -> Result<Self, Problem> {
        let place = place(touch.path.as_deref(), touch.title, touch.topic)?;
        Ok(Self { place, arrives: true, ..Self::default() })
    }
}

impl Seen {
    /// The same without the place, if that is private: neither path nor title nor topic goes any further.
    pub fn without_private(self, private: &PrivatePaths) -> Self {
        let place = self.place.map(|place| if private.cover(&place.path) { Place::nowhere() } else { place });
        Self { place, ..self }
    }
}

/// What becomes of a topic that a page reports of itself: anybody may report anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReportedTopic {
    /// It is taken.
    Taken,
    /// It is taken if this user is known.
    IfKnown(UserId),
    /// It is left out.
    LeftOut,
}

impl ReportedTopic {
    /// Judges a topic, where `topics` tells which a page may report.
    pub fn of(topic: &Topic, topics: &Globs) -> Self {
        match topic.as_str().strip_prefix("user:") {
            _ if !topics.matches(topic.as_str()) => Self::LeftOut,
            Some(user) => UserId::parse(user).map_or(Self::LeftOut, Self::IfKnown),
            None => Self::Taken,
        }
    }
}

/// Reads the body of a leave: which tab, if it says.
///
/// # Errors
/// 400 where it is no JSON object, or the tab is out of bounds.
pub fn leave_from_body(body: &[u8]) -> Result<Option<TabId>, Problem> {
    let body: LeaveBody = json(body, MAX_BODY)?;
    body.tab.as_deref().map(tab_id).transpose()
}

/// What somebody who watches sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// As `POST touch`.
    Touch(Seen),
    /// As `POST leave`.
    Leave(Option<TabId>),
}

impl Sent {
    /// Reads a message.
    ///
    /// # Errors
    /// 400 where it is no JSON object of a type that there is, or a field is out of bounds; 413 where it is too long.
    pub fn from_message(text: &str) -> Result<Self, Problem> {
        #[derive(Deserialize, Default)]
        struct Type {
            r#type: Option<String>,
        }
        let kind: Type = json(text.as_bytes(), MAX_BODY)?;
        match kind.r#type.as_deref() {
            Some("touch") => Ok(Self::Touch(Seen::from_body(text.as_bytes())?)),
            Some("leave") => Ok(Self::Leave(leave_from_body(text.as_bytes())?)),
            _ => Err(Problem::BadRequest("the type must be touch or leave".into())),
        }
    }
}

/// What a request for a page of the site means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageRequest {
    /// Somebody opens a document: that is where they are.
    Document,
    /// An image, a script, a call, or a document that another site has posted to, which comes without the cookies of whoever it is
    /// of: whoever is here already still is.
    Part,
    /// The browser fetches ahead, and nobody has looked yet; or the page of another site shows something of this one; or nothing
    /// is shown, as of `HEAD` and `OPTIONS`.
    Unseen,
}

impl PageRequest {
    /// Tells them apart by the fetch metadata, or by what is accepted where a browser sends none.
    pub fn of(method: &str, request: &impl Headers) -> Self {
        let ahead = |name: &'static str| {
            let purpose = request.get(name).unwrap_or_default().to_ascii_lowercase();
            ["prefetch", "prerender", "preview"].iter().any(|other| purpose.contains(other))
        };
        if matches!(method, "HEAD" | "OPTIONS")
            || ["sec-purpose", "purpose", "x-moz", "x-purpose"].into_iter().any(ahead)
        {
            return Self::Unseen;
        }
        let cross_site = || request.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        match opens_document(request) {
            true if method == "GET" || !cross_site() => Self::Document,
            false if cross_site() => Self::Unseen,
            _ => Self::Part,
        }
    }
}

/// Headers by which a page's own script tells that it is what asks for a part of one.
const SCRIPTED: [&str; 4] = ["x-pjax", "hx-request", "turbo-frame", "x-up-version"];

/// Whether a browser opens a document by a request. Of one that sends no fetch metadata it is taken for granted where it accepts
/// pages, and no script says that it asks.
pub fn opens_document(request: &impl Headers) -> bool {
    // A browser inside an app names the app there.
    let by_xhr = || request.get("x-requested-with").is_some_and(|by| by.eq_ignore_ascii_case("XMLHttpRequest"));
    let opens = match request.get("sec-fetch-dest") {
        Some(destination) => destination == "document",
        None => request.get("accept").is_some_and(|accept| accept.contains("text/html")),
    };
    opens && !by_xhr() && !SCRIPTED.iter().any(|name| request.has(name))
}

/// What an answer to such a request shows its visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Nothing: nobody has looked at it, or only where another site shows it.
    Nothing,
    /// What belongs to a page, or leads to one: they are where they were.
    Part,
    /// A page, which is where they are from now on.
    Page,
    /// A page of which nobody is to be told that they are there.
    Nowhere,
}

impl Shows {
    /// By the request, and what was answered; `is_place` is whether the site lets the page be told.
    pub fn of(method: &str, request: &impl Headers, status: u16, answer: &impl Headers, is_place: bool) -> Self {
        match PageRequest::of(method, request) {
            PageRequest::Unseen => Self::Nothing,
            PageRequest::Part => Self::Part,
            PageRequest::Document if !is_page_shown(status, answer) => Self::Part,
            PageRequest::Document if status < 400 && is_place && !is_never_kept(answer) => Self::Page,
            // An error page stands in the place of the page that was asked for.
            PageRequest::Document => Self::Nowhere,
        }
    }
}

/// Whether a browser that asked for a document shows the answer as a page: a redirect leads on to another, an answer without
/// content and a download leave it where it was, and a picture or a film is none.
fn is_page_shown(status: u16, answer: &impl Headers) -> bool {
    let leads_on = (300..400).contains(&status) && status != 304;
    let stays = leads_on || matches!(status, 204 | 205) || is_download(answer);
    // Without a type a browser takes it for a page, and a page that it has kept needs not be told again what it is.
    !stays && answer.get("content-type").is_none_or(|kind| is_page(&kind))
}

/// Whether a browser saves the answer instead of showing it.
pub(super) fn is_download(answer: &impl Headers) -> bool {
    answer
        .get("content-disposition")
        .is_some_and(|value| !value.trim_start().get(..6).is_some_and(|kind| kind.eq_ignore_ascii_case("inline")))
}

/// The place that a page request names: nowhere, where the page is private or its path too long to be kept.
pub fn place_of_request(path: &str, topic: Option<Topic>, private: &PrivatePaths) -> Place {
    let path = PagePath::reported(path).ok().filter(|path| !private.cover(path));
    path.map_or_else(Place::nowhere, |path| Place { path, title: None, topic })
}

/// Reads a body of at most `limit` bytes; an empty one says nothing.
pub(super) fn json<T: for<'de> Deserialize<'de> + Default>(body: &[u8], limit: usize) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    if body.len() > limit {
        return Err(Problem::TooLarge(limit));
    }
    // An array of the right values would pass for a struct.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::BadRequest("the body must be a JSON object".into()));
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::BadRequest(format!("the body must be a JSON object: {error}")))
}

fn place(path: Option<&str>, title: Option<String>, topic: Option<String>) -> Result<Option<Place>, Problem> {
    let title = title.as_deref().and_then(Title::shown);
    let topic = topic.filter(|topic| !topic.is_empty()).map(Topic::parse).transpose()?;
    // A title or a topic without a path is of no page that could be told, and one with a path that is too long to be kept is not
    // either.
    match path {
        Some(path) if PagePath::is_too_long(path) => Ok(Some(Place::nowhere())),
        Some(path) => Ok(Some(Place { path: PagePath::reported(path)?, title, topic })),
        None => Ok(None),
    }
}

/// A tab by the name that it gave itself.
pub(super) fn tab_id(name: &str) -> Result<TabId, Problem> {
    let name = TabName::parse(name)?;
    let digest = Sha256::digest(name.as_str());
    Ok(TabId(digest.iter().take(4).fold(0, |id, byte| id << 8 | u32::from(*byte))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(body: &str) -> u16 {
        Seen::from_body(body.as_bytes()).map_or_else(|problem| problem.status(), |_| 204)
    }

    #[test]
    fn a_touch_says_where_and_whether_anybody_looks() {
        let touch = Seen::from_body(
            br#"{"path":"/a?q=1","title":" A ","tab":"t1","state":"away","topic":"user:sally","new":1}"#,
        );
        let touch = touch.unwrap();
        let place = touch.place.unwrap();
        assert_eq!((place.path.as_str(), place.title.unwrap().as_str()), ("/a", "A"));
        assert_eq!(place.topic.unwrap().as_str(), "user:sally");
        assert_eq!((touch.state, touch.tab.is_some()), (State::Away, true));
        let bare = Seen { arrives: true, ..Seen::default() };
        assert_eq!(Seen::from_body(b"{}").unwrap(), bare);
        assert_eq!(Seen::from_body(b"").unwrap(), bare);
    }

    #[test]
    fn a_title_is_cleaned_and_cut_and_a_blank_one_is_none() {
        let title = |title: &str| {
            let body = serde_json::json!({ "path": "/", "title": title }).to_string();
            Seen::from_body(body.as_bytes()).unwrap().place.unwrap().title.map(String::from)
        };
        assert_eq!(title("\u{202e}A\n  B ").as_deref(), Some("A B"));
        assert_eq!(title(&"é".repeat(200)), Some("é".repeat(128)));
        assert_eq!(title("\u{200b} "), None);
    }

    #[test]
    fn a_page_that_is_not_to_be_kept_is_nowhere_and_a_redirect_leads_on() {
        let (page, part) = ([("sec-fetch-dest", "document")], [("sec-fetch-dest", "style")]);
        let (kept, unkept) = ([("cache-control", "private")], [("cache-control", "no-store")]);
        assert_eq!(Shows::of("GET", &page, 200, &kept, true), Shows::Page);
        assert_eq!(Shows::of("GET", &page, 304, &kept, true), Shows::Page);
        assert_eq!(Shows::of("GET", &page, 200, &unkept, true), Shows::Nowhere);
        assert_eq!(Shows::of("GET", &page, 200, &kept, false), Shows::Nowhere);
        assert_eq!(Shows::of("GET", &page, 302, &unkept, false), Shows::Part);
        assert_eq!(Shows::of("GET", &part, 200, &unkept, false), Shows::Part);
        assert_eq!(Shows::of("GET", &[("sec-purpose", "prefetch")], 200, &unkept, true), Shows::Nothing);
    }

    #[test]
    fn a_private_page_is_nowhere_however_it_is_reported() {
        let private = PrivatePaths::default();
        let topic = || Topic::parse("group:42").ok();
        assert_eq!(place_of_request("/Account/mail", topic(), &private), Place::nowhere());
        assert_eq!(place_of_request(&format!("/{}", "x".repeat(512)), topic(), &private), Place::nowhere());
        assert_eq!(place_of_request("/a;b", topic(), &private).path.as_str(), "/a");
        let body = br#"{"path":"/%61ccount","title":"Sally's account","topic":"group:42","tab":"1"}"#;
        let seen = Seen::from_body(body).unwrap().without_private(&private);
        assert!(seen.place.as_ref().is_some_and(Place::is_nowhere) && seen.tab.is_some());
        let told = Seen::from_body(br#"{"path":"/a"}"#).unwrap();
        assert_eq!(told.clone().without_private(&private), told);
    }

    #[test]
    fn a_bad_touch_is_refused_by_what_is_wrong() {
        for (body, expected) in [
            ("{", 400),
            ("[]", 400),
            ("null", 400),
            ("\"a\"", 400),
            (r#"["/a"]"#, 400),
            (r#"{"path":"a"}"#, 400),
            (r#"{"path":1}"#, 400),
            (r#"{"state":"asleep"}"#, 400),
            (r#"{"title":"no path"}"#, 204),
            (r#"{"tab":""}"#, 400),
            (r#"{"path":"/","path":"/"}"#, 400),
            (&format!(r#"{{"path":"/{}"}}"#, "x".repeat(511)), 204),
            (&format!(r#"{{"path":"/{}"}}"#, "x".repeat(512)), 204),
            (&format!(r#"{{"path":"/","title":"{}"}}"#, "x".repeat(256)), 204),
            (&format!(r#"{{"path":"/","title":"{}"}}"#, "x".repeat(257)), 204),
            (&format!(r#"{{"x":"{}"}}"#, "x".repeat(4096)), 413),
        ] {
            assert_eq!(status(body), expected, "{body}");
        }
    }

    #[test]
    fn a_page_may_report_topics_that_the_setting_lists_and_users_who_are_known() {
        let of = |topics: &str, topic: &str| {
            ReportedTopic::of(&Topic::parse(topic).unwrap(), &Globs::parse("TOPICS", topics).unwrap())
        };
        let sally = || ReportedTopic::IfKnown(UserId::parse("sally").unwrap());
        assert_eq!((of("user:*", "user:sally"), of("user:*", "thread:7")), (sally(), ReportedTopic::LeftOut));
        assert_eq!((of("*", "user:sally"), of("*", "thread:7")), (sally(), ReportedTopic::Taken));
        assert_eq!(
            (of("thread:*", "user:sally"), of("user:*", "user:")),
            (ReportedTopic::LeftOut, ReportedTopic::LeftOut)
        );
    }

    #[test]
    fn a_path_to_another_site_is_refused() {
        for path in ["//evil.example", "/\\\\evil.example", "/%5cevil.example"] {
            assert_eq!(status(&format!(r#"{{"path":"{path}"}}"#)), 400, "{path}");
            assert!(place_of_request(path, None, &PrivatePaths::default()).is_nowhere(), "{path}");
        }
    }

    #[test]
    fn only_documents_are_places_and_what_is_fetched_ahead_is_nothing() {
        use PageRequest::*;
        for (headers, expected) in [
            ([("sec-fetch-dest", "document"), ("accept", "text/html")], Document),
            ([("sec-fetch-dest", "image"), ("accept", "text/html")], Part),
            ([("sec-fetch-dest", "iframe"), ("accept", "text/html")], Part),
            ([("accept", "text/html,*/*"), ("x", "")], Document),
            ([("accept", "*/*"), ("x", "")], Part),
            ([("sec-fetch-dest", "document"), ("sec-purpose", "prefetch;prerender")], Unseen),
            ([("accept", "text/html"), ("purpose", "prefetch")], Unseen),
            ([("accept", "text/html"), ("x-moz", "prefetch")], Unseen),
            ([("accept", "text/html"), ("x-purpose", "Preview")], Unseen),
            ([("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")], Part),
            ([("accept", "text/html"), ("x-requested-with", "com.example.app")], Document),
            ([("accept", "text/html"), ("turbo-frame", "messages")], Part),
            ([("sec-fetch-dest", "document"), ("sec-fetch-site", "cross-site")], Document),
            ([("sec-fetch-dest", "image"), ("sec-fetch-site", "cross-site")], Unseen),
            ([("sec-fetch-dest", "iframe"), ("sec-fetch-site", "cross-site")], Unseen),
            ([("sec-fetch-dest", "manifest"), ("sec-fetch-site", "same-origin")], Part),
        ] {
            assert_eq!(PageRequest::of("GET", &headers), expected, "{headers:?}");
            assert_eq!(PageRequest::of("HEAD", &headers), Unseen, "{headers:?}");
            assert_eq!(PageRequest::of("OPTIONS", &headers), Unseen, "{headers:?}");
        }
        let posted = |site| [("sec-fetch-dest", "document"), ("sec-fetch-site", site)];
        assert_eq!(PageRequest::of("POST", &posted("same-origin")), Document);
        assert_eq!(PageRequest::of("POST", &posted("cross-site")), Part, "it comes without the visitor's cookies");
    }

    #[test]
    fn a_script_that_asks_opens_no_document() {
        assert!(opens_document(&[("sec-fetch-dest", "document")]));
        assert!(opens_document(&[("accept", "text/html")]));
        assert!(!opens_document(&[("sec-fetch-dest", "empty"), ("accept", "text/html")]));
        for name in ["X-Requested-With", "HX-Request", "Turbo-Frame"] {
            assert!(!opens_document(&[("accept", "text/html"), (name, "XMLHttpRequest")]), "{name}");
        }
    }

    #[test]
    fn a_place_is_a_page_that_was_shown() {
        let html = ("content-type", "text/html; charset=utf-8");
        let shows = |status: u16, answer: &[(&str, &str)]| {
            Shows::of("GET", &[("sec-fetch-dest", "document")], status, &answer, true)
        };
        for (status, expected) in [
            (200, Shows::Page),
            (203, Shows::Page),
            (304, Shows::Page),
            (204, Shows::Part),
            (302, Shows::Part),
            (401, Shows::Nowhere),
            (403, Shows::Nowhere),
            (404, Shows::Nowhere),
            (429, Shows::Nowhere),
            (500, Shows::Nowhere),
        ] {
            assert_eq!(shows(status, &[html]), expected, "{status}");
        }
        assert_eq!(shows(200, &[]), Shows::Page, "a browser takes it for one");
        assert_eq!(shows(200, &[html, ("content-disposition", "inline")]), Shows::Page);
        assert_eq!(shows(200, &[html, ("content-disposition", "attachment; filename=a.html")]), Shows::Part);
        for kind in ["application/pdf", "image/png", "application/problem+json", "text/plain"] {
            assert_eq!(shows(200, &[("content-type", kind)]), Shows::Part, "{kind}");
            assert_eq!(shows(404, &[("content-type", kind)]), Shows::Part, "{kind}");
        }
    }

    #[test]
    fn a_page_with_a_long_path_is_nowhere_in_particular_and_a_long_query_changes_nothing() {
        let seen = |path: &str| Seen::from_gif(GifTouch { path: Some(path.into()), title: None, topic: None }).unwrap();
        assert_eq!(seen(&format!("/{}", "ก".repeat(200))).place, Some(Place::nowhere()));
        assert_eq!(seen(&format!("/a?{}", "q".repeat(600))).place.unwrap().path.as_str(), "/a");
        assert!(seen("/").arrives);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused_but_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
            let _ = Seen::from_body(&body);
            let _ = leave_from_body(&body);
            let _ = Seen::from_body(format!("{{\"path\":{text:?}}}").as_bytes());
            let _ = place_of_request(&text, None, &PrivatePaths::default());
        }
    }
}

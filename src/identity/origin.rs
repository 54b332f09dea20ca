//! What the origin says of a visitor by its response headers.

use super::User;
use super::permission::Right;
use crate::http::Headers;
use crate::presence::id::{Avatar, Name, Topic, UserId};
use crate::presence::member::Profile;
use percent_encoding::percent_decode_str;

const USER: &str = "x-presence-user";
const NAME: &str = "x-presence-name";
const AVATAR: &str = "x-presence-avatar";
const PERMS: &str = "x-presence-perms";
const INVISIBLE: &str = "x-presence-invisible";
const TOPIC: &str = "x-presence-topic";
const LOCATION: &str = "x-presence-location";
/// Announces that a page holds blocks, and names the key that their tags bear.
pub const BLOCKS: &str = "x-presence-blocks";
/// Announces that a page holds the widget's elements.
const WIDGET: &str = "x-presence-widget";

/// The headers between the origin and us: the client never sees them, and cannot send them.
pub const HEADERS: [&str; 9] = [USER, NAME, AVATAR, PERMS, INVISIBLE, TOPIC, LOCATION, BLOCKS, WIDGET];

/// What the origin says by the headers of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginAnswer {
    /// Who the visitor is.
    pub claim: OriginClaim,
    /// What the page is about.
    pub topic: Option<Topic>,
    /// Whether the page may be shown as the place where its visitors are; `X-Presence-Location: none` says no.
    pub is_place: bool,
}

impl Default for OriginAnswer {
    fn default() -> Self {
        Self { claim: OriginClaim::Nothing, topic: None, is_place: true }
    }
}

/// Who a visitor is, by the origin's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginClaim {
    /// It says nothing: the visitor is whoever they were.
    Nothing,
    /// Nobody is signed in.
    Nobody,
    /// This user is.
    User(User),
}

/// Reads the headers of the origin's answer to a request of that method.
///
/// An id that is malformed or told twice names nobody; of the other headers, what is malformed is left out. Who the visitor
/// is, is believed only of an answer that was made for this visitor: see [`speaks_for_visitor`]. What a page is about is
/// not believed of one out of a cache.
///
/// Names are cleaned, and a blank one is none.
///
/// That a page is nobody's place is believed wherever it comes from: to leave a place out does no harm.
pub fn read(method: &str, request: &impl Headers, status: u16, response: &impl Headers) -> OriginAnswer {
    let is_place = !response.get(LOCATION).is_some_and(|value| value.trim().eq_ignore_ascii_case("none"));
    if status == 401 || from_cache(response) {
        return OriginAnswer { is_place, ..OriginAnswer::default() };
    }
    let topic = decoded(response, TOPIC).and_then(|topic| Topic::parse(topic).ok());
    let claim = match response.get(USER) {
        Some(id) if speaks_for_visitor(method, request, status, response) => claim(&id, response),
        Some(_) | None => OriginClaim::Nothing,
    };
    OriginAnswer { claim, topic, is_place }
}

/// Whether an answer may say who its visitor is, by naming them or by naming nobody:
///
/// - none that a shared cache may keep, or that comes out of one: it was made for anybody;
/// - none that asks for a password (401), which names whoever the client claims to be, and no failure of the site's (5xx),
///   which may come from what stands before it and knows of no session;
/// - of what a browser asks for by GET, documents alone: a style sheet, a picture or a script may be served without looking
///   who is signed in. It is one by what the browser asks for and by the type of the answer; a redirect and an answer
///   without content go on to one;
/// - any private answer to another method, as a login by `fetch` is one, but not to what a page sends without reading what
///   comes back: beacons and reports.
fn speaks_for_visitor(method: &str, request: &impl Headers, status: u16, response: &impl Headers) -> bool {
    if status == 401 || status == 206 || status >= 500 || from_cache(response) || is_shared(response) {
        return false;
    }
    let (destination, mode) = (request.get("sec-fetch-dest"), request.get("sec-fetch-mode"));
    let fetched = destination.as_deref() == Some("empty");
    let navigates = destination.as_deref().is_some_and(|to| matches!(to, "document" | "iframe" | "frame"));
    if !matches!(method, "GET" | "HEAD") {
        return destination.is_none() || navigates || (fetched && mode.as_deref() != Some("no-cors"));
    }
    let accept = request.get("accept").unwrap_or_default();
    let takes_pages = accept.contains("text/html");
    let asks = match destination {
        None => takes_pages || accept.is_empty() || accept.trim() == "*/*",
        // As pages do that load the next one by a script.
        Some(_) if fetched => takes_pages,
        Some(_) => navigates,
    };
    let leads_on = (300..400).contains(&status) || status == 204;
    let named_page = response.get("content-type").map(|kind| is_page(&kind));
    // Without a type a browser that asks for a page takes it for one.
    asks && named_page.unwrap_or(navigates) || (navigates || takes_pages) && asks && leads_on
}

/// Whether a content type is that of a page.
pub fn is_page(content_type: &str) -> bool {
    let kind = content_type.split([';', ',']).next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"].iter().any(|page| kind.eq_ignore_ascii_case(page))
}

fn claim(id: &str, response: &impl Headers) -> OriginClaim {
    if id.trim().is_empty() {
        return OriginClaim::Nobody;
    }
    // Encoded ids have no comma: two headers were joined, and which is right nobody knows.
    let id = Some(id).filter(|id| !id.contains(',')).and_then(decode).and_then(|id| UserId::parse(id).ok());
    let Some(id) = id else { return OriginClaim::Nothing };
    let profile = Profile {
        name: decoded(response, NAME).and_then(|name| Name::shown(&name)),
        avatar: decoded(response, AVATAR).and_then(|avatar| Avatar::parse(avatar).ok()),
        invisible: response.get(INVISIBLE).is_some_and(|value| value.trim() == "1"),
    };
    let perms = response.get(PERMS).unwrap_or_default();
    let perms: Vec<_> = perms.split(',').filter_map(decode).collect();
    let perms = Right::parse_all(perms.iter().map(String::as_str));
    OriginClaim::User(User { id, profile: Some(profile), perms })
}

fn decoded(response: &impl Headers, name: &'static str) -> Option<String> {
    decode(&response.get(name)?)
}

/// Whether a shared cache may keep the answer (RFC 9111, 3): then nothing of one visitor's may be put into it.
pub fn is_shared(response: &impl Headers) -> bool {
    let control = response.get("cache-control").unwrap_or_default().to_ascii_lowercase();
    let parts = || control.split(',').map(str::trim);
    let fresh = |part: &str| {
        part == "public" || part.starts_with("s-maxage") || part.strip_prefix("max-age=").is_some_and(|age| age != "0")
    };
    let for_caches = ["cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"];
    let private = parts().any(|part| part.starts_with("private") || part == "no-store");
    !private && (parts().any(fresh) || for_caches.iter().any(|name| response.has(name)))
}

/// Whether nobody may keep the answer (RFC 9111, 5.2.2.5): so sites mark what is one visitor's business, and nobody is told that
/// they are there.
pub fn is_never_kept(response: &impl Headers) -> bool {
    let control = response.get("cache-control").unwrap_or_default();
    control.split(',').any(|part| part.trim().eq_ignore_ascii_case("no-store"))
}

fn from_cache(response: &impl Headers) -> bool {
    let status = response.get("cf-cache-status").unwrap_or_default().to_ascii_uppercase();
    let aged = response.get("age").is_some_and(|age| age.trim() != "0");
    matches!(status.as_str(), "HIT" | "STALE" | "UPDATING" | "REVALIDATED") || aged
}

fn decode(value: &str) -> Option<String> {
    Some(percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pairs<'a> = &'a [(&'static str, &'a str)];

    /// What is read of the answer to a navigation.
    fn read(status: u16, response: Pairs<'_>) -> OriginAnswer {
        super::read("GET", &[("sec-fetch-dest", "document")], status, &response)
    }

    #[test]
    fn a_user_is_told_by_encoded_headers() {
        let OriginAnswer { claim, topic, .. } = read(
            200,
            &[
                ("X-Presence-User", "s%C3%A4lly"),
                ("X-Presence-Name", "Sally%20M."),
                ("X-Presence-Avatar", "/a.png"),
                ("X-Presence-Perms", "can_edit, mail@a%2Cb,, %20"),
                ("X-Presence-Invisible", "1"),
                ("X-Presence-Topic", "user:bob"),
            ],
        );
        let OriginClaim::User(user) = claim else { panic!("a user") };
        assert_eq!(user.id.as_str(), "sälly");
        let profile = user.profile.unwrap();
        assert_eq!(profile.name.unwrap().as_str(), "Sally M.");
        assert_eq!(user.perms, Right::parse_all(["can_edit", "mail@a,b"]));
        assert!(profile.invisible);
        assert_eq!(topic.unwrap().as_str(), "user:bob");
    }

    #[test]
    fn an_empty_id_means_that_nobody_is_signed_in() {
        assert_eq!(read(200, &[("x-presence-user", "")]).claim, OriginClaim::Nobody);
        assert_eq!(read(200, &[("x-presence-name", "Sally")]).claim, OriginClaim::Nothing);
    }

    #[test]
    fn what_is_malformed_names_nobody() {
        for id in ["%FF", "a%0Ab", "sally, bob", &"x".repeat(129)] {
            assert_eq!(read(200, &[("x-presence-user", id)]).claim, OriginClaim::Nothing, "{id}");
        }
        let OriginAnswer { claim, .. } = read(
            200,
            &[("x-presence-user", "sally"), ("x-presence-avatar", "javascript:x"), ("x-presence-name", "%00")],
        );
        let OriginClaim::User(user) = claim else { panic!("a user") };
        assert_eq!(user.profile, Some(Profile::default()));
    }

    #[test]
    fn an_answer_out_of_a_cache_names_nobody() {
        for header in [("CF-Cache-Status", "HIT"), ("Age", "12"), ("cf-cache-status", "stale")] {
            assert_eq!(read(200, &[("x-presence-user", "sally"), header]).claim, OriginClaim::Nothing);
        }
        assert_ne!(
            read(200, &[("x-presence-user", "sally"), ("cf-cache-status", "DYNAMIC")]).claim,
            OriginClaim::Nothing
        );
    }

    #[test]
    fn an_answer_that_asks_for_a_password_names_nobody() {
        assert_eq!(read(401, &[("x-presence-user", "sally")]).claim, OriginClaim::Nothing);
        assert_ne!(read(403, &[("x-presence-user", "sally")]).claim, OriginClaim::Nothing);
    }

    #[test]
    fn a_shared_answer_is_told_by_its_cache_control() {
        for (control, shared) in [
            ("public, max-age=60", true),
            ("s-maxage=5", true),
            ("private", false),
            ("", false),
            ("max-age=9", true),
            ("private, max-age=9", false),
            ("max-age=0", false),
            ("no-store, max-age=9", false),
        ] {
            assert_eq!(is_shared(&[("cache-control", control)]), shared, "{control}");
        }
    }

    #[test]
    fn what_nobody_may_keep_is_told_by_its_cache_control() {
        for (control, never) in
            [("no-store", true), ("private, No-Store", true), ("no-cache", false), ("max-age=9, x-no-store=1", false)]
        {
            assert_eq!(is_never_kept(&[("cache-control", control)]), never, "{control}");
        }
    }

    #[test]
    fn a_page_can_say_that_it_is_nobodys_place() {
        for (value, is_place) in [("none", false), (" None ", false), ("", true), ("here", true)] {
            assert_eq!(read(200, &[("x-presence-location", value)]).is_place, is_place, "{value:?}");
        }
        assert!(!read(200, &[("x-presence-location", "none"), ("age", "9")]).is_place, "out of a cache, too");
    }

    #[test]
    fn only_an_answer_that_was_made_for_its_visitor_says_who_they_are() {
        const HTML: (&str, &str) = ("content-type", "text/html; charset=utf-8");
        const JSON: (&str, &str) = ("content-type", "application/json");
        const CSS: (&str, &str) = ("content-type", "text/css");
        const DOCUMENT: (&str, &str) = ("sec-fetch-dest", "document");
        const EMPTY: (&str, &str) = ("sec-fetch-dest", "empty");
        const STYLE: (&str, &str) = ("sec-fetch-dest", "style");
        const PAGES: (&str, &str) = ("accept", "text/html,application/xhtml+xml");
        const ANY: (&str, &str) = ("accept", "*/*");
        const PRIVATE: (&str, &str) = ("cache-control", "private");
        const PUBLIC: (&str, &str) = ("cache-control", "public, max-age=60");
        let believed: &[(&str, Pairs<'_>, u16, Pairs<'_>)] = &[
            ("GET", &[DOCUMENT], 200, &[HTML]),
            ("GET", &[DOCUMENT], 200, &[]),
            ("GET", &[DOCUMENT], 404, &[HTML, PRIVATE]),
            ("GET", &[DOCUMENT], 403, &[HTML]),
            ("GET", &[DOCUMENT], 304, &[]),
            ("GET", &[DOCUMENT], 302, &[("content-type", "text/plain")]),
            ("GET", &[DOCUMENT], 204, &[]),
            ("GET", &[DOCUMENT], 200, &[("content-type", "Application/XHTML+XML")]),
            ("GET", &[("sec-fetch-dest", "iframe")], 200, &[HTML]),
            ("GET", &[PAGES], 200, &[HTML]),
            ("GET", &[ANY], 200, &[HTML]),
            ("GET", &[], 200, &[HTML]),
            ("GET", &[PAGES], 302, &[]),
            ("GET", &[EMPTY, PAGES], 200, &[HTML]),
            ("HEAD", &[DOCUMENT], 200, &[HTML]),
            ("POST", &[DOCUMENT], 302, &[]),
            ("POST", &[EMPTY, ("sec-fetch-mode", "cors")], 200, &[JSON]),
            ("POST", &[EMPTY, ("sec-fetch-mode", "same-origin")], 204, &[]),
            ("DELETE", &[EMPTY], 200, &[JSON, ("cache-control", "no-store")]),
            ("POST", &[ANY], 200, &[JSON]),
        ];
        let refused: &[(&str, Pairs<'_>, u16, Pairs<'_>)] = &[
            ("GET", &[STYLE], 200, &[CSS]),
            ("GET", &[STYLE], 200, &[HTML]),
            ("GET", &[STYLE, PAGES], 200, &[CSS]),
            ("GET", &[STYLE], 302, &[]),
            ("GET", &[("sec-fetch-dest", "image")], 204, &[]),
            ("GET", &[("sec-fetch-dest", "script")], 200, &[HTML]),
            ("GET", &[("sec-fetch-dest", "serviceworker")], 200, &[HTML]),
            ("GET", &[DOCUMENT], 200, &[CSS]),
            ("GET", &[DOCUMENT], 200, &[("content-type", "application/pdf")]),
            ("GET", &[("accept", "text/css,*/*;q=0.1")], 200, &[CSS]),
            ("GET", &[("accept", "text/css,*/*;q=0.1")], 200, &[HTML]),
            ("GET", &[ANY], 200, &[CSS]),
            ("GET", &[ANY], 302, &[]),
            ("GET", &[EMPTY, ANY], 200, &[HTML]),
            ("GET", &[EMPTY, ANY], 200, &[JSON]),
            ("GET", &[DOCUMENT], 200, &[HTML, PUBLIC]),
            ("GET", &[DOCUMENT], 302, &[PUBLIC]),
            ("GET", &[DOCUMENT], 200, &[HTML, ("cdn-cache-control", "max-age=9")]),
            ("GET", &[DOCUMENT], 200, &[HTML, ("age", "3")]),
            ("GET", &[DOCUMENT], 206, &[HTML]),
            ("GET", &[DOCUMENT], 401, &[HTML]),
            ("GET", &[DOCUMENT], 500, &[HTML]),
            ("GET", &[DOCUMENT], 502, &[HTML]),
            ("POST", &[EMPTY, ("sec-fetch-mode", "no-cors")], 204, &[]),
            ("POST", &[("sec-fetch-dest", "report")], 204, &[]),
            ("POST", &[EMPTY], 200, &[JSON, PUBLIC]),
        ];
        for (cases, expected) in [(believed, true), (refused, false)] {
            for (method, request, status, response) in cases {
                for name in ["sally", ""] {
                    let mut response = response.to_vec();
                    response.push(("x-presence-user", name));
                    let said = super::read(method, request, *status, &response.as_slice()).claim;
                    let what = format!("{method} {request:?} {status} {response:?}");
                    assert_eq!(said != OriginClaim::Nothing, expected, "{what}");
                }
            }
        }
    }

    #[test]
    fn what_a_page_is_about_is_believed_of_a_public_one_too() {
        let answer = read(200, &[("x-presence-topic", "thread%3A7"), ("cache-control", "public, max-age=60")]);
        assert_eq!(answer.topic, Topic::parse("thread:7").ok());
    }

    proptest! {
        #[test]
        fn any_headers_are_read_without_a_panic(id in ".{0,150}", name in ".{0,150}", perms in ".{0,150}") {
            let _ = read(200, &[("x-presence-user", id.as_str()), ("x-presence-name", &name), ("x-presence-perms", &perms)]);
        }
    }
}

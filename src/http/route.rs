//! Which request is which. A route holds everything that the path and the query say, parsed.

use super::admin::Admin;
use super::problem::Problem;
use super::report::tab_id;
use crate::identity::permission::Right;
use crate::presence::id::{PagePath, TabId, Topic, UserId};
use crate::presence::member::Kind;
use crate::presence::site::Order;
use crate::presence::time::Timestamp;
use crate::protocol::feed::ENTRIES;
use crate::protocol::live::Watch;
use crate::protocol::query::{DEFAULT_LIMIT, MAX_LIMIT, Query};
use crate::protocol::widget::Script;
use percent_encoding::percent_decode_str;

/// The most users that somebody who watches is told of at once.
pub const MAX_LIVE_LIMIT: usize = 10_000;
/// The most users that can be asked for at once.
pub const MAX_USERS: usize = 100;
/// The most permissions that can be asked for at once.
pub const MAX_CHECKS: usize = 50;
const GET: &str = "GET, HEAD";

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A page of the site: anything outside our base path.
    Page,
    /// A touch with a body.
    Touch,
    /// A touch by an image, with all it says in the query.
    TouchGif(GifTouch),
    /// A page that is being closed.
    Leave,
    /// A question about presence, and how it is to be answered.
    Read(Query, Form),
    /// Whether whoever asks may do these, each as it was asked.
    Permissions(Vec<Right>),
    /// Changes as they happen.
    Live(Live),
    /// What the site's own servers ask.
    Admin(Admin),
    /// What pages load.
    Script(Script),
    /// Whether we are there.
    Health,
    /// Whether a page elsewhere may record a visitor.
    RecordPreflight,
    /// Whether a page elsewhere may read.
    ReadPreflight,
}

/// What somebody wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// What.
    pub watch: Watch,
    /// The version that they know already.
    pub since: Option<u64>,
    /// Which of their tabs this is.
    pub tab: Option<TabId>,
    /// A token, as a page cannot send one with a WebSocket in any other way.
    pub token: Option<String>,
}

/// What a touch by an image says, not yet checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GifTouch {
    /// The page's path.
    pub path: Option<String>,
    /// The page's title.
    pub title: Option<String>,
    /// What the page is about.
    pub topic: Option<String>,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// As JSON.
    Json,
    /// The number alone.
    Text,
    /// A picture.
    BadgeSvg,
    /// What shields.io makes a picture of.
    BadgeJson,
    /// As a feed.
    Atom,
}

impl Route {
    /// Finds the route of a request. `path` and `query` are as in the URL, percent-encoded, without the `?`.
    ///
    /// # Errors
    /// 404 for an address under the base path that means nothing, 405 for another method, 400 for a bad parameter.
    pub fn of(base_path: &str, method: &str, path: &str, query: &str) -> Result<Self, Problem> {
        let Some(rest) = path.strip_prefix(base_path).filter(|rest| rest.is_empty() || rest.starts_with('/')) else {
            return Ok(Self::Page);
        };
        let records = matches!(rest, "/v1/touch" | "/v1/leave");
        match (records, method) {
            (true, "OPTIONS") => return Ok(Self::RecordPreflight),
            (true, "POST") => return Ok(if rest == "/v1/touch" { Self::Touch } else { Self::Leave }),
            (true, _) => return Err(Problem::MethodNotAllowed("POST")),
            (false, "OPTIONS") => return Ok(Self::ReadPreflight),
            _ => {}
        }
        let parameters = Parameters::parse(query);
        if let Some(admin) = Admin::of(rest, method, &parameters) {
            return admin.map(Self::Admin);
        }
        match Self::read(rest, &parameters) {
            Err(problem @ Problem::NotFound(_)) => Err(problem),
            _ if method != "GET" && method != "HEAD" => Err(Problem::MethodNotAllowed(GET)),
            route => route,
        }
    }

    fn read(rest: &str, parameters: &Parameters) -> Result<Self, Problem> {
        Ok(match rest {
            "/v1/online.json" => Self::Read(parameters.online()?, Form::Json),
            "/v1/count.json" => Self::Read(Query::Counts, Form::Json),
            "/v1/count" => Self::Read(Query::Counts, Form::Text),
            "/v1/badge.svg" => Self::Read(Query::Counts, Form::BadgeSvg),
            "/v1/badge.json" => Self::Read(Query::Counts, Form::BadgeJson),
            "/v1/users.json" => Self::Read(parameters.users()?, Form::Json),
            "/v1/pages.json" => Self::Read(Query::Pages(parameters.limit()?), Form::Json),
            "/v1/viewers.json" => match parameters.get("topic") {
                Some(topic) => Self::Read(Query::Viewers(Topic::parse(topic)?, parameters.limit()?), Form::Json),
                None => return Err(Problem::BadRequest("name the topic, as in viewers.json?topic=user:sally".into())),
            },
            "/v1/live" => Self::Live(parameters.live()?),
            "/v1/permissions.json" => Self::Permissions(parameters.checks()?),
            "/feed.atom" => Self::Read(Query::Arrivals(ENTRIES), Form::Atom),
            "/v1/touch.gif" => Self::TouchGif(GifTouch {
                path: parameters.get("path").map(str::to_owned),
                title: parameters.get("title").map(str::to_owned),
                topic: parameters.get("topic").map(str::to_owned),
            }),
            "/badge.svg" => Self::Read(Query::Counts, Form::BadgeSvg),
            "/badge.json" => Self::Read(Query::Counts, Form::BadgeJson),
            "/widget.js" => Self::Script(Script::Widget),
            "/client.js" => Self::Script(Script::Client),
            "/client.d.ts" => Self::Script(Script::ClientTypes),
            "/last-seen.js" => Self::Script(Script::LastSeen),
            "/healthz" | "/v1/healthz" => Self::Health,
            _ => match rest.strip_prefix("/v1/users/").and_then(|rest| rest.strip_suffix(".json")) {
                Some(id) if !id.contains('/') => Self::Read(Query::User(user_id(id)?), Form::Json),
                _ => {
                    return Err(Problem::NotFound(
                        "There is nothing at this address; see the README for what there is.".into(),
                    ));
                }
            },
        })
    }
}

/// A query, decoded. Of a parameter that is repeated, the first counts, but for `id` and `check`, of
/// which all do.
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(super) fn limit(&self) -> Result<usize, Problem> {
        self.limit_to(MAX_LIMIT, DEFAULT_LIMIT)
    }

    fn limit_to(&self, most: usize, otherwise: usize) -> Result<usize, Problem> {
        match self.get("limit") {
            None => Ok(otherwise),
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if limit <= most => Ok(limit),
                _ => Err(Problem::BadRequest(format!("limit must be a whole number from 0 to {most}"))),
            },
        }
    }

    fn live(&self) -> Result<Live, Problem> {
        let names = match self.get("view") {
            None | Some("list") => true,
            Some("count") => false,
            Some(_) => return Err(Problem::BadRequest("view must be list or count".into())),
        };
        let since = self.get("since").map(str::parse).transpose();
        let since = since.map_err(|_| Problem::BadRequest("since must be the version of an earlier message".into()))?;
        let path = self.get("path").map(PagePath::reported).transpose()?;
        let topic = self.get("topic").map(Topic::parse).transpose()?;
        let limit = self.limit_to(MAX_LIVE_LIMIT, MAX_LIMIT)?;
        let tab = self.get("tab").map(tab_id).transpose()?;
        let token = self.get("token").map(str::to_owned);
        Ok(Live { watch: Watch { names, limit, path, topic }, since, tab, token })
    }

    fn online(&self) -> Result<Query, Problem> {
        let kind = match self.get("kind") {
            None | Some("user") => Kind::User,
            Some("guest") => Kind::Guest,
            Some("bot") => Kind::Bot,
            Some(_) => return Err(Problem::BadRequest("kind must be user, guest or bot".into())),
        };
        let after = self.get("cursor").map(read_cursor).transpose()?;
        let path = self.get("path").map(PagePath::reported).transpose()?;
        let topic = self.get("topic").map(Topic::parse).transpose()?;
        Ok(Query::Online { limit: self.limit()?, after, kind, path, topic })
    }

    fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    fn checks(&self) -> Result<Vec<Right>, Problem> {
        let checks = self.all("check");
        if !(1..=MAX_CHECKS).contains(&checks.len()) {
            let rule = format!("ask for 1 to {MAX_CHECKS} permissions, as in permissions.json?check=can_edit@group:42");
            return Err(Problem::BadRequest(rule));
        }
        Ok(checks.into_iter().map(Right::parse).collect::<Result<_, _>>()?)
    }

    fn users(&self) -> Result<Query, Problem> {
        let ids = self.all("id");
        if ids.len() > MAX_USERS {
            return Err(Problem::BadRequest(format!(
                "ask for at most {MAX_USERS} ids at once; these are {}",
                ids.len()
            )));
        }
        if ids.is_empty() {
            return Err(Problem::BadRequest("name at least one user, as in users.json?id=sally&id=bob".into()));
        }
        Ok(Query::Users(ids.into_iter().map(UserId::parse).collect::<Result<_, _>>()?))
    }
}

/// Writes where the next page of a list begins. To clients it is opaque.
pub fn write_cursor((at, seq): Order) -> String {
    format!("{:x}.{:x}", at.as_millis(), seq)
}

fn read_cursor(text: &str) -> Result<Order, Problem> {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit()) && !part.is_empty();
    text.split_once('.')
        .filter(|(at, seq)| digits(at) && digits(seq))
        .and_then(|(at, seq)| Some((i64::from_str_radix(at, 16).ok()?, u64::from_str_radix(seq, 16).ok()?)))
        .map(|(at, seq)| (Timestamp::from_millis(at), seq))
        .ok_or_else(|| Problem::BadRequest("cursor must be the next_cursor of an earlier answer, unchanged".into()))
}

pub(super) fn user_id(segment: &str) -> Result<UserId, Problem> {
    Ok(UserId::parse(decoded(segment)?)?)
}

/// A part of the path as it was meant.
pub(super) fn decoded(segment: &str) -> Result<String, Problem> {
    match percent_decode_str(segment).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(Problem::BadRequest("the address must be UTF-8, percent-encoded".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn route(method: &str, url: &str) -> Result<Route, u16> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        Route::of("/_presence", method, path, query).map_err(|problem| problem.status())
    }

    fn online(limit: usize, after: Option<Order>, kind: Kind) -> Result<Route, u16> {
        Ok(Route::Read(Query::Online { limit, after, kind, path: None, topic: None }, Form::Json))
    }

    #[test]
    fn whatever_is_outside_the_base_path_is_a_page() {
        for path in ["/", "/_presences", "/_presencewidget.js", "/a/_presence/v1/count", "/_PRESENCE/v1/count"] {
            assert_eq!(route("GET", path), Ok(Route::Page), "{path}");
        }
    }

    #[test]
    fn the_list_takes_a_limit_a_cursor_and_a_kind() {
        assert_eq!(route("GET", "/_presence/v1/online.json"), online(100, None, Kind::User));
        assert_eq!(route("GET", "/_presence/v1/online.json?limit=0&kind=guest&new=1"), online(0, None, Kind::Guest));
        let cursor = (Timestamp::from_millis(1_795_203_180_123), 77);
        let url = format!("/_presence/v1/online.json?cursor={}", write_cursor(cursor));
        assert_eq!(route("HEAD", &url), online(100, Some(cursor), Kind::User));
        for bad in [
            "limit=1001",
            "limit=-1",
            "limit=ten",
            "kind=robot",
            "cursor=x",
            "cursor=1.",
            "cursor=+1.2",
            "path=a",
            "topic=%00",
        ] {
            assert_eq!(route("GET", &format!("/_presence/v1/online.json?{bad}")), Err(400), "{bad}");
        }
    }

    #[test]
    fn a_user_is_asked_for_by_an_encoded_id() {
        let user = |id: &str| Ok(Route::Read(Query::User(UserId::parse(id).unwrap()), Form::Json));
        assert_eq!(route("GET", "/_presence/v1/users/sally.json"), user("sally"));
        assert_eq!(route("GET", "/_presence/v1/users/a%2Fb%20%C3%A9.json"), user("a/b é"));
        assert_eq!(route("GET", "/_presence/v1/users/__proto__.json"), user("__proto__"));
        for bad in ["%00", "%FF", "", &"x".repeat(129)] {
            assert_eq!(route("GET", &format!("/_presence/v1/users/{bad}.json")), Err(400), "{bad}");
        }
        assert_eq!(route("GET", "/_presence/v1/users/a/b.json"), Err(404));
    }

    #[test]
    fn several_users_are_asked_for_in_order() {
        let Ok(Route::Read(Query::Users(ids), Form::Json)) = route("GET", "/_presence/v1/users.json?id=b&id=a") else {
            panic!("a question");
        };
        assert_eq!(ids.iter().map(UserId::as_str).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(route("GET", "/_presence/v1/users.json"), Err(400));
        assert_eq!(route("GET", &format!("/_presence/v1/users.json?{}", "id=a&".repeat(101))), Err(400));
    }

    #[test]
    fn permissions_are_asked_for_by_name_and_object() {
        let right = |text: &str| Right::parse(text).unwrap();
        assert_eq!(
            route("GET", "/_presence/v1/permissions.json?check=can_edit@group:42&check=a"),
            Ok(Route::Permissions(vec![right("can_edit@group:42"), right("a")]))
        );
        assert_eq!(route("GET", "/_presence/v1/permissions.json"), Err(400));
        assert_eq!(route("GET", "/_presence/v1/permissions.json?check=a%20b"), Err(400));
        assert_eq!(route("GET", &format!("/_presence/v1/permissions.json?{}", "check=a&".repeat(51))), Err(400));
        assert_eq!(route("GET", "/_presence/v1/viewers.json"), Err(400));
    }

    #[test]
    fn another_method_is_refused_and_an_unknown_address_is_not_there() {
        assert_eq!(route("GET", "/_presence/v1/touch"), Err(405));
        assert_eq!(route("POST", "/_presence/v1/online.json"), Err(405));
        assert_eq!(route("DELETE", "/_presence/widget.js"), Err(405));
        for path in ["/_presence", "/_presence/", "/_presence/v2/count", "/_presence/v1/"] {
            assert_eq!(route("GET", path), Err(404), "{path}");
        }
        assert_eq!(route("OPTIONS", "/_presence/v1/leave"), Ok(Route::RecordPreflight));
        assert_eq!(route("OPTIONS", "/_presence/v1/count"), Ok(Route::ReadPreflight));
    }

    proptest! {
        #[test]
        fn any_address_is_taken_or_refused_but_never_panics(path in ".{0,60}", query in ".{0,60}", method in "GET|POST|HEAD|.{0,4}") {
            let _ = Route::of("/_presence", &method, &format!("/_presence/v1/users/{path}.json"), &query);
            let _ = Route::of("/_presence", &method, &path, &query);
            let _ = Route::of("/_presence", "GET", "/_presence/v1/online.json", &query);
            let _ = read_cursor(&query);
        }
    }
}

//! What the site's own servers ask: sessions, sign-ons, app passwords, grants, and that somebody be forgotten.

use super::problem::Problem;
use super::report::json;
use super::route::{Parameters, decoded, user_id};
use crate::identity::User;
use crate::identity::login::{Digest, LoginName, SessionKey};
use crate::identity::permission::{Object, Permission, Right};
use crate::presence::id::{Avatar, Invalid, Name, UserId, text};
use crate::presence::member::Profile;
use crate::presence::time::Seconds;
use serde::{Deserialize, Serialize};

/// The most bytes of a session's value.
pub const MAX_VALUE: usize = 64 * 1024;
/// The most bytes of a body that holds such a value: JSON may write each byte as six.
pub const MAX_SESSION_BODY: usize = 6 * MAX_VALUE + 4096;
/// For how long a session or a sign-on is good unless the application says otherwise: two weeks.
const DEFAULT_TTL: u32 = 1_209_600;
/// And at the most: a year.
const MAX_TTL: u32 = 31_536_000;
/// The most app passwords in an answer.
const MAX_LIST: usize = 1000;

/// What is asked. Where there is a body it is read apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// A new session.
    CreateSession,
    /// Something with a session.
    Session(Verb, SessionKey),
    /// Something with a sign-on.
    SignOn(Verb, Digest),
    /// A new app password.
    CreateAppPassword,
    /// Which app passwords there are.
    ListAppPasswords {
        /// Of this user alone.
        user: Option<UserId>,
        /// Those after this one.
        after: Option<AppPasswordId>,
        /// At most so many.
        limit: usize,
    },
    /// An app password is good no more.
    RevokeAppPassword(AppPasswordId),
    /// Those of a user that bear this label are good no more.
    RevokeByLabel(UserId, Label),
    /// A user may do something.
    Grant,
    /// A user may do something no more.
    Revoke,
    /// A user is to be signed out.
    SignOut(UserId),
    /// Every trace of a user is to go.
    Erase(UserId),
    /// What was done, in numbers.
    Metrics,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Tell it.
    Load,
    /// Put it there.
    Save,
    /// Take it away.
    Delete,
}

text!(
    /// What an app password is for, as its owner calls it.
    Label,
    "a label",
    1..=128
);
text!(
    /// What an app password is listed and revoked by.
    AppPasswordId, "an id", 16..=16, "be 16 hexadecimal digits in lower case" => |text| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
);

/// What a session holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionBody {
    /// Whatever the application keeps in it.
    pub value: String,
    /// For how long it is good.
    pub ttl: Seconds,
    /// Who is logged in by it.
    pub user: Option<UserId>,
}

/// Who signed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignOnBody {
    /// Who it is, and how they are shown if that is told.
    pub user: User,
    /// For how long the sign-on is good.
    pub ttl: Seconds,
}

/// Whose app password it is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPasswordBody {
    /// Whose.
    pub user: UserId,
    /// An address that does as a name as well.
    pub email: Option<LoginName>,
    /// What it is for.
    pub label: Label,
    /// What may be done with it.
    pub perms: Vec<Right>,
}

/// Who may do what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantBody {
    /// Who.
    pub user: UserId,
    /// What.
    pub right: Right,
}

/// Where a user is to be signed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignOutBody {
    /// On all devices.
    Everywhere,
    /// On the device of this session, which ends.
    Session(SessionKey),
    /// On the device of this token: what stands in the Worker's cookie.
    Token(String),
}

#[derive(Deserialize, Default)]
struct Fields {
    everywhere: Option<bool>,
    session: Option<String>,
    token: Option<String>,
    value: Option<String>,
    ttl: Option<u64>,
    user: Option<String>,
    name: Option<String>,
    avatar: Option<String>,
    #[serde(default)]
    invisible: bool,
    email: Option<String>,
    label: Option<String>,
    perms: Option<Vec<String>>,
    permission: Option<String>,
    object: Option<String>,
}

impl Admin {
    /// Finds what is asked at a path below the base path, if it is one of these.
    pub(super) fn of(rest: &str, method: &str, parameters: &Parameters) -> Option<Result<Self, Problem>> {
        if rest == "/metrics" {
            return Some(only("GET", method, || Ok(Self::Metrics)));
        }
        let rest = rest.strip_prefix("/v1/")?;
        let (collection, item) = match rest.split_once('/') {
            Some((collection, item)) => (collection, Some(item)),
            None => (rest, None),
        };
        Some(match (collection, item) {
            ("sessions", None) => only("POST", method, || Ok(Self::CreateSession)),
            ("sessions", Some(key)) => {
                verb(method).and_then(|verb| Ok(Self::Session(verb, SessionKey::parse(decoded(key)?)?)))
            }
            ("sign-ons", Some(hash)) => verb(method).and_then(|verb| Ok(Self::SignOn(verb, Digest::parse(hash)?))),
            ("app-passwords", None) => Self::app_passwords(method, parameters),
            ("app-passwords", Some(id)) => {
                only("DELETE", method, || Ok(Self::RevokeAppPassword(AppPasswordId::parse(decoded(id)?)?)))
            }
            ("grants", None) => match method {
                "PUT" => Ok(Self::Grant),
                "DELETE" => Ok(Self::Revoke),
                _ => Err(Problem::MethodNotAllowed("PUT, DELETE")),
            },
            ("users", Some(item)) if let Some(id) = item.strip_suffix("/sign-out") => {
                only("POST", method, || Ok(Self::SignOut(user_id(id)?)))
            }
            ("users", Some(id)) if !id.ends_with(".json") && !id.contains('/') => {
                only("DELETE", method, || Ok(Self::Erase(user_id(id)?)))
            }
            _ => return None,
        })
    }

    fn app_passwords(method: &str, parameters: &Parameters) -> Result<Self, Problem> {
        let user = parameters.get("user").map(UserId::parse).transpose()?;
        match (method, user) {
            ("POST", _) => Ok(Self::CreateAppPassword),
            ("GET" | "HEAD", user) => {
                let after = parameters.get("cursor").map(AppPasswordId::parse).transpose()?;
                Ok(Self::ListAppPasswords { user, after, limit: parameters.limit()?.min(MAX_LIST) })
            }
            ("DELETE", Some(user)) => match parameters.get("label") {
                Some(label) => Ok(Self::RevokeByLabel(user, Label::parse(label)?)),
                None => {
                    Err(Problem::BadRequest("name the label too, as in app-passwords?user=sally&label=reader".into()))
                }
            },
            _ => Err(Problem::MethodNotAllowed("GET, POST, or DELETE with an id or with ?user= and label=")),
        }
    }
}

fn only(allowed: &'static str, method: &str, admin: impl FnOnce() -> Result<Admin, Problem>) -> Result<Admin, Problem> {
    if method == allowed { admin() } else { Err(Problem::MethodNotAllowed(allowed)) }
}

fn verb(method: &str) -> Result<Verb, Problem> {
    match method {
        "GET" | "HEAD" => Ok(Verb::Load),
        "PUT" => Ok(Verb::Save),
        "DELETE" => Ok(Verb::Delete),
        _ => Err(Problem::MethodNotAllowed("GET, HEAD, PUT, DELETE")),
    }
}

impl SessionBody {
    /// Reads the body of a session.
    ///
    /// # Errors
    /// 400 or 413 where it is out of bounds.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let fields: Fields = json(body, MAX_SESSION_BODY)?;
        let value = fields.value.unwrap_or_default();
        if value.len() > MAX_VALUE {
            return Err(Problem::TooLarge(MAX_VALUE));
        }
        Ok(Self { value, ttl: ttl(fields.ttl)?, user: fields.user.map(UserId::parse).transpose()? })
    }
}

impl SignOnBody {
    /// Reads the body of a sign-on. How the user is shown is as it was unless it is told.
    ///
    /// # Errors
    /// 400 where it is out of bounds.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let fields: Fields = json(body, super::report::MAX_BODY)?;
        let told = fields.name.is_some() || fields.avatar.is_some() || fields.invisible;
        let profile = Profile {
            name: fields.name.map(Name::parse).transpose()?,
            avatar: fields.avatar.map(Avatar::parse).transpose()?,
            invisible: fields.invisible,
        };
        let user = User { id: user(fields.user)?, profile: told.then_some(profile), perms: rights(fields.perms)? };
        Ok(Self { user, ttl: ttl(fields.ttl)? })
    }
}

impl AppPasswordBody {
    /// Reads the body of an app password.
    ///
    /// # Errors
    /// 400 where it is out of bounds.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let fields: Fields = json(body, super::report::MAX_BODY)?;
        Ok(Self {
            user: user(fields.user)?,
            email: fields.email.map(LoginName::parse).transpose()?,
            label: Label::parse(fields.label.unwrap_or_else(|| "app password".to_owned()))?,
            perms: rights(fields.perms)?,
        })
    }
}

impl SignOutBody {
    /// Reads the body of a sign-out. An empty one means all devices.
    ///
    /// # Errors
    /// 400 where it is out of bounds, or names no device though not all are meant.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let Fields { everywhere, session, token, .. } = json(body, super::report::MAX_BODY)?;
        match (everywhere, session, token) {
            (Some(true), ..) | (None, None, None) => Ok(Self::Everywhere),
            (_, Some(key), _) => Ok(Self::Session(SessionKey::parse(key)?)),
            (_, None, Some(token)) => Ok(Self::Token(token)),
            (Some(false), None, None) => Err(Problem::BadRequest(
                "name the device by its session or token, as in {\"everywhere\": false, \"session\": \"…\"}".into(),
            )),
        }
    }
}

impl GrantBody {
    /// Reads the body of a grant.
    ///
    /// # Errors
    /// 400 where it is out of bounds.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let fields: Fields = json(body, super::report::MAX_BODY)?;
        let permission = Permission::parse(fields.permission.unwrap_or_default())?;
        let object = fields.object.map(Object::parse).transpose()?;
        Ok(Self { user: user(fields.user)?, right: Right { permission, object } })
    }
}

fn user(user: Option<String>) -> Result<UserId, Invalid> {
    UserId::parse(user.ok_or_else(|| Invalid::new("user", "be told: the id of the user it is about"))?)
}

fn rights(perms: Option<Vec<String>>) -> Result<Vec<Right>, Problem> {
    let perms = perms.unwrap_or_default();
    if perms.len() > crate::identity::permission::MAX_RIGHTS {
        return Err(Problem::BadRequest("perms must be 64 permissions at the most".into()));
    }
    Ok(perms.iter().map(|perm| Right::parse(perm)).collect::<Result<_, _>>()?)
}

fn ttl(ttl: Option<u64>) -> Result<Seconds, Invalid> {
    match u32::try_from(ttl.unwrap_or(u64::from(DEFAULT_TTL))) {
        Ok(ttl @ 1..=MAX_TTL) => Ok(Seconds(ttl)),
        _ => Err(Invalid::new("ttl", format!("be a whole number of seconds from 1 to {MAX_TTL}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::route::Route;
    use proptest::prelude::*;

    fn asked(method: &str, url: &str) -> Result<Admin, u16> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        match Route::of("/_presence", method, &format!("/_presence/v1/{path}"), query) {
            Ok(Route::Admin(admin)) => Ok(admin),
            Ok(other) => panic!("{other:?}"),
            Err(problem) => Err(problem.status()),
        }
    }

    #[test]
    fn each_address_and_method_is_one_thing() {
        let key = SessionKey::parse("0123456789abcdef").unwrap();
        let hash = Digest::of("x");
        let sally = || UserId::parse("sally").unwrap();
        let id = || AppPasswordId::parse("0123456789abcdef").unwrap();
        for (method, url, expected) in [
            ("POST", "sessions".to_owned(), Admin::CreateSession),
            ("GET", "sessions/0123456789abcdef".into(), Admin::Session(Verb::Load, key.clone())),
            ("HEAD", "sessions/0123456789abcdef".into(), Admin::Session(Verb::Load, key.clone())),
            ("PUT", "sessions/0123456789abcdef".into(), Admin::Session(Verb::Save, key.clone())),
            ("DELETE", "sessions/0123456789abcdef".into(), Admin::Session(Verb::Delete, key)),
            ("PUT", format!("sign-ons/{}", hash.to_hex()), Admin::SignOn(Verb::Save, hash)),
            ("POST", "app-passwords".into(), Admin::CreateAppPassword),
            (
                "GET",
                "app-passwords?user=sally".into(),
                Admin::ListAppPasswords { user: Some(sally()), after: None, limit: 100 },
            ),
            ("DELETE", "app-passwords/0123456789abcdef".into(), Admin::RevokeAppPassword(id())),
            (
                "DELETE",
                "app-passwords?user=sally&label=a%20b".into(),
                Admin::RevokeByLabel(sally(), Label::parse("a b").unwrap()),
            ),
            ("PUT", "grants".into(), Admin::Grant),
            ("DELETE", "grants".into(), Admin::Revoke),
            ("DELETE", "users/sally".into(), Admin::Erase(sally())),
            ("POST", "users/sally/sign-out".into(), Admin::SignOut(sally())),
        ] {
            assert_eq!(asked(method, &url), Ok(expected), "{method} {url}");
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for (method, url, status) in [
            ("GET", "sessions", 405),
            ("POST", "sessions/0123456789abcdef", 405),
            ("GET", "sessions/short", 400),
            ("GET", "sessions/..%2F..%2F0123456789abcdef", 400),
            ("GET", "sign-ons/abc", 400),
            ("GET", "sign-ons", 404),
            ("DELETE", "app-passwords", 405),
            ("DELETE", "app-passwords?user=sally", 400),
            ("DELETE", "app-passwords/xyz", 400),
            ("GET", "grants", 405),
            ("GET", "users/sally", 405),
            ("DELETE", "users/%00", 400),
            ("GET", "users/sally/sign-out", 405),
            ("POST", "users//sign-out", 400),
            ("POST", "users/%00/sign-out", 400),
            ("DELETE", "users/", 400),
        ] {
            assert_eq!(asked(method, url), Err(status), "{method} {url}");
        }
    }

    #[test]
    fn bodies_have_their_bounds() {
        let session = SessionBody::parse(br#"{"value": "v", "ttl": 60, "user": "sally"}"#).unwrap();
        assert_eq!((session.value.as_str(), session.ttl, session.user.unwrap().as_str()), ("v", Seconds(60), "sally"));
        assert_eq!(SessionBody::parse(b"{}").unwrap().ttl, Seconds(DEFAULT_TTL));
        let large = |size: usize| format!(r#"{{"value": "{}"}}"#, "x".repeat(size));
        assert!(SessionBody::parse(large(MAX_VALUE).as_bytes()).is_ok());
        assert_eq!(SessionBody::parse(large(MAX_VALUE + 1).as_bytes()).unwrap_err().status(), 413);
        for bad in [
            r#"{"ttl": 0}"#,
            r#"{"ttl": 31536001}"#,
            r#"{"ttl": -1}"#,
            r#"{"ttl": "60"}"#,
            r#"{"value": 7}"#,
            r#"{"user": ""}"#,
            "[]",
            "{",
        ] {
            assert_eq!(SessionBody::parse(bad.as_bytes()).unwrap_err().status(), 400, "{bad}");
        }
        let sign_on = SignOnBody::parse(br#"{"user": "sally"}"#).unwrap();
        assert_eq!((sign_on.user.profile, sign_on.ttl), (None, Seconds(DEFAULT_TTL)));
        assert!(SignOnBody::parse(br#"{"user": "s", "invisible": true}"#).unwrap().user.profile.unwrap().invisible);
        for (body, expected) in [
            ("", Ok(SignOutBody::Everywhere)),
            ("{}", Ok(SignOutBody::Everywhere)),
            (r#"{"everywhere": true, "token": "t"}"#, Ok(SignOutBody::Everywhere)),
            (r#"{"token": "t"}"#, Ok(SignOutBody::Token("t".into()))),
            (r#"{"everywhere": false}"#, Err(400)),
            (r#"{"session": "short"}"#, Err(400)),
        ] {
            assert_eq!(SignOutBody::parse(body.as_bytes()).map_err(|problem| problem.status()), expected, "{body}");
        }
        assert!(SignOnBody::parse(b"{}").is_err());
        assert!(AppPasswordBody::parse(br#"{"user": "sally", "perms": ["view_viewers"]}"#).is_ok());
        assert!(AppPasswordBody::parse(br#"{"user": "sally", "perms": ["a b"]}"#).is_err());
        let grant = GrantBody::parse(br#"{"user": "sally", "permission": "can_edit", "object": "group:42"}"#).unwrap();
        assert_eq!(grant.right.to_string(), "can_edit@group:42");
        assert!(GrantBody::parse(br#"{"user": "sally", "permission": "can_edit@group:42"}"#).is_err());
    }

    proptest! {
        #[test]
        fn any_body_is_taken_or_refused_but_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,60}") {
            for body in [body.as_slice(), text.as_bytes(), format!(r#"{{"user": {text:?}}}"#).as_bytes()] {
                let _ = (SessionBody::parse(body), SignOnBody::parse(body), AppPasswordBody::parse(body), GrantBody::parse(body));
            }
            for method in ["GET", "PUT", "DELETE", "POST"] {
                let _ = Route::of("/_presence", method, &format!("/_presence/v1/sessions/{text}"), &text);
                let _ = Route::of("/_presence", method, &format!("/_presence/v1/app-passwords/{text}"), &text);
                let _ = Route::of("/_presence", method, "/_presence/v1/app-passwords", &text);
            }
        }
    }
}

//! What went wrong, told as `application/problem+json` (RFC 9457). This is the one place where errors get a status.

use super::reply::Reply;
use crate::presence::id::Invalid;
use crate::presence::time::Seconds;
use serde::Serialize;

/// Why a request was refused. The text says what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Something in the request is malformed.
    BadRequest(String),
    /// Whoever asks has to say who they are.
    SignIn(Challenge),
    /// Whoever asks may not do this.
    Forbidden(String),
    /// There is nothing here.
    NotFound(String),
    /// Another method is meant; the argument lists which.
    MethodNotAllowed(&'static str),
    /// The body is larger than the bytes given.
    TooLarge(usize),
    /// This is for a WebSocket, or for server-sent events.
    UpgradeRequired,
    /// It is not as the request said it must be.
    PreconditionFailed,
    /// After so many failures the next attempt has to wait.
    TooManyAttempts(Seconds),
    /// We broke.
    Internal,
    /// A setting of the Worker is out of bounds.
    Misconfigured(String),
    /// The site behind the Worker cannot be reached.
    BadGateway,
    /// The site's answer cannot be served: what is not for everybody could go out with it.
    BadAnswer(String),
    /// Presence cannot be had just now.
    Unavailable,
    /// What is stored of this cannot be read.
    Unreadable(&'static str),
}

/// How somebody is asked to say who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// With a name and a password, for what is named here.
    Basic(String),
    /// With a token. A script on a page asks: told of passwords, the browser would ask the visitor for one.
    Bearer(String),
}

#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        Self::BadRequest(invalid.to_string())
    }
}

impl Problem {
    /// The status it is told with.
    pub fn status(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::SignIn(_) => 401,
            Self::Forbidden(_) => 403,
            Self::NotFound(_) => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::PreconditionFailed => 412,
            Self::TooLarge(_) => 413,
            Self::UpgradeRequired => 426,
            Self::TooManyAttempts(_) => 429,
            Self::Internal | Self::Misconfigured(_) => 500,
            Self::BadGateway | Self::BadAnswer(_) => 502,
            Self::Unavailable | Self::Unreadable(_) => 503,
        }
    }

    /// What to change.
    pub fn detail(&self) -> String {
        match self {
            Self::BadRequest(detail)
            | Self::Forbidden(detail)
            | Self::NotFound(detail)
            | Self::Misconfigured(detail)
            | Self::BadAnswer(detail) => detail.clone(),
            Self::MethodNotAllowed(allow) => format!("Use {allow} here."),
            Self::TooLarge(limit) => format!("Send at most {limit} bytes."),
            Self::SignIn(_) => "Sign in on the site, or send a token or an app password that is good here.".to_owned(),
            Self::PreconditionFailed => "It has changed, is there already or is gone: load it again.".to_owned(),
            Self::UpgradeRequired => {
                "Open a WebSocket here, or ask for server-sent events with `Accept: text/event-stream`.".to_owned()
            }
            Self::TooManyAttempts(wait) => format!("Try again in {} seconds.", wait.0),
            Self::Internal => "This is a fault of ours; the Worker's log tells more.".to_owned(),
            Self::BadGateway => "The address in ORIGIN did not answer. Check that it is right and running.".to_owned(),
            Self::Unavailable => "Try again in a moment.".to_owned(),
            Self::Unreadable(what) => format!(
                "{what} is stored and cannot be read. It was left as it is: a newer release may have written it, or the \
                 storage was damaged. The Worker's log tells more."
            ),
        }
    }

    /// The reply that tells it.
    pub fn reply(&self) -> Reply {
        let title = match self {
            Self::BadRequest(_) => "Bad request",
            Self::Forbidden(_) => "Forbidden",
            Self::NotFound(_) => "Not found",
            Self::MethodNotAllowed(_) => "Method not allowed",
            Self::SignIn(_) => "Not signed in",
            Self::PreconditionFailed => "Precondition failed",
            Self::UpgradeRequired => "Upgrade required",
            Self::TooManyAttempts(_) => "Too many attempts",
            Self::TooLarge(_) => "Body too large",
            Self::Internal => "Internal error",
            Self::Misconfigured(_) => "The Worker is misconfigured",
            Self::BadGateway => "The site cannot be reached",
            Self::BadAnswer(_) => "The site's answer cannot be served",
            Self::Unavailable => "Presence is unavailable",
            Self::Unreadable(_) => "Stored data cannot be read",
        };
        let detail = self.detail();
        let body = serde_json::to_vec(&Body { title, status: self.status(), detail: &detail }).unwrap_or_default();
        let reply = Reply::new(self.status(), "application/problem+json", body).with("cache-control", "no-store");
        match self {
            Self::MethodNotAllowed(allow) => reply.with("allow", *allow),
            Self::UpgradeRequired => reply.with("upgrade", "websocket"),
            Self::Unavailable | Self::Unreadable(_) => reply.with("retry-after", "2"),
            Self::TooManyAttempts(wait) => reply.with("retry-after", wait.0.to_string()),
            Self::SignIn(Challenge::Basic(realm)) => {
                reply.with("www-authenticate", format!("Basic realm=\"{realm}\", charset=\"UTF-8\""))
            }
            Self::SignIn(Challenge::Bearer(realm)) => {
                reply.with("www-authenticate", format!("Bearer realm=\"{realm}\""))
            }
            _ => reply,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_tells_its_status_and_what_to_change() {
        let reply = Problem::TooLarge(4096).reply();
        assert_eq!(reply.status, 413);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert_eq!(
            String::from_utf8(reply.body).unwrap(),
            r#"{"title":"Body too large","status":413,"detail":"Send at most 4096 bytes."}"#
        );
        let asks = Problem::SignIn(Challenge::Basic("Club".into())).reply();
        assert_eq!(
            (asks.status, asks.header("www-authenticate")),
            (401, Some("Basic realm=\"Club\", charset=\"UTF-8\""))
        );
        assert_eq!(Problem::TooManyAttempts(Seconds(8)).reply().header("retry-after"), Some("8"));
        assert_eq!(Problem::MethodNotAllowed("GET, HEAD").reply().header("allow"), Some("GET, HEAD"));
    }
}

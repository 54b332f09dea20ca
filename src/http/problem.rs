//! What went wrong, told as `application/problem+json` (RFC 9457). This is the one place where errors get a status.

use super::reply::Reply;
use crate::presence::id::Invalid;
use serde::Serialize;

/// Why a request was refused. The text says what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Something in the request is malformed.
    BadRequest(String),
    /// Another origin may not do this.
    Forbidden(String),
    /// There is nothing here.
    NotFound(String),
    /// Another method is meant; the argument lists which.
    MethodNotAllowed(&'static str),
    /// The body is larger than the bytes given.
    TooLarge(usize),
    /// We broke.
    Internal,
    /// A setting of the Worker is out of bounds.
    Misconfigured(String),
    /// The site behind the Worker cannot be reached.
    BadGateway,
    /// Presence cannot be had just now.
    Unavailable,
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
            Self::Forbidden(_) => 403,
            Self::NotFound(_) => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::TooLarge(_) => 413,
            Self::Internal | Self::Misconfigured(_) => 500,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
        }
    }

    /// The reply that tells it.
    pub fn reply(&self) -> Reply {
        let title = match self {
            Self::BadRequest(_) => "Bad request",
            Self::Forbidden(_) => "Forbidden",
            Self::NotFound(_) => "Not found",
            Self::MethodNotAllowed(_) => "Method not allowed",
            Self::TooLarge(_) => "Body too large",
            Self::Internal => "Internal error",
            Self::Misconfigured(_) => "The Worker is misconfigured",
            Self::BadGateway => "The site cannot be reached",
            Self::Unavailable => "Presence is unavailable",
        };
        let detail = match self {
            Self::BadRequest(detail)
            | Self::Forbidden(detail)
            | Self::NotFound(detail)
            | Self::Misconfigured(detail) => detail.clone(),
            Self::MethodNotAllowed(allow) => format!("Use {allow} here."),
            Self::TooLarge(limit) => format!("Send at most {limit} bytes."),
            Self::Internal => "This is a fault of ours; the Worker's log tells more.".to_owned(),
            Self::BadGateway => "The address in ORIGIN did not answer. Check that it is right and running.".to_owned(),
            Self::Unavailable => "Try again in a moment.".to_owned(),
        };
        let body = serde_json::to_vec(&Body { title, status: self.status(), detail: &detail }).unwrap_or_default();
        let reply = Reply::new(self.status(), "application/problem+json", body).with("cache-control", "no-store");
        match self {
            Self::MethodNotAllowed(allow) => reply.with("allow", *allow),
            Self::Unavailable => reply.with("retry-after", "2"),
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
        assert_eq!(Problem::MethodNotAllowed("GET, HEAD").reply().header("allow"), Some("GET, HEAD"));
    }
}

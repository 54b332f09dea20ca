//! Entity tags and conditional requests (RFC 9110, 8.8.3 and 13.1.2).

use super::Headers;
use super::problem::Problem;
use super::reply::Reply;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A tag for content that is told by its bytes.
pub fn tag_of(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Gives a reply its tag, and makes it a 304 where the asker has it already. Tags are weak: two answers of one tag say
/// the same, though each tells when it was made.
pub fn tagged(reply: Reply, tag: &str, request: &impl Headers) -> Reply {
    let reply = reply.with("etag", format!("W/\"{tag}\""));
    let known = request.get("if-none-match").is_some_and(|header| matches(&header, tag));
    if !known {
        return reply;
    }
    let kept = |name: &str| matches!(name, "etag" | "cache-control" | "vary" | "access-control-allow-origin");
    let headers = reply.headers.into_iter().filter(|(name, _)| kept(name)).collect();
    Reply { status: 304, headers, body: Vec::new() }
}

/// What has to hold before something is saved (RFC 9110, 13.1.1 and 13.1.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Precondition {
    /// Nothing.
    None,
    /// It is not there yet: `If-None-Match: *`.
    Absent,
    /// It is there: `If-Match: *`.
    Present,
    /// It is as it was when it had one of these tags: `If-Match`.
    Unchanged(Vec<String>),
}

impl Precondition {
    /// Reads it from a request.
    ///
    /// # Errors
    /// 400 for what makes no sense here: `If-None-Match` with a tag.
    pub fn of(request: &impl Headers) -> Result<Self, Problem> {
        let header = |name: &'static str| request.get(name).map(|value| value.trim().to_owned());
        match (header("if-none-match"), header("if-match")) {
            (None, None) => Ok(Self::None),
            (Some(any), None) if any == "*" => Ok(Self::Absent),
            (None, Some(any)) if any == "*" => Ok(Self::Present),
            (None, Some(tags)) => Ok(Self::Unchanged(tags.split(',').map(|tag| tag.trim().to_owned()).collect())),
            _ => Err(Problem::BadRequest("use either If-Match or If-None-Match: * here".into())),
        }
    }

    /// Whether it holds, `tag` being that of what is there. A weak tag is no proof of sameness.
    pub fn holds(&self, tag: Option<&str>) -> bool {
        match self {
            Self::None => true,
            Self::Absent => tag.is_none(),
            Self::Present => tag.is_some(),
            Self::Unchanged(tags) => tag.is_some_and(|tag| tags.iter().any(|known| *known == format!("\"{tag}\""))),
        }
    }
}

fn matches(header: &str, tag: &str) -> bool {
    let bare = |candidate: &str| candidate.trim().trim_start_matches("W/").trim_matches('"').to_owned();
    header.trim() == "*" || header.split(',').any(|candidate| bare(candidate) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whoever_has_it_already_gets_a_304() {
        let reply = || Reply::new(200, "application/json", "{}").with("cache-control", "public, max-age=2");
        for (header, status) in [
            ("W/\"7\"", 304),
            ("\"7\"", 304),
            ("\"6\", W/\"7\"", 304),
            ("*", 304),
            ("\"6\"", 200),
            ("", 200),
            ("W/\"", 200),
        ] {
            let answer = tagged(reply(), "7", &[("If-None-Match", header)]);
            assert_eq!(answer.status, status, "{header}");
            assert_eq!(answer.header("etag"), Some("W/\"7\""));
            assert_eq!(answer.header("cache-control"), Some("public, max-age=2"));
            assert_eq!(answer.body.is_empty(), status == 304);
        }
    }

    #[test]
    fn what_is_saved_can_be_held_to_a_condition() {
        for (headers, absent, same, other) in [
            (vec![], true, true, true),
            (vec![("if-none-match", "*")], true, false, false),
            (vec![("if-match", "*")], false, true, true),
            (vec![("if-match", "\"6\", \"7\"")], false, true, false),
            (vec![("if-match", "W/\"7\"")], false, false, false),
            (vec![("if-match", "7")], false, false, false),
        ] {
            let condition = Precondition::of(&headers.as_slice()).unwrap();
            let held = (condition.holds(None), condition.holds(Some("7")), condition.holds(Some("8")));
            assert_eq!(held, (absent, same, other), "{headers:?}");
        }
        assert!(Precondition::of(&[("if-none-match", "\"7\"")]).is_err());
        assert!(Precondition::of(&[("if-none-match", "*"), ("if-match", "*")]).is_err());
    }

    proptest! {
        #[test]
        fn any_condition_is_read_without_a_panic(header in ".{0,60}") {
            let answer = tagged(Reply::new(200, "text/plain", "a"), "7", &[("if-none-match", header.as_str())]);
            prop_assert!(answer.status == 200 || answer.status == 304);
        }
    }
}

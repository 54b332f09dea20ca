//! Entity tags and conditional requests (RFC 9110, 8.8.3 and 13.1.2).

use super::Headers;
use super::reply::Reply;
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

    proptest! {
        #[test]
        fn any_condition_is_read_without_a_panic(header in ".{0,60}") {
            let answer = tagged(Reply::new(200, "text/plain", "a"), "7", &[("if-none-match", header.as_str())]);
            prop_assert!(answer.status == 200 || answer.status == 304);
        }
    }
}

//! Pages of the site, and the blocks in them that are for those alone who may see them.

use super::Headers;
use crate::identity::access::Standing;
use crate::identity::permission::Right;

/// Blocks that are shown to those who may do what they say.
pub const IF: &str = "if-permitted";
/// Blocks that are shown to everybody else.
pub const IF_NOT: &str = "if-not-permitted";

/// What tells that a page may hold a block, as a regular expression without regard to case.
pub const MARKER: &str = "<if-(not-)?permitted";

/// Where the first marker begins, or what may become one with the bytes to come.
pub fn first_marker(bytes: &[u8]) -> Option<Found> {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'<').map(|(at, _)| at);
    starts.into_iter().find_map(|at| {
        let text = bytes.get(at + 1..).unwrap_or_default();
        [IF, IF_NOT].into_iter().find_map(|name| {
            let length = name.len().min(text.len());
            let alike = text.get(..length)?.eq_ignore_ascii_case(name.as_bytes().get(..length)?);
            alike.then_some(if length == name.len() { Found::Whole(at) } else { Found::Begun(at) })
        })
    })
}

/// A marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is there, and begins here.
    Whole(usize),
    /// What begins here may be one.
    Begun(usize),
}

/// The longest page that is looked through before it goes out; longer ones are as they stream. Most pages have no block,
/// and to find that out so costs them nothing: not their length, not their tag, not a parser's time.
const MAX_WHOLE: usize = 128 * 1024;

/// How an answer of the site's is looked through for blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Not at all: it is no page, or is compressed.
    None,
    /// Before it goes out, as it is short.
    Whole,
    /// As it streams.
    Streaming,
    /// It is a piece of a page, out of which no block can be told: the whole page is needed.
    Piece,
}

impl Look {
    /// How an answer to a request with this method is looked through.
    pub fn of(method: &str, status: u16, answer: &impl Headers) -> Self {
        let plain = |name: &'static str| {
            let value = answer.get(name)?;
            Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
        };
        let content_type = plain("content-type");
        let page = matches!(content_type.as_deref(), Some("text/html" | "application/xhtml+xml"));
        let compressed =
            || plain("content-encoding").is_some_and(|encoding| !matches!(encoding.as_str(), "" | "identity"));
        match status {
            _ if method == "HEAD" || compressed() => Self::None,
            206 if page || content_type.as_deref() == Some("multipart/byteranges") => Self::Piece,
            // These have no body, and of others no new answer can be made.
            204 | 205 | 206 | 304 | ..200 | 600.. => Self::None,
            _ if !page => Self::None,
            _ => match answer.get("content-length").and_then(|length| length.parse::<usize>().ok()) {
                Some(length) if length <= MAX_WHOLE => Self::Whole,
                _ => Self::Streaming,
            },
        }
    }
}

/// Whether a block is shown. One that is malformed never is, whichever of the two it is.
pub fn shows(block: &str, can: Option<&str>, on: Option<&str>, who: &Standing) -> bool {
    // As attributes are written in HTML: what stands for another character is not worked out.
    let plain = |text: &str| !text.contains('&');
    let right = can.filter(|can| plain(can) && !can.contains('@')).map(|can| match on {
        Some(on) if plain(on) && !on.is_empty() => Right::parse(&format!("{can}@{on}")).ok(),
        Some(_) => None,
        None => Right::parse(can).ok(),
    });
    match right.flatten() {
        Some(right) if block.eq_ignore_ascii_case(IF) => who.may(&right),
        Some(right) if block.eq_ignore_ascii_case(IF_NOT) => !who.may(&right),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::User;
    use crate::presence::id::UserId;
    use proptest::prelude::*;

    fn look(status: u16, headers: &[(&str, &str)]) -> Look {
        Look::of("GET", status, &headers)
    }

    #[test]
    fn pages_are_looked_through_and_nothing_else() {
        let html = ("content-type", "text/html; charset=utf-8");
        assert_eq!(look(200, &[html, ("content-length", "131072")]), Look::Whole);
        assert_eq!(look(404, &[html, ("content-length", "12")]), Look::Whole);
        assert_eq!(look(200, &[html, ("content-length", "131073")]), Look::Streaming);
        assert_eq!(look(200, &[html]), Look::Streaming);
        assert_eq!(look(200, &[("content-type", "TEXT/HTML")]), Look::Streaming);
        assert_eq!(
            look(200, &[("content-type", "application/xhtml+xml"), ("content-encoding", "identity")]),
            Look::Streaming
        );
        for untouched in [
            vec![html, ("content-encoding", "gzip")],
            vec![("content-type", "application/json")],
            vec![("content-type", "text/plain")],
            vec![],
        ] {
            assert_eq!(look(200, &untouched), Look::None, "{untouched:?}");
        }
        for status in [101, 204, 205, 304, 999] {
            assert_eq!(look(status, &[html]), Look::None);
        }
        assert_eq!(Look::of("HEAD", 200, &[html]), Look::None);
        assert_eq!(look(206, &[html]), Look::Piece);
        assert_eq!(look(206, &[("content-type", "multipart/byteranges; boundary=x")]), Look::Piece);
        assert_eq!(look(206, &[("content-type", "video/mp4")]), Look::None);
    }

    #[test]
    fn a_block_is_shown_to_those_who_may_and_its_other_to_the_rest() {
        let perms = Right::parse_all(["can_edit@group:42", "can_view", "all@*"]);
        let editor = Standing {
            user: Some(User { id: UserId::parse("sally").unwrap(), profile: None, perms }),
            ..Standing::default()
        };
        let guest = Standing::default();
        for (can, on, may) in [
            ("can_edit", Some("group:42"), true),
            ("can_edit", Some("group:43"), false),
            ("can_edit", None, false),
            ("can_view", None, true),
            ("all", Some("anything"), true),
        ] {
            assert_eq!(shows(IF, Some(can), on, &editor), may, "{can} {on:?}");
            assert_eq!(shows(IF_NOT, Some(can), on, &editor), !may, "{can} {on:?}");
            assert!(!shows(IF, Some(can), on, &guest) && shows("IF-NOT-permitted", Some(can), on, &guest));
        }
    }

    #[test]
    fn a_malformed_block_is_shown_to_nobody() {
        let admin = Standing { admin: true, ..Standing::default() };
        let long = "x".repeat(200);
        for (can, on) in [
            (None, None),
            (Some(""), None),
            (Some("a b"), None),
            (Some("a@b"), None),
            (Some("a"), Some("")),
            (Some("a&amp;b"), None),
            (Some("a"), Some("b&lt;")),
            (Some(long.as_str()), None),
            (Some("a"), Some(long.as_str())),
        ] {
            assert!(!shows(IF, can, on, &admin) && !shows(IF_NOT, can, on, &Standing::default()), "{can:?} {on:?}");
        }
        assert!(!shows("if-permitte", Some("a"), None, &admin));
    }

    #[test]
    fn a_marker_is_found_where_it_begins() {
        assert_eq!(first_marker(b"<p><IF-Permitted can=a>"), Some(Found::Whole(3)));
        assert_eq!(first_marker(b"<if- <if-not-permitted"), Some(Found::Whole(5)));
        assert_eq!(first_marker(b"<if-permitte if-permitted << "), None);
        for whole in ["<if-permitted", "<if-not-permitted"] {
            for end in 1..whole.len() {
                let begun = format!("<p>{}", whole.split_at(end).0);
                assert_eq!(first_marker(begun.as_bytes()), Some(Found::Begun(3)), "{begun}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_attributes_are_read_without_a_panic(can in ".{0,80}", on in ".{0,80}") {
            prop_assert!(!shows(IF, Some(&can), Some(&on), &Standing::default()));
        }
    }
}

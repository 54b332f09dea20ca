//! Names and places as they come from outside, each parsed once at the border.
//!
//! Past this module nobody asks again whether an id is too long: a value of these types is sound.
//! Bounds are in bytes of UTF-8, as the public interface states them.

use super::display::clean;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a text was not taken: what it was meant to be, and the rule that it broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    what: &'static str,
    rule: String,
}

impl Invalid {
    /// A refusal of `what`, with the rule as the end of a sentence that begins with "must".
    pub fn new(what: &'static str, rule: impl Into<String>) -> Self {
        Self { what, rule: rule.into() }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must {}", self.what, self.rule)
    }
}

impl std::error::Error for Invalid {}

/// Defines a text type with its bounds in bytes; control characters are never allowed, as they have no place in a
/// name and break headers and logs.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $min:literal..=$max:literal $(, $rule:literal => $check:expr)?) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The most bytes it may have.
            pub const MAX: usize = $max;

            /// Parses it, or says what rule was broken.
            pub fn parse(text: impl Into<String>) -> Result<Self, $crate::presence::id::Invalid> {
                let text = $crate::presence::id::bounded($what, $min, $max, text.into())?;
                $(
                    let check: fn(&str) -> bool = $check;
                    if !check(&text) {
                        return Err($crate::presence::id::Invalid::new($what, $rule));
                    }
                )?
                Ok(Self(text))
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::presence::id::Invalid;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0.into()
            }
        }
    };
}

pub(crate) use text;

/// A text within its bounds. One for all types: in each of them it would be a fiftieth of the wasm.
#[inline(never)]
pub(crate) fn bounded(what: &'static str, min: usize, max: usize, text: String) -> Result<Box<str>, Invalid> {
    if !(min..=max).contains(&text.len()) {
        return Err(Invalid::new(what, format!("have {min} to {max} bytes; it has {}", text.len())));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::new(what, "not contain control characters"));
    }
    Ok(text.into_boxed_str())
}

text!(
    /// What the site's application calls a user.
    UserId,
    "a user id",
    1..=128
);
text!(
    /// What people call a user.
    Name,
    "a name",
    1..=128
);
text!(
    /// A picture of a user: an `https:` URL or a path on the site.
    Avatar, "an avatar", 1..=512,
    "be an https: URL or a path that starts with /" => |text| text.starts_with("https://") || text.starts_with('/')
);
text!(
    /// A page's path, without its query, which may hold what is nobody else's business.
    PagePath, "a path", 1..=512, "start with / and have no ? or #" => |text| text.starts_with('/') && !text.contains(['?', '#'])
);
text!(
    /// A page's title.
    Title,
    "a title",
    1..=256
);
text!(
    /// What a page is about, as `user:sally`.
    Topic,
    "a topic",
    1..=128
);
text!(
    /// What a page calls itself, so that a user's tabs can be told apart.
    TabName,
    "a tab",
    1..=64
);
text!(
    /// Whose presence is kept: a host name, or what `SITE` says.
    SiteName,
    "a site",
    1..=253
);

impl PagePath {
    /// From what a page reports of itself, or what is asked for. Query, fragment and what follows a `;` (where some servers keep
    /// a session's id) are dropped.
    ///
    /// # Errors
    /// When it is no path, or leads to another site where a page links to it: browsers read `//host` and `/\host` so.
    pub fn reported(text: &str) -> Result<Self, Invalid> {
        if leads_elsewhere(text) {
            return Err(Invalid::new("a path", "not start with // or /\\"));
        }
        Self::parse(without_query(text))
    }

    /// Whether what was reported is a path, but one that is too long to be kept.
    pub fn is_too_long(text: &str) -> bool {
        text.starts_with('/') && without_query(text).len() > Self::MAX
    }

    /// The path of no page: none that is reported has a `;`. Every version of the stored form can hold it.
    pub(super) fn of_nowhere() -> Self {
        Self("/;".into())
    }

    pub(super) fn is_of_nowhere(&self) -> bool {
        self.as_str() == "/;"
    }
}

impl Name {
    /// A name to be shown: cleaned of what has no shape, and cut if it is too long. `None` where nothing is left, so that the
    /// id is shown. What was stored before is read as it is.
    pub fn shown(text: &str) -> Option<Self> {
        clean(text, Self::MAX).and_then(|text| Self::parse(text).ok())
    }
}

impl Title {
    /// A title to be shown, in the same way.
    pub fn shown(text: &str) -> Option<Self> {
        clean(text, Self::MAX).and_then(|text| Self::parse(text).ok())
    }
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#', ';']).next().unwrap_or_default()
}

/// Whether a second slash or backslash follows the first, as it is or encoded: whoever decodes a path before linking to it would
/// lead there, too.
fn leads_elsewhere(path: &str) -> bool {
    let rest = path.strip_prefix('/').unwrap_or_default();
    let encoded = |code: &str| rest.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(code));
    rest.starts_with(['/', '\\']) || encoded("%5c") || encoded("%2f")
}

/// A tab as the core knows it: a digest of its name, which only has to differ among one member's few tabs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TabId(pub u32);

/// A device on which a user is signed in: a digest of what tells their cookies, sessions or sign-ons apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceId(pub u64);

impl DeviceId {
    /// Stands for whatever touches of a user name no device.
    pub const UNKNOWN: Self = Self(0);
}

/// A guest or a bot as the core knows it: a keyed digest, from which no address can be had back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GuestKey(pub u64);

/// Whose request it is, as far as an address tells: a keyed digest of an IPv4 address or an IPv6 /64, another one each day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u32);

impl GuestKey {
    /// The guest of a client whose browser has this digest.
    pub fn new(client: ClientId, browser: u32) -> Self {
        Self(u64::from(browser) << 32 | u64::from(client.0))
    }

    /// Whose guest it is.
    pub fn client(self) -> ClientId {
        ClientId(self.0 as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_user_id_has_1_to_128_bytes() {
        assert!(UserId::parse("s").is_ok());
        assert!(UserId::parse("é".repeat(64)).is_ok());
        assert_eq!(UserId::parse("").unwrap_err().to_string(), "a user id must have 1 to 128 bytes; it has 0");
        assert_eq!(
            UserId::parse("é".repeat(65)).unwrap_err().to_string(),
            "a user id must have 1 to 128 bytes; it has 130"
        );
    }

    #[test]
    fn a_name_may_be_128_bytes_of_emoji() {
        let name = "🏄".repeat(32);
        assert_eq!(name.len(), 128);
        assert_eq!(Name::parse(name.clone()).unwrap().as_str(), name);
    }

    #[test]
    fn control_characters_are_refused() {
        for bad in ["a\0b", "a\nb", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(UserId::parse(bad).unwrap_err().to_string(), "a user id must not contain control characters");
        }
    }

    #[test]
    fn a_path_starts_with_a_slash_and_holds_no_query() {
        assert!(PagePath::parse("/forum/42").is_ok());
        for bad in ["forum", "", "/a?token=1", "/a#b", "https://example.com/"] {
            assert!(PagePath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reported_path_loses_its_query_and_its_parameters() {
        for text in ["/a?token=1#b", "/a;jsessionid=1", "/a;v=1/b?c", "/a#;"] {
            assert_eq!(PagePath::reported(text).unwrap().as_str(), "/a", "{text}");
        }
        assert_eq!(PagePath::reported(&format!("/a?{}", "x".repeat(512))).unwrap().as_str(), "/a");
        assert!(PagePath::reported("?a").is_err());
    }

    #[test]
    fn a_path_that_leads_to_another_site_is_refused() {
        for bad in [
            "//evil.example",
            "/\\evil.example",
            "/%5Cevil.example",
            "/%5cevil.example",
            "/%2fevil.example",
            "//",
            "/\\",
        ] {
            assert!(PagePath::reported(bad).is_err(), "{bad}");
        }
        for good in ["/", "/a//b", "/a\\b", "/%5", "/%5é", "/.//a"] {
            assert!(PagePath::reported(good).is_ok(), "{good}");
        }
        assert!(PagePath::parse("//evil.example").is_ok(), "what is stored stays readable");
    }

    #[test]
    fn a_guest_tells_whose_it_is() {
        let key = GuestKey::new(ClientId(7), 9);
        assert_eq!((key, key.client()), (GuestKey(9 << 32 | 7), ClientId(7)));
    }

    #[test]
    fn an_avatar_is_https_or_a_path() {
        for (text, good) in [
            ("https://example.com/a.png", true),
            ("/a.png", true),
            ("http://example.com/a.png", false),
            ("javascript:alert(1)", false),
            ("data:image/png;base64,", false),
        ] {
            assert_eq!(Avatar::parse(text).is_ok(), good, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_parsed_is_kept_as_it_was(text in ".{0,200}") {
            if let Ok(id) = UserId::parse(text.clone()) {
                prop_assert_eq!(id.as_str(), text.as_str());
                prop_assert!((1..=128).contains(&id.as_str().len()));
            }
        }
    }
}

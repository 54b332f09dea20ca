//! Patterns that a setting lists: `*` stands for any text, slashes included, and `?` for one character.

use crate::presence::id::Invalid;
use wildmatch::WildMatch;

/// The most patterns of one setting, and the most bytes of each: every page's path may be compared with all of them.
const MAX_PATTERNS: usize = 64;
const MAX_BYTES: usize = 128;

/// A list of patterns. An empty list matches nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Globs(Vec<WildMatch>);

impl Eq for Globs {}

impl Globs {
    /// Parses patterns separated by commas or blanks; `name` is that of the setting.
    ///
    /// # Errors
    /// When there are more than 64 patterns, or one has more than 128 bytes.
    pub fn parse(name: &'static str, list: &str) -> Result<Self, Invalid> {
        let patterns: Vec<_> =
            list.split([',', ' ', '\n']).map(str::trim).filter(|pattern| !pattern.is_empty()).collect();
        if patterns.len() > MAX_PATTERNS || patterns.iter().any(|pattern| pattern.len() > MAX_BYTES) {
            let rule = format!("list at most {MAX_PATTERNS} patterns of up to {MAX_BYTES} bytes, separated by commas");
            return Err(Invalid::new(name, rule));
        }
        Ok(Self(patterns.into_iter().map(WildMatch::new).collect()))
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any of the patterns matches the whole text.
    pub fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_text_and_a_question_mark_one_character() {
        let globs = Globs::parse("PRIVATE_PATHS", "/account*, /reset/?").unwrap();
        for (text, matches) in [
            ("/account", true),
            ("/account/mail/1", true),
            ("/my/account", false),
            ("/reset/1", true),
            ("/reset/12", false),
        ] {
            assert_eq!(globs.matches(text), matches, "{text}");
        }
        assert!(!Globs::default().matches(""));
    }

    #[test]
    fn too_many_patterns_and_too_long_ones_are_refused() {
        let many = "/a ".repeat(65);
        let long = "/".repeat(129);
        for list in [many, long] {
            let refused = Globs::parse("TOPICS", &list).unwrap_err().to_string();
            assert_eq!(refused, "TOPICS must list at most 64 patterns of up to 128 bytes, separated by commas");
        }
    }
}

//! The key that the tags of blocks bear: whoever knows it could write a tag, so it shows itself nowhere.

use crate::presence::id::Invalid;
use std::fmt;

/// A word that no visitor knows: 16 to 128 letters, digits, `-` and `_`.
#[derive(Clone, PartialEq, Eq)]
pub struct BlockKey(Box<str>);

impl BlockKey {
    /// The fewest and the most characters that a key has.
    const LENGTH: std::ops::RangeInclusive<usize> = 16..=128;
    /// The fewest letters and digits. No encoder changes those, so by them the key is found however it was encoded.
    const LETTERS: usize = 8;
    /// What a key has to be, as the end of a sentence that begins with "must".
    pub const RULE: &'static str = "be one random word of 16 to 128 letters, digits, - and _";

    /// Reads a key; `None` where it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let letters = text.bytes().filter(u8::is_ascii_alphanumeric).count();
        let sound = Self::LENGTH.contains(&text.len())
            && letters >= Self::LETTERS
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        sound.then(|| Self(text.into()))
    }

    /// Reads the setting `BLOCK_KEY`, apart from all others: what is wrong with those must not open blocks.
    ///
    /// # Errors
    /// When there is one that is no key. An empty one is none either: it was meant to protect something.
    pub fn from(value: Option<String>) -> Result<Option<Self>, Invalid> {
        let key = value.map(|value| Self::parse(value.trim()).ok_or_else(|| Invalid::new("BLOCK_KEY", Self::RULE)));
        key.transpose()
    }

    /// The key itself.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for BlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BlockKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_word_of_letters_digits_and_two_signs() {
        for key in ["0123456789abcdef", "A_b-C_d-e_f-g_h-", &"x".repeat(128)] {
            assert_eq!(BlockKey::parse(key).unwrap().as_bytes(), key.as_bytes());
        }
        for word in [
            "",
            "0123456789abcde",
            &"x".repeat(129),
            "0123456789abcdef, 0123456789abcdef",
            "0123456789abcde\"",
            "0123456789abcdé",
            "----------------",
            "0123456789 abcdef",
        ] {
            assert_eq!(BlockKey::parse(word), None, "{word}");
        }
    }

    #[test]
    fn a_setting_that_is_no_key_is_refused_and_not_shown() {
        assert_eq!(BlockKey::from(None), Ok(None));
        assert_eq!(BlockKey::from(Some(" 0123456789abcdef\n".into())), Ok(BlockKey::parse("0123456789abcdef")));
        for value in ["", " ", "hunter2"] {
            let refused = BlockKey::from(Some(value.into())).unwrap_err().to_string();
            assert_eq!(refused, "BLOCK_KEY must be one random word of 16 to 128 letters, digits, - and _");
        }
        assert_eq!(format!("{:?}", BlockKey::parse("0123456789abcdef")), "Some(BlockKey(…))");
    }
}

//! The tags of blocks, to the byte.

use super::search::{Found, core};
use crate::config::BlockKey;
use crate::identity::permission::{Object, Permission, Right};

/// Which of the two blocks a tag is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is for those who may.
    If,
    /// It is for the others.
    IfNot,
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Opens a block that depends on this right.
    Open(Kind, Right),
    /// Closes one.
    Close(Kind),
}

/// What stands around a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Around {
    /// No tag.
    Nothing,
    /// A tag begins here, and its end has not come yet.
    Begun(usize),
    /// What begins here is like a tag and none.
    Malformed(usize),
    /// A tag, from its first byte to after its last.
    Whole(usize, usize, Tag),
}

/// What every tag begins with, up to its key.
const BEGINNINGS: [(&str, bool, Kind); 4] = [
    ("<if-permitted key=\"", true, Kind::If),
    ("</if-permitted key=\"", false, Kind::If),
    ("<if-not-permitted key=\"", true, Kind::IfNot),
    ("</if-not-permitted key=\"", false, Kind::IfNot),
];

/// Reads what stands around a key.
pub fn read(text: &[u8], found: Found) -> Around {
    let (before, key) = (text.get(..found.start).unwrap_or_default(), found.key.as_bytes());
    let core = core(found.key);
    let signs = key.iter().position(|byte| byte.is_ascii_alphanumeric()).unwrap_or_default();
    let (first, last) = (key.get(..signs).unwrap_or_default(), key.get(signs + core.len()..).unwrap_or_default());
    let Some(before) = before.strip_suffix(first) else { return Around::Nothing };
    let begun = BEGINNINGS.iter().find(|(beginning, ..)| before.ends_with(beginning.as_bytes()));
    let Some((beginning, opens, kind)) = begun else { return Around::Nothing };
    let start = before.len() - beginning.len();
    if text.get(found.start..found.end) != Some(core) {
        return Around::Malformed(start);
    }
    let mut rest = Rest(text.get(found.end..).unwrap_or_default());
    let read = rest.literal(last).and_then(|()| rest.literal(b"\"")).and_then(|()| match opens {
        true => Ok(Tag::Open(*kind, rest.right()?)),
        false => rest.literal(b">").map(|()| Tag::Close(*kind)),
    });
    match read {
        Ok(tag) => Around::Whole(start, text.len() - rest.0.len(), tag),
        Err(Stop::Short) => Around::Begun(start),
        Err(Stop::Malformed) => Around::Malformed(start),
    }
}

/// Where the last bytes begin that may become a tag and its key with those to come, and whether the key has begun.
pub fn find_begun(keys: &[BlockKey], text: &[u8]) -> Option<(usize, bool)> {
    let longest = BEGINNINGS.iter().map(|(beginning, ..)| beginning.len()).max().unwrap_or_default();
    let longest_key = keys.iter().map(|key| key.as_bytes().len()).max()?;
    let from = text.len().saturating_sub(longest + longest_key);
    (from..text.len()).find_map(|start| {
        let rest = text.get(start..)?;
        BEGINNINGS.iter().find_map(|(beginning, ..)| match rest.strip_prefix(beginning.as_bytes()) {
            Some(rest) => keys.iter().any(|key| key.as_bytes().starts_with(rest)).then_some((start, !rest.is_empty())),
            None => beginning.as_bytes().starts_with(rest).then_some((start, false)),
        })
    })
}

/// What is left of a tag.
struct Rest<'a>(&'a [u8]);

/// Why a tag cannot be read on.
enum Stop {
    /// Its next bytes have not come yet.
    Short,
    /// It is none.
    Malformed,
}

impl<'a> Rest<'a> {
    fn literal(&mut self, literal: &[u8]) -> Result<(), Stop> {
        self.one_of([literal]).map(drop)
    }

    /// Reads one of several, of which none begins with another, and tells which.
    fn one_of<const N: usize>(&mut self, literals: [&[u8]; N]) -> Result<usize, Stop> {
        for (which, literal) in literals.into_iter().enumerate() {
            if let Some(rest) = self.0.strip_prefix(literal) {
                self.0 = rest;
                return Ok(which);
            }
        }
        let short = literals.into_iter().any(|literal| literal.starts_with(self.0));
        Err(if short { Stop::Short } else { Stop::Malformed })
    }

    /// Reads what a block depends on, to the end of the tag.
    fn right(&mut self) -> Result<Right, Stop> {
        let (mut can, mut on) = (None, None);
        loop {
            match self.one_of([b">", b" can=\"", b" on=\""])? {
                0 => break,
                1 if can.is_none() => can = Some(self.value(Permission::MAX)?),
                2 if on.is_none() => on = Some(self.value(Object::MAX)?),
                _ => return Err(Stop::Malformed),
            }
        }
        let permission = can.and_then(|can| Permission::parse(can).ok()).ok_or(Stop::Malformed)?;
        let object = on.map(Object::parse).transpose().map_err(|_| Stop::Malformed)?;
        Ok(Right { permission, object })
    }

    /// Reads an attribute's value and its closing quote. What stands for another character is not worked out.
    fn value(&mut self, most: usize) -> Result<&'a str, Stop> {
        let end = self.0.iter().position(|byte| matches!(byte, b'"' | b'<' | b'>' | b'&'));
        let (value, rest) = match end.and_then(|end| self.0.split_at_checked(end)) {
            None if self.0.len() <= most => return Err(Stop::Short),
            Some((value, [b'"', rest @ ..])) => (value, rest),
            _ => return Err(Stop::Malformed),
        };
        self.0 = rest;
        std::str::from_utf8(value).map_err(|_| Stop::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::search::find;
    use super::*;

    const KEY: &str = "0123456789abcdef";

    fn around(text: &str) -> Around {
        let keys = [BlockKey::parse(KEY).unwrap()];
        read(text.as_bytes(), find(&keys, text.as_bytes()).unwrap())
    }

    #[test]
    fn tags_are_written_just_so() {
        for (text, tag) in [
            (
                "<if-permitted key=\"0123456789abcdef\" can=\"can_edit\" on=\"group:42\">",
                Tag::Open(Kind::If, Right::parse("can_edit@group:42").unwrap()),
            ),
            (
                "<if-permitted key=\"0123456789abcdef\" on=\"a@b, é\" can=\"p\">",
                Tag::Open(Kind::If, Right::parse("p@a@b, é").unwrap()),
            ),
            (
                "<if-not-permitted key=\"0123456789abcdef\" can=\"p\">",
                Tag::Open(Kind::IfNot, Right::parse("p").unwrap()),
            ),
            ("</if-permitted key=\"0123456789abcdef\">", Tag::Close(Kind::If)),
            ("</if-not-permitted key=\"0123456789abcdef\">", Tag::Close(Kind::IfNot)),
        ] {
            assert_eq!(around(&format!("<p>{text}x")), Around::Whole(3, 3 + text.len(), tag), "{text}");
            let after_key = text.find(KEY).unwrap() + KEY.len();
            for end in (after_key..text.len()).filter(|end| text.is_char_boundary(*end)) {
                assert_eq!(around(text.split_at(end).0), Around::Begun(0), "{text} {end}");
            }
        }
    }

    #[test]
    fn what_is_like_a_tag_is_malformed() {
        let long = "x".repeat(129);
        for rest in [
            ">",
            " can=\"p\" >",
            " can=\"p\"/>",
            "  can=\"p\">",
            "\tcan=\"p\">",
            " can='p'>",
            " CAN=\"p\">",
            " can=\"p\" can=\"q\">",
            " on=\"a\">",
            " can=\"\">",
            " can=\"a b\">",
            " can=\"a@b\">",
            " can=\"a&amp;b\">",
            " can=\"a\" on=\"\">",
            " can=\"a\" on=\"b\" on=\"c\">",
            " can=\"a\" on=\"b<\">",
            " can=\"a\" on=\"b\n\">",
            " can=\"a\" class=\"b\">",
            &format!(" can=\"{long}"),
            &format!(" can=\"p\" on=\"{long}\">"),
        ] {
            let text = format!("<p><if-permitted key=\"{KEY}\"{rest}");
            assert_eq!(around(&text), Around::Malformed(3), "{text}");
        }
        for text in ["</if-permitted key=\"0123456789abcdef\" >", "</if-permitted key=\"0123456789abcdef\" can=\"p\">"]
        {
            assert_eq!(around(text), Around::Malformed(0), "{text}");
        }
        assert_eq!(around("<if-permitted key=\"0123456789ABCDEF\" can=\"p\">"), Around::Malformed(0));
        let invalid = [b"<if-permitted key=\"0123456789abcdef\" can=\"p\" on=\"".as_slice(), &[0xff], b"\">"].concat();
        let keys = [BlockKey::parse(KEY).unwrap()];
        assert_eq!(read(&invalid, find(&keys, &invalid).unwrap()), Around::Malformed(0));
    }

    #[test]
    fn a_key_elsewhere_is_in_no_tag() {
        for text in [
            "<if-permitted key='0123456789abcdef' can='p'>",
            "<if-permitted key=\\\"0123456789abcdef\\\" can=\\\"p\\\">",
            "&lt;if-permitted key=&quot;0123456789abcdef&quot; can=&quot;p&quot;&gt;",
            "<if-permitted can=\"p\" key=\"0123456789abcdef\">",
            "<if-permitted  key=\"0123456789abcdef\" can=\"p\">",
            "<If-Permitted key=\"0123456789abcdef\" can=\"p\">",
            "<if-permitted key=\"x0123456789abcdef\" can=\"p\">",
            "0123456789abcdef",
        ] {
            assert_eq!(around(text), Around::Nothing, "{text}");
        }
    }

    #[test]
    fn what_may_become_a_tag_is_told_before_it_is_one() {
        let keys = [BlockKey::parse(KEY).unwrap()];
        let tag = format!("</if-not-permitted key=\"{KEY}");
        for end in 1..tag.len() {
            let text = format!("<p><{}", tag.split_at(end).0);
            assert_eq!(find_begun(&keys, text.as_bytes()), Some((4, end > tag.len() - KEY.len())), "{text}");
        }
        for text in ["<if- ", "<if-permitted key=\"1", "if-permitted", "<IF", ""] {
            assert_eq!(find_begun(&keys, text.as_bytes()), None, "{text}");
        }
        assert_eq!(find_begun(&[], b"<if"), None);
    }
}

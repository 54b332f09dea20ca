//! Finds a key in bytes, also where an encoder has been at work: in UTF-16 or UTF-32, in other case, over several lines, with
//! `-` and `_` written as JavaScript, JSON, CSS, HTML, URLs or mail write them.

use crate::config::BlockKey;

/// What may stand between two characters of a key: the zero bytes of wide encodings, what escapes the next character, and
/// the ends of lines that are broken wherever they become too long.
const BETWEEN: [u8; 5] = [0, b'\\', b'\r', b'\n', b'='];
/// The most of them in a row.
const MAX_BETWEEN: usize = 8;

/// How encoders write the two characters of a key that they may change, what escapes them aside.
const DASH: [&str; 7] = ["-", "u002d", "x2d", "2d", "&#45;", "&#x2d;", "%2d"];
const UNDERSCORE: [&str; 8] = ["_", "u005f", "x5f", "5f", "&#95;", "&#x5f;", "&lowbar;", "%5f"];

/// Where a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    /// Which key.
    pub key: &'a BlockKey,
    /// Where its first letter or digit is: signs before that are no part of what is searched for.
    pub start: usize,
    /// Where it ends, after its last letter or digit.
    pub end: usize,
}

/// The first place where one of the keys stands.
pub fn find<'a>(keys: &'a [BlockKey], text: &[u8]) -> Option<Found<'a>> {
    let first = |key: &'a BlockKey| {
        let found = |(start, read): (usize, Read)| match read {
            Read::Whole(length) => Some(Found { key, start, end: start + length }),
            _ => None,
        };
        reads(core(key), text).find_map(found)
    };
    keys.iter().filter_map(first).min_by_key(|found| found.start)
}

/// Where the last bytes begin that may become a key with those to come.
pub fn find_begun(keys: &[BlockKey], text: &[u8]) -> Option<usize> {
    let first = |key| reads(core(key), text).find(|(_, read)| *read == Read::Begun).map(|(start, _)| start);
    keys.iter().filter_map(first).min()
}

/// A key from its first letter or digit to its last.
pub fn core(key: &BlockKey) -> &[u8] {
    let sign = |byte: &u8| !byte.is_ascii_alphanumeric();
    let key = key.as_bytes();
    let start = key.iter().take_while(|byte| sign(byte)).count();
    let after = key.iter().rev().take_while(|byte| sign(byte)).count();
    key.get(start..key.len() - after).unwrap_or_default()
}

/// What comes of reading on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    /// It is not there.
    No,
    /// It may be, with the bytes to come.
    Begun,
    /// It is there, and has so many bytes.
    Whole(usize),
}

/// What comes of reading a key wherever its first character stands.
fn reads<'a>(core: &'a [u8], text: &'a [u8]) -> impl Iterator<Item = (usize, Read)> + 'a {
    let (lower, upper) = core.first().map_or((0, 0), |first| (first.to_ascii_lowercase(), first.to_ascii_uppercase()));
    let starts = memchr::memchr2_iter(lower, upper, text);
    starts.map(move |start| (start, read_key(core, text.get(start..).unwrap_or_default())))
}

fn read_key(core: &[u8], text: &[u8]) -> Read {
    let mut length = 0;
    for byte in core {
        let read = |written: &[u8]| read_written(written, text, length);
        let next = match byte {
            b'-' => read_any(&DASH, read),
            b'_' => read_any(&UNDERSCORE, read),
            plain => read(std::slice::from_ref(plain)),
        };
        let Read::Whole(next) = next else { return next };
        length = next;
    }
    Read::Whole(length)
}

/// Whichever of several is there; no two of them can be.
fn read_any(several: &[&str], read: impl Fn(&[u8]) -> Read) -> Read {
    let mut come = Read::No;
    for written in several {
        match read(written.as_bytes()) {
            Read::No => {}
            Read::Begun => come = Read::Begun,
            whole => return whole,
        }
    }
    come
}

/// Reads what is written from a place on, and gives the place after it.
fn read_written(written: &[u8], text: &[u8], mut at: usize) -> Read {
    for byte in written {
        let rest = text.get(at..).unwrap_or_default();
        let between = rest.iter().take(MAX_BETWEEN).take_while(|byte| at > 0 && BETWEEN.contains(byte)).count();
        match rest.get(between) {
            None => return Read::Begun,
            Some(other) if other.eq_ignore_ascii_case(byte) => at += between + 1,
            Some(_) => return Read::No,
        }
    }
    Read::Whole(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-Ab_3-efghijklmn_";

    fn keys() -> Vec<BlockKey> {
        vec![BlockKey::parse(KEY).unwrap()]
    }

    #[test]
    fn a_key_is_found_in_whatever_form_an_encoder_gave_it() {
        let wide = |text: &str, before: usize, after: usize| -> Vec<u8> {
            text.bytes().flat_map(|byte| [vec![0; before], vec![byte], vec![0; after]].concat()).collect()
        };
        for form in [
            KEY.into(),
            KEY.to_uppercase().into_bytes(),
            wide(KEY, 0, 1),
            wide(KEY, 1, 0),
            wide(KEY, 3, 0),
            wide("Ab\\u005f3\\u002Defghijklmn", 0, 1),
            "Ab\\\\_3\\-efghijklmn".into(),
            "Ab\\x5F3\\x2Defghijklmn".into(),
            "Ab&#95;3&#45;efghijklmn".into(),
            "Ab&#x5f;3&#x2D;efghijklmn".into(),
            "Ab&lowbar;3%2defghijklmn".into(),
            "Ab=5F3=2Defghijklmn".into(),
            "Ab\\5f3\\2defghijklmn".into(),
            "Ab_3-ef=\r\nghi\njklmn".into(),
        ] {
            let form: Vec<u8> = form;
            let text = [b"a ab ", form.as_slice(), b" after"].concat();
            let (keys, begun) = (keys(), |end: usize| find_begun(&keys(), text.get(..end).unwrap()));
            let found = find(&keys, &text).unwrap_or_else(|| panic!("{:?}", String::from_utf8_lossy(&form)));
            assert_eq!(text[found.start].to_ascii_lowercase(), b'a');
            assert_eq!(text[found.end - 1].to_ascii_lowercase(), b'n');
            for end in found.start + 1..found.end {
                assert_eq!((find(&keys, &text[..end]), begun(end)), (None, Some(found.start)), "{end}");
            }
        }
    }

    #[test]
    fn what_is_like_a_key_is_none() {
        for text in ["Ab_3-efghijklm", "Ab__3-efghijklmn", "Ab 3-efghijklmn", "Ab_3-efghijkl mn", ""] {
            assert_eq!(find(&keys(), text.as_bytes()), None, "{text}");
        }
        assert_eq!(find_begun(&keys(), b"Ab_3-efghijklm "), None);
        let far = ["Ab_3-e", &"\\".repeat(9), "fghijklmn"].concat();
        assert_eq!((find(&keys(), far.as_bytes()), find_begun(&keys(), far.as_bytes())), (None, None));
    }

    #[test]
    fn of_several_keys_the_first_is_found() {
        let keys = [keys(), vec![BlockKey::parse("0123456789abcdef").unwrap()]].concat();
        let found = find(&keys, b"..0123456789abcdef Ab_3-efghijklmn").unwrap();
        assert_eq!((found.key, found.start, found.end), (&keys[1], 2, 18));
    }
}

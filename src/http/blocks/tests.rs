//! What a whole answer comes to, and a naive model of it: one that has all the bytes at once, and looks for texts.

use super::cutter::{Cutter, Fault, Next, Reason};
use crate::config::BlockKey;
use crate::identity::User;
use crate::identity::access::Standing;
use crate::identity::permission::Right;
use crate::presence::id::UserId;
use proptest::prelude::*;

const KEY: &str = "Key-of_this-Answer42";
const OTHER: &str = "another0123456789";

fn keys() -> Vec<BlockKey> {
    [KEY, OTHER].map(|key| BlockKey::parse(key).unwrap()).to_vec()
}

/// Somebody who may `yes`, and edit group 42.
fn viewer() -> Standing {
    let perms = Right::parse_all(["yes", "can_edit@group:42"]);
    Standing { user: Some(User { id: UserId::parse("sally").unwrap(), profile: None, perms }), ..Standing::default() }
}

/// What goes out of an answer that comes in these pieces, and why it ended.
fn cut(pieces: &[&[u8]], viewer: &Standing) -> (Vec<u8>, Option<Fault>) {
    let (mut cutter, mut pieces, mut known, mut out) = (Cutter::new(keys()), pieces.iter(), None, Vec::new());
    loop {
        match cutter.next(known) {
            Next::Bytes(bytes) => {
                assert!(!bytes.is_empty());
                out.extend(bytes);
            }
            Next::Piece => match pieces.next() {
                Some(piece) => cutter.push(piece),
                None => cutter.finish(),
            },
            Next::Viewer => {
                assert!(known.is_none(), "nobody is asked twice");
                known = Some(viewer);
            }
            Next::End(fault) => return (out, fault),
        }
    }
}

fn shown(text: &str, viewer: &Standing) -> (String, Option<Reason>) {
    let text = text.replace('K', KEY);
    let (out, fault) = cut(&[text.as_bytes()], viewer);
    (String::from_utf8(out).unwrap(), fault.map(|fault| fault.reason))
}

#[test]
fn a_block_is_there_for_those_who_may_and_its_other_for_the_rest() {
    let page = "a<if-permitted key=\"K\" can=\"can_edit\" on=\"group:42\">EDIT</if-permitted key=\"K\">b\
                <if-not-permitted key=\"K\" on=\"group:42\" can=\"can_edit\">ask</if-not-permitted key=\"K\">c";
    assert_eq!(shown(page, &viewer()), ("aEDITbc".into(), None));
    assert_eq!(shown(page, &Standing::default()), ("abaskc".into(), None));
    assert_eq!(shown(page, &Standing { admin: true, ..Standing::default() }), ("aEDITbc".into(), None));
}

#[test]
fn an_answer_without_blocks_passes() {
    for text in ["", "<p>plain</p>", "<if-permitted can=\"no\">kept</if-permitted>", "<if-permitted key=\"", "</if-"] {
        assert_eq!(shown(text, &Standing::default()), (text.into(), None), "{text}");
    }
    let mut cutter = Cutter::new(Vec::new());
    cutter.push(b"\x1f\x8b<if-permitted key=\"");
    assert_eq!(cutter.next(None), Next::Bytes(b"\x1f\x8b<if-permitted key=\"".into()), "nothing is held without a key");
}

#[test]
fn blocks_may_be_nested() {
    let yes = "<if-permitted key=\"K\" can=\"yes\">";
    let no = "<if-permitted key=\"K\" can=\"no\">";
    let not = "<if-not-permitted key=\"K\" can=\"no\">";
    let (end, end_not) = ("</if-permitted key=\"K\">", "</if-not-permitted key=\"K\">");
    for (text, goes_out) in [
        (format!("1{yes}2{no}3{yes}4{end}5{end}6{end}7"), "1267"),
        (format!("1{no}2{yes}3{end}4{not}5{end_not}6{end}7"), "17"),
        (format!("1{not}2{yes}3{end}4{no}5{end}6{end_not}7"), "123467"),
        (format!("{yes}{end}{no}{end}{not}{end_not}"), ""),
    ] {
        assert_eq!(shown(&text, &viewer()), (goes_out.into(), None), "{text}");
    }
}

#[test]
fn what_is_malformed_mismatched_or_not_closed_ends_the_answer() {
    let (no, end) = ("<if-permitted key=\"K\" can=\"no\">", "</if-permitted key=\"K\">");
    for (text, goes_out, reason) in [
        (format!("a{no}SECRET"), "a", Reason::Unclosed),
        (format!("a{no}SECRET</if-permitted>SECRET"), "a", Reason::Unclosed),
        (format!("a{no}{no}SECRET{end}SECRET"), "a", Reason::Unclosed),
        (format!("a{no}SECRET</if-not-permitted key=\"K\">SECRET"), "a", Reason::Mismatched),
        (format!("a{no}SECRET</if-permitted key=\"{OTHER}\">SECRET"), "a", Reason::Mismatched),
        (format!("a{end}SECRET"), "a", Reason::Mismatched),
        (format!("a{no}SECRET{end}{end}SECRET"), "a", Reason::Mismatched),
        ("a<if-permitted key=\"K\">SECRET</if-permitted key=\"K\">".into(), "a", Reason::Malformed),
        ("a<if-permitted key=\"K\" can=\"no\"/>SECRET".into(), "a", Reason::Malformed),
        ("a<if-permitted key=\"K\" can=\"no".into(), "a", Reason::Malformed),
        (format!("a<if-permitted key=\"{}", KEY.split_at(4).0), "a", Reason::Malformed),
        ("a<if-permitted key='K' can='no'>SECRET".into(), "a<if-permitted key='", Reason::KeyElsewhere),
        ("a<if-permitted can=\"no\" key=\"K\">SECRET".into(), "a<if-permitted can=\"no\" key=\"", Reason::KeyElsewhere),
        (format!("a{no}SECRET K SECRET{end}"), "a", Reason::KeyElsewhere),
    ] {
        assert_eq!(shown(&text, &viewer()), (goes_out.into(), Some(reason)), "{text}");
    }
}

#[test]
fn a_fault_tells_where_it_is_in_what_the_site_sent() {
    let tag = format!("<if-permitted key=\"{KEY}\" can=\"yes\">");
    let text = format!("12345{tag}6789");
    let (_, fault) = cut(&[&text.as_bytes()[..3], &text.as_bytes()[3..]], &viewer());
    assert_eq!(fault, Some(Fault { at: 5, reason: Reason::Unclosed }));
    let text = format!("12345{tag}6789 {KEY}");
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    let (out, fault) = cut(&pieces, &viewer());
    assert_eq!(out, b"123456789 ");
    assert_eq!(fault, Some(Fault { at: text.len() as u64 - KEY.len() as u64, reason: Reason::KeyElsewhere }));
    assert_eq!(
        fault.unwrap().to_string(),
        format!("byte {}: the key stands there, and not in a tag", text.len() - KEY.len())
    );
}

#[test]
fn what_is_compressed_without_saying_so_does_not_go_out() {
    for (pieces, goes_out) in [
        ([b"\x1f\x8b\x08".as_slice(), b"..."], b"".as_slice()),
        ([b"\x1f", b"\x8b"], b""),
        ([b"\x28\xb5", b"\x2f\xfd..."], b""),
        ([b"\x1f", b"."], b"\x1f."),
        ([b"(", b""], b"("),
    ] {
        let (out, fault) = cut(&pieces, &viewer());
        assert_eq!(out, goes_out);
        assert_eq!(fault.map(|fault| fault.reason), goes_out.is_empty().then_some(Reason::Compressed));
    }
}

#[test]
fn what_precedes_a_block_goes_out_before_it_is_known_who_looks() {
    let mut cutter = Cutter::new(keys());
    cutter.push(format!("before<if-permitted key=\"{KEY}\" can=\"yes\">in</if-permitted key=\"{KEY}\">").as_bytes());
    assert_eq!(cutter.next(None), Next::Bytes(b"before".into()));
    assert_eq!(cutter.next(None), Next::Viewer);
    assert_eq!(cutter.next(Some(&viewer())), Next::Bytes(b"in".into()));
}

/// The naive model: what goes out of an answer that is there as a whole.
fn model(text: &[u8], viewer: &Standing) -> Vec<u8> {
    let (mut out, mut open, mut at) = (Vec::new(), Vec::<(String, bool)>::new(), 0);
    if text.starts_with(b"\x1f\x8b") || text.starts_with(b"\x28\xb5\x2f\xfd") {
        return out;
    }
    while at < text.len() {
        let rest = &text[at..];
        if key_at(rest) {
            return out;
        }
        match tag_at(rest) {
            None => {
                if open.iter().all(|(_, shown)| *shown) {
                    out.push(text[at]);
                }
                at += 1;
            }
            Some(None) => return out,
            Some(Some((name, right, length))) => {
                match right {
                    Some(right) => {
                        let may = viewer.may(&right);
                        open.push((name.clone(), if name.starts_with("if-p") { may } else { !may }));
                    }
                    None if open.last().is_some_and(|(last, _)| *last == name) => drop(open.pop()),
                    None => return out,
                }
                at += length;
            }
        }
    }
    out
}

/// Whether a key stands here in some form, by looking at what is left when all that encoders put in is taken out.
fn key_at(text: &[u8]) -> bool {
    let begins = |key: &&str| text.first().is_some_and(|byte| byte.eq_ignore_ascii_case(&key.as_bytes()[0]));
    let mut keys = [KEY, OTHER].into_iter().filter(begins);
    keys.any(|key| {
        (key.len()..=text.len().min(key.len() * 8)).any(|length| {
            let (bytes, between) = (&text[..length], |byte: &u8| b"\0\\\r\n=".contains(byte));
            if between(&bytes[0]) || between(&bytes[length - 1]) {
                return false;
            }
            let run = bytes.split(|byte| !between(byte)).map(<[u8]>::len).max();
            let mut plain: String = bytes.iter().filter(|byte| !between(byte)).map(|byte| *byte as char).collect();
            plain.make_ascii_lowercase();
            for (written, sign) in [
                ("u002d", "-"),
                ("x2d", "-"),
                ("&#45;", "-"),
                ("&#x2d;", "-"),
                ("%2d", "-"),
                ("2d", "-"),
                ("u005f", "_"),
                ("x5f", "_"),
                ("&#95;", "_"),
                ("&#x5f;", "_"),
                ("&lowbar;", "_"),
                ("%5f", "_"),
                ("5f", "_"),
            ] {
                plain = plain.replace(written, sign);
            }
            run.is_none_or(|run| run <= 8) && plain == key.to_ascii_lowercase()
        })
    })
}

/// What a tag here says, and its length: its block with the key, and what it opens it for. `Some(None)`: it is malformed.
#[allow(clippy::type_complexity)]
fn tag_at(text: &[u8]) -> Option<Option<(String, Option<Right>, usize)>> {
    for name in ["if-permitted", "if-not-permitted"] {
        for key in [KEY, OTHER] {
            let (open, close) = (format!("<{name} key=\"{key}\""), format!("</{name} key=\"{key}\""));
            let block = format!("{name} {key}");
            if let Some(rest) = text.strip_prefix(close.as_bytes()) {
                return Some(rest.starts_with(b">").then(|| (block, None, close.len() + 1)));
            }
            let Some(rest) = text.strip_prefix(open.as_bytes()) else { continue };
            let Some(end) = rest.iter().position(|byte| *byte == b'>') else { return Some(None) };
            let attributes = String::from_utf8_lossy(&rest[..end]).into_owned();
            let parts: Vec<&str> = attributes.split('"').collect();
            let (can, on) = match parts[..] {
                [" can=", can, ""] => (can, None),
                [" can=", can, " on=", on, ""] | [" on=", on, " can=", can, ""] => (can, Some(on)),
                _ => return Some(None),
            };
            if can.contains(['@', '<', '&']) || on.is_some_and(|on| on.contains(['<', '&'])) {
                return Some(None);
            }
            let right = on.map_or(can.to_owned(), |on| format!("{can}@{on}"));
            return Some(Right::parse(&right).ok().map(|right| (block, Some(right), open.len() + end + 1)));
        }
        // Begun, and over before its key is whole; or with a key in another form, which is told by the key itself.
        for open in [format!("<{name} key=\""), format!("</{name} key=\"")] {
            if let Some(rest) = text.strip_prefix(open.as_bytes()) {
                let ends_within = !rest.is_empty() && [KEY, OTHER].iter().any(|key| key.as_bytes().starts_with(rest));
                if ends_within || key_at(rest) {
                    return Some(None);
                }
            }
        }
    }
    None
}

/// Bits of what an answer may be made of.
fn bit() -> impl Strategy<Value = Vec<u8>> {
    let fixed = |text: &'static str| Just(text.replace('K', KEY).replace('O', OTHER).into_bytes());
    let tag = prop_oneof![
        4 => fixed("<if-permitted key=\"K\" can=\"yes\">"),
        4 => fixed("</if-permitted key=\"K\">"),
        2 => fixed("<if-permitted key=\"K\" can=\"no\">"),
        2 => fixed("<if-not-permitted key=\"K\" can=\"no\">"),
        2 => fixed("<if-not-permitted key=\"K\" on=\"group:42\" can=\"can_edit\">"),
        3 => fixed("</if-not-permitted key=\"K\">"),
        1 => fixed("<if-permitted key=\"O\" can=\"yes\">"),
        1 => fixed("</if-permitted key=\"O\">"),
    ];
    let hostile = prop_oneof![
        fixed("<if-permitted key=\""),
        fixed("</if-not-permitted key='"),
        fixed("<if-"),
        fixed("K"),
        fixed("\" can=\"yes\">"),
        fixed("\">"),
        fixed("Key&#x2d;of\\u005Fthis\\-answer42"),
        fixed("Key-of_this-Answer4"),
        fixed("K\0e\0y"),
        Just(KEY.bytes().flat_map(|byte| [byte, 0]).collect()),
        fixed("Key-of_this-=\r\nAnswer42"),
        fixed("another"),
        fixed("0123456789"),
        fixed("\\"),
        fixed("\x1f"),
    ];
    let bytes = proptest::collection::vec(any::<u8>(), 1..6);
    prop_oneof![5 => tag, 4 => "[a-z <>&\"'/]{1,8}".prop_map(String::into_bytes), 1 => hostile, 1 => bytes]
}

/// A block in which there are others, all of them well-formed; what must not be seen is marked.
fn nested() -> impl Strategy<Value = (String, String)> {
    let leaf = "[a-z<>\"= ]{0,12}".prop_map(|text| (text.clone(), text));
    leaf.prop_recursive(5, 40, 4, |inner| {
        let both = proptest::collection::vec(inner, 1..4).prop_map(|parts| {
            parts
                .into_iter()
                .fold(Default::default(), |(text, seen): (String, String), part| (text + &part.0, seen + &part.1))
        });
        let kinds = [("if-permitted", "yes", true), ("if-permitted", "no", false), ("if-not-permitted", "no", true)];
        (both, proptest::sample::select(kinds.to_vec())).prop_map(|((text, seen), (name, can, shown))| {
            let secret = if shown { "" } else { "SECRET" };
            let block = format!("<{name} key=\"{KEY}\" can=\"{can}\">{secret}{text}</{name} key=\"{KEY}\">");
            (block, if shown { seen } else { String::new() })
        })
    })
}

fn pieces<'a>(mut text: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for length in lengths.iter().cycle() {
        if text.is_empty() {
            break;
        }
        let (piece, rest) = text.split_at((*length).min(text.len()));
        pieces.push(piece);
        text = rest;
    }
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    #[test]
    fn in_whatever_pieces_it_comes_the_answer_is_what_the_model_says(
        bits in proptest::collection::vec(bit(), 0..14),
        lengths in proptest::collection::vec(1usize..40, 1..6),
    ) {
        let text = bits.concat();
        let (out, _) = cut(&pieces(&text, &lengths), &viewer());
        let expected = model(&text, &viewer());
        prop_assert!(out == expected, "{:?}, not {:?}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
    }

    #[test]
    fn of_well_formed_blocks_each_is_cut_or_kept(
        parts in proptest::collection::vec(nested(), 1..4),
        lengths in proptest::collection::vec(1usize..60, 1..6),
    ) {
        let text: String = parts.iter().map(|(text, _)| text.as_str()).collect();
        let seen: String = parts.iter().map(|(_, seen)| seen.as_str()).collect();
        let (out, fault) = cut(&pieces(text.as_bytes(), &lengths), &viewer());
        prop_assert_eq!((String::from_utf8(out).unwrap(), fault), (seen, None));
    }
}

//! `INJECT_WIDGET`: the widget's script is put into documents that lack it.
//!
//! It goes as far to the front as a script may stand, at the beginning of the head: there no `<base>` and no policy of a
//! `<meta>` comes before it, and nothing of what a visitor may have written. What follows is not looked at, so that no markup,
//! however odd, can break a page; the runtime's own parser gives up in the middle of one that has a `<script>` in a `<select>`.

use super::Headers;
use super::page::{Coding, media_type};
use super::report::is_download;
use crate::config::is_authority;

/// The most bytes that may stand before the head; comments, mostly.
const MAX_BEFORE: usize = 16 * 1024;

/// An answer into which a script is put as it streams.
#[derive(Debug)]
pub struct Injector {
    /// The script, until it is in or it is clear that the answer is no document.
    script: Option<String>,
    /// Whether it is XML, where nothing is put up with.
    xml: bool,
    /// Whether a browser said that it opens a document.
    opened: bool,
    held: Vec<u8>,
}

impl Injector {
    /// For the answer to a request, where a script has a place in it. `host` and `base_path` are where the script is.
    pub fn of(
        request: &impl Headers,
        (method, status): (&str, u16),
        answer: &impl Headers,
        host: &str,
        base_path: &str,
    ) -> Option<Self> {
        let xml = match media_type(answer)?.as_str() {
            "text/html" => false,
            "application/xhtml+xml" => true,
            _ => return None,
        };
        let whole = method != "HEAD" && !matches!(status, ..200 | 204 | 205 | 206 | 226 | 304);
        if is_download(answer) || !whole || !is_authority(host) || Coding::of(answer) != Some(Coding::Plain) {
            return None;
        }
        // Without a scheme the address has the page's own, which a Worker behind a proxy does not know.
        let address = format!("//{host}{base_path}/widget.js");
        let nonce = nonce(answer).map_or_else(String::new, |nonce| format!(" nonce=\"{nonce}\""));
        let script = Some(format!("<script src=\"{address}\" async=\"async\"{nonce}></script>"));
        let opened = request.get("sec-fetch-dest").is_some_and(|dest| dest == "document");
        Some(Self { script, xml, opened, held: Vec::new() })
    }

    /// Takes a piece of the answer, and gives what goes out.
    pub fn push(&mut self, piece: Vec<u8>) -> Vec<u8> {
        let Some(script) = &self.script else { return piece };
        self.held.extend(piece);
        let place = match find_place(&self.held, self.xml, self.opened) {
            Place::NotYet if self.held.len() < MAX_BEFORE => return Vec::new(),
            Place::At(place) if place <= MAX_BEFORE => Some(place),
            _ => None,
        };
        let (before, after) = self.held.split_at(place.unwrap_or_default().min(self.held.len()));
        let script = if place.is_some() { script.as_bytes() } else { &[] };
        let out = [before, script, after].concat();
        (self.script, self.held) = (None, Vec::new());
        out
    }

    /// Gives what was held back, where the answer ended before it was clear what it is.
    pub fn finish(&mut self) -> Vec<u8> {
        self.script = None;
        std::mem::take(&mut self.held)
    }
}

/// The nonce that the answer's policy has scripts bear.
fn nonce(answer: &impl Headers) -> Option<String> {
    let policies = answer.get("content-security-policy")?;
    let directives = || policies.split([';', ',']).map(str::trim);
    ["script-src-elem", "script-src", "default-src"].into_iter().find_map(|name| {
        let of_name = |directive: &&str| {
            directive.split_ascii_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case(name))
        };
        let mut sources = directives().filter(of_name).flat_map(str::split_ascii_whitespace);
        sources.find_map(|source| {
            let nonce = source.strip_prefix("'nonce-")?.strip_suffix('\'')?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_' | b'=');
            (!nonce.is_empty() && nonce.bytes().all(plain)).then(|| nonce.to_owned())
        })
    })
}

/// Where the script goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Here.
    At(usize),
    /// That is not clear yet.
    NotYet,
    /// The answer is no document.
    Nowhere,
}

/// Finds the beginning of the head: after its tag, or before the first tag that must be in it or after it.
fn find_place(text: &[u8], xml: bool, opened: bool) -> Place {
    let (mut at, mut is_document) = (if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }, false);
    let mut is_xml = false;
    loop {
        at += text.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let rest = text.get(at..).unwrap_or_default();
        let after = |end: &[u8]| find(rest, end).map(|found| at + found + end.len());
        let next = match rest {
            [b'<', b'!', b'-', b'-', ..] => after(b"-->"),
            [b'<', b'?', ..] => {
                is_xml = true;
                after(b">")
            }
            [b'<'] | [b'<', b'!', ..] if rest.len() < 16 && !rest.contains(&b'>') => None,
            [b'<', b'!', ..] => match names(rest, b"<!doctype html") && !declares_more(rest) {
                true => {
                    is_document = true;
                    after(b">")
                }
                false => return Place::Nowhere,
            },
            [b'<', first, ..] if first.is_ascii_alphabetic() => {
                let Some(end) = end_of_tag(rest) else { return Place::NotYet };
                if names(rest, b"<html") {
                    is_document = true;
                    Some(at + end)
                } else if names(rest, b"<head") {
                    return Place::At(at + end);
                } else if !xml
                    && (is_document || (opened && !is_xml) || IN_DOCUMENTS.iter().any(|name| names(rest, name)))
                {
                    return Place::At(at);
                } else {
                    return Place::Nowhere;
                }
            }
            [] | [0xef] | [0xef, 0xbb] => return Place::NotYet,
            _ => return Place::Nowhere,
        };
        match next {
            Some(next) => at = next,
            None => return Place::NotYet,
        }
    }
}

/// What only a document begins with.
const IN_DOCUMENTS: [&[u8]; 5] = [b"<title", b"<meta", b"<base", b"<link", b"<body"];

/// Whether a tag or a declaration begins so, whatever the case, and with no further letter.
fn names(text: &[u8], name: &[u8]) -> bool {
    let (begins, rest) = text.split_at_checked(name.len()).unwrap_or_default();
    begins.eq_ignore_ascii_case(name)
        && rest.first().is_none_or(|byte| matches!(byte, b'>' | b'/') || byte.is_ascii_whitespace())
}

/// Whether a document type declares more than its name: an end within is not its own.
fn declares_more(text: &[u8]) -> bool {
    text.iter().take_while(|byte| **byte != b'>').any(|byte| *byte == b'[')
}

/// Where a tag ends, after its `>`. One in an attribute's value is none.
fn end_of_tag(text: &[u8]) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in text.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == *byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'>') => return Some(at + 1),
            (None, _) => {}
        }
    }
    None
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPENED: [(&str, &str); 1] = [("sec-fetch-dest", "document")];
    const SCRIPT: &str = "<script src=\"//club.example/_presence/widget.js\" async=\"async\"></script>";

    fn injector(request: &[(&str, &str)], status: u16, answer: &[(&str, &str)]) -> Option<Injector> {
        Injector::of(&request, ("GET", status), &answer, "club.example", "/_presence")
    }

    fn with_script(request: &[(&str, &str)], kind: &str, page: &str, piece: usize) -> String {
        let mut injector = injector(request, 200, &[("content-type", kind)]).unwrap();
        let mut out: Vec<u8> = page.as_bytes().chunks(piece).flat_map(|piece| injector.push(piece.into())).collect();
        out.extend(injector.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_script_stands_at_the_beginning_of_the_head() {
        for page in [
            "<!doctype html><html lang=en><head>|<base href='//evil.example/'><title>a</title></head>",
            "\u{feff} \n<!-- <head> --><!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\n<HTML data-a='>'>\n<HEAD lang=en>|\n<title>",
            "<!doctype html>|<title>a</title><p>b",
            "<!doctype html><html>|<body>b",
            "|<title>a</title>",
            "|<META charset=utf-8>",
            "<head>|</head><select><script></script></select>",
        ] {
            for piece in [1, 7, 1000] {
                let text = page.replace('|', "");
                for request in [&OPENED[..], &[("accept", "text/html")]] {
                    assert_eq!(with_script(request, "text/html; charset=x", &text, piece), page.replace('|', SCRIPT));
                }
            }
        }
        assert_eq!(with_script(&OPENED, "text/html", "<p>b", 3), format!("{SCRIPT}<p>b"), "a browser opened it");
    }

    #[test]
    fn what_is_no_document_stays_as_it_is() {
        let long = format!("<!--{}--><head>", "x".repeat(MAX_BEFORE));
        for text in [
            "{\"a\":\"<head>\"}",
            "[\"<html>\"]",
            "callback({})",
            "\"<head></head>\"",
            "Hello, <b>you</b>",
            "<?xml version='1.0'?><rss><head></head></rss>",
            "<!DOCTYPE rss><rss>",
            "<!doctype htmlx><p>",
            "<!doctype html [<!ENTITY a '>'>]><head>",
            "</head>",
            "<",
            "",
            "<!doc",
            &long,
        ] {
            for piece in [1, 1000] {
                assert_eq!(with_script(&OPENED, "text/html", text, piece), text);
            }
        }
        assert_eq!(with_script(&[], "text/html", "<p>a fragment", 5), "<p>a fragment");
    }

    #[test]
    fn in_xml_the_script_is_put_where_a_head_is_and_nowhere_else() {
        let page = "<?xml version=\"1.0\"?><!DOCTYPE html><html xmlns=\"http://www.w3.org/1999/xhtml\"><head>|<title/></head></html>";
        let kind = "application/xhtml+xml";
        assert_eq!(with_script(&OPENED, kind, &page.replace('|', ""), 9), page.replace('|', SCRIPT));
        for page in ["<html xmlns=\"http://www.w3.org/1999/xhtml\"><body/></html>", "<svg/>"] {
            assert_eq!(with_script(&OPENED, kind, page, 9), page);
        }
    }

    #[test]
    fn only_documents_that_can_be_read_get_it() {
        let html = ("content-type", "text/html");
        assert!(
            injector(&OPENED, 404, &[html, ("content-encoding", "br"), ("content-disposition", "inline")]).is_some()
        );
        for (status, headers) in [
            (200, vec![]),
            (200, vec![("content-type", "application/json")]),
            (200, vec![("content-type", "text/html, text/html")]),
            (200, vec![html, ("content-disposition", "attachment; filename=a.html")]),
            (200, vec![html, ("content-encoding", "zstd")]),
            (200, vec![html, ("content-encoding", "deflate")]),
            (200, vec![html, ("content-length", "0")]),
            (206, vec![html]),
            (304, vec![html]),
            (204, vec![html]),
        ] {
            assert!(injector(&OPENED, status, &headers).is_none(), "{headers:?}");
        }
        assert!(Injector::of(&OPENED, ("HEAD", 200), &[html], "club.example", "/x").is_none());
        for host in ["a\"b", "a<b", "a b", ""] {
            assert!(Injector::of(&OPENED, ("GET", 200), &[html], host, "/x").is_none(), "{host}");
        }
    }

    #[test]
    fn the_script_bears_the_pages_own_nonce() {
        for (policy, expected) in [
            ("script-src 'strict-dynamic' 'nonce-aB+/9-_=='", Some("aB+/9-_==")),
            ("default-src 'self'; Script-Src 'nonce-a1' https:", Some("a1")),
            ("default-src 'nonce-b2'", Some("b2")),
            ("script-src 'nonce-c3', script-src 'nonce-c3' 'self'", Some("c3")),
            ("script-src 'nonce-d4'; script-src-elem 'nonce-e5'", Some("e5")),
            ("style-src 'nonce-f6'; script-src 'self'", None),
            ("script-src 'nonce-\"><b>'", None),
            ("script-src 'nonce-'", None),
            ("", None),
        ] {
            assert_eq!(nonce(&[("content-security-policy", policy)]).as_deref(), expected, "{policy}");
        }
        let answer = [("content-type", "text/html"), ("content-security-policy", "script-src 'nonce-a1'")];
        let script = injector(&OPENED, 200, &answer).unwrap().script.unwrap();
        assert!(script.contains(" nonce=\"a1\">"), "{script}");
    }

    proptest! {
        #[test]
        fn whatever_comes_goes_out_with_at_most_the_script_added(
            text in "([ <>!a-z\"'-]|<head>|<!doctype html>|<!--|-->){0,40}",
            piece in 1usize..20,
        ) {
            let out = with_script(&OPENED, "text/html", &text, piece);
            prop_assert!(out == text || out.replacen(SCRIPT, "", 1) == text);
            prop_assert_eq!(out, with_script(&OPENED, "text/html", &text, 1));
        }
    }
}

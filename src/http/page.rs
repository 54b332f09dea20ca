//! How an answer of the site's is served: as it came, or cut for the visitor who asked.

use super::problem::Problem;
use super::{Change, Headers};
use crate::config::BlockKey;
use crate::identity::origin::{BLOCKS, OriginClaim, is_shared};

/// How an answer is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Nobody looks at its body.
    Pass,
    /// Its blocks are cut.
    Cut(Cutting),
    /// It is a piece of a page, in which a block may have lost its tags: the whole is asked for.
    AskForWhole,
}

/// How an answer is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cutting {
    /// The keys of its blocks.
    pub keys: Vec<BlockKey>,
    /// What has to be undone first.
    pub coding: Coding,
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// There is no body. The platform cannot undo the compression of nothing.
    Empty,
    /// Not at all, or in a way that the platform undoes when a body is read.
    Plain,
    /// In one of those that the platform's `DecompressionStream` undoes, by its name for it.
    Stream(&'static str),
}

impl Coding {
    /// Reads it from an answer's headers; `None` where it cannot be undone. The platform undoes `gzip` and `br` where they are
    /// written just so.
    pub fn of(answer: &impl Headers) -> Option<Self> {
        if answer.get("content-length").is_some_and(|length| length == "0") {
            return Some(Self::Empty);
        }
        let coding = answer.get("content-encoding").unwrap_or_default();
        match coding.trim() {
            "" | "gzip" | "br" => Some(Self::Plain),
            other => match other.to_ascii_lowercase().as_str() {
                "identity" => Some(Self::Plain),
                "gzip" | "x-gzip" => Some(Self::Stream("gzip")),
                "deflate" => Some(Self::Stream("deflate")),
                _ => None,
            },
        }
    }
}

/// Says how an answer is served to a request with this method. `site_key` is the setting `BLOCK_KEY`.
///
/// # Errors
/// 502 where it may hold blocks and cannot be read, so that nobody knows what would go out with it.
pub fn handling(
    method: &str,
    status: u16,
    answer: &impl Headers,
    site_key: Option<&BlockKey>,
) -> Result<Handling, Problem> {
    let announced = answer.get(BLOCKS);
    if announced.is_none() && (site_key.is_none() || is_binary(answer)) {
        return Ok(Handling::Pass);
    }
    // These have no body.
    if matches!(status, ..200 | 204 | 205 | 304) {
        return Ok(Handling::Pass);
    }
    let key = announced.map(|key| BlockKey::parse(key.trim()).ok_or_else(malformed)).transpose()?;
    let mut keys: Vec<_> = key.iter().chain(site_key).cloned().collect();
    keys.dedup();
    if method != "HEAD" && is_piece(status, answer) {
        return if method == "GET" { Ok(Handling::AskForWhole) } else { Err(piece()) };
    }
    let coding = Coding::of(answer).ok_or_else(|| unreadable(answer))?;
    Ok(Handling::Cut(Cutting { keys, coding }))
}

fn malformed() -> Problem {
    Problem::BadAnswer(format!("The site's answer has a header {BLOCKS}, which must {}.", BlockKey::RULE))
}

/// The answer where the site sends a piece though the whole was asked for.
pub fn piece() -> Problem {
    Problem::BadAnswer("The site sent a piece of a page that may hold blocks, where the whole was asked for.".into())
}

fn unreadable(answer: &impl Headers) -> Problem {
    let coding = answer.get("content-encoding").unwrap_or_default();
    Problem::BadAnswer(format!(
        "The site sent a page that may hold blocks compressed as {coding:?}, which cannot be undone here: let it send such \
         pages uncompressed, or by gzip, deflate or br alone."
    ))
}

/// Whether an answer is a part of something.
fn is_piece(status: u16, answer: &impl Headers) -> bool {
    let multipart = || answer.get("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("byteranges"));
    // The 416 tells of no part, but of how long the whole is.
    matches!(status, 206 | 226) || (status != 416 && answer.has("content-range")) || multipart()
}

/// What is known to be no text, beside pictures, sound, films and fonts.
const BINARY: [&str; 13] = [
    "application/gzip",
    "application/java-archive",
    "application/octet-stream",
    "application/pdf",
    "application/vnd.ms-fontobject",
    "application/vnd.rar",
    "application/wasm",
    "application/x-7z-compressed",
    "application/x-bzip2",
    "application/x-gzip",
    "application/x-tar",
    "application/zip",
    "application/zstd",
];
const BINARY_FAMILIES: [&str; 7] = [
    "image/",
    "audio/",
    "video/",
    "font/",
    "application/font-",
    "application/x-font-",
    "application/vnd.openxmlformats-officedocument.",
];
/// What is a text in spite of its family: SVG, and lists of addresses.
const TEXTS: [&str; 3] = ["svg", "xml", "url"];

/// Whether an answer is of a type that is known to hold no text, whatever a browser makes of it.
fn is_binary(answer: &impl Headers) -> bool {
    media_type(answer).is_some_and(|media| {
        let of_family = |family: &&str| media.strip_prefix(*family).is_some_and(|rest| !has_text(rest));
        BINARY.contains(&media.as_str()) || BINARY_FAMILIES.iter().any(of_family)
    })
}

fn has_text(subtype: &str) -> bool {
    TEXTS.iter().any(|text| subtype.contains(text))
}

/// The media type, in lower case and without parameters; `None` where there is none or there are several.
pub fn media_type(answer: &impl Headers) -> Option<String> {
    let value = answer.get("content-type").filter(|value| !value.contains(','))?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

/// What has to be done with the answer to a request, as far as that is known before it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Any answer may hold blocks: it is to come uncompressed and whole.
    pub cut: bool,
    /// A script may be put in: it is to come in a way that can be undone.
    pub inject: bool,
    /// A piece came where the whole is needed.
    pub whole: bool,
}

/// What changes about a request on its way to the site. Nothing, where nothing has to be done with its answer.
pub fn changes_to_request(request: &impl Headers, plan: Plan) -> Vec<Change> {
    let mut changes = Vec::new();
    let coding = match plan {
        Plan { cut: true, .. } => Some("identity".to_owned()),
        Plan { inject: true, .. } => codings_to_ask_for(request),
        _ => None,
    };
    changes.extend(coding.map(|coding| ("accept-encoding", Some(coding))));
    // Films and sound are no texts, and players want them in pieces.
    let played = || request.get("sec-fetch-dest").is_some_and(|dest| matches!(dest.as_str(), "audio" | "video"));
    if plan.whole || (plan.cut && !played()) {
        changes.extend([("range", None), ("if-range", None)]);
    }
    changes
}

/// Of the codings that a browser accepts, those that the platform undoes and does again; `None` where it accepts no other.
fn codings_to_ask_for(request: &impl Headers) -> Option<String> {
    let accepted = request.get("accept-encoding")?;
    let known = |part: &&str| matches!(part.split(';').next().map(str::trim), Some("gzip" | "br" | "identity"));
    let parts = || accepted.split(',').map(str::trim);
    let only: Vec<_> = parts().filter(known).collect();
    let fewer = only.len() < parts().count();
    fewer.then(|| if only.is_empty() { "identity".to_owned() } else { only.join(", ") })
}

/// Whom blocks are cut for: whom the answer names, where it was made for them. An answer that a shared cache may keep was
/// perhaps made for somebody else, so that the visitor is whoever the request shows.
pub fn viewer(claim: OriginClaim, answer: &impl Headers) -> OriginClaim {
    if is_shared(answer) { OriginClaim::Nothing } else { claim }
}

/// Headers that tell of bytes which have changed.
const OF_THE_BYTES: [&str; 8] = [
    "content-length",
    "etag",
    "last-modified",
    "accept-ranges",
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
];
/// Headers that have caches keep an answer.
const OF_CACHES: [&str; 7] = [
    "age",
    "expires",
    "cdn-cache-control",
    "cloudflare-cdn-cache-control",
    "surrogate-control",
    "x-accel-expires",
    "edge-control",
];

/// What changes about the headers of an answer that is another for each visitor: nobody keeps it.
pub fn changes_to_cut_answer(answer: &impl Headers) -> Vec<Change> {
    let control = answer.get("cache-control").unwrap_or_default().to_ascii_lowercase();
    let never = control.split([',', ' ', '\t']).any(|part| part == "no-store");
    let control = if never { "no-store" } else { "private, no-cache" };
    let gone = OF_THE_BYTES.into_iter().chain(OF_CACHES).chain(["content-encoding"]);
    gone.map(|name| (name, None)).chain([("cache-control", Some(control.to_owned()))]).collect()
}

/// What changes about the headers of an answer that has more bytes than it had.
pub fn changes_to_longer_answer() -> Vec<Change> {
    OF_THE_BYTES.into_iter().map(|name| (name, None)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef";
    const ANNOUNCED: (&str, &str) = ("X-Presence-Blocks", KEY);

    fn key() -> BlockKey {
        BlockKey::parse(KEY).unwrap()
    }

    fn announced(method: &str, status: u16, headers: &[(&str, &str)]) -> Result<Handling, Problem> {
        let headers = [&[ANNOUNCED], headers].concat();
        handling(method, status, &headers.as_slice(), None)
    }

    fn scanned(headers: &[(&str, &str)]) -> Handling {
        handling("GET", 200, &headers, Some(&key())).unwrap()
    }

    fn cut(coding: Coding) -> Handling {
        Handling::Cut(Cutting { keys: vec![key()], coding })
    }

    #[test]
    fn nobody_looks_at_a_page_that_announces_no_blocks() {
        for headers in [vec![], vec![("content-type", "text/html")], vec![("content-encoding", "zstd")]] {
            for status in [200, 206, 304, 404] {
                assert_eq!(handling("GET", status, &headers.as_slice(), None), Ok(Handling::Pass));
            }
        }
    }

    #[test]
    fn a_page_that_announces_blocks_is_cut_whatever_its_type() {
        for kind in ["text/html", "application/json", "image/png", "", "a, b"] {
            for (method, status) in [("GET", 200), ("POST", 404), ("HEAD", 200), ("GET", 302), ("GET", 416)] {
                assert_eq!(announced(method, status, &[("content-type", kind)]), Ok(cut(Coding::Plain)));
            }
        }
        for status in [101, 204, 205, 304] {
            assert_eq!(announced("GET", status, &[]), Ok(Handling::Pass), "it has no body");
        }
    }

    #[test]
    fn a_header_that_is_no_key_is_refused() {
        for value in ["", "short", "0123456789abcdef, 0123456789abcdef", "0123456789abcde<"] {
            let refused = handling("GET", 200, &[("x-presence-blocks", value)], Some(&key())).unwrap_err();
            assert_eq!(refused.status(), 502);
            let says = "The site's answer has a header x-presence-blocks, which must be one random word of 16 to 128 letters, \
                        digits, - and _.";
            assert_eq!(refused.detail(), says);
        }
    }

    #[test]
    fn with_a_key_for_all_answers_those_that_may_be_texts_are_cut() {
        for text in [
            "text/html",
            "text/html,charset=utf-8",
            "application/xml",
            "text/vnd.turbo-stream.html",
            "application/json",
            "image/svg+xml",
            "image/svg",
            "audio/x-mpegurl",
            "image/png, text/html",
            "image/png; a=\", text/html\"",
            "imagetext",
            "multipart/mixed",
            "",
        ] {
            assert_eq!(scanned(&[("content-type", text)]), cut(Coding::Plain), "{text}");
        }
        assert_eq!(scanned(&[]), cut(Coding::Plain), "a browser guesses");
        for binary in [
            "image/png",
            "IMAGE/JPEG; a=b",
            "video/mp4",
            "font/woff2",
            "application/pdf",
            "application/octet-stream",
            "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        ] {
            assert_eq!(scanned(&[("content-type", binary), ("content-encoding", "zstd")]), Handling::Pass, "{binary}");
        }
        let both = handling("GET", 200, &[("x-presence-blocks", "another0123456789")], Some(&key())).unwrap();
        let Handling::Cut(both) = both else { panic!("it is cut") };
        assert_eq!(both.keys.len(), 2);
        let same = handling("GET", 200, &[ANNOUNCED], Some(&key()));
        assert_eq!(same, Ok(cut(Coding::Plain)));
    }

    #[test]
    fn what_is_compressed_is_undone_or_refused() {
        for (value, coding) in [
            ("gzip", Coding::Plain),
            ("br", Coding::Plain),
            ("identity", Coding::Plain),
            ("GZIP", Coding::Stream("gzip")),
            ("x-gzip", Coding::Stream("gzip")),
            ("deflate", Coding::Stream("deflate")),
        ] {
            assert_eq!(announced("GET", 200, &[("content-encoding", value)]), Ok(cut(coding)), "{value}");
        }
        let nothing = [("content-encoding", "gzip"), ("content-length", "0")];
        assert_eq!(announced("GET", 302, &nothing), Ok(cut(Coding::Empty)));
        for value in ["zstd", "BR", "gzip, br", "gzip, gzip", "none", "compress"] {
            let refused = announced("GET", 200, &[("content-encoding", value)]).unwrap_err();
            assert_eq!(refused.status(), 502);
            assert!(refused.detail().contains(&format!("{value:?}")), "{}", refused.detail());
        }
    }

    #[test]
    fn of_a_piece_the_whole_is_asked_for() {
        for (status, headers) in [
            (206, vec![]),
            (226, vec![]),
            (200, vec![("content-range", "bytes 1-2/3")]),
            (200, vec![("content-type", "Multipart/Byteranges; boundary=\"a,b\"")]),
        ] {
            assert_eq!(announced("GET", status, &headers), Ok(Handling::AskForWhole));
            assert_eq!(announced("POST", status, &headers).unwrap_err().status(), 502);
            assert_eq!(announced("HEAD", status, &headers), Ok(cut(Coding::Plain)));
        }
        assert_eq!(handling("GET", 206, &[("content-type", "video/mp4")], Some(&key())), Ok(Handling::Pass));
    }

    #[test]
    fn a_request_changes_by_what_is_to_be_done_with_its_answer() {
        let (cut, inject, whole) = (
            Plan { cut: true, ..Plan::default() },
            Plan { inject: true, ..Plan::default() },
            Plan { whole: true, ..Plan::default() },
        );
        let page = [("sec-fetch-dest", "document"), ("accept-encoding", "gzip, deflate, br, zstd")];
        let film = [("sec-fetch-dest", "video")];
        let coding = |coding: &str| ("accept-encoding", Some(coding.to_owned()));
        let pieces = [("range", None), ("if-range", None)];
        assert_eq!(changes_to_request(&page, Plan::default()), []);
        assert_eq!(changes_to_request(&page, whole), pieces);
        assert_eq!(changes_to_request(&page, cut), [&[coding("identity")][..], &pieces].concat());
        assert_eq!(changes_to_request(&page, inject), [coding("gzip, br")]);
        assert_eq!(changes_to_request(&film, cut), [coding("identity")]);
        assert_eq!(changes_to_request(&film, Plan { cut: true, ..whole }).len(), 3);
        for (accepted, asked) in [("gzip;q=0.5, br", None), ("zstd", Some("identity")), ("*", Some("identity"))] {
            let changes = changes_to_request(&[("accept-encoding", accepted)], inject);
            assert_eq!(changes, asked.map(coding).into_iter().collect::<Vec<_>>(), "{accepted}");
        }
        assert_eq!(changes_to_request(&[("accept", "x")], inject), []);
    }

    #[test]
    fn a_cut_answer_is_kept_by_nobody() {
        for (control, becomes) in [
            ("public, max-age=600", "private, no-cache"),
            ("", "private, no-cache"),
            ("private, no-store", "no-store"),
            ("No-Store", "no-store"),
            ("x-no-store", "private, no-cache"),
        ] {
            let changes = changes_to_cut_answer(&[("cache-control", control)]);
            assert!(changes.contains(&("cache-control", Some(becomes.to_owned()))), "{control}");
            assert!(changes.contains(&("etag", None)) && changes.contains(&("surrogate-control", None)));
        }
        assert!(
            !changes_to_longer_answer().iter().any(|(name, _)| name.contains("cache") || name.contains("encoding"))
        );
    }

    #[test]
    fn an_answer_that_a_shared_cache_may_keep_names_nobody() {
        assert_eq!(viewer(OriginClaim::Nobody, &[("cache-control", "public")]), OriginClaim::Nothing);
        assert_eq!(viewer(OriginClaim::Nobody, &[("cache-control", "private")]), OriginClaim::Nobody);
    }
}

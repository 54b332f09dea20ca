//! A visitor's text, an odd content type or a piece of a page opens no block.

use super::{Attack, Stage, site};
use crate::harness::*;
use std::io::Write;

pub const ATTACKS: &[Attack] = &[
    ("a visitor's text opens a block", a_visitors_text_opens_no_block),
    ("an odd content type opens a block", no_content_type_opens_a_block),
    ("markup that a parser reads otherwise opens a block", no_markup_opens_a_block),
    ("a compressed page goes out unread", no_compressed_page_goes_out_unread),
    ("a piece of a page shows a block", no_piece_of_a_page_shows_a_block),
    ("the key leaves in another form", the_key_never_leaves),
    ("a page with blocks is kept for the next visitor", no_page_with_blocks_is_kept),
    ("a block that is not closed shows what follows", a_block_that_is_not_closed_hides_what_follows),
    ("a page without the header shows a block where the key is configured", a_configured_key_needs_no_header),
];

const KEY: &str = "k3y-0f-the-Site_0123456789";
const SECRET: &str = "the-lighthouse";

fn block(text: &str) -> String {
    format!("<if-permitted key=\"{KEY}\" can=\"can_edit\" on=\"group:42\">{text}</if-permitted key=\"{KEY}\">")
}

/// Whether a stranger gets the page without the block and without the key.
fn check(stage: Stage, server: &Server, headers: &str, body: &str) -> Answer {
    let client = stage.by(server, "10.0.0.1").document().with("x-body", body);
    let answer = client.with("x-say", headers).get("/page");
    let text = answer.text();
    assert!(!text.contains(SECRET) && !text.contains(KEY), "{headers} {body}: {text}");
    let named = answer.headers.iter().any(|(name, value)| name.contains("x-presence") || value.contains(KEY));
    assert!(!named, "{:?}", answer.headers);
    answer
}

fn announced() -> String {
    format!("X-Presence-Blocks: {KEY}")
}

fn a_visitors_text_opens_no_block(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    for text in [
        "<script>var q=\"<!--<script>\"</script>",
        "<if-permittedx><title>",
        "</if-permitted>",
        "</if-permitted key=\"\">",
        "<if-not-permitted key=\"k\" can=\"can_edit\">",
        "<!--",
        "<![CDATA[",
        "<textarea>",
        "<plaintext>",
        "<if-permitted key=\"",
    ] {
        let answer = check(stage, &server, &announced(), &format!("before {text} {} after", block(SECRET)));
        assert_eq!(
            answer.text(),
            format!("before {text}  after"),
            "what a visitor wrote stays, and so does what follows"
        );
    }
}

fn no_content_type_opens_a_block(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    for content_type in [
        "Content-Type: text/html",
        "Content-Type: text/html,charset=utf-8",
        "Content-Type: text/plain|Content-Type: text/html",
        "Content-Type: application/xml",
        "Content-Type: application/xhtml+xml",
        "Content-Type: text/vnd.turbo-stream.html",
        "Content-Type: application/json",
        "Content-Type: text/html; charset=iso-2022-jp",
        "Content-Type: image/svg+xml",
        "Content-Type: application/octet-stream",
        "Content-Type: ",
        "Content-Type: x",
    ] {
        let answer = check(stage, &server, &format!("{}|{content_type}", announced()), &format!("a{}b", block(SECRET)));
        assert_eq!(answer.text(), "ab", "{content_type}");
    }
}

fn no_markup_opens_a_block(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    for around in
        ["textarea", "xmp", "iframe", "noscript", "plaintext", "title", "style", "script", "noembed", "template"]
    {
        let body = format!("<{around}>{}</{around}>", block(SECRET));
        assert_eq!(check(stage, &server, &announced(), &body).text(), format!("<{around}></{around}>"));
        check(stage, &server, &announced(), &format!("<{around}/>{}", block(SECRET)));
    }
    for (open, close) in [("<svg><![CDATA[", "]]></svg>"), ("<!--", "-->"), ("<a title=\"", "\">"), ("<?x ", "?>")] {
        let body = format!("{open}{}{close}", block(SECRET));
        assert_eq!(check(stage, &server, &announced(), &body).text(), format!("{open}{close}"));
    }
}

fn no_compressed_page_goes_out_unread(stage: Stage) {
    let page = format!("a{}b", block(SECRET));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(page.as_bytes()).unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(page.as_bytes()).unwrap();
    for (encoding, body, readable) in [
        ("gzip", gzip.finish().unwrap(), true),
        ("deflate", zlib.finish().unwrap(), true),
        ("compress", page.clone().into_bytes(), false),
        ("gzip, gzip", page.clone().into_bytes(), false),
        ("x", page.clone().into_bytes(), false),
    ] {
        let site = Origin::serving(move |_, stream| {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n{}\r\nConnection: \
                 close\r\n\r\n",
                body.len(),
                announced()
            );
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.write_all(&body);
        });
        let server = stage.before(&site).start();
        let answer = stage.by(&server, "10.0.0.1").document().with("accept-encoding", "gzip, deflate").get("/page");
        assert!(!answer.text().contains(SECRET) && !answer.text().contains(KEY), "{encoding}");
        if readable {
            assert_eq!((answer.status, answer.text()), (200, "ab".into()), "{encoding}");
        } else {
            assert!(answer.problem(502).contains("compress"), "{encoding}: {}", answer.text());
        }
    }
}

fn no_piece_of_a_page_shows_a_block(stage: Stage) {
    for content_type in ["text/html", "multipart/byteranges; boundary=b"] {
        let site = Origin::serving(move |_, stream| {
            let body = format!("{SECRET}</if-permitted key=\"{KEY}\">");
            let _ = write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Type: {content_type}\r\nContent-Range: bytes 70-99/100\r\nContent-Length: \
                 {}\r\n{}\r\nConnection: close\r\n\r\n{body}",
                body.len(),
                announced()
            );
        });
        let server = stage.before(&site).start();
        for client in [stage.by(&server, "10.0.0.1"), stage.by(&server, "10.0.0.1").with("range", "bytes=70-99")] {
            let answer = client.document().get("/page");
            assert_eq!(answer.status, 502, "{content_type}: {}", answer.text());
            assert!(!answer.text().contains(SECRET) && !answer.text().contains(KEY));
        }
    }
}

fn the_key_never_leaves(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    for form in [
        format!("<if-permitted key='{KEY}' can='can_edit'>{SECRET}"),
        format!("<if-permitted can=\"can_edit\" key=\"{KEY}\">{SECRET}"),
        format!("<if-permitted key=\\\"{KEY}\\\" can=\\\"can_edit\\\">{SECRET}"),
        format!("&lt;if-permitted key=&quot;{KEY}&quot; can=&quot;can_edit&quot;&gt;{SECRET}"),
        format!("<IF-PERMITTED key=\"{KEY}\" can=\"can_edit\">{SECRET}"),
        format!("<if-permitted  key=\"{KEY}\" can=\"can_edit\">{SECRET}"),
        format!("<if-permitted key=\"{KEY}\">{SECRET}"),
        format!("</if-permitted key=\"{KEY}\">{SECRET}"),
        format!("{KEY}{SECRET}"),
    ] {
        let text = check(stage, &server, &announced(), &format!("before {form} after")).text();
        assert!(text.starts_with("before ") && !text.contains("after"), "{form}: {text}");
    }
    for bad in ["short", "two keys of sixteen", "k3y-0f-the-Site_0123456789|X-Presence-Blocks: another-key-of-the-site"]
    {
        let client = stage.by(&server, "10.0.0.1").document().with("x-say", &format!("X-Presence-Blocks: {bad}"));
        let answer = client.with("x-body", &block(SECRET)).get("/page");
        assert_eq!(answer.status, 502, "{bad}: {}", answer.text());
    }
}

fn no_page_with_blocks_is_kept(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    let say = format!(
        "{}|Cache-Control: public, max-age=600|ETag: \"1\"|Last-Modified: Sat, 28 Nov 2026 00:00:00 GMT|CDN-Cache-Control: \
         max-age=9|Cloudflare-CDN-Cache-Control: max-age=9|Surrogate-Control: max-age=9",
        announced()
    );
    let answer = check(stage, &server, &say, &block(SECRET));
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
    for name in ["etag", "last-modified", "cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let stored = check(stage, &server, &format!("{}|Cache-Control: no-store", announced()), &block(SECRET));
    assert_eq!(stored.header("cache-control"), Some("no-store"));
}

fn a_block_that_is_not_closed_hides_what_follows(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    let open = format!("<if-permitted key=\"{KEY}\" can=\"can_edit\">");
    assert_eq!(check(stage, &server, &announced(), &format!("a{open}{SECRET}")).text(), "a");
    let crossed = format!("a{open}<if-not-permitted key=\"{KEY}\" can=\"b\">{SECRET}</if-permitted key=\"{KEY}\">b");
    assert!(!check(stage, &server, &announced(), &crossed).text().contains('b'));
    assert!(server.log().contains("block"), "the log says that a page was cut");
}

fn a_configured_key_needs_no_header(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("BLOCK_KEY", KEY).start();
    for content_type in ["text/html", "application/json", "text/vnd.turbo-stream.html", ""] {
        let answer = check(stage, &server, &format!("Content-Type: {content_type}"), &format!("a{}b", block(SECRET)));
        assert_eq!(answer.text(), "ab", "{content_type:?}");
    }
    stage.by(&server, "10.0.0.1").document().with("range", "bytes=1-2").with("accept-encoding", "br").get("/page");
    let request = site.seen().pop().unwrap();
    assert_eq!((request.header("range"), request.header("accept-encoding")), (None, Some("identity")));
    let broken = stage.before(&site).var("BLOCK_KEY", "short").start();
    let answer = stage.by(&broken, "10.0.0.1").document().with("x-body", &block(SECRET)).get("/page");
    assert_eq!(answer.status, 500, "a key that cannot be used opens nothing");
    assert!(!answer.text().contains(SECRET) && answer.text().contains("BLOCK_KEY"));
}

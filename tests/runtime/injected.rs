//! `INJECT_WIDGET`: documents get the widget's script, and nothing else does.

use crate::blocks_site::*;
use crate::harness::*;
use flate2::read::GzDecoder;
use std::io::Read;

const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";

/// A site that sends one answer, in chunks where that is asked for.
fn site(headers: &'static str, body: &'static str) -> Origin {
    Origin::serving(move |request, stream| {
        let coding =
            query(request, "coding").map(|coding| format!("Content-Encoding: {coding}\r\n")).unwrap_or_default();
        let body = compressed(text(body).as_bytes(), &query(request, "coding").unwrap_or_default());
        let chunk = query(request, "chunk").and_then(|chunk| chunk.parse().ok());
        send(stream, "200 OK", &format!("{headers}{coding}"), &body, chunk);
    })
}

fn injecting(origin: &Origin) -> Server {
    setup(origin).var("INJECT_WIDGET", "true").var("BASE_PATH", "/who").start()
}

fn script(server: &Server, nonce: &str) -> String {
    format!("<script src=\"//127.0.0.1:{}/who/widget.js\" async=\"async\"{nonce}></script>", server.port)
}

#[test]
fn a_document_gets_the_script_once_at_the_beginning_of_its_head() {
    const PAGE: &str = "<!doctype html><html><head>|<base href=\"https://evil.example/\"><title>a</title></head>\
                        <body><select><script>1</script></select><xmp><head></xmp></body></html>";
    let origin = Origin::serving(|request, stream| {
        let chunk = query(request, "chunk").and_then(|chunk| chunk.parse().ok());
        let headers = format!(
            "{HTML}ETag: \"1\"\r\nLast-Modified: x\r\nDigest: x\r\nAccept-Ranges: bytes\r\nCache-Control: max-age=9\r\n"
        );
        send(stream, "200 OK", &headers, PAGE.replace('|', "").as_bytes(), chunk);
    });
    let server = injecting(&origin);
    for path in ["/", "/?chunk=7", "/?chunk=1"] {
        let page = server.by("10.0.0.1").document().get(path);
        assert_eq!(page.text(), PAGE.replace('|', &script(&server, "")), "{path}");
        for name in ["etag", "last-modified", "digest", "accept-ranges", "content-length"] {
            assert_eq!(page.header(name), None, "{path}: the bytes are others");
        }
        assert_eq!(page.header("cache-control"), Some("max-age=9"));
    }
    let off = setup(&origin).start();
    let page = off.by("10.0.0.1").document().get("/");
    assert_eq!((page.text(), page.header("etag")), (PAGE.replace('|', ""), Some("\"1\"")));
}

#[test]
fn a_compressed_page_gets_it_too_and_stays_compressed() {
    let origin = site(HTML, "<!doctype html><title>a</title><p>b");
    let server = injecting(&origin);
    let client = server.by("10.0.0.1").document().with("accept-encoding", "gzip, deflate, br, zstd");
    let answer = client.get("/?coding=gzip");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    let mut page = String::new();
    GzDecoder::new(answer.body.as_slice()).read_to_string(&mut page).unwrap();
    assert_eq!(page, format!("<!doctype html>{}<title>a</title><p>b", script(&server, "")));
    assert_eq!(origin.seen()[0].header("accept-encoding"), Some("gzip, br"), "what cannot be undone is not asked for");
}

#[test]
fn the_script_bears_the_nonce_of_the_pages_policy() {
    const CSP: &str = "Content-Type: text/html\r\nContent-Security-Policy: default-src 'self'; script-src 'strict-dynamic' 'nonce-a1B2'\r\n";
    let origin = site(CSP, "<head></head>");
    let server = injecting(&origin);
    let page = server.by("10.0.0.1").document().get("/").text();
    assert_eq!(page, format!("<head>{}</head>", script(&server, " nonce=\"a1B2\"")));
}

#[test]
fn what_is_no_document_is_untouched() {
    const PAGE: &str = "<!doctype html><head></head>";
    for (headers, body, header) in [
        ("Content-Type: text/html\r\n", PAGE, ("sec-fetch-dest", "empty")),
        ("Content-Type: text/html\r\n", PAGE, ("x-requested-with", "XMLHttpRequest")),
        ("Content-Type: text/html\r\n", PAGE, ("hx-request", "true")),
        ("Content-Type: text/html\r\nContent-Disposition: attachment; filename=a.html\r\n", PAGE, ("x", "y")),
        ("Content-Type: text/html\r\n", "{\"html\": \"<head></head>\"}", ("x", "y")),
        ("Content-Type: text/html\r\n", "callback(\"<head></head>\")", ("x", "y")),
        ("Content-Type: text/html\r\n", "<?xml version='1.0'?><rss><head></head></rss>", ("x", "y")),
        ("Content-Type: text/plain\r\n", PAGE, ("x", "y")),
        ("Content-Type: application/xhtml+xml\r\n", "<html><body/></html>", ("x", "y")),
    ] {
        let origin = site(headers, body);
        let server = injecting(&origin);
        let page = server.by("10.0.0.1").document().with(header.0, header.1).get("/");
        assert_eq!(page.text(), body, "{headers} {header:?}");
    }
    let fragment = site(HTML, "<div><head></head></div>");
    let server = injecting(&fragment);
    let page = server.by("10.0.0.1").with("accept", "text/html").get("/");
    assert_eq!(page.text(), "<div><head></head></div>", "nobody said that a document is opened");
}

#[test]
fn xhtml_and_a_page_with_blocks_get_it_too() {
    let page = "<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title/></head><body/></html>";
    let origin = site(
        "Content-Type: application/xhtml+xml\r\n",
        "<html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title/></head><body/></html>",
    );
    let server = injecting(&origin);
    let with_script = page.replace("<head>", &format!("<head>{}", script(&server, "")));
    assert_eq!(server.by("10.0.0.1").document().get("/").text(), with_script);
    let origin = Origin::serving(|_, stream| {
        let headers = format!("{HTML}X-Presence-Blocks: {KEY}\r\n");
        send(stream, "200 OK", &headers, text("{no}SECRET{end}<head></head><p>b{no}SECRET{end}").as_bytes(), Some(5));
    });
    let server = injecting(&origin);
    let page = server.by("10.0.0.1").document().get("/");
    assert_eq!(page.text(), format!("<head>{}</head><p>b", script(&server, "")));
    assert_eq!(page.header("cache-control"), Some("private, no-cache"));
}

//! Who is counted, and where they are: a line for each kind of request, sent by somebody who is not here yet.

use crate::harness::*;
use std::io::Write;

type Pairs = &'static [(&'static str, &'static str)];

const DOCUMENT: Pairs = &[("sec-fetch-dest", "document"), ("accept", "text/html")];
/// As a browser asks that sends no fetch metadata.
const OLD: Pairs = &[("accept", "text/html,application/xhtml+xml")];
const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";
const PDF: &str = "Content-Type: application/pdf\r\n";

/// What becomes of who sent it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    NotHere,
    Here,
    OnThePage,
}
use Is::{Here, NotHere, OnThePage};

const REQUESTS: &[(&str, &str, Pairs, u16, &str, Is)] = &[
    ("a page that is shown", "GET", DOCUMENT, 200, HTML, OnThePage),
    ("a page that the browser has kept", "GET", DOCUMENT, 304, "", OnThePage),
    ("a page of a browser that sends no metadata", "GET", OLD, 200, HTML, OnThePage),
    ("a form's answer", "POST", DOCUMENT, 200, HTML, OnThePage),
    (
        "a page to which another site links",
        "GET",
        &[DOCUMENT[0], ("sec-fetch-site", "cross-site")],
        200,
        HTML,
        OnThePage,
    ),
    ("the browser inside an app", "GET", &[OLD[0], ("x-requested-with", "com.example.app")], 200, HTML, OnThePage),
    ("a page that asks for a log-in", "GET", DOCUMENT, 401, HTML, Here),
    ("a page that is forbidden", "GET", DOCUMENT, 403, HTML, Here),
    ("a page that is not there", "GET", DOCUMENT, 404, HTML, Here),
    ("a page that is asked for too often", "GET", DOCUMENT, 429, HTML, Here),
    ("a page that is broken", "GET", DOCUMENT, 500, HTML, Here),
    ("a redirect", "GET", DOCUMENT, 302, HTML, NotHere),
    ("an answer without content", "GET", DOCUMENT, 204, "", NotHere),
    ("a file that is shown", "GET", DOCUMENT, 200, PDF, NotHere),
    (
        "a page that is saved",
        "GET",
        DOCUMENT,
        200,
        "Content-Type: text/html\r\nContent-Disposition: attachment; filename=a.html\r\n",
        NotHere,
    ),
    ("a page as JSON", "GET", DOCUMENT, 200, "Content-Type: application/json\r\n", NotHere),
    ("what HEAD asks", "HEAD", DOCUMENT, 200, HTML, NotHere),
    ("a preflight", "OPTIONS", &[("sec-fetch-mode", "cors"), ("origin", "https://app.example")], 200, HTML, NotHere),
    (
        "the web manifest",
        "GET",
        &[("sec-fetch-dest", "manifest"), ("sec-fetch-site", "same-origin")],
        200,
        HTML,
        NotHere,
    ),
    ("a call without cookies", "GET", &[("sec-fetch-dest", "empty"), ("sec-fetch-mode", "cors")], 200, HTML, NotHere),
    ("a frame", "GET", &[("sec-fetch-dest", "iframe"), ("accept", "text/html")], 200, HTML, NotHere),
    ("a fragment by an old browser", "GET", &[OLD[0], ("x-requested-with", "XMLHttpRequest")], 200, HTML, NotHere),
    ("a frame of a page's script", "GET", &[OLD[0], ("turbo-frame", "messages")], 200, HTML, NotHere),
    ("what another site posts", "POST", &[DOCUMENT[0], ("sec-fetch-site", "cross-site")], 200, HTML, NotHere),
    (
        "a picture that another site shows",
        "GET",
        &[("sec-fetch-dest", "image"), ("sec-fetch-site", "cross-site"), ("referer", "https://mail.example/")],
        200,
        "Content-Type: image/png\r\n",
        NotHere,
    ),
    ("what is fetched ahead", "GET", &[DOCUMENT[0], ("sec-purpose", "prefetch;prerender")], 200, HTML, NotHere),
    (
        "what is fetched ahead, as it was said before",
        "GET",
        &[DOCUMENT[0], ("purpose", "prefetch")],
        200,
        HTML,
        NotHere,
    ),
    ("a preview", "GET", &[OLD[0], ("x-purpose", "preview")], 200, HTML, NotHere),
];

#[test]
fn only_a_page_that_was_shown_brings_its_visitor_in() {
    let origin = Origin::serving(|request, stream| {
        let told = |name| request.header(name).unwrap_or_default();
        let (status, head) = (told("x-status"), told("x-head").replace('|', "\r\n"));
        let length = if matches!(status, "204" | "304") { "" } else { "Content-Length: 0\r\n" };
        let _ = write!(stream, "HTTP/1.1 {status} Told\r\n{head}{length}Connection: close\r\n\r\n");
    });
    let server = Setup::new().before(&origin).start();
    let total = || server.json("/_presence/v1/online.json?limit=0")["counts"]["total"].as_u64().unwrap();
    for (number, (what, method, headers, status, head, is)) in REQUESTS.iter().enumerate() {
        let (before, path) = (total(), format!("/page-{number}"));
        let visitor = server.by(&format!("10.0.{number}.1")).with("x-status", &status.to_string());
        let visitor = visitor.with("x-head", &head.replace("\r\n", "|"));
        let visitor = headers.iter().fold(visitor, |visitor, (name, value)| visitor.with(name, value));
        let body = (*method == "POST").then_some(b"a=b".as_slice());
        assert_eq!(visitor.send(method, &path, body).status, *status, "{what}");
        assert_eq!(total() - before, u64::from(*is != NotHere), "{what}");
        assert_eq!(server.pages().contains(&path), *is == OnThePage, "{what}");
    }
}

#[test]
fn a_page_that_reports_itself_brings_its_visitor_in_however_long_its_path_is() {
    let server = Setup::new().start();
    let long = "%E0%B8%81".repeat(57);
    assert_eq!(server.by("10.0.0.1").get(&format!("/_presence/v1/touch.gif?path=/{}", long.repeat(4))).status, 200);
    assert_eq!(server.by("10.0.0.2").touch(&format!(r#"{{"path":"/{}"}}"#, "x".repeat(512))).status, 204);
    assert_eq!(server.by("10.0.0.3").touch(&format!(r#"{{"path":"/a?{}"}}"#, "x".repeat(512))).status, 204);
    assert_eq!(server.json("/_presence/v1/online.json?limit=0")["counts"]["total"], 3);
    assert_eq!(server.pages(), ["/a"]);
}

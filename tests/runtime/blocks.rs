//! Blocks in pages: shown to those who may see them, and never sent to anybody else.

use crate::harness::*;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const ADMIN: &str = "an-admin-token-of-some-length";
const EDITOR: &str = "User=sally&Perms=can_edit%40group%3A42";

/// A site whose pages stand in its test: by path, headers and body. It names whomever the query says.
fn site(pages: &'static [(&'static str, &'static str, &'static str)]) -> Origin {
    Origin::serving(move |request, stream| {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let (_, headers, body) = pages.iter().find(|(known, ..)| *known == path).unwrap_or(&("", "", "a page"));
        let said: String = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| format!("X-Presence-{name}: {value}\r\n"))
            .collect();
        let length =
            if headers.contains("chunked") { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        let kind = if headers.contains("Content-Type") { "" } else { "Content-Type: text/html; charset=utf-8\r\n" };
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{kind}{headers}{said}{length}Connection: close\r\n\r\n");
        let body = body.as_bytes();
        if headers.contains("chunked") {
            // In small pieces, so that tags are cut in two.
            for chunk in body.chunks(7) {
                let _ = write!(stream, "{:x}\r\n", chunk.len())
                    .and_then(|()| stream.write_all(chunk))
                    .and_then(|()| stream.write_all(b"\r\n"));
            }
            let _ = stream.write_all(b"0\r\n\r\n");
        } else {
            let _ = stream.write_all(body);
        }
    })
}

fn setup(origin: &Origin) -> Setup {
    Setup::new().before(origin).var("ADMIN_TOKEN", ADMIN)
}

fn signed_in<'a>(server: &'a Server, address: &'a str, query: &str) -> Client<'a> {
    let client = server.by(address);
    let page = client.clone().document().get(&format!("/?{query}"));
    client.with("cookie", &page.cookie().expect("a cookie")).document()
}

#[test]
fn a_block_is_there_for_those_who_may_and_its_other_for_the_rest() {
    const PAGE: &str = "<p>a</p><if-permitted can=\"can_edit\" on=\"group:42\"><b>SECRET</b></if-permitted>\
                        <if-not-permitted can=can_edit on='group:42'><i>ask for it</i></if-not-permitted><p>b</p>";
    let origin = site(&[("/whole", "", PAGE), ("/chunked", "Transfer-Encoding: chunked\r\n", PAGE)]);
    let server = setup(&origin).start();
    let other = signed_in(&server, "10.0.0.2", "User=bob&Perms=can_edit,can_edit%40group%3A43");
    for path in ["/whole", "/chunked"] {
        // Anew each time: below they are signed out.
        let editor = signed_in(&server, "10.0.0.1", EDITOR);
        assert_eq!(editor.get(path).text(), "<p>a</p><b>SECRET</b><p>b</p>", "{path}");
        for client in [other.clone(), server.by("10.0.0.3").document(), server.by("10.0.0.4")] {
            assert_eq!(client.get(path).text(), "<p>a</p><i>ask for it</i><p>b</p>", "{path}");
        }
        // Whom the answer itself names, not whom an old cookie does.
        assert!(!editor.get(&format!("{path}?User=bob")).text().contains("SECRET"));
        assert!(!editor.get(&format!("{path}?User=")).text().contains("SECRET"));
        assert!(server.by("10.0.0.5").get(&format!("{path}?{EDITOR}")).text().contains("SECRET"));
    }
    let grant = json!({"user": "bob", "permission": "can_edit", "object": "group:42"}).to_string();
    let admin = server.by("10.8.8.8").with("authorization", &format!("Bearer {ADMIN}"));
    assert_eq!(admin.send("PUT", "/_presence/v1/grants", Some(grant.as_bytes())).status, 204);
    for path in ["/whole", "/chunked"] {
        assert!(other.get(path).text().contains("SECRET"), "what is granted counts too");
    }
}

#[test]
fn nested_unclosed_and_malformed_blocks_hide_what_they_hold() {
    const CASES: &[(&str, &str, &str)] = &[
        ("/1", "", "<if-permitted can=no>SECRET<if-permitted can=yes>SECRET</if-permitted>SECRET</if-permitted>end"),
        ("/2", "", "<if-permitted can=yes>a<if-permitted can=no>SECRET</if-permitted>b</if-permitted>end"),
        ("/3", "", "<div>a<if-permitted can=no>SECRET</div>end"),
        ("/4", "", "<if-permitted can=no>SECRET"),
        ("/5", "", "<if-permitted>SECRET</if-permitted><if-not-permitted>SECRET</if-not-permitted>end"),
        (
            "/6",
            "",
            "<if-permitted can='yes' on=''>SECRET</if-permitted><if-not-permitted can='a b'>SECRET</if-not-permitted>end",
        ),
        ("/7", "", "<IF-Permitted CAN=no>SECRET</IF-PERMITTED>end"),
        ("/8", "", "<if-permitted can=no/>SECRET</if-permitted>end"),
        ("/9", "", "<!-- <if-permitted can=no>SECRET</if-permitted> --><!-- kept -->end"),
        ("/10", "", "<noscript>a<if-permitted can=no>SECRET</if-permitted></noscript><noscript>kept</noscript>end"),
        ("/11", "", "<if-permitted can=no><script>\"</if-permitted>\"; SECRET</script>SECRET</if-permitted>end"),
        (
            "/12",
            "",
            "<svg><if-permitted can=no>SECRET</if-permitted></svg><template><if-permitted can=no>SECRET</if-permitted></template>end",
        ),
        ("/13", "", "<table><tr><if-permitted can=no><td>SECRET</if-permitted></table>end"),
        ("/14", "Content-Type: application/xhtml+xml\r\n", "<p><if-permitted can=\"no\">SECRET</if-permitted>end</p>"),
        (
            "/15",
            "",
            "<if-not-permitted can=yes>SECRET</if-not-permitted><if-not-permitted can=no>end</if-not-permitted>",
        ),
        (
            "/16",
            "",
            "<if-permitted can=\"yes&amp;\">SECRET</if-permitted><if-permitted can=no can=yes>SECRET</if-permitted>end",
        ),
    ];
    let origin = site(CASES);
    let server = setup(&origin).start();
    let reader = signed_in(&server, "10.0.0.1", "User=sally&Perms=yes");
    for (path, ..) in CASES {
        let text = reader.get(path).text();
        assert!(!text.contains("SECRET"), "{path}: {text}");
        assert!(text.contains("end") || *path == "/4", "{path}: {text}");
    }
    assert_eq!(reader.get("/2").text(), "abend");
    assert_eq!(reader.get("/9").text(), "<!-- kept -->end");
    assert!(reader.get("/10").text().ends_with("<noscript>kept</noscript>end"));
}

#[test]
fn what_is_compressed_or_no_page_or_has_no_blocks_is_untouched() {
    const BLOCK: &str = "<if-permitted can=no>text</if-permitted>";
    const PLAIN: &str = "<!DOCTYPE html><p CLASS=x >é & <br/></P><select><xmp></select>";
    let origin = site(&[
        ("/text", "Content-Type: text/plain\r\n", BLOCK),
        ("/json", "Content-Type: application/json\r\n", BLOCK),
        ("/gzip", "Content-Encoding: gzip\r\n", BLOCK),
        (
            "/plain",
            "ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nCache-Control: max-age=9\r\n",
            PLAIN,
        ),
    ]);
    let server = setup(&origin).start();
    for path in ["/text", "/json"] {
        assert_eq!(server.by("10.0.0.1").document().get(path).text(), BLOCK, "{path}");
    }
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /gzip HTTP/1.1\r\nHost: club\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(BLOCK.as_bytes()), "{}", String::from_utf8_lossy(&answer));
    for client in [server.by("10.0.0.1").document(), signed_in(&server, "10.0.0.2", "User=sally")] {
        let plain = client.get("/plain");
        assert_eq!(plain.text(), PLAIN);
        let headers = ["etag", "last-modified", "cache-control", "content-length"].map(|name| plain.header(name));
        let length = PLAIN.len().to_string();
        assert_eq!(
            headers,
            [Some("\"1\""), Some("Wed, 21 Oct 2015 07:28:00 GMT"), Some("max-age=9"), Some(length.as_str())]
        );
    }
}

#[test]
fn a_piece_of_a_page_is_sent_whole() {
    let origin = Origin::serving(|request, stream| {
        let body = "<p>a</p><if-permitted can=no>SECRET</if-permitted>";
        let (status, range, body) = match request.header("range") {
            Some(_) => ("206 Partial Content", "Content-Range: bytes 20-40/47\r\n", body.get(20..41).unwrap()),
            None => ("200 OK", "", body),
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: text/html\r\n{range}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
    });
    let server = setup(&origin).start();
    let answer = server.by("10.0.0.1").document().with("range", "bytes=20-40").get("/page");
    assert_eq!((answer.status, answer.text().as_str()), (200, "<p>a</p>"));
}

#[test]
fn a_page_that_was_changed_for_one_visitor_is_kept_for_no_other() {
    const PAGE: &str = "<if-permitted can=can_edit on=group:42>SECRET</if-permitted>page";
    let origin = site(&[
        ("/plain", "ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n", PAGE),
        ("/private", "ETag: \"1\"\r\nCache-Control: private, max-age=600\r\n", PAGE),
        ("/never", "Cache-Control: no-store\r\n", PAGE),
        ("/chunked", "Transfer-Encoding: chunked\r\nETag: \"1\"\r\n", PAGE),
        ("/public", "ETag: \"1\"\r\nCache-Control: public, max-age=600\r\n", PAGE),
        ("/public-chunked", "Transfer-Encoding: chunked\r\nETag: \"1\"\r\nCache-Control: max-age=600\r\n", PAGE),
    ]);
    let server = setup(&origin).start();
    let editor = signed_in(&server, "10.0.0.1", EDITOR);
    for path in ["/plain", "/private", "/never", "/chunked"] {
        let page = editor.get(path);
        assert_eq!(page.text(), "SECRETpage", "{path}");
        let control = if path == "/never" { "no-store" } else { "private, no-cache" };
        assert_eq!(page.header("cache-control"), Some(control), "{path}");
        assert_eq!((page.header("etag"), page.header("last-modified")), (None, None), "{path}");
        let guest = server.by("10.0.0.2").document().get(path);
        assert_eq!((guest.text().as_str(), guest.header("etag")), ("page", None), "{path}");
    }
    for path in ["/public", "/public-chunked"] {
        let page = editor.get(path);
        assert_eq!((page.text().as_str(), page.header("etag")), ("page", Some("\"1\"")), "{path}: as for nobody");
        assert!(page.header("cache-control").unwrap().contains("max-age=600"));
    }
}

#[test]
fn megabytes_of_page_stream_through() {
    let origin = Origin::serving(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n");
        for number in 0..20_000 {
            let block = format!(
                "<p>{number} {}</p><if-permitted can=no>SECRET{number}</if-permitted><if-not-permitted can=no>shown</if-not-permitted>",
                "x".repeat(200)
            );
            if stream.write_all(block.as_bytes()).is_err() {
                return;
            }
        }
    });
    let server = setup(&origin).start();
    let page = server.by("10.0.0.1").document().get("/long").text();
    assert!(page.len() > 4_000_000 && !page.contains("SECRET"));
    assert_eq!((page.matches("shown").count(), page.matches("if-").count()), (20_000, 0));
    assert!(page.contains("<p>19999 "));
}

#[test]
fn a_page_begins_before_it_ends() {
    let origin = Origin::serving(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n");
        let _ = write!(stream, "a\r\n<p>one</p>\r\n").and_then(|()| stream.flush());
        // The rest comes when the reader has seen the beginning: it closes the connection.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
    let server = setup(&origin).start();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: club\r\nAccept: text/html\r\n\r\n").unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("<p>one</p>") {
        let mut bytes = [0; 512];
        let read = stream.read(&mut bytes).expect("the beginning comes");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend(&bytes[..read]);
    }
}

#[test]
fn the_widget_is_put_into_pages_once_where_that_is_wished() {
    const SCRIPT: &str = "<script src=\"/who/widget.js\" async></script>";
    let origin = site(&[
        ("/head", "ETag: \"1\"\r\n", "<html><head><title>a</title></head><body>b</body></html>"),
        ("/bare", "", "<p>b"),
        ("/chunked", "Transfer-Encoding: chunked\r\n", "<head></head><p>b<if-permitted can=no>SECRET</if-permitted>"),
    ]);
    let server = setup(&origin).var("INJECT_WIDGET", "true").var("BASE_PATH", "/who").start();
    let visitor = server.by("10.0.0.1").document();
    assert_eq!(
        visitor.get("/head").text(),
        format!("<html><head><title>a</title>{SCRIPT}</head><body>b</body></html>")
    );
    assert_eq!(visitor.get("/bare").text(), format!("<p>b{SCRIPT}"));
    assert_eq!(visitor.get("/chunked").text(), format!("<head>{SCRIPT}</head><p>b"));
    let part = server.by("10.0.0.1").with("sec-fetch-dest", "empty").get("/bare");
    assert_eq!(part.text(), "<p>b", "what a script fetches is no page");
    let off = setup(&origin).start();
    assert_eq!(off.by("10.0.0.1").document().get("/bare").text(), "<p>b");
}

#[test]
fn a_visitor_who_cannot_be_looked_up_gets_the_page_of_a_guest() {
    const PAGE: &str = "<if-permitted can=p>SECRET</if-permitted><if-not-permitted can=p>else</if-not-permitted>";
    let origin = site(&[("/whole", "", PAGE), ("/chunked", "Transfer-Encoding: chunked\r\n", PAGE)]);
    for fault in ["fail-accounts", "hang-accounts", "hang-logins"] {
        let server = Setup::hooked().before(&origin).var("ADMIN_TOKEN", ADMIN).start();
        let admin = server.by("10.8.8.8").with("authorization", &format!("Bearer {ADMIN}"));
        let key =
            admin.post("/_presence/v1/sessions", r#"{"user": "sally"}"#).json()["key"].as_str().unwrap().to_owned();
        admin.send("PUT", "/_presence/v1/grants", Some(br#"{"user": "sally", "permission": "p"}"#));
        let sally = server.by("10.0.0.1").document().with("cookie", &format!("presence_session={key}"));
        for path in ["/whole", "/chunked"] {
            assert_eq!(sally.clone().with("x-test-fault", fault).get(path).text(), "else", "{fault} {path}");
        }
        eventually("SECRET".to_owned(), || sally.clone().with("x-test-fault", "none").get("/chunked").text());
    }
}

/// A site that sends one page in two chunks, the second from a place on.
fn in_chunks(content_type: &'static str, page: &'static str, cut: usize) -> Origin {
    Origin::serving(move |_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n");
        for part in [page.split_at(cut).0, page.split_at(cut).1] {
            let _ = write!(stream, "{:x}\r\n{part}\r\n", part.len()).and_then(|()| stream.flush());
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = write!(stream, "0\r\n\r\n");
    })
}

#[test]
fn a_page_without_blocks_is_none_of_the_parsers_business_however_odd_it_is() {
    for content_type in ["text/html", "text/html; charset=utf8mb4", "text/html; charset=none"] {
        let page = "<select><xmp><option></select><p>caf\u{e9}</p><if-permitte";
        let origin = in_chunks(content_type, page, 12);
        let server = setup(&origin).start();
        let answer = server.by("10.0.0.1").document().get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, page), "{content_type}");
        assert_eq!(answer.header("content-type"), Some(content_type));
    }
}

#[test]
fn a_block_is_found_wherever_a_page_is_cut() {
    let page = "<p>one</p><IF-permitted can=\"x\">secret</IF-permitted><p>two \u{e9}</p>";
    for (cut, content_type) in
        [(1, "text/html"), (11, "text/html"), (20, "text/html; charset=utf8mb4"), (23, "text/html")]
    {
        let origin = in_chunks(content_type, page, cut);
        let server = setup(&origin).start();
        let answer = server.by("10.0.0.1").document().get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "<p>one</p><p>two \u{e9}</p>"), "{cut}");
    }
}

#[test]
fn while_presence_is_out_of_order_blocks_are_hidden_from_everybody() {
    let page = "<p>one</p><if-permitted can=\"x\">secret</if-permitted>";
    let origin = in_chunks("text/html", page, 3);
    let broken = setup(&origin).var("ONLINE_TIMEOUT", "5m").start();
    assert_eq!(broken.by("10.0.0.1").document().get("/").text(), "<p>one</p>");
    let server = setup(&origin).start();
    let answer = server.raw(b"GET / HTTP/1.1\r\nHost: a,b\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
    assert!(!String::from_utf8_lossy(&answer).contains("secret"));
}

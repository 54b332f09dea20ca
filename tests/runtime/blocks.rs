//! Blocks in pages: shown to those who may see them, and never sent to anybody else.

use crate::blocks_site::*;
use crate::harness::*;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const EDITOR: &str = "User=sally&Perms=can_edit%40group%3A42";
const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";
const BLOCK: &str = "<p>a</p><if-permitted key=\"{key}\" can=\"can_edit\" on=\"group:42\"><b>SECRET</b>{end}\
                     <if-not-permitted key=\"{key}\" can=\"can_edit\" on=\"group:42\"><i>ask for it</i>{endnot}<p>b</p>";

fn announced() -> String {
    format!("{HTML}X-Presence-Blocks: {KEY}\r\n")
}

/// A site that sends one page, with headers of its own by path. The query names users.
fn site(page: &'static str, pages: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::serving(move |request, stream| {
        let path = request.target.split('?').next().unwrap();
        let headers = pages.iter().find(|(known, _)| *known == path).map_or("", |(_, headers)| headers);
        let headers = format!("{}{headers}{}", announced(), said(request));
        let chunk = (path == "/chunked").then_some(7);
        send(stream, "200 OK", &headers, text(page).as_bytes(), chunk);
    })
}

#[test]
fn a_block_is_there_for_those_who_may_and_its_other_for_the_rest() {
    let origin = site(BLOCK, &[]);
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
    let editor = signed_in(&server, "10.0.0.1", EDITOR);
    let posted = editor.send("POST", "/whole", Some(b"a=1"));
    assert_eq!(posted.text(), "<p>a</p><b>SECRET</b><p>b</p>", "the answer to a form, too");
}

#[test]
fn blocks_are_cut_whether_or_not_the_site_is_believed_who_its_users_are() {
    let origin = site(BLOCK, &[]);
    let server = setup(&origin).var("TRUST_ORIGIN_HEADERS", "false").start();
    let page = server.by("10.0.0.1").document().get(&format!("/whole?{EDITOR}"));
    assert_eq!((page.text().contains("SECRET"), page.header("x-presence-blocks")), (false, None));
    assert!(page.text().contains("ask for it"));
}

#[test]
fn a_page_that_announces_nothing_is_untouched() {
    const PAGE: &str =
        "<!DOCTYPE html><p CLASS=x >é & <br/></P><select><xmp></select><if-permitted can=no>a</if-permitte";
    const HEADERS: &str = "ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nCache-Control: max-age=9\r\n\
                           Accept-Ranges: bytes\r\n";
    let origin = Origin::serving(|request, stream| {
        let coding =
            query(request, "coding").map_or_else(String::new, |coding| format!("Content-Encoding: {coding}\r\n"));
        let status = if request.header("range").is_some() { "206 Partial Content" } else { "200 OK" };
        let kept = if request.target.starts_with("/plain") { HEADERS } else { "" };
        send(stream, status, &format!("{HTML}{kept}{coding}{}", said(request)), PAGE.as_bytes(), None);
    });
    let server = setup(&origin).start();
    for client in [server.by("10.0.0.1").document(), signed_in(&server, "10.0.0.2", "User=sally")] {
        for path in ["/plain", "/plain?coding=zstd"] {
            let plain = client.get(path);
            assert_eq!(plain.text(), PAGE);
            let headers = ["etag", "last-modified", "cache-control", "accept-ranges", "content-length"];
            let length = PAGE.len().to_string();
            assert_eq!(
                headers.map(|name| plain.header(name).unwrap_or_default()),
                ["\"1\"", "Wed, 21 Oct 2015 07:28:00 GMT", "max-age=9", "bytes", &length]
            );
        }
    }
    assert_eq!(server.by("10.0.0.1").with("range", "bytes=0-9").get("/plain").status, 206);
}

#[test]
fn a_header_that_is_no_key_is_refused() {
    let origin = Origin::serving(|request, stream| {
        let key = query(request, "key").unwrap_or_default();
        let twice = query(request, "twice").map_or_else(String::new, |key| format!("X-Presence-Blocks: {key}\r\n"));
        send(stream, "200 OK", &format!("{HTML}X-Presence-Blocks: {key}\r\n{twice}"), b"SECRET", None);
    });
    for server in [setup(&origin).start(), setup(&origin).var("BLOCK_KEY", KEY).start()] {
        for key in ["", "short", "0123456789abcde.", &format!("{KEY}&twice={KEY}")] {
            let refused = server.by("10.0.0.1").document().get(&format!("/?key={key}")).problem(502);
            assert!(refused.contains("x-presence-blocks") && refused.contains("one random word"), "{refused}");
        }
        eventually(true, || server.log().contains("x-presence-blocks"));
    }
}

#[test]
fn what_is_compressed_in_an_unknown_way_is_refused() {
    let origin = Origin::serving(|request, stream| {
        let coding = query(request, "coding").unwrap_or_default();
        send(stream, "200 OK", &format!("{}Content-Encoding: {coding}\r\n", announced()), b"SECRET", None);
    });
    let server = setup(&origin).start();
    for coding in ["zstd", "compress", "gzip,gzip", "gzip,br", "none"] {
        let refused = server.by("10.0.0.1").document().get(&format!("/?coding={coding}")).problem(502);
        assert!(refused.contains("compressed as") && refused.contains("gzip, deflate or br"), "{refused}");
    }
    // One that holds nothing is no fault.
    let empty = Origin::serving(|_, stream| {
        send(stream, "200 OK", &format!("{}Content-Encoding: gzip\r\n", announced()), b"", None);
    });
    let page = setup(&empty).start();
    let page = page.by("10.0.0.1").document().get("/");
    assert_eq!((page.status, page.body.len()), (200, 0));
    // What it says it is, and is not.
    for coding in ["gzip", "deflate", "br"] {
        let text = String::from_utf8_lossy(
            &server
                .raw(format!("GET /?coding={coding} HTTP/1.1\r\nHost: club\r\nConnection: close\r\n\r\n").as_bytes()),
        )
        .into_owned();
        assert!(!text.contains("SECRET"), "{text}");
    }
}

#[test]
fn what_is_compressed_without_saying_so_does_not_go_out() {
    let origin = Origin::serving(|_, stream| {
        send(stream, "200 OK", &announced(), &compressed(text("{no}SECRET{end}").as_bytes(), "gzip"), None);
    });
    let server = setup(&origin).start();
    let page = server.by("10.0.0.1").document().get("/");
    assert_eq!((page.status, page.body.as_slice()), (200, b"".as_slice()));
}

#[test]
fn of_a_piece_the_whole_is_sent() {
    // Sends a piece where it is asked for one, and by some paths where it is not.
    let origin = Origin::serving(|request, stream| {
        let body = text("<p>a</p>{no}SECRET{end}");
        let piece = body.get(40..).unwrap();
        let always = request.target.starts_with("/always");
        match request.target.as_str() {
            "/always-multipart" => {
                let headers = format!("Content-Type: multipart/byteranges; boundary=x\r\nX-Presence-Blocks: {KEY}\r\n");
                send(stream, "200 OK", &headers, format!("--x\r\n\r\n{piece}\r\n--x--").as_bytes(), None);
            }
            _ if always || request.header("range").is_some() => {
                let headers = format!("{}Content-Range: bytes 40-99/100\r\n", announced());
                let status = if request.target == "/always-ok" { "200 OK" } else { "206 Partial Content" };
                send(stream, status, &headers, piece.as_bytes(), None);
            }
            _ => send(stream, "200 OK", &announced(), body.as_bytes(), None),
        }
    });
    let server = setup(&origin).start();
    let client = server.by("10.0.0.1").document();
    let answer = client.clone().with("range", "bytes=40-99").with("if-range", "\"1\"").get("/page");
    assert_eq!((answer.status, answer.text().as_str()), (200, "<p>a</p>"));
    assert_eq!((answer.header("content-range"), answer.header("accept-ranges")), (None, None));
    for path in ["/always", "/always-ok", "/always-multipart"] {
        assert!(client.get(path).problem(502).contains("piece"), "{path}");
    }
    assert!(client.send("POST", "/always", Some(b"a")).problem(502).contains("piece"), "it is not sent twice");
    let posted = origin.seen().iter().filter(|request| request.method == "POST").count();
    assert_eq!(posted, 1);
}

#[test]
fn a_page_that_was_changed_for_one_visitor_is_kept_for_no_other() {
    const VALIDATORS: &str = "ETag: \"1\"\r\nLast-Modified: Wed, 21 Oct 2015 07:28:00 GMT\r\nContent-MD5: x\r\nDigest: x\r\n\
                              Content-Digest: x\r\nRepr-Digest: x\r\nAccept-Ranges: bytes\r\nExpires: Wed, 21 Oct 2037 07:28:00 GMT\r\n\
                              CDN-Cache-Control: max-age=9\r\nCloudflare-CDN-Cache-Control: max-age=9\r\n\
                              Surrogate-Control: max-age=9\r\nX-Accel-Expires: 9\r\n";
    const GONE: [&str; 14] = [
        "etag",
        "last-modified",
        "content-md5",
        "digest",
        "content-digest",
        "repr-digest",
        "accept-ranges",
        "expires",
        "cdn-cache-control",
        "cloudflare-cdn-cache-control",
        "surrogate-control",
        "x-accel-expires",
        "content-length",
        "x-presence-blocks",
    ];
    let origin = site(
        BLOCK,
        &[
            ("/plain", VALIDATORS),
            ("/private", "ETag: \"1\"\r\nCache-Control: private, max-age=600\r\n"),
            ("/never", "Cache-Control: no-store\r\n"),
            ("/chunked", "ETag: \"1\"\r\n"),
            ("/public", "ETag: \"1\"\r\nCache-Control: public, max-age=600\r\n"),
        ],
    );
    let server = setup(&origin).start();
    let editor = signed_in(&server, "10.0.0.1", EDITOR);
    for path in ["/plain", "/private", "/never", "/chunked", "/public"] {
        for (client, shown) in [(editor.clone(), true), (server.by("10.0.0.2").document(), false)] {
            let page = client.get(path);
            assert_eq!(page.text().contains("SECRET"), shown, "{path}");
            let control = if path == "/never" { "no-store" } else { "private, no-cache" };
            assert_eq!(page.header("cache-control"), Some(control), "{path}");
            assert_eq!(GONE.map(|name| page.header(name)), [None; 14], "{path}");
            let head = client.send("HEAD", path, None);
            assert_eq!(head.header("cache-control"), Some(control), "{path}");
            let gone = GONE.map(|name| head.header(name).filter(|value| *value != "0"));
            assert_eq!((head.status, head.body.len(), gone), (200, 0, [None; 14]), "{path}");
        }
    }
    // A cache that sends no Age may have made it for somebody else.
    assert!(!server.by("10.0.0.3").document().get(&format!("/public?{EDITOR}")).text().contains("SECRET"));
}

#[test]
fn with_a_key_for_all_answers_texts_are_asked_for_whole_and_plain_and_all_else_is_untouched() {
    let origin = Origin::serving(|request, stream| {
        let (kind, body) = match request.target.as_str() {
            "/film" | "/picture" => ("video/mp4", text("{no}a film is no text{end}")),
            _ => ("text/html", text("<p>a</p>{no}SECRET{end}")),
        };
        let status = if request.header("range").is_some() { "206 Partial Content" } else { "200 OK" };
        send(stream, status, &format!("Content-Type: {kind}\r\nETag: \"1\"\r\n"), body.as_bytes(), None);
    });
    let server = setup(&origin).var("BLOCK_KEY", KEY).start();
    let client =
        server.by("10.0.0.1").with("range", "bytes=0-9").with("if-range", "\"1\"").with("accept-encoding", "br");
    let page = client.clone().document().get("/page");
    assert_eq!((page.status, page.text().as_str(), page.header("etag")), (200, "<p>a</p>", None));
    let asked = origin.seen().pop().unwrap();
    assert_eq!((asked.header("range"), asked.header("if-range")), (None, None));
    assert_eq!(asked.header("accept-encoding"), Some("identity"));
    let film = client.clone().with("sec-fetch-dest", "video").get("/film");
    assert_eq!(
        (film.status, film.text(), film.header("etag")),
        (206, text("{no}a film is no text{end}"), Some("\"1\""))
    );
    // Whoever says so of a page gets it whole all the same.
    let page = client.with("sec-fetch-dest", "video").get("/page");
    assert_eq!((page.status, page.text().as_str()), (200, "<p>a</p>"));
}

#[test]
fn a_key_for_all_answers_that_is_none_stops_all_pages_and_a_wrong_setting_elsewhere_opens_no_blocks() {
    let origin = Origin::serving(|_, stream| {
        send(stream, "200 OK", HTML, text("<p>a</p>{no}SECRET{end}").as_bytes(), None);
    });
    for key in ["", "short", "sixteen letters!"] {
        let server = setup(&origin).var("BLOCK_KEY", key).start();
        let refused = server.by("10.0.0.1").document().get("/").problem(500);
        assert_eq!(refused, "BLOCK_KEY must be one random word of 16 to 128 letters, digits, - and _");
        assert_eq!(server.by("10.0.0.1").get("/_presence/healthz").status, 200);
    }
    assert_eq!(origin.seen().len(), 0);
    let server = setup(&origin).var("BLOCK_KEY", KEY).var("ONLINE_TIMEOUT", "5m").start();
    assert_eq!(server.by("10.0.0.1").document().get("/").text(), "<p>a</p>");
    let demo = Setup::new().var("BLOCK_KEY", "short").start();
    assert_eq!(demo.by("10.0.0.1").document().get("/").status, 200, "the demo has no blocks");
}

#[test]
fn megabytes_of_page_stream_through() {
    let origin = Origin::serving(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n{}Connection: close\r\n\r\n", announced());
        for number in 0..20_000 {
            let block = format!("<p>{number} {}</p>{{no}}SECRET{number}{{end}}{{not}}shown{{endnot}}", "x".repeat(200));
            if stream.write_all(text(&block).as_bytes()).is_err() {
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
        let head = format!("HTTP/1.1 200 OK\r\n{}Transfer-Encoding: chunked\r\n\r\n", announced());
        let _ = write!(stream, "{head}a\r\n<p>one</p>\r\n").and_then(|()| stream.flush());
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
fn an_answer_that_breaks_off_within_a_block_shows_nothing_of_it() {
    let origin = Origin::serving(|_, stream| {
        let body = text("<p>a</p>{no}SECRET SECRET");
        let head = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 1000\r\n\r\n", announced());
        let _ = stream.write_all((head + &body).as_bytes());
    });
    let server = setup(&origin).start();
    let answer = server.raw(b"GET / HTTP/1.1\r\nHost: club\r\nConnection: close\r\n\r\n");
    assert!(!String::from_utf8_lossy(&answer).contains("SECRET"));
}

#[test]
fn a_visitor_who_cannot_be_looked_up_gets_the_page_of_a_guest() {
    const PAGE: &str =
        "<if-permitted key=\"{key}\" can=\"p\">SECRET{end}<if-not-permitted key=\"{key}\" can=\"p\">else{endnot}";
    let origin = site(PAGE, &[]);
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

#[test]
fn while_presence_is_out_of_order_blocks_are_hidden_from_everybody() {
    let origin = site(BLOCK, &[]);
    let broken = setup(&origin).var("ONLINE_TIMEOUT", "5m").start();
    let page = broken.by("10.0.0.1").document().get(&format!("/chunked?{EDITOR}")).text();
    assert_eq!(page, "<p>a</p><i>ask for it</i><p>b</p>");
    let server = setup(&origin).start();
    let answer = server.raw(b"GET / HTTP/1.1\r\nHost: a,b\r\nAccept: text/html\r\nConnection: close\r\n\r\n");
    assert!(!String::from_utf8_lossy(&answer).contains("SECRET"));
}

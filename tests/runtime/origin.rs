//! The site behind the Worker: every answer of its comes through as it is.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;
use tungstenite::handshake::server::{Request, Response};

/// A site with an answer for each path, to the byte.
fn site() -> Origin {
    Origin::serving(|request, stream| {
        let name = "X-Presence-User: sally\r\n";
        let answer: Vec<u8> = match request.target.as_str() {
            "/teapot" => b"HTTP/1.1 418 I'm a teapot\r\nX-Kind: short\r\nContent-Length: 5\r\nConnection: close\r\n\r\nstout".to_vec(),
            "/redirect" => format!("HTTP/1.1 302 Found\r\nLocation: /next?a=1#b\r\n{name}Content-Length: 0\r\nConnection: close\r\n\r\n").into(),
            "/cookies" => format!("HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; Expires=Wed, 21 Oct 2037 07:28:00 GMT\r\n{name}Content-Length: 2\r\nConnection: close\r\n\r\nok").into(),
            "/range" => b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/10\r\nContent-Length: 3\r\nConnection: close\r\n\r\ncde".to_vec(),
            "/unchanged" => format!("HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n{name}Connection: close\r\n\r\n").into(),
            "/empty" => format!("HTTP/1.1 204 No Content\r\n{name}Connection: close\r\n\r\n").into(),
            "/error" => format!("HTTP/1.1 500 Internal Server Error\r\n{name}Content-Length: 4\r\nConnection: close\r\n\r\noops").into(),
            "/gzip" => {
                let body = gzip(b"compressed as it came");
                let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Type: text/plain\r\n{name}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).into_bytes();
                answer.extend(body);
                answer
            }
            "/binary" => {
                let body: Vec<u8> = (0..1_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
                let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n{name}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()).into_bytes();
                answer.extend(body);
                answer
            }
            _ => {
                let body = format!("{} {} {}", request.method, request.target, String::from_utf8_lossy(&request.body));
                format!("HTTP/1.1 200 OK\r\nX-Own: 1\r\n{name}X-Presence-Name: S\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()).into()
            }
        };
        let _ = stream.write_all(&answer);
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// What the raw answer to a GET says, from the site itself or through the Worker.
fn raw(port: u16, path: &str) -> (String, Vec<String>, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: site.example\r\nUser-Agent: {FIREFOX}\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\nRange: bytes=2-4\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().unwrap().to_owned();
    // An error page is told that it is nobody's place.
    let nowhere = "server-timing: presence;desc=nowhere";
    let noise =
        ["connection:", "x-presence-", "set-cookie: presence=", "transfer-encoding:", "date:", "keep-alive:", nowhere];
    let mut headers: Vec<String> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            format!("{}:{value}", name.to_lowercase())
        })
        .filter(|line| !noise.iter().any(|noise| line.to_lowercase().starts_with(noise)))
        .collect();
    headers.sort();
    (status, headers, answer[end + 4..].to_vec())
}

#[test]
fn every_answer_comes_through_byte_for_byte() {
    let site = site();
    let server = Setup::new().before(&site).start();
    for path in [
        "/",
        "/teapot",
        "/redirect",
        "/cookies",
        "/range",
        "/unchanged",
        "/empty",
        "/error",
        "/gzip",
        "/binary",
        "/a?b=c&d=%20e",
    ] {
        let (direct, through) = (raw(site.port, path), raw(server.port, path));
        assert_eq!(through.0, direct.0, "{path}");
        assert_eq!(through.1, direct.1, "{path}");
        assert!(through.2 == direct.2, "{path}: the body differs");
    }
}

#[test]
fn the_browser_never_sees_what_is_between_the_origin_and_us() {
    let server = Setup::new().before(&site()).start();
    for path in ["/", "/redirect", "/error", "/unchanged", "/empty"] {
        let answer = server.by("10.0.0.1").document().get(path);
        assert!(
            answer.headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("x-presence")),
            "{path}: {answer:?}"
        );
    }
}

#[test]
fn method_body_and_headers_reach_the_origin() {
    let site = site();
    let server = Setup::new().before(&site).start();
    let body = "field=1&x=".to_owned() + &"y".repeat(100_000);
    let client = server
        .by("10.0.0.1")
        .with("content-type", "application/x-www-form-urlencoded")
        .with("x-own", "kept")
        .with("cookie", "sessionid=abc");
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = client.send(method, "/form?a=1", Some(body.as_bytes()));
        assert_eq!(answer.text(), format!("{method} /form?a=1 {body}"));
    }
    for (length, body) in [(0, ""), (3, "abc")] {
        let request =
            format!("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        let answer = String::from_utf8(server.raw(request.as_bytes())).unwrap();
        assert!(answer.ends_with(&format!("\r\n\r\nGET /a {body}")), "{answer}");
    }
    let seen = site.seen();
    let request = &seen[0];
    assert_eq!((request.header("x-own"), request.header("cookie")), (Some("kept"), Some("sessionid=abc")));
    assert_eq!(request.header("x-forwarded-host"), Some(format!("127.0.0.1:{}", server.port).as_str()));
    assert_eq!(request.header("x-forwarded-proto"), Some("http"));
}

#[test]
fn no_address_leads_out_of_the_origins_path() {
    let site = site();
    let reached = |server: &Server, path: &str| {
        let (status, _, body) = raw(server.port, path);
        (status.contains(" 200 ")).then(|| String::from_utf8(body).unwrap())
    };
    let below = Setup::new().var("ORIGIN", &format!("http://127.0.0.1:{}/club", site.port)).start();
    for (path, target) in [("/page?a=1", "/club/page?a=1"), ("/a/../b", "/club/b"), ("//a", "/club//a")] {
        assert_eq!(reached(&below, path), Some(format!("GET {target} ")), "{path}");
    }
    for path in ["/../secret", "/%2e%2e/secret", "/a/../../clubs", "/..", "/..\\secret"] {
        assert_eq!(reached(&below, path), None, "{path}");
    }
    let all = Setup::new().before(&site).start();
    assert_eq!(reached(&all, "/../page"), Some("GET /page ".into()));
    assert!(site.seen().iter().all(|request| !request.target.contains("secret") && request.target != "/clubs"));
}

#[test]
fn an_answer_streams_as_it_comes() {
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let site = Origin::serving(move |_, stream| {
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nX-Presence-User: sally\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n6\r\nfirst,\r\n"
        );
        let _ = stream.flush();
        let _ = gate.lock().unwrap().recv_timeout(Duration::from_secs(20));
        let _ = write!(stream, "6\r\nsecond\r\n0\r\n\r\n");
    });
    let server = Setup::new().before(&site).start();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\n\r\n").unwrap();
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&got).contains("first,") {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "the first part comes before the second is sent");
        got.extend(&buffer[..read]);
    }
    go.send(()).unwrap();
    stream.read_to_end(&mut got).unwrap();
    assert!(String::from_utf8_lossy(&got).contains("second"));
}

/// A site that upgrades every request, with some headers of its own, and sends back whatever it gets.
fn echo(headers: &'static [(&'static str, &'static str)]) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // The type of the refusal, which is never made here, is tungstenite's.
                #[allow(clippy::result_large_err)]
                let add = |_: &Request, mut answer: Response| {
                    for (name, value) in headers {
                        answer.headers_mut().append(*name, value.parse().unwrap());
                    }
                    Ok(answer)
                };
                let mut socket = tungstenite::accept_hdr(stream, add).unwrap();
                while let Ok(message) = socket.read() {
                    if message.is_close() || socket.send(message).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

#[test]
fn a_web_socket_goes_through_both_ways() {
    const SALLY: &[(&str, &str)] = &[("x-presence-user", "sally"), ("x-presence-blocks", "0123456789abcdef")];
    for (headers, name, value) in
        [(&[][..], "SHARDS", "1"), (SALLY, "SHARDS", "1"), (&[], "BLOCK_KEY", "0123456789abcdef")]
    {
        let origin = format!("http://127.0.0.1:{}", echo(headers));
        let server = Setup::new().var("ORIGIN", &origin).var(name, value).start();
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let url = format!("ws://127.0.0.1:{}/chat", server.port);
        let (mut socket, answer) = tungstenite::client(url, stream).unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().get("x-presence-user")), (101, None));
        socket.send("hello".into()).unwrap();
        assert_eq!(socket.read().unwrap().to_text().unwrap(), "hello");
    }
}

#[test]
fn on_its_own_route_the_worker_asks_the_site_itself() {
    let site = site();
    let server = Setup::new().on_route_of(&site).start();
    let answer =
        server.by("10.0.0.1").document().with("host", "site.example").with("x-presence-user", "bob").get("/page?a=1");
    assert_eq!(answer.text(), "GET /page?a=1 ");
    assert_eq!(site.seen()[0].header("host"), Some("site.example"));
    assert_eq!(site.seen()[0].header("x-presence-user"), None);
    let online = server.by("10.0.0.9").with("host", "site.example").get("/_presence/v1/online.json").json();
    assert_eq!(online["users"][0]["id"], "sally");
    assert_eq!(online["users"][0]["location"]["path"], "/page");
}

#[test]
fn a_site_that_is_down_is_told_as_such() {
    let server = Setup::new().var("ORIGIN", "http://127.0.0.1:1").start();
    assert!(server.by("10.0.0.1").get("/").problem(502).contains("ORIGIN"));
}

#[test]
fn of_many_pages_that_wait_at_once_each_visitor_gets_their_own() {
    const MANY: usize = 400;
    let all_wait = Barrier::new(MANY);
    let site = Origin::serving(move |request, stream| {
        all_wait.wait();
        let page = format!("<p>{}</p>", request.target);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n", page.len());
        // Whose connection breaks gets no page.
        if !request.target.ends_with('7') {
            let _ = write!(stream, "{head}Connection: close\r\n\r\n{page}");
        }
    });
    let server = Setup::new().before(&site).start();
    for round in ["first", "second"] {
        thread::scope(|scope| {
            for visitor in 0..MANY {
                let server = &server;
                scope.spawn(move || {
                    let path = format!("/{round}/{visitor}");
                    let answer = server.by("10.0.0.1").document().get(&path);
                    let page = (answer.status, answer.text().contains(&format!("<p>{path}</p>")));
                    assert_eq!(page, if path.ends_with('7') { (502, false) } else { (200, true) }, "{answer:?}");
                });
            }
        });
    }
}

#[test]
fn a_redirect_is_no_place() {
    let server = Setup::new().before(&site()).start();
    let visitor = server.by("10.0.0.1").document();
    visitor.get("/page");
    visitor.get("/redirect");
    assert_eq!(server.json("/_presence/v1/users/sally.json")["location"]["path"], "/page");
}

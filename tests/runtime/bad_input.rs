//! Whatever is wrong with a request is told, and nothing comes of it.

use crate::harness::*;

#[test]
fn every_malformed_request_is_a_problem_that_says_what_to_change() {
    let server = Setup::new().start();
    let visitor = server.by("10.0.0.1");
    let long = "x".repeat(600);
    for (method, path, body, status, says) in [
        ("POST", "touch", "{", 400, "JSON object"),
        ("POST", "touch", "[]", 400, "JSON object"),
        ("POST", "touch", "\u{feff}{}", 400, "JSON object"),
        ("POST", "touch", r#"{"path":"forum"}"#, 400, "must start with /"),
        ("POST", "touch", &format!(r#"{{"path":"/","topic":"{long}"}}"#), 400, "1 to 128 bytes"),
        ("POST", "touch", r#"{"state":"asleep"}"#, 400, "online"),
        ("POST", "touch", r#"{"tab":{}}"#, 400, "JSON object"),
        ("POST", "touch", &format!("{{\"a\":\"{}\"}}", "x".repeat(5000)), 413, "4096 bytes"),
        ("POST", "leave", "not json", 400, "JSON object"),
        ("GET", "touch", "", 405, "POST"),
        ("PUT", "online.json", "", 405, "GET, HEAD"),
        ("GET", "online.json?limit=1001", "", 400, "from 0 to 1000"),
        ("GET", "online.json?limit=abc", "", 400, "from 0 to 1000"),
        ("GET", "online.json?cursor=%00", "", 400, "next_cursor"),
        ("GET", "online.json?kind=alien", "", 400, "user, guest or bot"),
        ("GET", "touch.gif?path=x", "", 400, "must start with /"),
        ("GET", "users/%FF.json", "", 400, "UTF-8"),
        ("GET", "users/%00.json", "", 400, "control characters"),
        ("GET", "users.json", "", 400, "at least one user"),
        ("GET", "nothing", "", 404, "nothing at this address"),
    ] {
        let body = (method == "POST").then_some(body.as_bytes());
        let detail = visitor.send(method, &format!("/_presence/v1/{path}"), body).problem(status);
        assert!(detail.contains(says), "{method} {path}: {detail}");
    }
    assert_eq!(server.json("/_presence/v1/count.json")["total"], 0, "nobody was recorded");
}

#[test]
fn bytes_that_are_no_utf8_are_refused() {
    let server = Setup::new().start();
    let answer = server.by("10.0.0.1").send("POST", "/_presence/v1/touch", Some(b"{\"path\":\"/\xff\xfe\"}"));
    answer.problem(400);
}

#[test]
fn a_huge_body_is_refused_whether_it_tells_its_length_or_not() {
    let server = Setup::new().start();
    // Refused by its length alone, so that the server may well hang up before it was all sent.
    let huge =
        format!("POST /_presence/v1/touch HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n{}", " ".repeat(100));
    let answer = server.raw_begin(huge.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let mut chunked =
        b"POST /_presence/v1/touch HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..10 {
        chunked.extend(format!("{:x}\r\n{}\r\n", 1000, " ".repeat(1000)).bytes());
    }
    chunked.extend(b"0\r\n\r\n");
    let answer = String::from_utf8_lossy(&server.raw(&chunked)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn a_host_that_is_none_names_no_site() {
    let server = Setup::new().start();
    for host in ["", "..", "a b", "%00", "[::1", "a/b", "<script>"] {
        let request = format!("GET /_presence/v1/count HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8_lossy(&server.raw(request.as_bytes())).into_owned();
        assert!(answer.starts_with("HTTP/1.1 4"), "{host}: {answer}");
    }
    assert_eq!(server.by("10.0.0.1").get("/_presence/healthz").status, 200);
}

#[test]
fn odd_headers_and_addresses_break_nothing() {
    let server = Setup::new().start();
    for (name, value) in [
        ("cookie", ";;;==;presence;presence=%"),
        ("cookie", "\u{e9}\u{e9}=\u{e9}"),
        ("authorization", "Bearer"),
        ("authorization", "bearer  "),
        ("if-none-match", "\",,,W/"),
        ("user-agent", "\u{fc}\u{fc}"),
        ("cf-connecting-ip", "not an address"),
        ("content-length", "0"),
    ] {
        let client = server.by("10.0.0.1").with(name, value);
        assert_eq!(client.document().get("/").status, 200, "{name}: {value}");
    }
    for path in [
        "/%",
        "/%zz",
        "/%ff",
        "//",
        "/a/../b",
        "/?",
        "/_presence/v1/users/..%2f..json",
        "/_presence/../_presence/v1/count",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\nAccept: text/html\r\n\r\n");
        let answer = String::from_utf8_lossy(&server.raw(request.as_bytes())).into_owned();
        assert!(answer.starts_with("HTTP/1.1 2") || answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    assert_eq!(server.by("10.0.0.9").get("/_presence/healthz").status, 200);
}

#[test]
fn a_setting_out_of_bounds_is_told_and_pages_are_served() {
    let site = Origin::with_headers(|_| "X-Presence-User: sally\r\n".into());
    let server = Setup::new().before(&site).var("ONLINE_TIMEOUT", "soon").start();
    let detail = server.by("10.0.0.1").get("/_presence/v1/count").problem(500);
    assert_eq!(detail, "ONLINE_TIMEOUT must be a whole number of seconds from 1 to 86400; it is \"soon\"");
    let page = server.by("10.0.0.1").document().get("/");
    assert_eq!((page.status, page.header("x-presence-user")), (200, None));
    let nowhere = Setup::new().var("ORIGIN", "example.com").start();
    assert!(nowhere.by("10.0.0.1").get("/").problem(500).starts_with("ORIGIN must be"));
}

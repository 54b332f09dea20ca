//! The hosts that requests name: which site each stands for, and what a client may say of itself on the way to the site.

use crate::harness::{Origin, Setup};

const ONLINE: &str = "/_presence/v1/online.json";

#[test]
fn a_host_is_one_site_in_whatever_form_it_is_named() {
    let server = Setup::new().start();
    let ask = |method: &str, path: &str, host: &str, address: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nCF-Connecting-IP: {address}\r\nUser-Agent: {}\r\nConnection: close\r\n\
             Content-Length: 0\r\n\r\n",
            crate::harness::FIREFOX
        );
        String::from_utf8(server.raw(request.as_bytes())).unwrap()
    };
    let forms = [
        "club.example",
        "CLUB.example",
        "club.example.",
        "club.example:80",
        "www.club.example",
        "WWW.Club.Example.:80",
    ];
    for (index, host) in forms.iter().enumerate() {
        let answer = ask("POST", "/_presence/v1/touch", host, &format!("10.0.0.{index}"));
        assert!(answer.starts_with("HTTP/1.1 204"), "{host}: {answer}");
    }
    for host in forms {
        let answer = ask("GET", &format!("{ONLINE}?limit=0"), host, "10.0.9.9");
        assert!(answer.contains(r#""site":"club.example""#), "{host}: {answer}");
        assert!(answer.contains(&format!(r#""guests":{}"#, forms.len())), "{host}: {answer}");
    }
}

#[test]
fn what_a_client_says_of_its_address_is_replaced_on_the_way_to_the_site() {
    let site = Origin::with_headers(|_| String::new());
    let lies = [
        ("forwarded", "for=198.51.100.1;host=evil.example;proto=https"),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-port", "444"),
        ("x-real-ip", "198.51.100.1"),
        ("true-client-ip", "198.51.100.1"),
    ];
    for setup in [Setup::new().before(&site), Setup::new().on_route_of(&site)] {
        let server = setup.start();
        let liar = lies.iter().fold(server.by("203.0.113.7"), |client, (name, value)| client.with(name, value));
        for (method, body) in [("GET", None), ("POST", Some(&b"a=1"[..]))] {
            assert_eq!(liar.send(method, "/page", body).status, 200);
            let request = site.seen().pop().unwrap();
            for (name, value) in lies {
                let told = request.header(name);
                assert!(told != Some(value) && told.is_none_or(|told| told == "203.0.113.7"), "{name}: {told:?}");
            }
            assert_eq!(request.header("x-forwarded-for"), Some("203.0.113.7"), "{method}");
        }
    }
}

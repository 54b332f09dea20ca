//! What is for servers and administrators alone, and what they permit others.

use super::{ADMIN, LATER, SECRET, admin, basic, hs256, put, server, sha256, token};
use crate::harness::*;
use serde_json::json;

#[test]
fn what_is_for_servers_is_closed_to_everybody_else() {
    let paths = [
        ("POST", "sessions".to_owned()),
        ("GET", "sessions/0123456789abcdef".into()),
        ("PUT", "sessions/0123456789abcdef".into()),
        ("DELETE", "sessions/0123456789abcdef".into()),
        ("PUT", format!("sign-ons/{}", sha256("x"))),
        ("GET", format!("sign-ons/{}", sha256("x"))),
        ("DELETE", format!("sign-ons/{}", sha256("x"))),
        ("POST", "app-passwords".into()),
        ("GET", "app-passwords".into()),
        ("DELETE", "app-passwords/0123456789abcdef".into()),
        ("PUT", "grants".into()),
        ("DELETE", "grants".into()),
        ("DELETE", "users/sally".into()),
    ];
    let body = json!({"user": "sally", "permission": "admin"}).to_string();
    let statuses = |server: &Server, authorization: Option<&str>| -> Vec<u16> {
        let send = |(method, path): &(&str, String)| {
            let client = server.by("10.0.0.1");
            let client = authorization.iter().fold(client, |client, value| client.with("authorization", value));
            let answer = client.send(method, &format!("/_presence/v1/{path}"), Some(body.as_bytes()));
            assert!(!answer.text().contains(ADMIN));
            answer.status
        };
        paths.iter().map(send).collect()
    };
    let open = Setup::new().start();
    assert_eq!(statuses(&open, None), [403; 13]);
    assert!(
        open.by("10.0.0.1")
            .post("/_presence/v1/sessions", "{}")
            .problem(403)
            .contains("wrangler secret put ADMIN_TOKEN")
    );

    let server = server();
    let bob = token(SECRET, hs256(), json!({"sub": "bob", "exp": LATER, "perms": ["admin@group:42", "Admin"]}));
    assert_eq!(statuses(&server, None), [401; 13]);
    for wrong in [ADMIN.get(1..).unwrap(), "", &format!("{ADMIN}x"), &ADMIN.to_uppercase()] {
        assert_eq!(statuses(&server, Some(&format!("Bearer {wrong}"))), [401; 13], "{wrong}");
    }
    assert_eq!(statuses(&server, Some(&basic("admin", ADMIN)))[..5], [401; 5], "and then it has to wait");
    assert_eq!(statuses(&server, Some(&format!("Bearer {bob}"))), [403; 13]);
    let boss = token(SECRET, hs256(), json!({"sub": "boss", "exp": LATER, "perms": ["admin"]}));
    assert!(statuses(&server, Some(&format!("Bearer {boss}"))).iter().all(|status| !matches!(status, 401 | 403)));
    assert!(!server.log().contains(ADMIN) && !server.log().contains(&boss));
}

#[test]
fn a_page_elsewhere_cannot_have_an_admins_browser_do_anything() {
    let server = server();
    let cookie = "boss#boss@example.com#k3y-of-22-characters";
    let known = json!({"user": "boss", "ttl": 600, "perms": ["admin"]});
    assert_eq!(put(&admin(&server), &format!("sign-ons/{}", sha256(cookie)), known).status, 204);
    let browser = server.by("10.0.0.1").with("cookie", &format!("presence_sign_on={cookie}"));
    let grant = json!({"user": "mallory", "permission": "admin"});
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "null"),
    ] {
        put(&browser.clone().with(name, value), "grants", grant.clone()).problem(403);
    }
    assert_eq!(
        put(&browser.with("origin", &server.url("")), "grants", json!({"user": "sally", "permission": "can_edit"}))
            .status,
        204
    );
    let mallory = token(SECRET, hs256(), json!({"sub": "mallory", "exp": LATER}));
    let check = server
        .by("10.0.0.2")
        .with("authorization", &format!("Bearer {mallory}"))
        .get("/_presence/v1/permissions.json?check=admin");
    assert_eq!(check.json(), json!({"admin": false}));
}

#[test]
fn grants_say_what_somebody_may_do_to_what() {
    let server = server();
    let sally = token(SECRET, hs256(), json!({"sub": "sally", "exp": LATER, "perms": ["can_view"]}));
    let check = |checks: &[&str]| {
        let query: Vec<_> = checks.iter().map(|check| format!("check={check}")).collect();
        let path = format!("/_presence/v1/permissions.json?{}", query.join("&"));
        let answer = server.by("10.0.0.1").with("authorization", &format!("Bearer {sally}")).get(&path);
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("private, no-store")));
        let answer = answer.json();
        checks.iter().map(|check| answer[check].as_bool().unwrap()).collect::<Vec<_>>()
    };
    let checks = ["can_view", "can_edit", "can_edit@group:42", "can_edit@group:43"];
    assert_eq!(check(&checks), [true, false, false, false]);
    let grant = |object: &str| json!({"user": "sally", "permission": "can_edit", "object": object});
    assert_eq!(put(&admin(&server), "grants", grant("group:42")).status, 204);
    assert_eq!(check(&checks), [true, false, true, false]);
    assert_eq!(put(&admin(&server), "grants", grant("*")).status, 204);
    assert_eq!(check(&checks), [true, true, true, true]);
    let revoke = |object: &str| {
        admin(&server).send("DELETE", "/_presence/v1/grants", Some(grant(object).to_string().as_bytes()))
    };
    assert_eq!(revoke("*").status, 204);
    assert_eq!(check(&checks), [true, false, true, false]);
    assert_eq!(revoke("group:42").status, 204);
    assert_eq!(check(&checks), [true, false, false, false]);
    let guest = server.by("10.0.0.1").get("/_presence/v1/permissions.json?check=can_view");
    assert_eq!(guest.json(), json!({"can_view": false}));
}

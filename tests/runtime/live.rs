//! Those who watch see people come, move and go.

use crate::harness::*;
use crate::live_socket::*;
use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

const SECRET: &str = "a-secret-of-thirty-two-characters";
const ONLINE: &str = "/_presence/v1/online.json";

fn setup() -> Setup {
    Setup::new().var("PRESENCE_SECRET", SECRET).var("SITE", "club")
}

fn token_until(user: &str, end: i64) -> String {
    let part = |value: Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let claims = json!({"sub": user, "name": user.to_uppercase(), "exp": end, "aud": "club"});
    let text = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()))
}

fn token(user: &str) -> String {
    token_until(user, 4_000_000_000)
}

fn touch(server: &Server, user: &str, body: Value) {
    let client = server.by("10.0.0.1").with("authorization", &format!("Bearer {}", token(user)));
    assert_eq!(client.touch(&body.to_string()).status, 204);
}

#[test]
fn a_watcher_sees_people_come_move_and_go() {
    let server = setup().start();
    touch(&server, "sally", json!({"path": "/forum"}));
    let mut watcher = Watcher::open(&server, "", &[]);
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    assert_eq!(watcher.told[0], "state");
    touch(&server, "bob", json!({"path": "/"}));
    watcher.until(|watcher| watcher.ids() == ["bob", "sally"]);
    touch(&server, "sally", json!({"path": "/radio", "title": "Radio"}));
    watcher.until(|watcher| watcher.users["sally"]["location"] == json!({"path": "/radio", "title": "Radio"}));
    assert!(watcher.told[1..].iter().all(|told| told == "diff"), "{:?}", watcher.told);
    watcher.converge(&server);
    assert_eq!(watcher.counts, json!({"total": 3, "users": 2, "guests": 1, "bots": 0}), "the watcher is a guest");
}

#[test]
fn a_socket_is_its_users_by_a_token_in_the_address() {
    let server = setup().start();
    let mut watcher = Watcher::open(&server, "", &[]);
    let sally = Watcher::open(&server, &format!("?token={}", token("sally")), &[]);
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    assert_eq!(sally.users["sally"]["name"], "SALLY");
    drop(sally);
    for forged in [token_until("bob", 1_000_000_000), token("bob") + "x", "x".to_owned(), String::new()] {
        let guest = Watcher::open(&server, &format!("?token={forged}"), &[("cf-connecting-ip", "10.0.0.7")]);
        assert!(!guest.users.contains_key("bob"), "{forged}");
    }
    // Elsewhere an address proves nothing: it stands in logs.
    server.by("10.0.0.9").get(&format!("{ONLINE}?token={}", token("bob")));
    let touched = server.by("10.0.0.9").post(&format!("/_presence/v1/touch?token={}", token("bob")), "{}");
    assert_eq!(touched.status, 204);
    assert!(!server.ids(ONLINE).contains(&"bob".to_owned()));
}

#[test]
fn what_is_restricted_is_restricted_for_those_who_watch_too() {
    let rules = r#"{"live": "users", "names": "perm:staff", "locations": "nobody"}"#;
    let server = setup().var("ACCESS", rules).start();
    assert_eq!(connect(&server, "", &[]).unwrap_err(), 401);
    assert_eq!(connect(&server, "?view=count", &[]).unwrap_err(), 401);
    let sally = format!("token={}", token("sally"));
    assert_eq!(connect(&server, &format!("?{sally}"), &[]).unwrap_err(), 403);
    let counts = Watcher::open(&server, &format!("?view=count&{sally}"), &[]);
    assert_eq!((&counts.counts["users"], counts.ids()), (&json!(1), vec![]));
    assert_eq!(connect(&server, &format!("?view=count&path=/&{sally}"), &[]).unwrap_err(), 403);
    for (origin, status) in [("https://evil.example", 403), ("null", 403)] {
        assert_eq!(connect(&server, &format!("?view=count&{sally}"), &[("origin", origin)]).unwrap_err(), status);
    }
    server.by("10.0.0.1").get("/_presence/v1/live").problem(426);
    server.by("10.0.0.1").get("/_presence/v1/live?view=x").problem(400);
    server.by("10.0.0.1").get("/_presence/v1/live?since=x").problem(400);
}

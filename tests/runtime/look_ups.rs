//! What a cookie that anybody can make up costs the site.

use crate::harness::*;
use serde_json::json;
use std::path::Path;

const ADMIN: &str = "an-admin-token-of-some-length";
const NOON: i64 = 1_795_176_000_000;
const ONLINE: &str = "/_presence/v1/online.json";

fn setup() -> Setup {
    Setup::hooked().var("ADMIN_TOKEN", ADMIN).var("SITE", "club").var("TOUCH_RESOLUTION", "0")
}

fn at<'a>(server: &'a Server, address: &'a str, second: i64) -> Client<'a> {
    server.by(address).with("x-test-now", &(NOON + second * 1000).to_string())
}

fn session(server: &Server, second: i64, user: &str) -> String {
    let admin = at(server, "10.8.8.8", second).with("authorization", &format!("Bearer {ADMIN}"));
    let made = admin.post("/_presence/v1/sessions", &json!({"user": user}).to_string());
    assert_eq!(made.status, 201, "{}", made.text());
    format!("presence_session={}", made.json()["key"].as_str().unwrap())
}

/// How many of the objects that keep logins there are.
fn objects(storage: &Path) -> usize {
    let files = std::fs::read_dir(storage.join("logins")).into_iter().flatten().flatten().map(|entry| entry.path());
    files
        .filter(|path| path.extension().is_some_and(|end| end == "sqlite") && !path.ends_with("metadata.sqlite"))
        .count()
}

/// What a client makes up.
fn forged(number: usize) -> String {
    match number % 2 {
        0 => format!("presence_session=0123456789abcdef-{number}"),
        _ => format!("presence_sign_on=sally#sally@example.com#0123456789abcdef-{number}"),
    }
}

#[test]
fn a_site_that_never_stored_a_login_is_never_asked_for_one_and_the_first_is_good_at_once() {
    let origin = Origin::with_headers(|_| String::new());
    for shards in ["1", "3"] {
        let server = setup().var("SHARDS", shards).before(&origin).start();
        for number in 0..40 {
            let client = at(&server, "10.0.0.1", 0).with("cookie", &forged(number));
            assert_eq!(client.clone().document().get("/page").status, 200);
            assert_eq!(client.touch("{}").status, 204);
        }
        assert_eq!(objects(&server.storage()), 0, "{shards}");
        let sally = session(&server, 1, "sally");
        at(&server, "10.0.0.1", 1).with("cookie", &sally).touch("{}");
        assert_eq!(at(&server, "10.0.0.9", 1).get(ONLINE).json()["users"][0]["id"], "sally");
        // Another isolate learns it.
        let server = server.kill_and_restart();
        at(&server, "10.0.0.1", 400).with("cookie", &sally).touch("{}");
        assert_eq!(at(&server, "10.0.0.9", 400).get(ONLINE).json()["users"][0]["id"], "sally");
    }
}

#[test]
fn of_a_thousand_forged_cookies_of_a_client_twenty_a_minute_are_looked_up_and_nobody_else_is_hurt() {
    let server = setup().start();
    let (sally, bob) = (session(&server, 0, "sally"), session(&server, 0, "bob"));
    // Known here, behind the address from which the others come.
    at(&server, "10.0.0.1", 0).with("cookie", &sally).touch("{}");
    let before = objects(&server.storage());
    for number in 0..300 {
        assert_eq!(at(&server, "10.0.0.1", 0).with("cookie", &forged(number)).touch("{}").status, 204);
    }
    // Each may be in an object of its own; so many of 32 are not hit by 300 at random.
    assert!(objects(&server.storage()) <= before + 20, "{} and then {}", before, objects(&server.storage()));
    for second in [0, 29, 31] {
        at(&server, "10.0.0.1", second).with("cookie", &sally).touch("{}");
        at(&server, "10.0.0.2", second).with("cookie", &bob).touch("{}");
        let mut online: Vec<_> = at(&server, "10.0.0.9", second).get(ONLINE).json()["users"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["id"].clone())
            .collect();
        online.sort_by_key(|id| id.to_string());
        assert_eq!(online, ["bob", "sally"], "{second}");
    }
    // Who is over it is not told that they may not: nobody has looked.
    let closed = setup().var("ACCESS", r#"{"names": "users"}"#).start();
    session(&closed, 0, "sally");
    let status = |number: usize| at(&closed, "10.0.0.1", 0).with("cookie", &forged(number)).get(ONLINE).status;
    assert_eq!((0..20).map(status).collect::<Vec<_>>(), [401; 20]);
    assert_eq!(status(20), 503);
}

#[test]
fn what_is_not_of_the_right_form_is_not_looked_up() {
    let server = setup().start();
    session(&server, 0, "sally");
    let before = objects(&server.storage());
    for number in 0..15 {
        for cookie in [
            format!("presence_session=short-{number}"),
            format!("presence_session=a/path/of/sixteen/{number}"),
            format!("presence_session={}{number}", "x".repeat(128)),
            format!("presence_sign_on=sally#sally@example.com#short{number}"),
            format!("presence_sign_on=#sally@example.com#0123456789abcdef{number}"),
            format!("presence_sign_on=sal%00ly%23sally%40example.com%230123456789abcdef{number}"),
            format!("presence_sign_on=sally#0123456789abcdef{number}"),
        ] {
            assert_eq!(at(&server, "10.0.0.1", 0).with("cookie", &cookie).touch("{}").status, 204);
        }
    }
    assert_eq!(objects(&server.storage()), before);
}

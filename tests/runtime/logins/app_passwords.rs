//! App passwords: what they are good for, and who guesses at one.

use super::{ONLINE, admin, app_password, basic, setup};
use crate::harness::*;
use serde_json::json;

#[test]
fn an_app_password_is_good_for_what_is_restricted_until_it_is_revoked() {
    let server = setup().var("ACCESS", r#"{"names": "users", "locations": "perm:staff"}"#).start();
    let (id, password) = app_password(&server, "sally", &[]);
    let asks = server.by("10.0.0.1").get(ONLINE);
    asks.problem(401);
    assert_eq!(asks.header("www-authenticate"), Some("Basic realm=\"Who is online\", charset=\"UTF-8\""));
    let scripted = server.by("10.0.0.1").with("sec-fetch-mode", "cors").get(ONLINE);
    assert_eq!(
        scripted.header("www-authenticate"),
        Some("Bearer realm=\"Who is online\""),
        "no browser asks its visitor"
    );
    for name in ["sally", "sally@example.com"] {
        let with = server.by("10.0.0.1").with("authorization", &basic(name, &password));
        let answer = with.get(ONLINE);
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("private, no-store")));
        assert_eq!(answer.header("access-control-allow-origin"), None);
        with.get("/_presence/v1/pages.json").problem(403);
    }
    for (name, password) in
        [("bob", password.as_str()), ("Sally", &password), ("sally", "wrong"), ("sally", ""), ("", "")]
    {
        let answer = server.by("10.0.0.9").with("authorization", &basic(name, password)).get(ONLINE);
        assert_eq!(answer.status, 401, "{name}");
    }
    let list = admin(&server).get("/_presence/v1/app-passwords?user=sally").json();
    assert_eq!((&list["app_passwords"][0]["id"], &list["app_passwords"][0]["label"]), (&json!(id), &json!("reader")));
    assert!(!list.to_string().contains(&password) && files_with(&server.storage(), &password).is_empty());
    assert_eq!(admin(&server).send("DELETE", &format!("/_presence/v1/app-passwords/{id}"), None).status, 204);
    admin(&server).send("DELETE", &format!("/_presence/v1/app-passwords/{id}"), None).problem(404);
    assert_eq!(server.by("10.0.0.1").with("authorization", &basic("sally", &password)).get(ONLINE).status, 401);
    app_password(&server, "sally", &[]);
    assert_eq!(admin(&server).send("DELETE", "/_presence/v1/app-passwords?user=sally&label=reader", None).status, 204);
}

#[test]
fn who_fails_again_and_again_waits_longer_and_longer_and_nobody_else_does() {
    let server = setup().var("ACCESS", r#"{"count": "users"}"#).start();
    let (_, password) = app_password(&server, "sally", &[]);
    let at = |address: &'static str, millis: i64, password: &str| {
        let time = (1_795_203_180_000 + millis).to_string();
        server
            .by(address)
            .with("x-test-now", &time)
            .with("authorization", &basic("sally", password))
            .get("/_presence/v1/count.json")
    };
    for _ in 0..5 {
        assert_eq!(at("10.0.0.66", 0, "guess").status, 401);
    }
    let slowed = at("10.0.0.66", 0, "another guess");
    slowed.problem(429);
    assert_eq!(slowed.header("retry-after"), Some("1"));
    assert_eq!(at("10.0.0.67", 0, "a guess from elsewhere").status, 429, "the name is what is guessed at");
    assert_eq!(at("10.0.0.1", 0, &password).status, 200, "who knows the password is not kept out");
    assert_eq!(at("10.0.0.66", 1001, "guess").status, 401);
    assert_eq!(at("10.0.0.66", 2002, "guess").status, 429);
}

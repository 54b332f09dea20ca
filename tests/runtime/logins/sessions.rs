//! Sessions, as a site keeps them here: by their keys, until they end.

use super::{ADMIN, ONLINE, admin, put, server, session, sha256, touched_as};
use serde_json::{Value, json};

#[test]
fn a_session_is_created_loaded_saved_and_ended() {
    let server = server();
    let admin = admin(&server);
    let key = session(&server, "sally");
    assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
    assert_ne!(session(&server, "sally"), key);
    let path = format!("/_presence/v1/sessions/{key}");
    let loaded = admin.get(&path);
    assert_eq!((loaded.status, loaded.header("cache-control")), (200, Some("private, no-store")));
    let body = loaded.json();
    assert_eq!((&body["key"], &body["value"], &body["user"]), (&json!(key), &json!("opaque"), &json!("sally")));
    assert_eq!(admin.send("HEAD", &path, None).status, 200);

    let tag = loaded.header("etag").unwrap().to_owned();
    let item = format!("sessions/{key}");
    assert_eq!(put(&admin, &item, json!({"value": "two", "ttl": 600})).status, 204);
    put(&admin.clone().with("if-match", &tag), &item, json!({"value": "lost"})).problem(412);
    let tag = admin.get(&path).header("etag").unwrap().to_owned();
    assert_eq!(put(&admin.clone().with("if-match", &tag), &item, json!({"value": "three", "ttl": 600})).status, 204);
    put(&admin.clone().with("if-none-match", "*"), &item, json!({"value": "four"})).problem(412);
    assert_eq!(admin.get(&path).json()["value"], "three");

    assert_eq!(admin.send("DELETE", &path, None).status, 204);
    assert_eq!(admin.send("DELETE", &path, None).status, 204, "to end it twice ends it");
    admin.get(&path).problem(404);
    assert_eq!(admin.send("HEAD", &path, None).status, 404);
    put(&admin.clone().with("if-match", "*"), &item, json!({"value": "five"})).problem(412);
    assert_eq!(put(&admin.clone().with("if-none-match", "*"), &item, json!({"value": "six"})).status, 204);
    assert_eq!(admin.get(&path).json()["user"], Value::Null);
}

#[test]
fn a_session_that_has_expired_is_not_there_and_is_swept_in_time() {
    let server = server();
    let now = |millis: i64| admin(&server).with("x-test-now", &(1_795_203_180_000 + millis).to_string());
    let body = json!({"value": "v", "ttl": 60, "user": "sally"}).to_string();
    let key = now(0).post("/_presence/v1/sessions", &body).json()["key"].as_str().unwrap().to_owned();
    let path = format!("/_presence/v1/sessions/{key}");
    assert_eq!(now(59_999).get(&path).status, 200);
    assert_eq!(now(60_000).get(&path).status, 404);
    let again =
        put(&now(60_000).with("if-none-match", "*"), &format!("sessions/{key}"), json!({"value": "w", "ttl": 60}));
    assert_eq!(again.status, 204, "what has expired is in nobody's way");

    let hash = sha256("a#b#c");
    assert_eq!(put(&now(60_000), &format!("sign-ons/{hash}"), json!({"user": "sally", "ttl": 60})).status, 204);
    let found = |millis: i64| {
        [path.clone(), format!("/_presence/v1/sign-ons/{hash}")]
            .map(|path| now(millis).with("x-test-fault", "none").get(&path).status)
    };
    assert_eq!((found(119_999), found(120_000)), ([200; 2], [404; 2]));
    assert_eq!(found(119_999), [200; 2], "to be read as absent is not to be gone");
    for path in [&path, &format!("/_presence/v1/sign-ons/{hash}")] {
        now(120_000).with("x-test-fault", "sweep").get(path);
    }
    assert_eq!(found(119_999), [404; 2], "now they are gone, and a clock that is put back does not bring them back");
}

#[test]
fn sessions_survive_a_killed_server_and_are_spread_over_objects() {
    let server = server();
    let keys: Vec<_> = (0..40).map(|number| session(&server, &format!("user-{number}"))).collect();
    let server = server.kill_and_restart();
    for key in &keys {
        assert_eq!(admin(&server).get(&format!("/_presence/v1/sessions/{key}")).status, 200);
    }
    let objects = std::fs::read_dir(server.storage().join("logins")).unwrap().flatten();
    let objects = objects.filter(|entry| entry.path().extension().is_some_and(|end| end == "sqlite")).count();
    assert!(objects > 10, "{objects}");
}

#[test]
fn a_sessions_cookie_names_its_user_until_it_ends() {
    let server = server();
    let key = session(&server, "sally");
    let browser = server.by("10.0.0.1");
    browser.touch("{}");
    assert_eq!(server.json(ONLINE)["counts"], json!({"total": 1, "users": 0, "guests": 1, "bots": 0}));
    let cookie = format!("presence_session={key}");
    assert_eq!(touched_as(&server, "cookie", &cookie), ["sally"]);
    assert_eq!(
        server.json(ONLINE)["counts"],
        json!({"total": 1, "users": 1, "guests": 0, "bots": 0}),
        "no guest any more"
    );
    let two = format!("presence_session=0123456789abcdef; presence_session={key}");
    assert_eq!(touched_as(&server, "cookie", &two), ["sally"], "of two cookies of a name the genuine one counts");
    let anonymous = admin(&server).post("/_presence/v1/sessions", "{}").json()["key"].as_str().unwrap().to_owned();
    assert_eq!(server.by("10.0.0.2").with("cookie", &format!("presence_session={anonymous}")).touch("{}").status, 204);
    assert_eq!(server.json(ONLINE)["counts"]["guests"], 1, "a session without a user is a guest's");
    admin(&server).send("DELETE", &format!("/_presence/v1/sessions/{key}"), None);
    server.by("10.0.0.3").with("cookie", &cookie).touch("{}");
    assert_eq!(server.json(ONLINE)["counts"], json!({"total": 3, "users": 1, "guests": 2, "bots": 0}));
}

#[test]
fn a_value_of_64_kib_is_kept_to_the_byte_and_a_longer_one_is_refused() {
    let server = server();
    let value: String = "\u{1}\"\\é".chars().cycle().take(64 * 1024 / 5 * 4).collect();
    assert!(value.len() <= 64 * 1024 && value.len() > 64_000);
    let created = admin(&server).post("/_presence/v1/sessions", &json!({"value": value}).to_string());
    assert_eq!(created.status, 201, "{}", created.text());
    let key = created.json()["key"].as_str().unwrap().to_owned();
    assert_eq!(admin(&server).get(&format!("/_presence/v1/sessions/{key}")).json()["value"], value);
    let body = json!({"value": "x".repeat(64 * 1024 + 1)}).to_string();
    admin(&server).post("/_presence/v1/sessions", &body).problem(413);
    let huge = format!(
        "POST /_presence/v1/sessions HTTP/1.1\r\nHost: club\r\nAuthorization: Bearer {ADMIN}\r\nContent-Length: 10000000\r\n\r\n"
    );
    assert!(server.raw_begin(huge.as_bytes()).starts_with("HTTP/1.1 413"), "it is not even read");
}

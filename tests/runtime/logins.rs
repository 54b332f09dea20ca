//! Who a visitor is by what was kept: tokens, sessions, sign-ons and app passwords; and who gets in by none of them.

use crate::harness::*;
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const SECRET: &str = "a-secret-of-thirty-two-characters";
const ADMIN: &str = "an-admin-token-of-some-length";
const ONLINE: &str = "/_presence/v1/online.json";

fn server() -> Server {
    setup().start()
}

fn setup() -> Setup {
    Setup::hooked()
        .var("PRESENCE_SECRET", SECRET)
        .var("ADMIN_TOKEN", ADMIN)
        .var("SITE", "club")
        .var("TOUCH_RESOLUTION", "0")
}

fn admin(server: &Server) -> Client<'_> {
    server.by("10.8.8.8").with("authorization", &format!("Bearer {ADMIN}"))
}

fn put(client: &Client<'_>, path: &str, body: Value) -> Answer {
    client.send("PUT", &format!("/_presence/v1/{path}"), Some(body.to_string().as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text))
}

fn session(server: &Server, user: &str) -> String {
    let body = json!({"value": "opaque", "ttl": 600, "user": user}).to_string();
    let created = admin(server).post("/_presence/v1/sessions", &body);
    assert_eq!(created.status, 201, "{}", created.text());
    created.json()["key"].as_str().unwrap().to_owned()
}

fn token(key: &str, header: Value, claims: Value) -> String {
    let part = |value: Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let text = format!("{}.{}", part(header), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()))
}

fn hs256() -> Value {
    json!({"alg": "HS256", "typ": "JWT"})
}

const LATER: i64 = 4_000_000_000;

fn app_password(server: &Server, user: &str, perms: &[&str]) -> (String, String) {
    let body = json!({"user": user, "email": format!("{user}@example.com"), "label": "reader", "perms": perms});
    let made = admin(server).post("/_presence/v1/app-passwords", &body.to_string());
    assert_eq!(made.status, 201, "{}", made.text());
    let text = |name: &str| made.json()[name].as_str().unwrap().to_owned();
    (text("id"), text("password"))
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", Base64::encode_string(format!("{name}:{password}").as_bytes()))
}

/// Who is online after somebody touched with this header: the user's id, or nobody.
fn touched_as(server: &Server, name: &str, value: &str) -> Vec<String> {
    assert_eq!(server.by("10.0.0.1").with(name, value).touch(r#"{"path":"/a"}"#).status, 204);
    server.ids(ONLINE)
}

#[test]
fn a_token_of_any_key_in_use_is_taken_and_no_other() {
    let older = "an-older-secret-of-some-length";
    let server = setup().var("PRESENCE_SECRET", &format!("{SECRET},{older}")).start();
    let sally = |more: Value| {
        let mut claims = json!({"sub": "sally", "exp": LATER});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    let good = token(SECRET, hs256(), sally(json!({})));
    let (body, signature) = good.rsplit_once('.').unwrap();
    let other = token(SECRET, hs256(), json!({"sub": "bob", "exp": LATER}));
    let refused = [
        ("unsigned", format!("{body}.")),
        ("alg none", token(SECRET, json!({"alg": "none"}), sally(json!({})))),
        ("another algorithm", token(SECRET, json!({"alg": "HS512"}), sally(json!({})))),
        ("an algorithm with keys of two kinds", token(SECRET, json!({"alg": "RS256"}), sally(json!({})))),
        ("no end", token(SECRET, hs256(), json!({"sub": "sally"}))),
        ("past its end", token(SECRET, hs256(), sally(json!({"exp": 1_000_000_000})))),
        ("its end is a text", token(SECRET, hs256(), sally(json!({"exp": "4000000000"})))),
        ("not yet", token(SECRET, hs256(), sally(json!({"nbf": LATER})))),
        ("another key", token("another-secret-of-some-length", hs256(), sally(json!({})))),
        ("another site", token(SECRET, hs256(), sally(json!({"aud": "wiki"})))),
        ("nobody", token(SECRET, hs256(), json!({"exp": LATER}))),
        ("an id out of bounds", token(SECRET, hs256(), sally(json!({"sub": "x".repeat(129)})))),
        ("an id with a control character", token(SECRET, hs256(), sally(json!({"sub": "sal\u{0}ly"})))),
        ("cut short", good.get(..good.len() - 4).unwrap().to_owned()),
        ("the signature of another", format!("{body}.{}", other.rsplit_once('.').unwrap().1)),
        ("the body of another", format!("{}.{signature}", other.rsplit_once('.').unwrap().0)),
        ("too long", token(SECRET, hs256(), sally(json!({"name": "x".repeat(5000)})))),
        ("two tokens", format!("{good}, {good}")),
        ("nothing", String::new()),
    ];
    for (what, token) in &refused {
        for (name, value) in [("authorization", format!("Bearer {token}")), ("cookie", format!("presence={token}"))] {
            assert_eq!(touched_as(&server, name, &value), [""; 0], "{what} as {name}");
        }
    }
    for (number, key) in [SECRET, older].into_iter().enumerate() {
        let user = format!("user-{number}");
        let token = token(key, hs256(), sally(json!({"sub": user, "aud": ["wiki", "club"]})));
        assert!(touched_as(&server, "authorization", &format!("Bearer {token}")).contains(&user));
        assert!(touched_as(&server, "cookie", &format!("a=b; presence=bad; presence={token}")).contains(&user));
    }
}

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
fn a_sign_on_is_recognised_by_its_cookie_unless_it_was_altered() {
    let server = server();
    let cookie = "sally#sally@example.com#k3y-of-22-characters";
    let path = format!("sign-ons/{}", sha256(cookie));
    assert_eq!(put(&admin(&server), &path, json!({"user": "42", "ttl": 600, "name": "Sally"})).status, 204);
    let found = admin(&server).get(&format!("/_presence/v1/{path}"));
    assert_eq!((found.status, &found.json()["user"]), (200, &json!("42")));
    for altered in [
        "bob#sally@example.com#k3y-of-22-characters",
        "sally#bob@example.com#k3y-of-22-characters",
        "sally#sally@example.com#",
        "sally",
    ] {
        assert_eq!(touched_as(&server, "cookie", &format!("presence_sign_on={altered}")), [""; 0], "{altered}");
    }
    assert_eq!(touched_as(&server, "cookie", &format!("presence_sign_on=\"{cookie}\"")), ["42"]);
    assert_eq!(server.json(ONLINE)["users"][0]["name"], "Sally");
    assert_eq!(admin(&server).send("DELETE", &format!("/_presence/v1/{path}"), None).status, 204);
    admin(&server).get(&format!("/_presence/v1/{path}")).problem(404);
    assert!(files_with(&server.storage(), "k3y-of-22-characters").is_empty(), "only its hash is stored");
}

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

#[test]
fn a_credential_in_the_wrong_place_is_worth_nothing() {
    let server = setup().var("ACCESS", r#"{"names": "users"}"#).start();
    let key = session(&server, "sally");
    let (_, password) = app_password(&server, "sally", &[]);
    let sign_on = "sally#s@example.com#0123456789abcdef";
    assert_eq!(put(&admin(&server), &format!("sign-ons/{}", sha256(sign_on)), json!({"user": "sally"})).status, 204);
    let token = token(SECRET, hs256(), json!({"sub": "sally", "exp": LATER, "perms": ["admin"]}));
    let status = |name: &str, value: &str, path: &str| server.by("10.0.0.1").with(name, value).get(path).status;
    for (name, value) in [
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("Bearer {password}")),
        ("authorization", format!("Bearer {sign_on}")),
        ("authorization", format!("Bearer {}", sha256(&key))),
        ("authorization", format!("Digest {token}")),
        ("authorization", token.clone()),
        ("cookie", format!("presence_session={}", sha256(&key))),
        ("cookie", format!("presence_session={password}")),
        ("cookie", format!("presence_session={token}")),
        ("cookie", format!("presence_sign_on={key}")),
        ("cookie", format!("presence_sign_on={}", sha256(sign_on))),
        ("cookie", format!("presence={key}")),
        ("cookie", format!("__Host-presence={token}")),
        ("cookie", format!("PRESENCE={token}")),
        ("cookie", format!("presence_admin={ADMIN}")),
        ("x-presence-user", "sally".to_owned()),
    ] {
        assert_eq!(status(name, &value, ONLINE), 401, "{name}: {value}");
    }
    for (name, password) in [("sally", key.as_str()), ("sally", &token), ("sally", ADMIN), ("sally", sign_on)] {
        assert_eq!(status("authorization", &basic(name, password), ONLINE), 401, "{name}");
    }
    for query in [format!("token={token}"), format!("access_token={token}")] {
        assert_eq!(
            server.by("10.0.0.1").get(&format!("{ONLINE}?{query}")).status,
            401,
            "no secret is taken from an address"
        );
    }
    for cookie in
        [format!("presence={token}"), format!("presence_session={key}"), format!("presence_sign_on={sign_on}")]
    {
        assert_eq!(status("cookie", &cookie, ONLINE), 200, "{cookie}");
    }
    assert_eq!(status("cookie", &format!("presence={ADMIN}"), "/_presence/v1/app-passwords"), 401);
}

#[test]
fn no_header_is_split_by_what_an_id_or_a_name_holds() {
    let origin = Origin::with_headers(|request| {
        match request.target.as_str() {
        "/id" => "X-Presence-User: sally%0d%0aSet-Cookie:%20admin=1\r\n".to_owned(),
        _ => "X-Presence-User: sally\r\nX-Presence-Name: S%0D%0ASet-Cookie:%20admin=1\r\nX-Presence-Avatar: /a%0d%0aX:%20y\r\n".to_owned(),
    }
    });
    let server = setup().before(&origin).start();
    for path in ["/id", "/name"] {
        let answer = server.by("10.0.0.1").document().get(path);
        assert_eq!((answer.status, answer.header("x")), (200, None));
        assert!(answer.all("set-cookie").iter().all(|cookie| cookie.starts_with("presence=")), "{path}");
    }
    eventually(1, || server.ids(ONLINE).len());
    assert_eq!(server.json(ONLINE)["users"][0]["name"], Value::Null, "what is malformed is left out");
    let realm = Setup::new().var("BASIC_REALM", "a\r\nSet-Cookie: admin=1").start();
    realm.by("10.0.0.1").get(ONLINE).problem(500);
}

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

#[test]
fn with_its_logins_out_of_reach_a_visitor_is_a_guest_and_pages_go_on() {
    let origin = Origin::with_headers(|_| String::new());
    for fault in ["fail-logins", "hang-logins", "panic-logins"] {
        let server = setup().before(&origin).start();
        let key = session(&server, "sally");
        let visitor =
            server.by("10.0.0.1").with("cookie", &format!("presence_session={key}")).with("x-test-fault", fault);
        assert_eq!(visitor.clone().document().get("/page").status, 200, "{fault}");
        eventually(1, || server.json(ONLINE)["counts"]["guests"].as_u64().unwrap());
        assert_eq!(visitor.touch("{}").status, 204, "{fault}");
        admin(&server).get(&format!("/_presence/v1/sessions/{key}")).problem(503);
        assert_eq!(visitor.with("x-test-fault", "none").get("/page").status, 200);
        assert_eq!(admin(&server).get(&format!("/_presence/v1/sessions/{key}")).status, 200, "it is there again");
    }
}

#[test]
fn ids_that_look_like_something_else_are_only_ids() {
    let server = server();
    let ids = [
        "__proto__",
        "..",
        "sally",
        "Sally",
        "s\u{e9}",
        "se\u{301}",
        "a/b",
        "%00",
        "' OR 1=1 --",
        "g_0000000000000001",
    ];
    for (number, id) in ids.iter().enumerate() {
        let key = session(&server, id);
        server.by(&format!("10.0.1.{number}")).with("cookie", &format!("presence_session={key}")).touch("{}");
        let grant = json!({"user": id, "permission": format!("only_{number}")});
        assert_eq!(put(&admin(&server), "grants", grant).status, 204);
    }
    let mut online = server.ids(ONLINE);
    online.sort();
    let mut expected = ids.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(online, expected);
    for (number, id) in ids.iter().enumerate() {
        let token = token(SECRET, hs256(), json!({"sub": id, "exp": LATER}));
        let query: Vec<_> = (0..ids.len()).map(|number| format!("check=only_{number}")).collect();
        let path = format!("/_presence/v1/permissions.json?{}", query.join("&"));
        let may = server.by("10.0.0.1").with("authorization", &format!("Bearer {token}")).get(&path).json();
        for other in 0..ids.len() {
            assert_eq!(may[format!("only_{other}")], json!(other == number), "{id} {other}");
        }
    }
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

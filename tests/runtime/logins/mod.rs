//! Who a visitor is by what was kept: tokens, sessions, sign-ons and app passwords; and who gets in by none of them.

mod admins;
mod app_passwords;
mod sessions;

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
    assert_eq!(server.json(ONLINE)["users"][0]["name"], "S Set-Cookie: admin=1", "a name is cleaned");
    assert_eq!(server.json(ONLINE)["users"][0]["avatar"], Value::Null, "what is malformed is left out");
    let realm = Setup::new().var("BASIC_REALM", "a\r\nSet-Cookie: admin=1").start();
    realm.by("10.0.0.1").get(ONLINE).problem(500);
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

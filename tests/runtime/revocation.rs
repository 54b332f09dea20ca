//! Who was let in yesterday: what a cookie or a token of before a sign-out, a demotion or an erasure is still worth.

use crate::harness::*;
use crate::live_socket::*;
use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "a-secret-of-thirty-two-characters";
const ADMIN: &str = "an-admin-token-of-some-length";
const ONLINE: &str = "/_presence/v1/online.json";
const SALLY: &str = "/_presence/v1/users/sally.json";

/// A site that names whomever the query says, with these permissions; or nobody, on every answer.
fn site() -> Origin {
    Origin::serving(|request, stream| {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let (kind, cache) = match path {
            "/style.css" => ("text/css", "public, max-age=3600"),
            "/private.css" => ("text/css", "private"),
            "/api" => ("application/json", "private"),
            "/public" => ("text/html", "public, max-age=60"),
            _ => ("text/html", "private"),
        };
        let said = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            format!("X-Presence-{name}: {value}\r\n")
        });
        let said = if query == "Silent=1" { String::new() } else { said.collect() };
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nCache-Control: {cache}\r\nContent-Length: 2\r\n{said}Connection: close\r\n\r\nok"
        );
        let _ = std::io::Write::write_all(stream, answer.as_bytes());
    })
}

fn setup(origin: &Origin) -> Setup {
    let setup = Setup::hooked().before(origin).var("ADMIN_TOKEN", ADMIN).var("PRESENCE_SECRET", SECRET);
    setup.var("SITE", "club").var("TOUCH_RESOLUTION", "0")
}

fn admin(server: &Server) -> Client<'_> {
    server.by("10.8.8.8").with("authorization", &format!("Bearer {ADMIN}"))
}

/// Somebody's browser, with the cookie that it was given when the site named them.
fn signed_in<'a>(server: &'a Server, address: &'a str, query: &str) -> Client<'a> {
    let client = server.by(address);
    let page = client.clone().document().get(&format!("/{}?{query}", address.replace('.', "-")));
    client.with("cookie", &page.cookie().expect("a cookie"))
}

fn cookie_of(query: &str, server: &Server, address: &str) -> String {
    server.by(address).document().get(&format!("/?{query}")).cookie().expect("a cookie")
}

fn token(claims: Value) -> String {
    let part = |value: Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let text = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()))
}

fn bearer<'a>(server: &'a Server, claims: Value) -> Client<'a> {
    server.by("10.7.7.7").with("authorization", &format!("Bearer {}", token(claims)))
}

fn seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

fn grants(client: &Client<'_>, method: &str, user: &str, permission: &str) -> u16 {
    let body = json!({"user": user, "permission": permission}).to_string();
    client.send(method, "/_presence/v1/grants", Some(body.as_bytes())).status
}

fn may(client: &Client<'_>, permission: &str) -> bool {
    let answer = client.get(&format!("/_presence/v1/permissions.json?check={permission}"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()[permission] == true
}

/// Whether somebody is known: a topic of one's own is told to oneself.
fn is_known_as(client: &Client<'_>, user: &str) -> bool {
    match client.get(&format!("/_presence/v1/viewers.json?topic=user:{user}")).status {
        200 => true,
        401 => false,
        other => panic!("{other}"),
    }
}

fn is_online(server: &Server, user: &str) -> bool {
    server.json(&format!("/_presence/v1/users/{user}.json"))["online"] == true
}

#[test]
fn a_demoted_admin_grants_nobody_anything_with_the_cookie_that_they_kept() {
    let origin = site();
    let server = setup(&origin).start();
    let boss = signed_in(&server, "10.0.0.1", "User=boss&Perms=admin,can_edit");
    assert!(may(&boss, "can_edit") && !may(&boss, "admin"), "what administrates is in no cookie");
    assert_eq!(grants(&boss, "PUT", "boss", "admin"), 403);
    let kept = cookie_of("User=boss&Perms=admin,can_edit", &server, "10.0.0.2");
    let value = kept.split_once('=').unwrap().1;
    let claims = Base64UrlUnpadded::decode_vec(value.split('.').nth(1).unwrap()).unwrap();
    assert!(!String::from_utf8(claims).unwrap().contains("admin"));
    let as_bearer = server.by("10.0.0.2").with("authorization", &format!("Bearer {value}"));
    assert_eq!(grants(&as_bearer, "PUT", "boss", "admin"), 403, "nor as a token");
    // What an application has signed is taken as it says, but not from our cookie.
    let signed = || json!({"sub": "boss", "exp": 4_000_000_000_i64, "iat": seconds() + 60, "perms": ["admin"]});
    let in_cookie = server.by("10.0.0.3").with("cookie", &format!("presence={}", token(signed())));
    assert_eq!(grants(&in_cookie, "PUT", "boss", "admin"), 403);
    assert_eq!(grants(&bearer(&server, signed()), "PUT", "bob", "can_edit"), 204);
    assert_eq!(grants(&bearer(&server, signed()), "PUT", "boss", "admin"), 204);
    assert_eq!(grants(&boss, "PUT", "carol", "can_edit"), 204, "by a grant");
    assert_eq!(grants(&admin(&server), "DELETE", "boss", "admin"), 204);
    assert_eq!(grants(&boss, "PUT", "boss", "admin"), 403);
}

#[test]
fn whatever_permission_administrates_is_taken_from_no_cookie() {
    let origin = site();
    let server = setup(&origin).var("ACCESS", r#"{"admin": "perm:chief"}"#).start();
    let boss = signed_in(&server, "10.0.0.1", "User=boss&Perms=chief,can_edit");
    assert!(may(&boss, "can_edit") && !may(&boss, "chief"));
    assert_eq!(grants(&boss, "PUT", "boss", "chief"), 403);
}

#[test]
fn the_newest_permissions_win_on_every_device_and_nobody_is_signed_out_by_it() {
    let origin = site();
    for shards in ["1", "3"] {
        let server = setup(&origin).var("SHARDS", shards).start();
        let phone = signed_in(&server, "10.0.0.1", "User=sally&Perms=can_edit");
        let desk = signed_in(&server, "10.0.0.2", "User=sally&Perms=can_edit");
        let signed = json!({"sub": "sally", "exp": 4_000_000_000_i64, "iat": seconds() - 60, "perms": ["can_edit"]});
        let by_token = bearer(&server, signed);
        assert!([&phone, &desk, &by_token].into_iter().all(|client| may(client, "can_edit")));
        // On a device that never had it: they have signed in anew.
        let fresh = signed_in(&server, "10.0.0.3", "User=sally");
        for client in [&phone, &desk, &by_token, &fresh] {
            eventually(false, || may(client, "can_edit"));
            assert!(is_known_as(client, "sally"), "they are signed in all the same");
        }
        let page = desk.clone().document().get("/again?User=sally&Perms=can_edit");
        let desk = desk.with("cookie", &page.cookie().expect("a new one"));
        eventually(true, || may(&desk, "can_edit"));
        assert!(is_online(&server, "sally"));
    }
}

#[test]
fn who_signs_out_on_one_device_stays_on_the_other() {
    let origin = site();
    for shards in ["1", "3"] {
        let server = setup(&origin).var("SHARDS", shards).start();
        let phone = signed_in(&server, "10.0.0.1", "User=sally");
        let desk = signed_in(&server, "10.0.0.2", "User=sally");
        phone.touch(r#"{"path": "/phone", "tab": "p"}"#);
        desk.touch(r#"{"path": "/desk", "tab": "d"}"#);
        let online = || server.json(ONLINE);
        eventually(json!([1, "/desk", 2]), || {
            let told = online();
            json!([told["counts"]["users"], told["users"][0]["location"]["path"], told["users"][0]["tabs"]])
        });
        desk.clone().document().get("/?User=");
        eventually(json!([1, "/phone", 1]), || {
            let told = online();
            json!([told["counts"]["users"], told["users"][0]["location"]["path"], told["users"][0]["tabs"]])
        });
        // The cookie that somebody kept is worth nothing, by whatever way.
        eventually(false, || is_known_as(&desk, "sally"));
        assert!(is_known_as(&phone, "sally"));
        phone.clone().document().get("/?User=");
        eventually(false, || is_online(&server, "sally"));
        let cookies = [&phone, &desk].map(client_cookie);
        let server = server.kill_and_restart();
        // Nobody remembers anything but what was kept.
        for cookie in cookies {
            let again = server.by("10.0.0.1").with("cookie", &cookie);
            assert_eq!(again.touch(r#"{"path": "/"}"#).status, 204);
            again.clone().document().get("/quiet?Silent=1");
            assert!(!is_online(&server, "sally"), "{shards}");
            assert!(!is_known_as(&again, "sally"));
        }
        let again = signed_in(&server, "10.0.0.1", "User=sally");
        eventually(true, || is_online(&server, "sally"));
        assert!(is_known_as(&again, "sally"), "who signs in again is known");
    }
}

#[test]
fn a_session_names_its_device_as_a_cookie_does() {
    let origin = site();
    let server = setup(&origin).start();
    let session = || {
        let body = json!({"value": "v", "user": "sally"}).to_string();
        admin(&server).post("/_presence/v1/sessions", &body).json()["key"].as_str().unwrap().to_owned()
    };
    let (phone, desk) = (session(), session());
    let by = |address, key: &str| server.by(address).with("cookie", &format!("presence_session={key}"));
    by("10.0.0.1", &phone).touch(r#"{"path": "/phone"}"#);
    by("10.0.0.2", &desk).touch(r#"{"path": "/desk"}"#);
    eventually(json!("/desk"), || server.json(SALLY)["location"]["path"].clone());
    by("10.0.0.2", &desk).document().get("/?User=");
    eventually(json!("/phone"), || server.json(SALLY)["location"]["path"].clone());
    by("10.0.0.1", &phone).document().get("/?User=");
    eventually(false, || is_online(&server, "sally"));
}

#[test]
fn a_server_signs_somebody_out_everywhere() {
    let origin = site();
    for shards in ["1", "3"] {
        let server = setup(&origin).var("SHARDS", shards).start();
        let phone = signed_in(&server, "10.0.0.1", "User=sally");
        let desk = signed_in(&server, "10.0.0.2", "User=sally");
        let bob = signed_in(&server, "10.0.0.4", "User=bob");
        let body = json!({"value": "v", "user": "sally"}).to_string();
        let key = admin(&server).post("/_presence/v1/sessions", &body).json()["key"].as_str().unwrap().to_owned();
        let by_session = server.by("10.0.0.3").with("cookie", &format!("presence_session={key}"));
        let claims = |iat: Value| json!({"sub": "sally", "exp": 4_000_000_000_i64, "iat": iat});
        let old = bearer(&server, claims(json!(seconds() - 5)));
        let ageless = bearer(&server, json!({"sub": "sally", "exp": 4_000_000_000_i64}));
        let later = bearer(&server, claims(json!(seconds() + 600)));
        let ended = [&phone, &desk, &by_session, &old, &ageless];
        assert!(ended.into_iter().chain([&later]).all(|client| is_known_as(client, "sally")));
        let cookie = client_cookie(&desk);
        let socket = Watcher::open(&server, "", &[("cookie", &cookie), ("cf-connecting-ip", "10.0.0.2")]);
        let path = "/_presence/v1/users/sally/sign-out";
        assert_eq!(phone.post(path, "{}").status, 403, "not by themselves");
        server.by("10.0.0.9").get(path).problem(405);
        assert_eq!(server.by("10.0.0.9").post(path, "{}").status, 401);
        admin(&server).post(path, r#"{"everywhere": false}"#).problem(400);
        assert_eq!(admin(&server).post(path, "").status, 204);
        assert_eq!(socket.closed().0, 4401);
        eventually(false, || is_online(&server, "sally"));
        for client in ended {
            assert!(!is_known_as(client, "sally"));
            client.touch(r#"{"path": "/"}"#);
        }
        assert!(!is_online(&server, "sally") && is_online(&server, "bob") && is_known_as(&bob, "bob"));
        assert!(is_known_as(&later, "sally"), "what is issued from now on is good");
        let again = signed_in(&server, "10.0.0.1", "User=sally");
        assert!(is_known_as(&again, "sally"));
        eventually(true, || is_online(&server, "sally"));
    }
}

#[test]
fn a_server_signs_somebody_out_on_one_device() {
    let origin = site();
    let server = setup(&origin).start();
    let phone = signed_in(&server, "10.0.0.1", "User=sally");
    let desk = signed_in(&server, "10.0.0.2", "User=sally");
    let open = |client: &Client<'_>, address| {
        Watcher::open(&server, "", &[("cookie", &client_cookie(client)), ("cf-connecting-ip", address)])
    };
    let (mut on_phone, on_desk) = (open(&phone, "10.0.0.1"), open(&desk, "10.0.0.2"));
    let path = "/_presence/v1/users/sally/sign-out";
    let value = client_cookie(&desk).split_once('=').unwrap().1.to_owned();
    admin(&server).post("/_presence/v1/users/bob/sign-out", &json!({"token": value}).to_string()).problem(400);
    assert_eq!(admin(&server).post(path, &json!({"everywhere": false, "token": value}).to_string()).status, 204);
    assert_eq!(on_desk.closed().0, 4401);
    on_phone.ping();
    assert!(!is_known_as(&desk, "sally") && is_known_as(&phone, "sally") && is_online(&server, "sally"));
}

#[test]
fn a_style_sheet_signs_nobody_out_and_nobody_in() {
    let origin = site();
    let server = setup(&origin).start();
    let sally = signed_in(&server, "10.0.0.1", "User=sally");
    let style = || sally.clone().with("sec-fetch-dest", "style").with("accept", "text/css,*/*;q=0.1");
    for said in ["User=", "User=bob"] {
        for answer in [
            style().get(&format!("/style.css?{said}")),
            style().get(&format!("/private.css?{said}")),
            style().get(&format!("/page?{said}")),
            sally.clone().with("accept", "text/css,*/*;q=0.1").get(&format!("/private.css?{said}")),
            sally.clone().with("sec-fetch-dest", "empty").get(&format!("/api?{said}")),
            sally.clone().document().get(&format!("/style.css?{said}")),
            sally.clone().document().get(&format!("/public?{said}")),
        ] {
            assert_eq!(answer.cookie(), None);
            assert!(answer.headers.iter().all(|(name, _)| !name.to_lowercase().starts_with("x-presence")));
        }
    }
    assert_eq!(server.ids(ONLINE), ["sally"]);
    assert!(is_known_as(&sally, "sally"));
    // A login by a script is no document, and names its user.
    let fetched = server.by("10.0.0.2").with("sec-fetch-dest", "empty").with("sec-fetch-mode", "cors");
    let cookie = fetched.post("/api?User=bob", "{}").cookie().expect("a cookie");
    eventually(true, || is_online(&server, "bob"));
    let out = fetched.with("cookie", &cookie).post("/api?User=", "{}");
    assert_eq!(out.cookie().as_deref(), Some("presence="));
    eventually(false, || is_online(&server, "bob"));
}

#[test]
fn after_an_erasure_the_cookies_of_before_are_worth_nothing() {
    let origin = site();
    let server = setup(&origin).start();
    let phone = signed_in(&server, "10.0.0.1", "User=sally");
    let desk = signed_in(&server, "10.0.0.2", "User=sally");
    assert!(is_known_as(&phone, "sally"));
    assert_eq!(admin(&server).send("DELETE", "/_presence/v1/users/sally", None).status, 204);
    eventually(false, || is_known_as(&phone, "sally"));
    assert!(!is_known_as(&desk, "sally"));
    eventually(204, || desk.touch(r#"{"path": "/"}"#).status);
    eventually(200, || server.by("10.9.9.9").get(SALLY).status);
    assert!(!is_online(&server, "sally"));
}

/// What a browser sends back.
fn client_cookie(client: &Client<'_>) -> String {
    client.header("cookie").expect("a cookie").to_owned()
}

/// Where people are is for those who may see it; somebody who may, watches.
fn watching(server: &Server, headers: &[(&str, &str)]) -> Watcher {
    let mut watcher = Watcher::open(server, "", headers);
    watcher.until(|watcher| watcher.users.contains_key("bob"));
    assert!(watcher.users["bob"]["location"].is_object(), "{:?}", watcher.users);
    watcher
}

const PLACES: &str = r#"{"locations": "perm:see_places"}"#;

#[test]
fn after_a_revoked_grant_no_further_message_tells_what_it_no_longer_may() {
    let origin = site();
    for shards in ["1", "3"] {
        let server = setup(&origin).var("ACCESS", PLACES).var("SHARDS", shards).start();
        let bob = signed_in(&server, "10.0.0.1", "User=bob");
        let sally = signed_in(&server, "10.0.0.2", "User=sally");
        assert_eq!(grants(&admin(&server), "PUT", "sally", "see_places"), 204);
        let cookie = client_cookie(&sally);
        let mut watcher = watching(&server, &[("cookie", &cookie), ("cf-connecting-ip", "10.0.0.2")]);
        bob.touch(r#"{"path": "/first"}"#);
        watcher.until(|watcher| watcher.users["bob"]["location"]["path"] == "/first");
        assert_eq!(grants(&admin(&server), "DELETE", "sally", "see_places"), 204);
        bob.touch(r#"{"path": "/secret"}"#);
        assert_eq!(told_until_closed(watcher), (4401, false), "{shards}");
        let mut again = Watcher::open(&server, "", &[("cookie", &cookie), ("cf-connecting-ip", "10.0.0.2")]);
        again.until(|watcher| watcher.users.contains_key("bob"));
        assert!(again.users["bob"]["location"].is_null(), "they may come again, to see what they may");
    }
}

/// With which code a socket is closed, and whether anything was told before of where the secret is.
fn told_until_closed(mut watcher: Watcher) -> (u16, bool) {
    let mut told = false;
    loop {
        match watcher.socket.read() {
            Ok(tungstenite::Message::Text(text)) => told |= text.contains("/secret"),
            Ok(tungstenite::Message::Close(Some(frame))) => return (frame.code.into(), told),
            Ok(_) => {}
            Err(error) => panic!("not closed with a reason: {error}"),
        }
    }
}

#[test]
fn what_a_socket_may_see_is_looked_up_again_every_half_a_minute() {
    let origin = site();
    let server = setup(&origin).var("ACCESS", PLACES).start();
    let bob = signed_in(&server, "10.0.0.1", "User=bob");
    let sally = signed_in(&server, "10.0.0.2", "User=sally&Perms=see_places");
    eventually(true, || is_online(&server, "bob"));
    let cookie = client_cookie(&sally);
    let mut watcher = watching(&server, &[("cookie", &cookie), ("cf-connecting-ip", "10.0.0.2")]);
    bob.touch(r#"{"path": "/first"}"#);
    watcher.until(|watcher| watcher.users["bob"]["location"]["path"] == "/first");
    // The site says on another device that she may not any more: nobody tells the socket's object.
    server.by("10.0.0.3").document().get("/?User=sally");
    let fresh = signed_in(&server, "10.0.0.3", "User=sally");
    eventually(false, || may(&fresh, "see_places"));
    eventually(false, || may(&sally, "see_places"));
    let later = (seconds() * 1000 + 31_000).to_string();
    assert_eq!(bob.with("x-test-now", &later).touch(r#"{"path": "/secret"}"#).status, 204);
    assert_eq!(told_until_closed(watcher), (4401, false));
}

#[test]
fn where_it_cannot_be_looked_up_what_a_socket_may_see_it_is_told_nothing_more() {
    let origin = site();
    let server = setup(&origin).var("ACCESS", PLACES).start();
    let bob = signed_in(&server, "10.0.0.1", "User=bob");
    let sally = signed_in(&server, "10.0.0.2", "User=sally&Perms=see_places");
    let watcher = watching(&server, &[("cookie", &client_cookie(&sally)), ("cf-connecting-ip", "10.0.0.2")]);
    // It was looked up as they came, and is half a minute later.
    let later = (seconds() * 1000 + 31_000).to_string();
    let bob = bob.with("x-test-fault", "fail-accounts").with("x-test-now", &later);
    assert_eq!(bob.touch(r#"{"path": "/secret"}"#).status, 204);
    assert_eq!(told_until_closed(watcher), (4401, false));
}

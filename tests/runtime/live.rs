//! Those who watch see people come, move and go.

use crate::harness::*;
use crate::live_socket::*;
use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::time::Duration;
use tungstenite::protocol::CloseFrame;

const SECRET: &str = "a-secret-of-thirty-two-characters";
const ONLINE: &str = "/_presence/v1/online.json";

pub fn setup() -> Setup {
    club(Setup::new())
}

/// The same with the test hooks.
pub fn hooked() -> Setup {
    club(Setup::hooked())
}

fn club(setup: Setup) -> Setup {
    setup.var("PRESENCE_SECRET", SECRET).var("SITE", "club")
}

fn token_until(user: &str, end: i64) -> String {
    let part = |value: Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let claims = json!({"sub": user, "name": user.to_uppercase(), "exp": end, "aud": "club"});
    let text = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()))
}

pub fn token(user: &str) -> String {
    token_until(user, 4_000_000_000)
}

pub fn touch(server: &Server, user: &str, body: Value) {
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

#[test]
fn a_socket_touches_and_leaves_for_its_tabs() {
    let server = hooked().start();
    let mut watcher = Watcher::open(&server, "", &[]);
    let mut sally = Watcher::open(&server, &format!("?tab=one&token={}", token("sally")), &[]);
    sally.say(&json!({"type": "touch", "tab": "two", "path": "/forum", "title": "Forum", "state": "online"}));
    watcher.until(|watcher| watcher.users.get("sally").is_some_and(|sally| sally["tabs"] == 2));
    assert_eq!(watcher.users["sally"]["location"]["path"], "/forum");
    sally.say(&json!({"type": "touch", "tab": "one", "state": "away"}));
    sally.say(&json!({"type": "touch", "tab": "two", "state": "away"}));
    watcher.until(|watcher| watcher.users["sally"]["state"] == "away");
    sally.say(&json!({"type": "leave", "tab": "two"}));
    watcher.until(|watcher| watcher.users["sally"]["tabs"] == 1);
    sally.socket.close(None).unwrap();
    // Gone after the grace, for which the object wakes by itself.
    watcher.until(|watcher| watcher.ids().is_empty());
    watcher.converge(&server);
}

#[test]
fn who_says_what_cannot_be_read_is_told_why_and_shown_out() {
    let server = setup().start();
    for (message, reason) in [
        ("", "the type must be touch or leave"),
        ("[1]", "the body must be a JSON object"),
        (r#"{"type": "join"}"#, "the type must be touch or leave"),
        (r#"{"type": "touch", "path": "x"}"#, "a path must"),
        (r#"{"type": "touch", "tab": ""}"#, "a tab"),
        (&format!(r#"{{"type": "touch", "title": "{}"}}"#, "x".repeat(5000)), "Send at most 4096 bytes."),
    ] {
        let mut watcher = Watcher::open(&server, "", &[]);
        watcher.socket.send(tungstenite::Message::text(message)).unwrap();
        let (code, told) = watcher.closed();
        assert_eq!(code, 4400, "{message}");
        assert!(told.starts_with(reason), "{message}: {told}");
    }
    let mut watcher = Watcher::open(&server, "", &[]);
    watcher.socket.send(tungstenite::Message::binary(vec![0xff; 100])).unwrap();
    assert_eq!(watcher.closed().0, 4400);
}

#[test]
fn a_flood_is_left_unread_and_then_shown_out() {
    let server = setup().start();
    let mut flooder = Watcher::open(&server, "", &[]);
    for number in 0..500 {
        let message = json!({"type": "touch", "path": format!("/{number}")}).to_string();
        if flooder.socket.send(tungstenite::Message::text(message)).is_err() {
            break;
        }
    }
    assert_eq!(flooder.closed(), (4429, "too many messages".to_owned()));
    eventually(true, || !server.pages().is_empty());
    let last: u32 = server.pages()[0].trim_start_matches('/').parse().unwrap();
    assert!(last < 100, "{last}");
}

#[test]
fn whose_pages_connect_is_told_of_as_the_next_one_does_or_in_a_while() {
    let site = Origin::with_headers(|_| String::new());
    let server = setup().before(&site).start();
    let visitor = [("cf-connecting-ip", "10.0.0.7")];
    let at = |path: &str| eventually(vec![path.to_owned()], || server.pages());
    server.by("10.0.0.7").document().get("/a");
    let first = Watcher::open(&server, "?tab=one", &visitor);
    at("/a");
    server.by("10.0.0.7").document().get("/b");
    drop(first);
    let _second = Watcher::open(&server, "?tab=two", &visitor);
    at("/b");
    // This one does not connect.
    server.by("10.0.0.7").document().get("/c");
    at("/c");
}

#[test]
fn whose_page_connects_is_where_it_is_whatever_pages_that_did_not_have_told() {
    let site = Origin::with_headers(|_| String::new());
    let server = setup().before(&site).start();
    let visitor = [("cf-connecting-ip", "10.0.0.7")];
    let at = |path: &str| eventually(vec![path.to_owned()], || server.pages());
    let open = |tab: &str| {
        let mut watcher = Watcher::open(&server, &format!("?tab={tab}"), &visitor);
        watcher.say(&json!({"type": "touch", "tab": tab, "path": "/forum"}));
        watcher
    };
    let _first = open("one");
    at("/forum");
    server.by("10.0.0.7").document().get("/about");
    at("/about");
    server.by("10.0.0.7").document().get("/forum");
    let _second = open("two");
    at("/forum");
}

#[test]
fn one_visitor_has_so_many_connections_and_no_more() {
    let server = setup().start();
    let mut open: Vec<_> = (0..32).map(|_| Watcher::open(&server, "?view=count", &[])).collect();
    let refused = || Watcher::of(connect(&server, "?view=count", &[]).unwrap()).closed();
    assert_eq!(refused(), (4429, "too many connections".to_owned()));
    let stream = server.by("10.8.8.8").with("accept", "text/event-stream").get("/_presence/v1/live?view=count");
    assert_eq!(stream.status, 429);
    assert_eq!(server.json(ONLINE)["counts"]["total"], 1);
    Watcher::open(&server, "?view=count", &[("cf-connecting-ip", "10.0.0.7")]);
    drop(open.pop());
    // As soon as one is closed there is room for another.
    eventually(true, || {
        let mut socket = connect(&server, "?view=count", &[]).unwrap();
        socket.read().unwrap().is_text()
    });
}

#[test]
fn who_is_refused_has_touched_nothing() {
    let server = setup().start();
    let sallys = format!("?tab=one&token={}", token("sally"));
    let _open: Vec<_> = (0..32).map(|_| Watcher::open(&server, &sallys, &[])).collect();
    let mut refused = connect(&server, &format!("?tab=two&token={}", token("sally")), &[]).unwrap();
    assert!(refused.read().unwrap().is_close());
    assert_eq!(server.json(ONLINE)["users"][0]["tabs"], 1);
}

#[test]
fn a_close_is_answered() {
    let server = setup().start();
    let mut watcher = Watcher::open(&server, "", &[]);
    let bye = CloseFrame { code: 1000.into(), reason: "bye".into() };
    watcher.socket.close(Some(bye)).unwrap();
    loop {
        match watcher.socket.read() {
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn who_is_connected_is_here_whatever_a_page_says_that_does_not_know_of_it() {
    let server = setup().start();
    let mut watcher = Watcher::open(&server, "", &[]);
    let sally = Watcher::open(&server, &format!("?token={}", token("sally")), &[]);
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    let client = server.by("10.0.0.1").with("authorization", &format!("Bearer {}", token("sally")));
    assert_eq!(client.post("/_presence/v1/leave", "{}").status, 204);
    // Longer than the grace of one who leaves.
    throughout(Duration::from_secs(11), || assert_eq!(server.ids(ONLINE), ["sally"]));
    drop(sally);
    watcher.until(|watcher| watcher.ids().is_empty());
}

#[test]
fn a_socket_that_speaks_for_too_many_tabs_leaves_nobody_behind() {
    let server = setup().start();
    let mut watcher = Watcher::open(&server, "", &[]);
    let mut sally = Watcher::open(&server, &format!("?tab=0&token={}", token("sally")), &[]);
    for tab in 1..20 {
        sally.say(&json!({"type": "touch", "tab": tab.to_string(), "path": format!("/{tab}")}));
    }
    watcher.until(|watcher| watcher.users.get("sally").is_some_and(|sally| sally["location"]["path"] == "/19"));
    assert_eq!(watcher.users["sally"]["tabs"], 16);
    drop(sally);
    watcher.until(|watcher| watcher.ids().is_empty());
}

#[test]
fn a_ping_is_answered() {
    let server = setup().start();
    let mut watcher = Watcher::open(&server, "", &[]);
    watcher.socket.send(tungstenite::Message::text("ping")).unwrap();
    loop {
        let message = watcher.socket.read().unwrap();
        if message.to_text().unwrap() == "pong" {
            return;
        }
    }
}

#[test]
fn who_signs_out_or_is_erased_is_shown_out() {
    let origin = Origin::with_headers(|request| {
        let user = request.target.split_once("as=").map_or("", |(_, user)| user);
        format!("X-Presence-User: {user}\r\n")
    });
    let server = setup().var("ADMIN_TOKEN", "only-for-tests-of-the-club").before(&origin).start();
    let cookie = |user: &str| {
        let page = server.by("10.0.0.1").document().get(&format!("/?as={user}"));
        page.cookie().expect("a cookie")
    };
    let (sally, bob) = (cookie("sally"), cookie("bob"));
    let sallys = Watcher::open(&server, "", &[("cookie", &sally)]);
    let bobs = Watcher::open(&server, "", &[("cookie", &bob)]);
    let mut watcher = Watcher::open(&server, "", &[]);
    watcher.until(|watcher| watcher.ids() == ["bob", "sally"]);
    server.by("10.0.0.1").with("cookie", &sally).document().get("/?as=");
    assert_eq!(sallys.closed(), (4401, "signed out".to_owned()));
    watcher.until(|watcher| watcher.ids() == ["bob"]);

    let admin = server.by("10.0.0.9").with("authorization", "Bearer only-for-tests-of-the-club");
    assert_eq!(admin.send("DELETE", "/_presence/v1/users/bob", None).status, 204);
    assert_eq!(bobs.closed(), (4401, "signed out".to_owned()));
}

#[test]
fn who_watches_by_a_token_watches_until_it_is_over() {
    let server = setup().start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let mut sally = Watcher::open(&server, &format!("?token={}", token_until("sally", now + 3)), &[]);
    let mut number = 0;
    let closed = loop {
        number += 1;
        touch(&server, "bob", json!({"path": format!("/{number}")}));
        match sally.socket.read().unwrap() {
            tungstenite::Message::Close(Some(frame)) => break (u16::from(frame.code), frame.reason.to_string()),
            other => assert!(other.is_text(), "{other:?}"),
        }
    };
    assert_eq!(closed, (4401, "sign in again".to_owned()));
}

#[test]
fn who_hides_stays_hidden_whatever_another_page_of_theirs_says() {
    let origin = Origin::with_headers(|request| {
        let (_, query) = request.target.split_once('?').unwrap_or_default();
        let hidden = if query.contains("hidden") { "X-Presence-Invisible: 1\r\n" } else { "" };
        format!("X-Presence-User: sally\r\n{hidden}")
    });
    let server = setup().before(&origin).start();
    let cookie = server.by("10.0.0.1").document().get("/").cookie().expect("a cookie");
    let mut other_tab = Watcher::open(&server, "", &[("cookie", &cookie)]);
    let mut watcher = Watcher::open(&server, "", &[]);
    watcher.until(|watcher| watcher.ids() == ["sally"]);

    let hidden = server.by("10.0.0.1").with("cookie", &cookie).document().get("/?hidden").cookie().expect("a new one");
    watcher.until(|watcher| watcher.ids().is_empty());
    other_tab.say(&json!({"type": "touch", "path": "/elsewhere"}));
    assert_eq!(server.by("10.0.0.2").with("cookie", &cookie).touch(r#"{"path": "/old"}"#).status, 204);
    eventually(true, || server.pages().contains(&"/old".to_owned()));
    assert_eq!(server.ids(ONLINE), [""; 0], "she is there, and hidden");
    let server = server.kill_and_restart();
    assert_eq!(server.by("10.0.0.2").with("cookie", &cookie).touch(r#"{"path": "/again"}"#).status, 204);
    assert_eq!(server.ids(ONLINE), [""; 0]);

    // Until a page says otherwise.
    server.by("10.0.0.1").with("cookie", &hidden).document().get("/");
    eventually(vec!["sally".to_owned()], || server.ids(ONLINE));
}

#[test]
fn who_signs_in_leaves_no_guest_behind_whatever_their_pages_have_just_said() {
    let origin = Origin::with_headers(|_| "X-Presence-User: sally\r\n".into());
    let server = club(Setup::new().before(&origin)).start();
    for round in 0..5 {
        let address = format!("10.0.0.{round}");
        let mut guest = Watcher::open(&server, "?tab=first", &[("cf-connecting-ip", &address)]);
        guest.until(|watcher| watcher.counts["guests"] == 1);
        // The second of these waits until those who watch are told of it.
        for tab in ["first", "second"] {
            guest.say(&json!({"type": "touch", "tab": tab, "path": format!("/{tab}/{round}")}));
        }
        server.by(&address).document().get("/login");
        // Whoever reads has what the isolate holds sent before.
        assert_eq!(server.ids(ONLINE), ["sally"]);
        assert_eq!(guest.closed(), (4401, "signed in".into()));
        let counts = |server: &Server| server.json("/_presence/v1/online.json?limit=0")["counts"].clone();
        throughout(Duration::from_millis(600), || assert_eq!(counts(&server)["guests"], 0));
    }
}

#[test]
fn who_signs_in_and_out_again_is_a_guest_where_their_page_is() {
    let origin = Origin::with_headers(|request| {
        let user = if request.target.starts_with("/logout") { "" } else { "sally" };
        format!("X-Presence-User: {user}\r\n")
    });
    let server = club(Setup::new().before(&origin)).start();
    let open = || {
        let mut guest = Watcher::open(&server, "?tab=first", &[("cf-connecting-ip", "10.0.0.1")]);
        guest.until(|watcher| watcher.counts["guests"] == 1);
        guest.say(&json!({"type": "touch", "tab": "first", "path": "/forum"}));
        eventually(true, || server.pages().contains(&"/forum".to_owned()));
        guest
    };
    let guest = open();
    let cookie = server.by("10.0.0.1").document().get("/login").cookie().expect("a cookie");
    assert_eq!(guest.closed(), (4401, "signed in".into()));
    server.by("10.0.0.1").with("cookie", &cookie).document().get("/logout");
    eventually(true, || server.ids(ONLINE).is_empty());
    open();
}

#[test]
fn who_was_cut_off_goes_on_where_they_were() {
    let server = setup().start();
    for user in ["sally", "bob"] {
        touch(&server, user, json!({"path": "/"}));
    }
    let mut watcher = Watcher::open(&server, "", &[]);
    watcher.until(|watcher| watcher.ids() == ["bob", "sally"]);
    let (version, users) = (watcher.version, watcher.users.clone());
    drop(watcher);
    let server = server.kill_and_restart();
    touch(&server, "zoe", json!({"path": "/"}));
    eventually(3, || server.ids(ONLINE).len());
    let mut back = Watcher::open(&server, "", &[]);
    back.until(|watcher| watcher.ids() == ["bob", "sally", "zoe"]);
    let mut resumed =
        Watcher { users, version, ..Watcher::of(connect(&server, &format!("?since={version}"), &[]).unwrap()) };
    resumed.until(|watcher| watcher.ids() == ["bob", "sally", "zoe"]);
    resumed.converge(&server);
    for unknown in [1, version + 1_000_000_000] {
        assert_eq!(Watcher::open(&server, &format!("?since={unknown}"), &[]).told, ["state"]);
    }
}

#[test]
fn an_open_socket_keeps_its_visitor_online() {
    let server = setup().var("ONLINE_TIMEOUT", "5").var("TOUCH_RESOLUTION", "0").start();
    keep_sally_by_pings(&server);
}

/// Sally and somebody else are connected, and Bob is not. He was touched after her, so when he is gone it is her pings that
/// have kept her.
pub fn keep_sally_by_pings(server: &Server) -> (Watcher, Watcher) {
    let mut sally = Watcher::open(server, &format!("?token={}", token("sally")), &[]);
    let mut watcher = Watcher::open(server, "", &[]);
    touch(server, "bob", json!({}));
    watcher.until(|watcher| watcher.ids() == ["bob", "sally"]);
    eventually(vec!["sally".to_owned()], || {
        [&mut sally, &mut watcher].into_iter().for_each(Watcher::ping);
        server.ids(ONLINE)
    });
    (sally, watcher)
}

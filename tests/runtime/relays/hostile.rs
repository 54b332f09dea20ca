//! What nobody should say to a relay or an object is not heard, and nobody else notices.

use super::{ONLINE, over};
use crate::harness::*;
use crate::live::{token, touch};
use crate::live_socket::*;
use serde_json::json;
use whos_online::http::report::Seen;
use whos_online::identity::access::Scope;
use whos_online::presence::id::{TabId, UserId};
use whos_online::presence::member::{MemberKey, State};
use whos_online::presence::time::Timestamp;
use whos_online::protocol::call;
use whos_online::protocol::live::{View, Watch};

#[test]
fn who_talks_garbage_to_a_relay_is_shown_out_and_nobody_else_notices() {
    let server = over(3).start();
    let mut watcher = Watcher::open(&server, "", &[]);
    let sallys = format!("?token={}", token("sally"));
    let long = "x".repeat(100_000);
    let said =
        ["{}", "", "null", "[]", r#"{"type":"touch","path":5}"#, r#"{"type":"state","users":[]}"#, "\u{0}", &long];
    for text in said {
        let mut sally = Watcher::open(&server, &sallys, &[]);
        sally.socket.send(tungstenite::Message::text(text)).unwrap();
        assert_eq!(sally.closed().0, 4400, "{text:.40}");
    }
    let mut sally = Watcher::open(&server, &sallys, &[]);
    sally.socket.send(tungstenite::Message::binary(vec![0; 4096])).unwrap();
    assert_eq!(sally.closed().0, 4400);
    let mut flood = Watcher::open(&server, &sallys, &[]);
    for number in 0..500 {
        let touch = json!({"type": "touch", "path": format!("/{number}")}).to_string();
        if flood.socket.send(tungstenite::Message::text(touch)).is_err() {
            break;
        }
    }
    assert_eq!(flood.closed().0, 4429);
    touch(&server, "bob", json!({"path": "/"}));
    watcher.until(|watcher| watcher.users.contains_key("bob"));
    watcher.converge(&server);
}

#[test]
fn what_a_client_says_in_the_words_of_objects_is_not_heard() {
    let server = over(3).start();
    touch(&server, "sally", json!({"path": "/"}));
    let key = MemberKey::User(UserId::parse("mallory").unwrap());
    let who = call::Watcher { key, profile: None, said: None };
    let signals = vec![who.touch(Seen { place: None, tab: Some(TabId(1)), state: State::Online, arrives: true })];
    let watch = Watch { names: true, limit: 1000, path: None, topic: None };
    let view = View { watch, scope: Scope { locations: true, last_seen: true, invisible: true } };
    let good_until = Timestamp::from_millis(4_000_000_000_000);
    let entry = call::Entry { view, perms: None, since: None, who, good_until, tab: TabId(1), signals };
    let forged = ("x-presence-entry", &*call::write_text(&entry));
    let mut watcher = Watcher::open(&server, "", &[forged]);
    for path in ["/", "/_presence/v1/online.json", "/_presence/v1/touch"] {
        let answer = server.by("10.0.0.7").with(forged.0, forged.1).with("upgrade", "websocket").get(path);
        assert!(answer.status != 101 && answer.status < 500, "{path}: {}", answer.status);
    }
    touch(&server, "bob", json!({"path": "/"}));
    watcher.until(|watcher| watcher.ids() == ["bob", "sally"]);
    watcher.converge(&server);
}

#[test]
fn no_site_is_called_as_another_ones_objects_are() {
    let server = Setup::new().var("SHARDS", "3").start();
    let ask = |host: &str| {
        let ask = format!("GET {ONLINE}?limit=0 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        String::from_utf8_lossy(&server.raw(ask.as_bytes())).into_owned()
    };
    for guest in 0..9 {
        server.by(&format!("10.1.0.{guest}")).with("host", "club.example").touch("{}");
    }
    eventually(true, || ask("club.example").contains(r#""guests":9"#));
    for number in 0..3 {
        for separator in ["\u{1f}", "%1f", "%1F", " ", "\t", ":", "\\u001f"] {
            let answer = ask(&format!("club.example{separator}{number}"));
            let own = separator == ":" && answer.contains(r#""guests":9"#);
            assert!(own || answer.starts_with("HTTP/1.1 400") || answer.contains(r#""guests":0"#), "{answer}");
        }
    }
}

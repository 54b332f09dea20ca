//! Connections that end without a word, and those that take in less than they are told.

use crate::harness::*;
use crate::live::{hooked, setup, token, touch};
use crate::live_socket::*;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const ONLINE: &str = "/_presence/v1/online.json";

/// A server whose clock is moved by tests, and the time at which it begins.
fn with_a_clock() -> (Server, i64) {
    let server = hooked().start();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    (server, now)
}

fn at(server: &Server, millis: i64) -> Value {
    server.by("10.0.0.9").with("x-test-now", &millis.to_string()).get(ONLINE).json()
}

#[test]
fn who_vanished_without_a_word_is_gone_after_a_minute() {
    let (server, start) = with_a_clock();
    let mut watcher = Watcher::open(&server, "?tab=own", &[]);
    let sally = Watcher::open(&server, &format!("?token={}", token("sally")), &[]);
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    // Two pages, heard one after the other, that are found dead together.
    at(&server, start + 1000);
    let _sallys_other = Watcher::open(&server, &format!("?token={}", token("sally")), &[]);
    // The connections are open, and nothing comes from them.
    at(&server, start + 40_000);
    watcher.say(&json!({"type": "touch", "tab": "own", "path": "/still-here"}));
    // Of the same question the answer is kept for as long as the clock stands still.
    let mut limit = 1;
    eventually(json!("/still-here"), || {
        limit = limit % 100 + 1;
        server.json(&format!("/_presence/v1/pages.json?limit={limit}"))["pages"][0]["path"].clone()
    });
    assert_eq!(at(&server, start + 55_000)["counts"]["users"], 1);
    at(&server, start + 62_000);
    // The clock stands still otherwise.
    at(&server, start + 64_000);
    watcher.until(|watcher| watcher.ids().is_empty());
    watcher.converge(&server);
    assert_eq!(sally.closed(), (4408, "no ping for a minute".to_owned()));
    // Who has said something is still there, and is told what comes.
    touch(&server, "bob", json!({"path": "/"}));
    at(&server, start + 66_000);
    watcher.until(|watcher| watcher.ids() == ["bob"]);
}

#[test]
fn a_page_that_says_it_is_open_is_so_whatever_others_say_later() {
    let (server, start) = with_a_clock();
    let mut sally = Watcher::open(&server, &format!("?token={}&tab=own", token("sally")), &[]);
    sally.until(|watcher| watcher.ids() == ["sally"]);
    server.by("10.0.0.9").with("x-test-now", &(start + 300_000).to_string()).get("/_presence/healthz");
    // Nothing of it has to be stored.
    sally.say(&json!({"type": "touch", "tab": "own"}));
    sally.socket.send("ping".into()).unwrap();
    assert_eq!(sally.socket.read().unwrap(), "pong".into());
    // Her last touch that was stored is older than the window by then.
    let later = (start + 400_000).to_string();
    server.by("10.0.0.1").with("x-test-now", &later).touch("{}");
    let counts = at(&server, start + 400_000)["counts"].clone();
    assert_eq!((&counts["users"], &counts["guests"]), (&json!(1), &json!(1)));
}

#[test]
fn who_is_dead_while_the_server_was_is_gone_too() {
    let (server, start) = with_a_clock();
    let mut watcher = Watcher::open(&server, "", &[]);
    let sally = Watcher::open(&server, &format!("?token={}", token("sally")), &[]);
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    let (version, users) = (watcher.version, watcher.users.clone());
    let server = server.kill_and_restart();
    drop((watcher, sally));
    let mut back =
        Watcher { users, version, ..Watcher::of(connect(&server, &format!("?since={version}"), &[]).unwrap()) };
    back.hear();
    assert_eq!(back.ids(), ["sally"], "she may come back as the others do");
    at(&server, start + 400_000);
    back.until(|watcher| watcher.ids().is_empty());
}

#[test]
fn who_does_not_read_is_shown_out_and_nobody_else_waits() {
    let server = setup().start();
    let mut watcher = Watcher::open(&server, "?view=count", &[]);
    let slow = Watcher::open(&server, &format!("?token={}", token("slow")), &[]);
    // Little room in the kernel, and none that grows.
    rustix::net::sockopt::set_socket_recv_buffer_size(slow.socket.get_ref(), 1 << 16).unwrap();
    let long = |sign: &str, bytes: usize| sign.repeat(bytes);
    let mut round = 0;
    let there = |server: &Server| server.ids(&format!("{ONLINE}?limit=1000")).contains(&"slow".to_owned());
    while there(&server) {
        round += 1;
        assert!(round < 400, "it is still there");
        for user in 0..100 {
            let place = json!({"path": format!("/{round}{}", long("x", 500)), "title": long("t", 250)});
            touch(&server, &format!("{user}{}", long("u", 100)), place);
        }
        while watcher.counts["users"].as_u64() < Some(100) {
            watcher.hear();
        }
    }
    assert_eq!(slow.closed(), (4413, "too much is unread".to_owned()));
    touch(&server, "bob", json!({"path": "/"}));
    watcher.converge_counts(&server);
}

#[test]
fn a_page_that_reconnects_before_its_old_connection_has_ended_is_one_tab_that_never_left() {
    let server = setup().start();
    let mut watcher = Watcher::open(&server, "", &[]);
    let sallys = format!("?tab=same&token={}", token("sally"));
    let mut connections: Vec<_> = (0..3).map(|_| Watcher::open(&server, &sallys, &[])).collect();
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    for _ in 0..20 {
        // The oldest ends, with or without a word, after the newest has begun.
        connections.push(Watcher::open(&server, &sallys, &[]));
        let mut oldest = connections.remove(0);
        let _ = oldest.socket.close(None);
    }
    watcher.converge(&server);
    assert_eq!(watcher.users["sally"]["tabs"], 1);
    // Longer than the grace of one who leaves.
    throughout(Duration::from_secs(11), || assert_eq!(server.ids(ONLINE), ["sally"]));
    drop(connections);
    watcher.until(|watcher| watcher.ids().is_empty());
}

#[test]
fn a_connection_keeps_its_visitor_online_between_two_pings_however_short_the_window() {
    let server = setup().var("ONLINE_TIMEOUT", "2").var("TOUCH_RESOLUTION", "0").start();
    let mut watcher = Watcher::open(&server, "", &[]);
    let _sally = Watcher::open(&server, &format!("?token={}", token("sally")), &[]);
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    // Nobody asks meanwhile: it is the object itself that looks whose time has passed.
    throughout(Duration::from_secs(8), || {});
    assert_eq!(server.json(ONLINE)["counts"]["total"], 2);
    watcher.converge(&server);
    assert_eq!(watcher.told.len(), 2, "nothing has happened: {:?}", watcher.told);
}

#[test]
fn an_object_sleeps_while_nobody_comes_or_goes_and_nobody_notices_when_it_wakes() {
    let server = hooked().start();
    let mut watcher = Watcher::open(&server, "", &[]);
    let _sally = Watcher::open(&server, &format!("?token={}", token("sally")), &[]);
    touch(&server, "bob", json!({"path": "/"}));
    watcher.until(|watcher| watcher.ids() == ["bob", "sally"]);
    assert_eq!(server.built(), 1);
    let mut number = 0;
    while server.built() == 1 {
        let start = std::time::Instant::now();
        // Pings are answered in its sleep.
        while start.elapsed().as_secs() < 12 + number {
            watcher.socket.send(tungstenite::Message::text("ping")).unwrap();
            while watcher.socket.read().unwrap().to_text().unwrap() != "pong" {}
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        number += 1;
        assert!(number < 5, "it never sleeps");
        touch(&server, "bob", json!({"path": format!("/{number}")}));
        watcher.until(|watcher| watcher.users["bob"]["location"]["path"] == format!("/{number}"));
    }
    assert!(watcher.told[1..].iter().all(|told| told == "diff"), "{:?}", watcher.told);
    watcher.converge(&server);
    assert_eq!(server.built(), 2);
    // It knows whose connection is whose.
    watcher.say(&json!({"type": "touch", "path": "/awake"}));
    eventually(true, || server.pages().contains(&"/awake".to_owned()));
}

#[test]
fn who_is_erased_soon_after_another_is_gone_at_once_and_from_the_files_within_ten_minutes() {
    let admin = "only-for-tests-of-the-club";
    let server = hooked().var("ADMIN_TOKEN", admin).start();
    let erase = |user: &str| {
        let admin = server.by("10.0.0.9").with("authorization", &format!("Bearer {admin}"));
        assert_eq!(admin.send("DELETE", &format!("/_presence/v1/users/{user}"), None).status, 204);
    };
    for user in ["an-early-user", "a-later-user"] {
        touch(&server, user, json!({"path": "/"}));
    }
    let mut watcher = Watcher::open(&server, "", &[]);
    erase("an-early-user");
    watcher.until(|watcher| watcher.ids() == ["a-later-user"]);
    eventually(vec![], || files_with(&server.storage(), "an-early-user"));

    erase("a-later-user");
    watcher.until(|watcher| watcher.ids().is_empty());
    touch(&server, "bob", json!({"path": "/"}));
    watcher.until(|watcher| watcher.ids() == ["bob"]);
    // Ten minutes later the alarm comes.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let later = server.by("10.0.0.9").with("x-test-now", &(now + 601_000).to_string()).with("x-test-fault", "sweep");
    later.get(&format!("{ONLINE}?limit=7"));
    eventually(vec![], || files_with(&server.storage(), "a-later-user"));
    watcher.socket.send(tungstenite::Message::text("ping")).unwrap();
    while watcher.socket.read().expect("it stays open").to_text().unwrap() != "pong" {}
}

//! Who watches a site of several objects sees one site.

use crate::harness::*;
use crate::live::{hooked, setup, token, touch};
use crate::live_socket::*;
use serde_json::json;
use std::time::Duration;

const ONLINE: &str = "/_presence/v1/online.json";

fn over(count: u32) -> Setup {
    setup().var("SHARDS", &count.to_string())
}

#[test]
fn a_watcher_sees_those_of_all_objects_come_move_and_go() {
    let server = over(4).start();
    let names: Vec<_> = (0..12).map(|number| format!("user-{number:02}")).collect();
    touch(&server, &names[0], json!({"path": "/forum"}));
    let mut watcher = Watcher::open(&server, "", &[]);
    names.iter().for_each(|name| touch(&server, name, json!({"path": "/forum"})));
    watcher.until(|watcher| watcher.ids() == names);
    touch(&server, &names[3], json!({"path": "/radio", "title": "Radio"}));
    watcher.until(|watcher| watcher.users[&names[3]]["location"] == json!({"path": "/radio", "title": "Radio"}));
    assert!(watcher.told[1..].iter().all(|told| told == "diff"), "{:?}", watcher.told);
    watcher.converge(&server);
    assert_eq!(watcher.version, server.json(ONLINE)["version"], "a list and those who watch speak of the same");
    let mut filtered = Watcher::open(&server, "?path=/radio", &[]);
    filtered.until(|watcher| watcher.ids() == [&names[3]]);
    let mut counts = Watcher::open(&server, "?view=count", &[]);
    counts.until(|watcher| watcher.counts["users"] == 12);

    // Who was cut off hears what they have missed, and no more.
    let (version, users) = (watcher.version, watcher.users.clone());
    drop(watcher);
    touch(&server, "zoe", json!({"path": "/"}));
    filtered.until(|watcher| watcher.version > version);
    let socket = connect(&server, &format!("?since={version}"), &[]).unwrap();
    let mut resumed = Watcher { users, version, ..Watcher::of(socket) };
    resumed.until(|watcher| watcher.ids().contains(&"zoe"));
    assert!(resumed.told.iter().all(|told| told == "diff"), "{:?}", resumed.told);
    resumed.converge(&server);
}

#[test]
fn a_socket_keeps_its_visitor_online_wherever_they_are_kept() {
    let server = over(3).var("ONLINE_TIMEOUT", "3").var("TOUCH_RESOLUTION", "0").start();
    let mut sally = Watcher::open(&server, &format!("?token={}", token("sally")), &[]);
    let mut watcher = Watcher::open(&server, "", &[]);
    touch(&server, "bob", json!({}));
    watcher.until(|watcher| watcher.ids() == ["bob", "sally"]);
    eventually(vec!["sally".to_owned()], || {
        [&mut sally, &mut watcher].into_iter().for_each(Watcher::ping);
        server.ids(ONLINE)
    });
    sally.say(&json!({"type": "touch", "path": "/here"}));
    let path = || server.json("/_presence/v1/users/sally.json")["location"]["path"].clone();
    eventually(json!("/here"), path);
    drop(sally);
    eventually(Vec::<String>::new(), || server.ids(ONLINE));
}

#[test]
fn who_signs_in_is_shown_out_and_leaves_no_guest_behind() {
    let origin = Origin::with_headers(|_| "X-Presence-User: sally\r\n".into());
    let server = over(3).before(&origin).start();
    let mut guest = Watcher::open(&server, "?tab=first", &[("cf-connecting-ip", "10.0.0.1")]);
    guest.until(|watcher| watcher.counts["guests"] == 1);
    server.by("10.0.0.1").document().get("/login");
    assert_eq!(server.ids(ONLINE), ["sally"]);
    assert_eq!(guest.closed(), (4401, "signed in".into()));
    let counts = |server: &Server| server.json(&format!("{ONLINE}?limit=0"))["counts"].clone();
    throughout(Duration::from_millis(600), || assert_eq!(counts(&server)["guests"], 0));
}

#[test]
fn more_than_one_relay_holds_are_held_by_others() {
    // In this build one holds eight.
    let server = hooked().var("SHARDS", "2").start();
    touch(&server, "sally", json!({"path": "/"}));
    let address = |number: usize| format!("10.5.0.{number}");
    let mut watchers: Vec<_> =
        (0..20).map(|number| Watcher::open(&server, "", &[("cf-connecting-ip", &address(number))])).collect();
    touch(&server, "bob", json!({"path": "/"}));
    for watcher in &mut watchers {
        watcher.until(|watcher| watcher.ids() == ["bob", "sally"] && watcher.counts["guests"] == 20);
    }
    touch(&server, "bob", json!({"path": "/moved"}));
    for watcher in &mut watchers {
        watcher.until(|watcher| watcher.users["bob"]["location"]["path"] == "/moved");
        watcher.converge(&server);
    }
    // The first relay's own go; those below it are told all the same.
    drop(watchers.drain(..8));
    touch(&server, "zoe", json!({"path": "/"}));
    for watcher in &mut watchers {
        watcher.until(|watcher| watcher.ids() == ["bob", "sally", "zoe"]);
    }
}

#[test]
fn after_a_restart_those_who_watch_go_on() {
    let server = over(3).start();
    ["sally", "bob"].iter().for_each(|user| touch(&server, user, json!({"path": "/"})));
    let mut watcher = Watcher::open(&server, "", &[]);
    watcher.until(|watcher| watcher.ids() == ["bob", "sally"]);
    let version = watcher.version;
    let server = server.kill_and_restart();
    let mut back = Watcher::open(&server, &format!("?since={version}"), &[]);
    touch(&server, "zoe", json!({"path": "/"}));
    back.until(|watcher| watcher.ids() == ["bob", "sally", "zoe"]);
    back.converge(&server);
}

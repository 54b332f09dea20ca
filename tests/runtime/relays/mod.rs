//! Who watches a site of several objects sees one site.

mod clock;
mod hostile;
mod silent;

use crate::harness::*;
use crate::live::{hooked, keep_sally_by_pings, setup, token, touch};
use crate::live_socket::*;
use serde_json::json;
use std::time::Duration;
use whos_online::presence::id::UserId;
use whos_online::presence::member::MemberKey;
use whos_online::presence::shards::Shards;

const ONLINE: &str = "/_presence/v1/online.json";
/// Of so many relays' watchers in the build with the test hooks: one holds eight.
const OF_ONE: usize = 8;
const ADMIN: &str = "0123456789abcdef0123456789abcdef";

fn over(count: u32) -> Setup {
    setup().var("SHARDS", &count.to_string())
}

fn hooked_over(count: u32) -> Setup {
    hooked().var("SHARDS", &count.to_string())
}

/// Users, and which of so many objects keeps each.
fn users(count: u32) -> Vec<(String, u32)> {
    let shards = Shards::try_from(count).unwrap();
    let home = |name: &String| shards.home(MemberKey::User(&UserId::parse(name.as_str()).unwrap()));
    let names = (0..6 * count).map(|number| format!("user-{number:02}"));
    names.map(|name| (home(&name), name)).map(|(home, name)| (name, home)).collect()
}

fn fault(server: &Server, name: &str) {
    assert_eq!(server.by("10.0.0.1").with("x-test-fault", name).get("/_presence/healthz").status, 200);
}

/// Opens watchers, each a visitor of their own.
fn open(server: &Server, count: usize) -> Vec<Watcher> {
    let one = |number| Watcher::open(server, "", &[("cf-connecting-ip", &format!("10.5.0.{number}"))]);
    (0..count).map(one).collect()
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
    let (mut sally, _watcher) = keep_sally_by_pings(&server);
    sally.say(&json!({"type": "touch", "path": "/here"}));
    let path = || server.json("/_presence/v1/users/sally.json")["location"]["path"].clone();
    eventually(json!("/here"), path);
    drop(sally);
    eventually(Vec::<String>::new(), || server.ids(ONLINE));
}

#[test]
fn a_watcher_sees_who_closes_their_page_go_without_anybody_asking() {
    let server = over(3).start();
    let mut watcher = Watcher::open(&server, "", &[]);
    let sallys: Vec<_> = ["sally", "bob", "ann"]
        .iter()
        .map(|user| Watcher::open(&server, &format!("?token={}", token(user)), &[]))
        .collect();
    watcher.until(|watcher| watcher.ids().len() == 3);
    drop(sallys);
    // After the grace, for which each object wakes by itself.
    watcher.until(|watcher| watcher.ids().is_empty());
    watcher.converge(&server);
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
fn whose_pages_connect_is_seen_where_they_are() {
    let site = Origin::with_headers(|_| String::new());
    let server = over(2).before(&site).start();
    let visitor = [("cf-connecting-ip", "10.0.0.7")];
    let mut before = None;
    for name in ["a", "b", "c"] {
        let path = format!("/{name}");
        server.by("10.0.0.7").document().get(&path);
        drop(before.take());
        before = Some(Watcher::open(&server, &format!("?tab={name}"), &visitor));
        eventually(vec![path], || server.pages());
    }
}

#[test]
fn more_than_one_relay_holds_are_held_by_others() {
    let server = hooked_over(2).start();
    touch(&server, "sally", json!({"path": "/"}));
    let mut watchers = open(&server, 20);
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
    drop(watchers.drain(..OF_ONE));
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

#[test]
fn who_is_erased_is_gone_for_those_who_watch() {
    let server = over(2).var("ADMIN_TOKEN", ADMIN).start();
    let mut watcher = Watcher::open(&server, "", &[]);
    ["sally", "bob", "zoe"].iter().for_each(|name| touch(&server, name, json!({"path": "/"})));
    watcher.until(|watcher| watcher.ids() == ["bob", "sally", "zoe"]);
    for (erased, rest) in [("sally", vec!["bob", "zoe"]), ("zoe", vec!["bob"])] {
        let admin = server.by("10.0.0.9").with("authorization", &format!("Bearer {ADMIN}"));
        assert_eq!(admin.send("DELETE", &format!("/_presence/v1/users/{erased}"), None).status, 204);
        watcher.until(|watcher| watcher.ids() == rest);
    }
    watcher.converge(&server);
}

#[test]
fn when_the_number_of_objects_is_changed_those_who_watch_come_back_to_the_truth() {
    let mut server = over(4).start();
    let users = users(4);
    users.iter().for_each(|(name, _)| touch(&server, name, json!({"path": "/"})));
    let mut watcher = Watcher::open(&server, "", &[]);
    watcher.until(|watcher| watcher.ids().len() == users.len());
    for (round, count) in [7, 2, 1, 3].into_iter().enumerate() {
        server = server.kill_and_restart_as(over(count));
        // What they were told last is of other versions.
        watcher = Watcher::of(connect(&server, &format!("?since={}", watcher.version), &[]).unwrap());
        let name = format!("round-{round}");
        touch(&server, &name, json!({"path": "/"}));
        watcher.until(|watcher| watcher.ids().len() == users.len() + round + 1);
        assert_eq!(watcher.told[0], "state");
        watcher.converge(&server);
    }
}

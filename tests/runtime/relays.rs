//! Who watches a site of several objects sees one site.

use crate::harness::*;
use crate::live::{hooked, keep_sally_by_pings, setup, token, touch};
use crate::live_crowd::Over;
use crate::live_socket::*;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use whos_online::http::report::Seen;
use whos_online::identity::access::Scope;
use whos_online::presence::id::{TabId, UserId};
use whos_online::presence::member::{MemberKey, State};
use whos_online::presence::shards::Shards;
use whos_online::presence::time::Timestamp;
use whos_online::protocol::call;
use whos_online::protocol::live::{View, Watch};

const ONLINE: &str = "/_presence/v1/online.json";
/// Of so many relays' watchers in the build with the test hooks: one holds eight.
const OF_ONE: usize = 8;
const ADMIN: &str = "0123456789abcdef0123456789abcdef";
const DAY: i64 = 86_400_000;

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

/// Has the third object answer nothing any more. A call that was on its way may end a fault that was just set.
fn silence(server: &Server) {
    eventually(true, || {
        fault(server, "hang-object-2");
        server.json(ONLINE)["partial"] == true
    });
}

/// A clock that a test moves: it goes on by itself, though never faster than the machine can follow.
struct Clock(AtomicI64);

impl Clock {
    /// Has the time pass while something is done, beginning with now.
    fn going<T>(server: &Server, work: impl FnOnce(&Self) -> T) -> T {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let (clock, over) = (Self(AtomicI64::new(now)), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let _over = Over(&over);
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    clock.tick(server, 20);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            work(&clock)
        })
    }

    /// So many milliseconds have passed.
    fn tick(&self, server: &Server, millis: i64) {
        let now = self.0.fetch_add(millis, Ordering::Relaxed) + millis;
        server.by("10.0.0.9").with("x-test-now", &now.to_string()).get("/_presence/healthz");
    }
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

/// A site that has everybody be who they say, and signed out who says nothing.
fn site_that_knows_users() -> Origin {
    Origin::with_headers(|request| {
        let user = request.target.split_once("as=").map_or("", |(_, user)| user);
        format!("X-Presence-User: {user}\r\n")
    })
}

#[test]
fn who_signs_out_while_a_relay_is_silent_is_shown_out_when_it_speaks_again() {
    let origin = site_that_knows_users();
    let server = hooked_over(2).before(&origin).start();
    let page = server.by("10.0.0.1").document().get("/?as=sally");
    let sally = page.cookie().expect("a cookie");
    let mut watcher = Watcher::open(&server, "", &[]);
    let sallys = Watcher::open(&server, "", &[("cookie", &sally)]);
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    fault(&server, "hang-relay-0");
    server.by("10.0.0.1").with("cookie", &sally).document().get("/?as=");
    eventually(Vec::<String>::new(), || server.ids(ONLINE));
    eventually(true, || server.log().contains("those who watch were not told"));
    fault(&server, "none");
    assert_eq!(sallys.closed(), (4401, "signed out".to_owned()));
    watcher.until(|watcher| watcher.ids().is_empty());
    watcher.converge(&server);
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
fn who_was_online_in_a_silent_object_goes_in_their_time_and_whoever_is_connected_stays() {
    let server = hooked_over(4).var("ONLINE_TIMEOUT", "45").var("TOUCH_RESOLUTION", "0").start();
    let users = users(4);
    let (silent, others): (Vec<_>, Vec<_>) = users.iter().partition(|(_, home)| *home == 2);
    let [silent, others] = [silent, others].map(|of| of.into_iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    let open = |name: &str| Watcher::open(&server, &format!("?token={}", token(name)), &[]);
    Clock::going(&server, |clock| {
        users.iter().for_each(|(name, _)| touch(&server, name, json!({"path": "/"})));
        let mut watcher = open(others[0]);
        let _connected = open(silent[0]);
        watcher.until(|watcher| watcher.ids().len() == users.len());
        silence(&server);
        clock.tick(&server, 30_000);
        others.iter().for_each(|name| touch(&server, name, json!({"path": "/still-here"})));
        watcher.until(|watcher| others.iter().all(|name| watcher.users[*name]["location"]["path"] == "/still-here"));
        assert_eq!(watcher.ids().len(), users.len(), "they are online as far as is known");
        clock.tick(&server, 20_000);
        let mut left: Vec<_> = others.iter().chain(&silent[..1]).copied().collect();
        left.sort_unstable();
        watcher.until(|watcher| watcher.ids() == left);
        // Who comes now is told the same.
        assert_eq!(open(others[1]).ids(), left);
        fault(&server, "none");
        touch(&server, silent[1], json!({"path": "/back"}));
        watcher.until(|watcher| watcher.users.get(silent[1]).is_some_and(|user| user["location"]["path"] == "/back"));
        watcher.converge(&server);
    });
}

#[test]
fn a_silent_object_keeps_nobody_from_watching_the_others() {
    let server = hooked_over(4).start();
    let users = users(4);
    // Each object knows that nothing is to be handed over to it.
    users.iter().for_each(|(name, _)| touch(&server, name, json!({"path": "/"})));
    eventually(users.len(), || server.ids(ONLINE).len());
    silence(&server);
    let mut others: Vec<_> = users.iter().filter(|(_, home)| *home != 2).map(|(name, _)| name.as_str()).collect();
    let open = || Watcher::open(&server, &format!("?token={}", token(others[0])), &[]);
    let (mut first, mut second) = (open(), open());
    others.sort_unstable();
    let silent = &users.iter().find(|(_, home)| *home == 2).unwrap().0;
    // What is said of the silent one's is kept until it can be told.
    touch(&server, silent, json!({"path": "/moved"}));
    for watcher in [&mut first, &mut second] {
        watcher.until(|watcher| watcher.ids() == others);
    }
    fault(&server, "none");
    // However often it was tried meanwhile, it goes with the next batch.
    touch(&server, others[0], json!({"path": "/again"}));
    for watcher in [&mut first, &mut second] {
        watcher.until(|watcher| watcher.users.get(silent).is_some_and(|user| user["location"]["path"] == "/moved"));
        watcher.converge(&server);
    }
}

#[test]
fn who_vanished_without_a_word_is_gone_after_a_minute() {
    let server = hooked_over(3).start();
    let mut watcher = Watcher::open(&server, "?tab=own", &[]);
    let sally = Watcher::open(&server, &format!("?token={}", token("sally")), &[]);
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    Clock::going(&server, |clock| {
        clock.tick(&server, 35_000);
        watcher.say(&json!({"type": "touch", "tab": "own", "path": "/still-here"}));
        eventually(Some("/still-here".to_owned()), || server.pages().into_iter().next());
        assert_eq!(watcher.ids(), ["sally"]);
        clock.tick(&server, 25_000);
        assert_eq!(sally.closed(), (4408, "no ping for a minute".to_owned()));
        // Somebody asks: the clock goes too slowly for alarms.
        eventually(Vec::<String>::new(), || server.ids(ONLINE));
        watcher.until(|watcher| watcher.ids().is_empty());
        watcher.converge(&server);
    });
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
fn who_vanished_alone_on_a_relay_is_missed_by_those_on_others() {
    let server = hooked_over(2).start();
    let mut watchers = open(&server, OF_ONE);
    let sally = Watcher::open(&server, &format!("?token={}", token("sally")), &[]);
    for watcher in &mut watchers {
        watcher.until(|watcher| watcher.ids() == ["sally"] && watcher.counts["guests"] == OF_ONE);
    }
    Clock::going(&server, |clock| {
        clock.tick(&server, 35_000);
        for (number, watcher) in watchers.iter_mut().enumerate() {
            watcher.say(&json!({"type": "touch", "path": format!("/{number}")}));
        }
        eventually(OF_ONE, || server.pages().len());
        clock.tick(&server, 25_000);
        assert_eq!(sally.closed(), (4408, "no ping for a minute".to_owned()));
        // Somebody asks: the clock goes too slowly for alarms.
        eventually(Vec::<String>::new(), || server.ids(ONLINE));
        for watcher in &mut watchers {
            watcher.until(|watcher| watcher.ids().is_empty());
            watcher.converge(&server);
        }
    });
}

/// Has the first relay started anew, which cuts off these, who are all that watch there.
fn restart_first_relay(server: &Server, watchers: &mut [Watcher]) {
    let cut_off = |watcher: &mut Watcher| loop {
        match watcher.socket.read() {
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    };
    watchers.iter().for_each(|watcher| watcher.socket.get_ref().set_nonblocking(true).unwrap());
    let mut number = 0;
    // Again and again: a call that is on its way may end a fault that was just set.
    eventually(true, || {
        fault(server, "restart-relay-0");
        number += 1;
        touch(server, "bob", json!({"path": format!("/{number}")}));
        watchers.iter_mut().all(cut_off)
    });
    fault(server, "none");
}

#[test]
fn who_signs_out_just_after_a_relay_was_started_anew_is_shown_out_of_those_below_it() {
    let origin = site_that_knows_users();
    let server = hooked_over(2).before(&origin).start();
    let page = server.by("10.0.0.1").document().get("/?as=sally");
    let sally = page.cookie().expect("a cookie");
    let mut watchers = open(&server, OF_ONE);
    let sallys = Watcher::open(&server, "", &[("cookie", &sally)]);
    restart_first_relay(&server, &mut watchers);
    server.by("10.0.0.1").with("cookie", &sally).document().get("/?as=");
    assert_eq!(sallys.closed(), (4401, "signed out".to_owned()));
}

#[test]
fn a_relay_that_starts_anew_leaves_those_below_it_watching() {
    let server = hooked_over(3).start();
    touch(&server, "sally", json!({"path": "/"}));
    let mut watchers = open(&server, OF_ONE + 3);
    let mut below = watchers.split_off(OF_ONE);
    restart_first_relay(&server, &mut watchers);
    touch(&server, "zoe", json!({"path": "/"}));
    for watcher in &mut below {
        watcher.until(|watcher| watcher.ids() == ["bob", "sally", "zoe"]);
    }
    // Those who were cut off come back.
    let mut back = open(&server, OF_ONE);
    touch(&server, "bob", json!({"path": "/moved"}));
    for watcher in back.iter_mut().chain(&mut below) {
        watcher.until(|watcher| watcher.users["bob"]["location"]["path"] == "/moved");
        watcher.converge(&server);
    }
}

#[test]
fn while_the_first_relay_is_silent_those_below_it_ask_for_themselves() {
    let server = hooked_over(2).start();
    touch(&server, "sally", json!({"path": "/"}));
    let mut below = open(&server, OF_ONE + 1).split_off(OF_ONE);
    fault(&server, "hang-relay-0");
    for name in ["bob", "zoe"] {
        touch(&server, name, json!({"path": "/"}));
        below[0].until(|watcher| watcher.users.contains_key(name));
    }
    fault(&server, "none");
    touch(&server, "bob", json!({"path": "/moved"}));
    below[0].until(|watcher| watcher.users["bob"]["location"]["path"] == "/moved");
    below[0].converge(&server);
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

#[test]
fn a_clock_that_jumps_leaves_those_who_watch_with_the_truth() {
    let server = hooked_over(3).start();
    let names: Vec<_> = (0..6).map(|number| format!("user-{number}")).collect();
    let open = |name: &str| Watcher::open(&server, &format!("?token={}", token(name)), &[]);
    Clock::going(&server, |clock| {
        names.iter().for_each(|name| touch(&server, name, json!({"path": "/"})));
        let early = open("early");
        let mut late = open("late");
        late.until(|watcher| watcher.ids().len() == 8);
        // A day on: nobody has been heard since.
        clock.tick(&server, DAY);
        for watcher in [early, late] {
            assert_eq!(watcher.closed(), (4408, "no ping for a minute".to_owned()));
        }
        let mut watcher = open("late");
        names.iter().for_each(|name| touch(&server, name, json!({"path": "/tomorrow"})));
        watcher.until(|watcher| watcher.ids().len() == 7);
        watcher.converge(&server);
        // And back.
        clock.tick(&server, -DAY);
        for path in ["/today", "/moved"] {
            touch(&server, "bob", json!({"path": path}));
            watcher.until(|watcher| watcher.users.get("bob").is_some_and(|bob| bob["location"]["path"] == path));
            watcher.converge(&server);
        }
        // Nobody stays for longer than that.
        for step in 0..8 {
            clock.tick(&server, 50_000);
            watcher.say(&json!({"type": "touch", "path": format!("/{step}")}));
            watcher.until(|watcher| watcher.users["late"]["location"]["path"] == format!("/{step}"));
        }
        watcher.until(|watcher| watcher.ids() == ["late"]);
        watcher.converge(&server);
    });
}

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
    let signals = vec![who.touch(Seen { place: None, tab: Some(TabId(1)), state: State::Online })];
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

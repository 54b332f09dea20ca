//! Objects and relays that fall silent or start anew, while others watch.

use super::clock::Clock;
use super::{OF_ONE, ONLINE, fault, hooked_over, open, users};
use crate::harness::*;
use crate::live::{token, touch};
use crate::live_socket::*;
use serde_json::json;

/// Has the third object answer nothing any more. A call that was on its way may end a fault that was just set.
fn silence(server: &Server) {
    eventually(true, || {
        fault(server, "hang-object-2");
        server.json(ONLINE)["partial"] == true
    });
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

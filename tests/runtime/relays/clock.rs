//! Time passes, and leaps, for those who watch a site of several objects.

use super::{OF_ONE, ONLINE, hooked_over, open};
use crate::harness::*;
use crate::live::{token, touch};
use crate::live_crowd::Over;
use crate::live_socket::*;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400_000;

/// A clock that a test moves: it goes on by itself, though never faster than the machine can follow.
pub struct Clock(AtomicI64);

impl Clock {
    /// Has the time pass while something is done, beginning with now.
    pub fn going<T>(server: &Server, work: impl FnOnce(&Self) -> T) -> T {
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
    pub fn tick(&self, server: &Server, millis: i64) {
        let now = self.0.fetch_add(millis, Ordering::Relaxed) + millis;
        server.by("10.0.0.9").with("x-test-now", &now.to_string()).get("/_presence/healthz");
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

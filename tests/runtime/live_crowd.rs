//! Thousands who watch while people come, move and go.

use crate::crowd::*;
use crate::harness::*;
use crate::live::{setup, token};
use crate::live_socket::shown;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const USERS: u64 = 400;
const A_SECOND: u32 = 100;
const ALL: &str = "?limit=1000";
const ONE_PAGE: &str = "?limit=1000&path=/3";
const COUNT: &str = "?view=count";

/// Has what goes on come to its end, whatever happens.
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Nobody waits for more to happen when nothing does any more, as something went wrong.
struct Ended<'a>(&'a AtomicU32);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(u32::MAX, Ordering::Relaxed);
    }
}

/// What somebody does who is chosen by a number: most come or move, some leave.
fn act(server: &Server, tokens: &[String], number: u64) {
    // Spread, and the same each time.
    let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let user = (dice % USERS) as usize;
    let client = server.by("10.0.0.1").with("authorization", &format!("Bearer {}", tokens[user]));
    let answer = match dice / USERS % 4 {
        0 => client.post("/_presence/v1/leave", r#"{"tab": "1"}"#),
        kind => client.touch(&json!({"tab": "1", "path": format!("/{}", kind + dice % 7)}).to_string()),
    };
    assert_eq!(answer.status, 204, "{}", answer.text());
}

/// Has so many things happen a second, evenly and as far as the machine can, until it is over; and counts them.
fn go_on(server: &RwLock<Server>, over: &AtomicBool, happened: &AtomicU32) {
    let tokens: Vec<_> = (0..USERS).map(|user| token(&format!("user-{user}"))).collect();
    let _ended = Ended(happened);
    let start = Instant::now();
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        act(&server.read().unwrap(), &tokens, u64::from(number));
        happened.store(number + 1, Ordering::Relaxed);
        std::thread::sleep((Duration::from_secs(1) / A_SECOND * number).saturating_sub(start.elapsed()));
    }
}

/// What somebody has to know who watches by that.
fn truth(server: &Server, query: &str) -> View {
    let online = server.json(&format!("/_presence/v1/online.json{query}"));
    let users = online["users"].as_array().unwrap().iter();
    View {
        query: Rc::from(query),
        version: online["version"].as_u64().unwrap(),
        counts: online["counts"].clone(),
        users: users.map(|user| (Rc::from(user["id"].as_str().unwrap()), Rc::new(shown(user)))).collect(),
    }
}

/// Has things happen while something else is done, which is told how many they were.
fn while_things_happen<T>(server: &RwLock<Server>, work: impl FnOnce(&AtomicU32) -> T) -> T {
    let (over, happened) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| go_on(server, &over, &happened));
        work(&happened)
    })
}

#[test]
fn two_thousand_watchers_each_know_the_truth_while_a_hundred_things_happen_a_second() {
    assert!(most_watchers() >= 2000, "allow more open files: see `ulimit -Hn`");
    let server = RwLock::new(setup().start());
    let asked = || server.read().unwrap();
    let mut crowd = Crowd::new();
    crowd.open(&asked(), 1900, ALL);
    crowd.open(&asked(), 50, ONE_PAGE);
    crowd.open(&asked(), 50, COUNT);
    let mut samples = Vec::new();
    while_things_happen(&server, |happened| {
        while happened.load(Ordering::Relaxed) < 15 * A_SECOND {
            crowd.hear(Duration::from_millis(100));
            samples.push(truth(&asked(), ALL));
        }
    });
    let mut compared = 0;
    for truth in &samples {
        for view in crowd.of_version(truth.version).filter(|view| &*view.query == ALL) {
            assert!(view.says(truth), "{view:?} is not {truth:?}");
            compared += 1;
        }
    }
    assert!(compared > 10, "{compared} of {}", samples.len());
    for query in [ALL, ONE_PAGE] {
        crowd.converge(query, || truth(&asked(), query));
    }
    crowd.converge(COUNT, || View { query: COUNT.into(), users: BTreeMap::new(), ..truth(&asked(), ALL) });
    assert!(crowd.closed().is_empty(), "{:?}", crowd.closed());
}

#[test]
fn watchers_of_a_server_that_is_killed_again_and_again_go_on_where_they_were() {
    let crowd = killed_again_and_again(setup());
    assert_eq!(crowd.states, 300, "after that each was told what they had missed");
}

#[test]
fn watchers_of_several_objects_that_are_killed_again_and_again_come_back_to_the_truth() {
    killed_again_and_again(setup().var("SHARDS", "4"));
}

fn killed_again_and_again(setup: Setup) -> Crowd {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = RwLock::new(setup.at(socket).start());
    let mut crowd = Crowd::new();
    crowd.open(&server.read().unwrap(), 300, ALL);
    while_things_happen(&server, |happened| {
        for round in 1..=4 {
            while happened.load(Ordering::Relaxed) < round * 2 * A_SECOND {
                crowd.hear(Duration::from_millis(100));
            }
            let mut server = server.write().unwrap();
            server.power_cut();
            crowd.resume(&server);
        }
    });
    crowd.converge(ALL, || truth(&server.read().unwrap(), ALL));
    crowd
}

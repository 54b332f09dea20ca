//! Killed in the middle of the bench's load, again and again, and started anew with the same storage: whatever was answered
//! is there.

use crate::batches::{BATCH, guest, guest_key, page, request_to};
use crate::crowd::{Crowd, View};
use crate::harness::*;
use crate::{load, site};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use whos_online::config::Secret;
use whos_online::identity::shown::ShownIds;
use whos_online::presence::id::SiteName;
use whos_online::presence::member::MemberKey;
use whos_online::presence::shards::Shards;
use whos_online::presence::time::Timestamp;

const KILLS: usize = 3;
const COUNTS: &str = "?view=count";

/// The guests who are online, by their ids.
fn guests(server: &Server) -> HashMap<String, Value> {
    let (mut guests, mut cursor) = (HashMap::new(), String::new());
    loop {
        let page = server.json(&format!("/_presence/v1/online.json?kind=guest&limit=1000{cursor}"));
        let listed = page["users"].as_array().unwrap().iter();
        guests.extend(listed.map(|guest| (guest["id"].as_str().unwrap().to_owned(), guest.clone())));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return guests,
        }
    }
}

/// So many connections send batches; where a site is over several objects, each to another one.
const CONNECTIONS: usize = 4;
/// Each sends its batches of other guests in turn; each time they are on the next page.
const BATCHES_EACH: usize = 6;

#[test]
fn killed_amid_batches_it_has_every_touch_of_those_that_were_answered() {
    killed_amid_batches(Shards::ONE);
}

#[test]
fn killed_amid_batches_several_objects_have_every_touch_and_those_who_watch_come_back_to_it() {
    killed_amid_batches(Shards::try_from(CONNECTIONS as u32).unwrap());
}

/// The guests of whom a connection tells.
fn told_by(connection: usize, shards: Shards) -> Vec<usize> {
    let all = BATCHES_EACH * BATCH;
    let kept = |guest: &usize| shards.home(guest_key(*guest).borrow()) as usize == connection;
    match shards {
        Shards::ONE => (connection * all..(connection + 1) * all).collect(),
        _ => (0..).filter(kept).take(all).collect(),
    }
}

fn killed_amid_batches(shards: Shards) {
    let told: Vec<_> = (0..CONNECTIONS).map(|connection| told_by(connection, shards)).collect();
    let numbers = |connection: usize, number: usize| {
        told[connection].chunks(BATCH).nth(number % BATCHES_EACH).unwrap().iter().copied()
    };
    let (site, secret) = (SiteName::parse("bench").unwrap(), "a-secret-of-some-length");
    let ids = ShownIds::of(&Secret::new(secret));
    let setup = Setup::new()
        .var("SITE", site.as_str())
        .var("PRESENCE_SECRET", secret)
        .var("SHARDS", &shards.count().to_string());
    let mut server = setup.beside("tests/bench/workers/driver.js").start();
    let mut crowd = Crowd::new();
    crowd.open(&server, 100, COUNTS);
    let answered = [const { AtomicUsize::new(0) }; CONNECTIONS];
    let all = || answered.iter().map(|answered| answered.load(Ordering::Relaxed)).sum::<usize>();
    for _ in 0..KILLS {
        let (port, before) = (server.beside.unwrap(), all());
        let begun: Vec<_> = answered.iter().map(|answered| answered.load(Ordering::Relaxed)).collect();
        let batch = |connection: usize, number: usize| {
            let number = begun[connection] + number;
            let on_page = |guest: usize| format!("/{number}{}", page(guest));
            let home = connection as u32 % shards.count();
            request_to(home, numbers(connection, number).map(|number| (0, guest(number, on_page(number)))))
        };
        let note = |connection: usize, number: usize| {
            answered[connection].store(begun[connection] + number + 1, Ordering::Relaxed);
        };
        thread::scope(|scope| {
            scope.spawn(|| load::until_it_is_gone(port, CONNECTIONS, batch, note));
            eventually(true, || {
                crowd.hear(Duration::ZERO);
                all() >= before + 2 * CONNECTIONS * BATCHES_EACH
            });
            server.power_cut();
        });
        crowd.resume(&server);
        let online = guests(&server);
        for (connection, answered) in answered.iter().enumerate() {
            let answered = answered.load(Ordering::Relaxed);
            for number in answered.saturating_sub(BATCHES_EACH)..answered {
                for guest in numbers(connection, number) {
                    let MemberKey::Guest(key) = guest_key(guest) else { panic!("a guest") };
                    let id = ids.id(&site, MemberKey::Guest(key), Timestamp::default());
                    let path = online[&id]["location"]["path"].as_str().unwrap();
                    let told: usize = path.split('/').nth(1).unwrap().parse().unwrap();
                    assert!(told >= number, "guest {guest} is on {path}, and batch {number} was answered");
                }
            }
        }
        let counts = || server.json("/_presence/v1/online.json?limit=0")["counts"].clone();
        crowd.converge(COUNTS, || View { query: COUNTS.into(), counts: counts(), ..View::default() });
    }
}

#[test]
fn killed_amid_page_views_it_tells_everything_that_was_told_before() {
    killed_amid_page_views(Shards::ONE);
}

#[test]
fn killed_amid_page_views_several_objects_tell_everything_that_was_told_before() {
    killed_amid_page_views(Shards::try_from(4).unwrap());
}

fn killed_amid_page_views(shards: Shards) {
    const CONNECTIONS: usize = 32;
    let origin = format!("http://127.0.0.1:{}", site::start());
    let setup = Setup::new().var("ORIGIN", &origin).var("SITE", "bench").var("SHARDS", &shards.count().to_string());
    let mut server = setup.var("PRESENCE_SECRET", "a-secret-of-thirty-two-characters").start();
    let pages = load::pages(|_| ("", String::new()));
    let sent = AtomicUsize::new(0);
    for _ in 0..KILLS {
        let port = server.port;
        let next = |_, _| pages[sent.fetch_add(1, Ordering::Relaxed) % pages.len()].clone();
        let (mut told, mut reads) = (HashMap::new(), 0);
        thread::scope(|scope| {
            scope.spawn(|| load::until_it_is_gone(port, CONNECTIONS, next, |_, _| {}));
            eventually(true, || {
                (told, reads) = (guests(&server), reads + 1);
                reads >= 10 && told.len() >= load::VISITORS / 2
            });
            server.power_cut();
        });
        let online = guests(&server);
        for (id, before) in &told {
            let now = &online[id];
            let last_seen = |guest: &Value| guest["last_seen"].as_str().unwrap().to_owned();
            assert!(last_seen(now) > last_seen(before) || now == before, "{now} was told before as {before}");
        }
    }
}

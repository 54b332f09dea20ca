//! What it takes to watch while nothing happens: memory, waking up, and how often that has to be.

use crate::batches::{driven, fill, guest, page};
use crate::crowd::{Crowd, most_watchers};
use crate::harness::{Server, Setup};
use crate::http::SECRET;
use crate::live::{ALL, SELDOM, heading, server, settle, visible};
use crate::load::Connection;
use crate::start::timed;
use std::time::{Duration, Instant};
use whos_online::presence::id::{TabId, UserId};
use whos_online::presence::member::{MemberKey, Signal, Touch};
use whos_online::presence::pulse;
use whos_online::presence::reports::Report;
use whos_online::presence::site::{Lease, Site};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

/// Prints it.
pub fn run() {
    println!("\nmany who watch while nothing happens, and then some joins");
    let most = most_watchers();
    for watchers in [5000, 10_000] {
        idle(watchers.min(most));
    }
    rebuild();
    println!("\nhow often the object is woken in ten minutes in which nothing happens, by the clock of a simulation");
    for watchers in [0, 1, 2, 100, 5000] {
        println!("{watchers:>8} watching: {}", wakes(watchers));
    }
}

fn idle(watchers: usize) {
    let least = Setup::script("tests/bench/workers/watch.js").object("WATCH", "WatchObject").start();
    let (_, least) = gather(&least, watchers);
    let server = server();
    let (mut crowd, memory) = gather(&server, watchers);
    let each = |bytes: usize| bytes as f64 / 1024.0 / watchers as f64;
    println!(
        "{watchers} watchers: {:.1} KB of memory each, {:.1} KB in JavaScript that does no more",
        each(memory),
        each(least)
    );
    crowd.say(|_| "ping".to_owned());
    heading();
    visible(&server, &mut crowd, SELDOM * 4, 5);
}

/// Has so many watch, and tells how much memory the runtime holds for them.
fn gather(server: &Server, watchers: usize) -> (Crowd, usize) {
    let mut first = Crowd::new();
    first.open(server, 1, ALL);
    settle(&mut first);
    let before = server.memory();
    let mut crowd = Crowd::new();
    crowd.open(server, watchers, ALL);
    settle(&mut crowd);
    (crowd, server.memory() - before)
}

/// Has the object sleep with so many members, and measures the first answer after that.
fn rebuild() {
    const MEMBERS: usize = 10_000;
    let server = driven(Setup::hooked().var("PRESENCE_SECRET", SECRET)).start();
    let mut crowd = Crowd::new();
    crowd.open(&server, 100, ALL);
    fill(server.beside.unwrap(), MEMBERS, |number| guest(number, page(number)));
    settle(&mut crowd);
    let mut connection = Connection::open(server.port);
    let mut ask = |limit: usize| timed(&mut connection, &format!("/_presence/v1/online.json?limit={limit}"));
    ask(1);
    let (built, start) = (server.built(), Instant::now());
    while start.elapsed() < Duration::from_secs(14) {
        crowd.hear(Duration::from_millis(100));
    }
    let asleep = ask(2);
    let awake = ask(3);
    assert_eq!(server.built(), built + 1, "it was not asleep");
    println!(
        "\nwith {MEMBERS} members and 100 watchers an answer takes {asleep:.1} ms after a sleep, {awake:.1} ms else"
    );
}

/// Goes through ten minutes as the object does: it wakes when somebody's time is over, and to look who has fallen
/// silent. Everybody sends a ping every 25 seconds, each at a time of their own.
fn wakes(watchers: u32) -> usize {
    let at = |millis: i64| Timestamp::from_millis(1_795_203_180_000 + millis);
    let key = |number: u32| MemberKey::User(UserId::parse(format!("user-{number}")).unwrap());
    let mut site = Site::new(Seconds(330), at(0));
    let touch = |number| Touch { tab: Some(TabId(1)), ..Touch::of(key(number)) };
    site.apply(
        at(0),
        (0..watchers.max(1))
            .map(|number| Report { age: Millis(0), signal: Signal::Touch(touch(number)) })
            .collect::<Vec<_>>(),
    );
    let heard = |number: u32, now: i64| {
        let phase = i64::from(number) * 25_000 / i64::from(watchers);
        at(((now - phase).div_euclid(25_000) * 25_000 + phase).max(0))
    };
    let (mut wakes, mut look) = (0, at(0).plus(pulse::SILENCE));
    loop {
        let deadline = site.deadline().filter(|_| watchers > 0);
        let Some(now) = deadline.into_iter().chain((watchers > 1).then_some(look)).min() else { return wakes };
        if now >= at(600_000) {
            return wakes;
        }
        wakes += 1;
        let millis = now.as_millis() - at(0).as_millis();
        let leases: Vec<_> =
            (0..watchers).map(|number| Lease { key: key(number), tab: TabId(1), at: heard(number, millis) }).collect();
        site.go_on(now, || leases.clone());
        if look <= now {
            look = pulse::next_look(leases.iter().map(|lease| lease.at).min().unwrap_or(now), now);
        }
        assert_eq!(site.counts().users, watchers as usize, "nobody is lost");
    }
}

//! What it costs to read. Each answer *cold*, when the site's object is asked as nobody has asked the same within the last
//! second, and *warm*, given again from the isolate's memory; beside answers that never change and are as long, and the
//! `ok` of `healthz`, which is what a request to wasm takes. All take turns, and a ratio is of two that were measured in the
//! same round.

use crate::batches::{driven, fill, guest, page, user, user_id};
use crate::harness::{Server, Setup};
use crate::load::{self, Connection, Load};
use crate::report::{Bar, Spread, bar, figure};
use std::time::Duration;

const PART: &str = "reading";
const CONNECTIONS: usize = 32;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(700);
/// More questions than are answered in a round.
const QUESTIONS: usize = 20_000;
pub const LIST: &str = "/_presence/v1/online.json?limit=100";
const COUNT: &str = "/_presence/v1/count.json";

/// Something to be asked.
struct Scenario {
    name: String,
    port: u16,
    requests: Vec<Vec<u8>>,
    /// How long an answer is.
    bytes: usize,
    rounds: Vec<Load>,
}

impl Scenario {
    fn warm(name: impl Into<String>, server: &Server, path: &str) -> Self {
        Self::of(name, server, std::iter::once(path.to_owned()))
    }

    /// A question of its own each time.
    fn cold(name: impl Into<String>, server: &Server, path: impl Fn(usize) -> String) -> Self {
        Self::of(name, server, (0..QUESTIONS).map(path))
    }

    fn of(name: impl Into<String>, server: &Server, paths: impl Iterator<Item = String>) -> Self {
        let mut paths = paths.peekable();
        let answer = server.by("10.9.9.9").get(paths.peek().unwrap());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let requests = paths.map(|path| format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes()).collect();
        Self { name: name.into(), port: server.port, requests, bytes: answer.body.len(), rounds: Vec::new() }
    }
}

/// Prints it.
pub fn run() {
    println!("\n{PART}: {CONNECTIONS} connections, {ROUNDS} rounds of {ROUND:?} in turns: the middle (least-most)");
    let (lists, counts) = ([100, 10_000, 100_000], [100, 1_000_000]);
    let with_users = lists.map(|members| filled(members, &|port| fill(port, members, user)));
    let guests = |port, members| fill(port, members, |number| guest(number, page(number)));
    let with_guests = counts.map(|members| filled(members, &|port| guests(port, members)));
    let bare = Setup::script("tests/bench/workers/static.js").start();
    let mut scenarios = Vec::new();
    for (server, members) in with_users.iter().zip(lists) {
        scenarios.push(Scenario::cold(list(members, "cold"), server, |number| ahead(LIST, number)));
        scenarios.push(Scenario::warm(list(members, "warm"), server, LIST));
    }
    for (server, members) in with_guests.iter().zip(counts) {
        // All who want the counts alone ask the same: so the cold question is for a list of nobody, with the counts.
        let nobody = "/_presence/v1/online.json?limit=0";
        scenarios.push(Scenario::cold(count(members, "cold"), server, |number| ahead(nobody, number)));
        scenarios.push(Scenario::warm(count(members, "warm"), server, COUNT));
    }
    let (named, members) = (&with_users[1], lists[1]);
    let user = |number: usize| format!("/_presence/v1/users/{}.json", user_id(number % members));
    scenarios.push(Scenario::cold("users/{id}.json of 10000, cold", named, user));
    scenarios.push(Scenario::warm("users/{id}.json of 10000, warm", named, &user(0)));
    scenarios.push(Scenario::warm("badge.svg of 10000, warm", named, "/_presence/badge.svg"));
    scenarios.push(Scenario::warm("this Worker, its own `ok`", named, "/_presence/healthz"));
    for warm in [list(10_000, "warm"), "badge.svg of 10000, warm".to_owned(), count(100, "warm")] {
        let bytes = scenarios.iter().find(|scenario| scenario.name == warm).unwrap().bytes;
        scenarios.push(Scenario::warm(in_javascript(bytes), &bare, &format!("/{bytes}")));
    }
    measure(&mut scenarios);
    for (server, members) in with_users.iter().zip(lists).chain(with_guests.iter().zip(counts)) {
        assert_eq!(server.json(COUNT)["total"], members, "all of them are still here");
    }
    print(&scenarios);
}

fn list(members: usize, how: &str) -> String {
    format!("online.json, 100 of {members}, {how}")
}

fn count(members: usize, how: &str) -> String {
    format!("{} of {members}, {how}", if how == "cold" { "the counts" } else { "count.json" })
}

fn in_javascript(bytes: usize) -> String {
    format!("a Worker in JavaScript, {bytes} bytes")
}

/// The question for what comes after somebody who was there later than anybody: all of it, as without that, but it is a
/// question of its own.
pub fn ahead(path: &str, number: usize) -> String {
    format!("{path}&cursor={:x}.{number:x}", 4_000_000_000_000_u64)
}

/// A site with so many online.
fn filled(members: usize, fill: &dyn Fn(u16)) -> Server {
    let server = driven(Setup::new()).start();
    fill(server.beside.unwrap());
    assert_eq!(server.json(COUNT)["total"], members, "all of them are here");
    server
}

fn measure(scenarios: &mut [Scenario]) {
    for round in 0..=ROUNDS {
        for scenario in &mut *scenarios {
            // Whom nobody asked for ten seconds is asleep: how long it takes to wake is measured by `start`.
            assert_eq!(Connection::open(scenario.port).ask(scenario.requests.last().unwrap()), 200);
            let load = load::run(scenario.port, CONNECTIONS, ROUND, &scenario.requests);
            assert_eq!(load.refused, 0, "{}", scenario.name);
            let answered = (load.rate * ROUND.as_secs_f64()) as usize;
            assert!(scenario.requests.len() == 1 || answered < QUESTIONS, "{}: asked twice", scenario.name);
            // The first one is for getting warm.
            scenario.rounds.extend((round > 0).then_some(load));
        }
    }
}

fn print(scenarios: &[Scenario]) {
    let named = |name: &str| scenarios.iter().find(|scenario| scenario.name == name).unwrap();
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{:<40} {:>7} {:>28} {:>8} {:>8}", "", "bytes", "answers/s", "ms", "99%");
    for scenario in scenarios {
        let of = |figure: &dyn Fn(&Load) -> f64| Spread::of(scenario.rounds.iter().map(figure));
        let (rate, median) = (of(&|round| round.rate), of(&|round| millis(round.median)));
        let late = of(&|round| millis(round.late));
        let Spread { middle, least, most } = rate;
        let text = format!("{middle:.0} ({least:.0}-{most:.0})");
        println!("{:<40} {:>7} {text:>28} {:>8.2} {:>8.2}", scenario.name, scenario.bytes, median.middle, late.middle);
        for (unit, spread) in [("answers/s", rate), ("ms, median", median), ("ms, 99%", late)] {
            figure(PART, &scenario.name, unit, spread);
        }
    }
    let (few, many) = (count(100, "warm"), count(1_000_000, "warm"));
    let still = in_javascript(named(&few).bytes);
    let cold = count(100, "cold");
    for (what, one, other) in [
        ("count.json warm, against a Worker in JavaScript", &few, still.as_str()),
        ("count.json warm, of 1000000 against of 100", &many, &few),
        ("the counts cold, of 1000000 against of 100", &count(1_000_000, "cold"), &cold),
    ] {
        bar(PART, what, "times", ratio(named(one), named(other)), Bar::AtLeast(0.9));
    }
}

/// How many times as many answers a second.
fn ratio(scenario: &Scenario, other: &Scenario) -> Spread {
    Spread::of(scenario.rounds.iter().zip(&other.rounds).map(|(round, other)| round.rate / other.rate))
}

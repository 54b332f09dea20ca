//! What it costs to spread a site over several objects: the same work for one that is kept by a single object and for one
//! that is kept by four, in turns. All of them share this machine's processors, so that what is found is what splitting
//! costs, and nothing of what several machines would gain.

use crate::batches::{BATCH, driven, fill_over, guest, guest_key, page, request_to, user};
use crate::crowd::{Crowd, most_watchers};
use crate::harness::{Server, Setup};
use crate::http::SECRET;
use crate::live::{ALL, Found, OFTEN, heading, visible};
use crate::load;
use crate::reading::{LIST, ahead};
use crate::report::{Spread, figure};
use serde_json::json;
use std::time::Duration;
use whos_online::presence::shards::Shards;

const PART: &str = "over several objects";
const OBJECTS: [u32; 2] = [1, 4];
const ROUNDS: usize = 3;
/// How many guests are told of, and how many users are listed.
const GUESTS: usize = 100_000;
const USERS: usize = 10_000;
const WATCHERS: usize = 2000;
const JOINS: usize = 400;

/// Prints it.
pub fn run() {
    assert!(most_watchers() >= WATCHERS, "allow more open files: see `ulimit -Hn`");
    println!(
        "\n{PART}: what splitting costs where all share two processors; {ROUNDS} rounds in turns: the middle (least-most)"
    );
    println!("{:<58} {:>26} {:>26}", "", "one object", "four objects");
    ingest();
    reading();
    live();
}

/// Batches of a thousand guests as four recorders send them: to each object what is for it, to all at once.
fn ingest() {
    let sites = OBJECTS.map(|count| {
        let (shards, server) = site(count);
        let requests: Vec<_> = (0..GUESTS / BATCH).flat_map(|number| batch(number, shards)).collect();
        let mut first = load::Connection::open(server.beside.unwrap());
        requests.iter().for_each(|request| assert_eq!(first.ask(request), 200));
        let online = server.json("/_presence/v1/online.json?limit=0");
        assert_eq!(online["counts"]["guests"], json!(GUESTS), "all of them are here");
        (server, requests, 4 * count as usize)
    });
    told(
        &format!("{GUESTS} guests, batches of {BATCH} split"),
        "touches/s",
        &rounds(&sites, |(server, requests, connections)| {
            let load = load::run(server.beside.unwrap(), *connections, Duration::from_secs(3), requests);
            assert_eq!(load.refused, 0);
            load.rate * GUESTS as f64 / requests.len() as f64
        }),
    );
}

/// Lists that nobody has asked for within the last second.
fn reading() {
    const QUESTIONS: usize = 20_000;
    let sites = OBJECTS.map(|count| {
        let (shards, server) = site(count);
        fill_over(shards, server.beside.unwrap(), USERS, user);
        let question = |number| format!("GET {} HTTP/1.1\r\nhost: bench\r\n\r\n", ahead(LIST, number)).into_bytes();
        (server, (0..QUESTIONS).map(question).collect::<Vec<_>>())
    });
    let loads = rounds(&sites, |(server, questions)| {
        let load = load::run(server.port, 32, Duration::from_secs(1), questions);
        assert_eq!(load.refused, 0);
        load
    });
    let of = |figure: &dyn Fn(&load::Load) -> f64| loads.each_ref().map(|loads| loads.iter().map(figure).collect());
    let what = format!("online.json, 100 of {USERS}, cold");
    told(&what, "answers/s", &of(&|load| load.rate));
    told(&format!("{what}, in the median"), "ms", &of(&|load| load.median.as_secs_f64() * 1000.0));
    told(&format!("{what}, for 99 of 100"), "ms", &of(&|load| load.late.as_secs_f64() * 1000.0));
}

/// Joins that are told to many: by the object itself where there is one, else by relays.
fn live() {
    println!("each round of these, of one object and of four, each time of a site that nobody has been to");
    heading();
    let found = rounds(&OBJECTS, |count| {
        let server = Setup::new().var("SITE", "bench").var("PRESENCE_SECRET", SECRET);
        let server = server.var("SHARDS", &count.to_string()).start();
        let mut crowd = Crowd::new();
        crowd.open(&server, WATCHERS, ALL);
        visible(&server, &mut crowd, OFTEN, JOINS)
    });
    let of = |figure: &dyn Fn(&Found) -> f64| found.each_ref().map(|found| found.iter().map(figure).collect());
    let what = format!("{WATCHERS} watchers, a join every {} ms, visible", OFTEN.as_millis());
    told(&format!("{what}, in the median"), "ms", &of(&|found| found.median));
    told(&format!("{what}, for 99 of 100"), "ms", &of(&|found| found.late));
}

/// A site over so many objects, which are sent batches.
fn site(count: u32) -> (Shards, Server) {
    (Shards::try_from(count).unwrap(), driven(Setup::new().var("SHARDS", &count.to_string())).start())
}

/// A batch of guests, as so many requests as there are objects that it tells anything.
fn batch(number: usize, shards: Shards) -> Vec<Vec<u8>> {
    let guests = || number * BATCH..(number + 1) * BATCH;
    let of = |home| guests().filter(move |guest| shards.home(guest_key(*guest).borrow()) == home);
    shards.all().map(|home| request_to(home, of(home).map(|number| (0, guest(number, page(number)))))).collect()
}

/// Measures each of two in turns.
fn rounds<S, T>(sites: &[S; 2], measure: impl Fn(&S) -> T) -> [Vec<T>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        found.iter_mut().zip(sites).for_each(|(found, site)| found.push(measure(site)));
    }
    found
}

fn told(what: &str, unit: &str, found: &[Vec<f64>; 2]) {
    let spreads = found.each_ref().map(|found| Spread::of(found.iter().copied()));
    let text = spreads.map(|Spread { middle, least, most }| format!("{middle:.0} ({least:.0}-{most:.0})"));
    println!("{:<58} {:>26} {:>26}", format!("{what}, {unit}"), text[0], text[1]);
    for (count, spread) in OBJECTS.iter().zip(spreads) {
        figure(PART, &format!("{what}, SHARDS={count}"), unit, spread);
    }
}

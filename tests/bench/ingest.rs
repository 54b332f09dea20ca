//! How many touches one object takes, durably: in batches of a thousand as recorders send them, beside an object that
//! writes a row for each, and a Redis sorted set that is told by pipelines of a thousand and keeps nothing on disk.

use crate::batches::{BATCH, guest, page, request};
use crate::django::Redis;
use crate::harness::{FIREFOX, Setup};
use crate::load;
use crate::report::{Bar, Spread, bar, figure};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const PART: &str = "ingest of one object";
const CONNECTIONS: usize = 4;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);
/// At so many members the bars are told.
const JUDGED: usize = 100_000;

/// Prints it.
pub fn run() {
    println!("\n{PART}: batches of {BATCH}, {ROUNDS} rounds of {ROUND:?} in turns: the middle (least-most)");
    println!("{:>10} {:>26} {:>26} {:>26}", "members", "touches/s", "a row for each", "Redis, a sorted set");
    for members in [1000, JUDGED, 1_000_000] {
        measure(members);
    }
}

fn measure(members: usize) {
    let server = Setup::new().var("SITE", "bench").beside("tests/bench/workers/driver.js").start();
    let batches: Vec<_> = (0..members / BATCH).map(|number| batch(number, members)).collect();
    let port = server.beside.unwrap();
    let mut first = load::Connection::open(port);
    for batch in &batches {
        assert_eq!(first.ask(batch), 200);
    }
    let online = server.json("/_presence/v1/online.json?limit=0");
    assert_eq!(online["counts"]["guests"], json!(members), "all of them are here");

    let upsert = Setup::script("tests/bench/workers/upsert.js").object("UPSERT", "Upsert").var("ORIGIN", "http://none");
    let upsert = upsert.start();
    let hits: Vec<_> = (0..members.min(JUDGED)).map(hit).collect();
    let redis = Redis::start();
    let (mut ours, mut rows, mut sets) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let load = load::run(port, CONNECTIONS, ROUND, &batches);
        assert_eq!(load.refused, 0);
        ours.push(load.rate * BATCH as f64);
        let load = load::run(upsert.port, 32, ROUND, &hits);
        assert_eq!(load.refused, 0);
        rows.push(load.rate);
        sets.push(pipelined(&redis, members));
    }
    let spreads = [&ours, &rows, &sets].map(|rates| Spread::of(rates.iter().copied()));
    let text = spreads.map(|Spread { middle, least, most }| format!("{middle:.0} ({least:.0}-{most:.0})"));
    println!("{members:>10} {:>26} {:>26} {:>26}", text[0], text[1], text[2]);
    for (name, spread) in ["in batches", "a row for each", "Redis"].into_iter().zip(spreads) {
        figure(PART, &format!("{members} members, {name}"), "touches/s", spread);
    }
    if members == JUDGED {
        bar(PART, &format!("{members} members"), "touches/s", spreads[0], Bar::AtLeast(1_000_000.0));
        let times = Spread::of(ours.iter().zip(&rows).map(|(ours, rows)| ours / rows));
        bar(PART, &format!("{members} members, against a row for each"), "times", times, Bar::AtLeast(100.0));
    }
}

/// The guests of a batch, each on one of 500 pages.
fn batch(number: usize, members: usize) -> Vec<u8> {
    let numbers = (number * BATCH..(number + 1) * BATCH).map(|number| (number % members, page(number)));
    request(numbers.map(|(number, page)| (0, guest(number, page))))
}

fn hit(visitor: usize) -> Vec<u8> {
    format!("GET /hit?visitor=visitor-{visitor} HTTP/1.1\r\nhost: bench\r\nuser-agent: {FIREFOX}\r\n\r\n").into_bytes()
}

/// How many touches a second a sorted set takes from one client that waits for each pipeline's answers.
fn pipelined(redis: &Redis, members: usize) -> f64 {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port)).unwrap();
    let mut answers = BufReader::with_capacity(1 << 16, stream.try_clone().unwrap());
    let (start, mut sent, mut line) = (Instant::now(), 0, String::new());
    while start.elapsed() < ROUND {
        let mut pipeline = String::new();
        for _ in 0..BATCH {
            let member = format!("visitor-{}", sent % members);
            let score = (sent / members).to_string();
            let (score_length, length) = (score.len(), member.len());
            pipeline +=
                &format!("*4\r\n$4\r\nZADD\r\n$6\r\nonline\r\n${score_length}\r\n{score}\r\n${length}\r\n{member}\r\n");
            sent += 1;
        }
        stream.write_all(pipeline.as_bytes()).unwrap();
        for _ in 0..BATCH {
            line.clear();
            answers.read_line(&mut line).unwrap();
            assert!(line.starts_with(':'), "{line}");
        }
    }
    sent as f64 / start.elapsed().as_secs_f64()
}

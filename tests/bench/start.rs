//! What it takes to begin: from nothing to the first visitor who is recorded, from a stop to the first answer of an object
//! that has to remember many, and how much there is to load.

use crate::batches::{driven, fill, guest, page};
use crate::harness::{Server, Setup};
use crate::load::{Connection, touch};
use crate::report::{Bar, Spread, bar, figure};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

const PART: &str = "start";
const ROUNDS: usize = 9;
/// With so many members the bar is told.
const JUDGED: usize = 100_000;

/// Prints it.
pub fn run() {
    println!("\n{PART}: {ROUNDS} rounds in turns: the middle (least-most), in milliseconds");
    first_record();
    wake();
    sizes();
}

/// Milliseconds until a path was answered.
pub fn timed(connection: &mut Connection, path: &str) -> f64 {
    let start = Instant::now();
    assert_eq!(connection.ask(format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").as_bytes()), 200);
    millis(start)
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

/// From spawning the runtime until a visitor was recorded and is told of; beside the first answer of a bare Worker.
fn first_record() {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let server = Setup::new().var("SITE", "bench").start();
        assert_eq!(Connection::open(server.port).ask(&touch("10.0.0.1", "", r#"{"path":"/"}"#)), 204);
        assert_eq!(server.json("/_presence/v1/count.json")["guests"], 1);
        ours.push(millis(start));
        let start = Instant::now();
        let server = Setup::script("tests/bench/workers/static.js").start();
        timed(&mut Connection::open(server.port), "/15");
        bare.push(millis(start));
    }
    told("from starting the runtime to a visitor who is recorded and told of", ours);
    told("from starting the runtime to a bare Worker's first answer", bare);
}

/// The first list after a stop, beyond what it takes where nobody is online.
fn wake() {
    let mut servers = [0, 10_000, JUDGED, 1_000_000].map(|members| {
        let server = driven(Setup::new()).start();
        fill(server.beside.unwrap(), members, |number| guest(number, page(number)));
        (server, members, Vec::new())
    });
    for _ in 0..ROUNDS {
        for (server, members, times) in &mut servers {
            times.push(first_list(server, *members));
        }
    }
    let [(.., empty), rest @ ..] = servers;
    told("the first list after a stop, with nobody online", empty.clone());
    for (_, members, times) in rest {
        let beyond: Vec<_> = times.iter().zip(&empty).map(|(time, empty)| time - empty).collect();
        let what = format!("the same with {members} online, beyond that");
        match members {
            JUDGED => bar(PART, &what, "ms", Spread::of(beyond), Bar::AtMost(250.0)),
            _ => told(&what, beyond),
        }
    }
}

fn first_list(server: &mut Server, members: usize) -> f64 {
    server.power_cut();
    let mut connection = Connection::open(server.port);
    // What is measured is the object, not the isolate that asks it.
    timed(&mut connection, "/_presence/healthz");
    let time = timed(&mut connection, "/_presence/v1/online.json?kind=guest&limit=100");
    assert_eq!(server.json("/_presence/v1/count.json")["guests"], members, "all of them are back");
    time
}

fn told(what: &str, times: Vec<f64>) {
    let spread @ Spread { middle, least, most } = Spread::of(times);
    println!("  {what:<66} {middle:>9.2} ({least:.2}-{most:.2}) ms");
    figure(PART, what, "ms", spread);
}

/// How much an isolate loads, and a page.
fn sizes() {
    println!("{:<24} {:>9} {:>9}", "bytes", "raw", "gzip");
    for file in ["build/index_bg.wasm", "build/index.js", "www/widget.js", "www/client.js"] {
        let raw = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&raw).unwrap();
        let gzip = gzip.finish().unwrap().len();
        println!("{file:<24} {:>9} {gzip:>9}", raw.len());
        for (what, bytes) in [("raw", raw.len()), ("gzip", gzip)] {
            figure(PART, &format!("{file}, {what}"), "bytes", Spread::of([bytes as f64]));
        }
    }
}

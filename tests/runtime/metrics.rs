//! What was done, in numbers, for whoever runs the site.

use crate::batches::{guest, page, request};
use crate::harness::*;
use crate::load::Connection;
use std::collections::BTreeMap;

pub const ADMIN: &str = "Bearer 0123456789abcdef0123456789abcdef";

fn setup() -> Setup {
    readable(Setup::new())
}

/// With a token to read the metrics by.
pub fn readable(setup: Setup) -> Setup {
    setup.var("ADMIN_TOKEN", ADMIN.trim_start_matches("Bearer "))
}

/// Each line by its name, and its labels but for the site.
pub fn metrics(server: &Server) -> BTreeMap<String, f64> {
    metrics_told_to(server.by("10.0.0.9"))
}

/// The same as somebody is told it.
pub fn metrics_told_to(client: Client) -> BTreeMap<String, f64> {
    let answer = client.with("authorization", ADMIN).get("/_presence/metrics");
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("private, no-store")));
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let told = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = name.strip_suffix('}').unwrap().split_once('{').unwrap();
        let labels = labels.split_once(',').map_or("", |(_, labels)| labels);
        (format!("{}{labels}", name.strip_prefix("whos_online_").unwrap()), value.parse().unwrap())
    });
    told.collect()
}

#[test]
fn what_was_done_is_told_to_the_sites_servers_alone() {
    let server = setup().start();
    let asked = |token: Option<&str>| match token {
        Some(token) => server.by("10.0.0.1").with("authorization", token).get("/_presence/metrics").status,
        None => server.by("10.0.0.1").get("/_presence/metrics").status,
    };
    assert_eq!((asked(None), asked(Some("Bearer wrong")), asked(Some(ADMIN))), (401, 401, 200));
    assert_eq!(server.by("10.0.0.1").with("authorization", ADMIN).post("/_presence/metrics", "").status, 405);
}

#[test]
fn what_was_done_is_counted_across_restarts() {
    let server = setup().start();
    for (address, page) in [("10.0.0.1", "/a"), ("10.0.0.1", "/a"), ("10.0.0.1", "/b"), ("10.0.0.2", "/a")] {
        server.by(address).touch(&format!(r#"{{"path":"{page}"}}"#));
    }
    // A read waits for the object to have taken the batch.
    assert_eq!(server.json("/_presence/v1/online.json?limit=0")["counts"]["guests"], 2);
    let told = metrics(&server);
    let totals = ["signals_received_total", "signals_suppressed_total", "signals_shed_total", "batch_signals_sum"];
    assert_eq!(totals.map(|name| told[name]), [4.0, 1.0, 0.0, 3.0]);
    assert_eq!((told["memberskind=\"guest\""], told["members_peak"], told["wakes_total"]), (2.0, 2.0, 1.0));
    assert!(told["rows_written_total"] >= 1.0);
    let server = server.kill_and_restart();
    for (address, guests) in [("10.0.0.3", 3), ("10.0.0.4", 4)] {
        server.by(address).touch("{}");
        eventually(guests, || server.json("/_presence/v1/online.json?limit=0")["counts"]["guests"].as_u64().unwrap());
    }
    let told = metrics(&server);
    assert_eq!((told["signals_received_total"], told["wakes_total"]), (6.0, 2.0));
    assert_eq!(told["batch_seconds_count"], 1.0, "how long the last one took is told with the next");
}

#[test]
fn batches_that_come_together_are_stored_together_and_what_was_answered_outlives_a_kill() {
    const BATCHES: usize = 64;
    const EACH: usize = 100;
    let server = setup().var("SITE", "bench").beside("tests/bench/workers/driver.js").start();
    let port = server.beside.unwrap();
    std::thread::scope(|scope| {
        for number in 0..BATCHES {
            scope.spawn(move || {
                let guests = number * EACH..(number + 1) * EACH;
                let batch = request(guests.map(|number| (0, guest(number, page(number)))));
                assert_eq!(Connection::open(port).ask(&batch), 200);
            });
        }
    });
    let server = server.kill_and_restart();
    assert_eq!(server.json("/_presence/v1/online.json?limit=0")["counts"]["guests"], BATCHES * EACH);
    let told = metrics(&server);
    assert_eq!((told["batch_signals_count"], told["batch_signals_sum"]), (BATCHES as f64, (BATCHES * EACH) as f64));
    assert!(told["rows_written_total"] <= BATCHES as f64 + 3.0, "with the secret, and the alarm for the sweep");
}

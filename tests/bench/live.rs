//! What it takes to keep those who watch up to date: the shipped Worker on the real runtime, with real connections, all
//! of them read by one thread beside it. What that thread adds is in the figures.

use crate::crowd::Crowd;
use crate::harness::{FIREFOX, Server, Setup};
use crate::http::{SECRET, id, token};
use crate::load::Connection;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const ALL: &str = "?limit=1000";
/// So many connections bring those who join.
const SENDERS: usize = 8;

/// Prints it.
pub fn run() {
    println!("\njoin to visible, by a touch over HTTP, at every watcher");
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>10} {:>20} {:>14}",
        "watchers", "joins/s", "ms", "99% ms", "most ms", "joins", "bytes/join/watcher", "beyond member"
    );
    for (watchers, every, joins) in [(1, 500, 30), (100, 500, 30), (1, 10, 1000), (100, 10, 1000), (2000, 10, 1000)] {
        visible(watchers, Duration::from_millis(every), joins);
    }
}

fn server() -> Server {
    Setup::new().var("SITE", "bench").var("PRESENCE_SECRET", SECRET).start()
}

/// Has users join, one each time, and measures when each watcher knows.
fn visible(watchers: usize, every: Duration, joins: usize) {
    let server = server();
    let mut crowd = Crowd::new();
    crowd.open(&server, watchers, ALL);
    settle(&mut crowd);
    let sent = Mutex::new(HashMap::new());
    let over = AtomicBool::new(false);
    let (mut taken, mut bytes, mut members) = (Vec::new(), 0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            join(server.port, every, joins, &sent);
            over.store(true, Ordering::Relaxed);
        });
        let mut last = Instant::now();
        while !over.load(Ordering::Relaxed) || last.elapsed() < Duration::from_secs(2) {
            for heard in crowd.hear(Duration::from_millis(50)) {
                bytes += heard.bytes;
                members += heard.news.members;
                let sent = sent.lock().unwrap();
                taken.extend(heard.news.joins.iter().map(|id| heard.at - sent[&**id]));
                last = Instant::now();
            }
        }
    });
    assert!(crowd.closed().is_empty(), "{:?}", crowd.closed());
    assert_eq!(taken.len(), joins * watchers, "every watcher has seen every join");
    taken.sort_unstable();
    let at = |part: usize| taken[(taken.len() * part / 100).min(taken.len() - 1)].as_secs_f64() * 1000.0;
    println!(
        "{watchers:>8} {:>8.0} {:>8.0} {:>8.0} {:>8.0} {joins:>10} {:>20.0} {:>14.0}",
        1.0 / every.as_secs_f64(),
        at(50),
        at(99),
        at(100),
        bytes as f64 / taken.len() as f64,
        (bytes - members) as f64 / taken.len() as f64,
    );
}

/// Hears what there is to hear of those who have come to watch.
fn settle(crowd: &mut Crowd) {
    let mut last = Instant::now();
    while last.elapsed() < Duration::from_secs(1) {
        if !crowd.hear(Duration::from_millis(50)).is_empty() {
            last = Instant::now();
        }
    }
}

/// Users come, one after the other, evenly; when is noted by who.
fn join(port: u16, every: Duration, joins: usize, sent: &Mutex<HashMap<String, Instant>>) {
    let start = Instant::now();
    let one = |first: usize| {
        let mut connection = Connection::open(port);
        for number in (first..joins).step_by(SENDERS) {
            let request = touch(number);
            thread::sleep((every * number as u32).saturating_sub(start.elapsed()));
            sent.lock().unwrap().insert(id(number), Instant::now());
            assert_eq!(connection.ask(&request), 204);
        }
    };
    thread::scope(|scope| (0..SENDERS).for_each(|first| drop(scope.spawn(move || one(first)))));
}

/// The touch of a user who has not been here before.
fn touch(number: usize) -> Vec<u8> {
    let body = r#"{"path":"/forum/topic/42","title":"A topic of the forum"}"#;
    format!(
        "POST /_presence/v1/touch HTTP/1.1\r\nhost: bench\r\nuser-agent: {FIREFOX}\r\ncf-connecting-ip: 10.0.0.1\r\n\
         authorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        token(number),
        body.len()
    )
    .into_bytes()
}

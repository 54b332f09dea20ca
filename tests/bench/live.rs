//! What it takes to keep those who watch up to date: the shipped Worker on the real runtime, with real connections, all
//! of them read by one thread beside it. What that thread adds is in the figures.

use crate::crowd::{Crowd, most_watchers};
use crate::harness::{Server, Setup};
use crate::http::{SECRET, id, token};
use crate::load::{Connection, touch};
use crate::report::{Bar, Spread, bar};
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub const ALL: &str = "?limit=1000";
/// How far apart joins are: when it is quiet, and when it is not.
pub const SELDOM: Duration = Duration::from_millis(500);
pub const OFTEN: Duration = Duration::from_millis(10);
/// So many connections bring those who join.
const SENDERS: usize = 8;

/// How many milliseconds it may take, by how many watch and how far apart joins are: in the median, and for 99 of 100.
const BARS: [(usize, Duration, f64, Option<f64>); 2] = [(100, SELDOM, 20.0, None), (2000, OFTEN, 200.0, Some(450.0))];
/// How many bytes a join may take at a watcher, beyond what is told of the member.
const MOST_OVERHEAD: f64 = 120.0;

/// What was measured: milliseconds, and bytes for each join at each watcher beyond the member.
pub struct Found {
    pub median: f64,
    pub late: f64,
    overhead: f64,
}

/// Prints it.
pub fn run() {
    assert!(most_watchers() >= 2000, "allow more open files: see `ulimit -Hn`");
    println!("\njoin to visible: from a touch over HTTP until a watcher knows, for every join at every watcher");
    heading();
    let mut judged = Vec::new();
    for (watchers, every) in [(1, SELDOM), (100, SELDOM), (1, OFTEN), (100, OFTEN), (2000, OFTEN)] {
        let server = server();
        let mut crowd = Crowd::new();
        crowd.open(&server, watchers, ALL);
        let found = visible(&server, &mut crowd, every, if every == OFTEN { 1000 } else { 30 });
        judged.push((watchers, every, found));
    }
    for (watchers, every, found) in judged {
        let told = |what: &str, unit: &str, figure: f64, most: f64| {
            let what = format!("{watchers} watchers, a join every {} ms, {what}", every.as_millis());
            bar("join to visible", &what, unit, Spread::of([figure]), Bar::AtMost(most));
        };
        for (.., median, late) in BARS.iter().filter(|(of, at, ..)| (*of, *at) == (watchers, every)) {
            told("in the median", "ms", found.median, *median);
            late.iter().for_each(|late| told("for 99 of 100", "ms", found.late, *late));
        }
        told("beyond the member", "bytes", found.overhead, MOST_OVERHEAD);
    }
    messages();
}

/// The heads of what [`visible`] prints.
pub fn heading() {
    println!(
        "{:>8} {:>8} {:>9} {:>8} {:>8} {:>19} {:>14}",
        "watchers", "joins/s", "median ms", "99% ms", "most ms", "bytes/join/watcher", "beyond member"
    );
}

/// The shipped Worker.
pub fn server() -> Server {
    Setup::new().var("SITE", "bench").var("PRESENCE_SECRET", SECRET).start()
}

/// Has users join, one each time, and measures when each watcher knows.
pub fn visible(server: &Server, crowd: &mut Crowd, every: Duration, joins: usize) -> Found {
    let watchers = crowd.len();
    settle(crowd);
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
    let each = |bytes: usize| bytes as f64 / taken.len() as f64;
    let found = Found { median: at(50), late: at(99), overhead: each(bytes - members) };
    println!(
        "{watchers:>8} {:>8.0} {:>9.0} {:>8.0} {:>8.0} {:>19.0} {:>14.0}",
        1.0 / every.as_secs_f64(),
        found.median,
        found.late,
        at(100),
        each(bytes),
        found.overhead,
    );
    found
}

/// Has everybody say as much at once as they may, and measures until all of it is known.
fn messages() {
    const SPEAKERS: usize = 2000;
    const EACH: usize = 20;
    let server = server();
    let mut crowd = Crowd::of_many();
    crowd.open(&server, 1, "?view=count&path=/last");
    crowd.open(&server, SPEAKERS, "?view=count");
    settle(&mut crowd);
    let start = Instant::now();
    for number in 1..=EACH {
        let path = if number == EACH { "last".to_owned() } else { number.to_string() };
        crowd.say(|tab| format!(r#"{{"type":"touch","tab":"{tab}","path":"/{path}"}}"#));
        crowd.hear(Duration::ZERO);
    }
    while crowd.views().next().is_some_and(|view| view.counts["total"] != SPEAKERS + 1) {
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", crowd.views().next());
        crowd.hear(Duration::from_millis(50));
    }
    let messages = (SPEAKERS + 1) * EACH;
    println!(
        "\n{:.0} touches a second are taken from {SPEAKERS} sockets at once",
        messages as f64 / start.elapsed().as_secs_f64()
    );
}

/// Hears what there is to hear of those who have come to watch.
pub fn settle(crowd: &mut Crowd) {
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
        for number in (first..joins).step_by(SENDERS) {
            let by = format!("authorization: Bearer {}\r\n", token(number));
            let request = touch("10.0.0.1", &by, r#"{"path":"/forum/topic/42","title":"A topic of the forum"}"#);
            thread::sleep((every * number as u32).saturating_sub(start.elapsed()));
            sent.lock().unwrap().insert(id(number), Instant::now());
            // One that is kept would be closed meanwhile where joins are far apart.
            assert_eq!(Connection::open(port).ask(&request), 204);
        }
    };
    thread::scope(|scope| (0..SENDERS).for_each(|first| drop(scope.spawn(move || one(first)))));
}

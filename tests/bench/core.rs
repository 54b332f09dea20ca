//! What the core costs, natively, and how that grows with the number of members.

use std::hint::black_box;
use std::time::Instant;
use whos_online::presence::id::{GuestKey, PagePath};
use whos_online::presence::member::{Kind, MemberKey, Place, Signal, State, Touch};
use whos_online::presence::site::{Filter, Report, Site};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

const WINDOW: Seconds = Seconds(330);
const BATCH: u64 = 1000;

/// Prints it.
pub fn run() {
    println!("{:>10} {:>12} {:>12} {:>14} {:>14}", "members", "ns/touch", "us/list 100", "ms/restart", "bytes/touch");
    for members in [1_000, 10_000, 100_000, 1_000_000] {
        measure(members);
    }
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + i64::try_from(millis).unwrap_or(0))
}

/// Each of the members is touched once in a minute, in a shuffled order, in batches of a thousand.
fn batch(first: u64, members: u64) -> Vec<Report> {
    let touch = |number: u64| {
        // A multiplication by an odd number permutes what is below a power of two; here it only has to spread.
        let guest = number.wrapping_mul(2_654_435_761) % members;
        let path = PagePath::parse(format!("/page/{}", guest % 500)).ok();
        let place = path.map(|path| Place { path, title: None, topic: None });
        let key = MemberKey::Guest(GuestKey(guest));
        Report {
            age: Millis(0),
            signal: Signal::Touch(Touch {
                key,
                was: None,
                profile: None,
                said: None,
                place,
                tab: None,
                state: State::Online,
            }),
        }
    };
    (first..first + BATCH).map(touch).collect()
}

fn measure(members: u64) {
    let mut site = Site::new(WINDOW, at(0));
    let mut rows = std::collections::BTreeMap::new();
    let batches = (members * 2 / BATCH).max(100);
    let (mut spent, mut bytes) = (std::time::Duration::ZERO, 0);
    for number in 0..batches {
        let reports = batch(number * BATCH, members);
        let start = Instant::now();
        let outcome = site.apply(at(number * 120_000 / batches), reports);
        spent += start.elapsed();
        for write in outcome.writes {
            bytes += write.data.len();
            rows.insert(write.slot, write.data);
        }
    }
    let touches = (batches * BATCH) as f64;
    let start = Instant::now();
    for _ in 0..100 {
        black_box(site.list(Kind::Guest, &Filter::default(), None, 100));
    }
    let list = start.elapsed() / 100;
    let start = Instant::now();
    let (restored, _, _) = Site::restore(WINDOW, rows, at(120_000), &[]);
    let restart = start.elapsed();
    assert_eq!(restored.counts(), site.counts());
    println!(
        "{:>10} {:>12.0} {:>12.1} {:>14.1} {:>14.1}",
        site.counts().guests,
        spent.as_nanos() as f64 / touches,
        list.as_nanos() as f64 / 1000.0,
        restart.as_secs_f64() * 1000.0,
        bytes as f64 / touches
    );
}

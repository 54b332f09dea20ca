//! What the core costs, natively, and how that grows with the number of members; beside what one could take instead: a
//! map with a sorted set of times, and a map that is looked through.

use crate::ALLOCATED;
use crate::report::{Bar, Spread, bar, figure};
use criterion::Criterion;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hint::black_box;
use std::time::{Duration, Instant};
use whos_online::presence::id::{GuestKey, PagePath, TabId};
use whos_online::presence::member::{Kind, MemberKey, Place, Signal, State, Touch};
use whos_online::presence::record::{Batch, decode};
use whos_online::presence::reports::{Report, Reports};
use whos_online::presence::site::{Filter, Site};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

const WINDOW: Seconds = Seconds(330);
const BATCH: u64 = 1000;
const PAGES: u64 = 500;
/// How far apart two batches are: a million members have their turn well within the window.
const APART: u64 = 250;
const SIZES: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Where criterion keeps what it found.
const FOUND: &str = "target/criterion";

/// Measures it, and prints a table.
pub fn run() {
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .output_directory(FOUND.as_ref());
    let table: Vec<_> = SIZES.iter().map(|members| (members, measure(&mut criterion, *members))).collect();
    println!(
        "\nthe core alone, in nanoseconds: of a touch, of a leaver, of a member written, read, and put back; and of a list"
    );
    println!(
        "{:>9} {:>16} {:>16} {:>17} {:>7} {:>7} {:>7} {:>28} {:>7}",
        "members",
        "touch",
        "as sorted set",
        "as map alone",
        "encode",
        "decode",
        "replay",
        "list 100: ours, set, map",
        "bytes"
    );
    for (members, found) in &table {
        let one = |name: &str| found[name].middle;
        println!(
            "{members:>9} {:>8.0} {:>7.0} {:>8.0} {:>7.0} {:>9.0} {:>7.0} {:>7.0} {:>7.0} {:>7.0} {:>10.0} {:>8.0} {:>8.0} {:>7.1}",
            one("touch"),
            one("expire"),
            one("touch set"),
            one("expire set"),
            one("touch map"),
            one("expire map"),
            one("encode"),
            one("decode"),
            one("replay"),
            one("list"),
            one("list set"),
            one("list map"),
            one("bytes")
        );
    }
    let (small, large) = (&table[0].1, &table[SIZES.len() - 1].1);
    bar("core", "a touch among 1000000 members", "ns", large["touch"], Bar::AtMost(100.0));
    figure("core", "a touch among 1000 members", "ns", small["touch"]);
    bar("core", "memory at 1000000 guests, each", "bytes", large["bytes"], Bar::AtMost(64.0));
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + i64::try_from(millis).unwrap_or(0))
}

/// The guests of the batch of that number: over and over all of them in an order that is no order.
fn guests(number: u64, members: u64) -> impl Iterator<Item = u64> {
    // Odd, and no multiple of five: it permutes what is below a power of ten.
    (number * BATCH..(number + 1) * BATCH).map(move |number| number.wrapping_mul(2_654_435_761) % members)
}

/// A batch in which each of them is on another page than in their turn before.
fn batch(number: u64, members: u64) -> Reports {
    let report = |guest: u64| {
        let page = (guest + number * BATCH / members) % PAGES;
        let path = PagePath::parse(format!("/page/{page}")).ok();
        let place = path.map(|path| Place { path, title: None, topic: None });
        let key = MemberKey::Guest(GuestKey(guest));
        let (tab, state) = (Some(TabId(guest as u32)), State::Online);
        let touch = Touch { place, tab, state, ..Touch::of(key) };
        Report { age: Millis(0), signal: Signal::Touch(touch) }
    };
    Reports::from(guests(number, members).map(report).collect::<Vec<_>>())
}

/// A site of so many members with its rows.
struct Full {
    site: Site,
    rows: BTreeMap<i64, Vec<u8>>,
    members: u64,
    batches: u64,
    bytes: usize,
}

impl Full {
    fn of(members: u64) -> Self {
        let before = ALLOCATED.allocated();
        let mut full = Self { site: Site::new(WINDOW, at(0)), rows: BTreeMap::new(), members, batches: 0, bytes: 0 };
        let mut stored = 0;
        for _ in 0..members / BATCH {
            full.next_batch();
            let rows_before = ALLOCATED.allocated();
            full.store();
            stored += ALLOCATED.allocated().saturating_sub(rows_before);
        }
        full.bytes = ALLOCATED.allocated().saturating_sub(before).saturating_sub(stored);
        full
    }

    /// Applies the next batch, and says how long that took.
    fn next_batch(&mut self) -> Duration {
        let reports = batch(self.batches, self.members);
        self.batches += 1;
        let start = Instant::now();
        self.site.hear(at(self.batches * APART), reports);
        start.elapsed()
    }

    /// Writes down what has changed, and says how long it took to encode that.
    fn store(&mut self) -> Duration {
        let start = Instant::now();
        let outcome = self.site.outcome();
        let taken = start.elapsed();
        self.rows.extend(outcome.writes.into_iter().map(|write| (write.slot, write.data)));
        taken
    }
}

/// The medians of all that is measured of so many members, by name, for each of what it is done to.
fn measure(criterion: &mut Criterion, members: u64) -> HashMap<&'static str, Spread> {
    let mut found = HashMap::new();
    let mut time = |name: &'static str, each: f64, work: &mut dyn FnMut() -> Duration| {
        let mut group = criterion.benchmark_group(members.to_string());
        group.bench_function(name, |bencher| bencher.iter_custom(|times| (0..times).map(|_| work()).sum()));
        group.finish();
        found.insert(name, of_criterion(members, name, each));
    };
    let all = members as f64;
    let mut full = Full::of(members);
    time("touch", BATCH as f64, &mut || {
        let taken = full.next_batch();
        full.site.outcome();
        taken
    });
    let mut full = Full::of(members);
    let bytes = full.bytes as f64 / all;
    time("list", 1.0, &mut || timed(|| full.site.list(Kind::Guest, &Filter::default(), None, 100)));
    let row = full.rows.values().next().cloned().unwrap_or_default();
    time("decode", BATCH as f64, &mut || timed(|| decode::<Batch>(&row)));
    let (rows, now) = (full.rows.clone(), at(full.batches * APART));
    let restore = |rows: &BTreeMap<_, _>| Site::restore(WINDOW, rows, now, &[]).0;
    time("replay", all, &mut || timed(|| restore(&rows)));
    time("expire", all, &mut || {
        let mut site = restore(&rows);
        timed(|| site.advance(now.plus(WINDOW).plus(WINDOW)))
    });
    time("encode", BATCH as f64, &mut || {
        full.next_batch();
        full.store()
    });
    drop(full);
    let mut set = SortedSet::default();
    alternatives(&mut time, members, &mut set, ["touch set", "list set", "expire set"]);
    let mut map = MapAlone::default();
    alternatives(&mut time, members, &mut map, ["touch map", "list map", "expire map"]);
    found.insert("bytes", Spread { middle: bytes, least: bytes, most: bytes });
    found
}

/// How long some work takes, without the dropping of what comes of it.
fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let done = black_box(work());
    let taken = start.elapsed();
    drop(done);
    taken
}

/// What criterion found last: the median, and the interval in which it lies with 95 of 100 (criterion's default).
fn of_criterion(members: u64, name: &str, each: f64) -> Spread {
    let file = format!("{FOUND}/{members}/{name}/new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let median = &estimates["median"];
    let number = |value: &serde_json::Value| value.as_f64().unwrap() / each;
    let interval = &median["confidence_interval"];
    Spread {
        middle: number(&median["point_estimate"]),
        least: number(&interval["lower_bound"]),
        most: number(&interval["upper_bound"]),
    }
}

/// What one could take instead.
trait Alternative: Clone {
    fn touch(&mut self, guest: u64, at: i64, page: u64);
    fn list(&self) -> Vec<u64>;
    fn expire(&mut self, before: i64);
}

fn alternatives<A: Alternative>(
    time: &mut impl FnMut(&'static str, f64, &mut dyn FnMut() -> Duration),
    members: u64,
    one: &mut A,
    [touch, list, expire]: [&'static str; 3],
) {
    let mut number = 0;
    let mut next = |one: &mut A| {
        let touched: Vec<_> = guests(number, members).collect();
        number += 1;
        let start = Instant::now();
        touched.iter().for_each(|guest| one.touch(*guest, (number * APART) as i64, guest % PAGES));
        start.elapsed()
    };
    for _ in 0..members / BATCH {
        next(one);
    }
    time(touch, BATCH as f64, &mut || next(one));
    time(list, 1.0, &mut || timed(|| one.list()));
    time(expire, members as f64, &mut || {
        let mut one = one.clone();
        timed(|| one.expire(i64::MAX))
    });
}

/// Who was seen when, and in that order.
#[derive(Clone, Default)]
struct SortedSet {
    seen: HashMap<u64, (i64, u64)>,
    order: BTreeSet<(i64, u64)>,
}

impl Alternative for SortedSet {
    fn touch(&mut self, guest: u64, at: i64, page: u64) {
        if let Some((before, _)) = self.seen.insert(guest, (at, page)) {
            self.order.remove(&(before, guest));
        }
        self.order.insert((at, guest));
    }

    fn list(&self) -> Vec<u64> {
        self.order.iter().rev().take(100).map(|(_, guest)| *guest).collect()
    }

    fn expire(&mut self, before: i64) {
        while let Some((at, guest)) = self.order.first().copied().filter(|(at, _)| *at < before) {
            self.order.remove(&(at, guest));
            self.seen.remove(&guest);
        }
    }
}

/// Who was seen when.
#[derive(Clone, Default)]
struct MapAlone {
    seen: HashMap<u64, (i64, u64)>,
}

impl Alternative for MapAlone {
    fn touch(&mut self, guest: u64, at: i64, page: u64) {
        self.seen.insert(guest, (at, page));
    }

    fn list(&self) -> Vec<u64> {
        let mut all: Vec<_> = self.seen.iter().map(|(guest, (at, _))| (*at, *guest)).collect();
        let middle = 100.min(all.len() - 1);
        all.select_nth_unstable_by(middle, |one, other| other.cmp(one));
        all.truncate(100);
        all.sort_unstable_by(|one, other| other.cmp(one));
        all.into_iter().map(|(_, guest)| guest).collect()
    }

    fn expire(&mut self, before: i64) {
        self.seen.retain(|_, (at, _)| *at >= before);
    }
}

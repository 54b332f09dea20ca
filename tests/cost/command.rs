//! `npm run cost`: what presence costs a site, by the platform's list of prices.

mod day;
mod object;
mod prices;
mod shelf;
mod visitors;

use day::{Looking, Traffic, Used, kept_before, simulate};
use prices::{AS_OF, Bill, object_requests, of_free_plan};
use shelf::Rows;
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use whos_online::presence::time::Millis;

const SIZES: [u64; 4] = [1_000, 100_000, 1_000_000, 10_000_000];

/// How many places visitors come through, of the more than 300 that there are: half of a site's visitors come through
/// its six largest.
const COLOS: usize = 80;
/// For how long an isolate is kept when nobody comes: the platform does not say, so this is a guess.
const IDLE: Millis = Millis(600_000);

/// Of so many page views one is the first one of a user's visit.
const USER_OF: u64 = 20;
/// How many times a day's users are kept of the days before: as if nobody came twice in a week.
const EARLIER: u64 = 6;

/// Days with so many pages pass so many times as fast: what comes of it hardly differs, and it takes seconds.
const LAPSED_FROM: (u64, u32) = (10_000_000, 8);

/// How many pages a site has.
const PAGES: u32 = 500;

const LOOKING: [(Looking, &str); 3] = [
    (Looking::Nobody, "nobody looks who is online"),
    (Looking::Somebody, "somebody watches all day"),
    (Looking::EveryPage, "every page has the widget, connected while it is open"),
];

fn main() {
    println!("dollars per million page views by the list prices of {AS_OF}, beyond what a plan includes");
    let found = find();
    for (number, (_, title)) in LOOKING.into_iter().enumerate() {
        println!("\n{title}");
        println!(
            "{:>12} {:>9} {:>9} {:>9} {:>22} {:>13} {:>9}",
            "pages a day", "presence", "requests", "rows", "active object seconds", "all, $/day", "presence"
        );
        for (size, views) in SIZES.into_iter().enumerate() {
            print(views, &found.days[&(size, number)]);
        }
        let (most, what) = found.free[&number];
        println!("the free plan carries {most} pages a day, and is out of {what} first");
    }
    let each = upsert_per_hit();
    let (part, what) = of_free_plan(&each);
    println!("\na row for each hit: {:.3}", Bill::of(&each).presence * 1e6);
    println!("the free plan carries {:.0} pages a day, and is out of {what} first", 1.0 / part);
}

fn print(views: u64, used: &Used) {
    let bill = Bill::of(used);
    println!(
        "{views:>12} {:>9.3} {:>9.4} {:>9.4} {:>22.5} {:>13.4} {:>8.0}%",
        bill.presence * 1e6 / used.views,
        object_requests(used) / used.views,
        used.rows_written / used.views,
        used.active_seconds / used.views,
        bill.presence + bill.worker,
        bill.presence / (bill.presence + bill.worker) * 100.0,
    );
}

/// What was found of the days of sites of each size, and of the free plan, with each who may look.
#[derive(Default)]
struct Found {
    days: HashMap<(usize, usize), Used>,
    free: HashMap<usize, (u64, &'static str)>,
}

/// Lets all days pass, as many at a time as there are processors.
fn find() -> Found {
    let sizes = || (0..SIZES.len()).rev().map(Some).chain([None]);
    let all = (0..LOOKING.len()).flat_map(|looking| sizes().map(move |size| (size, looking)));
    let (next, found) = (Mutex::new(all), Mutex::new(Found::default()));
    // What is kept of the days before is the same whoever looks, and takes as long to put there as a day does to pass.
    let kept = SIZES.map(|views| LazyLock::new(move || Mutex::new(kept_before_a_day_of(views))));
    let work = || loop {
        let Some((size, looking)) = next.lock().unwrap().next() else { return };
        match size {
            Some(size) => {
                let earlier = kept[size].lock().unwrap().clone();
                let used = day(SIZES[size], &earlier, LOOKING[looking].0);
                found.lock().unwrap().days.insert((size, looking), used);
            }
            None => {
                let carried = carried_for_free(LOOKING[looking].0);
                found.lock().unwrap().free.insert(looking, carried);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..std::thread::available_parallelism().map_or(1, usize::from)).for_each(|_| drop(scope.spawn(work)));
    });
    found.into_inner().unwrap()
}

fn kept_before_a_day_of(views: u64) -> Rows {
    kept_before(views / USER_OF * EARLIER, PAGES)
}

fn day(views: u64, earlier: &Rows, looking: Looking) -> Used {
    let lapse = if views >= LAPSED_FROM.0 { LAPSED_FROM.1 } else { 1 };
    simulate(&Traffic { views, pages: PAGES, colos: COLOS, idle: IDLE, earlier, looking, lapse }, &mut |_| {})
}

/// How many thousand pages a day the free plan carries, and what it is out of first.
fn carried_for_free(looking: Looking) -> (u64, &'static str) {
    let of_plan = |views: u64| {
        let used = day(views, &kept_before_a_day_of(views), looking);
        let (part, what) = of_free_plan(&used);
        (part * views as f64 / used.views, what)
    };
    let sizes: Vec<u64> = (1..=100).map(|thousands| thousands * 1000).collect();
    // All of it is not more than all of it, however it was rounded.
    let most = sizes.partition_point(|views| of_plan(*views).0 <= 1.0 + 1e-9).max(1) as u64 * 1000;
    (most, of_plan(most).1)
}

/// The same of a page view where an object writes a row for each.
fn upsert_per_hit() -> Used {
    Used {
        views: 1.0,
        worker_requests: 1.0,
        object_requests: 1.0,
        rows_written: 1.0,
        active_seconds: 0.015,
        ..Used::default()
    }
}

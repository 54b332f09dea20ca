//! `npm run cost`: what presence costs a site, by the platform's list of prices.

mod day;
mod prices;
mod shelf;
mod visitors;

use day::{Looking, Traffic, Used, simulate};
use prices::{AS_OF, Bill, object_requests, of_free_plan};
use whos_online::presence::time::Millis;

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];

/// How many places visitors come through, of the more than 300 that there are: half of a site's visitors come through
/// its six largest.
const COLOS: usize = 80;
/// For how long an isolate is kept when nobody comes: the platform does not say, so this is a guess.
const IDLE: Millis = Millis(600_000);

/// How many times a day's users are kept of the days before: as if nobody came twice in a week.
const EARLIER: u64 = 6;

fn main() {
    println!("dollars per million page views by the list prices of {AS_OF}, beyond what a plan includes");
    for (looking, title) in [
        (Looking::Nobody, "nobody looks who is online"),
        (Looking::Somebody, "somebody watches all day"),
        (Looking::EveryPage, "every page has the widget, connected while it is open"),
    ] {
        println!("\n{title}");
        println!(
            "{:>12} {:>9} {:>9} {:>9} {:>22} {:>13} {:>9} {:>34}",
            "pages a day",
            "presence",
            "requests",
            "rows",
            "active object seconds",
            "all, $/day",
            "presence",
            "free plan, pages a day"
        );
        for views in SIZES {
            let traffic =
                Traffic { views, pages: 500, colos: COLOS, idle: IDLE, earlier: views / 20 * EARLIER, looking };
            let used = simulate(&traffic, &mut |_| {});
            let bill = Bill::of(&used);
            let (part, what) = of_free_plan(&used);
            let per_million = 1e6 / used.views;
            println!(
                "{views:>12} {:>9.3} {:>9.4} {:>9.4} {:>22.5} {:>13.4} {:>8.0}% {:>34}",
                bill.presence * per_million,
                object_requests(&used) / used.views,
                used.rows_written / used.views,
                used.active_seconds / used.views,
                bill.presence + bill.worker,
                bill.presence / (bill.presence + bill.worker) * 100.0,
                format!("{:.0} ({what})", used.views / part)
            );
        }
    }
    let each = upsert_per_hit();
    println!("\na row for each hit: {:.3}", Bill::of(&each).presence * 1e6);
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

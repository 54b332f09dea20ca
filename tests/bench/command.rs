//! `npm run bench`: what presence costs, in the core alone, over HTTP, for those who read and who watch, and to start. Times
//! differ from machine to machine; what is compared here is measured side by side, in turns, and its ratios hardly differ.

#[allow(dead_code, reason = "the tests use the rest of it")]
mod batches;
mod core;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../runtime/crowd.rs"]
mod crowd;
mod django;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../runtime/harness/mod.rs"]
mod harness;
mod http;
mod idle;
mod ingest;
mod live;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../runtime/live_socket.rs"]
mod live_socket;
#[allow(dead_code, reason = "the tests use the rest of it")]
mod load;
mod reading;
mod report;
mod shards;
mod site;
mod start;

use cap::Cap;
use std::time::Instant;

/// Counts what the core takes.
#[global_allocator]
static ALLOCATED: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

/// What can be measured, by its name.
const PARTS: [(&str, fn()); 8] = [
    ("core", core::run),
    ("http", http::run),
    ("ingest", ingest::run),
    ("reading", reading::run),
    ("live", live::run),
    ("idle", idle::run),
    ("start", start::run),
    ("shards", shards::run),
];

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| parts.is_empty() || parts.iter().any(|part| part == name);
    if let Some(part) = parts.iter().find(|part| !PARTS.iter().any(|(name, _)| name == part)) {
        let names = PARTS.map(|(name, _)| format!("`{name}`")).join(", ");
        eprintln!("There is no part {part:?}: say {names}, or nothing for all of them.");
        std::process::exit(2);
    }
    let start = Instant::now();
    PARTS.iter().filter(|(name, _)| wanted(name)).for_each(|(_, run)| run());
    report::write();
    println!("it took {:.1} minutes", start.elapsed().as_secs_f64() / 60.0);
}

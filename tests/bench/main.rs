//! `npm run bench`: what presence costs, in the core alone, over HTTP, and for those who watch. Times differ from machine to machine; what is
//! compared here is measured side by side, in turns, and its ratios hardly differ.

mod core;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../runtime/crowd.rs"]
mod crowd;
mod django;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../runtime/harness.rs"]
mod harness;
mod http;
mod idle;
mod ingest;
mod live;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../runtime/live_socket.rs"]
mod live_socket;
mod load;
mod report;
mod site;

use cap::Cap;

/// Counts what the core takes.
#[global_allocator]
static ALLOCATED: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| parts.is_empty() || parts.iter().any(|part| part == name);
    if let Some(part) = parts.iter().find(|part| !["core", "http", "ingest", "live", "idle"].contains(&part.as_str())) {
        eprintln!(
            "There is no part {part:?}: say `core`, `http`, `ingest`, `live`, `idle`, or nothing for all of them."
        );
        std::process::exit(2);
    }
    if wanted("core") {
        core::run();
    }
    if wanted("http") {
        http::run();
    }
    if wanted("ingest") {
        ingest::run();
    }
    if wanted("live") {
        live::run();
    }
    if wanted("idle") {
        idle::run();
    }
    report::write();
}

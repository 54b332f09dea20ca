//! The core: who is online, and since when, and where.
//!
//! Pure and deterministic. It has no clock, no randomness, no I/O and no platform type: time comes in as an argument,
//! what must be stored goes out as bytes, and the next deadline is a return value. It must not know of HTTP.

pub mod allowance;
pub mod attention;
pub mod backlog;
mod batch;
pub mod bounds;
pub mod budget;
pub mod columns;
mod compact;
pub mod copies;
mod display;
mod ended;
pub mod gathering;
mod groups;
pub mod id;
pub mod member;
mod merged;
pub mod moments;
mod numbers;
pub mod pages;
mod place_id;
mod places;
pub mod pulse;
pub mod recent;
pub mod record;
pub mod recorder;
pub mod register;
pub mod reports;
pub mod revoked;
pub mod ring;
mod roster;
pub mod shards;
pub mod site;
pub mod time;
pub mod totals;
pub mod watchers;

//! The core: who is online, and since when, and where.
//!
//! Pure and deterministic. It has no clock, no randomness, no I/O and no platform type: time comes in as an argument,
//! what must be stored goes out as bytes, and the next deadline is a return value. It must not know of HTTP.

pub mod allowance;
pub mod attention;
mod batch;
pub mod bounds;
pub mod columns;
mod compact;
pub mod copies;
mod ended;
pub mod gathering;
pub mod id;
pub mod member;
mod merged;
pub mod moments;
pub mod pages;
mod places;
pub mod pulse;
mod recent;
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

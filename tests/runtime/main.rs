//! The built Worker on a real `workerd`, over HTTP. Each test has its own server, port and storage.

mod access;
mod attacks;
mod bad_input;
#[allow(dead_code, reason = "the bench uses the rest of it")]
#[path = "../bench/batches.rs"]
mod batches;
mod blocks;
mod blocks_attacks;
mod blocks_site;
mod budgets;
mod cost;
mod counting;
#[allow(dead_code, reason = "the bench uses the rest of it")]
mod crowd;
mod django;
mod django_site;
mod django_users;
mod durability;
mod erasing;
mod faults;
mod harness;
mod hosts;
mod injected;
mod killed_under_load;
mod live;
mod live_crowd;
mod live_events;
mod live_lease;
mod live_socket;
#[allow(dead_code, reason = "the bench uses the rest of it")]
#[path = "../bench/load.rs"]
mod load;
mod logins;
mod look_ups;
mod metrics;
mod million;
mod origin;
mod privacy;
mod reading;
mod recording;
mod relays;
mod replay;
mod revocation;
mod seen;
mod shards;
#[path = "../bench/site.rs"]
mod site;
mod unreadable;
mod upgrade;

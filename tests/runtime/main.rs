//! The built Worker on a real `workerd`, over HTTP. Each test has its own server, port and storage.

mod bad_input;
mod django;
mod durability;
mod faults;
mod harness;
mod origin;
mod reading;
mod recording;
mod replay;

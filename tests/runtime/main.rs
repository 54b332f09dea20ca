//! The built Worker on a real `workerd`, over HTTP. Each test has its own server, port and storage.

mod harness;
mod reading;

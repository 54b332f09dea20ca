//! Who's online.
pub mod config;
pub mod http;
pub mod identity;
pub mod presence;
pub mod protocol;

//! Who's online.
pub mod presence;

//! Blocks in pages: what stands between two tags goes out to those alone who may see it.
//!
//! ```text
//! <if-permitted key="K" can="can_edit" on="group:42"> … </if-permitted key="K">
//! <if-not-permitted key="K" can="can_edit" on="group:42"> … </if-not-permitted key="K">
//! ```
//!
//! Tags are told by their bytes: by the key, which no visitor knows, and by being written just so. `key` comes first,
//! then `can` and, where the permission is for an object, `on`, in either order; one blank before each, double quotes,
//! no other attribute. Of markup nothing is known here, so there is nothing about which this and a browser could disagree.
//!
//! What must hold, however the bytes are cut into pieces: nothing between the tags of a hidden block goes out; no tag and
//! no key goes out; and what is malformed, is not closed, or holds the key elsewhere than in a tag ends the answer there.

mod cutter;
mod search;
mod tag;

pub use cutter::{Cutter, Fault, Next};

#[cfg(test)]
mod tests;

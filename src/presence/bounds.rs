//! How much one site keeps: an object has 128 MB for all that it does, and must never come to their end, however many
//! visitors there are or are made up.
//!
//! Users are always kept. Of guests and bots beyond the bounds those who were seen longest ago are merged: they are counted
//! until their window has passed, and are named nowhere.

use super::time::Seconds;

/// The most guests that are kept: a million and some to spare. Each takes 40 bytes, 5 to 10 for the table they are found
/// by, whose doubling is not due before 1.8 million, and 4 to 20 for the notes of when they were touched: some 75 MB at the
/// worst.
pub const MAX_GUESTS: usize = 1 << 20;

/// The most bots that are kept: a few MB more.
pub const MAX_BOTS: usize = 1 << 16;

/// How many bytes the places may take where guests and bots are: those may make up addresses, of up to 896 bytes each.
/// What is left is for users, for a batch that is read, and for a row that is written or read: these are told one by one.
pub const MAX_PLACES: usize = 16 << 20;

/// For how long somebody is online after a touch, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For how long after a touch a member is online.
    pub window: Seconds,
    /// The most guests that are kept.
    pub guests: usize,
    /// The most bots that are kept.
    pub bots: usize,
    /// How many bytes places may take as long as there are guests or bots to merge.
    pub places: usize,
    /// The most guests of one client that are online, and as many bots; what else a visitor may cost goes with it: see
    /// [`budget`](super::budget). None where all that is told is taken in, as a copy does.
    pub client_guests: Option<u32>,
}

impl From<Seconds> for Bounds {
    fn from(window: Seconds) -> Self {
        Self { window, guests: MAX_GUESTS, bots: MAX_BOTS, places: MAX_PLACES, client_guests: None }
    }
}

//! What places are told apart by.

use std::num::NonZeroU32;

/// A place that is kept: its number, counted from one. Valid as long as somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlaceId(NonZeroU32);

impl PlaceId {
    /// That of a place in a list of all.
    pub fn at(index: usize) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index as u32))
    }

    /// Where it is in that list.
    pub fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    /// The bit that stands for it in a summary of places, where each of 64 bits stands for every 64th place.
    pub fn bit(self) -> u64 {
        1 << (self.index() % 64)
    }
}

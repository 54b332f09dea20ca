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
}

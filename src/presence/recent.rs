//! What an isolate remembers of recent visitors: enough to know whether a touch tells anything new.

use super::member::State;
use super::time::{Millis, Seconds, Timestamp};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// The most visitors remembered in each of the two halves of the memory.
const MAX_REMEMBERED: usize = 10_000;

/// What an isolate knew of a visitor when it last sent a touch of theirs. Digests, as only sameness matters.
#[derive(Clone, Copy)]
pub struct Remembered {
    /// When that was.
    pub at: Timestamp,
    /// Where they were.
    pub place: u64,
    /// In which tab.
    pub tab: u64,
    /// Whether they were looking.
    pub state: State,
    /// How they are shown.
    pub profile: u64,
    /// Whether their pages connect.
    pub connects: bool,
    /// Whether a touch was sent that brings them in; a mere refresh does not.
    pub arrived: bool,
}

/// Visitors by digests of their keys, in two halves: the older one is forgotten every window, so that it stays small without
/// being searched.
pub struct Recent {
    window: Seconds,
    newer: HashMap<u64, Remembered, FixedState>,
    older: HashMap<u64, Remembered, FixedState>,
    turned: Timestamp,
}

impl Recent {
    /// One that remembers nobody.
    pub fn new(window: Seconds, now: Timestamp) -> Self {
        Self { window, newer: HashMap::default(), older: HashMap::default(), turned: now }
    }

    /// What is remembered of a visitor.
    pub fn find(&self, key: u64) -> Option<Remembered> {
        self.newer.get(&key).or_else(|| self.older.get(&key)).copied()
    }

    /// Remembers a visitor, if there is room.
    pub fn put(&mut self, key: u64, visitor: Remembered) {
        if self.newer.len() < MAX_REMEMBERED {
            self.newer.insert(key, visitor);
        }
    }

    /// Forgets a visitor.
    pub fn forget(&mut self, key: u64) {
        self.newer.remove(&key);
        self.older.remove(&key);
    }

    /// Forgets the older half, if it is time, or if the newer one is full.
    pub fn turn(&mut self, now: Timestamp) {
        let old = now.since(self.turned) > Millis(self.window.0 * 1000) || now < self.turned;
        if old || self.newer.len() >= MAX_REMEMBERED {
            self.older = std::mem::take(&mut self.newer);
            self.turned = now;
        }
    }
}

/// What something comes to.
pub fn digest(value: &impl Hash) -> u64 {
    FixedState::default().hash_one(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded() {
        let at = Timestamp::from_millis(1_795_203_180_000);
        let mut recent = Recent::new(Seconds(330), at);
        for key in 0..100_000 {
            recent.turn(at);
            recent.put(
                key,
                Remembered { at, place: 0, tab: 0, state: State::Online, profile: 0, connects: false, arrived: true },
            );
        }
        assert!(recent.newer.len() + recent.older.len() <= 2 * MAX_REMEMBERED);
        assert!(recent.find(99_999).is_some() && recent.find(0).is_none());
    }
}

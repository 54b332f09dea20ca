//! What an isolate remembers of look-ups, so that a visitor costs one of them in a while and not one a request.

use crate::presence::time::{Seconds, Timestamp};
use std::collections::HashMap;
use std::hash::Hash;

/// For how long what was found is believed. Who logs out elsewhere is known here for so long at the most.
pub const FOUND: Seconds = Seconds(30);
/// For how long a verified name and password are.
pub const VERIFIED: Seconds = Seconds(60);
/// For how long it is believed that there was nothing. What is registered elsewhere is known here by then.
pub const MISSED: Seconds = Seconds(30);

/// The most that is remembered in each of the two halves of the memory.
const MAX: usize = 5000;

/// Answers by what was asked, each good until its time. There may be none to remember, which is an answer too.
#[derive(Debug)]
pub struct Memory<K, T> {
    recent: HashMap<K, (Timestamp, Option<T>)>,
    older: HashMap<K, (Timestamp, Option<T>)>,
}

impl<K, T> Default for Memory<K, T> {
    fn default() -> Self {
        Self { recent: HashMap::new(), older: HashMap::new() }
    }
}

impl<K: Eq + Hash, T: Clone> Memory<K, T> {
    /// What was answered, if that is still good.
    pub fn recall(&self, asked: &K, now: Timestamp) -> Option<Option<T>> {
        let (until, answer) = self.recent.get(asked).or_else(|| self.older.get(asked))?;
        // A clock that was put back does not make it good for longer than it ever was.
        (now < *until && *until <= now.plus(VERIFIED)).then(|| answer.clone())
    }

    /// Whether something was answered, be that still good or not.
    pub fn has_known(&self, asked: &K) -> bool {
        let known = self.recent.get(asked).or_else(|| self.older.get(asked));
        known.is_some_and(|(_, answer)| answer.is_some())
    }

    /// Remembers an answer until then.
    pub fn keep(&mut self, asked: K, until: Timestamp, answer: Option<T>) {
        if self.recent.len() >= MAX {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(asked, (until, answer));
    }

    /// Forgets an answer, as it was changed.
    pub fn forget(&mut self, asked: &K) {
        self.recent.remove(asked);
        self.older.remove(asked);
    }

    /// Forgets every answer of which that is so.
    pub fn forget_where(&mut self, mut is: impl FnMut(&T) -> bool) {
        let mut keep = |_: &K, (_, answer): &mut (Timestamp, Option<T>)| !answer.as_ref().is_some_and(&mut is);
        self.recent.retain(&mut keep);
        self.older.retain(&mut keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_795_203_180_000 + millis)
    }

    #[test]
    fn an_answer_is_good_until_its_time() {
        let mut memory = Memory::default();
        memory.keep(1, at(30_000), Some("sally"));
        memory.keep(2, at(10_000), None);
        assert_eq!(memory.recall(&1, at(29_999)), Some(Some("sally")));
        assert_eq!(memory.recall(&1, at(30_000)), None);
        assert_eq!(memory.recall(&2, at(9_999)), Some(None), "that there is nothing is an answer");
        assert_eq!(memory.recall(&3, at(0)), None);
        assert_eq!(memory.recall(&1, at(-3_600_000)), None, "the clock was put back");
    }

    #[test]
    fn it_stays_small_and_the_oldest_goes_first() {
        let mut memory = Memory::default();
        for key in 0..=2 * MAX {
            memory.keep(key, at(30_000), Some(key));
        }
        assert!(memory.recent.len() + memory.older.len() <= 2 * MAX);
        assert_eq!(memory.recall(&0, at(0)), None);
        assert_eq!(memory.recall(&(2 * MAX), at(0)), Some(Some(2 * MAX)));
    }

    #[test]
    fn what_was_changed_is_forgotten() {
        let mut memory = Memory::default();
        memory.keep(1, at(30_000), Some("sally"));
        memory.keep(2, at(30_000), Some("bob"));
        memory.keep(3, at(30_000), None);
        memory.forget_where(|user| *user == "sally");
        memory.forget(&3);
        assert_eq!(memory.recall(&1, at(0)), None);
        assert_eq!(memory.recall(&2, at(0)), Some(Some("bob")));
        assert_eq!(memory.recall(&3, at(0)), None);
    }
}

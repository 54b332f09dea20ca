//! Who is known by their key no more: they have signed out, or are known by another key now.
//!
//! What was told of them before may come later, from another isolate that held it or could not send it at once. It would
//! have them here again as who they were, until their window is over.

use super::time::{Millis, Seconds, Timestamp};
use foldhash::fast::FixedState;
use std::collections::{HashMap, VecDeque};

/// For how long it is known: isolates hold what they tell for less than that, with all their attempts to send it.
const KEPT: Seconds = Seconds(60);

/// Of so many at the most; of more, those are forgotten who were noted first.
const MAX: usize = 50_000;

/// Who has ended when, by the digest of their key.
#[derive(Debug, Default)]
pub struct Ended {
    /// Since when, and when that was noted last.
    moments: HashMap<u64, (Timestamp, Timestamp), FixedState>,
    /// In the order in which they were noted, with when that was.
    noted: VecDeque<(Timestamp, u64)>,
}

impl Ended {
    /// Notes that somebody is known by this key no more since then.
    pub fn note(&mut self, key: u64, since: Timestamp, now: Timestamp) {
        let over = |(noted, _): &(Timestamp, u64)| *noted > now || now.since(*noted) >= Millis(KEPT.0 * 1000);
        while self.noted.len() >= MAX || self.noted.front().is_some_and(over) {
            let Some((noted, key)) = self.noted.pop_front() else { break };
            if self.moments.get(&key).is_some_and(|(_, last)| *last == noted) {
                self.moments.remove(&key);
            }
        }
        let before = self.moments.get(&key).map_or(since, |(before, _)| *before);
        self.moments.insert(key, (before.max(since), now));
        self.noted.push_back((now, key));
    }

    /// Whether that was told of them before they ended.
    pub fn is_late(&self, key: u64, told: Timestamp) -> bool {
        self.moments.get(&key).is_some_and(|(ended, _)| told < *ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn what_was_told_before_the_end_is_late_and_what_comes_after_it_is_not() {
        let mut ended = Ended::default();
        ended.note(1, at(10), at(11));
        ended.note(1, at(5), at(12));
        assert_eq!([4, 9, 10, 11].map(|told| ended.is_late(1, at(told))), [true, true, false, false]);
        assert!(!ended.is_late(2, at(4)));
    }

    #[test]
    fn it_is_forgotten_when_nobody_can_be_late_any_more() {
        let mut ended = Ended::default();
        ended.note(1, at(10), at(10));
        ended.note(2, at(11), at(11));
        ended.note(2, at(69), at(69));
        assert!(ended.is_late(1, at(9)));
        ended.note(3, at(71), at(71));
        assert!(!ended.is_late(1, at(9)) && ended.is_late(2, at(9)));
        (0..2 * MAX as u64).for_each(|key| ended.note(key, at(80), at(80)));
        assert!(ended.noted.len() <= MAX && ended.moments.len() <= MAX);
    }
}

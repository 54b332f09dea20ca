//! Failed attempts to sign in are slowed down, by client and by name.
//!
//! App passwords cannot be guessed; what is spared is the work of refusing them over and over. A right password is
//! taken whatever others have tried, so that nobody can lock out anybody else.

use crate::presence::time::{Seconds, Timestamp};
use std::collections::HashMap;
use std::hash::Hash;

/// So many failures are nobody's business.
const FREE: u32 = 5;
/// After one failure more each wait is twice as long, up to this.
const MAX_WAIT: u32 = 900;
/// The most clients and names that are remembered.
const MAX: usize = 10_000;

/// Who failed, how often, and when last.
#[derive(Debug)]
pub struct Throttle<K> {
    failed: HashMap<K, (u32, Timestamp)>,
}

impl<K> Default for Throttle<K> {
    fn default() -> Self {
        Self { failed: HashMap::new() }
    }
}

impl<K: Eq + Hash> Throttle<K> {
    /// How long somebody has to wait until the next attempt; nothing if they need not.
    pub fn wait(&self, who: &K, now: Timestamp) -> Seconds {
        match self.failed.get(who) {
            Some(&(failures, last)) if failures >= FREE => {
                let wait = 1_u32.checked_shl(failures - FREE).unwrap_or(MAX_WAIT).min(MAX_WAIT);
                let passed = now.since(last).0 / 1000;
                // A clock that was put back starts the wait anew.
                Seconds(wait.saturating_sub(passed))
            }
            _ => Seconds(0),
        }
    }

    /// Notes a failure.
    pub fn failed(&mut self, who: K, now: Timestamp) {
        let stale = |last: Timestamp| now.since(last).0 / 1000 >= MAX_WAIT;
        if self.failed.len() >= MAX {
            self.failed.retain(|_, (_, last)| !stale(*last));
        }
        if self.failed.len() >= MAX {
            // So many at once are an attack, and starting over costs the attacked nothing.
            self.failed.clear();
        }
        let known = self.failed.entry(who).or_insert((0, now));
        let failures = if stale(known.1) { 0 } else { known.0 };
        *known = (failures.saturating_add(1), now);
    }

    /// Notes a success: whatever was before is forgiven.
    pub fn succeeded(&mut self, who: &K) {
        self.failed.remove(who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_795_203_180_000 + seconds * 1000)
    }

    #[test]
    fn the_first_failures_are_free_and_then_each_wait_doubles() {
        let mut throttle = Throttle::default();
        for _ in 0..4 {
            throttle.failed("c", at(0));
        }
        assert_eq!(throttle.wait(&"c", at(0)), Seconds(0));
        let mut waits = vec![];
        for _ in 0..12 {
            throttle.failed("c", at(0));
            waits.push(throttle.wait(&"c", at(0)).0);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        assert_eq!(throttle.wait(&"c", at(100)), Seconds(800));
        assert_eq!(throttle.wait(&"d", at(0)), Seconds(0));
    }

    #[test]
    fn time_and_success_forgive() {
        let mut throttle = Throttle::default();
        for _ in 0..10 {
            throttle.failed("c", at(0));
        }
        throttle.failed("c", at(900));
        assert_eq!(throttle.wait(&"c", at(900)), Seconds(0), "a quarter of an hour later it is the first again");
        for _ in 0..10 {
            throttle.failed("c", at(900));
        }
        throttle.succeeded(&"c");
        assert_eq!(throttle.wait(&"c", at(900)), Seconds(0));
    }

    #[test]
    fn a_crowd_of_failures_does_not_grow_it_without_end() {
        let mut throttle = Throttle::default();
        for who in 0..3 * MAX {
            throttle.failed(who, at(0));
        }
        assert!(throttle.failed.len() <= MAX);
        for _ in 0..u8::MAX {
            throttle.failed(0, at(1));
        }
        assert_eq!(throttle.wait(&0, at(1)), Seconds(MAX_WAIT));
    }
}

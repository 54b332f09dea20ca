//! How much somebody may do: so much at once, and so much in the long run.

use super::time::{Millis, Seconds, Timestamp};
use std::collections::HashMap;
use std::hash::Hash;

/// So many messages of a connection: a page has far less to tell.
const MESSAGES: Rate = Rate { burst: 20, each: Millis(200) };
/// So many look-ups of a client's that find nothing: twenty a minute.
pub const MISSES: Rate = Rate { burst: 20, each: Millis(3000) };
/// So many users of a site may have themselves erased, who may invent any number of users: ten a minute.
pub const ERASURES: Rate = Rate { burst: 10, each: Millis(6000) };

/// The most clients of whom it is known what they may still do.
const MAX: usize = 10_000;

/// Who sends so many more than that is shown out.
const TOO_MANY: u32 = 100;

/// How much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So many times at once.
    pub burst: u32,
    /// And then once in each of these.
    pub each: Millis,
}

/// What is left of what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    left: u32,
    at: Timestamp,
}

impl TokenBucket {
    /// All of it.
    pub fn full(rate: &Rate, now: Timestamp) -> Self {
        Self { left: rate.burst, at: now }
    }

    /// Takes one of it; if none is left, gives how long it takes until there is.
    pub fn spend(&mut self, now: Timestamp, rate: &Rate) -> Option<Seconds> {
        let earned = now.since(self.at).0 / rate.each.0.max(1);
        // A clock that was put back earns nothing, and starts from there.
        self.at = if now < self.at { now } else { self.at.plus(Millis(earned * rate.each.0)) };
        self.left = self.left.saturating_add(earned).min(rate.burst);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                None
            }
            None => Some(Seconds(self.at.plus(rate.each).since(now).0.div_ceil(1000).max(1))),
        }
    }
}

/// The same for each of many. It stays small whoever comes.
#[derive(Debug)]
pub struct TokenBuckets<K>(HashMap<K, TokenBucket>);

impl<K> Default for TokenBuckets<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> TokenBuckets<K> {
    /// Takes one of what is somebody's; if none is left, gives how long it takes until there is.
    pub fn spend(&mut self, who: K, now: Timestamp, rate: &Rate) -> Option<Seconds> {
        if self.0.len() >= MAX && !self.0.contains_key(&who) {
            let whole = Millis(rate.each.0.saturating_mul(rate.burst));
            self.0.retain(|_, bucket| bucket.at <= now && now.since(bucket.at) < whole);
            if self.0.len() >= MAX {
                // So many at once are an attack from everywhere: nobody is told apart any more.
                self.0.clear();
            }
        }
        self.0.entry(who).or_insert_with(|| TokenBucket::full(rate, now)).spend(now, rate)
    }

    /// Gives one back that was taken for nothing.
    pub fn give_back(&mut self, who: &K) {
        self.0.get_mut(who).into_iter().for_each(|bucket| bucket.left = bucket.left.saturating_add(1));
    }
}

/// What somebody may still send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    bucket: TokenBucket,
    dropped: u32,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken.
    Taken,
    /// It is left unread.
    Dropped,
    /// It is one too many.
    Enough,
}

impl Allowance {
    /// Of somebody who has sent nothing yet.
    pub fn new(now: Timestamp) -> Self {
        Self { bucket: TokenBucket::full(&MESSAGES, now), dropped: 0 }
    }

    /// Takes a message.
    pub fn spend(&mut self, now: Timestamp) -> Verdict {
        if self.bucket.spend(now, &MESSAGES).is_none() {
            self.dropped = 0;
            return Verdict::Taken;
        }
        self.dropped += 1;
        if self.dropped < TOO_MANY { Verdict::Dropped } else { Verdict::Enough }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_795_203_180_000 + millis)
    }

    #[test]
    fn a_burst_is_taken_and_what_comes_too_fast_is_dropped() {
        let mut allowance = Allowance::new(at(0));
        let mut sent = |times: u32, millis| (0..times).map(|_| allowance.spend(at(millis))).collect::<Vec<_>>();
        assert_eq!(sent(20, 0), [Verdict::Taken; 20]);
        assert_eq!(sent(2, 199), [Verdict::Dropped; 2]);
        assert_eq!(sent(2, 400), [Verdict::Taken; 2]);
        assert_eq!(sent(1, 400), [Verdict::Dropped]);
        assert_eq!(sent(20, 60_000), [Verdict::Taken; 20], "an hour of silence saves up no more than a burst");
        let flood = sent(100, 60_000);
        assert_eq!((flood[98], flood[99]), (Verdict::Dropped, Verdict::Enough));
    }

    #[test]
    fn a_clock_that_was_put_back_locks_nobody_out() {
        let mut allowance = Allowance::new(at(1_000_000));
        assert!((0..20).all(|_| allowance.spend(at(1_000_000)) == Verdict::Taken));
        assert_eq!(allowance.spend(at(0)), Verdict::Dropped);
        assert_eq!(allowance.spend(at(200)), Verdict::Taken);
    }

    #[test]
    fn who_has_spent_all_waits_for_the_next_one_and_nobody_else_does() {
        let mut buckets = TokenBuckets::default();
        let rate = Rate { burst: 2, each: Millis(3000) };
        assert_eq!([0, 0].map(|millis| buckets.spend("c", at(millis), &rate)), [None; 2]);
        assert_eq!(buckets.spend("c", at(500), &rate), Some(Seconds(3)));
        assert_eq!(buckets.spend("d", at(500), &rate), None);
        assert_eq!(buckets.spend("c", at(3000), &rate), None);
        assert_eq!(buckets.spend("c", at(3000), &rate), Some(Seconds(3)));
        buckets.give_back(&"c");
        assert_eq!(buckets.spend("c", at(3000), &rate), None, "it was taken for nothing");
    }

    #[test]
    fn a_crowd_does_not_make_it_grow_without_end_and_frees_nobody_who_has_spent_all() {
        let mut buckets = TokenBuckets::default();
        let rate = Rate { burst: 1, each: Millis(3000) };
        for who in 0..MAX {
            buckets.spend(who, at(0), &rate);
        }
        assert_eq!(buckets.spend(MAX - 1, at(2000), &rate), Some(Seconds(1)));
        for who in MAX..MAX + 10 {
            buckets.spend(who, at(5000), &rate);
        }
        assert!(buckets.0.len() <= MAX, "{}", buckets.0.len());
    }
}

//! How much somebody may send.

use super::time::{Millis, Timestamp};

/// So many messages may come at once,
const BURST: u32 = 20;
/// and then one in each of these, in the long run: a page has far less to tell.
const EACH: Millis = Millis(200);
/// Who sends so many more than that is shown out.
const TOO_MANY: u32 = 100;

/// What somebody may still send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    left: u32,
    dropped: u32,
    at: Timestamp,
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
        Self { left: BURST, dropped: 0, at: now }
    }

    /// Takes a message.
    pub fn spend(&mut self, now: Timestamp) -> Verdict {
        let earned = now.since(self.at).0 / EACH.0;
        // A clock that was put back earns nothing, and starts from there.
        self.at = if now < self.at { now } else { self.at.plus(Millis(earned * EACH.0)) };
        self.left = self.left.saturating_add(earned).min(BURST);
        if let Some(left) = self.left.checked_sub(1) {
            (self.left, self.dropped) = (left, 0);
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
}

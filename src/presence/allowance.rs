//! How much somebody may send over a connection.

use super::budget::{MESSAGES, Spent};
use super::time::Timestamp;

/// Who sends so many more than they may is shown out.
const TOO_MANY: u32 = 100;

/// What somebody has sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    spent: Spent,
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
    /// Takes a message.
    pub fn spend(&mut self, now: Timestamp) -> Verdict {
        if self.spent.spend(MESSAGES, now).is_ok() {
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
        let mut allowance = Allowance::default();
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
        let mut allowance = Allowance::default();
        assert!((0..20).all(|_| allowance.spend(at(1_000_000)) == Verdict::Taken));
        assert_eq!(allowance.spend(at(0)), Verdict::Dropped);
        assert_eq!(allowance.spend(at(200)), Verdict::Taken);
    }
}

//! Which batches are worth waiting for, to be stored as one row.
//!
//! Where nobody looks, all isolates send what they hold at the same moments: so their batches arrive within a fraction of
//! a second of each other, and the object can store all of them at once. To wait costs time for which the object is
//! billed, a third of a row, so it waits only where more than one came the last time.

use super::attention::QUIET_HOLD;
use super::time::{Millis, Timestamp};

/// How long the first batch of a moment waits for the others at the most.
const WAIT: Millis = Millis(250);

/// How long after the moment batches are taken for those that were sent at it.
const NEAR: i64 = 1000;

/// How many batches came at the last moments.
#[derive(Debug, Default)]
pub struct Gathering {
    moment: i64,
    came: usize,
    came_before: usize,
}

impl Gathering {
    /// Notes that a batch came, and says how long it is to wait for others.
    pub fn note(&mut self, now: Timestamp) -> Millis {
        let period = i64::from(QUIET_HOLD.0);
        let (moment, after) = (now.as_millis().div_euclid(period), now.as_millis().rem_euclid(period));
        if after >= NEAR {
            return Millis(0);
        }
        if moment != self.moment {
            self.came_before = if moment == self.moment + 1 { self.came } else { 0 };
            (self.moment, self.came) = (moment, 0);
        }
        self.came += 1;
        if self.came_before > 1 { WAIT } else { Millis(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_where_others_came_at_the_moment_before() {
        let mut gathering = Gathering::default();
        let start = 1_795_203_192_000;
        let mut come = |millis: i64| gathering.note(Timestamp::from_millis(start + millis));
        let period = i64::from(QUIET_HOLD.0);
        assert_eq!([come(0), come(40)], [Millis(0); 2], "nothing is known yet");
        assert_eq!([come(period), come(period + 900)], [WAIT; 2]);
        assert_eq!(come(period + 1000), Millis(0), "it was not sent at that moment");
        assert_eq!(come(2 * period), WAIT);
        assert_eq!(come(3 * period), Millis(0), "one came alone");
        assert_eq!(come(9 * period), Millis(0));
    }
}

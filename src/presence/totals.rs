//! What was done for a site since it began, in numbers that only grow.
//!
//! Isolates count for themselves and tell it with each batch, and the site's rows carry the sums: so these outlive every
//! isolate and every restart, and cost no row of their own.

use super::time::Millis;
use serde::{Deserialize, Serialize};

/// What an isolate has counted since it told so last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Touches, leaves and sign-outs that requests meant.
    pub received: u32,
    /// Of these, touches that told nothing new and were not sent.
    pub suppressed: u32,
    /// And those that were dropped, as more came than batches have room for.
    pub shed: u32,
    /// How often a batch was not taken.
    pub failed: u32,
    /// How often an object had to say that a row it needs cannot be read.
    pub unreadable: u32,
    /// How long it took until the last batch was answered.
    pub answered_in: Option<Millis>,
}

impl Counted {
    /// Adds what could not be told before.
    pub fn add(&mut self, before: Self) {
        self.received = self.received.saturating_add(before.received);
        self.suppressed = self.suppressed.saturating_add(before.suppressed);
        self.shed = self.shed.saturating_add(before.shed);
        self.failed = self.failed.saturating_add(before.failed);
        self.unreadable = self.unreadable.saturating_add(before.unreadable);
        self.answered_in = self.answered_in.or(before.answered_in);
    }
}

/// The sums of all isolates, and what their site has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Touches, leaves and sign-outs that requests meant.
    pub received: u64,
    /// Of these, touches that told nothing new and were not sent.
    pub suppressed: u64,
    /// And those that were dropped, as more came than batches have room for.
    pub shed: u64,
    /// How often a batch was not taken.
    pub failed: u64,
    /// How many signals batches held.
    pub sizes: Histogram,
    /// How many milliseconds it took until a batch was answered.
    pub answered_in: Histogram,
    /// Rows that were written; deleted ones and the setting of alarms count, as they are billed.
    pub rows: u64,
    /// How often the site was built from its rows.
    pub wakes: u64,
    /// How many stored rows could not be read.
    pub unreadable: u64,
}

impl Totals {
    /// Adds what came with a batch of so many signals.
    pub fn add(&mut self, counted: Counted, signals: usize) {
        self.received += u64::from(counted.received);
        self.suppressed += u64::from(counted.suppressed);
        self.shed += u64::from(counted.shed);
        self.failed += u64::from(counted.failed);
        self.unreadable += u64::from(counted.unreadable);
        self.sizes.note(signals as u64);
        counted.answered_in.iter().for_each(|time| self.answered_in.note(u64::from(time.0)));
    }

    /// What was done for one site by two objects.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            received: self.received + other.received,
            suppressed: self.suppressed + other.suppressed,
            shed: self.shed + other.shed,
            failed: self.failed + other.failed,
            sizes: self.sizes.plus(&other.sizes),
            answered_in: self.answered_in.plus(&other.answered_in),
            rows: self.rows + other.rows,
            wakes: self.wakes + other.wakes,
            unreadable: self.unreadable + other.unreadable,
        }
    }
}

/// How often figures were at most so large.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// How many were at most as large as the bound in [`Histogram::BOUNDS`] of the same index, and larger than the one
    /// before.
    pub counts: [u64; Histogram::BOUNDS.len()],
    /// How many were larger than all bounds.
    pub beyond: u64,
    /// All of them together.
    pub sum: u64,
}

impl Histogram {
    /// The bounds: three to a power of ten are fine enough to see what is usual.
    pub const BOUNDS: [u64; 7] = [1, 3, 10, 30, 100, 300, 1000];

    /// Notes a figure.
    pub fn note(&mut self, figure: u64) {
        let index = Self::BOUNDS.partition_point(|bound| *bound < figure);
        *self.counts.get_mut(index).unwrap_or(&mut self.beyond) += 1;
        self.sum += figure;
    }

    fn plus(&self, other: &Self) -> Self {
        let mut both = *self;
        both.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        Self { beyond: self.beyond + other.beyond, sum: self.sum + other.sum, ..both }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_counted_at_the_least_bound_that_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        [0, 1, 2, 3, 4, 1000, 1001].into_iter().for_each(|figure| histogram.note(figure));
        assert_eq!((histogram.counts, histogram.beyond), ([2, 2, 1, 0, 0, 0, 1], 1));
        assert_eq!(histogram.sum, 2011);
    }

    #[test]
    fn what_could_not_be_told_is_told_the_next_time() {
        let counted = Counted { received: 3, suppressed: 1, unreadable: 2, ..Counted::default() };
        let mut next = Counted { received: 2, answered_in: Some(Millis(7)), ..Counted::default() };
        next.add(Counted { failed: 1, ..counted });
        let mut totals = Totals::default();
        totals.add(next, 4);
        assert_eq!((totals.received, totals.suppressed, totals.failed), (5, 1, 1));
        assert_eq!(totals.unreadable, 2);
        assert_eq!((totals.sizes.sum, totals.answered_in.sum), (4, 7));
    }
}

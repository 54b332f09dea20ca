//! Members who are only counted, as there were too many to keep: how many were last seen in which second.

use std::collections::BTreeMap;

/// How many were merged, until their window has passed.
#[derive(Debug, Default)]
pub struct Merged {
    /// By the second in which they were last seen.
    counts: BTreeMap<i64, u32>,
    len: usize,
    /// What no row has told yet.
    untold: BTreeMap<i64, u32>,
}

impl Merged {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Counts somebody who was last seen in that second.
    pub fn add(&mut self, second: i64) {
        self.put(second, 1);
        *self.untold.entry(second).or_default() += 1;
    }

    /// Counts those whom a row tells of.
    pub fn put(&mut self, second: i64, count: u32) {
        *self.counts.entry(second).or_default() += count;
        self.len += count as usize;
    }

    /// Those whom no row has told yet.
    pub fn take_untold(&mut self) -> BTreeMap<i64, u32> {
        std::mem::take(&mut self.untold)
    }

    /// All rows are dropped: everybody is to be told anew.
    pub fn tell_anew(&mut self) {
        self.untold = self.counts.clone();
    }

    /// The second in which the first of them was last seen who will go.
    pub fn oldest(&self) -> Option<i64> {
        self.counts.first_key_value().map(|(second, _)| *second)
    }

    /// Forgets whoever was last seen before that second.
    pub fn expire(&mut self, oldest: i64) {
        while let Some(first) = self.counts.first_entry().filter(|first| *first.key() < oldest) {
            self.len -= first.remove() as usize;
        }
        self.untold = self.untold.split_off(&oldest);
    }

    /// The clock was put back: nobody was seen later than now.
    pub fn rewind(&mut self, now: i64) {
        for counts in [&mut self.counts, &mut self.untold] {
            let later: u32 = counts.split_off(&now).into_values().sum();
            if later > 0 {
                counts.insert(now, later);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_counted_until_their_second_has_passed_and_told_once() {
        let mut merged = Merged::default();
        [5, 5, 9].into_iter().for_each(|second| merged.add(second));
        assert_eq!((merged.len(), merged.oldest()), (3, Some(5)));
        assert_eq!(merged.take_untold(), [(5, 2), (9, 1)].into());
        merged.put(7, 4);
        assert!(merged.take_untold().is_empty());
        merged.expire(6);
        assert_eq!((merged.len(), merged.oldest()), (5, Some(7)));
        merged.tell_anew();
        merged.rewind(8);
        assert_eq!((merged.len(), merged.take_untold()), (5, [(7, 4), (8, 1)].into()));
        merged.expire(9);
        assert_eq!((merged.len(), merged.oldest()), (0, None));
    }
}

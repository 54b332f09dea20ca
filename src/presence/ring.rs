//! The ring of time buckets: who was touched within a window, by the second of their latest touch.
//!
//! It knows seconds and entries, and nothing of what an entry means. An entry lies in exactly one bucket. To insert,
//! touch and remove costs the same at ten entries and at a million; to expire costs as much as there are leavers; to
//! walk from the newest costs as much as is walked.
//!
//! Two sets that are rotated are this ring with two buckets, and a sorted set by last-seen time is what it comes to
//! with ever finer ones; one second is as fine as an online window is told.

/// Where an entry lies. Valid until the entry is removed or expires; then it may come to mean another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u32);

/// The end of a list.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Link<T> {
    /// Free slots hold no entry and are chained by `next`.
    entry: Option<T>,
    second: i64,
    next: u32,
    prev: u32,
}

/// Entries by the second of their latest touch, over a window of `window` seconds.
#[derive(Debug)]
pub struct Ring<T> {
    slab: Vec<Link<T>>,
    free: u32,
    /// The first slot of each bucket; the bucket of a second is the one at its remainder.
    heads: Vec<u32>,
    /// The second that the ring stands at; no entry is newer, and none is older than the window before it.
    now: i64,
    len: usize,
}

impl<T> Ring<T> {
    /// An empty ring over the `window` seconds before `now`, which itself is within it.
    pub fn new(window: u32, now: i64) -> Self {
        let buckets = window as usize + 1;
        Self { slab: Vec::new(), free: NONE, heads: vec![NONE; buckets], now, len: 0 }
    }

    /// How many entries it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The oldest second that is still within the window.
    pub fn oldest(&self) -> i64 {
        self.now.saturating_sub(self.heads.len() as i64 - 1)
    }

    /// The second that the ring stands at.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The entry at a slot.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.slab.get(slot.0 as usize)?.entry.as_ref()
    }

    /// The entry at a slot, to change it.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.slab.get_mut(slot.0 as usize)?.entry.as_mut()
    }

    /// Puts an entry into the bucket of `second`, which is moved into the window if it lies outside.
    pub fn insert(&mut self, second: i64, entry: T) -> Slot {
        let index = match self.slab.get_mut(self.free as usize) {
            Some(link) => {
                let index = self.free;
                self.free = link.next;
                link.entry = Some(entry);
                index
            }
            None => {
                self.slab.push(Link { entry: Some(entry), second, next: NONE, prev: NONE });
                self.slab.len() as u32 - 1
            }
        };
        self.len += 1;
        self.link(index, second);
        Slot(index)
    }

    /// Moves an entry to the bucket of `second`, which is moved into the window if it lies outside.
    pub fn touch(&mut self, slot: Slot, second: i64) {
        if self.get(slot).is_some() {
            self.unlink(slot.0);
            self.link(slot.0, second);
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        self.get(slot)?;
        self.unlink(slot.0);
        self.len -= 1;
        let link = self.slab.get_mut(slot.0 as usize)?;
        link.next = self.free;
        self.free = slot.0;
        link.entry.take()
    }

    /// Moves the ring on to `now` and takes out, oldest first, every entry that fell out of the window and was not
    /// touched since by the `second` that is known of it elsewhere. A `now` before the one it stands at changes nothing.
    pub fn expire(&mut self, now: i64, second: impl Fn(&T) -> i64, mut left: impl FnMut(Slot, T)) {
        if now <= self.now {
            return;
        }
        let (mut kept, oldest) = (Vec::new(), now.saturating_sub(self.heads.len() as i64 - 1));
        // Beyond one turn every bucket has been emptied.
        let last = self.oldest().saturating_add((now - self.now).min(self.heads.len() as i64));
        for due in self.oldest()..last {
            while let Some(slot) = self.head(due) {
                match self.get(slot).map(&second).filter(|second| *second >= oldest) {
                    Some(second) => {
                        self.unlink(slot.0);
                        kept.push((slot, second));
                    }
                    None => {
                        if let Some(entry) = self.remove(slot) {
                            left(slot, entry);
                        }
                    }
                }
            }
        }
        self.now = now;
        // Only now, as the bucket of that second may be one of those that had to be emptied.
        kept.into_iter().for_each(|(slot, second)| self.link(slot.0, second));
    }

    /// The entries of one second, the latest inserted first.
    pub fn bucket(&self, second: i64) -> impl Iterator<Item = (Slot, &T)> {
        let mut at = if (self.oldest()..=self.now).contains(&second) { self.head(second) } else { None };
        std::iter::from_fn(move || {
            let slot = at?;
            let link = self.slab.get(slot.0 as usize)?;
            at = (link.next != NONE).then_some(Slot(link.next));
            Some((slot, link.entry.as_ref()?))
        })
    }

    /// Takes the ring apart: every entry, in no order.
    pub fn into_entries(self) -> impl Iterator<Item = T> {
        self.slab.into_iter().filter_map(|link| link.entry)
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        self.slab.iter().enumerate().filter_map(|(index, link)| Some((Slot(index as u32), link.entry.as_ref()?)))
    }

    fn bucket_of(&self, second: i64) -> usize {
        second.rem_euclid(self.heads.len() as i64) as usize
    }

    fn head(&self, second: i64) -> Option<Slot> {
        let head = self.heads.get(self.bucket_of(second)).copied()?;
        (head != NONE).then_some(Slot(head))
    }

    fn link(&mut self, index: u32, second: i64) {
        let second = second.clamp(self.oldest(), self.now);
        let bucket = self.bucket_of(second);
        let Some(head) = self.heads.get_mut(bucket) else { return };
        let next = std::mem::replace(head, index);
        if let Some(link) = self.slab.get_mut(index as usize) {
            (link.second, link.prev, link.next) = (second, NONE, next);
        }
        if let Some(link) = self.slab.get_mut(next as usize) {
            link.prev = index;
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(link) = self.slab.get(index as usize) else { return };
        let (second, prev, next) = (link.second, link.prev, link.next);
        if let Some(link) = self.slab.get_mut(next as usize) {
            link.prev = prev;
        }
        if let Some(link) = self.slab.get_mut(prev as usize) {
            link.next = next;
        } else {
            let bucket = self.bucket_of(second);
            if let Some(head) = self.heads.get_mut(bucket) {
                *head = next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn names(ring: &Ring<u8>) -> Vec<u8> {
        (ring.oldest()..=ring.now()).rev().flat_map(|second| ring.bucket(second).map(|(_, &e)| e)).collect()
    }

    #[test]
    fn an_entry_is_within_the_window_to_its_last_second() {
        let mut ring = Ring::new(300, 1000);
        ring.insert(1000, 1);
        let mut left = Vec::new();
        ring.expire(1300, |_| i64::MIN, |_, e| left.push(e));
        assert!(left.is_empty());
        ring.expire(1301, |_| i64::MIN, |_, e| left.push(e));
        assert_eq!(left, [1]);
        assert_eq!(ring.len(), 0);
    }

    #[test]
    fn a_window_of_one_second_works() {
        let mut ring = Ring::new(1, 0);
        ring.insert(0, 1);
        ring.expire(1, |_| i64::MIN, |_, _| panic!("still within"));
        ring.insert(1, 2);
        let mut left = Vec::new();
        ring.expire(2, |_| i64::MIN, |_, e| left.push(e));
        assert_eq!(left, [1]);
        assert_eq!(names(&ring), [2]);
    }

    #[test]
    fn a_leap_of_years_empties_it_in_one_turn() {
        let mut ring = Ring::new(5, 0);
        for n in 0..10 {
            ring.insert(0, n);
        }
        let mut left = 0;
        ring.expire(i64::from(u32::MAX), |_| i64::MIN, |_, _| left += 1);
        assert_eq!(left, 10);
        ring.insert(i64::from(u32::MAX), 1);
        assert_eq!(names(&ring), [1]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, i64),
        Remove(u8),
        Pass(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<u8>(), 0..8i64).prop_map(|(name, ago)| Step::Put(name % 32, ago)),
            1 => any::<u8>().prop_map(|name| Step::Remove(name % 32)),
            2 => (0..4i64).prop_map(Step::Pass),
            1 => (0..40i64).prop_map(Step::Pass),
        ]
    }

    #[test]
    fn who_was_touched_unbeknown_to_the_ring_stays_however_long_nobody_looked() {
        let mut ring = Ring::new(4, 100);
        let (kept, gone) = (ring.insert(100, 1), ring.insert(100, 2));
        // The bucket of second 105 is that of second 100.
        let mut left = Vec::new();
        ring.expire(105, |name| if *name == 1 { 105 } else { 100 }, |slot, name| left.push((slot, name)));
        assert_eq!((left, ring.get(kept), names(&ring)), (vec![(gone, 2)], Some(&1), vec![1]));
        ring.expire(10_000, |_| 9999, |_, _| panic!("touched a second ago"));
        assert_eq!(ring.bucket(9999).count(), 1);
    }

    proptest! {
        /// The model is a plain map from name to the second of the latest touch.
        #[test]
        fn the_ring_agrees_with_a_plain_map(window in 1..12u32, steps in proptest::collection::vec(step(), 0..200)) {
            let mut now = 100;
            let mut ring = Ring::new(window, now);
            let mut slots: HashMap<u8, Slot> = HashMap::new();
            let mut model: HashMap<u8, i64> = HashMap::new();
            for step in steps {
                match step {
                    Step::Put(name, ago) => {
                        let second = (now - ago).clamp(now - i64::from(window), now);
                        match slots.get(&name) {
                            Some(&slot) => ring.touch(slot, second),
                            None => { slots.insert(name, ring.insert(second, name)); }
                        }
                        model.insert(name, second);
                    }
                    Step::Remove(name) => {
                        let removed = slots.remove(&name).and_then(|slot| ring.remove(slot));
                        prop_assert_eq!(removed.is_some(), model.remove(&name).is_some());
                    }
                    Step::Pass(seconds) => {
                        now += seconds;
                        ring.expire(now, |_| i64::MIN, |_, name| { slots.remove(&name); });
                        model.retain(|_, second| now - *second <= i64::from(window));
                    }
                }
                prop_assert_eq!(ring.len(), model.len());
                let mut expected: Vec<_> = model.iter().map(|(&name, &second)| (second, name)).collect();
                expected.sort_unstable();
                let mut found: Vec<_> = (ring.oldest()..=now)
                    .flat_map(|second| ring.bucket(second).map(move |(_, &name)| (second, name)))
                    .collect();
                found.sort_unstable();
                prop_assert_eq!(found, expected);
            }
        }
    }
}

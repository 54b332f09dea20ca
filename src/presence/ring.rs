//! The ring of time buckets: who was touched within a window, by the second of their latest touch.
//!
//! It knows seconds and entries, and nothing of what an entry means. To insert, touch and remove costs the same at ten
//! entries and at a million; to expire costs as much as there are leavers; to walk from the newest costs as much as is
//! walked.
//!
//! A bucket notes who was touched in its second, and is not told when they are touched again: the note is stale from
//! then on, and is passed over. So a touch writes to the entry and to the end of the newest bucket, and nowhere else; a
//! list that is linked through the entries writes to its neighbours too, each somewhere else in memory, which at a
//! million entries takes almost three times as long. Where there are too many stale notes they are dropped.
//!
//! Two sets that are rotated are this ring with two buckets, and a sorted set by last-seen time is what it comes to
//! with ever finer ones; one second is as fine as an online window is told.

/// What knows the second of its latest touch, counted from the epoch.
pub trait Timed {
    /// That second.
    fn second(&self) -> i64;
}

/// Where an entry lies. Valid until the entry is removed or expires; then it may come to mean another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

/// How many entries lie together: what is full stays where it is when more is needed, and nothing is copied.
const CHUNK: usize = 4096;

/// So many notes for each entry, and so many besides, are kept before the stale ones are dropped.
const NOTES_EACH: usize = 3;
const NOTES_BESIDES: usize = 1024;

/// Entries by the second of their latest touch, over a window of `window` seconds.
#[derive(Debug)]
pub struct Ring<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<Slot>,
    /// Who was touched in a second; the bucket of a second is the one at its remainder.
    buckets: Vec<Vec<Slot>>,
    /// How many notes the buckets hold.
    notes: usize,
    /// No second within the window before this one has an entry: here it is looked for who was touched longest ago.
    first: i64,
    /// The second that the ring stands at; no entry is newer, and none is older than the window before it.
    now: i64,
    len: usize,
}

impl<T: Timed> Ring<T> {
    /// An empty ring over the `window` seconds before `now`, which itself is within it.
    pub fn new(window: u32, now: i64) -> Self {
        let buckets = (0..=window).map(|_| Vec::new()).collect();
        Self { chunks: Vec::new(), free: Vec::new(), buckets, notes: 0, first: now, now, len: 0 }
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
        self.oldest_at(self.now)
    }

    /// The second that the ring stands at.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// The entry at a slot.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.chunks.get(slot.0 as usize / CHUNK)?.get(slot.0 as usize % CHUNK)?.as_ref()
    }

    /// The entry at a slot, to change anything of it but its second.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.place(slot)?.as_mut()
    }

    /// Puts an entry into the bucket of its second, or of the nearest within the window.
    pub fn insert(&mut self, entry: T) -> Slot {
        let second = entry.second();
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.place(slot) {
                    *place = Some(entry);
                }
                slot
            }
            None => self.append(entry),
        };
        self.len += 1;
        self.note(slot, second);
        slot
    }

    /// Has the second of an entry changed, and moves it to the bucket of the one that it has then.
    pub fn touch(&mut self, slot: Slot, change: impl FnOnce(&mut T)) {
        let Some(entry) = self.get_mut(slot) else { return };
        let before = entry.second();
        change(entry);
        let second = entry.second();
        if second != before {
            self.note(slot, second);
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        let entry = self.place(slot)?.take()?;
        self.len -= 1;
        self.free.push(slot);
        Some(entry)
    }

    /// Takes out one of those who were touched longest ago.
    pub fn take_oldest(&mut self) -> Option<(Slot, T)> {
        let slot = self.find_oldest()?;
        self.remove(slot).map(|entry| (slot, entry))
    }

    /// The second of those who were touched longest ago.
    pub fn oldest_touch(&mut self) -> Option<i64> {
        self.find_oldest().map(|_| self.first)
    }

    /// Moves the ring on to `now` and takes out, oldest first, every entry that fell out of the window. A `now` before
    /// the one it stands at changes nothing.
    pub fn expire(&mut self, now: i64, mut left: impl FnMut(Slot, T)) {
        if now <= self.now {
            return;
        }
        let (mut ahead, oldest) = (Vec::new(), self.oldest_at(now));
        // Beyond one turn every bucket has been emptied.
        let last = self.oldest().saturating_add((now - self.now).min(self.buckets.len() as i64));
        for due in self.oldest()..last {
            for slot in self.empty(due) {
                match self.get(slot).map(T::second) {
                    Some(second) if second < oldest => {
                        if let Some(entry) = self.remove(slot) {
                            left(slot, entry);
                        }
                    }
                    // Touched ahead of the ring's time, in a second that has the same bucket.
                    Some(second) if self.bucket_of(second) == self.bucket_of(due) => ahead.push((slot, second)),
                    Some(_) | None => {}
                }
            }
        }
        (self.now, self.first) = (now, self.first.max(oldest));
        ahead.into_iter().for_each(|(slot, second)| self.note(slot, second));
    }

    /// The entries of one second, in no order. One that was noted in two seconds which have the same bucket, or whose slot
    /// was another's in the same second, may be among them twice.
    pub fn bucket(&self, second: i64) -> impl Iterator<Item = (Slot, &T)> {
        let within = (self.oldest()..=self.now).contains(&second);
        let notes = self.buckets.get(self.bucket_of(second)).filter(|_| within).into_iter().flatten();
        notes.filter_map(move |slot| Some((*slot, self.noted(*slot, second)?)))
    }

    /// Takes the ring apart: every entry, in no order.
    pub fn into_entries(self) -> impl Iterator<Item = T> {
        self.chunks.into_iter().flatten().flatten()
    }

    /// Every entry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        let entries = self.chunks.iter().flatten().enumerate();
        entries.filter_map(|(index, entry)| Some((Slot(index as u32), entry.as_ref()?)))
    }

    fn oldest_at(&self, now: i64) -> i64 {
        now.saturating_sub(self.buckets.len() as i64 - 1)
    }

    fn bucket_of(&self, second: i64) -> usize {
        second.rem_euclid(self.buckets.len() as i64) as usize
    }

    fn place(&mut self, slot: Slot) -> Option<&mut Option<T>> {
        self.chunks.get_mut(slot.0 as usize / CHUNK)?.get_mut(slot.0 as usize % CHUNK)
    }

    fn append(&mut self, entry: T) -> Slot {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => {
                chunk.push(Some(entry));
                Slot((full + chunk.len() - 1) as u32)
            }
            None => {
                // The first one grows as it is needed, as most rings are small.
                let room = if self.chunks.is_empty() { 1 } else { CHUNK };
                let mut chunk = Vec::with_capacity(room);
                chunk.push(Some(entry));
                self.chunks.push(chunk);
                Slot(((self.chunks.len() - 1) * CHUNK) as u32)
            }
        }
    }

    /// The entry that a note in the bucket of `second` means, if it is not stale.
    fn noted(&self, slot: Slot, second: i64) -> Option<&T> {
        self.get(slot).filter(|entry| self.within(entry.second()) == second)
    }

    /// A second, or the nearest within the window.
    fn within(&self, second: i64) -> i64 {
        second.clamp(self.oldest(), self.now)
    }

    /// Notes that an entry was touched in a second, which may be ahead of the ring's time by less than the window.
    fn note(&mut self, slot: Slot, second: i64) {
        if self.notes >= self.len * NOTES_EACH + NOTES_BESIDES {
            self.drop_stale();
        }
        let second = second.max(self.oldest());
        self.first = self.first.min(second);
        let bucket = self.bucket_of(second);
        if let Some(bucket) = self.buckets.get_mut(bucket) {
            bucket.push(slot);
            self.notes += 1;
        }
    }

    /// One of those who were touched longest ago. Costs as many steps as there are stale notes and seconds that are passed by
    /// it, and none of these is passed twice.
    fn find_oldest(&mut self) -> Option<Slot> {
        let mut ahead = Vec::new();
        let mut oldest = None;
        while oldest.is_none() && self.first <= self.now {
            let (second, bucket) = (self.first, self.bucket_of(self.first));
            let Some(slot) = self.buckets.get_mut(bucket).and_then(Vec::pop) else {
                self.first += 1;
                continue;
            };
            self.notes -= 1;
            match self.get(slot).map(T::second) {
                Some(touched) if self.within(touched) == second => oldest = Some(slot),
                // Touched ahead of the ring's time, in a second that has the same bucket.
                Some(touched) if touched > self.now && self.bucket_of(touched) == bucket => ahead.push((slot, touched)),
                Some(_) | None => {}
            }
        }
        ahead
            .into_iter()
            .chain(oldest.map(|slot| (slot, self.first)))
            .for_each(|(slot, second)| self.note(slot, second));
        oldest
    }

    /// Empties the bucket of a second.
    fn empty(&mut self, second: i64) -> Vec<Slot> {
        let bucket = self.bucket_of(second);
        let slots = self.buckets.get_mut(bucket).map(std::mem::take).unwrap_or_default();
        self.notes -= slots.len();
        slots
    }

    fn drop_stale(&mut self) {
        let (turn, oldest) = (self.buckets.len() as i64, self.oldest());
        let mut buckets = std::mem::take(&mut self.buckets);
        self.notes = 0;
        for (index, bucket) in buckets.iter_mut().enumerate() {
            let lies_here = |second: i64| second.max(oldest).rem_euclid(turn) as usize == index;
            bucket.retain(|slot| self.get(*slot).is_some_and(|entry| lies_here(entry.second())));
            bucket.sort_unstable();
            bucket.dedup();
            bucket.shrink_to_fit();
            self.notes += bucket.len();
        }
        self.buckets = buckets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// A name, and the second of its latest touch.
    #[derive(Debug, PartialEq)]
    struct Named(u8, i64);

    impl Timed for Named {
        fn second(&self) -> i64 {
            self.1
        }
    }

    fn names(ring: &Ring<Named>) -> Vec<u8> {
        let mut names: Vec<_> =
            (ring.oldest()..=ring.now()).rev().flat_map(|second| ring.bucket(second).map(|(_, e)| e.0)).collect();
        names.dedup();
        names
    }

    #[test]
    fn an_entry_is_within_the_window_to_its_last_second() {
        let mut ring = Ring::new(300, 1000);
        ring.insert(Named(1, 1000));
        let mut left = Vec::new();
        ring.expire(1300, |_, e| left.push(e.0));
        assert!(left.is_empty());
        ring.expire(1301, |_, e| left.push(e.0));
        assert_eq!(left, [1]);
        assert_eq!(ring.len(), 0);
    }

    #[test]
    fn a_window_of_one_second_works() {
        let mut ring = Ring::new(1, 0);
        ring.insert(Named(1, 0));
        ring.expire(1, |_, _| panic!("still within"));
        ring.insert(Named(2, 1));
        let mut left = Vec::new();
        ring.expire(2, |_, e| left.push(e.0));
        assert_eq!(left, [1]);
        assert_eq!(names(&ring), [2]);
    }

    #[test]
    fn a_leap_of_years_empties_it_in_one_turn() {
        let mut ring = Ring::new(5, 0);
        for n in 0..10 {
            ring.insert(Named(n, 0));
        }
        let mut left = 0;
        ring.expire(i64::from(u32::MAX), |_, _| left += 1);
        assert_eq!(left, 10);
        ring.insert(Named(1, i64::from(u32::MAX)));
        assert_eq!(names(&ring), [1]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, i64),
        Remove(u8),
        TakeOldest,
        Pass(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (any::<u8>(), 0..8i64).prop_map(|(name, ago)| Step::Put(name % 32, ago)),
            1 => any::<u8>().prop_map(|name| Step::Remove(name % 32)),
            1 => Just(Step::TakeOldest),
            2 => (0..4i64).prop_map(Step::Pass),
            1 => (0..40i64).prop_map(Step::Pass),
        ]
    }

    #[test]
    fn who_is_touched_ahead_of_time_stays() {
        let mut ring = Ring::new(4, 100);
        let (kept, gone) = (ring.insert(Named(1, 100)), ring.insert(Named(2, 100)));
        // The bucket of second 105 is that of second 100.
        ring.touch(kept, |entry| entry.1 = 105);
        let mut left = Vec::new();
        ring.expire(105, |slot, entry| left.push((slot, entry.0)));
        assert_eq!((left, ring.get(kept), names(&ring)), (vec![(gone, 2)], Some(&Named(1, 105)), vec![1]));
        ring.touch(kept, |entry| entry.1 = 9999);
        ring.expire(10_000, |_, _| panic!("touched a second ago"));
        assert_eq!(ring.bucket(9999).count(), 1);
    }

    #[test]
    fn whoever_is_touched_all_the_time_leaves_few_notes() {
        let mut ring = Ring::new(300, 0);
        let slots: Vec<_> = (0..100).map(|name| ring.insert(Named(name, 0))).collect();
        for second in 1..=300 {
            ring.expire(second, |_, _| panic!("still within"));
            slots.iter().for_each(|slot| ring.touch(*slot, |entry| entry.1 = second));
            assert!(ring.notes <= ring.len() * NOTES_EACH + NOTES_BESIDES);
        }
        assert_eq!((ring.bucket(300).count(), ring.bucket(299).count()), (100, 0));
    }

    #[test]
    fn whoever_comes_and_goes_all_the_time_leaves_few_notes() {
        let mut ring = Ring::new(300, 0);
        for _ in 0..100_000 {
            let slot = ring.insert(Named(1, 0));
            ring.remove(slot);
        }
        assert!(ring.notes <= NOTES_BESIDES);
    }

    #[test]
    fn entries_stay_where_they_are_when_there_are_many() {
        let mut ring = Ring::new(10, 0);
        let many = 3 * CHUNK + 7;
        let slots: Vec<_> = (0..many).map(|number| ring.insert(Named((number % 256) as u8, 0))).collect();
        let read = |ring: &Ring<Named>| slots.iter().map(|slot| ring.get(*slot).map_or(0, |e| e.0)).collect::<Vec<_>>();
        assert!(read(&ring).iter().enumerate().all(|(number, name)| usize::from(*name) == number % 256));
        assert_eq!(ring.remove(slots[CHUNK]), Some(Named(0, 0)));
        assert_eq!((ring.insert(Named(9, 0)), ring.len()), (slots[CHUNK], many));
        assert!(ring.iter().map(|(slot, _)| slot).eq(slots.iter().copied()));
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
                            Some(&slot) => ring.touch(slot, |entry: &mut Named| entry.1 = second),
                            None => { slots.insert(name, ring.insert(Named(name, second))); }
                        }
                        model.insert(name, second);
                    }
                    Step::Remove(name) => {
                        let removed = slots.remove(&name).and_then(|slot| ring.remove(slot));
                        prop_assert_eq!(removed.is_some(), model.remove(&name).is_some());
                    }
                    Step::TakeOldest => {
                        prop_assert_eq!(ring.oldest_touch(), model.values().min().copied());
                        let taken = ring.take_oldest();
                        prop_assert_eq!(taken.as_ref().map(|(_, entry)| entry.1), model.values().min().copied());
                        if let Some((_, Named(name, _))) = taken {
                            slots.remove(&name);
                            model.remove(&name);
                        }
                    }
                    Step::Pass(seconds) => {
                        now += seconds;
                        ring.expire(now, |_, entry| { slots.remove(&entry.0); });
                        model.retain(|_, second| now - *second <= i64::from(window));
                    }
                }
                prop_assert_eq!(ring.len(), model.len());
                let mut expected: Vec<_> = model.iter().map(|(&name, &second)| (second, name)).collect();
                expected.sort_unstable();
                let mut found: Vec<_> = (ring.oldest()..=now)
                    .flat_map(|second| ring.bucket(second).map(move |(_, entry)| (second, entry.0)))
                    .collect();
                found.sort_unstable();
                found.dedup();
                prop_assert_eq!(found, expected);
            }
        }
    }
}

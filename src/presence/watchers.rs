//! Who watches, what they were told last, and when they are told next.
//!
//! Those who see the same and were told the same are told the same, so what they are told is put into words once.

use super::site::Counts;
use super::time::{Millis, Timestamp};
use std::collections::HashSet;

/// How far apart two tellings are at the least while there is news; when it was quiet before, news goes out at once.
pub const PACE: Millis = Millis(250);

/// From here on they are further apart, in proportion: a telling costs as much as there are watchers, about 10 µs each.
const AT_FULL_PACE: usize = 2500;

/// How far apart two tellings are at the least where there are so many watchers.
pub fn pace(watchers: usize) -> Millis {
    Millis(PACE.0.saturating_mul((watchers / AT_FULL_PACE).max(1) as u32))
}

/// Somebody who watches.
pub type WatcherId = u64;

/// Everybody who watches; `V` is what somebody sees.
pub struct Watchers<V> {
    groups: Vec<Group<V>>,
    gone: HashSet<WatcherId>,
    count: usize,
    told: Option<(Timestamp, u64)>,
}

struct Group<V> {
    view: V,
    parts: Vec<Part>,
}

/// Those of a group who know the same.
struct Part {
    known: Option<(u64, Counts)>,
    watchers: Vec<WatcherId>,
}

impl<V> Default for Watchers<V> {
    fn default() -> Self {
        Self { groups: Vec::new(), gone: HashSet::new(), count: 0, told: None }
    }
}

impl<V: PartialEq> Watchers<V> {
    /// How many they are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nobody watches.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds somebody who is new. `known` is the version that they were told of, with its counts; `None` where that was
    /// before a sleep.
    pub fn add(&mut self, id: WatcherId, view: V, known: Option<(u64, Counts)>) {
        self.count += 1;
        let index = match self.groups.iter().position(|group| group.view == view) {
            Some(index) => index,
            None => {
                self.groups.push(Group { view, parts: Vec::new() });
                self.groups.len() - 1
            }
        };
        let Some(group) = self.groups.get_mut(index) else { return };
        match group.parts.iter_mut().find(|part| part.known == known) {
            Some(part) => part.watchers.push(id),
            None => group.parts.push(Part { known, watchers: vec![id] }),
        }
    }

    /// Takes somebody out who was added and not yet taken out.
    pub fn remove(&mut self, id: WatcherId) {
        if self.gone.insert(id) {
            self.count = self.count.saturating_sub(1);
        }
    }

    /// In what time they may be told something next.
    pub fn next(&self, now: Timestamp) -> Millis {
        let pace = pace(self.count);
        // A clock that was put back makes nobody wait.
        let since = self.told.filter(|(at, _)| *at <= now).map_or(pace, |(at, _)| now.since(at));
        Millis(pace.0.saturating_sub(since.0))
    }

    /// How long to wait before they are told of this version; `None` if they know it.
    pub fn due(&self, now: Timestamp, version: u64) -> Option<Millis> {
        let told = self.told.map_or(0, |(_, told)| told);
        let behind = told < version || self.parts().any(|part| part.known.is_none_or(|(known, _)| known < version));
        (behind && self.count > 0).then(|| self.next(now))
    }

    /// Has each of them told of this version. `tell` is given what they see, what they know, and who they are; it gives
    /// back the counts that they know then.
    pub fn tell(
        &mut self,
        now: Timestamp,
        version: u64,
        mut tell: impl FnMut(&V, Option<(u64, Counts)>, &[WatcherId]) -> Counts,
    ) {
        self.told = Some((now, version));
        for group in &mut self.groups {
            let mut merged: Vec<Part> = Vec::with_capacity(1);
            for mut part in group.parts.drain(..) {
                part.watchers.retain(|id| !self.gone.contains(id));
                if part.watchers.is_empty() {
                    continue;
                }
                if part.known.is_none_or(|(known, _)| known != version) {
                    part.known = Some((version, tell(&group.view, part.known, &part.watchers)));
                }
                match merged.iter_mut().find(|other| other.known == part.known) {
                    Some(other) => other.watchers.append(&mut part.watchers),
                    None => merged.push(part),
                }
            }
            group.parts = merged;
        }
        self.groups.retain(|group| !group.parts.is_empty());
        self.gone.clear();
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.groups.iter().flat_map(|group| &group.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn told(watchers: &mut Watchers<&'static str>, now: i64, version: u64) -> Vec<(&'static str, u64, Vec<WatcherId>)> {
        let mut told = Vec::new();
        watchers.tell(at(now), version, |view, known, ids| {
            told.push((*view, known.unwrap().0, ids.to_vec()));
            Counts { total: version as usize, ..Counts::default() }
        });
        told
    }

    #[test]
    fn those_who_know_the_same_are_told_together() {
        let mut watchers = Watchers::default();
        for (id, view, version) in [(1, "all", 5), (2, "all", 5), (3, "count", 5), (4, "all", 6)] {
            watchers.add(id, view, Some((version, Counts::default())));
        }
        assert_eq!(told(&mut watchers, 0, 7), [("all", 5, vec![1, 2]), ("all", 6, vec![4]), ("count", 5, vec![3])]);
        watchers.add(5, "all", Some((7, Counts { total: 7, ..Counts::default() })));
        watchers.remove(2);
        watchers.remove(2);
        assert_eq!(watchers.len(), 4);
        assert_eq!(told(&mut watchers, 1000, 8), [("all", 7, vec![1, 4, 5]), ("count", 7, vec![3])]);
        assert_eq!(told(&mut watchers, 2000, 8), [], "they know it");
        [1, 3, 4, 5].into_iter().for_each(|id| watchers.remove(id));
        assert!(watchers.is_empty());
        assert_eq!(watchers.due(at(9000), 9), None);
    }

    #[test]
    fn news_goes_out_at_once_when_it_was_quiet_and_at_a_pace_when_it_was_not() {
        let mut watchers = Watchers::default();
        watchers.add(1, "all", Some((5, Counts::default())));
        assert_eq!(watchers.due(at(0), 6), Some(Millis(0)));
        told(&mut watchers, 0, 6);
        assert_eq!(watchers.due(at(10), 6), None);
        assert_eq!(watchers.due(at(10), 7), Some(Millis(240)));
        assert_eq!(watchers.due(at(250), 7), Some(Millis(0)));
        assert_eq!(watchers.due(at(-5000), 7), Some(Millis(0)), "a clock that was put back");
        (2..=10_000).for_each(|id| watchers.add(id, "all", Some((6, Counts::default()))));
        assert_eq!(watchers.due(at(10), 7), Some(Millis(990)));
    }
}

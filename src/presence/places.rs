//! The places where members are, each kept once however many are there.

use super::compact::Sort;
use super::id::{Title, Topic};
use super::member::Place;
use super::pages::Page;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::num::NonZeroU32;

/// A place that is kept: its number, counted from one. Valid as long as somebody holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlaceId(NonZeroU32);

impl PlaceId {
    fn at(index: usize) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index as u32))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// How many of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub users: usize,
    pub invisible: usize,
    pub guests: usize,
    pub bots: usize,
}

impl Numbers {
    pub fn of(&mut self, sort: Sort) -> &mut usize {
        match sort {
            Sort::User => &mut self.users,
            Sort::Invisible => &mut self.invisible,
            Sort::Guest => &mut self.guests,
            Sort::Bot => &mut self.bots,
        }
    }

    /// Users and guests.
    pub fn people(&self) -> usize {
        self.users + self.invisible + self.guests
    }

    pub fn add(&mut self, other: Self) {
        let Self { users, invisible, guests, bots } = other;
        self.users += users;
        self.invisible += invisible;
        self.guests += guests;
        self.bots += bots;
    }
}

#[derive(Debug)]
struct Kept {
    place: Place,
    /// How many members and tabs hold it.
    held: u32,
    /// Who is here now.
    here: Numbers,
}

#[derive(Debug, Default)]
pub struct Places {
    kept: Vec<Option<Kept>>,
    free: Vec<PlaceId>,
    index: HashTable<PlaceId>,
    hasher: FixedState,
    /// How many of the places are about something.
    with_topic: usize,
    /// How many bytes they take.
    bytes: usize,
}

/// How many bytes a place takes: with its texts, what an allocator takes for each of these, and its part of the table.
fn weight(place: &Place) -> usize {
    let Place { path, title, topic } = place;
    let texts = [Some(path.as_str()), title.as_ref().map(Title::as_str), topic.as_ref().map(Topic::as_str)];
    texts.into_iter().flatten().fold(size_of::<Kept>() + 12, |sum, text| sum + text.len() + 8)
}

impl Places {
    pub fn get(&self, id: PlaceId) -> Option<&Place> {
        Some(&self.kept.get(id.index())?.as_ref()?.place)
    }

    /// How many bytes they take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether any place is about anything.
    pub fn have_topics(&self) -> bool {
        self.with_topic > 0
    }

    /// Holds a place once more, keeping it if it is new.
    pub fn hold(&mut self, place: Place) -> PlaceId {
        let hash = self.hasher.hash_one(&place);
        let found = self.index.find(hash, |&id| self.get(id) == Some(&place)).copied();
        if let Some(id) = found {
            self.hold_again(id);
            return id;
        }
        self.with_topic += usize::from(place.topic.is_some());
        self.bytes += weight(&place);
        let kept = Some(Kept { place, held: 1, here: Numbers::default() });
        let id = match self.free.pop() {
            Some(id) => {
                if let Some(slot) = self.kept.get_mut(id.index()) {
                    *slot = kept;
                }
                id
            }
            None => {
                self.kept.push(kept);
                PlaceId::at(self.kept.len() - 1)
            }
        };
        self.index_as(id, hash);
        id
    }

    /// Holds a kept place once more.
    pub fn hold_again(&mut self, id: PlaceId) {
        self.hold_times(id, 1);
    }

    /// Holds it so many times more.
    pub fn hold_times(&mut self, id: PlaceId, times: u32) {
        if let Some(kept) = self.kept_mut(id) {
            kept.held += times;
        }
    }

    /// Lets go of a place, and forgets it when nobody holds it any more.
    pub fn release(&mut self, id: PlaceId) {
        self.release_times(id, 1);
    }

    /// The same for who has held it so many times.
    pub fn release_times(&mut self, id: PlaceId, times: u32) {
        let Some(kept) = self.kept_mut(id) else { return };
        kept.held = kept.held.saturating_sub(times);
        if kept.held > 0 {
            return;
        }
        self.unindex(id);
        if let Some(kept) = self.kept.get_mut(id.index()).and_then(Option::take) {
            self.with_topic -= usize::from(kept.place.topic.is_some());
            self.bytes -= weight(&kept.place);
        }
        self.free.push(id);
    }

    /// Forgets a topic: the places that were about it are about nothing.
    pub fn forget_topic(&mut self, topic: &str) {
        let about = |place: &Place| place.topic.as_ref().is_some_and(|known| known.as_str() == topic);
        let ids: Vec<_> = (0..self.kept.len()).map(PlaceId::at).filter(|id| self.get(*id).is_some_and(about)).collect();
        for id in ids {
            self.unindex(id);
            let bytes = self.kept_mut(id).map_or(0, |kept| {
                let before = weight(&kept.place);
                kept.place.topic = None;
                before - weight(&kept.place)
            });
            self.bytes -= bytes;
            self.with_topic -= 1;
            let hash = self.get(id).map(|place| self.hasher.hash_one(place)).unwrap_or_default();
            self.index_as(id, hash);
        }
    }

    /// Somebody arrived.
    pub fn enter(&mut self, id: PlaceId, sort: Sort) {
        if let Some(kept) = self.kept_mut(id) {
            *kept.here.of(sort) += 1;
        }
    }

    /// Somebody went away.
    pub fn exit(&mut self, id: PlaceId, sort: Sort) {
        if let Some(kept) = self.kept_mut(id) {
            let here = kept.here.of(sort);
            *here = here.saturating_sub(1);
        }
    }

    /// Who is on each page, by its path. Costs as much as there are places.
    pub fn by_path(&self) -> HashMap<&str, Numbers> {
        let mut all: HashMap<&str, Numbers> = HashMap::new();
        for kept in self.kept.iter().flatten() {
            all.entry(kept.place.path.as_str()).or_default().add(kept.here);
        }
        all
    }

    /// Who is where; a page is told once for each title. Costs as much as there are places.
    pub fn pages(&self) -> impl Iterator<Item = Page<'_>> {
        let told = |kept: &&Kept| kept.here.people() > 0 && !kept.place.is_nowhere();
        let peopled = self.kept.iter().flatten().filter(told);
        peopled.map(|Kept { place, here, .. }| {
            let title = place.title.as_ref().map(Title::as_str);
            Page { path: place.path.as_str(), titles: vec![(title, here.people())] }
        })
    }

    fn index_as(&mut self, id: PlaceId, hash: u64) {
        let (kept, hasher) = (&self.kept, &self.hasher);
        self.index.insert_unique(hash, id, |&id| {
            let kept = kept.get(id.index()).and_then(Option::as_ref);
            kept.map_or(0, |kept| hasher.hash_one(&kept.place))
        });
    }

    fn unindex(&mut self, id: PlaceId) {
        let hash = self.get(id).map(|place| self.hasher.hash_one(place)).unwrap_or_default();
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == id) {
            entry.remove();
        }
    }

    fn kept_mut(&mut self, id: PlaceId) -> Option<&mut Kept> {
        self.kept.get_mut(id.index())?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::PagePath;

    fn place(path: &str, title: Option<&str>) -> Place {
        let title = title.map(|title| Title::parse(title).unwrap());
        Place { path: PagePath::parse(path).unwrap(), title, topic: None }
    }

    #[test]
    fn a_place_is_kept_once_and_forgotten_with_its_last_holder() {
        let mut places = Places::default();
        let first = places.hold(place("/a", None));
        assert_eq!(places.hold(place("/a", None)), first);
        let other = places.hold(place("/b", None));
        assert_ne!(other, first);
        places.release(first);
        assert!(places.get(first).is_some());
        places.release(first);
        assert!(places.get(first).is_none());
        assert_eq!(places.hold(place("/c", None)), first, "its room is used again");
    }

    #[test]
    fn a_topic_that_is_forgotten_leaves_its_places_as_they_are() {
        let mut places = Places::default();
        let about = |topic: &str| Place { topic: Topic::parse(topic).ok(), ..place("/a", None) };
        let plain = places.hold(place("/a", None));
        let (sally, bob) = (places.hold(about("user:sally")), places.hold(about("user:bob")));
        places.forget_topic("user:sally");
        assert_eq!(places.get(sally), Some(&place("/a", None)));
        assert_eq!(places.get(bob), Some(&about("user:bob")));
        for id in [plain, sally] {
            places.release(id);
            assert_eq!(places.get(id), None);
        }
        assert!(places.have_topics());
        places.release(bob);
        assert!(!places.have_topics());
    }
}

//! The places where members are, each kept once however many are there.

use super::compact::Sort;
use super::groups::{GroupId, Groups, Link, Linked};
use super::id::{Title, Topic};
use super::member::Place;
use super::numbers::Numbers;
use super::pages::{Page, Titled, Word, together};
use super::place_id::PlaceId;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::BuildHasher;

#[derive(Debug)]
struct Kept {
    place: Place,
    /// How many members and tabs hold it.
    held: u32,
    /// Who is here now.
    here: Numbers,
    /// Its neighbours among the places of its path, and among those about its topic.
    of_path: Option<Link>,
    of_topic: Option<Link>,
}

#[derive(Debug, Default)]
pub struct Places {
    kept: Vec<Option<Kept>>,
    free: Vec<PlaceId>,
    index: HashTable<PlaceId>,
    paths: Groups,
    topics: Groups,
    hasher: FixedState,
    /// How many of the places are about something.
    with_topic: usize,
    /// How many bytes they take.
    bytes: usize,
}

/// The most places of one page whose titles are looked at, and the most titles that are told of it.
const MAX_TITLED: usize = 256;
const MAX_TITLES: usize = 8;

/// By whose word places of guests have their titles.
pub type Words = HashMap<PlaceId, Word, FixedState>;

/// Places by their numbers.
#[derive(Debug, Default)]
pub struct PlaceSet(Vec<u64>);

impl FromIterator<PlaceId> for PlaceSet {
    fn from_iter<I: IntoIterator<Item = PlaceId>>(ids: I) -> Self {
        let mut set = Self::default();
        ids.into_iter().for_each(|id| set.insert(id));
        set
    }
}

impl PlaceSet {
    fn insert(&mut self, id: PlaceId) {
        let (word, bit) = (id.index() / 64, id.index() % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0.get_mut(word).into_iter().for_each(|bits| *bits |= 1 << bit);
    }

    /// The summary of the set: the bits of all its places, see [`PlaceId::bit`].
    pub fn summary(&self) -> u64 {
        self.0.iter().fold(0, |summary, word| summary | word)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a place is among them.
    pub fn contains(&self, id: PlaceId) -> bool {
        self.0.get(id.index() / 64).is_some_and(|bits| bits >> (id.index() % 64) & 1 == 1)
    }
}

/// The places as those see them who link them by their paths, or by their topics.
struct ByPath<'a>(&'a mut [Option<Kept>], &'a FixedState);
struct ByTopic<'a>(&'a mut [Option<Kept>], &'a FixedState);

impl Linked for ByPath<'_> {
    fn hash(&self, id: PlaceId) -> u64 {
        self.0.get(id.index()).and_then(Option::as_ref).map_or(0, |kept| self.1.hash_one(kept.place.path.as_str()))
    }

    fn alike(&self, one: PlaceId, other: PlaceId) -> bool {
        let path = |id: PlaceId| Some(&self.0.get(id.index())?.as_ref()?.place.path);
        path(one) == path(other)
    }

    fn link(&mut self, id: PlaceId) -> Option<&mut Option<Link>> {
        Some(&mut self.0.get_mut(id.index())?.as_mut()?.of_path)
    }
}

impl Linked for ByTopic<'_> {
    fn hash(&self, id: PlaceId) -> u64 {
        let topic = self.0.get(id.index()).and_then(Option::as_ref).and_then(|kept| kept.place.topic.as_ref());
        topic.map_or(0, |topic| self.1.hash_one(topic.as_str()))
    }

    fn alike(&self, one: PlaceId, other: PlaceId) -> bool {
        let topic = |id: PlaceId| self.0.get(id.index())?.as_ref()?.place.topic.as_ref();
        topic(one) == topic(other)
    }

    fn link(&mut self, id: PlaceId) -> Option<&mut Option<Link>> {
        Some(&mut self.0.get_mut(id.index())?.as_mut()?.of_topic)
    }
}

/// How many bytes a place takes: with its texts, what an allocator takes for each of these, and its part of the tables.
fn weight(place: &Place) -> usize {
    let Place { path, title, topic } = place;
    let texts = [Some(path.as_str()), title.as_ref().map(Title::as_str), topic.as_ref().map(Topic::as_str)];
    texts.into_iter().flatten().fold(size_of::<Kept>() + 60, |sum, text| sum + text.len() + 8)
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
        let kept = Some(Kept { place, held: 1, here: Numbers::default(), of_path: None, of_topic: None });
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
        self.paths.add(id, &mut ByPath(&mut self.kept, &self.hasher));
        self.link_topic(id);
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
        self.paths.remove(id, &mut ByPath(&mut self.kept, &self.hasher));
        self.topics.remove(id, &mut ByTopic(&mut self.kept, &self.hasher));
        if let Some(kept) = self.kept.get_mut(id.index()).and_then(Option::take) {
            self.with_topic -= usize::from(kept.place.topic.is_some());
            self.bytes -= weight(&kept.place);
        }
        self.free.push(id);
    }

    /// Forgets a topic: the places that were about it are about nothing.
    pub fn forget_topic(&mut self, topic: &str) {
        let ids: Vec<_> = self.about(topic).collect();
        for id in ids {
            self.unindex(id);
            self.topics.remove(id, &mut ByTopic(&mut self.kept, &self.hasher));
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
        let Some(kept) = self.kept_mut(id) else { return };
        *kept.here.of(sort) += 1;
        let group = kept.of_path.map(|link| link.group);
        group.and_then(|group| self.paths.here_mut(group)).into_iter().for_each(|here| *here.of(sort) += 1);
    }

    /// Somebody went away.
    pub fn exit(&mut self, id: PlaceId, sort: Sort) {
        let Some(kept) = self.kept_mut(id) else { return };
        let leave = |here: &mut Numbers| *here.of(sort) = here.of(sort).saturating_sub(1);
        leave(&mut kept.here);
        let group = kept.of_path.map(|link| link.group);
        group.and_then(|group| self.paths.here_mut(group)).into_iter().for_each(leave);
    }

    /// Who is on a page.
    pub fn here(&self, path: &str) -> Numbers {
        self.group_of_path(path).map_or_else(Numbers::default, |group| self.paths.here(group))
    }

    /// The places of a page.
    pub fn on(&self, path: &str) -> PlaceSet {
        self.group_of_path(path).into_iter().flat_map(|group| self.of_path(group)).collect()
    }

    /// The places about a topic.
    pub fn about(&self, topic: &str) -> impl Iterator<Item = PlaceId> {
        let is_it = |first: PlaceId| self.get(first)?.topic.as_ref().map(|known| known.as_str() == topic);
        let group = self.topics.find(self.hasher.hash_one(topic), |first| is_it(first) == Some(true));
        let first = group.and_then(|group| self.topics.first(group));
        std::iter::successors(first, |id| self.kept(*id)?.of_topic?.next())
    }

    /// The pages with the most people on them, then by path, at most `limit`. Of some of their places it is asked by which guests
    /// they are titled so. Costs a few nanoseconds for each page that there is, and more only for those that are told.
    pub fn fullest(&self, limit: usize, guests: impl FnOnce(&PlaceSet) -> Words) -> Vec<Page<'_>> {
        let nowhere = self.group_of_path(Place::nowhere().path.as_str());
        let mut fullest: Vec<_> = self.paths.people().filter(|(_, group)| Some(*group) != nowhere).collect();
        if limit < fullest.len() {
            fullest.select_nth_unstable_by_key(limit, |&(people, group)| (Reverse(people), group));
            fullest.truncate(limit);
        }
        let by_guests = |id: &PlaceId| {
            let kept = self.kept(*id);
            kept.is_some_and(|kept| kept.place.title.is_some() && kept.here.users == 0 && kept.here.people() > 0)
        };
        let groups = fullest.iter().map(|(_, group)| *group);
        let titled: PlaceSet =
            groups.flat_map(|group| self.of_path(group).take(MAX_TITLED)).filter(by_guests).collect();
        let words = if titled.is_empty() { Words::default() } else { guests(&titled) };
        let pages = fullest.into_iter().filter_map(|(people, group)| self.page(people, group, &words));
        let mut pages: Vec<_> = pages.collect();
        pages.sort_unstable_by_key(|page| (Reverse(page.people), page.path));
        pages
    }

    fn page(&self, people: usize, group: GroupId, words: &Words) -> Option<Page<'_>> {
        let path = self.get(self.paths.first(group)?)?.path.as_str();
        let titled = self.of_path(group).take(MAX_TITLED).filter_map(|id| {
            let Kept { place, here, .. } = self.kept(id)?;
            let word = if here.users > 0 { Some(Word::User) } else { words.get(&id).copied() };
            let (title, word) = (place.title.as_ref()?.as_str(), word?);
            (here.people() > 0).then(|| Titled { title, total: here.people(), word })
        });
        let mut titles = together(titled);
        titles.sort_by_key(|titled| Reverse((titled.word, titled.total)));
        titles.truncate(MAX_TITLES);
        Some(Page { path, people, titles })
    }

    fn group_of_path(&self, path: &str) -> Option<GroupId> {
        let is_it = |first: PlaceId| self.get(first).is_some_and(|place| place.path.as_str() == path);
        self.paths.find(self.hasher.hash_one(path), is_it)
    }

    fn of_path(&self, group: GroupId) -> impl Iterator<Item = PlaceId> {
        std::iter::successors(self.paths.first(group), |id| self.kept(*id)?.of_path?.next())
    }

    fn link_topic(&mut self, id: PlaceId) {
        if self.get(id).is_some_and(|place| place.topic.is_some()) {
            self.topics.add(id, &mut ByTopic(&mut self.kept, &self.hasher));
        }
    }

    fn kept(&self, id: PlaceId) -> Option<&Kept> {
        self.kept.get(id.index())?.as_ref()
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

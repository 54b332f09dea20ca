//! Places that have something in common, each found from the others: those of one path, or those about one topic.
//!
//! Whoever keeps the places keeps a [`Link`] with each, and lends them here.

use super::numbers::Numbers;
use super::place_id::PlaceId;
use hashbrown::HashTable;

/// Where a group lies.
pub type GroupId = u32;

/// A place's neighbours in its group.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Which group.
    pub group: GroupId,
    before: Option<PlaceId>,
    after: Option<PlaceId>,
}

/// What groups have to know of places.
pub trait Linked {
    /// What a place has in common with the others of its group, as a digest.
    fn hash(&self, id: PlaceId) -> u64;
    /// Whether two places have it in common.
    fn alike(&self, one: PlaceId, other: PlaceId) -> bool;
    /// A place's link.
    fn link(&mut self, id: PlaceId) -> Option<&mut Option<Link>>;
}

#[derive(Debug)]
struct Group {
    first: PlaceId,
    here: Numbers,
}

/// The groups of one sort.
#[derive(Debug, Default)]
pub struct Groups {
    groups: Vec<Option<Group>>,
    free: Vec<GroupId>,
    index: HashTable<GroupId>,
}

impl Groups {
    /// Adds a place to its group, which is new where there is no other.
    pub fn add(&mut self, id: PlaceId, places: &mut impl Linked) {
        let hash = places.hash(id);
        let first = |group: &GroupId, groups: &[Option<Group>]| Some(groups.get(*group as usize)?.as_ref()?.first);
        let alike = |group: &GroupId| first(group, &self.groups).is_some_and(|first| places.alike(first, id));
        let (group, after) = match self.index.find(hash, alike).copied() {
            Some(group) => {
                let known = self.groups.get_mut(group as usize).and_then(Option::as_mut);
                (group, known.map(|known| std::mem::replace(&mut known.first, id)))
            }
            None => {
                let group = Some(Group { first: id, here: Numbers::default() });
                let number = self.free.pop().unwrap_or(self.groups.len() as GroupId);
                match self.groups.get_mut(number as usize) {
                    Some(room) => *room = group,
                    None => self.groups.push(group),
                }
                let hash_of = |group: &GroupId| first(group, &self.groups).map_or(0, |first| places.hash(first));
                self.index.insert_unique(hash, number, hash_of);
                (number, None)
            }
        };
        if let Some(link) = places.link(id) {
            *link = Some(Link { group, before: None, after });
        }
        if let Some(Some(next)) = after.and_then(|next| places.link(next)) {
            next.before = Some(id);
        }
    }

    /// Takes a place out of its group, which is gone with the last one.
    pub fn remove(&mut self, id: PlaceId, places: &mut impl Linked) {
        let Some(Link { group, before, after }) = places.link(id).and_then(|link| *link) else { return };
        if before.is_none() && after.is_none() {
            let hash = places.hash(id);
            if let Ok(entry) = self.index.find_entry(hash, |other| *other == group) {
                entry.remove();
            }
            if let Some(room) = self.groups.get_mut(group as usize) {
                *room = None;
                self.free.push(group);
            }
        }
        if let Some(Some(link)) = before.and_then(|before| places.link(before)) {
            link.after = after;
        }
        if let Some(Some(link)) = after.and_then(|after| places.link(after)) {
            link.before = before;
        }
        if let (None, Some(next), Some(Some(known))) = (before, after, self.groups.get_mut(group as usize)) {
            known.first = next;
        }
        if let Some(link) = places.link(id) {
            *link = None;
        }
    }

    /// The group whose places have in common what this is the digest of, and what the first of them has.
    pub fn find(&self, hash: u64, has: impl Fn(PlaceId) -> bool) -> Option<GroupId> {
        self.index.find(hash, |group| self.first(*group).is_some_and(&has)).copied()
    }

    /// One of its places; the others are linked to it.
    pub fn first(&self, group: GroupId) -> Option<PlaceId> {
        Some(self.groups.get(group as usize)?.as_ref()?.first)
    }

    /// Who is at its places.
    pub fn here(&self, group: GroupId) -> Numbers {
        self.groups.get(group as usize).and_then(Option::as_ref).map_or_else(Numbers::default, |group| group.here)
    }

    /// The same, to change.
    pub fn here_mut(&mut self, group: GroupId) -> Option<&mut Numbers> {
        Some(&mut self.groups.get_mut(group as usize)?.as_mut()?.here)
    }

    /// How many people are at the places of each, where there are any.
    pub fn people(&self) -> impl Iterator<Item = (usize, GroupId)> {
        let people = self.groups.iter().map(|group| group.as_ref().map_or(0, |group| group.here.people()));
        people.zip(0..).filter(|(people, _)| *people > 0)
    }
}

impl Link {
    /// The next place of the group.
    pub fn next(self) -> Option<PlaceId> {
        self.after
    }
}

//! The members of one kind: a ring by time, and a table to find them by key.
//!
//! It knows who is there and when they were last touched; what a touch means is the site's business.

use super::id::TabId;
use super::member::{MemberKey, Profile, State};
use super::places::PlaceId;
use super::ring::{Ring, Slot};
use super::time::{Seconds, Timestamp};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// One page that a member has open.
#[derive(Clone, Debug)]
pub struct Tab {
    pub id: TabId,
    pub at: Timestamp,
    pub place: Option<PlaceId>,
    pub state: State,
}

/// Somebody who is online.
#[derive(Debug)]
pub struct Member {
    pub key: MemberKey,
    pub last_seen: Timestamp,
    pub since: Timestamp,
    /// The number of the signal that changed them last: it orders what falls on the same millisecond.
    pub seq: u64,
    pub profile: Option<Box<Profile>>,
    pub place: Option<PlaceId>,
    pub state: State,
    pub tabs: Vec<Tab>,
    /// When they go, unless they are seen again: set when their last page was closed.
    pub leaves_at: Option<Timestamp>,
}

impl Member {
    /// Whether they are to be counted as a guest and named nowhere.
    pub fn invisible(&self) -> bool {
        self.profile.as_ref().is_some_and(|profile| profile.invisible)
    }
}

/// A place in the newest-first order: when somebody was last seen, and which signal that was.
pub type Order = (Timestamp, u64);

#[derive(Debug)]
pub struct Roster {
    ring: Ring<Member>,
    index: HashTable<Slot>,
    hasher: FixedState,
}

impl Roster {
    pub fn new(window: Seconds, now: Timestamp) -> Self {
        Self { ring: Ring::new(window.0, now.as_secs()), index: HashTable::new(), hasher: FixedState::default() }
    }

    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether a touch at `at` would still count.
    pub fn covers(&self, at: Timestamp) -> bool {
        at.as_secs() >= self.ring.oldest()
    }

    pub fn find(&self, key: &MemberKey) -> Option<Slot> {
        let same = |slot: &Slot| self.ring.get(*slot).is_some_and(|member| member.key == *key);
        self.index.find(self.hasher.hash_one(key), same).copied()
    }

    pub fn get(&self, slot: Slot) -> Option<&Member> {
        self.ring.get(slot)
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Member> {
        self.ring.get_mut(slot)
    }

    /// Adds a member whose key is not there yet.
    pub fn insert(&mut self, member: Member) -> Slot {
        let hash = self.hasher.hash_one(&member.key);
        let slot = self.ring.insert(member.last_seen.as_secs(), member);
        let (ring, hasher) = (&self.ring, &self.hasher);
        self.index.insert_unique(hash, slot, |&slot| ring.get(slot).map_or(0, |member| hasher.hash_one(&member.key)));
        slot
    }

    /// Moves a member to where `last_seen` says.
    pub fn touch(&mut self, slot: Slot) {
        if let Some(member) = self.ring.get(slot) {
            self.ring.touch(slot, member.last_seen.as_secs());
        }
    }

    pub fn remove(&mut self, slot: Slot) -> Option<Member> {
        let member = self.ring.remove(slot)?;
        unindex(&mut self.index, &self.hasher, slot, &member.key);
        Some(member)
    }

    /// Moves on to `now` and hands out whoever was last seen before the window.
    pub fn expire(&mut self, now: Timestamp, mut left: impl FnMut(Member)) {
        let (index, hasher) = (&mut self.index, &self.hasher);
        self.ring.expire(
            now.as_secs(),
            |member| member.last_seen.as_secs(),
            |slot, member| {
                unindex(index, hasher, slot, &member.key);
                left(member);
            },
        );
    }

    /// Members newest first, those after `after` in that order, as long as `take` says so.
    ///
    /// Costs as much as is taken, and the sorting of a second's members at a time.
    pub fn newest<'a>(&'a self, after: Option<Order>, mut take: impl FnMut(&'a Member) -> bool) {
        let first = after.map_or(self.ring.now(), |(at, _)| at.as_secs().min(self.ring.now()));
        let mut bucket: Vec<&Member> = Vec::new();
        for second in (self.ring.oldest()..=first).rev() {
            let comes = |member: &&Member| after.is_none_or(|after| (member.last_seen, member.seq) < after);
            bucket.extend(self.ring.bucket(second).map(|(_, member)| member).filter(comes));
            bucket.sort_unstable_by_key(|member| std::cmp::Reverse((member.last_seen, member.seq)));
            for member in bucket.drain(..) {
                if !take(member) {
                    return;
                }
            }
        }
    }

    /// When the next of them falls out of the window, unless they are touched.
    pub fn next_to_go(&self) -> Option<Timestamp> {
        let oldest = self.ring.oldest();
        let second = (oldest..=self.ring.now()).find(|second| self.ring.bucket(*second).next().is_some())?;
        // A second is over when the window has left it.
        Some(Timestamp::from_millis((self.ring.now() + second - oldest + 1) * 1000))
    }

    /// Everybody, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.ring.iter().map(|(_, member)| member)
    }

    /// Starts over at an earlier time with the same members, each changed by `adjust`.
    pub fn rewind(&mut self, window: Seconds, now: Timestamp, mut adjust: impl FnMut(&mut Member)) {
        let old = std::mem::replace(self, Self::new(window, now));
        for mut member in old.ring.into_entries() {
            adjust(&mut member);
            self.insert(member);
        }
    }
}

fn unindex(index: &mut HashTable<Slot>, hasher: &FixedState, slot: Slot, key: &MemberKey) {
    if let Ok(entry) = index.find_entry(hasher.hash_one(key), |&other| other == slot) {
        entry.remove();
    }
}

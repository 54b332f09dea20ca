//! The members of one kind: a ring by time, and a table to find them by key.
//!
//! It knows who is there and when they were last touched; what a touch means is the site's business. Of more members than
//! it is to keep, some are only counted.

use super::compact::Member;
use super::id::{ClientId, GuestKey};
use super::member::KeyRef;
use super::merged::Merged;
use super::ring::{Ring, Slot, Timed};
use super::time::{Seconds, Timestamp};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::collections::BinaryHeap;
use std::hash::BuildHasher;

/// A place in the newest-first order: when somebody was last seen, and the digest of their key, which orders those whom
/// the same millisecond saw. So it is the same order wherever it is asked for, and after a restart.
pub type Order = (Timestamp, u64);

/// The digest of a key: a guest's or a bot's is one.
pub fn digest(key: KeyRef<'_>) -> u64 {
    match key {
        KeyRef::User(user) => FixedState::default().hash_one(user),
        KeyRef::Guest(key) | KeyRef::Bot(key) => key.0,
    }
}

/// A member's place in that order.
pub fn order(member: &Member) -> Order {
    (member.last_seen(), member.digest())
}

#[derive(Debug)]
pub struct Roster {
    ring: Ring<Member>,
    /// The most members that are kept.
    limit: usize,
    merged: Merged,
    index: HashTable<Slot>,
    hasher: FixedState,
}

impl Roster {
    /// Nobody is there, and of those who come at most `limit` are kept.
    pub fn new(window: Seconds, limit: usize, now: Timestamp) -> Self {
        let (ring, merged) = (Ring::new(window.0, now.as_secs()), Merged::default());
        Self { ring, limit, merged, index: HashTable::new(), hasher: FixedState::default() }
    }

    /// How many there are, those among them who are only counted.
    pub fn len(&self) -> usize {
        self.ring.len() + self.merged.len()
    }

    /// Whether more are kept than are to be.
    pub fn is_over(&self) -> bool {
        self.ring.len() > self.limit
    }

    /// Takes out one of those who were seen longest ago; from now on they are only counted.
    pub fn merge_oldest(&mut self) -> Option<Member> {
        let (slot, member) = self.ring.take_oldest()?;
        unindex(&mut self.index, &self.hasher, slot, &member);
        self.merged.add(member.second());
        Some(member)
    }

    /// Those who are only counted.
    pub fn merged(&self) -> &Merged {
        &self.merged
    }

    /// The same, to change.
    pub fn merged_mut(&mut self) -> &mut Merged {
        &mut self.merged
    }

    /// Whether a touch at `at` would still count.
    pub fn covers(&self, at: Timestamp) -> bool {
        at.as_secs() >= self.ring.oldest()
    }

    pub fn find(&self, key: KeyRef<'_>) -> Option<Slot> {
        let digest = digest(key);
        let same = |slot: &Slot| {
            let member = self.ring.get(*slot);
            member.is_some_and(|member| member.digest() == digest && member.key() == key)
        };
        self.index.find(hash(&self.hasher, digest), same).copied()
    }

    /// How many guests of a client there are, or `limit` where there are more. Costs as much as that.
    pub fn count_of(&self, client: ClientId, limit: usize) -> usize {
        let theirs = |slot: &&Slot| self.ring.get(**slot).is_some_and(|member| client_of(member.digest()) == client.0);
        self.index.iter_hash(hash(&self.hasher, u64::from(client.0))).filter(theirs).take(limit).count()
    }

    /// Where a member with that key would lie, most often: it is not looked whether it is them who lie there.
    pub fn guess(&self, key: KeyRef<'_>) -> Option<Slot> {
        self.index.find(hash(&self.hasher, digest(key)), |_| true).copied()
    }

    /// Whether it is the member with that key who lies there.
    pub fn lies_at(&self, slot: Slot, key: KeyRef<'_>) -> bool {
        self.ring.get(slot).is_some_and(|member| member.key() == key)
    }

    pub fn get(&self, slot: Slot) -> Option<&Member> {
        self.ring.get(slot)
    }

    /// A member, to change anything of them but when they were last seen.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Member> {
        self.ring.get_mut(slot)
    }

    /// Adds a member whose key is not there yet.
    pub fn insert(&mut self, member: Member) -> Slot {
        let found_by = hash(&self.hasher, member.digest());
        let slot = self.ring.insert(member);
        let (ring, hasher) = (&self.ring, &self.hasher);
        self.index
            .insert_unique(found_by, slot, |slot| ring.get(*slot).map_or(0, |member| hash(hasher, member.digest())));
        slot
    }

    /// Puts a member in the place of the one with the same key, who is given back, or adds them.
    pub fn put(&mut self, member: Member) -> (Slot, Option<Member>) {
        let Some(slot) = self.find(member.key()) else { return (self.insert(member), None) };
        let mut before = None;
        self.ring.touch(slot, |known| before = Some(std::mem::replace(known, member)));
        (slot, before)
    }

    /// Notes when somebody was last seen.
    pub fn see(&mut self, slot: Slot, at: Timestamp) {
        self.ring.touch(slot, |member| member.see(at));
    }

    pub fn remove(&mut self, slot: Slot) -> Option<Member> {
        let member = self.ring.remove(slot)?;
        unindex(&mut self.index, &self.hasher, slot, &member);
        Some(member)
    }

    /// Moves on to `now` and hands out whoever was last seen before the window.
    pub fn expire(&mut self, now: Timestamp, mut left: impl FnMut(Member)) {
        let (index, hasher) = (&mut self.index, &self.hasher);
        self.ring.expire(now.as_secs(), |slot, member| {
            unindex(index, hasher, slot, &member);
            left(member);
        });
        self.merged.expire(self.ring.oldest());
    }

    /// Members newest first, those after `after` in that order, as long as `take` says so.
    ///
    /// Costs as much as is taken, and to look through a second's members at a time.
    pub fn newest<'a>(&'a self, after: Option<Order>, mut take: impl FnMut(&'a Member) -> bool) {
        let first = after.map_or(self.ring.now(), |(at, _)| at.as_secs().min(self.ring.now()));
        for second in (self.ring.oldest()..=first).rev() {
            let members = self.ring.bucket(second).map(|(slot, member)| (order(member), slot));
            // Most often only a few of them are wanted, so they are not sorted.
            let mut newest: BinaryHeap<_> =
                members.filter(|(order, _)| after.is_none_or(|after| *order < after)).collect();
            let mut last = None;
            while let Some((_, slot)) = newest.pop() {
                // The ring may name somebody twice.
                if last.replace(slot) == Some(slot) {
                    continue;
                }
                if self.ring.get(slot).is_some_and(|member| !take(member)) {
                    return;
                }
            }
        }
    }

    /// When the next of them falls out of the window, unless they are touched.
    pub fn next_to_go(&mut self) -> Option<Timestamp> {
        let oldest = self.ring.oldest();
        let second = self.ring.oldest_touch().into_iter().chain(self.merged.oldest()).min()?;
        // A second is over when the window has left it.
        Some(Timestamp::from_millis((self.ring.now() + second - oldest + 1) * 1000))
    }

    /// Everybody, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Member)> {
        self.ring.iter()
    }

    /// Starts over at an earlier time with the same members, each changed by `adjust`.
    pub fn rewind(&mut self, window: Seconds, now: Timestamp, mut adjust: impl FnMut(&mut Member)) {
        let mut old = std::mem::replace(self, Self::new(window, self.limit, now));
        std::mem::swap(&mut self.merged, &mut old.merged);
        self.merged.rewind(now.as_secs());
        for mut member in old.ring.into_entries() {
            adjust(&mut member);
            self.insert(member);
        }
    }
}

fn unindex(index: &mut HashTable<Slot>, hasher: &FixedState, slot: Slot, member: &Member) {
    if let Ok(entry) = index.find_entry(hash(hasher, member.digest()), |&other| other == slot) {
        entry.remove();
    }
}

/// What a member is found by: that part of their digest which tells the client, so that all guests of one are found together.
fn hash(hasher: &FixedState, digest: u64) -> u64 {
    hasher.hash_one(client_of(digest))
}

fn client_of(digest: u64) -> u32 {
    GuestKey(digest).client().0
}

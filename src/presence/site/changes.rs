//! What has changed since a version, for those who watch.
//!
//! While anybody watches, what a user was like before a change is noted with the version at which that was so. The
//! first note of a user since a version tells what whoever was told of that version knows of them; what they are like
//! now is known anyway. So whatever happened in between is one join, leave or update, or nothing.

use super::{Filter, Site, View};
use crate::presence::compact::Member;
use crate::presence::id::{Topic, UserId};
use crate::presence::member::{KeyRef, Place, Profile, State};
use crate::presence::time::{Seconds, Timestamp};
use std::collections::{HashSet, VecDeque};

/// How many changes are remembered; who has missed more is told everything anew.
pub const MAX_CHANGES: usize = 10_000;

/// For how long changes are remembered when nobody watches any more, and how far back rows tell them after a restart:
/// long enough for everybody to connect again who was cut off by it.
pub const RECALL: Seconds = Seconds(60);

/// What became of users since a version, for somebody who watches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    /// Who came, or can be seen now.
    pub joins: Vec<View<'a>>,
    /// Who is shown otherwise than before; after a restart perhaps somebody who went before it, and has come again. That
    /// they were touched again is nothing new.
    pub updates: Vec<View<'a>>,
    /// Who went, or cannot be seen any more.
    pub leaves: Vec<&'a UserId>,
}

impl Changes<'_> {
    /// Whether nothing has changed.
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.updates.is_empty() && self.leaves.is_empty()
    }
}

/// What was remembered.
#[derive(Default)]
pub(super) struct Log {
    changes: VecDeque<Change>,
    /// The oldest version since which all is known.
    since: u64,
    /// The versions of the rows that were read at a restart, and the one that it led to. What time brought between two
    /// rows was noted in one go, though it may have come, and been told, at any version between theirs.
    rows: Vec<u64>,
    settled: u64,
    /// Since when nobody watches.
    unwatched: Option<Timestamp>,
}

impl Log {
    /// The version from which on changes matter to somebody who was told of this one. To be told twice that somebody
    /// went is better than never.
    fn recalled(&self, version: u64) -> Option<u64> {
        if version >= self.settled {
            return Some(version);
        }
        let read = self.rows.partition_point(|row| *row <= version);
        let row = read.checked_sub(1).and_then(|last| self.rows.get(last)).copied();
        row.filter(|row| *row >= self.since)
    }
}

struct Change {
    /// The version until which it was so.
    until: u64,
    user: UserId,
    before: Option<Shown>,
}

/// All that is shown of a user.
#[derive(PartialEq)]
struct Shown {
    profile: Option<Profile>,
    place: Option<Place>,
    topics: Vec<Topic>,
    state: State,
    since: Timestamp,
    tabs: usize,
}

impl Shown {
    fn matches(&self, filter: &Filter<'_>) -> bool {
        let visible = filter.invisible || !self.profile.as_ref().is_some_and(|profile| profile.invisible);
        let path = |wanted: &str| self.place.as_ref().is_some_and(|place| place.path.as_str() == wanted);
        let topic = |wanted: &str| self.topics.iter().any(|topic| topic.as_str() == wanted);
        visible && filter.path.is_none_or(path) && filter.topic.is_none_or(topic)
    }

    /// Whether somebody who may not see where people are would see a difference, or who may.
    fn looks_like(&self, other: &Self, locations: bool) -> bool {
        let seen = |place: &Option<Place>| place.as_ref().map(|place| (place.path.clone(), place.title.clone()));
        let alike = self.profile == other.profile && self.state == other.state && self.since == other.since;
        alike && self.tabs == other.tabs && (!locations || seen(&self.place) == seen(&other.place))
    }
}

impl Site {
    /// Remembers changes from now on, if it does not already.
    pub fn watch(&mut self) {
        let since = self.version;
        self.log.get_or_insert_with(|| Log { since, ..Log::default() }).unwatched = None;
    }

    /// Says that nobody watches: when that has been so for a while, changes are remembered no more.
    pub fn unwatch(&mut self) {
        let now = self.now;
        if self.log.as_mut().is_some_and(|log| log.unwatched.get_or_insert(now).plus(RECALL) <= now) {
            self.log = None;
        }
    }

    /// The version of the newest row before a restart: whoever had been told everything then was told of that one, or
    /// of a later one without a row. `None` where there was no restart, or too much has changed since.
    pub fn restarted_at(&self) -> Option<u64> {
        let log = self.log.as_ref()?;
        log.rows.last().copied().filter(|row| *row >= log.since)
    }

    /// Says that what was noted since the row before came of reading this one, which the site has just come to.
    pub(super) fn note_row(&mut self) {
        let version = self.version;
        self.log.iter_mut().for_each(|log| log.rows.push(version));
    }

    /// Says that the site stands where a restart has led.
    pub(super) fn settle_log(&mut self) {
        let settled = self.version;
        self.log.iter_mut().for_each(|log| log.settled = settled);
    }

    /// What has changed for somebody who was told of `version` and sees whom the filter lets through; `locations` is
    /// whether they see where people are. `None` where that is not known: they have to be told everything.
    pub fn changes(&self, version: u64, filter: &Filter<'_>, locations: bool) -> Option<Changes<'_>> {
        let log = self.log.as_ref().filter(|log| (log.since..=self.version).contains(&version))?;
        let version = log.recalled(version)?;
        let first = log.changes.partition_point(|change| change.until < version);
        let (mut seen, mut changes) = (HashSet::new(), Changes::default());
        for Change { user, before, .. } in log.changes.range(first..) {
            if !seen.insert(user) {
                continue;
            }
            let before = before.as_ref().filter(|shown| shown.matches(filter));
            let member = self.users.find(KeyRef::User(user)).and_then(|slot| self.users.get(slot));
            let member = member.filter(|member| self.visible(member, filter));
            match (before, member) {
                (None, None) => {}
                (None, Some(member)) => changes.joins.push(self.view(member)),
                (Some(_), None) => changes.leaves.push(user),
                (Some(before), Some(member)) if before.looks_like(&self.shown(member), locations) => {}
                (Some(_), Some(member)) => changes.updates.push(self.view(member)),
            }
        }
        Some(changes)
    }

    /// Notes what a user is like who may be about to change.
    pub(super) fn note(&mut self, key: KeyRef<'_>) {
        if let (Some(_), KeyRef::User(user)) = (&self.log, key) {
            let member = self.users.find(key).and_then(|slot| self.users.get(slot));
            let before = member.map(|member| self.shown(member));
            self.remember(user.clone(), before);
        }
    }

    /// The same for one who has been taken out.
    pub(super) fn note_gone(&mut self, member: &Member) {
        if let (Some(_), KeyRef::User(user)) = (&self.log, member.key()) {
            self.remember(user.clone(), Some(self.shown(member)));
        }
    }

    /// Forgets all changes: whoever watches is told everything anew.
    pub(super) fn forget_changes(&mut self) {
        if self.log.take().is_some() {
            self.watch();
        }
    }

    fn remember(&mut self, user: UserId, before: Option<Shown>) {
        let until = self.version;
        let Some(log) = &mut self.log else { return };
        log.changes.push_back(Change { until, user, before });
        if log.changes.len() > MAX_CHANGES {
            let dropped = log.changes.pop_front().map_or(0, |change| change.until);
            log.since = log.since.max(dropped + 1);
        }
    }

    fn shown(&self, member: &Member) -> Shown {
        Shown {
            profile: member.profile().cloned(),
            place: self.place(member).cloned(),
            topics: self.looks(member).map(|(topic, _)| topic.clone()).collect(),
            state: member.state(),
            since: member.since(),
            tabs: tabs(member),
        }
    }
}

/// How many pages somebody has open, as far as these report themselves; at least 1. A page that vanished without a word
/// counts until the next touch after its window: so nothing changes by the mere passing of time.
pub(super) fn tabs(member: &Member) -> usize {
    member.tabs().count().max(1)
}

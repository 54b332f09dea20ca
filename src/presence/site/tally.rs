//! A site as it is watched: how many are where, who they are, and what has changed. A site may be in several parts, each
//! kept by another object; whoever watches is to see none of that.
//!
//! Those who watch a page each want to know of theirs. However many pages are watched, the members are gone through
//! once for all of them.

use super::changes::Changes;
use super::{Counts, Filter, Site, View};
use crate::presence::id::UserId;
use crate::presence::member::{KeyRef, Kind};
use crate::presence::moments::Moments;
use crate::presence::numbers::Numbers;
use crate::presence::time::Timestamp;
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// What is to be seen of a site; each thing is counted when it is first asked for.
pub struct Tally<'a> {
    parts: Vec<&'a Site>,
    /// What the versions were of the parts, where there are several.
    moments: Option<&'a Moments>,
    by_topic: OnceCell<HashMap<&'a str, Numbers>>,
}

impl<'a> Tally<'a> {
    /// Of a site of which nothing was counted yet.
    pub fn of(site: &'a Site) -> Self {
        Self { parts: vec![site], moments: None, by_topic: OnceCell::new() }
    }

    /// The same of one in parts; `moments` tells which versions of theirs those are that were told.
    pub fn of_parts(parts: Vec<&'a Site>, moments: &'a Moments) -> Self {
        Self { parts, moments: Some(moments), by_topic: OnceCell::new() }
    }

    /// As of when.
    pub fn now(&self) -> Timestamp {
        self.parts.iter().map(|part| part.now()).min().unwrap_or_default()
    }

    /// The version: each part's grows whenever anything changes there, so their sum does.
    pub fn version(&self) -> u64 {
        self.versions().sum()
    }

    /// The version of each part.
    pub fn versions(&self) -> impl Iterator<Item = u64> {
        self.parts.iter().map(|part| part.version())
    }

    /// The version of the newest row before a restart, where that is known: see [`Site::restarted_at`].
    pub fn restarted_at(&self) -> Option<u64> {
        match self.parts.as_slice() {
            [site] => site.restarted_at(),
            _ => None,
        }
    }

    /// Users whom a filter lets through, newest first, at most `limit`.
    pub fn users(&self, filter: &Filter<'_>, limit: usize) -> Vec<View<'a>> {
        let all = self.parts.iter().flat_map(|part| part.list(Kind::User, filter, None, limit).0);
        let mut all: Vec<_> = all.collect();
        if self.parts.len() > 1 {
            all.sort_by_key(|view| Reverse(view.order()));
            // While members move from one part to another both know of them.
            let mut known = HashSet::new();
            all.retain(|view| known.insert(view.key));
            all.truncate(limit);
        }
        all
    }

    /// What has changed since a version for somebody who sees whom the filter lets through: see [`Site::changes`].
    pub fn changes(&self, version: u64, filter: &Filter<'_>, locations: bool) -> Option<Changes<'a>> {
        let Some(moments) = self.moments else { return self.parts.first()?.changes(version, filter, locations) };
        let versions = moments.at(version).filter(|versions| versions.len() == self.parts.len())?;
        let mut all = Changes::default();
        for (part, version) in self.parts.iter().zip(versions) {
            let Changes { joins, updates, leaves } = part.changes(*version, filter, locations)?;
            all.joins.extend(joins);
            all.updates.extend(updates);
            all.leaves.extend(leaves);
        }
        Some(self.without_moves(all, filter))
    }

    /// The same where who goes from one part to another has neither come nor gone, though both may know of them for a while.
    fn without_moves(&self, mut all: Changes<'a>, filter: &Filter<'_>) -> Changes<'a> {
        let seen_by = |user: &UserId| self.parts.iter().filter(|part| part.sees(user, filter)).count();
        let gone: HashSet<_> = all.leaves.iter().copied().collect();
        let moves =
            |view: &View<'_>| matches!(view.key, KeyRef::User(user) if gone.contains(user) || seen_by(user) > 1);
        let (moved, joins): (Vec<_>, Vec<_>) = all.joins.into_iter().partition(moves);
        all.updates.extend(moved);
        all.leaves.retain(|user| seen_by(user) == 0);
        Changes { joins, ..all }
    }

    /// Counts of those whom a filter lets through.
    pub fn counts(&self, filter: &Filter<'_>) -> Counts {
        let numbers = match (filter.path, filter.topic) {
            (None, None) => sum(self.parts.iter().map(|part| part.numbers())),
            (Some(path), None) => sum(self.parts.iter().map(|part| part.places.here(path))),
            (None, Some(topic)) => *self.by_topic().get(topic).unwrap_or(&Numbers::default()),
            (Some(_), Some(_)) => sum(self.parts.iter().map(|part| part.numbers_of(filter))),
        };
        counts_of(numbers, filter)
    }

    fn by_topic(&self) -> &HashMap<&'a str, Numbers> {
        self.by_topic.get_or_init(|| {
            let mut all: HashMap<&str, Numbers> = HashMap::new();
            // Where no place is about anything, nobody has to be looked at.
            for part in self.parts.iter().filter(|part| part.places.have_topics()) {
                for member in part.members() {
                    let mut topics: Vec<_> = part.looks(member).map(|(topic, _)| topic.as_str()).collect();
                    topics.sort_unstable();
                    topics.dedup();
                    topics.into_iter().for_each(|topic| *all.entry(topic).or_default().of(member.sort()) += 1);
                }
            }
            all
        })
    }
}

/// What numbers are to somebody who sees whom the filter lets through.
pub(super) fn counts_of(numbers: Numbers, filter: &Filter<'_>) -> Counts {
    let Numbers { users, invisible, guests, bots } = numbers;
    let (users, guests) = if filter.invisible { (users + invisible, guests) } else { (users, guests + invisible) };
    Counts { total: users + guests, users, guests, bots }
}

fn sum(all: impl Iterator<Item = Numbers>) -> Numbers {
    all.fold(Numbers::default(), |mut sum, numbers| {
        sum.add(numbers);
        sum
    })
}

//! Who is on a page, or looks at a topic.
//!
//! Members lie one after the other, and each says by a number where they are. So to look at all of them costs a few nanoseconds
//! each, and there is no list of those on each page to be kept for every move.

use super::tally::counts_of;
use super::{Counts, Filter, Site, View};
use crate::presence::compact::Member;
use crate::presence::member::Kind;
use crate::presence::numbers::Numbers;
use crate::presence::pages::Word;
use crate::presence::places::{PlaceSet, Words};
use crate::presence::ring::Slot;
use crate::presence::roster::{Order, order};
use std::cmp::Reverse;

/// What a filter means among the places that there are now.
pub(super) struct Wanted {
    path: Option<PlaceSet>,
    topic: Option<PlaceSet>,
    /// The summary of the topic's places.
    topic_summary: u64,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    /// How many there are whom the filter lets through.
    pub numbers: Numbers,
    /// Those who were wanted of them, newest first.
    pub members: Vec<(Order, Kind, Slot)>,
    /// Whether there are more.
    pub more: bool,
}

impl Wanted {
    pub(super) fn of(site: &Site, filter: &Filter<'_>) -> Self {
        let topic: Option<PlaceSet> = filter.topic.map(|topic| site.places.about(topic).collect());
        let topic_summary = topic.as_ref().map_or(0, PlaceSet::summary);
        Self { path: filter.path.map(|path| site.places.on(path)), topic, topic_summary }
    }

    /// Whether there is no such place, so that nobody has to be looked at.
    pub(super) fn is_nowhere(&self) -> bool {
        [&self.path, &self.topic].into_iter().flatten().any(PlaceSet::is_empty)
    }

    pub(super) fn matches(&self, member: &Member) -> bool {
        let in_set = |set: &PlaceSet| member.place().is_some_and(|place| set.contains(place));
        let has_open = |set: &PlaceSet| member.tabs().filter_map(|tab| tab.place).any(|place| set.contains(place));
        let looks = |set: &PlaceSet| in_set(set) || (member.may_have_apart(self.topic_summary) && has_open(set));
        self.path.as_ref().is_none_or(in_set) && self.topic.as_ref().is_none_or(looks)
    }
}

impl Site {
    /// By which guests places are titled as they are, those included who are counted as such.
    pub(super) fn words_of_guests(&self, places: &PlaceSet) -> Words {
        let mut words = Words::default();
        let counted = |kind| kind == Kind::Guest || (kind == Kind::User && self.invisible > 0);
        for (_, _, member) in self.members_by_slot_of(counted) {
            if let Some(place) = member.place().filter(|place| places.contains(*place)) {
                let word = Word::of(member.client());
                words.entry(place).and_modify(|known| *known = known.and(word)).or_insert(word);
            }
        }
        words
    }

    /// How many there are whom a filter lets through.
    pub fn counts_of(&self, filter: &Filter<'_>) -> Counts {
        counts_of(self.numbers_of(filter), filter)
    }

    pub(super) fn numbers_of(&self, filter: &Filter<'_>) -> Numbers {
        match (filter.path, filter.topic) {
            (None, None) => self.numbers(),
            (Some(path), None) => self.places.here(path),
            (_, Some(_)) => self.search(Kind::User, filter, None, 0).numbers,
        }
    }

    /// The members of a kind whom a filter lets through, newest first, from just after `after`, at most `limit`.
    pub(super) fn search(&self, kind: Kind, filter: &Filter<'_>, after: Option<Order>, limit: usize) -> Found {
        let (wanted, mut found) = (Wanted::of(self, filter), Found::default());
        if wanted.is_nowhere() {
            return found;
        }
        // How many are on a page is known without looking at anybody of another kind.
        let others = filter.topic.is_some();
        // Users who are invisible are among the guests.
        let hidden = kind == Kind::Guest && !filter.invisible && self.invisible > 0;
        for (of, slot, member) in self.members_by_slot_of(|of| others || of == kind || (hidden && of == Kind::User)) {
            if !wanted.matches(member) {
                continue;
            }
            *found.numbers.of(member.sort()) += 1;
            let shown_as = if member.invisible() && !filter.invisible { Kind::Guest } else { of };
            let listed = shown_as == kind && limit > 0;
            if listed && after.is_none_or(|after| order(member) < after) {
                found.members.push((order(member), of, slot));
            }
        }
        if let (false, Some(path)) = (others, filter.path) {
            found.numbers = self.places.here(path);
        }
        let all = &mut found.members;
        found.more = all.len() > limit;
        if found.more {
            all.select_nth_unstable_by_key(limit, |(order, ..)| Reverse(*order));
            all.truncate(limit);
        }
        all.sort_unstable_by_key(|(order, ..)| Reverse(*order));
        found
    }

    /// The members of a kind whom a filter lets through, as [`Site::list`] tells them, and how many there are of all kinds.
    pub fn list_and_counts(
        &self,
        kind: Kind,
        filter: &Filter<'_>,
        after: Option<Order>,
        limit: usize,
    ) -> (Vec<View<'_>>, Option<Order>, Counts) {
        if filter.path.is_none() && filter.topic.is_none() {
            let (views, next) = self.list(kind, filter, after, limit);
            return (views, next, self.counts_of(filter));
        }
        let Found { numbers, members, more } = self.search(kind, filter, after, limit);
        let next = members.last().filter(|_| more).map(|(order, ..)| *order);
        let members = members.into_iter().filter_map(|(_, kind, slot)| self.roster(kind).get(slot));
        (members.map(|member| self.view(member)).collect(), next, counts_of(numbers, filter))
    }
}

//! Topics: what people look at, and who has looked.
//!
//! Whoever looks at a topic now is told by the members. When they look no longer, one [`Viewed`] goes out to be kept: a
//! visit costs one row however long it is.

use super::search::Wanted;
use super::{Filter, Site};
use crate::presence::budget::Payer;
use crate::presence::compact::Member;
use crate::presence::id::Topic;
use crate::presence::member::{Kind, Viewed};
use crate::presence::place_id::PlaceId;
use crate::presence::ring::Slot;
use crate::presence::time::Timestamp;

/// What somebody looks at, and when they were last seen there.
pub(super) type Looks = Vec<(Topic, Timestamp)>;

impl Site {
    /// Users and guests who look at a topic now, invisible ones among them, in no order.
    pub fn viewers<'a>(&'a self, topic: &'a Topic) -> impl Iterator<Item = Viewed> + 'a {
        let wanted = Wanted::of(self, &Filter { topic: Some(topic.as_str()), ..Filter::default() });
        let nobody = wanted.is_nowhere();
        let all = self.users.iter().chain(self.guests.iter()).filter(move |_| !nobody);
        all.filter(move |(_, member)| wanted.matches(member)).filter_map(move |(_, member)| {
            let at = self.looks(member).filter(|(looked_at, _)| *looked_at == topic).map(|(_, at)| at).max()?;
            let profile = member.profile().cloned();
            Some(Viewed { topic: topic.clone(), viewer: member.key().owned(), at, profile })
        })
    }

    /// Whether a member looks at a topic.
    pub(super) fn looks_at(&self, member: &Member, topic: &str) -> bool {
        self.looks(member).any(|(looked_at, _)| looked_at.as_str() == topic)
    }

    /// What a member looks at before something happens to them: nothing, if nobody looks at anything.
    pub(super) fn looks_of(&self, kind: Kind, slot: Slot) -> Looks {
        if kind == Kind::Bot || !self.places.have_topics() {
            return Vec::new();
        }
        let member = self.roster(kind).get(slot).into_iter();
        member.flat_map(|member| self.looks(member)).map(|(topic, at)| (topic.clone(), at)).collect()
    }

    /// Notes what a member looked at before and does no longer, or not so lately by what is still known of them.
    pub(super) fn note_views(&mut self, kind: Kind, slot: Slot, before: Looks) {
        if before.is_empty() {
            return;
        }
        let Some(member) = self.roster(kind).get(slot) else { return };
        let latest = |topic: &Topic| self.looks(member).filter(|(other, _)| *other == topic).map(|(_, at)| at).max();
        let over: Vec<_> = before.into_iter().filter(|(topic, at)| latest(topic).is_none_or(|now| now < *at)).collect();
        let (viewer, profile) = (member.key().owned(), member.profile().cloned());
        for (topic, at) in over {
            self.keep_view(Viewed { topic, viewer: viewer.clone(), at, profile: profile.clone() });
        }
    }

    /// Has it kept what somebody looked at, as long as they may have any more of it kept.
    fn keep_view(&mut self, view: Viewed) {
        let (payer, now) = (Payer::of(view.viewer.borrow()), self.now);
        if self.outlay.as_mut().is_none_or(|outlay| outlay.keeps_view(payer, now)) {
            self.views.push(view);
        } else {
            self.totals.shed += 1;
        }
    }

    /// Notes what somebody who goes looked at to the end.
    pub(super) fn note_last_views(&mut self, member: &Member) {
        self.last_views(member).into_iter().for_each(|view| self.keep_view(view));
    }

    /// What somebody who goes looked at to the end.
    pub(super) fn last_views(&self, member: &Member) -> Vec<Viewed> {
        if member.key().kind() == Kind::Bot || !self.places.have_topics() {
            return Vec::new();
        }
        let profile = member.profile();
        let viewed = |(topic, at): (&Topic, Timestamp)| Viewed {
            topic: topic.clone(),
            viewer: member.key().owned(),
            at,
            profile: profile.cloned(),
        };
        self.looks(member).map(viewed).collect()
    }

    /// The topic of each page that a member has open, and of the one where they were last.
    pub(super) fn looks<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = (&'a Topic, Timestamp)> {
        let tabs = member.tabs().map(|tab| (tab.place, tab.at));
        tabs.chain([(member.place(), member.last_seen())]).filter_map(|(place, at)| Some((self.topic(place?)?, at)))
    }

    fn topic(&self, place: PlaceId) -> Option<&Topic> {
        self.places.get(place)?.topic.as_ref()
    }
}

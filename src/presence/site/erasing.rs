//! Somebody is to be forgotten, as if they had never been here.

use super::{Outcome, Site};
use crate::presence::id::{Topic, UserId};
use crate::presence::member::{Kind, MemberKey};

/// What a page about a user has for its topic.
pub fn topic_of(user: &UserId) -> Option<Topic> {
    Topic::parse(format!("user:{}", user.as_str())).ok()
}

impl Site {
    /// Erases a user, and says what the rows are from now on: all there were before are to be dropped.
    pub fn erase(&mut self, user: &UserId) -> Outcome {
        let key = MemberKey::User(user.clone());
        if let Some(member) = self.users.find(key.borrow()).and_then(|slot| self.users.remove(slot)) {
            self.let_go(&member);
        }
        if let Some(topic) = topic_of(user) {
            self.places.forget_topic(topic.as_str());
            self.views.retain(|view| view.topic != topic);
        }
        self.views.retain(|view| view.viewer != key);
        self.hidden.remove(user);
        self.shown.remove(user);
        self.hiding.retain(|(hider, _)| hider != user);
        for departures in [&mut self.departures, &mut self.held] {
            departures.retain(|departure| departure.user != *user);
        }
        self.revoke(user, None, self.now);
        self.bump();
        self.forget_changes();
        self.rows.clear();
        self.next_slot = 0;
        // Without the rows of before nobody has to be told who is gone.
        self.gone.clear();
        let slots: Vec<_> = self.members_by_slot().map(|(kind, slot, _)| (kind, slot)).collect();
        slots.into_iter().for_each(|(kind, slot)| self.mark_changed(kind, slot));
        for kind in [Kind::User, Kind::Guest, Kind::Bot] {
            self.roster_mut(kind).merged_mut().tell_anew();
        }
        let mut outcome = self.whole_outcome();
        if outcome.writes.is_empty() {
            // Where nobody is told, the peak is, and who was merged.
            outcome.writes.push(self.write_row(&[], &[]));
        }
        outcome
    }
}

//! Somebody is to be forgotten, as if they had never been here.

use super::{Outcome, Site};
use crate::presence::id::{Topic, UserId};
use crate::presence::member::{Kind, MemberKey};
use crate::presence::time::{Seconds, Timestamp};

/// How far apart an object scrubs its files at the least: it writes all that it keeps anew for that.
const SCRUBS_APART: Seconds = Seconds(600);

/// When an object is to scrub its files that has deleted something now and has scrubbed them last at that time. One that was
/// scrubbed in the future, as the clock was put back, waits for nothing.
pub fn scrub_at(scrubbed: Option<Timestamp>, now: Timestamp) -> Timestamp {
    scrubbed.filter(|last| *last <= now).map_or(now, |last| last.plus(SCRUBS_APART)).max(now)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_scrubbed_at_once_and_then_ten_minutes_later_at_the_earliest() {
        let at = |seconds: i64| Timestamp::from_millis(1_795_203_180_000 + seconds * 1000);
        assert_eq!(scrub_at(None, at(0)), at(0));
        assert_eq!(scrub_at(Some(at(0)), at(1)), at(600));
        assert_eq!(scrub_at(Some(at(0)), at(599)), at(600));
        assert_eq!(scrub_at(Some(at(0)), at(4000)), at(4000));
        assert_eq!(scrub_at(Some(at(1)), at(0)), at(0), "the clock was put back");
    }
}

//! What the passing of time does to a site, and what becomes of those who go.

use super::{LEAVE_GRACE, Lease, Leaving, Outcome, Site, version_at};
use crate::presence::compact::Member;
use crate::presence::ended::Ended;
use crate::presence::member::{Departure, KeyRef, Kind};
use crate::presence::roster::Roster;
use crate::presence::time::{Millis, Timestamp};

/// How many times in a window is looked who has gone, where nothing else happens: with the usual one of 330 s every ten
/// seconds.
const STEPS: i64 = 32;

/// Those who have closed their pages within so many milliseconds go together, where nothing else happens: about so much later
/// than their time.
const LEAVE_STEP: i64 = 2000;

impl Site {
    /// Moves on to `now`, and hands out the users who went in the meantime. There is a row to be stored only where
    /// the clock was put back.
    ///
    /// A clock that is put back by less than a second stands still until it has caught up; one that is put back
    /// further takes everybody along, so that nobody stays longer than a window and nobody's touch is ignored.
    pub fn advance(&mut self, now: Timestamp) -> Outcome {
        self.move_to(now);
        self.outcome()
    }

    /// When to look who has gone, if nobody is touched until then: a little later than the time of the first one, with others.
    /// To be woken for each would cost as much as to store a batch.
    pub fn deadline(&mut self) -> Option<Timestamp> {
        let step =
            |at: Timestamp, step: i64| Timestamp::from_millis((at.as_millis() + step - 1).div_euclid(step) * step);
        let expiring = self.next_to_expire().map(|at| step(at, i64::from(self.window.0) * 1000 / STEPS));
        let leaving = self.next_to_leave().map(|at| step(at, LEAVE_STEP));
        expiring.into_iter().chain(leaving).min()
    }

    /// Whether somebody has gone by then.
    pub fn has_gone_by(&mut self, now: Timestamp) -> bool {
        self.next_to_expire().into_iter().chain(self.next_to_leave()).any(|at| at <= now)
    }

    fn next_to_expire(&mut self) -> Option<Timestamp> {
        [&mut self.users, &mut self.guests, &mut self.bots].into_iter().filter_map(Roster::next_to_go).min()
    }

    /// Most who close a page open the next one before their time is over.
    fn next_to_leave(&mut self) -> Option<Timestamp> {
        while self.leaving.front().is_some_and(|leaving| !self.still_leaves(leaving)) {
            self.leaving.pop_front();
        }
        self.leaving.front().map(|leaving| leaving.at)
    }

    /// Moves on to `now`, and now and then sees to which pages are still open: so often that none is taken for closed. What
    /// is to be stored is told with what comes of whatever is done next.
    pub fn go_on(&mut self, now: Timestamp, open: impl FnOnce() -> Vec<Lease>) {
        let due = now < self.renewed || now.since(self.renewed) >= self.fresh_for();
        if due { self.see_to(now, &open()) } else { self.move_to(now) }
    }

    /// Whether the clock was put back since the last row. The next one tells when it was put back by when it was written, so
    /// that is to be done before anything else is heard.
    pub fn was_put_back(&self) -> bool {
        self.rewound_from.is_some()
    }

    /// Moves on to `now`, past which these pages are still open, each as of when that was last known: whoever they are
    /// of stays, and nobody comes back. What is known of a page of late is left as it is, or all of them would be stored
    /// anew each time.
    pub fn renew(&mut self, now: Timestamp, leases: &[Lease]) -> Outcome {
        self.see_to(now, leases);
        self.outcome()
    }

    fn see_to(&mut self, now: Timestamp, leases: &[Lease]) {
        self.renewed = now;
        if now < self.now {
            return self.move_to(now);
        }
        self.now = now;
        let stale = now.minus(self.fresh_for());
        for lease in leases {
            let kind = lease.key.kind();
            let roster = self.roster_mut(kind);
            let Some(slot) = roster.find(lease.key.borrow()) else { continue };
            let Some(member) = roster.get(slot) else { continue };
            let known = member.tabs().find(|tab| tab.id == lease.tab).map(|tab| tab.at);
            if known.is_none_or(|at| at > stale || at >= lease.at) {
                continue;
            }
            let last_seen = member.last_seen().max(lease.at);
            roster.see(slot, last_seen);
            if let Some(member) = roster.get_mut(slot) {
                let mut tabs = member.take_tabs();
                tabs.iter_mut().filter(|tab| tab.id == lease.tab).for_each(|tab| tab.at = lease.at);
                member.put_tabs(tabs);
            }
            self.mark_changed(kind, slot);
        }
        self.move_to(now);
        // An older release may have kept more.
        self.merge_oldest();
        if !self.changed.is_empty() || !self.gone.is_empty() {
            self.bump();
        }
    }

    /// With this and as much again until it is looked next, half of the window is still left.
    fn fresh_for(&self) -> Millis {
        Millis(self.window.0.saturating_mul(250))
    }

    pub(super) fn move_to(&mut self, now: Timestamp) {
        if now.as_secs() < self.now.as_secs() && self.now.since(now) >= Millis(1000) {
            self.rewind(now);
        }
        self.now = self.now.max(now);
        let before = self.members_and_merged();
        self.let_leavers_go();
        let now = self.now;
        let mut left = Vec::new();
        for roster in [&mut self.users, &mut self.guests, &mut self.bots] {
            roster.expire(now, |member| left.push(member));
        }
        left.into_iter().for_each(|member| self.depart_in_time(member));
        if before != self.members_and_merged() {
            self.bump();
        }
    }

    /// How many there are, those among them who are only counted.
    pub(super) fn members_and_merged(&self) -> usize {
        self.users.len() + self.guests.len() + self.bots.len()
    }

    fn let_leavers_go(&mut self) {
        while self.next_to_leave().is_some_and(|at| at <= self.now) {
            let Some(Leaving { kind, slot, .. }) = self.leaving.pop_front() else { return };
            if let Some(member) = self.roster_mut(kind).remove(slot) {
                self.depart_in_time(member);
            }
        }
    }

    /// They may have been seen again since, or somebody else may lie there.
    fn still_leaves(&self, leaving: &Leaving) -> bool {
        self.roster(leaving.kind).get(leaving.slot).is_some_and(|member| member.leaves_at() == Some(leaving.at))
    }

    fn rewind(&mut self, now: Timestamp) {
        let window = self.window;
        self.rewound_from = self.rewound_from.max(Some(self.now));
        // Rows are kept by the new time from now on.
        self.departures.append(&mut self.held);
        self.ended = Ended::default();
        self.revoked.put_back(now);
        self.now = now;
        let adjust = |member: &mut Member| {
            let mut tabs = member.take_tabs();
            tabs.iter_mut().for_each(|tab| tab.at = tab.at.min(now));
            member.see(member.last_seen().min(now));
            member.put_tabs(tabs);
            if !member.devices().is_empty() {
                member.change_devices(|devices| devices.iter_mut().for_each(|device| device.at = device.at.min(now)));
            }
            member.leave_at(member.leaves_at().map(|at| at.min(now.plus(LEAVE_GRACE))));
        };
        for roster in [&mut self.users, &mut self.guests, &mut self.bots] {
            roster.rewind(window, now, adjust);
        }
        // Everybody lies somewhere else now.
        self.changed = self
            .members_by_slot()
            .filter(|(.., member)| member.is_changed())
            .map(|(kind, slot, _)| (kind, slot))
            .collect();
        let until = self.needed_until();
        self.rows.iter_mut().for_each(|(_, known)| *known = (*known).min(until));
        let mut leaving: Vec<_> = self
            .members_by_slot()
            .filter_map(|(kind, slot, member)| Some(Leaving { at: member.leaves_at()?, kind, slot }))
            .collect();
        leaving.sort_by_key(|leaving| leaving.at);
        self.leaving = leaving.into();
        self.bump();
        self.forget_changes();
    }

    /// Lets go of all that a member held, and notes a user's departure.
    pub(super) fn depart(&mut self, member: Member) {
        let departure = self.part_from(&member);
        self.departures.extend(departure);
    }

    /// The same of one whose time is over: it is in no hurry where the rows say so, too. Where they do not yet say what
    /// was heard of them last, they have to say that they are gone.
    fn depart_in_time(&mut self, mut member: Member) {
        let departure = self.part_from(&member);
        if member.unmark_changed() {
            self.gone.push(member.key().owned());
            self.departures.extend(departure);
        } else {
            self.held.extend(departure);
        }
    }

    fn part_from(&mut self, member: &Member) -> Option<Departure> {
        self.note_gone(member);
        if let (KeyRef::User(user), false) = (member.key(), self.shown.is_empty()) {
            self.shown.remove(user);
        }
        self.note_last_views(member);
        let departure = self.departure(member).filter(|_| !member.invisible());
        self.let_go(member);
        departure
    }

    /// Merges those guests and bots who were seen longest ago, where there are more than are to be kept: they count until
    /// their window has passed, and nothing else is known of them. Who is touched again is somebody new.
    pub(super) fn merge_oldest(&mut self) {
        for kind in [Kind::Bot, Kind::Guest] {
            while self.roster(kind).is_over() || self.places.bytes() > self.max_places {
                let Some(member) = self.roster_mut(kind).merge_oldest() else { break };
                self.gone.push(member.key().owned());
                self.depart(member);
            }
        }
    }

    /// What is kept of a user who goes, or who hides.
    pub(super) fn departure(&self, member: &Member) -> Option<Departure> {
        let KeyRef::User(user) = member.key() else { return None };
        let place = member.place().and_then(|id| self.places.get(id)).cloned();
        let profile = member.profile().cloned().unwrap_or_default();
        let (last_seen, since) = (member.last_seen(), member.since());
        Some(Departure { user: user.clone(), last_seen, profile, place, since })
    }

    /// Lets go of all that a member held who is not there any more.
    pub(super) fn let_go(&mut self, member: &Member) {
        self.uncount(member);
        member.places().for_each(|id| self.places.release(id));
    }

    /// Counts a member where they are.
    pub(super) fn count(&mut self, member: &Member) {
        self.invisible += usize::from(member.invisible());
        if let Some(id) = member.place() {
            self.places.enter(id, member.sort());
        }
    }

    /// The opposite.
    pub(super) fn uncount(&mut self, member: &Member) {
        self.invisible = self.invisible.saturating_sub(usize::from(member.invisible()));
        if let Some(id) = member.place() {
            self.places.exit(id, member.sort());
        }
    }

    pub(super) fn bump(&mut self) {
        self.version = version_at(self.now).max(self.version + 1);
    }
}

//! What signals do to a site: members arrive, move, are known by another key, and leave.

use super::{LEAVE_GRACE, Leaving, MAX_TABS, Outcome, Site};
use crate::presence::budget::Payer;
use crate::presence::compact::{Member, Tab};
use crate::presence::id::{DeviceId, TabId};
use crate::presence::member::{Departure, KeyRef, Kind, MemberKey, Place, Profile, Signal, State, Touch};
use crate::presence::place_id::PlaceId;
use crate::presence::reports::{Report, Reports};
use crate::presence::ring::Slot;
use crate::presence::roster::{Roster, digest};
use crate::presence::time::{Millis, Timestamp};

impl Site {
    /// Applies reports, all of them or (on a crash) none, and says what to store.
    pub fn apply(&mut self, now: Timestamp, reports: impl Into<Reports>) -> Outcome {
        self.hear(now, reports);
        self.outcome()
    }

    /// Applies reports. What is to be stored is told with what comes of whatever is done next.
    pub fn hear(&mut self, now: Timestamp, reports: impl Into<Reports>) {
        let Reports { places, mut list } = reports.into();
        self.move_to(now);
        self.drop_unpaid(&mut list);
        let places: Vec<_> = places.into_iter().map(|place| self.places.hold(place)).collect();
        let known = self.look_up(&list);
        // Each stays where it lies: a touch is large, and to move it costs as much as a tenth of what it does.
        for (Report { age, signal }, known) in list.iter_mut().zip(known) {
            let at = self.now.minus(*age);
            match signal {
                Signal::Touch(touch) if self.is_revoked(touch) => {}
                Signal::Touch(touch) => {
                    let place = touch.place.and_then(|number| places.get(number as usize).copied());
                    self.heed_hiding(at, touch);
                    touch.was.iter().for_each(|was| self.note(was.borrow()));
                    self.note(touch.key.borrow());
                    self.supersede(at, touch);
                    self.touch(at, touch, place, known);
                }
                Signal::Leave { key, tab } => {
                    self.note(key.borrow());
                    self.leave(at, key, *tab);
                }
                Signal::SignOut { user, device } => {
                    self.sign_out(at, user.clone(), *device);
                }
            }
        }
        places.into_iter().for_each(|id| self.places.release(id));
        self.merge_oldest();
        if !self.changed.is_empty() || !self.gone.is_empty() {
            self.bump();
            self.note_peak();
        }
    }

    /// Drops what is told of those who have no row left to pay for. Whoever signs out does, and whoever hides hides.
    fn drop_unpaid(&mut self, list: &mut Vec<Report<u32>>) {
        let Some(outlay) = &mut self.outlay else { return };
        let payers: Vec<_> = list.iter().map(|report| Payer::of(report.signal.key())).collect();
        let broke = outlay.bill_row(payers.iter().copied(), self.now);
        if broke.is_empty() {
            return;
        }
        let (before, users) = (list.len(), &self.users);
        let hidden = |key: KeyRef<'_>| users.find(key).and_then(|slot| users.get(slot)).is_some_and(Member::invisible);
        list.retain(|Report { signal, .. }| {
            let protects = match signal {
                Signal::SignOut { .. } => true,
                Signal::Touch(Touch { key, profile, .. }) => {
                    profile.as_ref().is_some_and(|profile| profile.invisible) && !hidden(key.borrow())
                }
                Signal::Leave { .. } => false,
            };
            protects || !broke.contains(&Payer::of(signal.key()))
        });
        self.totals.shed += (before - list.len()) as u64;
    }

    /// Where those lie who are touched, as far as that is seen at a glance. Each of many members lies somewhere else in
    /// memory, far from the processor, and so does what the table says of them: to look for all of a batch before anything
    /// is done with the first lets it fetch several at the same time. At a million members that is two thirds of a touch.
    fn look_up(&self, list: &[Report<u32>]) -> Vec<Option<Slot>> {
        let guess = |report| self.touched(report).and_then(|(roster, key)| roster.guess(key));
        let guesses: Vec<_> = list.iter().map(guess).collect();
        let right = |(report, guess): (_, Option<Slot>)| {
            guess.filter(|slot| self.touched(report).is_some_and(|(roster, key)| roster.lies_at(*slot, key)))
        };
        list.iter().zip(guesses).map(right).collect()
    }

    fn touched<'a>(&'a self, report: &'a Report<u32>) -> Option<(&'a Roster, KeyRef<'a>)> {
        match &report.signal {
            Signal::Touch(touch) => Some((self.roster(touch.key.kind()), touch.key.borrow())),
            Signal::Leave { .. } | Signal::SignOut { .. } => None,
        }
    }

    /// Has a member stored anew with what else has changed.
    pub(super) fn mark_changed(&mut self, kind: Kind, slot: Slot) {
        if self.roster_mut(kind).get_mut(slot).is_some_and(Member::mark_changed) {
            self.changed.push((kind, slot));
        }
    }

    /// A visitor is known by another key from now on; the key that they had is nobody's. What is known of them goes over to the
    /// new one, unless somebody is online by that already.
    ///
    /// A guest who signs in has gone, and a user comes: nothing that was seen of the guest is told of the user.
    fn supersede(&mut self, at: Timestamp, touch: &Touch<u32>) -> Option<()> {
        let (was, key) = (touch.was.clone()?, &touch.key);
        self.ended.note(digest(was.borrow()), at, self.now);
        let late = self.ended.is_late(digest(key.borrow()), at) || self.is_late_for_device(touch, at);
        let slot = self.roster(was.kind()).find(was.borrow())?;
        let mut member = self.roster_mut(was.kind()).remove(slot)?;
        let kind = key.kind();
        let signs_in = kind == Kind::User && was.kind() != Kind::User;
        let slot = match self.roster(kind).find(key.borrow()) {
            _ if signs_in => {
                self.note_last_views(&member);
                self.let_go(&member);
                None
            }
            Some(slot) => {
                self.let_go(&member);
                Some(slot)
            }
            // They are no more who they were then.
            None if late => {
                self.let_go(&member);
                None
            }
            None => {
                self.uncount(&member);
                // That was said of where they lay.
                member.unmark_changed();
                member.call(key.clone(), digest(key.borrow()));
                member.leave_at(None);
                // Even where the touch itself comes too late to count: whoever hides must not be shown meanwhile.
                member.show_as(touch.profile.clone());
                self.count(&member);
                Some(self.roster_mut(kind).insert(member))
            }
        };
        slot.into_iter().for_each(|slot| self.mark_changed(kind, slot));
        self.gone.push(was);
        Some(())
    }

    /// Somebody was seen, who lay at `known` when the batch began: since then much may have happened.
    fn touch(
        &mut self,
        at: Timestamp,
        touch: &mut Touch<u32>,
        place: Option<PlaceId>,
        known: Option<Slot>,
    ) -> Option<()> {
        let (kind, key) = (touch.key.kind(), touch.key.borrow());
        let roster = self.roster(kind);
        let known = known.filter(|slot| roster.lies_at(*slot, key)).or_else(|| roster.find(key));
        let moves = place.is_some() && known.and_then(|slot| roster.get(slot)?.place()) != place;
        let outlay = self.outlay.as_mut().filter(|_| moves);
        let place = place.filter(|_| outlay.is_none_or(|outlay| outlay.may_move(Payer::of(key), self.now)));
        let Some(slot) = known else {
            if touch.arrives {
                self.arrive(at, touch, place);
            }
            return Some(());
        };
        if self.is_late_for_device(touch, at) || self.tells_nothing(touch, kind, slot) {
            return None;
        }
        let looked_at = self.looks_of(kind, slot);
        let hides = touch.profile.as_ref().is_some_and(|profile| profile.invisible);
        let member = self.roster(kind).get(slot)?;
        let (late, was_invisible) = (member.last_seen() > at, member.invisible());
        let device = touch.device().unwrap_or(DeviceId::UNKNOWN);
        let is_new_device = kind == Kind::User && member.devices().iter().all(|known| known.id != device);
        // Most often they have one page open, and go on with it.
        let goes_along = place.is_some() && touch.tab.is_some_and(|id| member.has_only(id));
        if hides && !was_invisible {
            // To others they have gone.
            self.departures.extend(self.departure(member));
            if late {
                // What else it tells is no longer so, but they did hide.
                self.show_as(kind, slot, touch.profile.take());
                let member = self.roster_mut(kind).get_mut(slot)?;
                member.begin(member.last_seen());
                self.mark_changed(kind, slot);
                return Some(());
            }
        }
        if late {
            if is_new_device {
                // What else it tells is no longer so, but they are signed in there.
                self.note_device(slot, touch, at, place);
                self.mark_changed(kind, slot);
            }
            return None;
        }
        let here = if goes_along { self.settle_along(kind, slot, place) } else { self.settle(kind, slot, place) };
        let live_since = self.now.minus(self.window);
        self.roster_mut(kind).see(slot, at);
        let member = self.roster_mut(kind).get_mut(slot)?;
        member.leave_at(None);
        let (mut held, mut released, mut only) = (None, Vec::new(), false);
        if let Some(id) = touch.tab {
            // A tab that does not say where it is stays where it was.
            let before = || member.tabs().find(|tab| tab.id == id).and_then(|tab| tab.place);
            let place = if place.is_some() { here } else { before().or(here) };
            let first = member.tabs().next().is_none();
            let tab = Tab { id, at, place, state: touch.state };
            only = member.note_only_tab(tab);
            if only {
                held = place.filter(|_| first);
            } else {
                let mut tabs = member.take_tabs();
                released.extend(drop_closed(&mut tabs, live_since));
                held = place;
                released.extend(note_tab(&mut tabs, tab));
                member.put_tabs(tabs);
            }
        } else if member.tabs().any(|tab| tab.at < live_since) {
            let mut tabs = member.take_tabs();
            released.extend(drop_closed(&mut tabs, live_since));
            member.put_tabs(tabs);
        }
        let other_looks = |tab: Tab| Some(tab.id) != touch.tab && tab.state == State::Online;
        let others_look = !only && member.tabs().any(other_looks);
        if touch.arrives {
            member.look(if others_look { State::Online } else { touch.state });
        }
        if touch.profile.is_some() {
            self.show_as(kind, slot, touch.profile.take());
        }
        let member = self.roster_mut(kind).get_mut(slot)?;
        if was_invisible != member.invisible() {
            // Since when they were here in hiding is nobody's business, nor who the guest was who is here since then.
            member.begin(at);
        }
        self.note_views(kind, slot, looked_at);
        if kind == Kind::User {
            self.note_device(slot, touch, at, here.filter(|_| place.is_some()));
        }
        held.into_iter().for_each(|id| self.places.hold_again(id));
        released.into_iter().for_each(|id| self.places.release(id));
        self.mark_changed(kind, slot);
        Some(())
    }

    /// Whether a touch that does not arrive is of somebody whose pages say themselves how long they are open, or that the last one
    /// was closed; and tells nothing else that is new.
    fn tells_nothing(&self, touch: &Touch<u32>, kind: Kind, slot: Slot) -> bool {
        let Some(member) = self.roster(kind).get(slot).filter(|_| !touch.arrives) else { return false };
        let live_since = self.now.minus(self.window);
        let reports_itself = member.leaves_at().is_some() || member.tabs().any(|tab| tab.at >= live_since);
        let known_there = touch.device().is_none_or(|device| member.devices().iter().any(|known| known.id == device));
        let shown_so = touch.profile.is_none() || touch.profile.as_ref() == member.profile();
        reports_itself && known_there && shown_so
    }

    fn arrive(&mut self, at: Timestamp, touch: &mut Touch<u32>, place: Option<PlaceId>) {
        let (kind, digest) = (touch.key.kind(), digest(touch.key.borrow()));
        if !self.roster(kind).covers(at) || self.ended.is_late(digest, at) || self.is_late_for_device(touch, at) {
            // Too old to be online by now, or who they were then they are no more; but a user was seen nevertheless.
            let hides = touch.profile.as_ref().is_some_and(|profile| profile.invisible);
            if let (MemberKey::User(user), false) = (&touch.key, hides) {
                let user = user.clone();
                let place = place.and_then(|id| self.places.get(id)).filter(|place| !place.is_nowhere()).cloned();
                let profile = touch.profile.take().unwrap_or_default();
                self.departures.push(Departure { user, last_seen: at, profile, place, since: at });
            }
            return;
        }
        if let (Some(outlay), KeyRef::Guest(key) | KeyRef::Bot(key)) = (&self.outlay, touch.key.borrow())
            && self.roster(kind).count_of(key.client(), outlay.guests()) >= outlay.guests()
        {
            self.totals.shed += 1;
            return;
        }
        let mut member = Member::new(touch.key.clone(), digest, at);
        if touch.profile.is_some() {
            member.show_as(touch.profile.take());
        }
        member.look(touch.state);
        member.settle(place);
        let tab = touch.tab.map(|id| Tab { id, at, place, state: touch.state });
        // They have no other.
        let with_tab = tab.is_some_and(|tab| member.note_only_tab(tab));
        if let Some(id) = place {
            self.places.hold_again(id);
            (0..usize::from(with_tab)).for_each(|_| self.places.hold_again(id));
        }
        self.count(&member);
        let slot = self.roster_mut(kind).insert(member);
        if kind == Kind::User {
            self.note_device(slot, touch, at, place);
        }
        self.mark_changed(kind, slot);
    }

    /// Has a member shown in another way.
    fn show_as(&mut self, kind: Kind, slot: Slot, profile: Option<Profile>) -> Option<()> {
        let member = self.roster_mut(kind).get_mut(slot)?;
        let (before, place) = (member.sort(), member.place());
        member.show_as(profile);
        let (after, invisible) = (member.sort(), member.invisible());
        if before != after {
            self.invisible = if invisible { self.invisible + 1 } else { self.invisible.saturating_sub(1) };
            if let Some(id) = place {
                self.places.exit(id, before);
                self.places.enter(id, after);
            }
        }
        Some(())
    }

    /// Moves a member to where they are now, and says where that is.
    fn settle(&mut self, kind: Kind, slot: Slot, told: Option<PlaceId>) -> Option<PlaceId> {
        let here = self.go_to(kind, slot, told, 1)?;
        self.roster_mut(kind).get_mut(slot)?.settle(Some(here));
        Some(here)
    }

    /// The same where the one page that they have open goes along: it holds where it is, as they do.
    fn settle_along(&mut self, kind: Kind, slot: Slot, told: Option<PlaceId>) -> Option<PlaceId> {
        let here = self.go_to(kind, slot, told, 2)?;
        self.roster_mut(kind).get_mut(slot)?.settle_along(here);
        Some(here)
    }

    /// Counts a member where they are now, holds that place in the stead of the one where they were, so many times, and says
    /// which it is.
    fn go_to(&mut self, kind: Kind, slot: Slot, told: Option<PlaceId>, times: u32) -> Option<PlaceId> {
        let member = self.roster(kind).get(slot)?;
        let (current, sort) = (member.place(), member.sort());
        let Some(told) = told.filter(|told| Some(*told) != current) else { return current };
        let next = match self.completed(current, told) {
            Some(place) => {
                let id = self.places.hold(place);
                self.places.hold_times(id, times - 1);
                id
            }
            None => {
                self.places.hold_times(told, times);
                told
            }
        };
        self.places.enter(next, sort);
        if let Some(id) = current {
            self.places.exit(id, sort);
            self.places.release_times(id, times);
        }
        Some(next)
    }

    /// The place that was told with what is known of it besides, if that is anything. A page keeps the title and the
    /// topic that it was told to have: the origin's answer may name the topic, and the page itself its title a moment
    /// later.
    fn completed(&self, current: Option<PlaceId>, told: PlaceId) -> Option<Place> {
        let (known, told) = (self.places.get(current?)?, self.places.get(told)?);
        let more = (told.title.is_none() && known.title.is_some()) || (told.topic.is_none() && known.topic.is_some());
        (more && known.path == told.path).then(|| Place {
            path: told.path.clone(),
            title: told.title.clone().or_else(|| known.title.clone()),
            topic: told.topic.clone().or_else(|| known.topic.clone()),
        })
    }

    fn leave(&mut self, at: Timestamp, key: &MemberKey, tab: Option<TabId>) -> Option<()> {
        let kind = key.kind();
        let slot = self.roster(kind).find(key.borrow())?;
        let now = self.now;
        let oldest_live = now.minus(self.window);
        let looked_at = self.looks_of(kind, slot);
        let member = self.roster_mut(kind).get_mut(slot)?;
        let closes = match tab {
            // A tab that was never told of, or was seen again after it was closed, closes nothing.
            Some(id) => member.tabs().any(|tab| tab.id == id && tab.at <= at),
            None => member.last_seen() <= at,
        };
        if !closes {
            return None;
        }
        let closed = |open: &Tab| tab.is_none_or(|id| open.id == id);
        let (closed, mut tabs): (Vec<_>, Vec<_>) = member.take_tabs().into_iter().partition(closed);
        let last_seen = member.last_seen();
        // The next page was asked for before this one was closed: that request keeps them.
        let seen_since = tab.is_some() && closed.iter().all(|tab| tab.at < last_seen);
        tabs.sort_by_key(|tab| tab.at);
        if let Some(rest) = tabs.last_mut().filter(|tab| tab.at >= oldest_live) {
            // What the closed one was the last to tell is known of the rest now: when that is closed as well, nobody has
            // seen them since.
            if closed.iter().any(|tab| tab.at == last_seen) {
                rest.at = last_seen;
            }
        }
        let rest = tabs.last().filter(|tab| tab.at >= oldest_live).copied();
        let looking = tabs.iter().any(|tab| tab.state == State::Online);
        member.put_tabs(tabs);
        if let Some(rest) = rest {
            member.look(if looking { State::Online } else { State::Away });
            // They are where the most recent of the others is.
            self.settle(kind, slot, rest.place);
        } else if !seen_since {
            // Never before the row is written that tells it, or a restart would see them go at another time.
            let leaves_at = at.plus(LEAVE_GRACE).max(now.plus(Millis(1)));
            member.leave_at(Some(leaves_at));
            self.note_leaving(Leaving { at: leaves_at, kind, slot });
        }
        self.note_views(kind, slot, looked_at);
        let ids: Vec<_> = closed.iter().map(|tab| (tab.id, tab.at)).collect();
        self.close_on_devices(kind, slot, &ids, tab.is_none());
        closed.iter().filter_map(|tab| tab.place).for_each(|id| self.places.release(id));
        self.mark_changed(kind, slot);
        Some(())
    }

    /// Queues a leaver by when they go. Reports come nearly in order, so there is hardly ever anybody to pass.
    pub(super) fn note_leaving(&mut self, leaving: Leaving) {
        let behind = self.leaving.iter().rev().take_while(|other| other.at > leaving.at).count();
        self.leaving.insert(self.leaving.len() - behind, leaving);
    }
}

/// Drops the pages that were last touched too long ago to be open, and gives back the places that they held.
fn drop_closed(tabs: &mut Vec<Tab>, live_since: Timestamp) -> Vec<PlaceId> {
    tabs.extract_if(.., |tab| tab.at < live_since).filter_map(|tab| tab.place).collect()
}

/// Notes what a tab reports, and gives back the place that it held before.
fn note_tab(tabs: &mut Vec<Tab>, tab: Tab) -> Option<PlaceId> {
    if let Some(known) = tabs.iter_mut().find(|known| known.id == tab.id) {
        return std::mem::replace(known, tab).place;
    }
    tabs.push(tab);
    if tabs.len() <= MAX_TABS {
        return None;
    }
    let oldest = tabs.iter().enumerate().min_by_key(|(_, tab)| tab.at).map(|(index, _)| index)?;
    tabs.remove(oldest).place
}

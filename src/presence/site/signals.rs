//! What signals do to a site: members arrive, move, are known by another key, and leave.

use super::{LEAVE_GRACE, Leaving, MAX_TABS, Outcome, Report, Site};
use crate::presence::id::{TabId, UserId};
use crate::presence::member::{Departure, Kind, MemberKey, Place, Signal, State, Touch};
use crate::presence::places::PlaceId;
use crate::presence::ring::Slot;
use crate::presence::roster::{Member, Tab};
use crate::presence::time::{Millis, Timestamp};

impl Site {
    /// Applies a batch of signals, all of them or (on a crash) none, and says what to store.
    pub fn apply(&mut self, now: Timestamp, reports: Vec<Report>) -> Outcome {
        self.move_to(now);
        let mut changed: Vec<MemberKey> = Vec::with_capacity(reports.len());
        let mut gone = Vec::new();
        for report in reports {
            self.seq += 1;
            let at = self.now.minus(report.age);
            match report.signal {
                Signal::Touch(mut touch) => {
                    self.heed_hiding(at, &mut touch);
                    touch.was.iter().for_each(|was| self.note(was));
                    self.note(&touch.key);
                    if let Some(was) = self.supersede(&touch) {
                        gone.push(was);
                        changed.push(touch.key.clone());
                    }
                    changed.extend(self.touch(at, touch));
                }
                Signal::Leave { key, tab } => {
                    self.note(&key);
                    changed.extend(self.leave(at, key, tab));
                }
                Signal::SignOut(user) => gone.extend(self.sign_out(at, user)),
            }
        }
        if !changed.is_empty() || !gone.is_empty() {
            self.bump();
            self.note_peak();
        }
        self.outcome(changed, gone)
    }

    /// A visitor is known by another key from now on. What is known of them goes over to it, unless somebody is
    /// online by that one already; the key that they had is given back.
    fn supersede(&mut self, touch: &Touch) -> Option<MemberKey> {
        let (was, key) = (touch.was.clone()?, &touch.key);
        let slot = self.roster(was.kind()).find(&was)?;
        let mut member = self.roster_mut(was.kind()).remove(slot)?;
        if self.roster(key.kind()).find(key).is_some() {
            self.forget(member);
            return Some(was);
        }
        match (member.place, was.kind() == Kind::Bot, key.kind() == Kind::Bot) {
            (Some(id), true, false) => self.places.enter(id),
            (Some(id), false, true) => self.places.exit(id),
            _ => {}
        }
        (member.key, member.seq, member.leaves_at) = (key.clone(), self.seq, None);
        // Even where the touch itself comes too late to count: whoever hides must not be shown meanwhile.
        self.invisible -= usize::from(member.invisible());
        member.profile = touch.profile.clone().map(Box::new);
        self.invisible += usize::from(member.invisible());
        self.roster_mut(key.kind()).insert(member);
        Some(was)
    }

    fn touch(&mut self, at: Timestamp, touch: Touch) -> Option<MemberKey> {
        let kind = touch.key.kind();
        let Some(slot) = self.roster(kind).find(&touch.key) else {
            return self.arrive(at, touch);
        };
        let looked_at = self.looks_of(kind, slot);
        let hides = touch.profile.as_ref().is_some_and(|profile| profile.invisible);
        let late = self.roster(kind).get(slot)?.last_seen > at;
        if let Some(member) = self.roster(kind).get(slot).filter(|member| hides && !member.invisible()) {
            // To others they have gone.
            self.departures.extend(self.departure(member));
            if late {
                // What else it tells is no longer so, but they did hide.
                let member = self.roster_mut(kind).get_mut(slot)?;
                member.profile = touch.profile.map(Box::new);
                self.invisible += 1;
                return Some(touch.key);
            }
        }
        if late {
            return None;
        }
        let told = touch.place.is_some();
        let here = self.settle(slot, kind, touch.place);
        let (window, now, seq) = (self.window, self.now, self.seq);
        let member = self.roster_mut(kind).get_mut(slot)?;
        let mut released: Vec<PlaceId> = Vec::new();
        member.tabs.retain(|tab| {
            let live = tab.at >= now.minus(window);
            released.extend(tab.place.filter(|_| !live));
            live
        });
        (member.last_seen, member.seq, member.leaves_at) = (at, seq, None);
        let mut held = None;
        if let Some(id) = touch.tab {
            let before = member.tabs.iter().find(|tab| tab.id == id).and_then(|tab| tab.place);
            // A tab that does not say where it is stays where it was.
            let place = if told { here } else { before.or(here) };
            held = place;
            released.extend(note_tab(&mut member.tabs, Tab { id, at, place, state: touch.state }));
        }
        let others_look = member.tabs.iter().any(|tab| Some(tab.id) != touch.tab && tab.state == State::Online);
        member.state = if others_look { State::Online } else { touch.state };
        let was_invisible = member.invisible();
        if let Some(profile) = touch.profile {
            member.profile = Some(Box::new(profile));
        }
        let is_invisible = member.invisible();
        if was_invisible && !is_invisible {
            // Since when they were here in hiding is nobody's business.
            member.since = at;
        }
        self.roster_mut(kind).touch(slot);
        self.invisible = self.invisible + usize::from(is_invisible) - usize::from(was_invisible);
        self.note_views(kind, slot, looked_at);
        held.into_iter().for_each(|id| self.places.hold_again(id));
        released.into_iter().for_each(|id| self.places.release(id));
        Some(touch.key)
    }

    fn arrive(&mut self, at: Timestamp, touch: Touch) -> Option<MemberKey> {
        let kind = touch.key.kind();
        let profile = touch.profile.map(Box::new);
        let invisible = profile.as_ref().is_some_and(|profile| profile.invisible);
        if !self.roster(kind).covers(at) {
            // Too old to be online by now, but a user was seen nevertheless.
            if let (MemberKey::User(user), false) = (touch.key, invisible) {
                let profile = profile.map(|profile| *profile).unwrap_or_default();
                self.departures.push(Departure { user, last_seen: at, profile, place: touch.place, since: at });
            }
            return None;
        }
        let place = touch.place.map(|place| self.places.hold(place));
        if let Some(id) = place {
            if kind != Kind::Bot {
                self.places.enter(id);
            }
            if touch.tab.is_some() {
                self.places.hold_again(id);
            }
        }
        let tabs = touch.tab.map(|id| Tab { id, at, place, state: touch.state }).into_iter().collect();
        let (seq, key) = (self.seq, touch.key.clone());
        let (last_seen, since, state) = (at, at, touch.state);
        let member = Member { key: touch.key, last_seen, since, seq, profile, place, state, tabs, leaves_at: None };
        self.roster_mut(kind).insert(member);
        self.invisible += usize::from(invisible);
        Some(key)
    }

    /// Moves a member to where they are now, and says where that is. A page keeps the title and the topic that it was
    /// told to have: the origin's answer may name the topic, and the page itself its title a moment later.
    fn settle(&mut self, slot: Slot, kind: Kind, place: Option<Place>) -> Option<PlaceId> {
        let current = self.roster(kind).get(slot)?.place;
        let Some(mut place) = place else { return current };
        if let Some(known) = current.and_then(|id| self.places.get(id)).filter(|known| known.path == place.path) {
            place.title = place.title.or_else(|| known.title.clone());
            place.topic = place.topic.or_else(|| known.topic.clone());
            if place == *known {
                return current;
            }
        }
        let next = self.places.hold(place);
        if kind != Kind::Bot {
            self.places.enter(next);
            if let Some(id) = current {
                self.places.exit(id);
            }
        }
        if let Some(id) = current {
            self.places.release(id);
        }
        self.roster_mut(kind).get_mut(slot)?.place = Some(next);
        Some(next)
    }

    fn leave(&mut self, at: Timestamp, key: MemberKey, tab: Option<TabId>) -> Option<MemberKey> {
        let kind = key.kind();
        let slot = self.roster(kind).find(&key)?;
        let (now, seq) = (self.now, self.seq);
        let oldest_live = now.minus(self.window);
        let looked_at = self.looks_of(kind, slot);
        let member = self.roster_mut(kind).get_mut(slot)?;
        let named = tab.is_some();
        let closed = match tab {
            // A tab that was never told of, or was seen again after it was closed, closes nothing.
            Some(id) => {
                let index = member.tabs.iter().position(|tab| tab.id == id && tab.at <= at)?;
                vec![member.tabs.remove(index)]
            }
            None if member.last_seen > at => return None,
            None => std::mem::take(&mut member.tabs),
        };
        // The next page was asked for before this one was closed: that request keeps them.
        let seen_since = named && closed.iter().all(|tab| tab.at < member.last_seen);
        member.tabs.sort_by_key(|tab| tab.at);
        let last_seen = member.last_seen;
        if let Some(rest) = member.tabs.last_mut().filter(|tab| tab.at >= oldest_live) {
            // What the closed one was the last to tell is known of the rest now: when that is closed as well, nobody has
            // seen them since.
            if closed.iter().any(|tab| tab.at == last_seen) {
                rest.at = last_seen;
            }
        }
        let rest = member.tabs.last().filter(|tab| tab.at >= oldest_live).cloned();
        member.seq = seq;
        if let Some(rest) = rest {
            let looking = member.tabs.iter().any(|tab| tab.state == State::Online);
            member.state = if looking { State::Online } else { State::Away };
            self.settle_in_tab(slot, kind, rest.place);
        } else if !seen_since {
            // Never before the row is written that tells it, or a restart would see them go at another time.
            let leaves_at = at.plus(LEAVE_GRACE).max(now.plus(Millis(1)));
            member.leaves_at = Some(leaves_at);
            self.note_leaving(Leaving { at: leaves_at, kind, slot, seq });
        }
        self.note_views(kind, slot, looked_at);
        closed.iter().filter_map(|tab| tab.place).for_each(|id| self.places.release(id));
        Some(key)
    }

    /// Queues a leaver by when they go. Reports come nearly in order, so there is hardly ever anybody to pass.
    pub(super) fn note_leaving(&mut self, leaving: Leaving) {
        let behind = self.leaving.iter().rev().take_while(|other| other.at > leaving.at).count();
        self.leaving.insert(self.leaving.len() - behind, leaving);
    }

    /// A tab was closed: the member is where the most recent of the others is.
    fn settle_in_tab(&mut self, slot: Slot, kind: Kind, place: Option<PlaceId>) {
        let place = place.and_then(|id| self.places.get(id)).cloned();
        self.settle(slot, kind, place);
    }

    fn sign_out(&mut self, at: Timestamp, user: UserId) -> Option<MemberKey> {
        let key = MemberKey::User(user);
        let slot = self.users.find(&key)?;
        // Signed in again since: reports of two isolates may come in either order.
        if self.users.get(slot)?.last_seen > at {
            return None;
        }
        let member = self.users.remove(slot)?;
        self.depart(member);
        Some(key)
    }
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

//! On which devices a user is signed in: who signs out on one of them stays on the others.
//!
//! What of a user's touches names no device counts as one device of its own. Of a user of whom no device is known, as an
//! older release has stored them, a sign-out on any device takes all away.

use super::Site;
use crate::presence::compact::{Device, Member};
use crate::presence::id::{DeviceId, TabId, UserId};
use crate::presence::member::{KeyRef, Kind, MemberKey, State, Touch};
use crate::presence::places::PlaceId;
use crate::presence::recent::digest as digest_of;
use crate::presence::revoked::Revocation;
use crate::presence::ring::Slot;
use crate::presence::roster::digest;
use crate::presence::time::Timestamp;

/// The most devices that are told apart for a user; of more, the one that was heard of longest ago is forgotten.
pub const MAX_DEVICES: usize = 8;

impl Site {
    /// Is told since when users' tokens are worth nothing, as it was kept.
    pub fn know_revoked(&mut self, revoked: impl IntoIterator<Item = Revocation>) {
        revoked.into_iter().for_each(|revocation| {
            self.revoked.note(revocation);
        });
    }

    /// A user's tokens are worth nothing from now on that were issued before, on one device or on all of them.
    pub(super) fn revoke(&mut self, user: &UserId, device: Option<DeviceId>, at: Timestamp) {
        let revocation = Revocation::of(user, device, at);
        if self.revoked.note(revocation) {
            self.revoking.push(revocation);
        }
    }

    /// Whether a touch rests on what is worth nothing.
    pub(super) fn is_revoked(&self, touch: &Touch<u32>) -> bool {
        let MemberKey::User(user) = &touch.key else { return false };
        touch.said.is_some_and(|evidence| self.revoked.covers(user, evidence))
    }

    /// Somebody who is not here on that device has signed out there before: a login that is good for another application comes
    /// again with each request, and is signed out by each.
    fn revoke_on_sign_out(&mut self, at: Timestamp, key: &MemberKey, device: Option<DeviceId>, slot: Option<Slot>) {
        let MemberKey::User(user) = key else { return };
        let member = slot.and_then(|slot| self.users.get(slot));
        let is_here = |device| member.is_some_and(|member| member.devices().iter().any(|known| known.id == device));
        let revocation = Revocation::of(user, device, at);
        if device.is_none_or(|device| is_here(device) || !self.revoked.knows(revocation.user, Some(device))) {
            self.revoke(user, device, at);
        }
    }

    /// Whether this was told of a device before its user signed out there.
    pub(super) fn is_late_for_device(&self, touch: &Touch<u32>, at: Timestamp) -> bool {
        let key = touch.key.borrow();
        touch.device().is_some_and(|device| self.ended.is_late(of_device(key, device), at))
    }

    /// Notes on which device a user was seen, and where: `place` where that was told, else it stays where it was.
    pub(super) fn note_device(&mut self, slot: Slot, touch: &Touch<u32>, at: Timestamp, place: Option<PlaceId>) {
        let id = touch.device().unwrap_or(DeviceId::UNKNOWN);
        let live_since = self.now.minus(self.window);
        let Some(member) = self.users.get_mut(slot) else { return };
        let here = member.place();
        let open: Vec<(TabId, Timestamp)> = member.tabs().map(|tab| (tab.id, tab.at)).collect();
        let is_open = |tab: &TabId| open.iter().any(|(other, _)| other == tab);
        let mut devices = Vec::new();
        member.change_devices(|known| devices = std::mem::take(known));
        let (mut held, mut released) = (None, Vec::new());
        for device in &mut devices {
            device.tabs.retain(|tab| is_open(tab) && (device.id == id || touch.tab != Some(*tab)));
        }
        let new_tab = touch.tab.filter(is_open);
        match devices.iter_mut().find(|device| device.id == id) {
            Some(device) => {
                if new_tab.is_some_and(|tab| !device.tabs.contains(&tab)) {
                    device.tabs.extend(new_tab);
                }
                if device.at <= at {
                    if let Some(place) = place.filter(|place| device.place != Some(*place)) {
                        held = Some(place);
                        released.extend(device.place.replace(place));
                    }
                    (device.at, device.state) = (at, touch.state);
                }
            }
            None => {
                // Where a device is that tells no place is where its user is known to be.
                held = place.or(here);
                let tabs = new_tab.into_iter().collect();
                devices.push(Device { id, at, place: held, state: touch.state, tabs });
            }
        }
        let is_over = |device: &mut Device| {
            let mut heard = open.iter().filter(|(tab, _)| device.tabs.contains(tab)).map(|(_, at)| *at);
            device.at < live_since && heard.all(|at| at < live_since)
        };
        released.extend(devices.extract_if(.., is_over).filter_map(|device| device.place));
        if devices.len() > MAX_DEVICES {
            let oldest = devices.iter().enumerate().filter(|(_, device)| device.id != id);
            let oldest = oldest.min_by_key(|(_, device)| device.at).map(|(index, _)| index);
            released.extend(oldest.and_then(|index| devices.remove(index).place));
        }
        member.change_devices(|known| *known = devices);
        held.into_iter().for_each(|id| self.places.hold_again(id));
        released.into_iter().for_each(|id| self.places.release(id));
    }

    /// Notes that these tabs were closed. A device whose last one that was, and that was not heard of since, is gone.
    pub(super) fn close_on_devices(&mut self, kind: Kind, slot: Slot, closed: &[(TabId, Timestamp)], all: bool) {
        let Some(member) = self.roster_mut(kind).get_mut(slot) else { return };
        if member.devices().is_empty() {
            return;
        }
        let mut gone = Vec::new();
        member.change_devices(|devices| {
            let is_gone = |device: &mut Device| {
                let of_it = closed.iter().filter(|(tab, _)| device.tabs.contains(tab));
                let last = of_it.map(|(_, at)| *at).max();
                device.tabs.retain(|tab| closed.iter().all(|(other, _)| tab != other));
                all || (device.tabs.is_empty() && last.is_some_and(|last| device.at <= last))
            };
            gone.extend(devices.extract_if(.., is_gone));
        });
        gone.iter().filter_map(|device| device.place).for_each(|id| self.places.release(id));
    }

    /// A user signs out, on one device or on all of them.
    pub(super) fn sign_out(&mut self, at: Timestamp, user: UserId, device: Option<DeviceId>) -> Option<()> {
        let key = MemberKey::User(user);
        match device {
            None => self.ended.note(digest(key.borrow()), at, self.now),
            Some(device) => self.ended.note(of_device(key.borrow(), device), at, self.now),
        }
        let slot = self.users.find(key.borrow());
        self.revoke_on_sign_out(at, &key, device, slot);
        let slot = slot?;
        let member = self.users.get(slot)?;
        if let Some(device) = device.filter(|_| !member.devices().is_empty()) {
            if member.devices().iter().any(|known| known.id == device && known.at > at) {
                return None;
            }
            if let Some(newest) = self.newest_of_others(member, device) {
                return self.take_off_device(slot, device, newest);
            }
        }
        // Signed in again since: reports of two isolates may come in either order.
        if self.users.get(slot)?.last_seen() > at {
            return None;
        }
        let member = self.users.remove(slot)?;
        self.depart(member);
        self.gone.push(key);
        Some(())
    }

    /// Of the devices but for one, which was heard of last within the window, and when that was.
    fn newest_of_others(&self, member: &Member, but: DeviceId) -> Option<(DeviceId, Timestamp)> {
        let live_since = self.now.minus(self.window);
        let others = member.devices().iter().filter(|device| device.id != but);
        let heard = others.map(|device| (device.id, member.last_heard_of(device)));
        heard.filter(|(_, at)| *at >= live_since).max_by_key(|(id, at)| (*at, *id))
    }

    /// Takes a user's pages on a device away. They are where they were last on the others.
    fn take_off_device(&mut self, slot: Slot, gone: DeviceId, newest: (DeviceId, Timestamp)) -> Option<()> {
        let (stays, last_seen) = newest;
        let member = self.users.get(slot)?;
        let device = member.devices().iter().find(|device| device.id == gone)?.clone();
        self.note(member.key().owned().borrow());
        let looked_at = self.looks_of(Kind::User, slot);
        let member = self.users.get_mut(slot)?;
        let (closed, tabs): (Vec<_>, Vec<_>) =
            member.take_tabs().into_iter().partition(|tab| device.tabs.contains(&tab.id));
        member.change_devices(|devices| devices.retain(|device| device.id != gone));
        let stays = member.devices().iter().find(|device| device.id == stays)?;
        let newest_tab = tabs.iter().filter(|tab| stays.tabs.contains(&tab.id)).max_by_key(|tab| tab.at);
        let place = match newest_tab {
            Some(tab) if tab.at >= stays.at => tab.place,
            _ => stays.place,
        };
        let looks = stays.state == State::Online || tabs.iter().any(|tab| tab.state == State::Online);
        self.users.see(slot, last_seen);
        let member = self.users.get_mut(slot)?;
        let (before, sort) = (member.place(), member.sort());
        member.settle(place);
        member.put_tabs(tabs);
        member.look(if looks { State::Online } else { State::Away });
        if before != place {
            if let Some(id) = place {
                self.places.hold_again(id);
                self.places.enter(id, sort);
            }
            if let Some(id) = before {
                self.places.exit(id, sort);
                self.places.release(id);
            }
        }
        self.note_views(Kind::User, slot, looked_at);
        closed.iter().filter_map(|tab| tab.place).chain(device.place).for_each(|id| self.places.release(id));
        self.mark_changed(Kind::User, slot);
        Some(())
    }
}

/// The digest of a user's device, beside the digests of keys.
fn of_device(key: KeyRef<'_>, device: DeviceId) -> u64 {
    digest_of(&(digest(key), device))
}

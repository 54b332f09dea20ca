//! Members on their way from one of a site's objects to another: a guest signs in who is kept elsewhere as a user, or
//! there are more objects than before, or fewer.
//!
//! Whoever moves is packed as in a row, taken in there, and let go of here when that is done: at no time are they nowhere.

use super::devices::MAX_DEVICES;
use super::{Leaving, MAX_TABS, Site};
use crate::presence::compact::{Device, Member};
use crate::presence::id::{Invalid, UserId};
use crate::presence::member::{Kind, MemberKey};
use crate::presence::record::{self, Batch};
use crate::presence::roster::digest;
use crate::presence::shards::{Claim, Shards};

impl Site {
    /// Members whom another object is to keep, at most so many.
    pub fn strangers(&self, shards: Shards, home: u32, limit: usize) -> Vec<MemberKey> {
        let of_there = self.members().map(Member::key).filter(|key| shards.home(*key) == home);
        of_there.take(limit).map(|key| key.owned()).collect()
    }

    /// Writes down all that is known of members, as far as they are here.
    pub fn pack(&self, keys: &[MemberKey]) -> Vec<u8> {
        let find = |key: &MemberKey| {
            let roster = self.roster(key.kind());
            roster.find(key.borrow()).and_then(|slot| roster.get(slot))
        };
        self.batch_of(None, Vec::new(), Vec::new(), keys.iter().filter_map(find))
    }

    /// Packs members who are known by other keys, which are kept elsewhere, and lets go of them. What was told of them before
    /// may still come here. What is to be stored is told with what comes of whatever is done next.
    pub fn give_claimed(&mut self, claims: &[Claim]) -> Vec<u8> {
        let keys: Vec<_> = claims.iter().map(|claim| claim.key.clone()).collect();
        let packed = self.pack(&keys);
        self.give(&keys);
        for Claim { key, age } in claims {
            self.ended.note(digest(key.borrow()), self.now.minus(*age), self.now);
        }
        packed
    }

    /// Lets go of members who are kept elsewhere from now on. What is to be stored is told with what comes of whatever is
    /// done next.
    pub fn give(&mut self, keys: &[MemberKey]) {
        for key in keys {
            self.note(key.borrow());
            let roster = self.roster_mut(key.kind());
            if let Some(member) = roster.find(key.borrow()).and_then(|slot| roster.remove(slot)) {
                self.let_go(&member);
                self.gone.push(key.clone());
            }
        }
        if !self.gone.is_empty() {
            self.bump();
        }
    }

    /// Leaves those of the users who went to be told of later who are kept here.
    pub fn retain_held(&mut self, here: impl Fn(&UserId) -> bool) {
        self.held.retain(|gone| here(&gone.user));
    }

    /// Takes in members who were packed elsewhere a moment ago, as if they had been here all the time. What is to be stored
    /// is told with what comes of whatever is done next.
    ///
    /// # Errors
    /// When they were packed by another release, or damaged.
    pub fn adopt(&mut self, packed: &[u8]) -> Result<(), Invalid> {
        // By the other one's clock, as nothing is to be seen of the way: the platform's clocks agree to some milliseconds.
        let Batch { written, places, members, .. } = record::decode(packed)?;
        let places: Vec<_> = places.into_iter().map(|place| self.places.hold(place)).collect();
        for record in members {
            self.note(record.key.borrow());
            let kind = record.key.kind();
            let member = self.member(record, written, &places);
            self.take_in(kind, member);
        }
        places.into_iter().for_each(|id| self.places.release(id));
        if !self.changed.is_empty() {
            self.bump();
        }
        Ok(())
    }

    fn take_in(&mut self, kind: Kind, member: Member) {
        if !self.roster(kind).covers(member.last_seen()) {
            // They went on the way.
            self.departures.extend(self.departure(&member).filter(|_| !member.invisible()));
            return;
        }
        let roster = self.roster_mut(kind);
        let known = roster.find(member.key()).and_then(|slot| roster.remove(slot));
        let held: Vec<_> = known.iter().flat_map(Member::places).collect();
        known.iter().for_each(|known| self.uncount(known));
        let mut member = merged(member, known);
        member.unmark_changed();
        member.places().for_each(|id| self.places.hold_again(id));
        held.into_iter().for_each(|id| self.places.release(id));
        self.count(&member);
        let leaves_at = member.leaves_at();
        let slot = self.roster_mut(kind).insert(member);
        if let Some(at) = leaves_at {
            self.note_leaving(Leaving { at, kind, slot });
        }
        self.mark_changed(kind, slot);
    }
}

/// What is known of somebody who was seen in two places: what was seen last, and since the first.
fn merged(member: Member, known: Option<Member>) -> Member {
    let Some(known) = known else { return member };
    let (mut newer, older) = if known.last_seen() > member.last_seen() { (known, member) } else { (member, known) };
    let mut tabs = newer.take_tabs();
    let further: Vec<_> = older.tabs().filter(|tab| tabs.iter().all(|other| other.id != tab.id)).collect();
    tabs.extend(further);
    tabs.truncate(MAX_TABS);
    newer.put_tabs(tabs);
    merge_devices(&mut newer, older.devices());
    newer.begin(newer.since().min(older.since()));
    newer
}

/// Adds the devices that were seen in the other place alone, or later there.
fn merge_devices(newer: &mut Member, older: &[Device]) {
    if older.is_empty() {
        return;
    }
    newer.change_devices(|devices| {
        for device in older {
            match devices.iter_mut().find(|known| known.id == device.id) {
                Some(known) => {
                    let tabs = device.tabs.iter().filter(|tab| !known.tabs.contains(tab)).copied().collect::<Vec<_>>();
                    known.tabs.extend(tabs);
                    if device.at > known.at {
                        (known.at, known.place, known.state) = (device.at, device.place, device.state);
                    }
                }
                None => devices.push(device.clone()),
            }
        }
        devices.truncate(MAX_DEVICES);
    });
}

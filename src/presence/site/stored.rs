//! A site's way into its rows and back.

use super::changes::RECALL;
use super::{LEAVE_GRACE, Lease, Leaving, Outcome, Site, Write, version_at};
use crate::presence::bounds::Bounds;
use crate::presence::compact::{Device, Member, Tab};
use crate::presence::id::Invalid;
use crate::presence::member::{Departure, KeyRef, Kind, MemberKey, Place, Profile};
use crate::presence::places::{PlaceId, Places};
use crate::presence::record::{self, Batch, DeviceRecord, Head, MergedRecord, Record, TabRecord};
use crate::presence::ring::Slot;
use crate::presence::roster::digest;
use crate::presence::time::{Millis, Seconds, Timestamp};
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, HashMap};

/// How many places the members of a row may name, one for each member and each tab: with all texts at their longest
/// (896 bytes a place, 768 a member) such a row has less than the 2 MB that the platform allows.
const MAX_ROW_WEIGHT: usize = 1000;

/// For how long users who went are held back, to be told of together. A row is kept for longer beyond its window, so who
/// fell out of it is known anew after a crash.
const HELD_FOR: Seconds = Seconds(50);

/// With so many they are held no longer.
const MAX_HELD: usize = 200;

/// Where a site's rows are. All of them are more than fits in memory at once where there are many members, so each is
/// read when its turn has come.
pub trait Rows {
    /// The slot of each row, and at least the first [`Head::BYTES`] of what it holds.
    fn heads(&self) -> Vec<(i64, Vec<u8>)>;
    /// All that a row holds.
    fn read(&self, slot: i64) -> Option<Vec<u8>>;
}

impl Rows for BTreeMap<i64, Vec<u8>> {
    fn heads(&self) -> Vec<(i64, Vec<u8>)> {
        self.iter().map(|(slot, row)| (*slot, row.iter().take(Head::BYTES).copied().collect())).collect()
    }

    fn read(&self, slot: i64) -> Option<Vec<u8>> {
        self.get(&slot).cloned()
    }
}

impl Site {
    /// Rebuilds a site from its rows, by slot; pages that are still open have kept whoever they are of. What had fallen
    /// out of the window in the meantime comes out as departures. Rows that cannot be read are left out, and how many
    /// those were is told.
    ///
    /// Whoever was told of a version shortly before can be told what has changed since.
    pub fn restore(
        bounds: impl Into<Bounds>,
        rows: &impl Rows,
        now: Timestamp,
        leases: &[Lease],
    ) -> (Self, Outcome, usize) {
        let bounds = bounds.into();
        let (mut unreadable, mut heads): (Vec<i64>, Vec<(i64, Head)>) = (Vec::new(), Vec::new());
        for (slot, head) in rows.heads() {
            match record::decode(&head) {
                Ok(head) => heads.push((slot, head)),
                Err(_) => unreadable.push(slot),
            }
        }
        heads.sort_by_key(|(_, head)| head.version);
        // Rows are kept for so long that whoever was online then is known.
        let recalled = heads.last().map_or(now, |(_, head)| head.written).minus(RECALL);
        let mut restored: Option<Self> = None;
        for (slot, _) in heads {
            let Some(batch) = rows.read(slot).and_then(|data| record::decode::<Batch>(&data).ok()) else {
                unreadable.push(slot);
                continue;
            };
            let site = restored.get_or_insert_with(|| Self::new(bounds, batch.written));
            let before = site.version;
            // As it went, by the clock of then: what was to be put right since is put right at the end.
            if let Some(reached) = batch.rewound_from {
                site.move_to(reached);
            }
            site.move_to(batch.written);
            // All that has changed since the row before is noted as of that one, however time has passed.
            site.version = before;
            // Where the clock was put back, later rows may look older.
            let recall = site.log.is_some() || batch.written >= recalled;
            site.replay(batch);
            site.keep_row(slot);
            if recall {
                site.watch();
                site.note_row();
            }
        }
        let mut site = restored.unwrap_or_else(|| Self::new(bounds, now));
        site.rewound_from = None;
        if !unreadable.is_empty() {
            site.forget_changes();
        }
        let came_ahead = site.come_ahead(now);
        let mut outcome = site.renew(now, leases);
        if came_ahead && outcome.writes.is_empty() {
            outcome.writes.push(site.write_row(&[], &[]));
        }
        site.settle_log();
        // Perhaps a newer release wrote them and will be back: they are kept for as long as they could matter.
        unreadable.iter().for_each(|slot| site.keep_row(*slot));
        (site, outcome, unreadable.len())
    }

    /// Where the clock is behind the version, or was at the last row, each who went since may have made a version that was
    /// told: comes to a later one, and says whether that has to be stored, or another restart would come to it again.
    fn come_ahead(&mut self, now: Timestamp) -> bool {
        let (members, now) = (self.members_and_merged() as u64, version_at(now));
        let last_told = self.version + members;
        let ahead = self.version > version_at(self.now) || self.version >= now;
        let again = members > 0 && ahead && now <= last_told;
        if again {
            self.version = last_told + 1;
        }
        again
    }

    /// A copy of a site from its rows, which has come to this version of it. Nobody has to store what comes of it.
    pub fn copy(bounds: impl Into<Bounds>, rows: &impl Rows, at: Timestamp, version: u64) -> Self {
        let (mut copy, ..) = Self::restore(bounds, rows, at, &[]);
        copy.drop_outcome();
        // What has changed since is known of this copy from now on.
        (copy.version, copy.log) = (version, None);
        copy.watch();
        copy
    }

    /// Has a copy come to a later version, by what was stored on the way there.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn follow<'a>(
        &mut self,
        at: Timestamp,
        version: u64,
        rows: impl Iterator<Item = &'a Vec<u8>>,
    ) -> Result<(), Invalid> {
        let before = self.version;
        for row in rows {
            let batch = record::decode::<Batch>(row)?;
            if let Some(reached) = batch.rewound_from {
                self.move_to(reached);
            }
            self.move_to(batch.written);
            // All that has changed is noted as of the version that those were told of who watch.
            self.version = before;
            self.replay(batch);
            self.version = before;
        }
        self.move_to(at);
        self.version = version;
        self.drop_outcome();
        Ok(())
    }

    /// Has a copy go on to `now` by itself, as its object does: see [`Site::go_on`].
    pub fn go_on_alone(&mut self, now: Timestamp, open: impl FnOnce() -> Vec<Lease>) {
        self.go_on(now, open);
        self.whole_outcome();
    }

    /// What would be stored is its object's business.
    fn drop_outcome(&mut self) {
        self.departures.clear();
        self.held.clear();
        self.views.clear();
        self.hiding.clear();
        self.revoking.clear();
        self.rewound_from = None;
    }

    /// Which rows there are, the one that was written last first.
    pub fn rows_newest_first(&self) -> impl Iterator<Item = i64> {
        self.rows.iter().rev().map(|(slot, _)| *slot)
    }

    /// Lets go of the rows that nobody needs any more, and names them. Where there are any, a new one tells the peak,
    /// and as of when nothing is missing.
    pub fn sweep(&mut self) -> (Vec<i64>, Option<Write>) {
        let stale = |(_, until): &(i64, Timestamp), now| *until < now;
        let any = self.rows.front().is_some_and(|row| stale(row, self.now));
        if any {
            self.bump();
        }
        let last = any.then(|| self.write_row(&[], &[]));
        let mut swept = Vec::new();
        while self.rows.len() > 1 && self.rows.front().is_some_and(|row| stale(row, self.now)) {
            swept.extend(self.rows.pop_front().map(|(slot, _)| slot));
        }
        (swept, last)
    }

    /// What came of all that was done since the last one.
    pub fn outcome(&mut self) -> Outcome {
        let due = |gone: &Departure| gone.last_seen.plus(self.window).plus(HELD_FOR) <= self.now;
        let due = !self.departures.is_empty() || self.held.len() >= MAX_HELD || self.held.iter().any(due);
        if due { self.whole_outcome() } else { self.outcome_but_held() }
    }

    /// The same, with all users who went.
    pub fn whole_outcome(&mut self) -> Outcome {
        self.departures.append(&mut self.held);
        self.outcome_but_held()
    }

    fn outcome_but_held(&mut self) -> Outcome {
        let nothing = self.changed.is_empty() && self.gone.is_empty() && self.rewound_from.is_none();
        let writes = if nothing { Vec::new() } else { self.write() };
        Outcome {
            writes,
            departures: std::mem::take(&mut self.departures),
            views: std::mem::take(&mut self.views),
            hidden: std::mem::take(&mut self.hiding),
            revoked: std::mem::take(&mut self.revoking),
        }
    }

    /// Who has changed and who is gone: one row, or as many as it takes to keep each below what a row may hold.
    fn write(&mut self) -> Vec<Write> {
        let gone = std::mem::take(&mut self.gone);
        let mut gone = gone.as_slice();
        let mut changed = std::mem::take(&mut self.changed);
        // Not those who have gone since; where somebody else lies now, they say themselves whether they have changed.
        changed.retain(|(kind, slot)| self.roster_mut(*kind).get_mut(*slot).is_some_and(Member::unmark_changed));
        let weigh = |site: &Self, (kind, slot): &(Kind, Slot)| {
            site.roster(*kind).get(*slot).map_or(0, |member| 1 + member.tabs().count() + member.devices().len())
        };
        let mut writes = Vec::with_capacity(1);
        let mut rest = changed.as_slice();
        loop {
            // All who are gone are told before anybody who may have come again.
            let (row_gone, more_gone) = gone.split_at_checked(MAX_ROW_WEIGHT).unwrap_or((gone, &[]));
            let mut weight = row_gone.len();
            let fits = rest.iter().take_while(|place| {
                weight += weigh(self, place);
                weight <= MAX_ROW_WEIGHT
            });
            // A member alone always fits.
            let fits = fits.count().max(usize::from(row_gone.is_empty()));
            let (row, more) = rest.split_at_checked(fits).unwrap_or((rest, &[]));
            writes.push(self.write_row(row_gone, row));
            if more.is_empty() && more_gone.is_empty() {
                break;
            }
            // Rows are told apart, and replayed in order, by their versions.
            self.version += 1;
            (gone, rest) = (more_gone, more);
        }
        // Its room is used again.
        changed.clear();
        self.changed = changed;
        writes
    }

    pub(super) fn write_row(&mut self, gone: &[MemberKey], changed: &[(Kind, Slot)]) -> Write {
        let (rewound_from, merged) = (self.rewound_from.take(), self.take_merged());
        let members = changed.iter().filter_map(|(kind, slot)| self.roster(*kind).get(*slot));
        let data = self.batch_of(rewound_from, gone.to_vec(), merged, members);
        // A row that nobody needs any more is written over; the oldest comes first.
        let slot = match self.rows.front() {
            Some(&(slot, until)) if until < self.now => {
                self.rows.pop_front();
                slot
            }
            _ => self.next_slot,
        };
        self.keep_row(slot);
        Write { slot, data }
    }

    /// What is to be said of some members.
    pub(super) fn batch_of<'a>(
        &self,
        rewound_from: Option<Timestamp>,
        gone: Vec<MemberKey>,
        merged: Vec<MergedRecord>,
        members: impl Iterator<Item = &'a Member>,
    ) -> Vec<u8> {
        let mut places = StoredPlaces::of(&self.places);
        let members = members.map(|member| self.record(member, &mut places)).collect();
        record::encode(&Batch {
            version: self.version,
            written: self.now,
            rewound_from,
            peak: self.peak,
            totals: self.totals,
            gone,
            merged,
            members,
            places: places.list,
        })
    }

    /// Until when a row of now is needed: the second that a touch falls into counts whole, and who was online at any
    /// version that may be asked for has to be known.
    pub(super) fn needed_until(&self) -> Timestamp {
        self.now.plus(self.window).plus(Seconds(1)).plus(RECALL)
    }

    /// Notes a row as written now.
    fn keep_row(&mut self, slot: i64) {
        self.next_slot = self.next_slot.max(slot.saturating_add(1));
        self.rows.push_back((slot, self.needed_until()));
    }

    fn record<'a>(&self, member: &'a Member, places: &mut StoredPlaces<'_>) -> Record<KeyRef<'a>, &'a Profile> {
        let last_seen = member.last_seen();
        let tabs = member.tabs().map(|tab| TabRecord {
            id: tab.id,
            touched: self.now.since(tab.at),
            place: tab.place.and_then(|id| places.number(id)),
            state: tab.state,
        });
        let tabs = tabs.collect();
        let devices = member.devices().iter().map(|device| DeviceRecord {
            id: device.id,
            seen: self.now.since(device.at),
            place: device.place.and_then(|id| places.number(id)),
            state: device.state,
            tabs: device.tabs.clone(),
        });
        Record {
            devices: devices.collect(),
            tabs,
            key: member.key(),
            last_seen: self.now.since(last_seen),
            visit: last_seen.since(member.since()),
            profile: member.profile(),
            place: member.place().and_then(|id| places.number(id)),
            state: member.state(),
            leaves_in: member.leaves_at().map(|at| at.since(self.now)),
        }
    }

    /// Who was merged since the last row.
    fn take_merged(&mut self) -> Vec<MergedRecord> {
        let now = self.now.as_secs();
        let mut merged = Vec::new();
        for kind in [Kind::Guest, Kind::Bot] {
            let untold = self.roster_mut(kind).merged_mut().take_untold();
            // None of them is later than now, or from before the window.
            let record = |(second, count)| MergedRecord { kind, last_seen: Seconds((now - second) as u32), count };
            merged.extend(untold.into_iter().map(record));
        }
        merged
    }

    fn replay(&mut self, batch: Batch) {
        let Batch { version, written, peak, totals, gone, merged, places, members, .. } = batch;
        (self.peak, self.totals) = (peak.or(self.peak), totals);
        for key in gone {
            self.note(key.borrow());
            let roster = self.roster_mut(key.kind());
            if let Some(member) = roster.find(key.borrow()).and_then(|slot| roster.remove(slot)) {
                self.let_go(&member);
            }
        }
        for MergedRecord { kind, last_seen, count } in merged {
            let second = written.minus(last_seen).as_secs();
            self.roster_mut(kind).merged_mut().put(second, count);
        }
        let places: Vec<_> = places.into_iter().map(|place| self.places.hold(place)).collect();
        for record in members {
            self.note(record.key.borrow());
            let kind = record.key.kind();
            let member = self.member(record, written, &places);
            self.count(&member);
            member.places().for_each(|id| self.places.hold_again(id));
            let leaves_at = member.leaves_at();
            let (slot, before) = self.roster_mut(kind).put(member);
            before.iter().for_each(|member| self.let_go(member));
            if let Some(at) = leaves_at {
                self.note_leaving(Leaving { at, kind, slot });
            }
        }
        places.into_iter().for_each(|id| self.places.release(id));
        self.version = self.version.max(version);
    }

    /// The member that a record tells of.
    pub(super) fn member(&self, record: Record, written: Timestamp, places: &[PlaceId]) -> Member {
        let Record { key, last_seen, visit, profile, place, state, tabs, leaves_in, devices } = record;
        let at = |before: Millis| written.minus(before).min(self.now);
        let held = |number: Option<u32>| places.get(number? as usize).copied();
        let (digest, last_seen) = (digest(key.borrow()), at(last_seen));
        let mut member = Member::new(key, digest, last_seen);
        member.begin(last_seen.minus(visit));
        member.settle(held(place));
        member.look(state);
        if profile.is_some() {
            member.show_as(profile);
        }
        let tab = |tab: TabRecord| Tab { id: tab.id, at: at(tab.touched), place: held(tab.place), state: tab.state };
        member.put_tabs(tabs.into_iter().map(tab).collect());
        if !devices.is_empty() {
            let device = |DeviceRecord { id, seen, place, state, tabs }: DeviceRecord| Device {
                id,
                at: at(seen),
                place: held(place),
                state,
                tabs,
            };
            member.change_devices(|known| *known = devices.into_iter().map(device).collect());
        }
        member.leave_at(leaves_in.map(|span| written.plus(span).min(self.now.plus(LEAVE_GRACE))));
        member
    }
}

/// The places of a batch, each told once.
struct StoredPlaces<'a> {
    places: &'a Places,
    list: Vec<&'a Place>,
    numbers: HashMap<PlaceId, u32, FixedState>,
}

impl<'a> StoredPlaces<'a> {
    fn of(places: &'a Places) -> Self {
        Self { places, list: Vec::new(), numbers: HashMap::default() }
    }

    fn number(&mut self, id: PlaceId) -> Option<u32> {
        if let Some(&number) = self.numbers.get(&id) {
            return Some(number);
        }
        let number = self.list.len() as u32;
        self.list.push(self.places.get(id)?);
        self.numbers.insert(id, number);
        Some(number)
    }
}

//! A site's way into its rows and back.

use super::changes::RECALL;
use super::{LEAVE_GRACE, Lease, Leaving, Outcome, Site, Write};
use crate::presence::member::{Kind, MemberKey, Place};
use crate::presence::places::{PlaceId, Places};
use crate::presence::record::{self, Batch, Record, TabRecord};
use crate::presence::roster::{Member, Tab};
use crate::presence::time::{Seconds, Timestamp};
use std::collections::HashMap;

/// How many places the members of a row may name, one for each member and each tab: with all texts at their longest
/// (896 bytes a place, 768 a member) such a row has less than the 2 MB that the platform allows.
const MAX_ROW_WEIGHT: usize = 1000;

impl Site {
    /// Rebuilds a site from its rows, by slot; pages that are still open have kept whoever they are of. What had fallen
    /// out of the window in the meantime comes out as departures. Rows that cannot be read are left out, and how many
    /// those were is told.
    ///
    /// Whoever was told of a version shortly before can be told what has changed since.
    pub fn restore(
        window: Seconds,
        rows: impl IntoIterator<Item = (i64, Vec<u8>)>,
        now: Timestamp,
        leases: &[Lease],
    ) -> (Self, Outcome, usize) {
        let mut unreadable = Vec::new();
        let mut batches: Vec<(i64, Batch)> = Vec::new();
        for (slot, data) in rows {
            match record::decode::<Batch>(&data) {
                Ok(batch) => batches.push((slot, batch)),
                Err(_) => unreadable.push(slot),
            }
        }
        batches.sort_by_key(|(_, batch)| batch.version);
        let start = batches.first().map_or(now, |(_, batch)| batch.written);
        // Rows are kept for so long that whoever was online then is known.
        let recalled = batches.last().map_or(now, |(_, batch)| batch.written).minus(RECALL);
        let mut site = Self::new(window, start);
        for (slot, batch) in batches {
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
        site.rewound_from = None;
        if !unreadable.is_empty() {
            site.forget_changes();
        }
        let outcome = site.renew(now, leases);
        site.settle_log();
        // Perhaps a newer release wrote them and will be back: they are kept for as long as they could matter.
        unreadable.iter().for_each(|slot| site.keep_row(*slot));
        (site, outcome, unreadable.len())
    }

    /// Lets go of the rows that nobody needs any more, and names them. Where there are any, a new one tells the peak,
    /// and as of when nothing is missing.
    pub fn sweep(&mut self) -> (Vec<i64>, Option<Write>) {
        let stale = |(_, until): &(i64, Timestamp), now| *until < now;
        let any = self.rows.front().is_some_and(|row| stale(row, self.now));
        if any {
            self.bump();
        }
        let last = any.then(|| self.write_row(&[], Vec::new()));
        let mut swept = Vec::new();
        while self.rows.len() > 1 && self.rows.front().is_some_and(|row| stale(row, self.now)) {
            swept.extend(self.rows.pop_front().map(|(slot, _)| slot));
        }
        (swept, last)
    }

    pub(super) fn outcome(&mut self, changed: Vec<MemberKey>, gone: Vec<MemberKey>) -> Outcome {
        let nothing = changed.is_empty() && gone.is_empty() && self.rewound_from.is_none();
        let writes = if nothing { Vec::new() } else { self.write(changed, gone) };
        Outcome {
            writes,
            departures: std::mem::take(&mut self.departures),
            views: std::mem::take(&mut self.views),
            hidden: std::mem::take(&mut self.hiding),
        }
    }

    /// One row, or as many as it takes to keep each below what a row may hold.
    pub(super) fn write(&mut self, mut changed: Vec<MemberKey>, mut gone: Vec<MemberKey>) -> Vec<Write> {
        let order = |site: &Self, key: &MemberKey| {
            let roster = site.roster(key.kind());
            roster.find(key).and_then(|slot| roster.get(slot)).map(|member| (member.seq, 1 + member.tabs.len()))
        };
        // A number belongs to one signal, and so to one member.
        changed.sort_by_cached_key(|key| order(self, key));
        changed.dedup();
        let mut writes = Vec::with_capacity(1);
        let mut rest = changed.as_slice();
        loop {
            let mut weight = 0;
            let fits = rest.iter().take_while(|key| {
                weight += order(self, key).map_or(0, |(_, weight)| weight);
                weight <= MAX_ROW_WEIGHT
            });
            // A member alone always fits.
            let (row, more) = rest.split_at_checked(fits.count().max(1)).unwrap_or((rest, &[]));
            writes.push(self.write_row(row, std::mem::take(&mut gone)));
            if more.is_empty() {
                return writes;
            }
            // Rows are told apart, and replayed in order, by their versions.
            self.version += 1;
            rest = more;
        }
    }

    fn write_row(&mut self, changed: &[MemberKey], gone: Vec<MemberKey>) -> Write {
        let mut places = StoredPlaces::default();
        let mut members = Vec::with_capacity(changed.len());
        for key in changed {
            let roster = self.roster(key.kind());
            let member = roster.find(key).and_then(|slot| roster.get(slot));
            members.extend(member.map(|member| self.record(member, &mut places)));
        }
        let batch = Batch {
            written: self.now,
            rewound_from: self.rewound_from.take(),
            version: self.version,
            seq: self.seq,
            peak: self.peak,
            gone,
            places: places.list,
            members,
        };
        let data = record::encode(&batch);
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

    fn record(&self, member: &Member, places: &mut StoredPlaces) -> Record {
        Record {
            key: member.key.clone(),
            last_seen: member.last_seen,
            since: member.since,
            seq: member.seq,
            profile: member.profile.as_deref().cloned(),
            place: member.place.and_then(|id| places.number(id, &self.places)),
            state: member.state,
            tabs: member
                .tabs
                .iter()
                .map(|tab| TabRecord {
                    id: tab.id,
                    at: tab.at,
                    place: tab.place.and_then(|id| places.number(id, &self.places)),
                    state: tab.state,
                })
                .collect(),
            leaves_at: member.leaves_at,
        }
    }

    fn replay(&mut self, batch: Batch) {
        let version = batch.version;
        self.seq = self.seq.max(batch.seq);
        self.peak = batch.peak.or(self.peak);
        let Batch { gone, places, members, .. } = batch;
        let place = |number: Option<u32>| number.and_then(|number| places.get(number as usize)).cloned();
        for key in gone {
            self.note(&key);
            let roster = self.roster_mut(key.kind());
            if let Some(member) = roster.find(&key).and_then(|slot| roster.remove(slot)) {
                self.forget(member);
            }
        }
        for record in members {
            self.note(&record.key);
            let kind = record.key.kind();
            let roster = self.roster_mut(kind);
            if let Some(member) = roster.find(&record.key).and_then(|slot| roster.remove(slot)) {
                self.forget(member);
            }
            let here = place(record.place).map(|place| self.places.hold(place));
            if let (Some(id), true) = (here, kind != Kind::Bot) {
                self.places.enter(id);
            }
            let mut tabs = Vec::with_capacity(record.tabs.len());
            for tab in record.tabs {
                let place = place(tab.place).map(|place| self.places.hold(place));
                tabs.push(Tab { id: tab.id, at: tab.at.min(self.now), place, state: tab.state });
            }
            let member = Member {
                key: record.key,
                last_seen: record.last_seen.min(self.now),
                since: record.since.min(self.now),
                seq: record.seq,
                profile: record.profile.map(Box::new),
                place: here,
                state: record.state,
                tabs,
                leaves_at: record.leaves_at,
            };
            self.invisible += usize::from(member.invisible());
            let seq = member.seq;
            let slot = self.roster_mut(kind).insert(member);
            if let Some(at) = record.leaves_at {
                self.note_leaving(Leaving { at: at.min(self.now.plus(LEAVE_GRACE)), kind, slot, seq });
            }
        }
        self.version = self.version.max(version);
    }

    /// Lets go of a member without a departure, as another row tells more of them.
    pub(super) fn forget(&mut self, member: Member) {
        self.invisible -= usize::from(member.invisible());
        self.let_go(&member);
    }
}

/// The places of a batch, each told once.
#[derive(Default)]
struct StoredPlaces {
    list: Vec<Place>,
    numbers: HashMap<PlaceId, u32>,
}

impl StoredPlaces {
    fn number(&mut self, id: PlaceId, places: &Places) -> Option<u32> {
        if let Some(&number) = self.numbers.get(&id) {
            return Some(number);
        }
        let number = self.list.len() as u32;
        self.list.push(places.get(id)?.clone());
        self.numbers.insert(id, number);
        Some(number)
    }
}

//! What the object that keeps a site's presence writes down, and what it finds there.

use super::clock;
use super::object::{Row, Store, Table, blob, integer, text};
use super::presence_object::Presence;
use crate::presence::id::{DeviceId, Topic, UserId};
use crate::presence::member::{Departure, MemberKey, Viewed};
use crate::presence::record::{self, Head};
use crate::presence::register::{Filled, Shelf};
use crate::presence::revoked::{KEPT_FOR_DEVICE, KEPT_FOR_USER, MAX_REVOKED, Revocation};
use crate::presence::site::erasing::topic_of;
use crate::presence::site::{Outcome, Rows, Site};
use crate::presence::time::Timestamp;
use crate::protocol::{Kept, still_kept};
use std::cell::RefCell;
use std::ops::RangeInclusive;
use worker::{Error, Result, SqlStorageValue};

/// The most viewers of a topic that are told apart: of more, those seen last.
const MAX_VIEWERS: i64 = 10_000;

/// Its tables.
pub const TABLES: [Table; 7] = [
    // One row a batch, written over when its time has passed.
    ("ring", "(slot INTEGER PRIMARY KEY, data BLOB NOT NULL)"),
    // Users who went of late, one row for those who went at about the same time.
    ("notes", "(slot INTEGER PRIMARY KEY, data BLOB NOT NULL)"),
    // The others who went, many to a row.
    ("sheets", "(start INTEGER PRIMARY KEY, oldest INTEGER NOT NULL, newest INTEGER NOT NULL, data BLOB NOT NULL)"),
    // One row a viewer of a topic; without a rowid, as an index of its own would be billed as a second row.
    (
        "viewers",
        "(topic TEXT, viewer TEXT, at INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (topic, viewer)) WITHOUT ROWID",
    ),
    // One row a user who hides.
    ("hidden", "(user TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID"),
    // Since when a user's tokens are worth nothing, on a device or (where it is empty) on all of them. Users are told by a
    // digest here, as it is kept of who was erased too.
    ("not_before", "(user TEXT, device TEXT, at INTEGER NOT NULL, PRIMARY KEY (user, device)) WITHOUT ROWID"),
    ("kept", "(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"),
];

/// The rows that a site is built from.
pub struct RingRows<'a> {
    store: &'a Store,
    heads: Vec<(i64, Vec<u8>)>,
    failed: RefCell<Option<Error>>,
}

impl<'a> RingRows<'a> {
    /// Looks which there are.
    pub fn of(store: &'a Store) -> Result<Self> {
        let bytes = vec![SqlStorageValue::Integer(Head::BYTES as i64)];
        let rows = store.rows("SELECT slot, substr(data, 1, ?) FROM ring", bytes)?;
        let head = |row: Row| {
            let mut row = row.into_iter();
            Some((integer(row.next())?, blob(row.next())?))
        };
        Ok(Self { store, heads: rows.into_iter().filter_map(head).collect(), failed: RefCell::default() })
    }

    /// Whether all were read: else what was built is not the site.
    pub fn done(self) -> Result<()> {
        self.failed.into_inner().map_or(Ok(()), Err)
    }
}

impl Rows for RingRows<'_> {
    fn heads(&self) -> Vec<(i64, Vec<u8>)> {
        self.heads.clone()
    }

    fn read(&self, slot: i64) -> Option<Vec<u8>> {
        ring_row(self.store, slot).unwrap_or_else(|error| {
            self.failed.replace(Some(error));
            None
        })
    }
}

/// What one of them holds.
pub fn ring_row(store: &Store, slot: i64) -> Result<Option<Vec<u8>>> {
    store.blob("SELECT data FROM ring WHERE slot = ?", vec![slot.into()])
}

impl Presence {
    /// Writes down what came of a batch, all of it in one transaction.
    #[inline(never)]
    pub fn keep(&self, outcome: Outcome) -> Result<()> {
        self.register.borrow_mut().note(outcome.departures, self.since()?, &Sheets(&self.store))?;
        for view in &outcome.views {
            self.store.run(
                "INSERT INTO viewers VALUES (?, ?, ?, ?) ON CONFLICT (topic, viewer) DO UPDATE SET at = excluded.at, data = excluded.data WHERE excluded.at > at",
                vec![
                    view.topic.as_str().into(),
                    viewer(&view.viewer, view.profile.as_ref().is_some_and(|profile| profile.invisible)).into(),
                    view.at.as_millis().into(),
                    record::encode(view).into(),
                ],
            )?;
        }
        for (user, since) in &outcome.hidden {
            match since {
                Some(since) => self.store.run(
                    "INSERT OR REPLACE INTO hidden VALUES (?, ?)",
                    vec![user.as_str().into(), since.as_millis().into()],
                )?,
                None => self.store.run("DELETE FROM hidden WHERE user = ?", vec![user.as_str().into()])?,
            }
        }
        for Revocation { user, device, at } in &outcome.revoked {
            let device = device.map_or_else(String::new, |device| hex(device.0));
            self.store.run(
                "INSERT INTO not_before VALUES (?, ?, ?) ON CONFLICT (user, device) DO UPDATE SET at = MAX(at, excluded.at)",
                vec![hex(*user).into(), device.into(), at.as_millis().into()],
            )?;
        }
        for write in outcome.writes {
            self.relays.note_row(&write.data);
            self.store.run(
                "INSERT INTO ring VALUES (?, ?) ON CONFLICT (slot) DO UPDATE SET data = excluded.data",
                vec![write.slot.into(), write.data.into()],
            )?;
        }
        Ok(())
    }

    /// The secret that is kept for this site; 256 random bits the first time.
    pub fn secret(&self) -> Result<Vec<u8>> {
        if let Some(secret) = self.store.blob("SELECT value FROM kept WHERE name = 'secret'", Vec::new())? {
            return Ok(secret);
        }
        let mut secret = vec![0; 32];
        getrandom::fill(&mut secret).map_err(|error| Error::RustError(error.to_string()))?;
        self.store.run("INSERT INTO kept VALUES ('secret', ?)", vec![secret.clone().into()])?;
        Ok(secret)
    }

    /// Since when users' tokens are worth nothing, as it was kept.
    pub fn revoked(&self) -> Result<Vec<Revocation>> {
        let limit = SqlStorageValue::Integer(MAX_REVOKED as i64);
        let rows = self.store.rows("SELECT user, device, at FROM not_before ORDER BY at DESC LIMIT ?", vec![limit])?;
        let revocation = |row: Row| {
            let mut row = row.into_iter();
            revocation_of(&text(row.next())?, &text(row.next())?, integer(row.next())?)
        };
        Ok(rows.into_iter().filter_map(revocation).collect())
    }

    /// Forgets of those what can matter no more.
    pub fn prune_revoked(&self) -> Result<()> {
        let before = |kept| SqlStorageValue::from(clock::now().minus(kept).as_millis());
        self.store.run(
            "DELETE FROM not_before WHERE at < ? OR (device <> '' AND at < ?)",
            vec![before(KEPT_FOR_USER), before(KEPT_FOR_DEVICE)],
        )
    }

    pub fn erase(&self, site: &mut Site, user: &UserId) -> Result<()> {
        let outcome = site.erase(user);
        self.store.run("DELETE FROM ring", Vec::new())?;
        self.keep(outcome)?;
        // No row says that they are gone.
        self.relays.tell_anew();
        let mut register = self.register.borrow_mut();
        let sheets = Sheets(&self.store);
        register.forget(std::slice::from_ref(user), &sheets)?;
        self.store.run("DELETE FROM hidden WHERE user = ?", vec![user.as_str().into()])?;
        for hidden in [false, true] {
            let key = viewer(&MemberKey::User(user.clone()), hidden);
            self.store.run("DELETE FROM viewers WHERE viewer = ?", vec![key.into()])?;
        }
        let Some(topic) = topic_of(user) else { return Ok(()) };
        self.store.run("DELETE FROM viewers WHERE topic = ?", vec![topic.as_str().into()])?;
        // Somebody else may have looked at a page about them last.
        register.forget_topic(&topic, &sheets)
    }

    /// Takes over what an older release kept: a row for each user who went.
    pub fn take_over(&self) -> Result<()> {
        let old = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'last_seen'";
        if self.store.first(old, Vec::new())?.is_none() {
            return Ok(());
        }
        let departures = self.store.rows("SELECT data FROM last_seen", Vec::new())?.into_iter();
        let departures = departures.filter_map(|row| record::decode(&blob(row.into_iter().next())?).ok()).collect();
        self.register.borrow_mut().note(departures, self.since()?, &Sheets(&self.store))?;
        self.store.run("DROP TABLE last_seen", Vec::new())
    }
}

impl Kept for Presence {
    fn departed(&self, user: &UserId) -> Option<Departure> {
        let departure = self.register.borrow_mut().find(user, &Sheets(&self.store)).ok()??;
        let timeout = self.config().ok()?.last_seen_timeout;
        still_kept(departure.last_seen, clock::now(), timeout).then_some(departure)
    }

    fn departures(&self, limit: usize) -> Vec<Departure> {
        let Ok(since) = self.since() else { return Vec::new() };
        let mut newest = self.register.borrow_mut().newest(limit, &Sheets(&self.store)).unwrap_or_default();
        newest.retain(|departure| departure.last_seen >= since);
        newest
    }

    fn viewed(&self, topic: &Topic) -> Vec<Viewed> {
        let query = "SELECT data FROM viewers WHERE topic = ? AND at >= ? ORDER BY at DESC LIMIT ?";
        let Ok(since) = self.since() else { return Vec::new() };
        let bindings = vec![topic.as_str().into(), since.as_millis().into(), MAX_VIEWERS.into()];
        let rows = self.store.rows(query, bindings).unwrap_or_default();
        rows.into_iter().filter_map(|row| record::decode(&blob(row.into_iter().next())?).ok()).collect()
    }
}

/// The shelf of the register.
pub struct Sheets<'a>(pub &'a Store);

impl Sheets<'_> {
    fn starts(&self, query: &str, binding: SqlStorageValue) -> Result<Vec<i64>> {
        let rows = self.0.rows(query, vec![binding])?;
        Ok(rows.into_iter().filter_map(|row| integer(row.into_iter().next())).collect())
    }
}

impl Shelf for Sheets<'_> {
    type Error = Error;

    fn notes(&self) -> Result<Vec<Vec<u8>>> {
        let rows = self.0.rows("SELECT data FROM notes", Vec::new())?;
        Ok(rows.into_iter().filter_map(|row| blob(row.into_iter().next())).collect())
    }

    fn put_note(&self, slot: u64, note: Option<Vec<u8>>) -> Result<()> {
        let slot = SqlStorageValue::Integer(slot as i64);
        match note {
            Some(note) => self.0.run(
                "INSERT INTO notes VALUES (?, ?) ON CONFLICT (slot) DO UPDATE SET data = excluded.data",
                vec![slot, note.into()],
            ),
            None => self.0.run("DELETE FROM notes WHERE slot = ?", vec![slot]),
        }
    }

    fn sheets(&self, starts: RangeInclusive<i64>) -> Result<Vec<(i64, Vec<u8>)>> {
        let query = "SELECT start, data FROM sheets WHERE start BETWEEN ? AND ? ORDER BY start";
        let rows = self.0.rows(query, vec![(*starts.start()).into(), (*starts.end()).into()])?;
        let sheet = |row: Row| {
            let mut row = row.into_iter();
            Some((integer(row.next())?, blob(row.next())?))
        };
        Ok(rows.into_iter().filter_map(sheet).collect())
    }

    fn start_before(&self, place: i64) -> Result<Option<i64>> {
        let query = "SELECT start FROM sheets WHERE start <= ? ORDER BY start DESC LIMIT 1";
        Ok(self.starts(query, place.into())?.pop())
    }

    fn start_after(&self, place: i64) -> Result<Option<i64>> {
        let query = "SELECT start FROM sheets WHERE start >= ? ORDER BY start LIMIT 1";
        Ok(self.starts(query, place.into())?.pop())
    }

    fn older_than(&self, at: Timestamp) -> Result<Vec<i64>> {
        self.starts("SELECT start FROM sheets WHERE oldest < ?", at.as_millis().into())
    }

    fn newer_than(&self, at: Timestamp) -> Result<Vec<i64>> {
        self.starts("SELECT start FROM sheets WHERE newest >= ?", at.as_millis().into())
    }

    fn with_text(&self, text: &str) -> Result<Vec<i64>> {
        self.starts("SELECT start FROM sheets WHERE instr(data, ?) > 0", text.as_bytes().to_vec().into())
    }

    fn put_sheet(&self, start: i64, sheet: Option<Filled>) -> Result<()> {
        match sheet {
            Some(Filled { oldest, newest, data }) => self.0.run(
                "INSERT OR REPLACE INTO sheets VALUES (?, ?, ?, ?)",
                vec![start.into(), oldest.as_millis().into(), newest.as_millis().into(), data.into()],
            ),
            None => self.0.run("DELETE FROM sheets WHERE start = ?", vec![start.into()]),
        }
    }
}

/// A revocation by its columns.
pub fn revocation_of(user: &str, device: &str, at: i64) -> Option<Revocation> {
    let device = match device {
        "" => None,
        device => Some(DeviceId(u64::from_str_radix(device, 16).ok()?)),
    };
    Some(Revocation { user: u64::from_str_radix(user, 16).ok()?, device, at: Timestamp::from_millis(at) })
}

fn hex(number: u64) -> String {
    format!("{number:016x}")
}

/// What a viewer is kept by: of several kinds, and an id may look like anything. Visits in hiding are kept apart.
fn viewer(key: &MemberKey, hidden: bool) -> String {
    match key {
        MemberKey::User(user) if hidden => format!("i{}", user.as_str()),
        MemberKey::User(user) => format!("u{}", user.as_str()),
        MemberKey::Guest(key) | MemberKey::Bot(key) => key.to_string(),
    }
}

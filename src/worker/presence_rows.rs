//! What the object that keeps a site's presence writes down, and what it finds there.

use super::clock;
use super::object::{Row, Store, Table, blob, integer};
use super::presence_object::Presence;
use crate::presence::id::{Topic, UserId};
use crate::presence::member::{Departure, MemberKey, Viewed};
use crate::presence::record::{self, Head};
use crate::presence::site::erasing::topic_of;
use crate::presence::site::{Outcome, Rows, Site};
use crate::protocol::{Kept, still_kept};
use std::cell::RefCell;
use worker::{Error, Result, SqlStorageValue};

/// The most viewers of a topic that are told apart: of more, those seen last.
const MAX_VIEWERS: i64 = 10_000;

/// Its tables.
pub const TABLES: [Table; 5] = [
    // One row a batch, written over when its time has passed.
    ("ring", "(slot INTEGER PRIMARY KEY, data BLOB NOT NULL)"),
    // One row a user who went; without a rowid, as an index of its own would be billed as a second row.
    ("last_seen", "(user TEXT PRIMARY KEY, at INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID"),
    // One row a viewer of a topic.
    (
        "viewers",
        "(topic TEXT, viewer TEXT, at INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (topic, viewer)) WITHOUT ROWID",
    ),
    // One row a user who hides.
    ("hidden", "(user TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID"),
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
        let row = self.store.blob("SELECT data FROM ring WHERE slot = ?", vec![slot.into()]);
        row.unwrap_or_else(|error| {
            self.failed.replace(Some(error));
            None
        })
    }
}

impl Presence {
    /// Writes down what came of a batch, all of it in one transaction.
    #[inline(never)]
    pub fn keep(&self, outcome: Outcome) -> Result<()> {
        for departure in &outcome.departures {
            self.store.run(
                "INSERT INTO last_seen VALUES (?, ?, ?) ON CONFLICT (user) DO UPDATE SET at = excluded.at, data = excluded.data WHERE excluded.at > at",
                vec![
                    departure.user.as_str().into(),
                    departure.last_seen.as_millis().into(),
                    record::encode(departure).into(),
                ],
            )?;
        }
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

    pub fn erase(&self, site: &mut Site, user: &UserId) -> Result<()> {
        let outcome = site.erase(user);
        self.store.run("DELETE FROM ring", Vec::new())?;
        self.keep(outcome)?;
        let id = || user.as_str().into();
        self.store.run("DELETE FROM last_seen WHERE user = ?", vec![id()])?;
        self.store.run("DELETE FROM hidden WHERE user = ?", vec![id()])?;
        for hidden in [false, true] {
            let key = viewer(&MemberKey::User(user.clone()), hidden);
            self.store.run("DELETE FROM viewers WHERE viewer = ?", vec![key.into()])?;
        }
        let Some(topic) = topic_of(user) else { return Ok(()) };
        self.store.run("DELETE FROM viewers WHERE topic = ?", vec![topic.as_str().into()])?;
        // Somebody else may have looked at a page about them last.
        let query = "SELECT data FROM last_seen WHERE instr(data, ?) > 0";
        for row in self.store.rows(query, vec![topic.as_str().as_bytes().to_vec().into()])? {
            let Some(data) = blob(row.into_iter().next()) else { continue };
            let Ok(mut departure) = record::decode::<Departure>(&data) else { continue };
            if let Some(place) = departure.place.as_mut().filter(|place| place.topic.as_ref() == Some(&topic)) {
                place.topic = None;
            }
            let bindings = vec![record::encode(&departure).into(), departure.user.as_str().into()];
            self.store.run("UPDATE last_seen SET data = ? WHERE user = ?", bindings)?;
        }
        Ok(())
    }
}

impl Kept for Presence {
    fn departed(&self, user: &UserId) -> Option<Departure> {
        let data = self.store.blob("SELECT data FROM last_seen WHERE user = ?", vec![user.as_str().into()]).ok()??;
        let departure: Departure = record::decode(&data).ok()?;
        let timeout = self.config().ok()?.last_seen_timeout;
        still_kept(departure.last_seen, clock::now(), timeout).then_some(departure)
    }

    fn departures(&self, limit: usize) -> Vec<Departure> {
        let query = "SELECT data FROM last_seen WHERE at >= ? ORDER BY at DESC LIMIT ?";
        let Ok(since) = self.since() else { return Vec::new() };
        let rows = self.store.rows(query, vec![since.as_millis().into(), SqlStorageValue::Integer(limit as i64)]);
        rows.unwrap_or_default()
            .into_iter()
            .filter_map(|row| record::decode(&blob(row.into_iter().next())?).ok())
            .collect()
    }

    fn viewed(&self, topic: &Topic) -> Vec<Viewed> {
        let query = "SELECT data FROM viewers WHERE topic = ? AND at >= ? ORDER BY at DESC LIMIT ?";
        let Ok(since) = self.since() else { return Vec::new() };
        let bindings = vec![topic.as_str().into(), since.as_millis().into(), MAX_VIEWERS.into()];
        let rows = self.store.rows(query, bindings).unwrap_or_default();
        rows.into_iter().filter_map(|row| record::decode(&blob(row.into_iter().next())?).ok()).collect()
    }
}

/// What a viewer is kept by: of several kinds, and an id may look like anything. Visits in hiding are kept apart.
fn viewer(key: &MemberKey, hidden: bool) -> String {
    match key {
        MemberKey::User(user) if hidden => format!("i{}", user.as_str()),
        MemberKey::User(user) => format!("u{}", user.as_str()),
        MemberKey::Guest(key) | MemberKey::Bot(key) => key.to_string(),
    }
}

//! What the object that keeps a site's presence writes down, and what it finds there.

use super::clock;
use super::object::{Answer, Row, Store, Table, blob, columns, integer};
use super::presence_object::Presence;
use crate::presence::id::{Topic, UserId};
use crate::presence::member::{Departure, MemberKey, Viewed};
use crate::presence::record::{self, Head};
use crate::presence::register::{Filled, Form, Shelf};
use crate::presence::revoked::{KEPT_FOR_DEVICE, KEPT_FOR_USER, MAX_REVOKED, Revocation};
use crate::presence::site::erasing::topic_of;
use crate::presence::site::{Outcome, Rows, Site};
use crate::presence::time::Timestamp;
use crate::protocol::{Kept, still_kept, stored};
use std::cell::RefCell;
use std::ops::RangeInclusive;
use worker::{Error, Result, SqlStorage, SqlStorageValue};

/// The most viewers of a topic that are told apart: of more, those seen last.
const MAX_VIEWERS: i64 = 10_000;

/// By what it is kept that a session or a sign-on was once stored for the site.
pub const LOGINS: &str = "logins";

/// Its tables. Each column is a plain value and stays what it is, and what `data` holds has the number of its form in its
/// first byte (see `presence::record`): a release may add tables and forms, and change none (rows are copied whole).
pub const TABLES: [Table; 8] = [
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
    super::kept::TABLE,
    // What this release cannot read, of which the place was needed: which form it has by its number, and since when it is here.
    ("aside", "(id INTEGER PRIMARY KEY, form INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL)"),
    // Since when a user's tokens are worth nothing, on a device or (where it is empty) on all of them. Users are told by a
    // digest here, as it is kept of who was erased too.
    ("not_before", "(user TEXT, device TEXT, at INTEGER NOT NULL, PRIMARY KEY (user, device)) WITHOUT ROWID"),
];

/// Storage that was begun before it was recorded whether the site has logins may be of one that has.
pub fn upgrade(sql: &SqlStorage, known: &[String]) -> Result<()> {
    let is_known = |table: &str| known.iter().any(|name| name == table);
    if is_known("ring") && !is_known("aside") {
        sql.exec("INSERT OR IGNORE INTO kept VALUES (?, 'yes')", vec![LOGINS.into()])?;
    }
    Ok(())
}

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
            // One that holds no bytes cannot be read, as one that holds too few.
            Some((integer(row.next())?, blob(row.next()).unwrap_or_default()))
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
            self.store.run(
                "INSERT INTO not_before VALUES (?, ?, ?) ON CONFLICT (user, device) DO UPDATE SET at = MAX(at, excluded.at)",
                vec![stored::write_key(*user).into(), stored::write_device(*device).into(), at.as_millis().into()],
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
    ///
    /// # Errors
    /// When one is kept that cannot be read: it is not replaced, or all that was signed by it would be worth nothing.
    pub fn secret(&self) -> Answer<Vec<u8>> {
        if let Some(row) = self.store.first("SELECT value FROM kept WHERE name = 'secret'", Vec::new())? {
            return Ok(stored::secret(columns(row)).inspect_err(|_| self.store.count_unreadable(1))?);
        }
        let mut secret = vec![0; 32];
        getrandom::fill(&mut secret).map_err(|error| Error::RustError(error.to_string()))?;
        self.store.run("INSERT INTO kept VALUES ('secret', ?)", vec![secret.clone().into()])?;
        Ok(secret)
    }

    /// Since when users' tokens are worth nothing, as it was kept. Where it cannot be read since when, it is since now.
    pub fn revoked(&self, now: Timestamp) -> Result<Vec<Revocation>> {
        let limit = SqlStorageValue::Integer(MAX_REVOKED as i64);
        let rows = self.store.rows("SELECT user, device, at FROM not_before ORDER BY at DESC LIMIT ?", vec![limit])?;
        let revoked = rows.into_iter().filter_map(|row| {
            let read = stored::revocation(columns(row), now);
            self.store.count_unreadable(u64::from(!matches!(read, Ok((_, true)))));
            Some(read.ok()?.0)
        });
        Ok(revoked.collect())
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
        register.erase(user, &sheets)?;
        // What cannot be read may tell of them.
        self.store.run("DELETE FROM aside", Vec::new())?;
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

    /// Takes over what an older release kept, a row for each user who went; and what was put aside and can be read by now.
    pub fn take_over(&self) -> Result<()> {
        let (store, sheets) = (&self.store, Sheets(&self.store));
        let mut departures = Vec::new();
        let old = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'last_seen'";
        if store.first(old, Vec::new())?.is_some() {
            for row in store.rows("SELECT data FROM last_seen", Vec::new())? {
                let data = blob(row.into_iter().next()).unwrap_or_default();
                match Form::Departure.read(&data) {
                    Some(read) => departures.extend(read),
                    None => sheets.put_aside(Form::Departure, &data)?,
                }
            }
            store.run("DROP TABLE last_seen", Vec::new())?;
        }
        for row in store.rows("SELECT id, form, data FROM aside", Vec::new())? {
            let mut row = row.into_iter();
            let (id, form, data) = (row.next(), integer(row.next()).and_then(Form::of), blob(row.next()));
            if let Some(read) = form.zip(data).and_then(|(form, data)| form.read(&data)) {
                departures.extend(read);
                store.run("DELETE FROM aside WHERE id = ?", id.into_iter().collect())?;
            }
        }
        self.register.borrow_mut().note(departures, self.since()?, &sheets)
    }

    /// Who hides, and since when. Of whom that cannot be read hides until they say otherwise from now on.
    pub fn hidden(&self, now: Timestamp) -> Result<Vec<(UserId, Timestamp)>> {
        let rows = self.store.rows("SELECT user, at FROM hidden", Vec::new())?;
        let hidden = rows.into_iter().filter_map(|row| {
            let mut row = columns(row);
            let (user, at) = (row.text().and_then(UserId::parse), row.time());
            self.store.count_unreadable(u64::from(user.is_err() || at.is_err()));
            Some((user.ok()?, at.unwrap_or(now)))
        });
        Ok(hidden.collect())
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
        let viewed = rows.into_iter().map(|row| columns(row).blob().and_then(|data| record::decode(&data)));
        viewed.filter_map(|viewed| viewed.inspect_err(|_| self.store.count_unreadable(1)).ok()).collect()
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

    fn notes(&self) -> Result<Vec<(u64, Vec<u8>)>> {
        let rows = self.0.rows("SELECT slot, data FROM notes", Vec::new())?;
        let note = |row: Row| {
            let mut row = row.into_iter();
            Some((integer(row.next())? as u64, blob(row.next()).unwrap_or_default()))
        };
        Ok(rows.into_iter().filter_map(note).collect())
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
            Some((integer(row.next())?, blob(row.next()).unwrap_or_default()))
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

    fn count_unreadable(&self) {
        self.0.count_unreadable(1);
    }

    fn put_aside(&self, form: Form, data: &[u8]) -> Result<()> {
        self.count_unreadable();
        self.0.run(
            "INSERT INTO aside (form, at, data) VALUES (?, ?, ?)",
            vec![form.number().into(), clock::now().as_millis().into(), data.to_vec().into()],
        )
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

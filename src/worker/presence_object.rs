//! The Durable Object that keeps one site's presence.
//!
//! It is an object because presence is one thing: whoever asks must see what everybody else reported. Its storage
//! makes it durable: writes without an `await` between them commit together, and the output gate holds an answer
//! until what was written before it is on disk, so whatever was answered survives.
//!
//! Load, call the core, store, answer. The core is put back only when all of that went well: after an error or a
//! panic it is built anew from the rows, which are the truth.

use super::clock;
use super::object::{Store, Table, blob, call, integer};
use crate::config::Config;
use crate::http::conditions::tag_of;
use crate::identity::access::Scope;
use crate::presence::id::{Topic, UserId};
use crate::presence::member::{Departure, MemberKey, Viewed};
use crate::presence::record;
use crate::presence::site::erasing::topic_of;
use crate::presence::site::{Outcome, Site};
use crate::presence::time::Timestamp;
use crate::protocol::call::{Answer, Call, write};
use crate::protocol::query::Query;
use crate::protocol::{About, Kept, answer, still_kept};
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use worker::{
    DurableObject, Env, Error, Request, Response, Result, SqlStorageValue, State, console_error, durable_object,
};

/// The most viewers of a topic that are told apart: of more, those seen last.
const MAX_VIEWERS: i64 = 10_000;

const TABLES: [Table; 4] = [
    // One row a batch, written over when its time has passed.
    ("ring", "(slot INTEGER PRIMARY KEY, data BLOB NOT NULL)"),
    // One row a user who went; without a rowid, as an index of its own would be billed as a second row.
    ("last_seen", "(user TEXT PRIMARY KEY, at INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID"),
    // One row a viewer of a topic.
    (
        "viewers",
        "(topic TEXT, viewer TEXT, at INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (topic, viewer)) WITHOUT ROWID",
    ),
    ("kept", "(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"),
];

/// One site's presence.
#[durable_object(alarm)]
pub struct PresenceObject {
    store: Store,
    config: std::result::Result<Config, String>,
    site: AssertUnwindSafe<RefCell<Option<Site>>>,
}

impl DurableObject for PresenceObject {
    fn new(state: State, env: Env) -> Self {
        let setup = super::setup::Setup::of(&env);
        let config = setup.config().cloned().map_err(|problem| format!("{problem:?}"));
        Self { store: Store::new(state, &TABLES), config, site: AssertUnwindSafe(RefCell::new(None)) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        #[cfg(feature = "test-hooks")]
        if super::object::heed(&request, "object").await? {
            self.alarm().await?;
        }
        let answer = match call(request).await? {
            Call::Apply(reports) => {
                self.with_site(|object, site| object.keep(site.apply(clock::now(), reports)))?;
                self.store.see_to_sweeping().await;
                write(&())
            }
            Call::Read(query, scope, name) => {
                let config = self.config()?;
                write(&self.with_site(|object, site| {
                    let outcome = site.advance(clock::now());
                    object.keep(outcome)?;
                    let about = About { site: &name, online_timeout: config.online_timeout };
                    let body = answer(&query, scope, site, &about, object);
                    let hidden = !scope.invisible && site.invisible() > 0;
                    let tag = tag(&query, scope, site, config, &body);
                    Ok(Answer { tag, total: site.counts().total, hidden, body })
                })?)
            }
            Call::Secret => write(&self.secret()?),
            Call::Erase(user) => {
                self.with_site(|object, site| object.erase(site, &user))?;
                self.store.scrub().await?;
                write(&())
            }
        };
        Response::from_bytes(answer)
    }

    async fn alarm(&self) -> Result<Response> {
        let config = self.config()?;
        let online = self.with_site(|object, site| {
            let (now, store) = (clock::now(), &object.store);
            object.keep(site.advance(now))?;
            let before = now.minus(config.last_seen_timeout).as_millis();
            store.run("DELETE FROM last_seen WHERE at < ?", vec![before.into()])?;
            store.run("DELETE FROM viewers WHERE at < ?", vec![before.into()])?;
            let (slots, writes) = site.sweep();
            for slot in slots {
                store.run("DELETE FROM ring WHERE slot = ?", vec![slot.into()])?;
            }
            object.keep(Outcome { writes: writes.into_iter().collect(), ..Outcome::default() })?;
            Ok(site.counts().total + site.counts().bots > 0)
        })?;
        let any = |table: &str| self.store.first(&format!("SELECT 1 FROM {table} LIMIT 1"), Vec::new());
        let more = online || any("last_seen")?.is_some() || any("viewers")?.is_some();
        self.store.swept(more).await;
        Response::empty()
    }
}

impl PresenceObject {
    fn config(&self) -> Result<&Config> {
        self.config.as_ref().map_err(|error| Error::RustError(error.clone()))
    }

    /// Works on the site, which is loaded if need be. While it is worked on nobody else has it, and it is given back
    /// only if the work went well.
    fn with_site<T>(&self, work: impl FnOnce(&Self, &mut Site) -> Result<T>) -> Result<T> {
        let kept = self.site.borrow_mut().take();
        let mut site = match kept {
            Some(site) => site,
            None => self.load()?,
        };
        #[cfg(feature = "test-hooks")]
        super::hooks::maybe_panic("panic-object-at-work");
        let done = work(self, &mut site)?;
        *self.site.borrow_mut() = Some(site);
        Ok(done)
    }

    fn load(&self) -> Result<Site> {
        let rows = self.store.rows("SELECT slot, data FROM ring", Vec::new())?.into_iter().filter_map(|row| {
            let mut row = row.into_iter();
            Some((integer(row.next())?, blob(row.next())?))
        });
        let (site, outcome, unreadable) = Site::restore(self.config()?.window(), rows, clock::now());
        if unreadable > 0 {
            console_error!("{unreadable} stored batches cannot be read and were left out");
        }
        self.keep(outcome)?;
        Ok(site)
    }

    /// Writes down what came of a batch, all of it in one transaction.
    fn keep(&self, outcome: Outcome) -> Result<()> {
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
                    viewer(&view.viewer).into(),
                    view.at.as_millis().into(),
                    record::encode(view).into(),
                ],
            )?;
        }
        for write in outcome.writes {
            self.store.run(
                "INSERT INTO ring VALUES (?, ?) ON CONFLICT (slot) DO UPDATE SET data = excluded.data",
                vec![write.slot.into(), write.data.into()],
            )?;
        }
        Ok(())
    }

    /// The secret that is kept for this site; 256 random bits the first time.
    fn secret(&self) -> Result<Vec<u8>> {
        if let Some(secret) = self.store.blob("SELECT value FROM kept WHERE name = 'secret'", Vec::new())? {
            return Ok(secret);
        }
        let mut secret = vec![0; 32];
        getrandom::fill(&mut secret).map_err(|error| Error::RustError(error.to_string()))?;
        self.store.run("INSERT INTO kept VALUES ('secret', ?)", vec![secret.clone().into()])?;
        Ok(secret)
    }

    fn erase(&self, site: &mut Site, user: &UserId) -> Result<()> {
        self.keep(site.advance(clock::now()))?;
        let outcome = site.erase(user);
        self.store.run("DELETE FROM ring", Vec::new())?;
        self.keep(outcome)?;
        let id = || user.as_str().into();
        self.store.run("DELETE FROM last_seen WHERE user = ?", vec![id()])?;
        let key = viewer(&MemberKey::User(user.clone()));
        self.store.run("DELETE FROM viewers WHERE viewer = ?", vec![key.into()])?;
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

    fn since(&self) -> Result<Timestamp> {
        Ok(clock::now().minus(self.config()?.last_seen_timeout))
    }
}

impl Kept for PresenceObject {
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

/// What a viewer is kept by: of two kinds, and an id may look like anything.
fn viewer(key: &MemberKey) -> String {
    match key {
        MemberKey::User(user) => format!("u{}", user.as_str()),
        MemberKey::Guest(key) | MemberKey::Bot(key) => key.to_string(),
    }
}

/// What changes whenever an answer says something else: times of answering do not count, settings do.
fn tag(query: &Query, scope: Scope, site: &Site, config: &Config, body: &[u8]) -> String {
    let timeout = config.online_timeout.0;
    let told = format!("{timeout:x}-{}{}", u8::from(scope.locations), u8::from(scope.invisible));
    match query {
        Query::Online { .. } => format!("{:x}-{told}", site.version()),
        Query::Counts => {
            let counts = site.counts();
            format!("{:x}-{:x}-{:x}-{told}", counts.users, counts.guests, counts.bots)
        }
        Query::User(_) | Query::Users(_) | Query::Pages(_) | Query::Viewers(..) | Query::Arrivals(_) => tag_of(body),
    }
}

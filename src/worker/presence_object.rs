//! The Durable Object that keeps one site's presence.
//!
//! It is an object because presence is one thing: whoever asks must see what everybody else reported. Its storage
//! makes it durable: writes without an `await` between them commit together, and the output gate holds an answer
//! until what was written before it is on disk, so whatever was answered survives.
//!
//! Load, call the core, store, answer. The core is put back only when all of that went well: after an error or a
//! panic it is built anew from the rows, which are the truth.

use super::clock;
use crate::config::Config;
use crate::http::conditions::tag_of;
use crate::http::route::Query;
use crate::presence::id::UserId;
use crate::presence::member::Departure;
use crate::presence::record;
use crate::presence::site::{Outcome, Site};
use crate::protocol::call::{self, Answer, Call};
use crate::protocol::{About, answer, still_kept};
use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use worker::{
    DurableObject, Env, Error, Request, Response, Result, SqlStorage, SqlStorageValue, State, WebSocket,
    WebSocketIncomingMessage, console_error, durable_object,
};

/// How often what nobody needs any more is swept out of storage.
const SWEEP: Duration = Duration::from_secs(86_400);

const SCHEMA: [&str; 3] = [
    // One row a batch, written over when its time has passed.
    "CREATE TABLE IF NOT EXISTS ring (slot INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    // One row a user who went; without a rowid, as an index of its own would be billed as a second row.
    "CREATE TABLE IF NOT EXISTS last_seen (user TEXT PRIMARY KEY, at INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
];

/// One site's presence.
#[durable_object]
pub struct PresenceObject {
    state: State,
    config: std::result::Result<Config, String>,
    site: AssertUnwindSafe<RefCell<Option<Site>>>,
    sweeping: AssertUnwindSafe<Cell<bool>>,
}

impl DurableObject for PresenceObject {
    fn new(state: State, env: Env) -> Self {
        let setup = super::setup::Setup::of(&env);
        let config = setup.config().cloned().map_err(|problem| format!("{problem:?}"));
        Self { state, config, site: AssertUnwindSafe(RefCell::new(None)), sweeping: AssertUnwindSafe(Cell::new(false)) }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        #[cfg(feature = "test-hooks")]
        self.heed(&request).await?;
        let call = call::read(&request.bytes().await?).map_err(|error| Error::RustError(error.to_string()))?;
        let answer = match call {
            Call::Apply(reports) => {
                self.with_site(|object, site| object.store(site.apply(clock::now(), reports)))?;
                self.see_to_sweeping().await;
                call::write(&())
            }
            Call::Read(query, name) => {
                let config = self.config()?;
                call::write(&self.with_site(|object, site| {
                    let outcome = site.advance(clock::now());
                    object.store(outcome)?;
                    let about = About { site: &name, online_timeout: config.online_timeout };
                    let body = answer(&query, site, &about, |user| object.departed(user));
                    Ok(Answer { tag: tag(&query, site, config, &body), total: site.counts().total, body })
                })?)
            }
            Call::Secret => call::write(&self.secret()?),
        };
        Response::from_bytes(answer)
    }

    async fn alarm(&self) -> Result<Response> {
        let config = self.config()?;
        let online = self.with_site(|object, site| {
            let now = clock::now();
            object.store(site.advance(now))?;
            let before = now.minus(config.last_seen_timeout);
            let sql = object.sql();
            sql.exec("DELETE FROM last_seen WHERE at < ?", vec![SqlStorageValue::Integer(before.as_millis())])?;
            let (slots, writes) = site.sweep();
            for slot in slots {
                sql.exec("DELETE FROM ring WHERE slot = ?", vec![slot.into()])?;
            }
            object.store(Outcome { writes: writes.into_iter().collect(), departures: Vec::new() })?;
            Ok(site.counts().total + site.counts().bots > 0)
        })?;
        self.sweeping.set(false);
        if online || self.sql().exec("SELECT 1 FROM last_seen LIMIT 1", None)?.raw().next().is_some() {
            self.see_to_sweeping().await;
        }
        Response::empty()
    }

    async fn websocket_message(&self, _: WebSocket, _: WebSocketIncomingMessage) -> Result<()> {
        Ok(())
    }

    async fn websocket_close(&self, _: WebSocket, _: usize, _: String, _: bool) -> Result<()> {
        Ok(())
    }

    async fn websocket_error(&self, _: WebSocket, _: Error) -> Result<()> {
        Ok(())
    }
}

impl PresenceObject {
    fn sql(&self) -> SqlStorage {
        self.state.storage().sql()
    }

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
        let sql = self.sql();
        for statement in SCHEMA {
            sql.exec(statement, None)?;
        }
        let mut rows = Vec::new();
        for row in sql.exec("SELECT slot, data FROM ring", None)?.raw() {
            let mut row = row?.into_iter();
            if let (Some(SqlStorageValue::Integer(slot)), Some(SqlStorageValue::Blob(data))) = (row.next(), row.next())
            {
                rows.push((slot, data));
            }
        }
        let (site, outcome, unreadable) = Site::restore(self.config()?.window(), rows, clock::now());
        if unreadable > 0 {
            console_error!("{unreadable} stored batches cannot be read and were left out");
        }
        self.store(outcome)?;
        Ok(site)
    }

    /// Writes down what came of a batch, all of it in one transaction.
    fn store(&self, outcome: Outcome) -> Result<()> {
        let sql = self.sql();
        for departure in &outcome.departures {
            sql.exec(
                "INSERT INTO last_seen VALUES (?, ?, ?) ON CONFLICT (user) DO UPDATE SET at = excluded.at, data = excluded.data WHERE excluded.at > at",
                vec![
                    departure.user.as_str().into(),
                    SqlStorageValue::Integer(departure.last_seen.as_millis()),
                    record::encode(departure).into(),
                ],
            )?;
        }
        for write in outcome.writes {
            sql.exec(
                "INSERT INTO ring VALUES (?, ?) ON CONFLICT (slot) DO UPDATE SET data = excluded.data",
                vec![write.slot.into(), write.data.into()],
            )?;
        }
        Ok(())
    }

    /// The one value that a query finds, if it finds any. (`SqlCursor::one` hangs where there is none.)
    fn blob(&self, query: &str, bindings: Vec<SqlStorageValue>) -> Result<Option<Vec<u8>>> {
        let Some(row) = self.sql().exec(query, bindings)?.raw().next() else { return Ok(None) };
        match row?.into_iter().next() {
            Some(SqlStorageValue::Blob(data)) => Ok(Some(data)),
            _ => Ok(None),
        }
    }

    /// What is kept of a user who is not online.
    fn departed(&self, user: &UserId) -> Option<Departure> {
        let data = self.blob("SELECT data FROM last_seen WHERE user = ?", vec![user.as_str().into()]).ok()??;
        let departure: Departure = record::decode(&data).ok()?;
        let timeout = self.config().ok()?.last_seen_timeout;
        still_kept(departure.last_seen, clock::now(), timeout).then_some(departure)
    }

    /// The secret that is kept for this site; 256 random bits the first time.
    fn secret(&self) -> Result<Vec<u8>> {
        let sql = self.sql();
        for statement in SCHEMA {
            sql.exec(statement, None)?;
        }
        if let Some(secret) = self.blob("SELECT value FROM kept WHERE name = 'secret'", Vec::new())? {
            return Ok(secret);
        }
        let mut secret = vec![0; 32];
        getrandom::fill(&mut secret).map_err(|error| Error::RustError(error.to_string()))?;
        sql.exec("INSERT INTO kept VALUES ('secret', ?)", vec![secret.clone().into()])?;
        Ok(secret)
    }

    /// Sees to it that there is an alarm for the next sweep, while there is anything to sweep.
    async fn see_to_sweeping(&self) {
        if self.sweeping.get() {
            return;
        }
        let storage = self.state.storage();
        let set = match storage.get_alarm().await {
            Ok(None) => storage.set_alarm(SWEEP).await,
            Ok(Some(_)) => Ok(()),
            Err(error) => Err(error),
        };
        // What was reported is stored already, so this is no reason to refuse it; the next batch tries again.
        match set {
            Ok(()) => self.sweeping.set(true),
            Err(error) => console_error!("no sweep could be scheduled: {error}"),
        }
    }

    #[cfg(feature = "test-hooks")]
    async fn heed(&self, request: &Request) -> Result<()> {
        use super::hooks;
        let header = |name| request.headers().get(name).ok().flatten();
        hooks::set(header(hooks::NOW), header(hooks::FAULT));
        hooks::maybe_panic("panic-object");
        match hooks::fault().as_str() {
            "hang-object" => std::future::pending().await,
            "fail-object" => Err("a failure that a test asked for".into()),
            _ => Ok(()),
        }
    }
}

/// What changes whenever an answer says something else: times of answering do not count, settings do.
fn tag(query: &Query, site: &Site, config: &Config, body: &[u8]) -> String {
    let timeout = config.online_timeout.0;
    match query {
        Query::Online { .. } => format!("{:x}-{timeout:x}", site.version()),
        Query::Counts => {
            let counts = site.counts();
            format!("{:x}-{:x}-{:x}-{timeout:x}", counts.users, counts.guests, counts.bots)
        }
        Query::User(_) | Query::Users(_) | Query::Pages(_) => tag_of(body),
    }
}

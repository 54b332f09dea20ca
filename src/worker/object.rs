//! What all our objects have in common: their storage, their sweeps, and how they forget for good.

use super::clock;
use crate::presence::time::{Millis, Timestamp};
use js_sys::{Function, Reflect};
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use worker::{Error, Request, Result, SqlStorage, SqlStorageValue, State, console_error};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &JsValue, millis: u32);
}

/// How often what nobody needs any more is swept out of storage.
pub const SWEEP: Millis = Millis(86_400_000);

/// How many rows it counts for to set an alarm.
const ALARM: u64 = 1;

/// A blob that lies in 16 pages of its own and fills them to the last byte, so that nothing of theirs is left. (Of a row
/// with such a blob, 485 bytes lie with the others' beginnings, and each further page of 4,096 holds 4,092.)
const ZEROS: usize = 485 + 16 * 4092;

/// A table: its name, and what stands between its parentheses and after.
pub type Table = (&'static str, &'static str);

/// A row as the platform gives it.
pub type Row = Vec<SqlStorageValue>;

/// An object's storage.
pub struct Store {
    state: State,
    tables: &'static [Table],
    ready: AssertUnwindSafe<Cell<bool>>,
    written: AssertUnwindSafe<Cell<u64>>,
    sweeping: AssertUnwindSafe<Cell<bool>>,
    wakes_at: AssertUnwindSafe<Cell<Option<Timestamp>>>,
}

impl Store {
    /// The storage of an object that keeps these tables.
    pub fn new(state: State, tables: &'static [Table]) -> Self {
        let flag = || AssertUnwindSafe(Cell::new(false));
        let (ready, sweeping, wakes_at) = (flag(), flag(), AssertUnwindSafe(Cell::new(None)));
        Self { state, tables, ready, written: AssertUnwindSafe(Cell::new(0)), sweeping, wakes_at }
    }

    /// Runs a statement.
    pub fn run(&self, statement: &str, bindings: Row) -> Result<()> {
        let cursor = self.sql()?.exec(statement, bindings)?;
        self.count_written(cursor.rows_written() as u64);
        Ok(())
    }

    fn count_written(&self, rows: u64) {
        self.written.set(self.written.get() + rows);
    }

    /// How many rows were written since this was asked last, as they are billed.
    pub fn take_written(&self) -> u64 {
        self.written.take()
    }

    /// The rows that a query finds. (`SqlCursor::one` would hang where there is none.)
    pub fn rows(&self, query: &str, bindings: Row) -> Result<Vec<Row>> {
        self.sql()?.exec(query, bindings)?.raw().collect()
    }

    /// The first row that it finds.
    pub fn first(&self, query: &str, bindings: Row) -> Result<Option<Row>> {
        self.sql()?.exec(query, bindings)?.raw().next().transpose()
    }

    /// The one value that a query finds, if it finds any.
    pub fn blob(&self, query: &str, bindings: Row) -> Result<Option<Vec<u8>>> {
        Ok(self.first(query, bindings)?.and_then(|row| blob(row.into_iter().next())))
    }

    /// Has something done after the answer is out.
    pub fn wait_until(&self, work: impl Future<Output = ()> + 'static) {
        self.state.wait_until(work);
    }

    /// Sees to it that there is an alarm for the next sweep.
    pub async fn see_to_sweeping(&self) {
        // An alarm that comes sooner sees to the next sweep, too.
        if self.sweeping.get() || self.wakes_at.get().is_some_and(|at| at > clock::now()) {
            return;
        }
        let storage = self.state.storage();
        let set = match storage.get_alarm().await {
            // One may have been set while we asked.
            Ok(None) if self.sweeping.get() || self.wakes_at.get().is_some() => return,
            Ok(None) => {
                self.sweeping.set(true);
                self.count_written(ALARM);
                storage.set_alarm(i64::from(SWEEP.0)).await
            }
            Ok(Some(_)) => Ok(()),
            Err(error) => Err(error),
        };
        // What was told is stored already, so this is no reason to refuse it; the next call tries again.
        match set {
            Ok(()) => self.sweeping.set(true),
            Err(error) => {
                self.sweeping.set(false);
                console_error!("no sweep could be scheduled: {error}");
            }
        }
    }

    /// After a sweep: there is another one as long as there is anything to sweep.
    pub async fn swept(&self, more: bool) {
        if more {
            self.see_to_sweeping().await;
        }
    }

    /// Says that the alarm has come: there is none any more.
    pub fn woken(&self) {
        self.sweeping.set(false);
        self.wakes_at.set(None);
    }

    /// Has the object woken by then, if it is to be and not sooner anyway. An alarm costs a row, so one that comes too
    /// soon is left to come: what was due then may have been put off.
    pub fn wake_by(&self, deadline: Option<Timestamp>, now: Timestamp) {
        let Some(deadline) = deadline else { return };
        if self.wakes_at.get().is_some_and(|at| at <= deadline && at > now) {
            return;
        }
        self.wakes_at.set(Some(deadline));
        self.count_written(ALARM);
        let wait = Duration::from_millis(u64::from(deadline.since(now).0).max(1));
        let storage = self.state.storage();
        self.wait_until(async move {
            if let Err(error) = storage.set_alarm(wait).await {
                console_error!("no alarm could be set: {error}");
            }
        });
    }

    /// Makes what was deleted unreadable in the database's files too.
    ///
    /// SQLite leaves deleted bytes where they were: in free pages, in the gaps of pages that are in use, and in its
    /// log. So every table is copied to pages that were never used, all others are written over with zeros, and the
    /// object starts anew, with which the log is closed and done away with.
    pub async fn scrub(&self) -> Result<()> {
        let (sql, storage) = (self.sql()?, self.state.storage());
        for table in ["spare", "zeros"] {
            sql.exec(&format!("DROP TABLE IF EXISTS {table}"), None)?;
        }
        // With no page free, whatever is written next goes to new ones.
        sql.exec("CREATE TABLE spare (data BLOB)", None)?;
        for row in 0..=sql.database_size() / ZEROS {
            sql.exec("INSERT INTO spare VALUES (zeroblob(?))", vec![SqlStorageValue::Integer(ZEROS as i64)])?;
            self.rest(row).await?;
        }
        storage.sync().await?;
        // These rows take up later what is freed now. They are there already, as small as they can be, so that no page
        // of the table itself is one of those.
        sql.exec("CREATE TABLE zeros (data BLOB)", None)?;
        let rows = sql.database_size() / ZEROS + 1;
        for _ in 0..rows {
            sql.exec("INSERT INTO zeros VALUES (zeroblob(480))", None)?;
        }
        for (name, columns) in self.tables {
            sql.exec(&format!("ALTER TABLE {name} RENAME TO old_{name}"), None)?;
            sql.exec(&format!("CREATE TABLE {name} {columns}"), None)?;
            sql.exec(&format!("INSERT INTO {name} SELECT * FROM old_{name}"), None)?;
        }
        for (name, _) in self.tables {
            sql.exec(&format!("DROP TABLE old_{name}"), None)?;
        }
        sql.exec("DROP TABLE spare", None)?;
        storage.sync().await?;
        for row in 0..rows {
            let bindings = vec![SqlStorageValue::Integer(ZEROS as i64), SqlStorageValue::Integer(row as i64 + 1)];
            sql.exec("UPDATE zeros SET data = zeroblob(?) WHERE rowid = ?", bindings)?;
            self.rest(row).await?;
        }
        sql.exec("DROP TABLE zeros", None)?;
        storage.sync().await?;
        let state: &JsValue = self.state.as_raw().as_ref();
        let abort: Function = Reflect::get(state, &"abort".into())?.dyn_into()?;
        // After the answer is out, and from the runtime's own timer: what it throws may not pass through our futures.
        set_timeout(abort.bind1(state, &"it starts anew after erasing".into()).as_ref(), 50);
        Ok(())
    }

    /// Ends a transaction after some megabytes, so that the log stays short.
    async fn rest(&self, row: usize) -> Result<()> {
        if row % 32 == 31 { self.state.storage().sync().await } else { Ok(()) }
    }

    fn sql(&self) -> Result<SqlStorage> {
        let sql = self.state.storage().sql();
        if !self.ready.get() {
            for (name, columns) in self.tables {
                sql.exec(&format!("CREATE TABLE IF NOT EXISTS {name} {columns}"), None)?;
            }
            self.ready.set(true);
        }
        Ok(sql)
    }
}

/// A value as bytes.
pub fn blob(value: Option<SqlStorageValue>) -> Option<Vec<u8>> {
    match value {
        Some(SqlStorageValue::Blob(bytes)) => Some(bytes),
        _ => None,
    }
}

/// A value as text.
pub fn text(value: Option<SqlStorageValue>) -> Option<String> {
    match value {
        Some(SqlStorageValue::String(text)) => Some(text),
        _ => None,
    }
}

/// A value as a number.
pub fn integer(value: Option<SqlStorageValue>) -> Option<i64> {
    match value {
        Some(SqlStorageValue::Integer(number)) => Some(number),
        _ => None,
    }
}

/// The call in a request to an object.
pub async fn call<T: for<'a> serde::Deserialize<'a>>(mut request: Request) -> Result<T> {
    crate::protocol::call::read(&request.bytes().await?).map_err(|error| Error::RustError(error.to_string()))
}

/// Lets a test meddle with an object of this name. Says whether it is to be swept now.
#[cfg(feature = "test-hooks")]
pub async fn heed(request: &Request, object: &str) -> Result<bool> {
    use super::hooks;
    let header = |name| request.headers().get(name).ok().flatten();
    hooks::set(header(hooks::NOW), header(hooks::FAULT));
    hooks::maybe_panic(&format!("panic-{object}"));
    match hooks::fault() {
        fault if fault == format!("hang-{object}") => std::future::pending().await,
        fault if fault == format!("fail-{object}") => Err("a failure that a test asked for".into()),
        fault if fault == "memory" => {
            hooks::tell_memory();
            Ok(false)
        }
        fault => Ok(fault == "sweep"),
    }
}

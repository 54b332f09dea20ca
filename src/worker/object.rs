//! What all our objects have in common: their storage and their sweeps.

use super::clock;
use crate::presence::columns::{Column, Columns};
use crate::presence::id::Invalid;
use crate::presence::time::{Millis, Timestamp};
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use worker::{Error, Request, Response, Result, SqlStorage, SqlStorageValue, State, console_error};

#[cfg(feature = "test-hooks")]
#[wasm_bindgen::prelude::wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &wasm_bindgen::JsValue, millis: u32);
}

/// How often what nobody needs any more is swept out of storage.
pub const SWEEP: Millis = Millis(86_400_000);

/// How many rows it counts for to set an alarm.
const ALARM: u64 = 1;

/// The status of the answer of an object that cannot read a row which it needs: it knows neither that there is something
/// nor that there is nothing.
pub const UNREADABLE: u16 = 422;

/// Why an object has not done what it was asked.
pub enum Failure {
    /// A row that it needs cannot be read.
    Unreadable(Invalid),
    /// The platform failed.
    Platform(Error),
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Unreadable(invalid)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Platform(error)
    }
}

/// What comes of what an object is asked.
pub type Answer<T> = std::result::Result<T, Failure>;

/// What came of it, or nothing where a row cannot be read, of which the log tells.
pub fn readable<T>(answer: Answer<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Failure::Unreadable(why)) => {
            console_error!("a stored row cannot be read, and is left as it is: {why}");
            Ok(None)
        }
        Err(Failure::Platform(error)) => Err(error),
    }
}

/// The answer of an object.
pub fn answered(answer: Answer<Vec<u8>>) -> Result<Response> {
    match readable(answer)? {
        Some(answer) => Response::from_bytes(answer),
        None => Ok(Response::empty()?.with_status(UNREADABLE)),
    }
}

/// A table: its name, and what stands between its parentheses and after.
pub type Table = (&'static str, &'static str);

/// What is done once to storage when its tables are made, given those that were there before.
pub type Upgrade = fn(&SqlStorage, &[String]) -> Result<()>;

/// A row as the platform gives it.
pub type Row = Vec<SqlStorageValue>;

/// An object's storage.
pub struct Store {
    state: State,
    tables: &'static [Table],
    upgrade: Upgrade,
    ready: AssertUnwindSafe<Cell<bool>>,
    written: AssertUnwindSafe<Cell<u64>>,
    unreadable: AssertUnwindSafe<Cell<u64>>,
    sweeping: AssertUnwindSafe<Cell<bool>>,
    wakes_at: AssertUnwindSafe<Cell<Option<Timestamp>>>,
    /// When the files are to be scrubbed, once that was looked up.
    pub(super) scrub_at: AssertUnwindSafe<Cell<Option<Option<Timestamp>>>>,
}

impl Store {
    /// The storage of an object that keeps these tables.
    pub fn new(state: State, tables: &'static [Table]) -> Self {
        let flag = || AssertUnwindSafe(Cell::new(false));
        let none = || AssertUnwindSafe(Cell::new(0));
        let (ready, sweeping, wakes_at) = (flag(), flag(), AssertUnwindSafe(Cell::new(None)));
        let scrub_at = AssertUnwindSafe(Cell::new(None));
        Self {
            state,
            tables,
            upgrade: |_, _| Ok(()),
            ready,
            written: none(),
            unreadable: none(),
            sweeping,
            wakes_at,
            scrub_at,
        }
    }

    /// The same, where older releases kept less.
    pub fn upgraded_by(self, upgrade: Upgrade) -> Self {
        Self { upgrade, ..self }
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

    /// Counts rows that cannot be read.
    pub fn count_unreadable(&self, rows: u64) {
        self.unreadable.set(self.unreadable.get() + rows);
    }

    /// How many could not be read since this was asked last.
    pub fn take_unreadable(&self) -> u64 {
        self.unreadable.take()
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

    /// Has the object start anew, as when its platform moves it.
    #[cfg(feature = "test-hooks")]
    pub fn restart(&self) -> Result<()> {
        use wasm_bindgen::{JsCast, JsValue};
        let state: &JsValue = self.state.as_raw().as_ref();
        let abort: js_sys::Function = js_sys::Reflect::get(state, &"abort".into())?.dyn_into()?;
        // After the answer is out, and from the runtime's own timer: what it throws may not pass through our futures.
        set_timeout(abort.bind1(state, &"a test has it start anew".into()).as_ref(), 50);
        Ok(())
    }

    /// The storage as the platform gives it.
    pub(super) fn storage(&self) -> worker::durable::Storage {
        self.state.storage()
    }

    /// Which tables there are.
    pub(super) fn tables(&self) -> &'static [Table] {
        self.tables
    }

    pub(super) fn sql(&self) -> Result<SqlStorage> {
        let sql = self.state.storage().sql();
        if !self.ready.get() {
            let known = sql.exec("SELECT name FROM sqlite_master WHERE type = 'table'", None)?.raw();
            let known: Vec<_> = known.filter_map(|row| text(row.ok()?.into_iter().next())).collect();
            for (name, columns) in self.tables {
                sql.exec(&format!("CREATE TABLE IF NOT EXISTS {name} {columns}"), None)?;
            }
            (self.upgrade)(&sql, &known)?;
            self.ready.set(true);
        }
        Ok(sql)
    }
}

/// A row, to be read column by column.
pub fn columns(row: Row) -> Columns {
    let column = |value| match value {
        SqlStorageValue::Null => Column::Null,
        SqlStorageValue::Integer(number) => Column::Integer(number),
        SqlStorageValue::String(text) => Column::Text(text),
        SqlStorageValue::Blob(bytes) => Column::Blob(bytes),
        SqlStorageValue::Boolean(_) | SqlStorageValue::Float(_) => Column::Other,
    };
    Columns::of(row.into_iter().map(column).collect())
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

//! What an object keeps by a name: single values, each in a row of its own.

use super::object::{Store, Table, text};
use crate::presence::time::Timestamp;
use worker::Result;

/// The table. Values are texts (numbers and times in decimal digits), and the site's secret is bytes; a release may add names,
/// and change the meaning of none.
pub const TABLE: Table = ("kept", "(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID");

impl Store {
    /// A text that is kept by a name.
    pub fn kept(&self, name: &str) -> Result<Option<String>> {
        let row = self.first("SELECT value FROM kept WHERE name = ?", vec![name.into()])?;
        Ok(text(row.and_then(|row| row.into_iter().next())))
    }

    /// The same, a time.
    pub fn kept_time(&self, name: &str) -> Result<Option<Timestamp>> {
        Ok(self.kept(name)?.and_then(|text| text.parse().ok()).map(Timestamp::from_millis))
    }

    /// Keeps a text.
    pub fn keep_as(&self, name: &str, value: String) -> Result<()> {
        self.run("INSERT OR REPLACE INTO kept VALUES (?, ?)", vec![name.into(), value.into()])
    }

    /// Keeps a time.
    pub fn keep_time(&self, name: &str, time: Timestamp) -> Result<()> {
        self.keep_as(name, time.as_millis().to_string())
    }

    /// Keeps nothing by a name any more.
    pub fn forget_kept(&self, name: &str) -> Result<()> {
        self.run("DELETE FROM kept WHERE name = ?", vec![name.into()])
    }
}

//! How an object makes unreadable what was deleted from its database's files.
//!
//! SQLite leaves deleted bytes where they were: in free pages, in the gaps of pages that are in use, and in its log. So every
//! table is copied to pages that were never used, all others are written over with zeros, and so is the log, twice as far as
//! it may ever have reached. Nothing is closed for it: neither the database nor anybody's connection.

use super::clock;
use super::object::Store;
use crate::presence::site::erasing::scrub_at;
use crate::presence::time::Timestamp;
use worker::{Result, SqlStorageValue};

/// Bytes of a page of the database.
const PAGE: usize = 4096;

/// A blob that lies in so many pages of its own and fills them to the last byte, so that nothing of theirs is left. (Of a row
/// with such a blob, 485 bytes lie with the others' beginnings, and each further page of 4,096 holds 4,092.)
const fn filling(pages: usize) -> usize {
    485 + pages * 4092
}

/// How many pages a row of zeros has: half a megabyte, and a row may have 2.
const ROW_PAGES: usize = 128;

/// So many pages in its log SQLite takes back into the database, and begins the log anew
/// (<https://www.sqlite.org/wal.html#automatic_checkpoint>).
const LOG_PAGES: usize = 1000;

/// And so many may come to it at once besides, but for what grows with the database.
const LOG_SPARE: usize = 256;

impl Store {
    /// Makes what was deleted unreadable in the files, too: by the next alarm, with what is deleted until then. Users can
    /// ask for it, so that comes at most once in a while.
    pub fn scrub_soon(&self) -> Result<()> {
        let now = clock::now();
        let at = scrub_at(self.kept_time("scrubbed")?, now);
        if self.scrub_due()?.is_none_or(|known| known > at) {
            self.keep_time("scrub_at", at)?;
            self.scrub_at.set(Some(Some(at)));
        }
        self.wake_by(Some(at), now);
        Ok(())
    }

    /// When the files are to be scrubbed, if they are.
    pub fn scrub_due(&self) -> Result<Option<Timestamp>> {
        match self.scrub_at.get() {
            Some(known) => Ok(known),
            None => {
                let kept = self.kept_time("scrub_at")?;
                self.scrub_at.set(Some(kept));
                Ok(kept)
            }
        }
    }

    /// Scrubs the files if it is time, or has the object woken when it will be.
    pub async fn scrub_if_due(&self) -> Result<()> {
        let now = clock::now();
        match self.scrub_due()? {
            Some(at) if now < at => self.wake_by(Some(at), now),
            Some(_) => {
                self.keep_time("scrubbed", now)?;
                self.forget_kept("scrub_at")?;
                self.scrub_at.set(Some(None));
                self.scrub().await?;
            }
            None => {}
        }
        Ok(())
    }

    async fn scrub(&self) -> Result<()> {
        let (sql, storage) = (self.sql()?, self.storage());
        for table in ["spare", "zeros"] {
            sql.exec(&format!("DROP TABLE IF EXISTS {table}"), None)?;
        }
        let before = sql.database_size();
        // With no page free, whatever is written next goes to new ones.
        sql.exec("CREATE TABLE spare (data BLOB)", None)?;
        let fill = |table: &str, pages: usize| {
            sql.exec(&format!("INSERT INTO {table} VALUES (zeroblob(?))"), vec![number(filling(pages))])
        };
        for row in 0..=before / filling(16) {
            fill("spare", 16)?;
            self.rest(row).await?;
        }
        storage.sync().await?;
        // These rows take up later what is freed now. They are there already, as small as they can be, so that no page
        // of the table itself is one of those.
        sql.exec("CREATE TABLE zeros (data BLOB)", None)?;
        let log = LOG_PAGES + LOG_SPARE + before / PAGE;
        let rows = (sql.database_size() / PAGE).max(log) / ROW_PAGES + 1;
        for _ in 0..rows {
            sql.exec("INSERT INTO zeros VALUES (zeroblob(480))", None)?;
        }
        for (name, columns) in self.tables() {
            sql.exec(&format!("ALTER TABLE {name} RENAME TO old_{name}"), None)?;
            sql.exec(&format!("CREATE TABLE {name} {columns}"), None)?;
            sql.exec(&format!("INSERT INTO {name} SELECT * FROM old_{name}"), None)?;
        }
        for (name, _) in self.tables() {
            sql.exec(&format!("DROP TABLE old_{name}"), None)?;
        }
        sql.exec("DROP TABLE spare", None)?;
        storage.sync().await?;
        // In one transaction, as only that reaches as far into the log as another may have. It ends with the log taken back, so
        // that the second one begins where the log does, and what is free in the database is zeros.
        for shorter in 0..2 {
            // Were they of the same size, they would be found to be the same, and not be written.
            sql.exec("UPDATE zeros SET data = zeroblob(?)", vec![number(filling(ROW_PAGES) - shorter)])?;
            storage.sync().await?;
        }
        sql.exec("DROP TABLE zeros", None)?;
        storage.sync().await
    }

    /// Ends a transaction after some megabytes, so that the log stays short.
    async fn rest(&self, row: usize) -> Result<()> {
        if row % 32 == 31 { self.storage().sync().await } else { Ok(()) }
    }
}

fn number(number: usize) -> SqlStorageValue {
    SqlStorageValue::Integer(number as i64)
}

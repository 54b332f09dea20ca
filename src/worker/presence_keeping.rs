//! What the object that keeps a site's presence keeps besides, and how it forgets.

use super::object::{SWEEP, text};
use super::presence_object::Presence;
use super::presence_rows::Sheets;
use super::{clock, rechecks};
use crate::presence::site::Outcome;
use crate::presence::time::{Seconds, Timestamp};
use worker::Result;

/// How far apart two scrubs are at the least.
const SCRUBS_APART: Seconds = Seconds(600);

impl Presence {
    /// Whether there was no sweep for a day. While anybody watches, the alarm comes for other reasons too.
    pub fn sweep_is_due(&self) -> Result<bool> {
        Ok(self.kept_time("swept")?.is_none_or(|swept| clock::now().since(swept) >= SWEEP))
    }

    /// Sweeps out what nobody needs any more, and says whether there will be more.
    pub fn sweep(&self) -> Result<bool> {
        let since = self.since()?;
        let before = since.as_millis();
        let online = self.with_site(|presence, site| {
            let store = &presence.store;
            presence.keep(site.whole_outcome())?;
            presence.register.borrow_mut().sweep(since, &Sheets(store))?;
            store.run("DELETE FROM viewers WHERE at < ?", vec![before.into()])?;
            store.run("DELETE FROM hidden WHERE at < ?", vec![before.into()])?;
            presence.prune_revoked()?;
            let (slots, writes) = site.sweep();
            for slot in slots {
                store.run("DELETE FROM ring WHERE slot = ?", vec![slot.into()])?;
            }
            presence.keep(Outcome { writes: writes.into_iter().collect(), ..Outcome::default() })?;
            Ok(site.counts().total + site.counts().bots > 0)
        })?;
        self.keep_time("swept", clock::now())?;
        let viewers = self.store.first("SELECT 1 FROM viewers LIMIT 1", Vec::new())?;
        let register = self.register.borrow_mut().is_empty(&Sheets(&self.store))?;
        Ok(online || !register || viewers.is_some())
    }

    /// Since when it is to be told when somebody was last here.
    pub fn since(&self) -> Result<Timestamp> {
        Ok(clock::now().minus(self.config()?.last_seen_timeout))
    }

    /// Makes what was deleted unreadable, now or with what is deleted in the next minutes: all connections are cut by it,
    /// and users can ask for it.
    pub async fn scrub_soon(&self) -> Result<()> {
        let now = clock::now();
        let last = self.kept_time("scrubbed")?.filter(|last| *last <= now);
        let at = last.map_or(now, |last| last.plus(SCRUBS_APART)).max(now);
        self.keep_time("scrub_at", at)?;
        self.scrub_at.set(Some(at));
        self.scrub_if_due().await
    }

    pub async fn scrub_if_due(&self) -> Result<()> {
        let now = clock::now();
        let Some(at) = self.scrub_at.get() else { return Ok(()) };
        if now < at {
            self.store.wake_by(Some(at), now);
            return Ok(());
        }
        self.keep_time("scrubbed", now)?;
        self.forget_kept("scrub_at")?;
        self.scrub_at.set(None);
        self.store.scrub().await
    }

    pub fn kept_time(&self, name: &str) -> Result<Option<Timestamp>> {
        Ok(self.kept(name)?.and_then(|text| text.parse().ok()).map(Timestamp::from_millis))
    }

    fn keep_time(&self, name: &str, time: Timestamp) -> Result<()> {
        self.keep_as(name, time.as_millis().to_string())
    }

    /// A text that is kept by a name.
    pub fn kept(&self, name: &str) -> Result<Option<String>> {
        let row = self.store.first("SELECT value FROM kept WHERE name = ?", vec![name.into()])?;
        Ok(text(row.and_then(|row| row.into_iter().next())))
    }

    /// Forgets it.
    pub fn forget_kept(&self, name: &str) -> Result<()> {
        self.store.run("DELETE FROM kept WHERE name = ?", vec![name.into()])
    }

    /// Keeps it.
    pub fn keep_as(&self, name: &str, value: String) -> Result<()> {
        self.store.run("INSERT OR REPLACE INTO kept VALUES (?, ?)", vec![name.into(), value.into()])
    }

    /// Has it looked up again what those may do who watch, where that is due: until then nothing is told.
    pub fn recheck(&self, now: Timestamp) -> bool {
        let users = self.room.borrow().to_recheck(now);
        let (false, Some(this)) = (users.is_empty(), self.this.upgrade()) else { return false };
        if !self.rechecking.replace(true) {
            self.store.wait_until(async move {
                let site = this.among.share().map(|share| share.site.clone());
                let looked_up = rechecks::look_up(users, site, &this.env).await;
                this.rechecking.set(false);
                let Ok(config) = this.config() else { return };
                let left = this.room.borrow_mut().recheck(clock::now(), &looked_up, &config.access);
                this.hear(left);
                this.work();
            });
        }
        true
    }
}

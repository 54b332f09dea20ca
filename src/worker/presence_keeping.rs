//! What the object that keeps a site's presence keeps besides, and when it sweeps.

use super::clock;
use super::object::SWEEP;
use super::presence_object::Presence;
use super::presence_rows::Sheets;
use crate::presence::site::Outcome;
use crate::presence::time::Timestamp;
use worker::Result;

impl Presence {
    /// Whether there was no sweep for a day. While anybody watches, the alarm comes for other reasons too.
    pub fn sweep_is_due(&self) -> Result<bool> {
        Ok(self.store.kept_time("swept")?.is_none_or(|swept| clock::now().since(swept) >= SWEEP))
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
            store.run("DELETE FROM aside WHERE at < ?", vec![before.into()])?;
            presence.prune_revoked()?;
            let (slots, writes) = site.sweep();
            for slot in slots {
                store.run("DELETE FROM ring WHERE slot = ?", vec![slot.into()])?;
            }
            presence.keep(Outcome { writes: writes.into_iter().collect(), ..Outcome::default() })?;
            Ok(site.counts().total + site.counts().bots > 0)
        })?;
        self.store.keep_time("swept", clock::now())?;
        let more = "SELECT 1 FROM viewers UNION ALL SELECT 1 FROM aside LIMIT 1";
        let more = self.store.first(more, Vec::new())?.is_some();
        let register = self.register.borrow_mut().is_empty(&Sheets(&self.store))?;
        Ok(online || !register || more)
    }

    /// Since when it is to be told when somebody was last here.
    pub fn since(&self) -> Result<Timestamp> {
        Ok(clock::now().minus(self.config()?.last_seen_timeout))
    }

    /// Has it looked up again what those may do who watch, where that is due: until then nothing is told.
    pub fn recheck(&self, now: Timestamp) -> bool {
        let users = self.room.borrow().to_recheck(now);
        let (false, Some(this)) = (users.is_empty(), self.this.upgrade()) else { return false };
        let site = self.among.share().map(|share| share.site.clone());
        self.rechecks.start(&self.store, &self.env, site, users, move |accounts| {
            let Ok(config) = this.config() else { return };
            let left = this.room.borrow_mut().recheck(clock::now(), &accounts, &config.access);
            this.hear(left);
            this.work();
        });
        true
    }
}

//! What the object of a part tells those that relay the site to who watches.
//!
//! They copy it, and are told what it stores. One of them is: it passes that on to the others. That it is followed is kept,
//! as after a restart nobody would know.

use super::calls::{self, Object, PATIENCE};
use super::clock;
use super::presence_object::Presence;
use super::presence_rows::ring_row;
use crate::presence::copies::Progress;
use crate::presence::member::MemberKey;
use crate::presence::pulse::{SILENCE, open_at};
use crate::presence::record::{self, Head};
use crate::presence::site::changes::RECALL;
use crate::presence::site::{Lease, Site, version_at};
use crate::presence::time::{Millis, Seconds, Timestamp};
use crate::protocol::relay::{Ended, Follow, Followed, RelayCall};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use worker::{Result, console_error};

/// How far apart two tellings are at the least: relays have a pace of their own, and nothing should wait for two.
const PACE: Millis = Millis(50);

/// When it could not be told, it is tried again after so long.
const AGAIN: Millis = Millis(1000);

/// How many bytes are kept to be told; with more, the part is to be copied anew.
const MAX_UNTOLD: usize = 4 << 20;

/// So many are kept who are known by their key no more, where nobody can be told of them.
const MAX_ENDED: usize = 10_000;

/// What a relay has told last.
#[derive(Default)]
struct Heard {
    at: Timestamp,
    /// Which pages are open.
    open: Vec<Lease>,
    /// How many connections it has.
    watchers: usize,
}

/// Those that relay.
#[derive(Default)]
pub struct Relays {
    heard: RefCell<BTreeMap<u32, Heard>>,
    followed: Cell<bool>,
    /// The version that was told last, and when that was.
    told: Cell<Option<u64>>,
    told_at: Cell<Option<Timestamp>>,
    /// What was stored since, and how many bytes that is.
    untold: RefCell<Vec<Vec<u8>>>,
    untold_bytes: Cell<usize>,
    /// Who is known by that key no more.
    ended: RefCell<Vec<Ended>>,
    telling: Cell<bool>,
    /// How many times a relay has asked to follow.
    asked: Cell<u64>,
}

impl Relays {
    /// Says whether somebody follows, as was kept.
    pub fn remember(&self, followed: bool) {
        self.followed.set(followed);
        self.told.set(None);
    }

    /// Whether anybody follows.
    pub fn follow(&self) -> bool {
        self.followed.get()
    }

    /// Keeps what was stored, to be told.
    pub fn note_row(&self, row: &[u8]) {
        if !self.followed.get() || self.told.get().is_none() {
            return;
        }
        self.untold.borrow_mut().push(row.to_vec());
        self.untold_bytes.set(self.untold_bytes.get() + row.len());
        if self.untold_bytes.get() > MAX_UNTOLD {
            self.tell_anew();
        }
    }

    /// Has the part copied anew.
    pub fn tell_anew(&self) {
        self.take_untold();
        self.told.set(None);
    }

    fn take_untold(&self) -> Vec<Vec<u8>> {
        self.untold_bytes.set(0);
        self.untold.take()
    }

    /// Keeps who is known by that key no more, to be told.
    pub fn note_ended(&self, ended: Ended) {
        if self.followed.get() {
            self.ended.borrow_mut().push(ended);
        }
    }

    /// Takes back who was not told of.
    fn tell_again(&self, mut ended: Vec<Ended>) {
        ended.append(&mut self.ended.borrow_mut());
        ended.drain(..ended.len().saturating_sub(MAX_ENDED));
        self.ended.replace(ended);
    }

    /// Hears of pages that have just connected to a relay, which will tell of all of its own in a while.
    pub fn connected(&self, relay: u32, more: Vec<Lease>) {
        let mut heard = self.heard.borrow_mut();
        let heard = heard.entry(relay).or_default();
        heard.at = clock::now();
        heard.watchers += more.len();
        heard.open.extend(more);
    }

    /// The pages that are connected to those that relay, each as of when it was last heard of.
    pub fn open(&self) -> Vec<Lease> {
        self.heard.borrow().values().flat_map(|heard| &heard.open).cloned().collect()
    }

    /// Whether somebody is connected to one of them.
    pub fn holds(&self, who: &MemberKey) -> bool {
        self.heard.borrow().values().any(|heard| heard.open.iter().any(|lease| lease.key == *who))
    }

    /// How many connections they have.
    pub fn watchers(&self) -> usize {
        self.heard.borrow().values().map(|heard| heard.watchers).sum()
    }

    /// In what time they are told something next, if anybody follows.
    pub fn next(&self, now: Timestamp) -> Option<Millis> {
        let since = self.told_at.get().filter(|at| *at <= now).map_or(PACE, |at| now.since(at));
        self.followed.get().then(|| Millis(PACE.0.saturating_sub(since.0)))
    }
}

impl Presence {
    /// A relay follows this part, or goes on to.
    pub fn follow(&self, follow: Follow) -> Result<Followed> {
        let Follow { relay, since, open, watchers } = follow;
        let now = clock::now();
        let mut heard = self.relays.heard.borrow_mut();
        heard.insert(relay, Heard { at: now, open, watchers });
        // One that says nothing any more holds nobody.
        heard.retain(|_, heard| heard.at <= now && now.since(heard.at) < Millis(2 * SILENCE.0));
        drop(heard);
        self.relays.asked.set(self.relays.asked.get() + 1);
        if !self.relays.followed.replace(true) {
            self.store.keep_as("followed", "1".to_owned())?;
        }
        self.with_site(|presence, site| {
            let (version, at) = (site.version(), site.now());
            // Rows of before are written over one day, and all at once where somebody was erased.
            let since = since.filter(|since| (version_at(at.minus(RECALL))..=version).contains(since));
            let (rows, anew) = presence.rows_since(site, since)?;
            if relay == 0 && presence.relays.told.get().is_none() {
                // From here on it is told what comes. Else it is told at its time what it knows now, for others to whom it
                // passes that on.
                presence.relays.told.set(Some(version));
                presence.relays.take_untold();
            }
            Ok(Followed { version, at, rows, anew })
        })
    }

    /// What was stored since a version, in this order; or all there is, where that is not known. Of what was stored before one
    /// row is read.
    fn rows_since(&self, site: &Site, since: Option<u64>) -> Result<(Vec<Vec<u8>>, bool)> {
        let (mut rows, mut known) = (Vec::new(), since == Some(site.version()));
        for slot in site.rows_newest_first() {
            if known {
                break;
            }
            let Some(row) = ring_row(&self.store, slot)? else { continue };
            match record::decode::<Head>(&row) {
                Ok(head) if since.is_some_and(|since| head.version <= since) => known = true,
                Ok(_) => rows.push(row),
                Err(_) => {}
            }
        }
        rows.reverse();
        Ok((rows, !known))
    }

    /// The pages that are known to be open, here and where the site is relayed.
    pub fn leases(&self, window: Seconds, now: Timestamp) -> Vec<Lease> {
        let open = self.room.borrow().open(now).into_iter().chain(self.relays.open());
        open.map(|lease| Lease { at: open_at(lease.at.min(now), window, now), ..lease }).collect()
    }

    /// Whether somebody is connected, here or where the site is relayed.
    pub fn holds(&self, who: &MemberKey) -> bool {
        self.room.borrow().holds(who) || self.relays.holds(who)
    }

    /// How many connections those have that relay; the first of a site's objects tells for all of them.
    pub fn watchers_elsewhere(&self) -> usize {
        let first = self.among.share().is_some_and(|share| share.number == 0);
        if first { self.relays.watchers() } else { 0 }
    }

    /// Tells those that relay what is new, now or when it is time.
    pub fn tell_relays(&self, site: &Site) {
        let (relays, now, version) = (&self.relays, clock::now(), site.version());
        let news = relays.told.get() != Some(version) || !relays.ended.borrow().is_empty();
        let (Some(wait), false) = (relays.next(now).filter(|_| news), relays.telling.get()) else { return };
        if wait > Millis(0) {
            return self.work_in(wait);
        }
        let (Some(share), Some(this)) = (self.among.share(), self.this.upgrade()) else { return };
        let (rows, ended) = (relays.take_untold(), relays.ended.take());
        let from = relays.told.replace(Some(version));
        let progress = Progress { number: share.number, from, to: version, at: site.now(), rows };
        relays.told_at.set(Some(now));
        relays.telling.set(true);
        let (site, asked) = (share.site.clone(), relays.asked.get());
        let known = relays.heard.borrow().keys().copied().collect();
        self.store.wait_until(async move {
            let call = RelayCall::Progress(progress, ended, known);
            let wanted = calls::ask::<bool>(&this.env, Object::Relay(&site, 0), &call, PATIENCE).await;
            this.relays.telling.set(false);
            match wanted {
                // Something may have come meanwhile.
                Ok(true) => this.work(),
                Ok(false) if this.relays.asked.get() == asked => this.forget_relays(),
                // Somebody has come to watch while that was on its way.
                Ok(false) => this.work(),
                Err(error) => {
                    console_error!("those who watch were not told: {error}");
                    this.relays.told.set(None);
                    // What else has become of the part it asks for; that it cannot.
                    if let RelayCall::Progress(_, ended, _) = call {
                        this.relays.tell_again(ended);
                    }
                    this.work_in(AGAIN);
                }
            }
        });
    }

    fn forget_relays(&self) {
        self.relays.remember(false);
        self.relays.take_untold();
        // Nobody is connected any more, whatever was heard of them.
        self.relays.heard.borrow_mut().clear();
        if let Err(error) = self.store.forget_kept("followed") {
            console_error!("it is not forgotten that it is followed: {error}");
        }
    }
}

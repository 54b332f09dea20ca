//! One object of a site, with its storage.

use crate::WINDOW;
use std::collections::BTreeMap;
use whos_online::presence::copies::Progress;
use whos_online::presence::id::{Topic, UserId};
use whos_online::presence::member::{Departure, KeyRef, MemberKey, Viewed};
use whos_online::presence::reports::Reports;
use whos_online::presence::revoked::Revocation;
use whos_online::presence::site::{Outcome, Site};
use whos_online::presence::time::Timestamp;
use whos_online::protocol::Kept;

/// One object, with its storage.
pub struct Object {
    pub site: Site,
    pub rows: BTreeMap<i64, Vec<u8>>,
    /// What was stored since those were told who copy it, and the version that they were told of.
    pub untold: Vec<Vec<u8>>,
    told: Option<u64>,
    pub departures: BTreeMap<String, Departure>,
    pub views: BTreeMap<(String, MemberKey, bool), Viewed>,
    pub hidden: BTreeMap<String, Timestamp>,
    pub revoked: Vec<Revocation>,
}

impl Object {
    pub fn new(now: Timestamp) -> Self {
        Self {
            site: Site::new(WINDOW, now),
            rows: BTreeMap::new(),
            untold: Vec::new(),
            told: None,
            departures: BTreeMap::new(),
            views: BTreeMap::new(),
            hidden: BTreeMap::new(),
            revoked: Vec::new(),
        }
    }

    pub fn hear(&mut self, now: Timestamp, reports: Reports) {
        self.site.hear(now, reports);
        self.store();
    }

    pub fn store(&mut self) {
        let outcome = self.site.outcome();
        self.keep(outcome);
    }

    pub fn keep(&mut self, Outcome { writes, departures, views, hidden, revoked }: Outcome) {
        self.untold.extend(writes.iter().map(|write| write.data.clone()));
        self.rows.extend(writes.into_iter().map(|write| (write.slot, write.data)));
        self.revoked.extend(revoked);
        departures.into_iter().for_each(|departure| self.keep_departure(departure));
        views.into_iter().for_each(|view| self.keep_view(view));
        for (user, since) in hidden {
            match since {
                Some(since) => drop(self.hidden.insert(user.into(), since)),
                None => drop(self.hidden.remove(user.as_str())),
            }
        }
    }

    pub fn keep_departure(&mut self, departure: Departure) {
        let known = self.departures.get(departure.user.as_str());
        if known.is_none_or(|known| known.by_time(&departure).is_lt()) {
            self.departures.insert(departure.user.as_str().into(), departure);
        }
    }

    pub fn keep_view(&mut self, view: Viewed) {
        let hides = view.profile.as_ref().is_some_and(|profile| profile.invisible);
        let key = (view.topic.as_str().to_owned(), view.viewer.clone(), hides);
        if self.views.get(&key).is_none_or(|known| known.at < view.at) {
            self.views.insert(key, view);
        }
    }

    /// Builds it from its rows. Of those who had gone when they were handed over these tell still.
    pub fn restart(&mut self, now: Timestamp, is_own: impl Fn(KeyRef<'_>) -> bool) {
        let (mut site, mut outcome, unreadable) = Site::restore(WINDOW, &self.rows, now, &[]);
        assert_eq!(unreadable, 0);
        site.retain_held(|user| is_own(MemberKey::User(user)));
        outcome.departures.retain(|departure| is_own(MemberKey::User(&departure.user)));
        outcome.views.retain(|viewed| is_own(viewed.viewer.borrow()));
        site.know_hidden(self.hidden.iter().map(|(user, at)| (UserId::parse(user.as_str()).unwrap(), *at)));
        site.know_revoked(self.revoked.iter().copied());
        self.site = site;
        // What it had to tell is forgotten, and whom.
        (self.untold, self.told) = (Vec::new(), None);
        self.keep(outcome);
    }

    pub fn progress(&mut self, number: u32) -> Progress {
        let (from, to, at) = (self.told, self.site.version(), self.site.now());
        self.told = Some(to);
        Progress { number, from, to, at, rows: std::mem::take(&mut self.untold) }
    }
}

impl Kept for Object {
    fn departed(&self, user: &UserId) -> Option<Departure> {
        self.departures.get(user.as_str()).cloned()
    }

    fn departures(&self, limit: usize) -> Vec<Departure> {
        let mut all: Vec<_> = self.departures.values().cloned().collect();
        all.sort_by_key(|departure| std::cmp::Reverse(departure.last_seen));
        all.truncate(limit);
        all
    }

    fn viewed(&self, topic: &Topic) -> Vec<Viewed> {
        self.views.values().filter(|view| view.topic == *topic).cloned().collect()
    }
}

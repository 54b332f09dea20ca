//! A site, and what is stored of it.

use crate::{WINDOW, names, now};
use std::collections::BTreeMap;
use whos_online::presence::bounds::Bounds;
use whos_online::presence::member::{Kind, Signal, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::site::{Outcome, Site};
use whos_online::presence::time::Timestamp;

/// A site with the storage that a shell would give it: killed and started at will.
pub struct Kept {
    bounds: Bounds,
    pub site: Site,
    pub rows: BTreeMap<i64, Vec<u8>>,
    last_seen: BTreeMap<String, Timestamp>,
    pub written: usize,
}

impl Kept {
    pub fn new(start: Timestamp) -> Self {
        Self::within(WINDOW.into(), start)
    }

    pub fn within(bounds: Bounds, start: Timestamp) -> Self {
        Self { bounds, site: Site::new(bounds, start), rows: BTreeMap::new(), last_seen: BTreeMap::new(), written: 0 }
    }

    pub fn apply(&mut self, time: Timestamp, reports: Vec<Report>) {
        let outcome = self.site.apply(time, reports);
        self.store(outcome);
    }

    fn store(&mut self, outcome: Outcome) {
        let Outcome { writes, departures, .. } = outcome;
        for write in writes {
            self.rows.insert(write.slot, write.data);
            self.written += 1;
        }
        for gone in departures {
            let seen = self.last_seen.entry(gone.user.as_str().into()).or_insert(gone.last_seen);
            *seen = (*seen).max(gone.last_seen);
        }
    }

    pub fn touch(&mut self, time: Timestamp, touch: Touch) {
        self.apply(time, vec![now(Signal::Touch(touch))]);
    }

    pub fn advance(&mut self, time: Timestamp) {
        let outcome = self.site.advance(time);
        self.store(outcome);
    }

    pub fn restart(&mut self, time: Timestamp) {
        let (site, outcome, unreadable) = Site::restore(self.bounds, &self.rows, time, &[]);
        assert_eq!(unreadable, 0);
        self.site = site;
        self.store(outcome);
    }

    /// When users were last seen who went, as it would be told.
    pub fn last_seen(&self) -> BTreeMap<String, Timestamp> {
        let mut last_seen = self.last_seen.clone();
        for gone in self.site.departures() {
            let seen = last_seen.entry(gone.user.as_str().into()).or_insert(gone.last_seen);
            *seen = (*seen).max(gone.last_seen);
        }
        last_seen
    }

    pub fn names(&self) -> Vec<String> {
        names(&self.site, Kind::User)
    }
}

//! Copies of the parts of a site, for those who watch it: each part's object tells what it has stored and come to, and its
//! copy does the same. So who is told of a version is told what that object would say.
//!
//! The copy of a part that is silent goes on by the clock of whoever has it: members go when their window has passed. From
//! then on it is not what its object has, so it is copied anew when that one speaks again.

use super::bounds::Bounds;
use super::moments::Moments;
use super::record::{self, Head};
use super::site::{Lease, Rows, Site, Tally};
use super::time::{Seconds, Timestamp};
use serde::{Deserialize, Serialize};

/// What has become of a part since a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which part.
    pub number: u32,
    /// The version that it had; none where its object was started anew, and does not know what it told before.
    pub from: Option<u64>,
    /// The one that it has now.
    pub to: u64,
    /// As of when.
    pub at: Timestamp,
    /// What was stored meanwhile, in this order.
    pub rows: Vec<Vec<u8>>,
}

/// The copies, as far as there are any yet.
pub struct Copies {
    bounds: Bounds,
    parts: Vec<Option<Copy>>,
    /// Of which versions anybody was told.
    pub moments: Moments,
}

/// The copy of a part. Its own version never goes back, whatever becomes of the part's, or who watches would take what they
/// are told then for old.
struct Copy {
    site: Site,
    /// The version of the part that it has come to; none since it has gone on by itself.
    of: Option<u64>,
    silent: bool,
}

impl Copies {
    /// Of a site in so many parts.
    pub fn new(bounds: impl Into<Bounds>, count: u32) -> Self {
        let parts = (0..count).map(|_| None).collect();
        Self { bounds: bounds.into(), parts, moments: Moments::default() }
    }

    /// The version of a part that its copy has come to, where it can go on from there.
    pub fn version(&self, number: u32) -> Option<u64> {
        self.parts.get(number as usize)?.as_ref()?.of
    }

    /// Has a part copied from the rows that its object has.
    pub fn copy(&mut self, number: u32, rows: &impl Rows, at: Timestamp, version: u64) {
        if let Some(part) = self.parts.get_mut(number as usize) {
            let own = part.as_ref().map_or(version, |known| match known.site.version() {
                own if known.of == Some(version) => own,
                own => version.max(own + 1),
            });
            *part = Some(Copy { site: Site::copy(self.bounds, rows, at, own), of: Some(version), silent: false });
        }
    }

    /// Has a copy come to where its part is, and says whether it could: where something is missing, or cannot be read, the
    /// part is to be copied anew.
    pub fn follow(&mut self, progress: &Progress) -> bool {
        let part = self.parts.get_mut(progress.number as usize);
        part.and_then(Option::as_mut).is_some_and(|copy| copy.follow(progress))
    }

    /// Notes that a part does not answer.
    pub fn note_silent(&mut self, number: u32) {
        if let Some(Some(copy)) = self.parts.get_mut(number as usize) {
            copy.silent = true;
        }
    }

    /// Has the copies of silent parts go on to `now`, past which these pages are known to be open: see [`Site::go_on`].
    pub fn go_on(&mut self, now: Timestamp, open: impl Fn() -> Vec<Lease>) {
        for copy in self.silent_mut() {
            let put_back = now.plus(Seconds(1)) <= copy.site.now();
            if put_back || copy.site.has_gone_by(now) {
                copy.site.go_on_alone(now, &open);
                copy.of = None;
            }
        }
    }

    /// When somebody of a silent part goes.
    pub fn deadline(&mut self) -> Option<Timestamp> {
        self.silent_mut().filter_map(|copy| copy.site.deadline()).min()
    }

    fn silent_mut(&mut self) -> impl Iterator<Item = &mut Copy> {
        self.parts.iter_mut().flatten().filter(|copy| copy.silent)
    }

    /// The site as those see it who watch.
    pub fn tally(&self) -> Tally<'_> {
        Tally::of_parts(self.parts.iter().flatten().map(|copy| &copy.site).collect(), &self.moments)
    }

    /// Notes that somebody is told how things are now.
    pub fn note_told(&mut self) {
        let versions = self.tally().versions().collect();
        self.moments.note(versions);
    }
}

impl Copy {
    fn follow(&mut self, progress: &Progress) -> bool {
        let Some(of) = self.of else { return false };
        if of >= progress.to && progress.from.is_some() {
            // It was on its way when the part was asked, or there is nothing new: then the part speaks again. One whose object
            // was started anew may count by another clock.
            self.silent &= of > progress.to;
            return true;
        }
        // A copy that has asked by itself may have come further than what was told before.
        if progress.from.is_none_or(|from| from > of) {
            return false;
        }
        let own = progress.to.max(self.site.version() + 1);
        let is_known = |row: &&Vec<u8>| record::decode::<Head>(row).is_ok_and(|head| head.version <= of);
        let news = progress.rows.iter().filter(|row| !is_known(row));
        let followed = self.site.follow(progress.at, own, news).is_ok();
        (self.of, self.silent) = (followed.then_some(progress.to), self.silent && !followed);
        followed
    }
}

//! Copies of the parts of a site, for those who watch it: each part's object tells what it has stored and come to, and its
//! copy does the same. So who is told of a version is told what that object would say.

use super::bounds::Bounds;
use super::moments::Moments;
use super::site::{Rows, Site, Tally};
use super::time::Timestamp;
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
    parts: Vec<Option<Site>>,
    /// Of which versions anybody was told.
    pub moments: Moments,
}

impl Copies {
    /// Of a site in so many parts.
    pub fn new(bounds: impl Into<Bounds>, count: u32) -> Self {
        let parts = (0..count).map(|_| None).collect();
        Self { bounds: bounds.into(), parts, moments: Moments::default() }
    }

    /// The version of a part that its copy has come to.
    pub fn version(&self, number: u32) -> Option<u64> {
        self.parts.get(number as usize)?.as_ref().map(Site::version)
    }

    /// Has a part copied from the rows that its object has.
    pub fn copy(&mut self, number: u32, rows: &impl Rows, at: Timestamp, version: u64) {
        if let Some(part) = self.parts.get_mut(number as usize) {
            *part = Some(Site::copy(self.bounds, rows, at, version));
        }
    }

    /// Has a copy come to where its part is, and says whether it could: where something is missing, or cannot be read, the
    /// part is to be copied anew.
    pub fn follow(&mut self, progress: &Progress) -> bool {
        let part = self.parts.get_mut(progress.number as usize);
        let followed = |part: &mut Option<Site>| {
            let copy = part.as_mut()?;
            if copy.version() >= progress.to {
                // It was on its way when the part was asked.
                return Some(());
            }
            let copy = Some(copy).filter(|copy| progress.from == Some(copy.version()))?;
            copy.follow(progress.at, progress.to, &progress.rows).ok()
        };
        part.and_then(followed).is_some()
    }

    /// The site as those see it who watch.
    pub fn tally(&self) -> Tally<'_> {
        Tally::of_parts(self.parts.iter().flatten().collect(), &self.moments)
    }

    /// Notes that somebody is told how things are now.
    pub fn note_told(&mut self) {
        let versions = self.tally().versions().collect();
        self.moments.note(versions);
    }
}

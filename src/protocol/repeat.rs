//! What an object has just told is told again as long as it is so; and it searches only so often in a second.

use super::query::Query;
use crate::identity::access::Scope;
use crate::presence::budget::{SEARCHES, Spent, SteadyClock};
use crate::presence::time::{Millis, Timestamp};

/// For how long an answer is told again: it says as of when it is.
const FRESH: Millis = Millis(1000);

/// The most answers that are kept, and the most bytes of one.
const MAX: usize = 16;
const MAX_BYTES: usize = 256 * 1024;

/// What was told.
struct Told {
    query: Query,
    scope: Scope,
    version: u64,
    at: Timestamp,
    bytes: Vec<u8>,
}

/// The answers that an object has just given to searches.
#[derive(Default)]
pub struct Repeat {
    told: Vec<Told>,
    searched: Spent,
    clock: SteadyClock,
}

impl Repeat {
    /// The answer to a question, as of a version: by `search` where it was not given for that version a moment ago. None where
    /// there were too many searches of late.
    pub fn answer(
        &mut self,
        (query, scope): (&Query, Scope),
        version: u64,
        now: Timestamp,
        search: impl FnOnce() -> Vec<u8>,
    ) -> Option<Vec<u8>> {
        if !query.is_search() {
            return Some(search());
        }
        let fresh = |told: &Told| told.version == version && told.at <= now && now.since(told.at) < FRESH;
        self.told.retain(fresh);
        if let Some(told) = self.told.iter().find(|told| told.query == *query && told.scope == scope) {
            return Some(told.bytes.clone());
        }
        if self.clock.is_put_back(now) {
            self.searched = Spent::default();
        }
        self.searched.spend(SEARCHES, self.clock.now()).ok()?;
        let bytes = search();
        if self.told.len() < MAX && bytes.len() <= MAX_BYTES {
            self.told.push(Told { query: query.clone(), scope, version, at: now, bytes: bytes.clone() });
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_searched_for_once_for_a_version_and_only_so_often_in_a_second() {
        let scope = Scope { locations: true, last_seen: true, invisible: false };
        let (mut repeat, mut searches) = (Repeat::default(), 0);
        let at = |millis: i64| Timestamp::from_millis(1_795_203_180_000 + millis);
        let mut ask = |query: &Query, version, millis| {
            let before = searches;
            let answer = repeat.answer((query, scope), version, at(millis), || {
                searches += 1;
                vec![version as u8]
            });
            (answer, searches - before)
        };
        let pages = Query::Pages(1000);
        assert_eq!(ask(&pages, 1, 0), (Some(vec![1]), 1));
        assert_eq!(ask(&pages, 1, 999), (Some(vec![1]), 0));
        assert_eq!(ask(&pages, 1, 1000).1, 1, "a second later it says anew as of when it is");
        assert_eq!(ask(&pages, 2, 1000), (Some(vec![2]), 1), "and whatever was said before is known at once");
        assert_eq!(
            (ask(&Query::Counts, 2, 1000).1, ask(&Query::Counts, 2, 1000).1),
            (1, 1),
            "what costs nothing is not kept"
        );
        let refused = (0..1000).filter(|version| ask(&pages, 3 + version, 1000).0.is_none()).count();
        assert!((590..=610).contains(&refused), "{refused}");
        assert!(ask(&pages, 2000, 1100).0.is_some());
    }
}

//! Which logins are looked up, and what is remembered of it.
//!
//! A cookie costs whoever sends it nothing, and a look-up costs a call to an object. So what was looked up is remembered, also
//! that there was nothing; of what a client has made up little is looked up; and of a site that has never stored a login nothing.
//! What is made up pushes out of memory nothing that is good.

use super::login::Digest;
use super::memory::{FOUND, MISSED, Memory};
use crate::presence::budget::{MISSES, Payer, Spending};
use crate::presence::id::{ClientId, SiteName};
use crate::presence::time::{Seconds, Timestamp};
use std::collections::HashSet;

/// After what could not be looked up it is not tried again for so long, so that an object that is down is not asked by every
/// request.
pub const RESPITE: Seconds = Seconds(2);

/// Of so many sites at the most it is remembered that they have logins.
const MAX_SITES: usize = 100;

/// What is looked up: a login of a site.
pub type Key = (SiteName, Digest);

/// What a look-up came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// It is somebody's.
    Found(T),
    /// It is nobody's.
    Nobody,
    /// Nobody knows whose it is: it could not be looked up, or cannot be read.
    Unsure,
}

/// Why it is not known who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// After so many failures the next attempt has to wait.
    Wait(Seconds),
    /// Something that they show could not be looked up.
    Unsure,
}

/// What an isolate knows of logins.
#[derive(Debug)]
pub struct LookUps<T> {
    found: Memory<Key, T>,
    /// Of those that are nobody's; nothing is told of one of which that is not sure.
    nobody: Memory<Key, ()>,
    /// What clients may still look up that is nobody's.
    misses: Spending,
    /// Sites that have logins: that does not change any more.
    with_logins: HashSet<SiteName>,
    /// And those that had none a moment ago; nothing is told of one of which that is not known.
    without_logins: Memory<SiteName, ()>,
}

impl<T> Default for LookUps<T> {
    fn default() -> Self {
        Self {
            found: Memory::default(),
            nobody: Memory::default(),
            misses: Spending::default(),
            with_logins: HashSet::new(),
            without_logins: Memory::default(),
        }
    }
}

impl<T: Clone> LookUps<T> {
    /// What is remembered of a login.
    pub fn recall(&self, key: &Key, now: Timestamp) -> Option<Outcome<T>> {
        if let Some(found) = self.found.recall(key, now).flatten() {
            return Some(Outcome::Found(found));
        }
        self.nobody.recall(key, now).map(|sure| if sure.is_some() { Outcome::Nobody } else { Outcome::Unsure })
    }

    /// Whether a login may be looked up for a client. One that was good before may always be; nothing is counted of who has no
    /// address, as that is everybody where nobody's is told.
    ///
    /// # Errors
    /// How long it has to wait.
    pub fn begin(&mut self, key: &Key, client: Option<ClientId>, now: Timestamp) -> Result<(), Seconds> {
        let Some(client) = client.filter(|_| !self.found.has_known(key)) else { return Ok(()) };
        self.misses.spend(Payer::Client(client), MISSES, now).map_err(Seconds::from)
    }

    /// Remembers what a look-up came to; what was found is good for so long.
    pub fn end(&mut self, key: Key, client: Option<ClientId>, now: Timestamp, outcome: &Outcome<T>, good_for: Seconds) {
        match outcome {
            Outcome::Found(found) => {
                // Where it was good before nothing was taken.
                if let Some(client) = client.filter(|_| !self.found.has_known(&key)) {
                    self.misses.refund(Payer::Client(client), MISSES);
                }
                self.nobody.forget(&key);
                self.found.keep(key, now.plus(good_for), Some(found.clone()));
            }
            Outcome::Nobody => {
                self.found.forget(&key);
                self.nobody.keep(key, now.plus(MISSED), Some(()));
            }
            Outcome::Unsure => self.nobody.keep(key, now.plus(RESPITE), None),
        }
    }

    /// Whether a site has ever stored a login, as far as that is known.
    pub fn has_logins(&self, site: &SiteName, now: Timestamp) -> Option<bool> {
        // Where it is not known, they are looked up.
        let without = || self.without_logins.recall(site, now).map(|sure| sure.is_none());
        if self.is_with_logins(site) { Some(true) } else { without() }
    }

    /// Whether it is known for good that a site has logins.
    pub fn is_with_logins(&self, site: &SiteName) -> bool {
        self.with_logins.contains(site)
    }

    /// Remembers whether a site has ever stored a login, if that could be found out.
    pub fn learn(&mut self, site: &SiteName, has_logins: Option<bool>, now: Timestamp) {
        match has_logins {
            Some(true) => {
                if self.with_logins.len() >= MAX_SITES {
                    self.with_logins.clear();
                }
                self.with_logins.insert(site.clone());
            }
            Some(false) => self.without_logins.keep(site.clone(), now.plus(FOUND), Some(())),
            None => self.without_logins.keep(site.clone(), now.plus(RESPITE), None),
        }
    }

    /// Forgets a login, as it has changed.
    pub fn forget(&mut self, key: &Key) {
        self.found.forget(key);
        self.nobody.forget(key);
    }

    /// Forgets whose logins are.
    pub fn forget_all(&mut self) {
        (self.found, self.nobody) = (Memory::default(), Memory::default());
    }

    /// Forgets all logins of which that is so.
    pub fn forget_where(&mut self, is: impl FnMut(&T) -> bool) {
        self.found.forget_where(is);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_795_203_180_000 + millis)
    }

    fn key(number: u32) -> Key {
        (SiteName::parse("club").unwrap(), Digest::of(number.to_be_bytes()))
    }

    #[test]
    fn what_was_looked_up_is_remembered_and_what_is_registered_elsewhere_is_found_within_30_seconds() {
        let mut lookups = LookUps::default();
        assert_eq!(lookups.recall(&key(1), at(0)), None);
        lookups.end(key(1), None, at(0), &Outcome::Nobody, FOUND);
        assert_eq!(lookups.recall(&key(1), at(29_999)), Some(Outcome::Nobody));
        assert_eq!(lookups.recall(&key(1), at(30_000)), None);
        lookups.end(key(1), None, at(30_000), &Outcome::Found("sally"), FOUND);
        assert_eq!(lookups.recall(&key(1), at(59_999)), Some(Outcome::Found("sally")));
        lookups.end(key(2), None, at(0), &Outcome::Nobody, FOUND);
        lookups.forget(&key(2));
        assert_eq!(lookups.recall(&key(2), at(0)), None, "it was registered here");
        lookups.end(key(3), None, at(0), &Outcome::Unsure, FOUND);
        assert_eq!(lookups.recall(&key(3), at(1999)), Some(Outcome::Unsure));
        assert_eq!(lookups.recall(&key(3), at(2000)), None, "it is asked for again soon");
    }

    #[test]
    fn of_what_a_client_makes_up_twenty_a_minute_are_looked_up_and_what_is_good_always_is() {
        let mut lookups = LookUps::default();
        let client = Some(ClientId(7));
        lookups.end(key(0), client, at(0), &Outcome::Found("sally"), FOUND);
        let mut asked = 0;
        for number in 1..=6000 {
            if lookups.begin(&key(number), client, at(i64::from(number) * 10)).is_ok() {
                lookups.end(key(number), client, at(0), &Outcome::Nobody, FOUND);
                asked += 1;
            }
        }
        assert_eq!(asked, 39, "the burst, and what was earned in that minute");
        assert_eq!(lookups.begin(&key(0), client, at(60_000)), Ok(()), "it was good a minute ago");
        assert_eq!(lookups.begin(&key(9999), Some(ClientId(8)), at(60_000)), Ok(()), "another client");
        assert_eq!(lookups.begin(&key(9999), None, at(60_000)), Ok(()));
        assert_eq!(lookups.recall(&key(0), at(29_000)), Some(Outcome::Found("sally")));
    }

    #[test]
    fn good_logins_cost_a_client_nothing_however_many_there_are() {
        let mut lookups = LookUps::default();
        for number in 0..1000 {
            assert_eq!(lookups.begin(&key(number), Some(ClientId(7)), at(0)), Ok(()), "{number}");
            lookups.end(key(number), Some(ClientId(7)), at(0), &Outcome::Found("a user of a large office"), FOUND);
        }
    }

    #[test]
    fn what_is_made_up_pushes_out_nothing_that_is_good() {
        let mut lookups = LookUps::default();
        lookups.end(key(0), None, at(0), &Outcome::Found("sally"), FOUND);
        for number in 1..30_000 {
            lookups.end(key(number), None, at(0), &Outcome::Nobody, FOUND);
        }
        assert_eq!(lookups.recall(&key(0), at(1)), Some(Outcome::Found("sally")));
    }

    #[test]
    fn that_a_site_has_logins_is_known_for_good_and_that_it_has_none_for_30_seconds() {
        let mut lookups = LookUps::<()>::default();
        let site = SiteName::parse("club").unwrap();
        assert_eq!(lookups.has_logins(&site, at(0)), None);
        lookups.learn(&site, Some(false), at(0));
        assert_eq!(lookups.has_logins(&site, at(29_999)), Some(false));
        assert_eq!(lookups.has_logins(&site, at(30_000)), None);
        lookups.learn(&site, None, at(30_000));
        assert_eq!(lookups.has_logins(&site, at(30_000)), Some(true), "where it is not known they are looked up");
        assert_eq!(lookups.has_logins(&site, at(32_000)), None);
        lookups.learn(&site, Some(true), at(32_000));
        lookups.learn(&site, Some(false), at(32_000));
        assert_eq!(lookups.has_logins(&site, at(99_000_000)), Some(true));
    }
}

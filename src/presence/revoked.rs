//! Since when the tokens of a site's users are worth nothing that were issued before: a touch that rests on one counts as
//! nothing, from whatever isolate it comes.
//!
//! Users are known by a digest of their ids, so that this can be kept of somebody who was erased.

use super::id::{DeviceId, UserId};
use super::member::{Evidence, MemberKey};
use super::shards::digest;
use super::time::{Seconds, Timestamp};
use foldhash::fast::FixedState;
use std::collections::HashMap;

/// For how long it is kept of a device: none of its cookies lives as long.
pub const KEPT_FOR_DEVICE: Seconds = Seconds(2 * 86_400);

/// And of a user altogether: a token that an application has signed may live as long as that.
pub const KEPT_FOR_USER: Seconds = Seconds(366 * 86_400);

/// Of so many at the most; of more, those are forgotten that are oldest.
pub const MAX_REVOKED: usize = 50_000;

/// Since when a user's tokens are worth nothing that were issued before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// A digest of the user's id, which never changes.
    pub user: u64,
    /// On which device; on all of them if it is not told.
    pub device: Option<DeviceId>,
    /// Since when.
    pub at: Timestamp,
}

impl Revocation {
    /// That of a user.
    pub fn of(user: &UserId, device: Option<DeviceId>, at: Timestamp) -> Self {
        Self { user: digest(MemberKey::User(user)), device, at }
    }

    /// Whether no token can be good any more that it is about.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let kept = if self.device.is_some() { KEPT_FOR_DEVICE } else { KEPT_FOR_USER };
        self.at.plus(kept) <= now
    }
}

/// Those that are known.
#[derive(Debug, Default)]
pub struct Revoked(HashMap<(u64, Option<DeviceId>), Timestamp, FixedState>);

impl Revoked {
    /// Notes one, and says whether it is news: the latest of a user's device counts.
    pub fn note(&mut self, revocation: Revocation) -> bool {
        let Revocation { user, device, at } = revocation;
        let known = self.since(user, device);
        let is_news = known.is_none_or(|known| known < at);
        if is_news {
            if known.is_none() && self.0.len() >= MAX_REVOKED {
                self.forget_oldest();
            }
            self.0.insert((user, device), at);
        }
        is_news
    }

    /// Whether one of a user's device is known.
    pub fn knows(&self, user: u64, device: Option<DeviceId>) -> bool {
        self.since(user, device).is_some()
    }

    /// Whether what somebody is known by was revoked.
    pub fn covers(&self, user: &UserId, evidence: Evidence) -> bool {
        let Some(issued) = evidence.issued.filter(|_| !self.0.is_empty()) else { return false };
        let user = digest(MemberKey::User(user));
        let of_device = evidence.device.and_then(|device| self.since(user, Some(device)));
        of_device.max(self.since(user, None)).is_some_and(|since| issued < since)
    }

    /// After the clock was put back: none is later than now, or what is issued now would be worth nothing.
    pub fn put_back(&mut self, now: Timestamp) {
        self.0.values_mut().for_each(|at| *at = (*at).min(now));
    }

    fn since(&self, user: u64, device: Option<DeviceId>) -> Option<Timestamp> {
        self.0.get(&(user, device)).copied()
    }

    /// Those of devices first, which are kept for days, then those of users.
    fn forget_oldest(&mut self) {
        let oldest = self.0.iter().min_by_key(|((_, device), at)| (device.is_none(), **at)).map(|(key, _)| *key);
        oldest.map(|key| self.0.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_795_203_180_000 + seconds * 1000)
    }

    fn sally() -> UserId {
        UserId::parse("sally").unwrap()
    }

    fn issued(seconds: i64, device: u64) -> Evidence {
        Evidence { said: None, issued: Some(at(seconds)), device: Some(DeviceId(device)) }
    }

    #[test]
    fn the_latest_counts_for_a_device_and_for_all() {
        let mut revoked = Revoked::default();
        assert!(revoked.note(Revocation::of(&sally(), Some(DeviceId(1)), at(10))));
        assert!(!revoked.note(Revocation::of(&sally(), Some(DeviceId(1)), at(5))));
        let covers = |revoked: &Revoked, evidence| revoked.covers(&sally(), evidence);
        assert!(covers(&revoked, issued(9, 1)) && !covers(&revoked, issued(10, 1)) && !covers(&revoked, issued(9, 2)));
        assert!(revoked.note(Revocation::of(&sally(), None, at(20))));
        assert!(covers(&revoked, issued(19, 2)) && !covers(&revoked, issued(20, 1)));
        assert!(!covers(&revoked, Evidence::default()), "who was looked up, or is named by the site");
        revoked.put_back(at(0));
        assert!(!covers(&revoked, issued(1, 1)), "by a clock that was put back nobody is shut out");
    }

    #[test]
    fn they_are_bounded_and_those_of_users_are_kept_longest() {
        let mut revoked = Revoked::default();
        revoked.note(Revocation::of(&sally(), None, at(0)));
        (0..=MAX_REVOKED as u64).for_each(|device| {
            revoked.note(Revocation::of(&sally(), Some(DeviceId(device)), at(device as i64)));
        });
        assert_eq!(revoked.0.len(), MAX_REVOKED);
        assert!(revoked.knows(digest(MemberKey::User(&sally())), None));
    }

    /// What is kept by it would not be found by another one.
    #[test]
    fn digest_of_a_user_unchanged() {
        assert_eq!(format!("{:016x}", Revocation::of(&sally(), None, at(0)).user), "03b24c301b3a097b");
    }
}

//! Over which of a site's objects its members are spread.
//!
//! A member is kept by one object, which their key tells: so whoever reports of them, or asks for them, knows which one
//! without asking. That is kept with what the objects keep, and must never be changed.

use super::member::{KeyRef, MemberKey, Signal};
use super::reports::{Report, Reports};
use super::time::Millis;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hasher;
use std::ops::Range;

/// How many objects keep a site's members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Shards(u32);

impl Shards {
    /// One keeps all.
    pub const ONE: Self = Self(1);

    /// The most that there may be: each list is asked of all of them.
    pub const MAX: Self = Self(64);

    /// How many they are.
    pub fn count(self) -> u32 {
        self.0
    }

    /// Their numbers.
    pub fn all(self) -> Range<u32> {
        0..self.0
    }

    /// The one that keeps a member. With another number of objects it is another one for as few members as can be.
    pub fn home(self, key: KeyRef<'_>) -> u32 {
        if self == Self::ONE { 0 } else { self.home_of(digest(key)) }
    }

    /// The same by what a key comes to.
    pub fn home_of(self, digest: u64) -> u32 {
        jump(digest, self.0)
    }
}

impl Shards {
    /// The reports that are for each object, in waves: those of a wave are to be heard when the ones before have been. There
    /// is a second wave where a visitor is known by another key from now on that another object keeps: what was said of
    /// them before goes over to it only once it was heard.
    pub fn split(self, reports: Reports) -> Vec<Vec<(u32, Reports)>> {
        if self == Self::ONE {
            return vec![vec![(0, reports)]];
        }
        let moves = reports.list.iter().any(|report| self.crosses(&report.signal).is_some());
        let mut waves: Vec<BTreeMap<u32, Vec<Report>>> = Vec::new();
        let mut order = Order::default();
        for report in Vec::<Report>::from(reports) {
            let wave = if moves { order.wave(self, &report.signal) } else { 0 };
            if waves.len() <= wave {
                waves.resize_with(wave + 1, BTreeMap::new);
            }
            if let Some(wave) = waves.get_mut(wave) {
                wave.entry(self.home(report.signal.key())).or_default().push(report);
            }
        }
        let reports =
            |wave: BTreeMap<u32, Vec<Report>>| wave.into_iter().map(|(home, list)| (home, list.into())).collect();
        waves.into_iter().map(reports).collect()
    }

    /// Who is to be asked of the other objects before reports are heard: those who are known by another key from now on, by
    /// who keeps them.
    pub fn claims(self, reports: &Reports) -> Vec<(u32, Vec<Claim>)> {
        let mut claims: BTreeMap<u32, Vec<Claim>> = BTreeMap::new();
        for Report { age, signal } in &reports.list {
            if let Some(was) = self.crosses(signal) {
                claims.entry(self.home(was.borrow())).or_default().push(Claim { key: was.clone(), age: *age });
            }
        }
        claims.into_iter().collect()
    }

    /// Who somebody was until now, if another object than theirs keeps that one.
    fn crosses<P>(self, signal: &Signal<P>) -> Option<&MemberKey> {
        let Signal::Touch(touch) = signal else { return None };
        touch.was.as_ref().filter(|was| self.home(was.borrow()) != self.home(touch.key.borrow()))
    }
}

/// Who is known by another key, which another object keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Who they were until then.
    pub key: MemberKey,
    /// How long ago that was.
    pub age: Millis,
}

/// In which waves what is said of visitors can be heard: the first in which each may be spoken of, and the first in which
/// all that was said of them before has been heard.
#[derive(Default)]
struct Order(HashMap<MemberKey, (usize, usize)>);

impl Order {
    fn wave(&mut self, shards: Shards, signal: &Signal) -> usize {
        let of = |key: &MemberKey| self.0.get(key).copied().unwrap_or_default();
        let key = signal.key().owned();
        let (mut wave, _) = of(&key);
        let was = if let Signal::Touch(touch) = signal { touch.was.clone() } else { None };
        let moves = shards.crosses(signal).is_some();
        if let Some(was) = &was {
            let (spoken_of, heard) = of(was);
            wave = wave.max(if moves { heard } else { spoken_of });
        }
        self.0.insert(key, (wave, wave + 1));
        self.0.extend(was.map(|was| (was, (wave + usize::from(moves), wave + 1))));
        wave
    }
}

impl TryFrom<u32> for Shards {
    type Error = &'static str;

    fn try_from(count: u32) -> Result<Self, Self::Error> {
        if (1..=Self::MAX.0).contains(&count) { Ok(Self(count)) } else { Err("there are 1 to 64 shards") }
    }
}

impl From<Shards> for u32 {
    fn from(shards: Shards) -> Self {
        shards.0
    }
}

/// What a key comes to, evenly spread. What is kept by it would not be found by another one.
pub fn digest(key: KeyRef<'_>) -> u64 {
    let mut hasher = SipHasher13::new();
    match key {
        MemberKey::User(user) => {
            hasher.write(b"u");
            hasher.write(user.as_str().as_bytes());
        }
        MemberKey::Guest(key) => {
            hasher.write(b"g");
            hasher.write(&key.0.to_le_bytes());
        }
        MemberKey::Bot(key) => {
            hasher.write(b"b");
            hasher.write(&key.0.to_le_bytes());
        }
    }
    hasher.finish()
}

/// Jump consistent hash (Lamping and Veach, 2014, arXiv:1406.2294): where one bucket is added, each of the others gives
/// its fair share to it, and nothing else moves.
fn jump(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0, 0);
    while next < u64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((bucket + 1) as f64 * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    bucket as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::{GuestKey, UserId};

    fn homes(count: u32) -> Vec<u32> {
        let shards = Shards::try_from(count).unwrap();
        (0..10_000).map(|guest| shards.home(MemberKey::Guest(GuestKey(guest)))).collect()
    }

    #[test]
    fn there_are_1_to_64() {
        assert!(Shards::try_from(0).is_err() && Shards::try_from(65).is_err());
        assert_eq!((Shards::try_from(1), Shards::try_from(64)), (Ok(Shards::ONE), Ok(Shards::MAX)));
    }

    #[test]
    fn each_has_its_share_and_one_more_takes_no_more_than_that() {
        for count in [2, 3, 8, 64] {
            let (before, after) = (homes(count - 1), homes(count));
            let (fair, margin) = (10_000 / count as usize, 400 / count as usize + 60);
            for number in 0..count {
                let share = after.iter().filter(|home| **home == number).count();
                assert!(share.abs_diff(fair) < margin, "{share} of {number} of {count}");
            }
            assert!(before.iter().zip(&after).all(|(before, after)| before == after || *after == count - 1));
        }
    }

    /// What is kept where it was kept once would not be found elsewhere.
    #[test]
    fn homes_unchanged() {
        let users = ["sally", "bob", "ann", "zoe", "__proto__"].map(|id| UserId::parse(id).unwrap());
        let homes = |count| {
            let shards = Shards::try_from(count).unwrap();
            users.iter().map(|user| shards.home(MemberKey::User(user))).collect::<Vec<_>>()
        };
        assert_eq!(
            [homes(1), homes(4), homes(64)],
            [[0; 5].to_vec(), [1, 3, 3, 0, 1].to_vec(), [19, 6, 17, 0, 11].to_vec()]
        );
        let eight = Shards::try_from(8).unwrap();
        let keys = [MemberKey::Guest(GuestKey(7)), MemberKey::Bot(GuestKey(7))];
        assert_eq!(keys.map(|key: KeyRef<'_>| eight.home(key)), [6, 5]);
    }
}

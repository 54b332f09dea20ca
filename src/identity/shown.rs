//! What guests and bots are called where they are listed, and where such a list goes on.
//!
//! A guest's own key tells more than is anybody's business: it says who else comes from the same address, and users whom
//! nobody is to see are listed as guests, though they have none. So what is shown is a keyed digest, of which nobody can tell
//! whether it is a guest's or a user's, nor whose.

use super::{derived, write_part};
use crate::config::Secret;
use crate::presence::id::SiteName;
use crate::presence::member::MemberKey;
use crate::presence::site::Order;
use crate::presence::time::Timestamp;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

/// What shown ids are made with.
#[derive(Clone)]
pub struct ShownIds([u8; 16]);

impl ShownIds {
    /// The ones that come of a site's secret.
    pub fn of(secret: &Secret) -> Self {
        Self(derived(secret, b"shown"))
    }

    /// What a member of a site is called in a list of guests or bots. A guest's key is another one each day from their first
    /// touch of the day on, and so is what a user is called who was seen last at `last_seen`.
    pub fn id(&self, site: &SiteName, key: MemberKey<&str>, last_seen: Timestamp) -> String {
        let day = match key {
            MemberKey::User(_) => last_seen.day(),
            MemberKey::Guest(_) | MemberKey::Bot(_) => 0,
        };
        let guest_key;
        let (kind, key): (&[u8], &[u8]) = match key {
            MemberKey::User(id) => (b"user", id.as_bytes()),
            MemberKey::Guest(key) => {
                guest_key = key.0.to_le_bytes();
                (b"guest", &guest_key)
            }
            MemberKey::Bot(key) => {
                guest_key = key.0.to_le_bytes();
                (b"bot", &guest_key)
            }
        };
        let digest = self.digest(&[b"id", site.as_str().as_bytes(), &day.to_le_bytes(), kind, key]);
        format!("g_{digest:016x}")
    }

    /// Makes a place in a list one that tells no more than the list does, which tells the time: the rest of it is a guest's own
    /// key, or a digest of a user's id that anybody can make. A Feistel network of four rounds, with SipHash for its function, is a
    /// permutation that nobody can tell from a random one (Luby and Rackoff, 1988).
    pub fn seal(&self, (at, digest): Order) -> Order {
        let halves = ((digest >> 32) as u32, digest as u32);
        let (left, right) = (0..4).fold(halves, |(left, right), round| (right, left ^ self.round(round, at, right)));
        (at, u64::from(left) << 32 | u64::from(right))
    }

    /// Reads what [`seal`](Self::seal) made. What a client made up is some place or other.
    pub fn open(&self, (at, digest): Order) -> Order {
        let halves = ((digest >> 32) as u32, digest as u32);
        let rounds = (0..4).rev();
        let (left, right) = rounds.fold(halves, |(left, right), round| (right ^ self.round(round, at, left), left));
        (at, u64::from(left) << 32 | u64::from(right))
    }

    fn round(&self, number: u8, at: Timestamp, half: u32) -> u32 {
        self.digest(&[b"cursor", &[number], &at.as_millis().to_le_bytes(), &half.to_le_bytes()]) as u32
    }

    fn digest(&self, parts: &[&[u8]]) -> u64 {
        let mut digest = SipHasher24::new_with_key(&self.0);
        parts.iter().for_each(|part| write_part(&mut digest, part));
        digest.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::GuestKey;
    use proptest::prelude::*;

    const DAY: i64 = 86_400_000;

    fn ids(secret: &[u8]) -> ShownIds {
        ShownIds::of(&Secret::new(secret))
    }

    fn site(name: &str) -> SiteName {
        SiteName::parse(name).unwrap()
    }

    #[test]
    fn an_id_is_of_one_member_of_one_site_and_a_users_of_one_day() {
        let (guest, at) = (MemberKey::Guest(GuestKey(7)), Timestamp::from_millis);
        let of = |secret: &[u8], name: &str, key, day: i64| ids(secret).id(&site(name), key, at(day * DAY));
        let secret = b"0123456789abcdef";
        let all = [
            of(secret, "a", guest, 1),
            of(secret, "a", MemberKey::Bot(GuestKey(7)), 1),
            of(secret, "a", MemberKey::Guest(GuestKey(8)), 1),
            of(secret, "b", guest, 1),
            of(b"fedcba9876543210", "a", guest, 1),
            of(secret, "a", MemberKey::User("sally"), 1),
            of(secret, "a", MemberKey::User("sally"), 2),
            of(secret, "a", MemberKey::User("bob"), 1),
            of(secret, "b", MemberKey::User("sally"), 1),
        ];
        let kinds: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(kinds.len(), all.len());
        assert!(all.iter().all(|id| id.len() == 18 && id.starts_with("g_")));
        assert_eq!(of(secret, "a", guest, 1), of(secret, "a", guest, 2), "their key changes with the day, by itself");
        assert!(!all[0].contains("0000000000000007"));
    }

    proptest! {
        #[test]
        fn a_place_is_read_back_and_looks_like_no_other(at in 0..9_999_999_999_999i64, digest: u64) {
            let (ids, at) = (ids(b"0123456789abcdef"), Timestamp::from_millis(at));
            let sealed = ids.seal((at, digest));
            prop_assert_eq!(ids.open(sealed), (at, digest));
            prop_assert_ne!(sealed.1, digest);
            // Two guests of one moment: neither half nor the difference of theirs is told.
            let next = ids.seal((at, digest ^ 1));
            prop_assert!(next.1 >> 32 != sealed.1 >> 32 && next.1 ^ sealed.1 != 1);
        }
    }
}

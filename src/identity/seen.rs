//! The word of one isolate to the others that it has recorded a visitor: a cookie that lives as long as a touch needs not
//! be sent again.
//!
//! It spares a touch that tells nothing but that somebody is still here, and no other. It names nobody: it holds a time, and
//! a digest of that time and of who was recorded, which is another one each time. Whoever replays theirs is seen again some
//! seconds later, and nobody can make one up, or use another visitor's.

use super::derived;
use crate::config::Secret;
use crate::presence::id::SiteName;
use crate::presence::member::Touch;
use crate::presence::time::{Seconds, Timestamp};
use siphasher::sip::SipHasher24;
use std::hash::{Hash, Hasher};
use subtle::ConstantTimeEq;

/// What such a word is made with.
#[derive(Clone)]
pub struct SeenSecret([u8; 16]);

impl SeenSecret {
    /// The one that comes of a site's secret.
    pub fn of(secret: &Secret) -> Self {
        Self(derived(secret, b"seen"))
    }

    /// The word that somebody was recorded now. SipHash as for guests, as it is made for pages too.
    pub fn mark<P>(&self, touch: &Touch<P>, site: &SiteName, now: Timestamp) -> String {
        let second = now.as_secs();
        format!("{second:x}.{:016x}", self.digest(touch, site, second))
    }

    /// When somebody was recorded as what a touch tells of them, if a word says so that is good still: for less than
    /// `resolution`.
    pub fn recorded_at<P>(
        &self,
        word: &str,
        touch: &Touch<P>,
        site: &SiteName,
        now: Timestamp,
        resolution: Seconds,
    ) -> Option<Timestamp> {
        let (second, digest) = word.split_once('.')?;
        let (second, digest) = (i64::from_str_radix(second, 16).ok()?, u64::from_str_radix(digest, 16).ok()?);
        // Nobody was recorded in the future.
        let age = now.as_secs().checked_sub(second).filter(|age| (0..i64::from(resolution.0)).contains(age))?;
        let genuine = self.digest(touch, site, second).to_be_bytes().ct_eq(&digest.to_be_bytes());
        bool::from(genuine).then(|| now.minus(Seconds(age as u32)))
    }

    fn digest<P>(&self, touch: &Touch<P>, site: &SiteName, second: i64) -> u64 {
        let mut digest = SipHasher24::new_with_key(&self.0);
        (second, site.as_str(), &touch.key, &touch.profile).hash(&mut digest);
        digest.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::{GuestKey, UserId};
    use crate::presence::member::{MemberKey, Profile};
    use proptest::prelude::*;

    const RESOLUTION: Seconds = Seconds(30);

    fn secret(text: &[u8]) -> SeenSecret {
        SeenSecret::of(&Secret::new(text))
    }

    fn site(name: &str) -> SiteName {
        SiteName::parse(name).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis((1_795_203_180 + second) * 1000)
    }

    fn touch(key: MemberKey) -> Touch {
        Touch::of(key)
    }

    fn guest(number: u64) -> Touch {
        touch(MemberKey::Guest(GuestKey(number)))
    }

    #[test]
    fn it_is_good_for_one_visitor_of_one_site_as_they_were_and_for_the_resolution() {
        let keeper = secret(b"0123456789abcdef");
        let word = keeper.mark(&guest(1), &site("a"), at(0));
        let said = |touch: &Touch, name: &str, now| keeper.recorded_at(&word, touch, &site(name), now, RESOLUTION);
        assert_eq!(said(&guest(1), "a", at(0)), Some(at(0)));
        assert_eq!(said(&guest(1), "a", at(29)), Some(at(0)));
        for (touch, name, now) in [
            (guest(1), "a", at(30)),
            (guest(1), "a", at(-1)),
            (guest(1), "b", at(0)),
            (guest(2), "a", at(0)),
            (touch(MemberKey::Bot(GuestKey(1))), "a", at(0)),
            (touch(MemberKey::User(UserId::parse("sally").unwrap())), "a", at(0)),
            (Touch { profile: Some(Profile::default()), ..guest(1) }, "a", at(0)),
        ] {
            assert_eq!(said(&touch, name, now), None, "{touch:?} of {name} at {now:?}");
        }
        let other = secret(b"fedcba9876543210");
        assert_eq!(other.recorded_at(&word, &guest(1), &site("a"), at(0), RESOLUTION), None);
        assert_eq!(keeper.recorded_at(&word, &guest(1), &site("a"), at(0), Seconds(0)), None);
    }

    #[test]
    fn it_names_nobody_and_is_another_one_each_time() {
        let keeper = secret(b"0123456789abcdef");
        let digest = |second| keeper.mark(&guest(1), &site("a"), at(second)).split_once('.').unwrap().1.to_owned();
        assert_ne!(digest(0), digest(1));
    }

    proptest! {
        #[test]
        fn whatever_a_client_makes_up_says_nothing(word in ".{0,40}|[0-9a-f]{8}\\.[0-9a-f]{16}") {
            let keeper = secret(b"0123456789abcdef");
            prop_assert_eq!(keeper.recorded_at(&word, &guest(1), &site("a"), at(0), RESOLUTION), None);
        }
    }
}

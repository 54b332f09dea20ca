//! What ends the past: since when what was issued to a user before is worth nothing, and what they may do then.
//!
//! A cookie or a token says who somebody was when it was made. It is judged by what is known of the user's account now.

use super::access::Standing;
use super::permission::Right;
use super::{Known, User};
use crate::presence::id::{DeviceId, UserId};
use crate::presence::member::Evidence;
use crate::presence::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Of so many of a user's devices at the most it is known since when.
pub const MAX_DEVICES: usize = 1000;

/// Since when what was issued to a user before is worth nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotBefore {
    /// Any cookie or token.
    pub everywhere: Option<Timestamp>,
    /// The permissions in it.
    pub permissions: Option<Timestamp>,
    /// Those of a device.
    pub devices: Vec<(DeviceId, Timestamp)>,
}

/// What is known of a user's account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What is granted to them.
    pub granted: Vec<Right>,
    /// Since when what they were issued before is worth nothing.
    pub not_before: NotBefore,
}

/// What the site has said of a user that their account is to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// They have signed out, on one device or on all of them.
    SignOut(UserId, Option<DeviceId>),
    /// These are their permissions. Where they were others before, those in older cookies and tokens are worth nothing.
    Permissions(UserId, Vec<Right>),
}

impl Change {
    /// Whose account it is about.
    pub fn user(&self) -> &UserId {
        match self {
            Self::SignOut(user, _) | Self::Permissions(user, _) => user,
        }
    }
}

impl NotBefore {
    /// What is kept of it: on all devices, and on some of them, the latest first. Of more devices than are told apart, what was
    /// issued before is worth nothing on any.
    pub fn of(kept: impl IntoIterator<Item = (Option<DeviceId>, Timestamp)>, permissions: Option<Timestamp>) -> Self {
        let mut not_before = Self { permissions, ..Self::default() };
        for (device, at) in kept {
            match device.filter(|_| not_before.devices.len() < MAX_DEVICES) {
                Some(device) => not_before.devices.push((device, at)),
                None => not_before.everywhere = not_before.everywhere.max(Some(at)),
            }
        }
        not_before
    }

    /// Whether a token is worth nothing that was issued then, on that device. Looked-up logins have no time of issue: they
    /// are ended where they are kept.
    pub fn revokes(&self, evidence: Evidence) -> bool {
        let device = self.devices.iter().find(|(device, _)| Some(*device) == evidence.device).map(|(_, at)| *at);
        let since = self.everywhere.max(device);
        evidence.issued.is_some_and(|issued| since.is_some_and(|since| issued < since))
    }

    /// What is left of who somebody is known to be: nobody, where the token was revoked, and nothing that they may do, where
    /// its permissions were. The next page that names them gives them a new cookie then.
    pub fn judge(&self, known: Known) -> Option<Known> {
        let evidence = known.evidence();
        match known {
            _ if self.revokes(evidence) => None,
            Known::Signed(mut claims) if self.revokes_permissions(evidence) => {
                claims.user.perms.clear();
                Some(Known::Signed(claims))
            }
            known => Some(known),
        }
    }

    fn revokes_permissions(&self, evidence: Evidence) -> bool {
        evidence.issued.is_some_and(|issued| self.permissions.is_some_and(|since| issued < since))
    }
}

impl Standing {
    /// What a user may do who is known by that evidence, by what is known of their account. Where that cannot be asked for or
    /// read, a token is worth nothing and nothing is granted, but that is not sure.
    pub fn of(user: User, evidence: Evidence, account: Option<&Account>) -> Self {
        let Some(Account { granted, not_before }) = account else {
            let user = evidence.issued.is_none().then_some(user);
            return Self { user, uncertain: true, ..Self::default() };
        };
        if not_before.revokes(evidence) {
            return Self::default();
        }
        let perms = if not_before.revokes_permissions(evidence) { Vec::new() } else { user.perms };
        Self { admin: false, user: Some(User { perms, ..user }), granted: granted.clone(), uncertain: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_795_203_180_000 + seconds * 1000)
    }

    fn token(issued: Timestamp, device: Option<u64>) -> Evidence {
        Evidence { said: None, issued: Some(issued), device: device.map(DeviceId) }
    }

    fn sally() -> User {
        User { id: UserId::parse("sally").unwrap(), profile: None, perms: Right::parse_all(["can_edit"]) }
    }

    /// Whether they are known, and whether they may edit.
    fn standing(evidence: Evidence, not_before: NotBefore) -> (bool, bool) {
        let standing = Standing::of(sally(), evidence, Some(&Account { granted: Vec::new(), not_before }));
        (standing.user.is_some(), standing.may(&Right::parse("can_edit").unwrap()))
    }

    #[test]
    fn what_was_issued_before_is_worth_nothing_and_what_was_issued_since_is() {
        let everywhere = || NotBefore { everywhere: Some(at(10)), ..NotBefore::default() };
        let device = || NotBefore { devices: vec![(DeviceId(7), at(10))], ..NotBefore::default() };
        let permissions = || NotBefore { permissions: Some(at(10)), ..NotBefore::default() };
        let never = Timestamp::default();
        for (what, evidence, not_before, expected) in [
            ("nothing was revoked", token(at(9), Some(7)), NotBefore::default(), (true, true)),
            ("everywhere", token(at(9), Some(7)), everywhere(), (false, false)),
            ("everywhere, without a device", token(at(9), None), everywhere(), (false, false)),
            ("everywhere, without a time of issue", token(never, None), everywhere(), (false, false)),
            ("since", token(at(10), Some(7)), everywhere(), (true, true)),
            ("on that device", token(at(9), Some(7)), device(), (false, false)),
            ("on another device", token(at(9), Some(8)), device(), (true, true)),
            ("on no device that is known", token(at(9), None), device(), (true, true)),
            ("permissions", token(at(9), Some(7)), permissions(), (true, false)),
            ("permissions since", token(at(11), Some(7)), permissions(), (true, true)),
            ("a login that was looked up", Evidence::default(), everywhere(), (true, true)),
        ] {
            assert_eq!(standing(evidence, not_before), expected, "{what}");
        }
    }

    #[test]
    fn where_the_account_cannot_be_asked_for_a_token_is_worth_nothing() {
        let unsure = Standing { uncertain: true, ..Standing::default() };
        assert_eq!(Standing::of(sally(), token(at(9), None), None), unsure);
        let by_login = Standing::of(sally(), Evidence::default(), None);
        assert_eq!(by_login, Standing { user: Some(sally()), ..unsure });
    }

    #[test]
    fn of_more_devices_than_are_told_apart_none_is_let_in_that_may_have_been_signed_out() {
        let signed_out = |count: u64| {
            let devices = (0..count).map(|number| (Some(DeviceId(number)), at(5000 - number as i64)));
            NotBefore::of([(None, at(10))].into_iter().chain(devices), None)
        };
        let all = signed_out(1000);
        assert_eq!((all.everywhere, all.devices.len()), (Some(at(10)), 1000));
        assert!(all.revokes(token(at(4000), Some(999))) && !all.revokes(token(at(4000), Some(1000))));
        let more = signed_out(1001);
        assert_eq!((more.everywhere, more.devices.len()), (Some(at(4000)), 1000));
        assert!(more.revokes(token(at(3999), Some(1000))));
    }
}

//! What a request means for presence: whom it touches, who signs in or out by it, and what becomes of the cookie.

use super::access::Access;
use super::origin::OriginClaim;
use super::revocation::Change;
use super::{Asker, Keys, Known, User};
use crate::http::report::Seen;
use crate::presence::id::TabId;
use crate::presence::member::{Evidence, MemberKey, Signal, Touch};
use crate::presence::time::{Seconds, Timestamp};

/// For how long our cookie is good. The origin names its users on every page, so it is renewed long before.
pub const COOKIE_LIFE: Seconds = Seconds(86_400);

/// What becomes of the cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CookieChange {
    /// The browser is given this token.
    Keep(String),
    /// The browser is to forget it.
    Clear,
}

/// What a request means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visit {
    /// What is to be recorded.
    pub signals: Vec<Signal>,
    /// What becomes of the cookie, if anything.
    pub cookie: Option<CookieChange>,
    /// What the accounts of users are to know of it.
    pub changes: Vec<Change>,
}

/// Who a request is from, with all that is needed to find out.
pub struct Visitor<'a> {
    /// What the request says.
    pub asker: &'a Asker,
    /// The user that it shows, if any.
    pub known: Option<&'a Known>,
    /// The site's keys.
    pub keys: &'a Keys,
    /// Who may do what.
    pub access: &'a Access,
    /// The time.
    pub now: Timestamp,
    /// For how long a touch counts.
    pub window: Seconds,
}

impl Visitor<'_> {
    /// A page that the origin answered, saying so much of who it answered.
    pub fn page(&self, claim: OriginClaim, seen: Seen) -> Visit {
        match claim {
            OriginClaim::User(user) => self.named(user, seen),
            OriginClaim::Nobody => self.signed_out(seen),
            OriginClaim::Nothing => Visit { signals: self.touch(seen), ..Visit::default() },
        }
    }

    /// A touch by whoever the request itself shows to be.
    pub fn touch(&self, seen: Seen) -> Vec<Signal> {
        match self.known {
            None => vec![self.stranger_touch(seen)],
            Some(known @ Known::LoggedIn { user, first: true, .. }) => {
                self.signed_in(user.clone(), known.evidence(), seen)
            }
            Some(known) => vec![user_touch(known.user().clone(), None, known.evidence(), seen)],
        }
    }

    /// A page of whoever the request shows to be is being closed.
    pub fn leave(&self, tab: Option<TabId>) -> Signal {
        let key = match self.known {
            Some(known) => MemberKey::User(known.user().id.clone()),
            None => self.asker.stranger(self.keys, self.now),
        };
        Signal::Leave { key, tab }
    }

    /// The origin names a user. Our cookie is made anew where it is old, or says otherwise what they may do and how they are
    /// shown; their account is to know then what that is.
    fn named(&self, user: User, seen: Seen) -> Visit {
        let signed = match self.known {
            Some(Known::Signed(claims)) => Some(claims),
            _ => None,
        };
        // What administrates is said with each answer, and kept nowhere.
        let kept = User { perms: self.access.for_cookie(&user.perms), ..user.clone() };
        let half_life = Seconds(COOKIE_LIFE.0 / 2);
        let own = signed.filter(|claims| claims.user.id == user.id);
        let device = own.and_then(|claims| claims.device);
        let good = device.is_some()
            && own.is_some_and(|claims| claims.user == kept && claims.until > self.now.plus(half_life));
        // The same for a browser that lost its cookie, or never sends it back.
        let new_device = || self.asker.device_without_cookie(self.keys, self.now);
        let (mut cookie, mut changes, mut signals) = (None, Vec::new(), Vec::with_capacity(2));
        if !good {
            let until = self.now.plus(COOKIE_LIFE);
            let device = device.unwrap_or_else(new_device);
            cookie = self.keys.sign(&kept, device, &self.asker.site, self.now, until).map(CookieChange::Keep);
            changes.push(Change::Permissions(user.id.clone(), user.perms.clone()));
        }
        if let Some(other) = self.known.filter(|known| known.user().id != user.id) {
            self.sign_out(other, &mut signals, &mut changes);
        }
        let evidence = Evidence { device: Some(device.unwrap_or_else(new_device)), ..Evidence::default() };
        match signed {
            // Who comes without our cookie was a guest, or a bot, a moment ago. The site says that they are here, whatever was asked for.
            None => signals.extend(self.signed_in(user, evidence, Seen { arrives: true, ..seen })),
            // So is who was another user until now.
            Some(claims) => {
                let arrives = seen.arrives || claims.user.id != user.id;
                signals.push(user_touch(user, None, evidence, Seen { arrives, ..seen }));
            }
        }
        Visit { signals, cookie, changes }
    }

    fn signed_out(&self, seen: Seen) -> Visit {
        let cookie = self.asker.has_cookie().then_some(CookieChange::Clear);
        let (mut signals, mut changes) = (Vec::with_capacity(2), Vec::new());
        self.known.iter().for_each(|known| self.sign_out(known, &mut signals, &mut changes));
        match self.known {
            // They are a guest again from their next request on, which comes without our cookie.
            Some(Known::Signed(_)) => {}
            // A login may be good for another application still, and then comes again with each request.
            Some(Known::LoggedIn { .. }) | None => signals.push(self.stranger_touch(seen)),
        }
        Visit { signals, cookie, changes }
    }

    /// Somebody is signed out on the device that the request names, and on those of the logins that it bears. What was issued
    /// to it is worth nothing from then on; a login is ended where it is kept.
    fn sign_out(&self, known: &Known, signals: &mut Vec<Signal>, changes: &mut Vec<Change>) {
        let (user, device) = (known.user().id.clone(), known.evidence().device);
        if matches!(known, Known::Signed(_)) {
            changes.push(Change::SignOut(user.clone(), device));
        }
        let of_logins = self.asker.logins.iter().map(|login| Some(login.digest().device()));
        let of_logins = of_logins.filter(|other| device.is_some() && *other != device);
        let all = of_logins.chain([device]);
        signals.extend(all.map(|device| Signal::SignOut { user: user.clone(), device }));
    }

    /// A user who may have been a stranger until now.
    fn signed_in(&self, user: User, evidence: Evidence, seen: Seen) -> Vec<Signal> {
        let mut signals = Vec::with_capacity(2);
        if self.before().day() < self.now.day() {
            // Who was a guest before midnight is made the guest of today first, so that `was` finds them.
            signals.push(self.stranger_touch(Seen::default()));
        }
        signals.push(user_touch(user, Some(self.asker.stranger(self.keys, self.now)), evidence, seen));
        signals
    }

    /// The earliest moment at which somebody who is online may have been touched last.
    fn before(&self) -> Timestamp {
        self.now.minus(self.window)
    }

    fn stranger_touch(&self, seen: Seen) -> Signal {
        let key = self.asker.stranger(self.keys, self.now);
        // After midnight they may still be online by the key of the day before.
        let before = self.before();
        let was = (before.day() < self.now.day()).then(|| self.asker.stranger(self.keys, before));
        Signal::Touch(Touch {
            key,
            was,
            profile: None,
            said: None,
            place: seen.place,
            tab: seen.tab,
            state: seen.state,
            arrives: seen.arrives,
        })
    }
}

fn user_touch(user: User, was: Option<MemberKey>, evidence: Evidence, seen: Seen) -> Signal {
    let (key, profile, said) = (MemberKey::User(user.id), user.profile, Some(evidence));
    let Seen { place, tab, state, arrives } = seen;
    Signal::Touch(Touch { key, was, profile, said, place, tab, state, arrives })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::identity::login::CookieNames;
    use crate::identity::permission::Right;
    use crate::presence::id::{DeviceId, Name, SiteName, UserId};
    use crate::presence::member::Profile;

    const NOON: i64 = 1_795_176_000_000;
    const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0";

    fn keys() -> Keys {
        Keys::new(vec![Secret::new(*b"0123456789abcdef")]).unwrap()
    }

    fn asker(headers: &[(&str, &str)]) -> Asker {
        let mut all = vec![("user-agent", BROWSER), ("cf-connecting-ip", "10.0.0.1")];
        all.extend_from_slice(headers);
        let names = CookieNames { session: "session".into(), sign_on: "sign_on".into() };
        Asker::of(&all.as_slice(), SiteName::parse("example.com").unwrap(), false, &names)
    }

    fn at(asker: &Asker, millis: i64, said: OriginClaim) -> Visit {
        let now = Timestamp::from_millis(millis);
        let known = asker.tokens().find_map(|(token, _)| keys().verify(token, &asker.site, now)).map(Known::Signed);
        known_at(asker, known, millis, said)
    }

    fn known_at(asker: &Asker, known: Option<Known>, millis: i64, said: OriginClaim) -> Visit {
        let now = Timestamp::from_millis(millis);
        let (keys, access) = (keys(), Access::default());
        let (known, window) = (known.as_ref(), Seconds(330));
        let visitor = Visitor { asker, known, keys: &keys, access: &access, now, window };
        visitor.page(said, Seen::default())
    }

    fn user(id: &str) -> User {
        let profile = Profile { name: Name::parse(id).ok(), ..Profile::default() };
        User { id: UserId::parse(id).unwrap(), profile: Some(profile), perms: vec![] }
    }

    /// As what the device of these tests is known that sends no cookie.
    fn without_cookie() -> DeviceId {
        asker(&[]).device_without_cookie(&keys(), Timestamp::from_millis(NOON))
    }

    fn sally_is_out(device: Option<DeviceId>) -> Signal {
        Signal::SignOut { user: UserId::parse("sally").unwrap(), device }
    }

    fn touched(visit: &Visit) -> &Touch {
        match visit.signals.last() {
            Some(Signal::Touch(touch)) => touch,
            other => panic!("a touch, not {other:?}"),
        }
    }

    fn cookie_of(visit: &Visit) -> String {
        match &visit.cookie {
            Some(CookieChange::Keep(token)) => format!("presence={token}"),
            other => panic!("a cookie, not {other:?}"),
        }
    }

    #[test]
    fn a_guest_who_signs_in_is_known_by_the_cookie_from_then_on() {
        let guest = at(&asker(&[]), NOON, OriginClaim::Nothing);
        let guest_key = touched(&guest).key.clone();
        let signed_in = at(&asker(&[]), NOON, OriginClaim::User(user("sally")));
        assert!(matches!(guest_key, MemberKey::Guest(_)));
        assert_eq!(touched(&signed_in).was, Some(guest_key));
        let cookie = cookie_of(&signed_in);
        let widget = at(&asker(&[("cookie", &cookie)]), NOON + 1000, OriginClaim::Nothing);
        assert_eq!(touched(&widget).key, MemberKey::User(UserId::parse("sally").unwrap()));
        assert_eq!(touched(&widget).profile, user("sally").profile);
        let page = at(&asker(&[("cookie", &cookie)]), NOON + 1000, OriginClaim::User(user("sally")));
        assert_eq!(
            (page.cookie.as_ref(), touched(&page).was.as_ref()),
            (None, None),
            "nothing to renew, nobody superseded"
        );
    }

    #[test]
    fn the_cookie_is_renewed_at_half_its_life_and_when_the_user_changed() {
        let cookie = cookie_of(&at(&asker(&[]), NOON, OriginClaim::User(user("sally"))));
        let later = NOON + 12 * 3_600_000 + 1;
        assert!(at(&asker(&[("cookie", &cookie)]), later, OriginClaim::User(user("sally"))).cookie.is_some());
        let renamed = User { perms: Right::parse_all(["can_edit"]), ..user("sally") };
        assert!(at(&asker(&[("cookie", &cookie)]), NOON, OriginClaim::User(renamed)).cookie.is_some());
        let other = at(&asker(&[("cookie", &cookie)]), NOON, OriginClaim::User(user("bob")));
        assert_eq!(other.signals[..1], [sally_is_out(Some(without_cookie()))]);
        assert_eq!(other.signals.len(), 2);
    }

    #[test]
    fn a_cookie_keeps_its_device_when_it_is_renewed_and_holds_nothing_that_administrates() {
        let admin = || User { perms: Right::parse_all(["admin", "can_edit"]), ..user("sally") };
        let first = at(&asker(&[]), NOON, OriginClaim::User(admin()));
        let named = Change::Permissions(admin().id, admin().perms);
        assert_eq!((touched(&first).device(), &first.changes), (Some(without_cookie()), &vec![named]));
        let cookie = cookie_of(&first);
        let claims = |cookie: &str, now| {
            let token = cookie.strip_prefix("presence=").unwrap();
            keys().verify(token, &asker(&[]).site, Timestamp::from_millis(now)).unwrap()
        };
        assert_eq!(claims(&cookie, NOON).user.perms, Right::parse_all(["can_edit"]));
        let page = at(&asker(&[("cookie", &cookie)]), NOON + 1000, OriginClaim::User(admin()));
        assert_eq!((&page.cookie, &page.changes), (&None, &vec![]), "it is good for who may more than it says");
        assert_eq!(touched(&page).device(), Some(without_cookie()));
        let demoted = at(&asker(&[("cookie", &cookie)]), NOON + 2000, OriginClaim::User(user("sally")));
        assert_eq!(demoted.changes, [Change::Permissions(user("sally").id, vec![])]);
        let renewed = claims(&cookie_of(&demoted), NOON + 2000);
        assert_eq!(
            (renewed.device, renewed.since),
            (Some(without_cookie()), Some(Timestamp::from_millis(NOON + 2000)))
        );
    }

    #[test]
    fn a_sign_out_names_the_device_and_ends_its_cookie() {
        let cookie = cookie_of(&at(&asker(&[]), NOON, OriginClaim::User(user("sally"))));
        let ended = [Change::SignOut(user("sally").id, Some(without_cookie()))];
        let asker = asker(&[("cookie", &cookie)]);
        assert_eq!(at(&asker, NOON, OriginClaim::Nobody).changes, ended);
        assert_eq!(at(&asker, NOON, OriginClaim::User(user("bob"))).changes[1..], ended);
        let by_login = Some(Known::LoggedIn { user: user("sally"), first: false, device: DeviceId(9) });
        let out = known_at(&asker, by_login, NOON, OriginClaim::Nobody);
        assert_eq!(
            (&out.changes, &out.signals[0]),
            (&vec![], &sally_is_out(Some(DeviceId(9)))),
            "it ends where it is kept"
        );
    }

    #[test]
    fn whom_the_site_newly_names_is_here_whatever_was_asked_for() {
        let sally = at(&asker(&[]), NOON, OriginClaim::User(user("sally")));
        let cookie = cookie_of(&sally);
        let asker = asker(&[("cookie", &cookie)]);
        let again = at(&asker, NOON, OriginClaim::User(user("sally")));
        let bob = at(&asker, NOON, OriginClaim::User(user("bob")));
        assert_eq!([&sally, &again, &bob].map(|visit| touched(visit).arrives), [true, false, true]);
    }

    #[test]
    fn who_signs_out_is_gone_at_once_and_a_guest_at_the_next_request() {
        let cookie = cookie_of(&at(&asker(&[]), NOON, OriginClaim::User(user("sally"))));
        let out = at(&asker(&[("cookie", &cookie)]), NOON, OriginClaim::Nobody);
        assert_eq!(out.signals, [sally_is_out(Some(without_cookie()))]);
        assert_eq!(out.cookie, Some(CookieChange::Clear));
        let next = at(&asker(&[]), NOON, OriginClaim::Nobody);
        assert!(matches!(touched(&next).key, MemberKey::Guest(_)));
        assert_eq!(next.cookie, None);
    }

    #[test]
    fn a_forged_cookie_is_a_guests_and_is_cleared_when_nobody_is_signed_in() {
        let forged = [("cookie", "presence=eyJhbGciOiJub25lIn0.eyJzdWIiOiJzYWxseSJ9.")];
        assert!(matches!(touched(&at(&asker(&forged), NOON, OriginClaim::Nothing)).key, MemberKey::Guest(_)));
        assert_eq!(at(&asker(&forged), NOON, OriginClaim::Nobody).cookie, Some(CookieChange::Clear));
    }

    #[test]
    fn a_client_cannot_name_itself() {
        let request = [("x-presence-user", "sally"), ("x-presence-name", "Sally")];
        assert!(matches!(touched(&at(&asker(&request), NOON, OriginClaim::Nothing)).key, MemberKey::Guest(_)));
    }

    #[test]
    fn after_midnight_a_guest_is_who_they_were_before() {
        let midnight = 1_795_219_200_000;
        let before = touched(&at(&asker(&[]), midnight - 1000, OriginClaim::Nothing)).key.clone();
        let visit = at(&asker(&[]), midnight + 1000, OriginClaim::Nothing);
        let after = touched(&visit);
        assert_ne!(after.key, before);
        assert_eq!(after.was, Some(before));
        assert_eq!(touched(&at(&asker(&[]), midnight + 331_000, OriginClaim::Nothing)).was, None);
    }

    #[test]
    fn a_guest_of_yesterday_who_signs_in_is_found() {
        let midnight = 1_795_219_200_000;
        let before = touched(&at(&asker(&[]), midnight - 10_000, OriginClaim::Nothing)).key.clone();
        let visit = at(&asker(&[]), midnight + 10_000, OriginClaim::User(user("sally")));
        let Some(Signal::Touch(first)) = visit.signals.first() else { panic!("a touch") };
        assert_eq!(first.was.as_ref(), Some(&before));
        assert_eq!(touched(&visit).was.as_ref(), Some(&first.key));
    }

    #[test]
    fn of_two_cookies_of_one_name_the_genuine_one_counts() {
        let good = cookie_of(&at(&asker(&[]), NOON, OriginClaim::User(user("sally"))));
        let both = format!("presence=forged; {good}");
        let visit = at(&asker(&[("cookie", &both)]), NOON, OriginClaim::Nothing);
        assert_eq!(touched(&visit).key, MemberKey::User(UserId::parse("sally").unwrap()));
    }

    #[test]
    fn who_is_logged_in_was_a_guest_only_when_that_is_first_seen() {
        let guest = touched(&at(&asker(&[]), NOON, OriginClaim::Nothing)).key.clone();
        let logged_in = |first| {
            let user = User { profile: None, ..user("sally") };
            Some(Known::LoggedIn { user, first, device: DeviceId(9) })
        };
        let first = known_at(&asker(&[]), logged_in(true), NOON, OriginClaim::Nothing);
        assert_eq!(touched(&first).was, Some(guest));
        assert_eq!((touched(&first).profile.as_ref(), first.cookie.as_ref()), (None, None), "how they are shown stays");
        let next = known_at(&asker(&[]), logged_in(false), NOON, OriginClaim::Nothing);
        assert_eq!((&touched(&next).key, &touched(&next).was), (&touched(&first).key, &None));
    }

    #[test]
    fn the_origins_word_counts_for_more_than_a_login() {
        let logged_in = || Some(Known::LoggedIn { user: user("sally"), first: false, device: DeviceId(9) });
        let other = known_at(&asker(&[]), logged_in(), NOON, OriginClaim::User(user("bob")));
        assert_eq!(other.signals[0], sally_is_out(Some(DeviceId(9))));
        assert_eq!(touched(&other).key, MemberKey::User(UserId::parse("bob").unwrap()));
        let nobody = known_at(&asker(&[]), logged_in(), NOON, OriginClaim::Nobody);
        assert_eq!(nobody.signals[0], sally_is_out(Some(DeviceId(9))));
        assert!(matches!(touched(&nobody).key, MemberKey::Guest(_)), "or they would never be counted here");
    }
}

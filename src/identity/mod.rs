//! Who is asking: a user by the origin's word, by a signature or by a login that is kept, else a guest or a bot by a
//! keyed digest; and what they may do.
//!
//! Pure, given its keys and the time. A client's own word is never taken for a user: not a header, not a key that it
//! chose, not a token of another site.

pub mod access;
pub mod bot;
pub mod cookies;
pub mod guest;
pub mod login;
pub mod lookups;
pub mod memory;
pub mod origin;
pub mod permission;
pub mod revocation;
pub mod seen;
pub mod shown;
pub mod throttle;
pub mod token;
pub mod unplaced;
pub mod visit;

use crate::config::Secret;
use crate::http::Headers;
use crate::presence::id::{ClientId, DeviceId, SiteName, UserId};
use crate::presence::member::{Evidence, MemberKey, Profile};
use crate::presence::time::Timestamp;
use guest::GuestSecret;
use hmac::{Hmac, Mac};
use login::{Basic, CookieNames, Login};
use permission::Right;
use seen::SeenSecret;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use shown::ShownIds;
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use subtle::ConstantTimeEq;
use token::Claims;

/// A user, and how they are to be treated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// How they are shown; `None` where nothing is said of that.
    pub profile: Option<Profile>,
    /// What they may do.
    pub perms: Vec<Right>,
}

/// How a request shows who its user is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// By a token of ours, or of an application that has our key.
    Signed(Claims),
    /// By a login that was looked up.
    LoggedIn {
        /// Who it is.
        user: User,
        /// Whether it was looked up just now: a moment ago they may have been a guest here.
        first: bool,
        /// What stands for the device that it was made on.
        device: DeviceId,
    },
}

impl Known {
    /// What that rests on. A cookie may be older than what they have said since of how they are shown; of a login nobody
    /// knows. A token that does not say when it was issued was issued before everything.
    pub fn evidence(&self) -> Evidence {
        match self {
            Self::Signed(claims) => {
                Evidence { said: claims.since, issued: Some(claims.since.unwrap_or_default()), device: claims.device }
            }
            Self::LoggedIn { device, .. } => {
                Evidence { said: Some(Timestamp::default()), issued: None, device: Some(*device) }
            }
        }
    }

    /// Who it is.
    pub fn user(&self) -> &User {
        match self {
            Self::Signed(claims) => &claims.user,
            Self::LoggedIn { user, .. } => user,
        }
    }
}

/// Everything about a request that says who sent it.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Whose presence this is about.
    pub site: SiteName,
    /// The client's address; empty where nobody tells it.
    pub address: String,
    /// The browser; empty where it does not say.
    pub user_agent: String,
    /// A token in the `Authorization` header.
    pub bearer: Option<String>,
    /// What stands in our cookie; there may be several of one name.
    pub cookies: Vec<String>,
    /// What stands in the cookie by which an isolate says that it has recorded them.
    pub seen: Option<String>,
    /// The logins that its cookies may stand for.
    pub logins: Vec<Login>,
    /// A name and a password.
    pub basic: Option<Basic>,
}

impl Asker {
    /// Reads what a request says of its sender.
    pub fn of(request: &impl Headers, site: SiteName, secure: bool, names: &CookieNames) -> Self {
        let authorization = request.get("authorization");
        let bearer = authorization.as_ref().and_then(|value| {
            let (scheme, token) = value.trim().split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        let cookies = request.get("cookie").unwrap_or_default();
        Self {
            site,
            address: request.get("cf-connecting-ip").unwrap_or_default(),
            user_agent: request.get("user-agent").unwrap_or_default(),
            bearer,
            cookies: cookies::ours(&cookies, secure),
            seen: cookies::seen(&cookies, secure),
            logins: Login::of_cookies(&cookies, names),
            basic: authorization.as_deref().and_then(Basic::parse),
        }
    }

    /// Whether the request bears anything that may show who its user is.
    pub fn has_credentials(&self) -> bool {
        self.bearer.is_some() || !self.cookies.is_empty() || self.has_logins()
    }

    /// Whether it bears anything that has to be looked up.
    pub fn has_logins(&self) -> bool {
        !self.logins.is_empty() || self.basic.is_some()
    }

    /// Whether it bears the admin token. Compared in a time that does not tell how much of it was right.
    pub fn is_admin(&self, token: Option<&Secret>) -> bool {
        match (&self.bearer, token) {
            (Some(bearer), Some(token)) => bearer.as_bytes().ct_eq(token.bytes()).into(),
            _ => false,
        }
    }

    /// Whose request it is, as far as the address tells: what is limited by client is counted by that.
    pub fn client(&self, keys: &Keys, now: Timestamp) -> ClientId {
        guest::client(&keys.guests, now.day(), &self.site, &self.address)
    }

    /// The device that this is while its browser has no cookie of ours: a keyed digest of address and browser, of the day.
    /// Nobody without the key can tell which guest that is.
    pub fn device_without_cookie(&self, keys: &Keys, now: Timestamp) -> DeviceId {
        let browser = format!("device {}", self.user_agent);
        DeviceId(guest::key(&keys.guests, now.day(), &self.site, &self.address, &browser).0)
    }

    /// What may be a token of ours, in the order in which it counts, and whether it stands in our cookie.
    pub fn tokens(&self) -> impl Iterator<Item = (&String, bool)> {
        let by_cookie = self.cookies.iter().map(|token| (token, true));
        self.bearer.iter().map(|token| (token, false)).chain(by_cookie)
    }

    /// Whether the request bears a cookie of ours, good or bad.
    pub fn has_cookie(&self) -> bool {
        !self.cookies.is_empty()
    }

    /// The guest, or the bot, that this is when it is no user.
    pub fn stranger(&self, keys: &Keys, now: Timestamp) -> MemberKey {
        let key = guest::key(&keys.guests, now.day(), &self.site, &self.address, &self.user_agent);
        if bot::is_bot(&self.user_agent) { MemberKey::Bot(key) } else { MemberKey::Guest(key) }
    }
}

/// The keys of a site, newest first. There is always one.
#[derive(Clone)]
pub struct Keys {
    newest: Secret,
    older: Vec<Secret>,
    guests: GuestSecret,
    /// With which isolates tell each other whom they have recorded.
    pub seen: SeenSecret,
    /// By which guests are shown.
    pub shown: ShownIds,
}

impl Keys {
    /// The keys, if there are any.
    pub fn new(secrets: Vec<Secret>) -> Option<Self> {
        let mut secrets = secrets.into_iter();
        let newest = secrets.next()?;
        let (guests, seen) = (GuestSecret::of(&newest), SeenSecret::of(&newest));
        let shown = ShownIds::of(&newest);
        Some(Self { guests, seen, shown, newest, older: secrets.collect() })
    }

    /// Signs for a user of a site on a device, until `until`.
    pub fn sign(
        &self,
        user: &User,
        device: DeviceId,
        site: &SiteName,
        now: Timestamp,
        until: Timestamp,
    ) -> Option<String> {
        token::sign(&self.newest, user, device, site, now, until)
    }

    /// Verifies a token against each key.
    pub fn verify(&self, token: &str, site: &SiteName, now: Timestamp) -> Option<Claims> {
        std::iter::once(&self.newest).chain(&self.older).find_map(|key| token::verify(key, token, site, now))
    }
}

/// 128 bits that come of a site's secret for one purpose, and of which nobody can tell it.
fn derived(secret: &Secret, purpose: &[u8]) -> [u8; 16] {
    let mut key = [0; 16];
    // HMAC takes keys of any length.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.bytes()) {
        mac.update(purpose);
        key.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(byte, digest)| *byte = digest);
    }
    key
}

/// Digests one of several parts together with its length, so that no two lists of parts read alike. `Hash` would not do: it digests
/// lengths as wide as the platform's pointers, and what comes out must be the same everywhere.
fn write_part(digest: &mut SipHasher24, part: &[u8]) {
    digest.write(&(part.len() as u64).to_be_bytes());
    digest.write(part);
}

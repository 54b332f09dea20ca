//! Who is asking: a user by the origin's word or by a signature, else a guest or a bot by a keyed digest.
//!
//! Pure, given its keys and the time. A client's own word is never taken for a user: not a header, not a key that it
//! chose, not a token of another site.

pub mod bot;
pub mod cookies;
pub mod guest;
pub mod origin;
pub mod token;
pub mod visit;

use crate::config::Secret;
use crate::http::Headers;
use crate::presence::id::{SiteName, UserId};
use crate::presence::member::{MemberKey, Profile};
use crate::presence::time::Timestamp;
use token::Claims;

/// A user, and how they are to be treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// How they are shown.
    pub profile: Profile,
    /// What they may do.
    pub perms: Vec<String>,
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
}

impl Asker {
    /// Reads what a request says of its sender.
    pub fn of(request: &impl Headers, site: SiteName, secure: bool) -> Self {
        let bearer = request.get("authorization").and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
        });
        Self {
            site,
            address: request.get("cf-connecting-ip").unwrap_or_default(),
            user_agent: request.get("user-agent").unwrap_or_default(),
            bearer,
            cookies: request.get("cookie").map(|header| cookies::ours(&header, secure)).unwrap_or_default(),
        }
    }

    /// The user whom a token or a cookie of ours names, and until when it is good.
    pub fn signed(&self, keys: &Keys, now: Timestamp) -> Option<Claims> {
        let bearer = self.bearer.iter().map(|token| keys.verify(token, &self.site, now));
        let cookies = self.cookies.iter().map(|token| keys.verify(token, &self.site, now));
        bearer.chain(cookies).flatten().next()
    }

    /// Whether the request bears a cookie of ours, good or bad.
    pub fn has_cookie(&self) -> bool {
        !self.cookies.is_empty()
    }

    /// The guest, or the bot, that this is when it is no user.
    pub fn stranger(&self, keys: &Keys, now: Timestamp) -> MemberKey {
        let key = guest::key(keys.newest(), now.day(), &self.site, &self.address, &self.user_agent);
        if bot::is_bot(&self.user_agent) { MemberKey::Bot(key) } else { MemberKey::Guest(key) }
    }
}

/// The keys of a site, newest first. There is always one.
#[derive(Clone, Debug)]
pub struct Keys {
    newest: Secret,
    older: Vec<Secret>,
}

impl Keys {
    /// The keys, if there are any.
    pub fn new(secrets: Vec<Secret>) -> Option<Self> {
        let mut secrets = secrets.into_iter();
        Some(Self { newest: secrets.next()?, older: secrets.collect() })
    }

    /// The key that signs.
    pub fn newest(&self) -> &Secret {
        &self.newest
    }

    /// Signs for a user of a site, until `until`.
    pub fn sign(&self, user: &User, site: &SiteName, now: Timestamp, until: Timestamp) -> Option<String> {
        token::sign(&self.newest, user, site, now, until)
    }

    /// Verifies a token against each key.
    pub fn verify(&self, token: &str, site: &SiteName, now: Timestamp) -> Option<Claims> {
        std::iter::once(&self.newest).chain(&self.older).find_map(|key| token::verify(key, token, site, now))
    }
}

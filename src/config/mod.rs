//! Every setting: its default, its bounds, and what is said when it is out of them.
//!
//! It reads names and values and knows nothing of where they come from.

mod block_key;
mod globs;
mod private;
mod values;

use crate::identity::access::Access;
use crate::identity::login::CookieNames;
use crate::presence::bounds::Bounds;
use crate::presence::budget::{CLIENT_GUESTS, MAX_CLIENT_GUESTS};
use crate::presence::id::{Invalid, SiteName};
use crate::presence::shards::Shards;
use crate::presence::time::Seconds;
pub use block_key::BlockKey;
pub use globs::Globs;
pub use private::PrivatePaths;
use std::fmt;
pub use values::is_authority;
use values::{
    admin_token, base_path, cookie_name, flag, number, origins, realm, region, seconds, secrets, shards, site,
};

/// Where everything of ours lives unless `BASE_PATH` says otherwise.
pub const DEFAULT_BASE_PATH: &str = "/_presence";

/// Which topics a page may report of itself unless `TOPICS` says otherwise: those about users.
const DEFAULT_TOPICS: &str = "user:*";

/// Where pages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the demo pages are served.
    Demo,
    /// The site that the Worker's own route lies in front of.
    Route,
    /// Another server: scheme, host and port, and a path to put before the request's, without a slash at the end.
    Url(String),
}

/// All settings, sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `BASE_PATH`: where everything of ours lives. Starts with a slash and does not end with one.
    pub base_path: String,
    /// `SITE`: whose presence is kept; the request's host if it is not set.
    pub site: Option<SiteName>,
    /// `ONLINE_TIMEOUT`: for how long after a request somebody is online.
    pub online_timeout: Seconds,
    /// `LAST_SEEN_TIMEOUT`: for how long it is kept when somebody was last here.
    pub last_seen_timeout: Seconds,
    /// `TOUCH_RESOLUTION`: how soon a visitor who is known to be here is recorded again.
    pub touch_resolution: Seconds,
    /// `ALLOWED_ORIGINS`: which other origins may record visitors.
    pub allowed_origins: Vec<String>,
    /// `TRUST_ORIGIN_HEADERS`: whether the origin's `X-Presence-*` headers say who a visitor is.
    pub trust_origin_headers: bool,
    /// `ACCESS`: who may see what.
    pub access: Access,
    /// `PRIVATE_PATHS`: pages of which nobody is told who is there.
    pub private_paths: PrivatePaths,
    /// `SHARDS`: how many objects keep the site's members.
    pub shards: Shards,
    /// `REGION`: where objects are made, by the platform's name for it; near whoever comes first if it is not set.
    pub region: Option<&'static str>,
    /// `TOPICS`: which topics a page may report of itself.
    pub topics: Globs,
    /// `CLIENT_GUESTS`: how many guests of one address are online at the most.
    pub client_guests: u32,
    /// `INJECT_WIDGET`: whether pages get the widget's script without having it.
    pub inject_widget: bool,
    /// `SESSION_COOKIE` and `SIGN_ON_COOKIE`: what the cookies are called by which applications know their users.
    pub cookie_names: CookieNames,
    /// `BASIC_REALM`: what people are told they are asked a password for.
    pub basic_realm: String,
    /// `ADMIN_TOKEN`: what the site's own servers show; none closes what is for them to all but `perm:admin`.
    pub admin_token: Option<Secret>,
    /// `PRESENCE_SECRET`: the keys that sign and verify, newest first; none means that one is generated and kept.
    pub secrets: Vec<Secret>,
}

/// A key. It shows itself nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The fewest bytes that a key may have.
    pub const MIN: usize = 16;

    /// A key from its bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Config {
    /// Reads every setting by its name. A setting that is absent or empty has its default.
    ///
    /// # Errors
    /// When a value is out of its bounds: which, what they are, and (unless it is a secret) what it was.
    pub fn from(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Invalid> {
        let lookup = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let config = Self {
            base_path: base_path(lookup("BASE_PATH"))?,
            site: lookup("SITE").map(site).transpose()?,
            online_timeout: seconds("ONLINE_TIMEOUT", lookup("ONLINE_TIMEOUT"), 300, 1, 86_400)?,
            last_seen_timeout: seconds("LAST_SEEN_TIMEOUT", lookup("LAST_SEEN_TIMEOUT"), 604_800, 1, 31_536_000)?,
            touch_resolution: seconds("TOUCH_RESOLUTION", lookup("TOUCH_RESOLUTION"), 30, 0, 3600)?,
            allowed_origins: lookup("ALLOWED_ORIGINS").map_or(Ok(Vec::new()), |list| origins(&list))?,
            trust_origin_headers: flag("TRUST_ORIGIN_HEADERS", lookup("TRUST_ORIGIN_HEADERS"), true)?,
            access: lookup("ACCESS").map_or(Ok(Access::default()), |json| Access::parse(&json))?,
            private_paths: lookup("PRIVATE_PATHS")
                .map_or(Ok(PrivatePaths::default()), |list| PrivatePaths::parse(&list))?,
            shards: lookup("SHARDS").map_or(Ok(Shards::ONE), |value| shards(&value))?,
            region: lookup("REGION").map(|value| region(&value)).transpose()?,
            topics: Globs::parse("TOPICS", lookup("TOPICS").as_deref().unwrap_or(DEFAULT_TOPICS))?,
            client_guests: number("CLIENT_GUESTS", lookup("CLIENT_GUESTS"), CLIENT_GUESTS, 1, MAX_CLIENT_GUESTS)?,
            inject_widget: flag("INJECT_WIDGET", lookup("INJECT_WIDGET"), false)?,
            cookie_names: CookieNames {
                session: cookie_name("SESSION_COOKIE", lookup("SESSION_COOKIE"), "presence_session")?,
                sign_on: cookie_name("SIGN_ON_COOKIE", lookup("SIGN_ON_COOKIE"), "presence_sign_on")?,
            },
            basic_realm: realm(lookup("BASIC_REALM"))?,
            admin_token: lookup("ADMIN_TOKEN").map(admin_token).transpose()?,
            secrets: lookup("PRESENCE_SECRET").map_or(Ok(Vec::new()), |list| secrets(&list))?,
        };
        if config.last_seen_timeout < config.online_timeout {
            return Err(Invalid::new(
                "LAST_SEEN_TIMEOUT",
                format!(
                    "be at least ONLINE_TIMEOUT, as nobody can be online and forgotten; they are {} and {}",
                    config.last_seen_timeout.0, config.online_timeout.0
                ),
            ));
        }
        Ok(config)
    }

    /// For how long a recorded touch counts. A visitor who is here all the time is recorded once in a resolution, so
    /// that much is added to the online window: nobody is shown offline because a touch was spared.
    pub fn window(&self) -> Seconds {
        Seconds(self.online_timeout.0 + self.touch_resolution.0)
    }

    /// How much an object keeps of a site.
    pub fn bounds(&self) -> Bounds {
        Bounds { client_guests: Some(self.client_guests), ..Bounds::from(self.window()) }
    }
}

impl Origin {
    /// Reads `ORIGIN`, which is asked for apart: where pages come from must be known whatever else is wrong.
    ///
    /// # Errors
    /// When it is neither `route` nor an http or https URL of scheme, host and path alone.
    pub fn from(value: Option<String>) -> Result<Self, Invalid> {
        let value = value.unwrap_or_default();
        let value = value.trim();
        let wrong = || {
            Err(Invalid::new(
                "ORIGIN",
                format!(
                    "be `route` or a URL such as https://app.example.com, without query or user name; it is {value:?}"
                ),
            ))
        };
        match value {
            "" => Ok(Self::Demo),
            "route" => Ok(Self::Route),
            url => match url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) {
                Some(rest)
                    if is_authority(rest.split('/').next().unwrap_or_default())
                        && !rest.contains(['?', '#', ' ', '\\']) =>
                {
                    Ok(Self::Url(url.trim_end_matches('/').to_owned()))
                }
                _ => wrong(),
            },
        }
    }
}

#[cfg(test)]
mod tests;

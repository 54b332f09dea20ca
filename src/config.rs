//! Every setting: its default, its bounds, and what is said when it is out of them.
//!
//! It reads names and values and knows nothing of where they come from.

use crate::identity::access::Access;
use crate::identity::login::CookieNames;
use crate::presence::id::{Invalid, SiteName};
use crate::presence::shards::Shards;
use crate::presence::time::Seconds;
use std::fmt;

/// Where everything of ours lives unless `BASE_PATH` says otherwise.
pub const DEFAULT_BASE_PATH: &str = "/_presence";

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
    /// `SHARDS`: how many objects keep the site's members.
    pub shards: Shards,
    /// `REGION`: where objects are made, by the platform's name for it; near whoever comes first if it is not set.
    pub region: Option<&'static str>,
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
            shards: lookup("SHARDS").map_or(Ok(Shards::ONE), |value| shards(&value))?,
            region: lookup("REGION").map(|value| region(&value)).transpose()?,
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

/// Whether a text is a host with or without a port.
pub fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = port.is_none_or(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'));
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            (1..=253).contains(&host.len())
                && host.strip_suffix('.').unwrap_or(host).split('.').all(|label| !label.is_empty())
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    };
    host && port
}

fn seconds(name: &'static str, value: Option<String>, default: u32, min: u32, max: u32) -> Result<Seconds, Invalid> {
    let Some(value) = value else { return Ok(Seconds(default)) };
    match value.parse::<u32>() {
        Ok(number) if (min..=max).contains(&number) => Ok(Seconds(number)),
        _ => Err(Invalid::new(name, format!("be a whole number of seconds from {min} to {max}; it is {value:?}"))),
    }
}

fn site(value: String) -> Result<SiteName, Invalid> {
    let length = value.len();
    SiteName::parse(value).map_err(|_| {
        Invalid::new("SITE", format!("be a name of 1 to 253 bytes without control characters; it has {length} bytes"))
    })
}

fn flag(name: &'static str, value: Option<String>, default: bool) -> Result<bool, Invalid> {
    match value.as_deref() {
        None => Ok(default),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(value) => Err(Invalid::new(name, format!("be `true` or `false`; it is {value:?}"))),
    }
}

fn shards(value: &str) -> Result<Shards, Invalid> {
    let count = value.parse::<u32>().ok().and_then(|count| Shards::try_from(count).ok());
    count.ok_or_else(|| Invalid::new("SHARDS", format!("be a whole number from 1 to 64; it is {value:?}")))
}

/// The regions that the platform knows:
/// <https://developers.cloudflare.com/durable-objects/reference/data-location/#supported-locations-1>
const REGIONS: [&str; 9] = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"];

fn region(value: &str) -> Result<&'static str, Invalid> {
    let known = REGIONS.into_iter().find(|region| region.eq_ignore_ascii_case(value));
    known.ok_or_else(|| Invalid::new("REGION", format!("be one of {}; it is {value:?}", REGIONS.join(", "))))
}

/// A token, as RFC 6265 wants it; none of ours, which hold something else.
fn cookie_name(name: &'static str, value: Option<String>, default: &str) -> Result<String, Invalid> {
    let Some(value) = value else { return Ok(default.to_owned()) };
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let ours = matches!(value.as_str(), "presence" | "__Host-presence");
    if (1..=64).contains(&value.len()) && value.bytes().all(token) && !ours {
        return Ok(value);
    }
    Err(Invalid::new(name, format!("be a cookie's name of up to 64 letters, digits, - and _; it is {value:?}")))
}

fn realm(value: Option<String>) -> Result<String, Invalid> {
    let value = value.unwrap_or_else(|| "Who is online".to_owned());
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    if value.len() <= 64 && value.bytes().all(plain) {
        return Ok(value);
    }
    Err(Invalid::new("BASIC_REALM", format!("be up to 64 ASCII characters without \" and \\; it is {value:?}")))
}

fn admin_token(value: String) -> Result<Secret, Invalid> {
    if value.len() >= Secret::MIN && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Secret::new(value));
    }
    Err(Invalid::new("ADMIN_TOKEN", format!("be at least {} ASCII characters without blanks", Secret::MIN)))
}

fn base_path(value: Option<String>) -> Result<String, Invalid> {
    let Some(value) = value else { return Ok(DEFAULT_BASE_PATH.to_owned()) };
    let trimmed = value.trim_end_matches('/');
    let sound = trimmed.len() <= 64
        && trimmed.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
                && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'/'))
        });
    if sound {
        return Ok(trimmed.to_owned());
    }
    Err(Invalid::new(
        "BASE_PATH",
        format!(
            "be a path of up to 64 letters, digits, - _ . ~ that starts with / and is not / alone; it is {value:?}"
        ),
    ))
}

fn origins(list: &str) -> Result<Vec<String>, Invalid> {
    let mut origins = Vec::new();
    for origin in list.split([',', ' ']).filter(|origin| !origin.is_empty()) {
        let origin = origin.trim_end_matches('/').to_ascii_lowercase();
        let rest = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        if !rest.is_some_and(is_authority) {
            return Err(Invalid::new(
                "ALLOWED_ORIGINS",
                format!("list origins such as https://example.com, separated by commas; {origin:?} is none"),
            ));
        }
        origins.push(origin);
    }
    Ok(origins)
}

fn secrets(list: &str) -> Result<Vec<Secret>, Invalid> {
    let keys: Vec<_> = list.split([',', ' ', '\n']).filter(|key| !key.is_empty()).collect();
    if keys.is_empty() || keys.iter().any(|key| key.len() < Secret::MIN) {
        return Err(Invalid::new(
            "PRESENCE_SECRET",
            format!("be keys of at least {} bytes each, newest first, separated by commas", Secret::MIN),
        ));
    }
    Ok(keys.into_iter().map(Secret::new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with(name: &str, value: &str) -> Result<Config, String> {
        Config::from(|asked| (asked == name).then(|| value.to_owned())).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_works_with_nothing_set() {
        let config = Config::from(|_| None).unwrap();
        assert_eq!(config.base_path, "/_presence");
        assert_eq!((config.online_timeout, config.last_seen_timeout), (Seconds(300), Seconds(604_800)));
        assert_eq!((config.touch_resolution, config.window()), (Seconds(30), Seconds(330)));
        assert_eq!((config.shards, config.region), (Shards::ONE, None));
        assert!(!config.inject_widget && config.admin_token.is_none() && config.access == Access::default());
        assert!(config.trust_origin_headers && config.allowed_origins.is_empty() && config.secrets.is_empty());
        assert_eq!(Origin::from(None), Ok(Origin::Demo));
    }

    #[test]
    fn a_value_out_of_bounds_is_named_with_its_bounds_and_what_it_was() {
        for (name, value, says) in [
            ("ONLINE_TIMEOUT", "0", "ONLINE_TIMEOUT must be a whole number of seconds from 1 to 86400; it is \"0\""),
            ("ONLINE_TIMEOUT", "5m", "ONLINE_TIMEOUT must be a whole number of seconds from 1 to 86400; it is \"5m\""),
            (
                "TOUCH_RESOLUTION",
                "3601",
                "TOUCH_RESOLUTION must be a whole number of seconds from 0 to 3600; it is \"3601\"",
            ),
            ("TRUST_ORIGIN_HEADERS", "yes", "TRUST_ORIGIN_HEADERS must be `true` or `false`; it is \"yes\""),
            (
                "LAST_SEEN_TIMEOUT",
                "60",
                "LAST_SEEN_TIMEOUT must be at least ONLINE_TIMEOUT, as nobody can be online and forgotten; they are 60 and 300",
            ),
            (
                "ALLOWED_ORIGINS",
                "*",
                "ALLOWED_ORIGINS must list origins such as https://example.com, separated by commas; \"*\" is none",
            ),
            ("SHARDS", "0", "SHARDS must be a whole number from 1 to 64; it is \"0\""),
            ("SHARDS", "65", "SHARDS must be a whole number from 1 to 64; it is \"65\""),
            ("REGION", "mars", "REGION must be one of wnam, enam, sam, weur, eeur, apac, oc, afr, me; it is \"mars\""),
            ("INJECT_WIDGET", "on", "INJECT_WIDGET must be `true` or `false`; it is \"on\""),
            (
                "SESSION_COOKIE",
                "a b",
                "SESSION_COOKIE must be a cookie's name of up to 64 letters, digits, - and _; it is \"a b\"",
            ),
            ("ADMIN_TOKEN", "hunter2", "ADMIN_TOKEN must be at least 16 ASCII characters without blanks"),
            (
                "PRESENCE_SECRET",
                "hunter2",
                "PRESENCE_SECRET must be keys of at least 16 bytes each, newest first, separated by commas",
            ),
        ] {
            assert_eq!(with(name, value).unwrap_err(), says);
        }
        assert!(with("BASIC_REALM", "a\"b").is_err() && with("SIGN_ON_COOKIE", "__Host-presence").is_err());
        assert!(with("ACCESS", "{\"names\": \"everybody\"}").unwrap_err().starts_with("ACCESS must be JSON"));
        for path in ["/", "presence", "/a b", "/../b", "//", "/a//b"] {
            assert!(with("BASE_PATH", path).unwrap_err().starts_with("BASE_PATH must be a path"), "{path}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let config = with("PRESENCE_SECRET", "a-secret-of-some-length, another-of-some-length").unwrap();
        assert_eq!(config.secrets.len(), 2);
        assert!(!format!("{config:?}").contains("secret-of"));
        assert!(!with("PRESENCE_SECRET", "short,another-of-some-length").unwrap_err().contains("short,"));
    }

    #[test]
    fn an_origin_is_route_or_a_url() {
        assert_eq!(Origin::from(Some("route".into())), Ok(Origin::Route));
        for (url, kept) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("https://app.example.com/", "https://app.example.com"),
            ("https://example.com/app/", "https://example.com/app"),
            ("http://[::1]:8000", "http://[::1]:8000"),
        ] {
            assert_eq!(Origin::from(Some(url.into())), Ok(Origin::Url(kept.into())));
        }
        for bad in [
            "example.com",
            "ftp://example.com",
            "https://",
            "https://user@example.com",
            "https://a b",
            "http://x:y",
            "https://e.com/?q",
        ] {
            assert!(Origin::from(Some(bad.into())).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_taken_or_refused_but_never_panics(value in ".{0,80}") {
            for name in ["ACCESS", "ADMIN_TOKEN", "BASIC_REALM", "SESSION_COOKIE", "BASE_PATH", "SITE", "ONLINE_TIMEOUT", "ALLOWED_ORIGINS", "PRESENCE_SECRET", "TRUST_ORIGIN_HEADERS"] {
                let _ = with(name, &value);
            }
            let _ = Origin::from(Some(value));
        }
    }
}

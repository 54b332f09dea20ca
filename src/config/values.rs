//! What the text of a setting means, and how it is refused: by its name, its bounds and what it was.

use super::{DEFAULT_BASE_PATH, Secret};
use crate::presence::id::{Invalid, SiteName};
use crate::presence::shards::Shards;
use crate::presence::time::Seconds;

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

pub fn seconds(
    name: &'static str,
    value: Option<String>,
    default: u32,
    min: u32,
    max: u32,
) -> Result<Seconds, Invalid> {
    whole(name, "a whole number of seconds", value, default, min, max).map(Seconds)
}

pub fn number(name: &'static str, value: Option<String>, default: u32, min: u32, max: u32) -> Result<u32, Invalid> {
    whole(name, "a whole number", value, default, min, max)
}

fn whole(
    name: &'static str,
    what: &str,
    value: Option<String>,
    default: u32,
    min: u32,
    max: u32,
) -> Result<u32, Invalid> {
    let Some(value) = value else { return Ok(default) };
    match value.parse::<u32>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(Invalid::new(name, format!("be {what} from {min} to {max}; it is {value:?}"))),
    }
}

pub fn site(value: String) -> Result<SiteName, Invalid> {
    let length = value.len();
    SiteName::parse(value).map_err(|_| {
        Invalid::new("SITE", format!("be a name of 1 to 253 bytes without control characters; it has {length} bytes"))
    })
}

pub fn flag(name: &'static str, value: Option<String>, default: bool) -> Result<bool, Invalid> {
    match value.as_deref() {
        None => Ok(default),
        Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(value) => Err(Invalid::new(name, format!("be `true` or `false`; it is {value:?}"))),
    }
}

pub fn shards(value: &str) -> Result<Shards, Invalid> {
    let count = value.parse::<u32>().ok().and_then(|count| Shards::try_from(count).ok());
    count.ok_or_else(|| Invalid::new("SHARDS", format!("be a whole number from 1 to 64; it is {value:?}")))
}

/// The regions that the platform knows:
/// <https://developers.cloudflare.com/durable-objects/reference/data-location/#supported-locations-1>
const REGIONS: [&str; 9] = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"];

pub fn region(value: &str) -> Result<&'static str, Invalid> {
    let known = REGIONS.into_iter().find(|region| region.eq_ignore_ascii_case(value));
    known.ok_or_else(|| Invalid::new("REGION", format!("be one of {}; it is {value:?}", REGIONS.join(", "))))
}

/// A token, as RFC 6265 wants it; none of ours, which hold something else.
pub fn cookie_name(name: &'static str, value: Option<String>, default: &str) -> Result<String, Invalid> {
    let Some(value) = value else { return Ok(default.to_owned()) };
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let ours = matches!(value.as_str(), "presence" | "__Host-presence");
    if (1..=64).contains(&value.len()) && value.bytes().all(token) && !ours {
        return Ok(value);
    }
    Err(Invalid::new(name, format!("be a cookie's name of up to 64 letters, digits, - and _; it is {value:?}")))
}

pub fn realm(value: Option<String>) -> Result<String, Invalid> {
    let value = value.unwrap_or_else(|| "Who is online".to_owned());
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    if value.len() <= 64 && value.bytes().all(plain) {
        return Ok(value);
    }
    Err(Invalid::new("BASIC_REALM", format!("be up to 64 ASCII characters without \" and \\; it is {value:?}")))
}

pub fn admin_token(value: String) -> Result<Secret, Invalid> {
    if value.len() >= Secret::MIN && value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Secret::new(value));
    }
    Err(Invalid::new("ADMIN_TOKEN", format!("be at least {} ASCII characters without blanks", Secret::MIN)))
}

pub fn base_path(value: Option<String>) -> Result<String, Invalid> {
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

pub fn origins(list: &str) -> Result<Vec<String>, Invalid> {
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

pub fn secrets(list: &str) -> Result<Vec<Secret>, Invalid> {
    let keys: Vec<_> = list.split([',', ' ', '\n']).filter(|key| !key.is_empty()).collect();
    if keys.is_empty() || keys.iter().any(|key| key.len() < Secret::MIN) {
        return Err(Invalid::new(
            "PRESENCE_SECRET",
            format!("be keys of at least {} bytes each, newest first, separated by commas", Secret::MIN),
        ));
    }
    Ok(keys.into_iter().map(Secret::new).collect())
}

//! What stands for a login and is looked up: a session's cookie, a sign-on's cookie, an app password.
//!
//! Of each only a digest goes any further than this module: neither memory nor storage holds what could be used again.

use crate::presence::id::{DeviceId, Invalid, UserId, text};
use percent_encoding::percent_decode_str;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The most logins of one request that are looked up: a cookie's name may be sent several times.
const MAX_LOGINS: usize = 4;

/// How many bytes the key of a sign-on has.
const MIN_KEY: usize = 16;
const MAX_KEY: usize = 512;

/// What is known of a secret: its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

// As bytes: an array would be written, and read, as 32 values.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(deserializer)?;
        bytes.try_into().map(Self).map_err(|_| D::Error::invalid_length(bytes.len(), &"32 bytes"))
    }
}

/// Something that may show who somebody is, once it was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Login {
    /// A session of the session store.
    Session(Digest),
    /// A cookie that an application sets and registers: one sign-on for several of them.
    SignOn(Digest),
}

text!(
    /// The name that goes with an app password: the user's id, or their address.
    LoginName,
    "a name",
    1..=254
);

/// A name and a password, as a script or a feed reader sends them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Basic {
    /// The user's id, or their address.
    pub name: LoginName,
    /// The password's digest.
    pub password: Digest,
}

/// What the cookies are called that applications set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieNames {
    /// The one that holds a session's key.
    pub session: String,
    /// The one that holds `username#email#key`.
    pub sign_on: String,
}

impl Digest {
    /// Of some bytes.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From 64 hexadecimal digits in lower case.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(hex: &str) -> Result<Self, Invalid> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
        let sound = pairs.len() == bytes.len() && rest.is_empty();
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => return Err(not_a_digest()),
            }
        }
        if sound { Ok(Self(bytes)) } else { Err(not_a_digest()) }
    }

    /// As hexadecimal digits in lower case.
    pub fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The device that a login stands for.
    pub fn device(self) -> DeviceId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        DeviceId(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// A number below `count` that is the same for the same digest: which of that many objects keeps it.
    pub fn shard(self, count: u32) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d]) % count.max(1)
    }
}

fn not_a_digest() -> Invalid {
    Invalid::new("a hash", "be the SHA-256 as 64 hexadecimal digits in lower case")
}

impl Login {
    /// What it is known by.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Session(digest) | Self::SignOn(digest) => *digest,
        }
    }

    /// The logins that the cookies of a request may stand for.
    pub fn of_cookies(header: &str, names: &CookieNames) -> Vec<Self> {
        let session = |value: &str| SessionKey::parse(value).ok().map(|key| Self::Session(key.digest()));
        let sessions = super::cookies::named(header, &names.session).filter_map(|value| session(&value));
        let sign_ons = super::cookies::named(header, &names.sign_on).filter_map(|value| sign_on(&value));
        sessions.take(MAX_LOGINS / 2).chain(sign_ons.take(MAX_LOGINS / 2)).collect()
    }
}

text!(
    /// What a session is found by. Whoever knows it has the session.
    SessionKey, "a session key", 16..=128,
    "be of letters, digits, - and _ alone" => |text| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
);

impl SessionKey {
    /// What the store knows of it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.as_str())
    }
}

/// The sign-on that a cookie's value stands for. Some frameworks percent-encode what they are told to set; the value
/// that counts is the one that they were told.
fn sign_on(value: &str) -> Option<Login> {
    let decoded = percent_decode_str(value).decode_utf8().ok()?;
    let value = if value.contains('#') { value } else { &decoded };
    is_sign_on(value).then(|| Login::SignOn(Digest::of(value)))
}

/// Whether it is `username#email#key`: whatever else bears that name is not worth a look-up. The key is what nobody can guess,
/// so it has no fewer characters than a session's; an address may be missing.
fn is_sign_on(value: &str) -> bool {
    let mut parts = value.splitn(3, '#');
    let (Some(user), Some(email), Some(key)) = (parts.next(), parts.next(), parts.next()) else { return false };
    UserId::parse(user).is_ok()
        && (email.is_empty() || LoginName::parse(email).is_ok())
        && (MIN_KEY..=MAX_KEY).contains(&key.len())
        && !key.contains(char::is_control)
}

impl Basic {
    /// Reads an `Authorization` header (RFC 7617).
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, encoded) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") || encoded.len() > 1024 {
            return None;
        }
        let decoded = <base64ct::Base64 as base64ct::Encoding>::decode_vec(encoded.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (name, password) = decoded.split_once(':')?;
        Some(Self { name: LoginName::parse(name).ok()?, password: Digest::of(password) })
    }

    /// One digest for both, by which an isolate remembers what came of it.
    pub fn digest(&self) -> Digest {
        Digest::of([self.password.0.as_slice(), self.name.as_str().as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> CookieNames {
        CookieNames { session: "sid".into(), sign_on: "on".into() }
    }

    #[test]
    fn a_digest_is_64_digits_in_lower_case() {
        let digest = Digest::of("abc");
        assert_eq!(digest.to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Digest::parse(&digest.to_hex()), Ok(digest));
        let hex = digest.to_hex();
        for bad in ["", "ba78", &hex.to_uppercase(), &format!("{hex}00"), &hex.replace('b', "g"), &format!("{hex}0")] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_cookies_of_a_request_are_sessions_and_sign_ons() {
        let logins =
            Login::of_cookies("sid=0123456789abcdef; on=sally#s@example.com#a-key-of-22-characters; other=1", &names());
        assert_eq!(
            logins,
            [
                Login::Session(Digest::of("0123456789abcdef")),
                Login::SignOn(Digest::of("sally#s@example.com#a-key-of-22-characters"))
            ]
        );
        assert!(Login::of_cookies("sid=short; on=sally; sid=../../../../../../etc", &names()).is_empty());
    }

    #[test]
    fn a_sign_on_is_what_the_application_set_however_it_was_encoded() {
        let expected = [Login::SignOn(Digest::of("sally#s@example.com#a-key-of-22-characters"))];
        for sent in [
            "on=sally#s@example.com#a-key-of-22-characters",
            "on=\"sally#s@example.com#a-key-of-22-characters\"",
            "on=sally%23s%40example.com%23a-key-of-22-characters",
            "on=sally#s@example.com#a-key-of-22-characters; x",
        ] {
            assert_eq!(Login::of_cookies(sent, &names()), expected, "{sent}");
        }
        assert_ne!(Login::of_cookies("on=Sally#s@example.com#a-key-of-22-characters", &names()), expected);
    }

    #[test]
    fn what_is_not_username_email_and_a_key_that_nobody_guesses_is_no_sign_on() {
        let found = |value: &str| !Login::of_cookies(&format!("on={value}"), &names()).is_empty();
        let key = "a-key-of-some-le";
        for good in [
            format!("sally#s@example.com#{key}"),
            format!("sally##{key}"),
            format!("sally#s@example.com#{key}#and#more"),
            format!("zo%C3%AB%23z@example.com%23{key}"),
            format!("{}#{}#{key}", "x".repeat(128), "y".repeat(254)),
        ] {
            assert!(found(&good), "{good}");
        }
        for bad in [
            "".to_owned(),
            format!("sally#{key}"),
            format!("#s@example.com#{key}"),
            "sally#s@example.com#a-key-of-few".to_owned(),
            format!("sally#s@example.com#{}", "x".repeat(513)),
            format!("{}#s@example.com#{key}", "x".repeat(129)),
            format!("sally#{}#{key}", "y".repeat(255)),
            format!("sal%00ly%23s@example.com%23{key}"),
            format!("sally%23s@example%0a.com%23{key}"),
            format!("sally%23s@example.com%23{key}%7f"),
        ] {
            assert!(!found(&bad), "{bad}");
        }
    }

    #[test]
    fn of_many_cookies_of_one_name_few_are_looked_up() {
        let header = "sid=0123456789abcdef; ".repeat(50);
        assert_eq!(Login::of_cookies(&header, &names()).len(), 2);
    }

    #[test]
    fn a_name_and_a_password_are_read_from_the_header() {
        let basic = Basic::parse("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert_eq!(basic, Basic { name: LoginName::parse("Aladdin").unwrap(), password: Digest::of("open sesame") });
        assert_eq!(Basic::parse("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap(), basic);
        for bad in [
            "Basic",
            "Basic !",
            "Basic Og==",
            "Basic QWxhZGRpbg==",
            "Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "Basic /w==",
        ] {
            assert_eq!(Basic::parse(bad), None, "{bad}");
        }
        let other = Basic { name: LoginName::parse("aladdin").unwrap(), ..basic.clone() };
        assert_ne!(basic.digest(), other.digest());
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(header in ".{0,120}") {
            let _ = Login::of_cookies(&header, &names());
            let _ = Login::of_cookies(&format!("on={header}"), &names());
            let _ = Basic::parse(&format!("Basic {header}"));
            let _ = Digest::parse(&header);
        }
    }
}

//! Tokens that say who somebody is: JSON Web Tokens signed with HS256.

use super::User;
use super::permission::{MAX_RIGHTS, Right};
use crate::config::Secret;
use crate::presence::id::{Avatar, DeviceId, Name, SiteName, UserId};
use crate::presence::member::Profile;
use crate::presence::time::{Millis, Timestamp};
use chrono::DateTime;
use jwt_compact::alg::{Hs256, Hs256Key};
use jwt_compact::{AlgorithmExt, Header, UntrustedToken};
use serde::{Deserialize, Serialize};

/// Longer tokens are not even looked at: a browser keeps no cookie of more than 4,096 bytes.
const MAX_LENGTH: usize = 4096;

/// What a token says, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Who it is.
    pub user: User,
    /// Until when the token is good.
    pub until: Timestamp,
    /// When it was made, if it says so.
    pub since: Option<Timestamp>,
    /// The device that it was made for, where it is one of ours.
    pub device: Option<DeviceId>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    sub: String,
    /// The site it is for. Ours always say so; one that another application made may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<Audience>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    avatar: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    perms: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    invisible: bool,
    /// The device, 16 hexadecimal digits. Ours always name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    presence_device: Option<String>,
    /// How many milliseconds after `iat` it was issued: who signs in again in the second in which they signed out is known.
    #[serde(default, skip_serializing_if = "is_zero")]
    presence_ms: u32,
}

fn is_zero(millis: &u32) -> bool {
    *millis == 0
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// Signs a token for a user of a site on a device. `None` only if it would be longer than a cookie may be.
pub fn sign(
    secret: &Secret,
    user: &User,
    device: DeviceId,
    site: &SiteName,
    now: Timestamp,
    until: Timestamp,
) -> Option<String> {
    let profile = user.profile.clone().unwrap_or_default();
    let body = Body {
        sub: user.id.as_str().to_owned(),
        aud: Some(Audience::One(site.as_str().to_owned())),
        name: profile.name.map(String::from),
        avatar: profile.avatar.map(String::from),
        perms: user.perms.iter().take(MAX_RIGHTS).map(Right::to_string).collect(),
        invisible: profile.invisible,
        presence_device: Some(format!("{:016x}", device.0)),
        presence_ms: now.as_millis().rem_euclid(1000) as u32,
    };
    let mut claims = jwt_compact::Claims::new(body);
    claims.issued_at = DateTime::from_timestamp(now.as_secs(), 0);
    claims.expiration = DateTime::from_timestamp(until.as_secs(), 0);
    let token = Hs256.token(&Header::empty().with_token_type("JWT"), &claims, &Hs256Key::new(secret.bytes())).ok()?;
    // Name and attributes of the cookie take some of its room.
    (token.len() <= MAX_LENGTH - 128).then_some(token)
}

/// Verifies a token: signature, algorithm, that it has an end and has not come to it, and that it is for this site.
pub fn verify(secret: &Secret, token: &str, site: &SiteName, now: Timestamp) -> Option<Claims> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    let token = UntrustedToken::new(token).ok()?;
    let token = Hs256.validator::<Body>(&Hs256Key::new(secret.bytes())).validate(&token).ok()?;
    let claims = token.claims();
    let until = Timestamp::from_millis(claims.expiration?.timestamp_millis());
    let early = claims.not_before.is_some_and(|from| from.timestamp_millis() > now.as_millis());
    let body = &claims.custom;
    let millis = Millis(body.presence_ms.min(999));
    let since = claims.issued_at.map(|at| Timestamp::from_millis(at.timestamp_millis()).plus(millis));
    let device = body.presence_device.as_ref().filter(|device| device.len() == 16);
    let device = device.and_then(|device| u64::from_str_radix(device, 16).ok()).map(DeviceId);
    let ours = match &body.aud {
        None => true,
        Some(Audience::One(audience)) => audience == site.as_str(),
        Some(Audience::Several(audiences)) => audiences.iter().any(|audience| audience == site.as_str()),
    };
    if until <= now || early || !ours {
        return None;
    }
    let profile = Profile {
        name: body.name.as_ref().and_then(|name| Name::parse(name.as_str()).ok()),
        avatar: body.avatar.as_ref().and_then(|avatar| Avatar::parse(avatar.as_str()).ok()),
        invisible: body.invisible,
    };
    let id = UserId::parse(body.sub.as_str()).ok()?;
    let perms = Right::parse_all(body.perms.iter().map(String::as_str));
    Some(Claims { user: User { id, profile: Some(profile), perms }, until, since, device })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64ct::{Base64UrlUnpadded, Encoding};
    use hmac::{Hmac, Mac};
    use proptest::prelude::*;
    use sha2::Sha256;

    const NOW: i64 = 1_795_203_180_000;

    fn now() -> Timestamp {
        Timestamp::from_millis(NOW)
    }

    fn secret() -> Secret {
        Secret::new(*b"0123456789abcdef")
    }

    fn site(name: &str) -> SiteName {
        SiteName::parse(name).unwrap()
    }

    fn sally() -> User {
        let profile =
            Profile { name: Name::parse("Sally 🏄").ok(), avatar: Avatar::parse("/s.png").ok(), invisible: true };
        User {
            id: UserId::parse("sally").unwrap(),
            profile: Some(profile),
            perms: Right::parse_all(["can_edit@group:42"]),
        }
    }

    /// A token as any other application would make it, independent of the library.
    fn made(header: &str, body: &str, key: &[u8]) -> String {
        let text = format!(
            "{}.{}",
            Base64UrlUnpadded::encode_string(header.as_bytes()),
            Base64UrlUnpadded::encode_string(body.as_bytes())
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        format!("{text}.{}", Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()))
    }

    #[test]
    fn what_was_signed_is_verified_until_its_end() {
        let until = Timestamp::from_millis(NOW + 60_000);
        let issued = Timestamp::from_millis(NOW + 123);
        let token = sign(&secret(), &sally(), DeviceId(7), &site("a"), issued, until).unwrap();
        let claims = verify(&secret(), &token, &site("a"), now()).unwrap();
        assert_eq!((claims.user, claims.until), (sally(), until));
        assert_eq!((claims.since, claims.device), (Some(issued), Some(DeviceId(7))), "to the millisecond");
        assert!(verify(&secret(), &token, &site("a"), until).is_none());
        assert!(verify(&secret(), &token, &site("b"), now()).is_none(), "a token of another site");
        assert!(verify(&Secret::new(*b"fedcba9876543210"), &token, &site("a"), now()).is_none());
    }

    #[test]
    fn a_token_of_another_application_is_taken_if_it_keeps_the_rules() {
        let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
        let key = b"0123456789abcdef";
        let good = |header, body| verify(&secret(), &made(header, body, key), &site("a"), now()).is_some();
        assert!(good(hs256, r#"{"sub":"sally","exp":1795203181}"#));
        assert!(good(hs256, r#"{"sub":"sally","exp":1795203181,"aud":["b","a"]}"#));
        for (header, body) in [
            (hs256, r#"{"sub":"sally"}"#),
            (hs256, r#"{"sub":"sally","exp":1795203179}"#),
            (hs256, r#"{"sub":"sally","exp":1795203181,"nbf":1795203999}"#),
            (hs256, r#"{"sub":"sally","exp":1795203181,"aud":"b"}"#),
            (hs256, r#"{"sub":"","exp":1795203181}"#),
            (hs256, r#"{"sub":7,"exp":1795203181}"#),
            (hs256, r#"{"exp":1795203181}"#),
            (hs256, "[]"),
            (r#"{"alg":"none"}"#, r#"{"sub":"sally","exp":1795203181}"#),
            (r#"{"alg":"HS512"}"#, r#"{"sub":"sally","exp":1795203181}"#),
            (r#"{"alg":"RS256"}"#, r#"{"sub":"sally","exp":1795203181}"#),
            (r#"{}"#, r#"{"sub":"sally","exp":1795203181}"#),
        ] {
            assert!(!good(header, body), "{header} {body}");
        }
    }

    #[test]
    fn an_unsigned_a_cut_and_a_changed_token_are_refused() {
        let token =
            sign(&secret(), &sally(), DeviceId(7), &site("a"), now(), Timestamp::from_millis(NOW + 60_000)).unwrap();
        let refused = |token: &str| verify(&secret(), token, &site("a"), now()).is_none();
        let unsigned = token.rsplit_once('.').unwrap().0;
        assert!(refused(unsigned) && refused(&format!("{unsigned}.")));
        for cut in 0..token.len() {
            assert!(refused(token.get(..cut).unwrap()));
        }
        for (index, _) in token.char_indices() {
            let mut changed = token.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'Q' } else { b'A' };
            // The last character of a part has bits that encode nothing.
            if changed != token.as_bytes() && !(index + 1 == token.len() || token.as_bytes()[index + 1] == b'.') {
                assert!(refused(&String::from_utf8(changed).unwrap()), "{index}");
            }
        }
        assert!(refused(&"a.".repeat(4000)));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_without_a_panic(token in "[ -~]{0,80}(\\.[ -~]{0,40}){0,3}") {
            prop_assert!(verify(&secret(), &token, &site("a"), now()).is_none());
        }
    }
}

//! What the origin says of a visitor by its response headers.

use super::User;
use super::permission::Right;
use crate::http::Headers;
use crate::presence::id::{Avatar, Name, Topic, UserId};
use crate::presence::member::Profile;
use percent_encoding::percent_decode_str;

const USER: &str = "x-presence-user";
const NAME: &str = "x-presence-name";
const AVATAR: &str = "x-presence-avatar";
const PERMS: &str = "x-presence-perms";
const INVISIBLE: &str = "x-presence-invisible";
const TOPIC: &str = "x-presence-topic";

/// The headers between the origin and us: the client never sees them, and cannot send them.
pub const HEADERS: [&str; 6] = [USER, NAME, AVATAR, PERMS, INVISIBLE, TOPIC];

/// Who a visitor is, by the origin's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It says nothing: the visitor is whoever they were.
    Nothing,
    /// Nobody is signed in.
    Nobody,
    /// This user is.
    User(User),
}

/// Reads the origin's headers.
///
/// An answer that comes out of a cache was made for somebody else and names nobody. One that asks for a password (401)
/// names whoever the client claims to be, so it names nobody either. An id that is malformed or told
/// twice names nobody either; of the other headers, what is malformed is left out.
pub fn read(status: u16, response: &impl Headers) -> (Said, Option<Topic>) {
    if status == 401 || from_cache(response) {
        return (Said::Nothing, None);
    }
    let decoded = |name: &'static str| decode(&response.get(name)?);
    let topic = decoded(TOPIC).and_then(|topic| Topic::parse(topic).ok());
    let said = match response.get(USER) {
        None => Said::Nothing,
        Some(id) if id.trim().is_empty() => Said::Nobody,
        // Encoded ids have no comma: two headers were joined, and which is right nobody knows.
        Some(id) if id.contains(',') => Said::Nothing,
        Some(id) => match decode(&id).and_then(|id| UserId::parse(id).ok()) {
            None => Said::Nothing,
            Some(id) => {
                let profile = Profile {
                    name: decoded(NAME).and_then(|name| Name::parse(name).ok()),
                    avatar: decoded(AVATAR).and_then(|avatar| Avatar::parse(avatar).ok()),
                    invisible: response.get(INVISIBLE).is_some_and(|value| value.trim() == "1"),
                };
                let perms = response.get(PERMS).unwrap_or_default();
                let perms: Vec<_> = perms.split(',').filter_map(decode).collect();
                let perms = Right::parse_all(perms.iter().map(String::as_str));
                Said::User(User { id, profile: Some(profile), perms })
            }
        },
    };
    (said, topic)
}

/// Whether a shared cache may keep the answer (RFC 9111, 3): then nothing of one visitor's may be put into it.
pub fn is_shared(response: &impl Headers) -> bool {
    let control = response.get("cache-control").unwrap_or_default().to_ascii_lowercase();
    let parts = || control.split(',').map(str::trim);
    let fresh = |part: &str| {
        part == "public" || part.starts_with("s-maxage") || part.strip_prefix("max-age=").is_some_and(|age| age != "0")
    };
    let for_caches = ["cdn-cache-control", "cloudflare-cdn-cache-control", "surrogate-control"];
    let private = parts().any(|part| part.starts_with("private") || part == "no-store");
    !private && (parts().any(fresh) || for_caches.iter().any(|name| response.has(name)))
}

fn from_cache(response: &impl Headers) -> bool {
    let status = response.get("cf-cache-status").unwrap_or_default().to_ascii_uppercase();
    let aged = response.get("age").is_some_and(|age| age.trim() != "0");
    matches!(status.as_str(), "HIT" | "STALE" | "UPDATING" | "REVALIDATED") || aged
}

fn decode(value: &str) -> Option<String> {
    Some(percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_user_is_told_by_encoded_headers() {
        let (said, topic) = read(
            200,
            &[
                ("X-Presence-User", "s%C3%A4lly"),
                ("X-Presence-Name", "Sally%20M."),
                ("X-Presence-Avatar", "/a.png"),
                ("X-Presence-Perms", "can_edit, mail@a%2Cb,, %20"),
                ("X-Presence-Invisible", "1"),
                ("X-Presence-Topic", "user:bob"),
            ],
        );
        let Said::User(user) = said else { panic!("a user") };
        assert_eq!(user.id.as_str(), "sälly");
        let profile = user.profile.unwrap();
        assert_eq!(profile.name.unwrap().as_str(), "Sally M.");
        assert_eq!(user.perms, Right::parse_all(["can_edit", "mail@a,b"]));
        assert!(profile.invisible);
        assert_eq!(topic.unwrap().as_str(), "user:bob");
    }

    #[test]
    fn an_empty_id_means_that_nobody_is_signed_in() {
        assert_eq!(read(200, &[("x-presence-user", "")]).0, Said::Nobody);
        assert_eq!(read(200, &[("x-presence-name", "Sally")]).0, Said::Nothing);
    }

    #[test]
    fn what_is_malformed_names_nobody() {
        for id in ["%FF", "a%0Ab", "sally, bob", &"x".repeat(129)] {
            assert_eq!(read(200, &[("x-presence-user", id)]).0, Said::Nothing, "{id}");
        }
        let (said, _) = read(
            200,
            &[("x-presence-user", "sally"), ("x-presence-avatar", "javascript:x"), ("x-presence-name", "%00")],
        );
        let Said::User(user) = said else { panic!("a user") };
        assert_eq!(user.profile, Some(Profile::default()));
    }

    #[test]
    fn an_answer_out_of_a_cache_names_nobody() {
        for header in [("CF-Cache-Status", "HIT"), ("Age", "12"), ("cf-cache-status", "stale")] {
            assert_eq!(read(200, &[("x-presence-user", "sally"), header]).0, Said::Nothing);
        }
        assert_ne!(read(200, &[("x-presence-user", "sally"), ("cf-cache-status", "DYNAMIC")]).0, Said::Nothing);
    }

    #[test]
    fn an_answer_that_asks_for_a_password_names_nobody() {
        assert_eq!(read(401, &[("x-presence-user", "sally")]).0, Said::Nothing);
        assert_ne!(read(403, &[("x-presence-user", "sally")]).0, Said::Nothing);
    }

    #[test]
    fn a_shared_answer_is_told_by_its_cache_control() {
        for (control, shared) in [
            ("public, max-age=60", true),
            ("s-maxage=5", true),
            ("private", false),
            ("", false),
            ("max-age=9", true),
            ("private, max-age=9", false),
            ("max-age=0", false),
            ("no-store, max-age=9", false),
        ] {
            assert_eq!(is_shared(&[("cache-control", control)]), shared, "{control}");
        }
    }

    proptest! {
        #[test]
        fn any_headers_are_read_without_a_panic(id in ".{0,150}", name in ".{0,150}", perms in ".{0,150}") {
            let _ = read(200, &[("x-presence-user", id.as_str()), ("x-presence-name", &name), ("x-presence-perms", &perms)]);
        }
    }
}

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
const LOCATION: &str = "x-presence-location";
/// Announces that a page holds blocks, and names the key that their tags bear.
pub const BLOCKS: &str = "x-presence-blocks";
/// Announces that a page holds the widget's elements.
const WIDGET: &str = "x-presence-widget";

/// The headers between the origin and us: the client never sees them, and cannot send them.
pub const HEADERS: [&str; 9] = [USER, NAME, AVATAR, PERMS, INVISIBLE, TOPIC, LOCATION, BLOCKS, WIDGET];

/// What the origin says by the headers of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginAnswer {
    /// Who the visitor is.
    pub claim: OriginClaim,
    /// What the page is about.
    pub topic: Option<Topic>,
    /// Whether the page may be shown as the place where its visitors are; `X-Presence-Location: none` says no.
    pub is_place: bool,
}

impl Default for OriginAnswer {
    fn default() -> Self {
        Self { claim: OriginClaim::Nothing, topic: None, is_place: true }
    }
}

/// Who a visitor is, by the origin's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginClaim {
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
///
/// Names are cleaned, and a blank one is none.
///
/// That a page is nobody's place is believed wherever it comes from: to leave a place out does no harm.
pub fn read(status: u16, response: &impl Headers) -> OriginAnswer {
    let is_place = !response.get(LOCATION).is_some_and(|value| value.trim().eq_ignore_ascii_case("none"));
    if status == 401 || from_cache(response) {
        return OriginAnswer { is_place, ..OriginAnswer::default() };
    }
    let decoded = |name: &'static str| decode(&response.get(name)?);
    let topic = decoded(TOPIC).and_then(|topic| Topic::parse(topic).ok());
    let claim = match response.get(USER) {
        None => OriginClaim::Nothing,
        Some(id) if id.trim().is_empty() => OriginClaim::Nobody,
        // Encoded ids have no comma: two headers were joined, and which is right nobody knows.
        Some(id) if id.contains(',') => OriginClaim::Nothing,
        Some(id) => match decode(&id).and_then(|id| UserId::parse(id).ok()) {
            None => OriginClaim::Nothing,
            Some(id) => {
                let profile = Profile {
                    name: decoded(NAME).and_then(|name| Name::shown(&name)),
                    avatar: decoded(AVATAR).and_then(|avatar| Avatar::parse(avatar).ok()),
                    invisible: response.get(INVISIBLE).is_some_and(|value| value.trim() == "1"),
                };
                let perms = response.get(PERMS).unwrap_or_default();
                let perms: Vec<_> = perms.split(',').filter_map(decode).collect();
                let perms = Right::parse_all(perms.iter().map(String::as_str));
                OriginClaim::User(User { id, profile: Some(profile), perms })
            }
        },
    };
    OriginAnswer { claim, topic, is_place }
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

/// Whether nobody may keep the answer (RFC 9111, 5.2.2.5): so sites mark what is one visitor's business, and nobody is told that
/// they are there.
pub fn is_never_kept(response: &impl Headers) -> bool {
    let control = response.get("cache-control").unwrap_or_default();
    control.split(',').any(|part| part.trim().eq_ignore_ascii_case("no-store"))
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
        let OriginAnswer { claim, topic, .. } = read(
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
        let OriginClaim::User(user) = claim else { panic!("a user") };
        assert_eq!(user.id.as_str(), "sälly");
        let profile = user.profile.unwrap();
        assert_eq!(profile.name.unwrap().as_str(), "Sally M.");
        assert_eq!(user.perms, Right::parse_all(["can_edit", "mail@a,b"]));
        assert!(profile.invisible);
        assert_eq!(topic.unwrap().as_str(), "user:bob");
    }

    #[test]
    fn an_empty_id_means_that_nobody_is_signed_in() {
        assert_eq!(read(200, &[("x-presence-user", "")]).claim, OriginClaim::Nobody);
        assert_eq!(read(200, &[("x-presence-name", "Sally")]).claim, OriginClaim::Nothing);
    }

    #[test]
    fn what_is_malformed_names_nobody() {
        for id in ["%FF", "a%0Ab", "sally, bob", &"x".repeat(129)] {
            assert_eq!(read(200, &[("x-presence-user", id)]).claim, OriginClaim::Nothing, "{id}");
        }
        let OriginAnswer { claim, .. } = read(
            200,
            &[("x-presence-user", "sally"), ("x-presence-avatar", "javascript:x"), ("x-presence-name", "%00")],
        );
        let OriginClaim::User(user) = claim else { panic!("a user") };
        assert_eq!(user.profile, Some(Profile::default()));
    }

    #[test]
    fn an_answer_out_of_a_cache_names_nobody() {
        for header in [("CF-Cache-Status", "HIT"), ("Age", "12"), ("cf-cache-status", "stale")] {
            assert_eq!(read(200, &[("x-presence-user", "sally"), header]).claim, OriginClaim::Nothing);
        }
        assert_ne!(
            read(200, &[("x-presence-user", "sally"), ("cf-cache-status", "DYNAMIC")]).claim,
            OriginClaim::Nothing
        );
    }

    #[test]
    fn an_answer_that_asks_for_a_password_names_nobody() {
        assert_eq!(read(401, &[("x-presence-user", "sally")]).claim, OriginClaim::Nothing);
        assert_ne!(read(403, &[("x-presence-user", "sally")]).claim, OriginClaim::Nothing);
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

    #[test]
    fn what_nobody_may_keep_is_told_by_its_cache_control() {
        for (control, never) in
            [("no-store", true), ("private, No-Store", true), ("no-cache", false), ("max-age=9, x-no-store=1", false)]
        {
            assert_eq!(is_never_kept(&[("cache-control", control)]), never, "{control}");
        }
    }

    #[test]
    fn a_page_can_say_that_it_is_nobodys_place() {
        for (value, is_place) in [("none", false), (" None ", false), ("", true), ("here", true)] {
            assert_eq!(read(200, &[("x-presence-location", value)]).is_place, is_place, "{value:?}");
        }
        assert!(!read(200, &[("x-presence-location", "none"), ("age", "9")]).is_place, "out of a cache, too");
    }

    proptest! {
        #[test]
        fn any_headers_are_read_without_a_panic(id in ".{0,150}", name in ".{0,150}", perms in ".{0,150}") {
            let _ = read(200, &[("x-presence-user", id.as_str()), ("x-presence-name", &name), ("x-presence-perms", &perms)]);
        }
    }
}

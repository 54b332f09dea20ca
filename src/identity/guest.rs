//! What a guest is known by: a keyed digest of address and browser with a salt that changes every day.
//!
//! Without the key nobody can find an address back by trying them all, and after midnight not even we know that a
//! guest is the one of yesterday.

use crate::config::Secret;
use crate::presence::id::{GuestKey, SiteName};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The key of a guest of a site on a day (counted from the epoch).
///
/// Of the digest 64 bits are kept: with a million guests online the odds that any two are taken for one are below
/// one in ten million.
pub fn key(secret: &Secret, day: i64, site: &SiteName, address: &str, user_agent: &str) -> GuestKey {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.bytes()) else {
        // HMAC takes keys of any length.
        return GuestKey(0);
    };
    mac.update(b"guest");
    mac.update(&day.to_be_bytes());
    // Each part with its length, so that no two lists of parts read alike.
    for part in [site.as_str(), address, user_agent] {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    let digest = mac.finalize().into_bytes();
    GuestKey(digest.iter().take(8).fold(0, |key, byte| key << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_told_by_address_browser_site_day_and_secret() {
        let site = |name: &str| SiteName::parse(name).unwrap();
        let secret = Secret::new(*b"0123456789abcdef");
        let one = key(&secret, 1, &site("a"), "10.0.0.1", "Firefox");
        assert_eq!(key(&secret, 1, &site("a"), "10.0.0.1", "Firefox"), one);
        let others = [
            key(&Secret::new(*b"0123456789abcdeg"), 1, &site("a"), "10.0.0.1", "Firefox"),
            key(&secret, 2, &site("a"), "10.0.0.1", "Firefox"),
            key(&secret, 1, &site("b"), "10.0.0.1", "Firefox"),
            key(&secret, 1, &site("a"), "10.0.0.2", "Firefox"),
            key(&secret, 1, &site("a"), "10.0.0.1", "Chrome"),
            key(&secret, 1, &site("a"), "10.0.0.1F", "irefox"),
        ];
        assert!(others.iter().all(|other| *other != one));
    }
}

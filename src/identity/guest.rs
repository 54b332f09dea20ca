//! What a guest is known by: a keyed digest of address and browser with a salt that changes every day.
//!
//! Without the key nobody can find an address back by trying them all, and after midnight not even we know that a
//! guest is the one of yesterday.

use super::{derived, write_part};
use crate::config::Secret;
use crate::presence::id::{ClientId, GuestKey, SiteName};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;
use std::net::IpAddr;

/// What guests are told apart by: 128 bits that come of a site's secret, and of which nobody can tell it.
#[derive(Clone)]
pub struct GuestSecret([u8; 16]);

impl GuestSecret {
    /// The one that comes of a secret.
    pub fn of(secret: &Secret) -> Self {
        Self(derived(secret, b"guest"))
    }
}

/// The key of a guest of a site on a day (counted from the epoch), of which one half tells the client. SipHash-2-4 is made for
/// keyed digests of short texts (<https://www.aumasson.jp/siphash/siphash.pdf>) and takes a tenth of an HMAC's time, once a page.
///
/// With a million guests online the odds that any two of its 64 bits are alike are below one in ten million. Of as many
/// clients about a hundred pairs share their 32 bits, and what they may spend.
pub fn key(secret: &GuestSecret, day: i64, site: &SiteName, address: &str, user_agent: &str) -> GuestKey {
    let mut digest = client_digest(secret, day, site, address);
    let client = ClientId(digest.finish() as u32);
    write_part(&mut digest, user_agent.as_bytes());
    GuestKey::new(client, digest.finish() as u32)
}

/// The client that an address tells: the address itself if it is IPv4, also as IPv6 writes it, and the /64 of an IPv6 address,
/// as whoever has one of these has all of it.
pub fn client(secret: &GuestSecret, day: i64, site: &SiteName, address: &str) -> ClientId {
    ClientId(client_digest(secret, day, site, address).finish() as u32)
}

fn client_digest(secret: &GuestSecret, day: i64, site: &SiteName, address: &str) -> SipHasher24 {
    let mut digest = SipHasher24::new_with_key(&secret.0);
    digest.write(&day.to_be_bytes());
    write_part(&mut digest, site.as_str().as_bytes());
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => digest.write(&address.octets()),
        Ok(IpAddr::V6(address)) => digest.write(&(u128::from(address) >> 64).to_be_bytes()),
        Err(_) => write_part(&mut digest, address.as_bytes()),
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_is_told_by_address_browser_site_day_and_secret() {
        let site = |name: &str| SiteName::parse(name).unwrap();
        let of = |text: &[u8]| GuestSecret::of(&Secret::new(text));
        let secret = of(b"0123456789abcdef");
        let one = key(&secret, 1, &site("a"), "10.0.0.1", "Firefox");
        assert_eq!(key(&secret, 1, &site("a"), "10.0.0.1", "Firefox"), one);
        let others = [
            key(&of(b"0123456789abcdeg"), 1, &site("a"), "10.0.0.1", "Firefox"),
            key(&secret, 2, &site("a"), "10.0.0.1", "Firefox"),
            key(&secret, 1, &site("b"), "10.0.0.1", "Firefox"),
            key(&secret, 1, &site("a"), "10.0.0.2", "Firefox"),
            key(&secret, 1, &site("a"), "10.0.0.1", "Chrome"),
            key(&secret, 1, &site("a"), "10.0.0.1F", "irefox"),
        ];
        assert!(others.iter().all(|other| *other != one));
    }

    #[test]
    fn a_client_is_an_ipv4_address_or_an_ipv6_64_whatever_its_browsers_are() {
        let (secret, site) = (GuestSecret::of(&Secret::new(*b"0123456789abcdef")), SiteName::parse("a").unwrap());
        let client = |address: &str| client(&secret, 1, &site, address);
        let guest = |address: &str, browser: &str| key(&secret, 1, &site, address, browser);
        assert_eq!(guest("10.0.0.1", "Firefox").client(), client("10.0.0.1"));
        assert_eq!(guest("10.0.0.1", "Chrome").client(), client("10.0.0.1"));
        assert_eq!(guest("::ffff:10.0.0.1", "Firefox"), guest("10.0.0.1", "Firefox"));
        assert_eq!(guest("2001:db8:1:2::1", "Firefox"), guest("2001:DB8:1:2:ffff:ffff:ffff:ffff", "Firefox"));
        let all = ["10.0.0.1", "10.0.0.2", "2001:db8:1:2::1", "2001:db8:1:3::1", "", "unknown"].map(client);
        assert!((0..all.len()).all(|one| (0..one).all(|other| all[one] != all[other])));
        assert_ne!(super::client(&secret, 2, &site, "10.0.0.1"), client("10.0.0.1"), "and another one each day");
    }
}

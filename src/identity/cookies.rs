//! Our cookie: found in a request, written into an answer.

use cookie::{Cookie, SameSite, time::Duration};

/// Over https the prefix makes browsers refuse a cookie of this name from a subdomain or without `Secure`.
const SECURE_NAME: &str = "__Host-presence";
const PLAIN_NAME: &str = "presence";

/// The same of the one by which an isolate says that it has recorded somebody.
const SECURE_SEEN: &str = "__Host-presence_seen";
const PLAIN_SEEN: &str = "presence_seen";

/// What stands in the cookies of our name, as many as there are.
pub fn ours(header: &str, secure: bool) -> Vec<String> {
    named(header, name(secure)).collect()
}

/// What stands in the cookie by which an isolate says that it has recorded somebody.
pub fn seen(header: &str, secure: bool) -> Option<String> {
    named(header, seen_name(secure)).next()
}

/// What stands in the cookies of a name, as many as there are.
pub fn named<'a>(header: &'a str, name: &'a str) -> impl Iterator<Item = String> + 'a {
    // A request's cookies are pairs and nothing more (RFC 6265, 4.2.1). The crate's parser reads each as if it were
    // being set, dates and all, which would cost more bytes than the rest of the identity.
    let pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.filter(move |(known, _)| *known == name).map(|(_, value)| value.trim_matches('"').to_owned())
}

/// The `Set-Cookie` value that keeps a token for some seconds.
pub fn keep(token: &str, secure: bool, seconds: u32) -> String {
    build(name(secure), token, secure, Duration::seconds(i64::from(seconds)))
}

/// The `Set-Cookie` value that says for some seconds that somebody was recorded.
pub fn keep_seen(word: &str, secure: bool, seconds: u32) -> String {
    build(seen_name(secure), word, secure, Duration::seconds(i64::from(seconds)))
}

/// The `Set-Cookie` value that takes that back.
pub fn clear_seen(secure: bool) -> String {
    build(seen_name(secure), "", secure, Duration::ZERO)
}

/// The `Set-Cookie` value that clears it.
pub fn clear(secure: bool) -> String {
    build(name(secure), "", secure, Duration::ZERO)
}

fn build(name: &str, value: &str, secure: bool, age: Duration) -> String {
    Cookie::build((name, value))
        .path("/")
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Lax)
        .max_age(age)
        .build()
        .to_string()
}

fn name(secure: bool) -> &'static str {
    if secure { SECURE_NAME } else { PLAIN_NAME }
}

fn seen_name(secure: bool) -> &'static str {
    if secure { SECURE_SEEN } else { PLAIN_SEEN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_cookie_of_our_name_is_found() {
        assert_eq!(ours("a=1; presence=x; presence=y; xpresence=z", false), ["x", "y"]);
        assert_eq!(ours("presence=x; __Host-presence=y", true), ["y"]);
        assert!(ours("presence", false).is_empty());
        assert!(ours(";;;=;", true).is_empty());
        assert_eq!(ours("presence=\"x=y==\"", false), ["x=y=="]);
    }

    #[test]
    fn the_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        assert_eq!(keep("t", true, 60), "__Host-presence=t; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60");
        assert_eq!(clear(false), "presence=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
        let told = "__Host-presence_seen=w; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=30";
        assert_eq!(keep_seen("w", true, 30), told);
        assert_eq!(seen("presence=x; presence_seen=w", false).as_deref(), Some("w"));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_a_panic(header in ".{0,120}", value in "[!#-+\\--:<-\\[\\]-~]{0,40}") {
            let _ = ours(&header, true);
            let kept = keep(&value, false, 60);
            let sent_back = kept.split(';').next().unwrap_or_default();
            prop_assert_eq!(ours(sent_back, false), [value]);
        }
    }
}

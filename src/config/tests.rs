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
    assert_eq!((config.client_guests, config.bounds().client_guests), (64, Some(64)));
    assert!(config.topics.matches("user:sally") && !config.topics.matches("thread:7"));
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
        ("CLIENT_GUESTS", "0", "CLIENT_GUESTS must be a whole number from 1 to 1000; it is \"0\""),
        ("CLIENT_GUESTS", "many", "CLIENT_GUESTS must be a whole number from 1 to 1000; it is \"many\""),
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

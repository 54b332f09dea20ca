//! What the Django site builds on the Worker: its sessions, one sign-on with another application, profiles, groups,
//! feed readers, and an end to all of it.

use crate::django_site::*;
use crate::harness::*;
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-thirty-two-characters";

/// What PyJWT makes of `PRESENCE_SECRET`, and of a token.
const SIGN: &str = "import jwt, os, sys, time; print(jwt.encode(
    {'sub': sys.argv[1], 'name': 'Zoë', 'aud': 'club', 'exp': int(time.time()) + 60}, sys.argv[2], sys.argv[3]), end='')";
const VERIFY: &str =
    "import json, jwt, sys; print(json.dumps(jwt.decode(sys.argv[1], sys.argv[2], ['HS256'], audience='club')))";
/// What a feed reader has read.
const READ: &str = "import feedparser, json, sys; feed = feedparser.parse(sys.argv[1]); print(json.dumps(
    [feed.get('status'), bool(feed.bozo), feed.feed.get('title'), [entry.author for entry in feed.entries]]))";

#[test]
fn a_session_names_its_user_and_outlives_a_killed_server() {
    let (_django, server) = site();
    let browser = Browser::at("10.0.0.1");
    browser.log_in(&server, "sally");
    browser.forget("presence");
    browser.forget("presence_sign_on");
    let server = server.kill_and_restart();
    assert!(browser.open(&server, "/").text().contains("Sally Surf"), "the site knows her by the session");

    browser.forget("presence");
    let place = json!({"path": "/radio/", "title": "Radio"});
    assert_eq!(browser.client(&server).touch(&place.to_string()).status, 204);
    assert_eq!(server.json(ONLINE)["users"][0]["location"], place, "and so does the Worker");

    let key = browser.cookie("presence_session");
    browser.log_out(&server);
    let ended = server.by("10.0.0.1").with("cookie", &format!("presence_session={key}"));
    assert_eq!(ended.touch("{}").status, 204);
    assert_eq!(counts(&server), json!({"total": 1, "users": 0, "guests": 1, "bots": 0}));
    assert_eq!(admin(&server).get(&format!("/_presence/v1/sessions/{key}")).status, 404);
}

#[test]
fn with_the_sessions_out_of_reach_the_site_goes_on_for_guests_and_nobody_is_logged_out() {
    let (_django, server) = site_behind(Setup::hooked());
    let browser = Browser::at("10.0.0.1");
    browser.log_in(&server, "sally");
    let key = browser.cookie("presence_session");
    browser.client(&server).with("x-test-fault", "fail-logins").get("/_presence/healthz");
    let page = browser.open(&server, "/forum/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Log in"), "{}", page.text());

    browser.client(&server).with("x-test-fault", "none").get("/_presence/healthz");
    assert_eq!(browser.cookie("presence_session"), key, "the cookie is kept");
    assert!(browser.open(&server, "/forum/").text().contains("Sally Surf"), "and good again");
}

#[test]
fn a_key_that_a_browser_made_up_is_no_session() {
    let (_django, server) = site();
    for key in ["0123456789abcdef0123456789abcdef", "../app-passwords", "%2e%2e", "x", ""] {
        let cookie = format!("presence_session={key}");
        let page = server.by("10.0.0.1").with("cookie", &cookie).document().get("/");
        assert_eq!(page.status, 200, "{key}");
        assert!(page.text().contains("Log in"), "{key}");
    }
}

#[test]
fn another_application_knows_who_is_logged_in_by_the_sign_on() {
    let (django, server) = site();
    let (wiki, browser) = (django.wiki(), Browser::at("10.0.0.1"));
    assert_eq!(wiki.greets(&browser), "Hello, stranger!");
    browser.log_in(&server, "zo%C3%AB");
    assert_eq!(wiki.greets(&browser), "Hello, zoë!");
    let sign_on = browser.cookie("presence_sign_on");
    assert!(sign_on.starts_with("zo%C3%AB%23zoe%40example.com%23"), "{sign_on}");

    // By it alone she is herself for the Worker too.
    let touch = |cookie: &str| {
        assert_eq!(server.by("10.0.0.2").with("cookie", &format!("presence_sign_on={cookie}")).touch("{}").status, 204);
        server.ids(ONLINE)
    };
    browser.client(&server).get("/_presence/v1/online.json");
    assert_eq!(touch(&sign_on), ["zoë"]);

    let (_, altered) = sign_on.split_once("%23").unwrap();
    browser.set("presence_sign_on", &format!("sally%23{altered}"));
    assert_eq!(wiki.greets(&browser), "Hello, stranger!");
    touch(&browser.cookie("presence_sign_on"));
    assert_eq!(counts(&server), json!({"total": 2, "users": 1, "guests": 1, "bots": 0}));

    browser.set("presence_sign_on", &sign_on);
    browser.log_out(&server);
    browser.set("presence_sign_on", &sign_on);
    assert_eq!(wiki.greets(&browser), "Hello, stranger!", "who keeps the cookie keeps nothing");
}

#[test]
fn a_profile_shows_when_its_owner_was_here_and_to_them_who_looked() {
    let (_django, server) = site();
    let (sally, bob, zoe, guest) =
        (Browser::at("10.0.0.1"), Browser::at("10.0.0.2"), Browser::at("10.0.0.3"), Browser::at("10.0.0.4"));
    let profile = "/profile/sally/";
    assert!(guest.open(&server, profile).text().contains("never</last-seen>"));
    sally.log_in(&server, "sally");
    bob.log_in(&server, "bob");
    zoe.log_in(&server, "zo%C3%AB");
    assert!(bob.open(&server, profile).text().contains("now</last-seen>"));
    let on_it = format!("{ONLINE}?topic=user%3Asally");
    eventually(json!({"total": 2, "users": 1, "guests": 1, "bots": 0}), || server.json(&on_it)["counts"].clone());
    bob.open(&server, "/forum/");
    eventually(json!(0), || server.json(&on_it)["counts"]["users"].clone());

    let seen = sally.open(&server, profile).text();
    assert!(seen.contains("<li>Bjørn Ærø, jr., 2"), "{seen}");
    assert!(!bob.open(&server, profile).text().contains("Who looked"), "that is for Sally");
    assert!(!guest.open(&server, profile).text().contains("Who looked"));
    assert!(zoe.open(&server, profile).text().contains("<li>Bjørn"), "and for the staff");

    sally.log_out(&server);
    eventually(true, || bob.open(&server, profile).text().contains("Z</last-seen>"));
}

#[test]
fn a_block_is_for_the_members_of_a_group() {
    let (_django, server) = site();
    let (bob, zoe) = (Browser::at("10.0.0.2"), Browser::at("10.0.0.3"));
    let group = "/groups/surfers/";
    let reads = |browser: &Browser| {
        let page = browser.open(&server, group).text();
        assert!(!page.contains("<if-"), "{page}");
        (page.contains("at the lighthouse"), page.contains("Join to see"))
    };
    assert_eq!(reads(&Browser::at("10.0.0.1")), (false, true));
    zoe.log_in(&server, "zo%C3%AB");
    bob.log_in(&server, "bob");
    assert_eq!(reads(&zoe), (true, false));
    assert_eq!(reads(&bob), (false, true));
    bob.submit(&server, group, "/groups/surfers/join/", "");
    assert_eq!(reads(&bob), (true, false));
}

#[test]
fn a_feed_reader_reads_what_is_for_users_with_an_app_password() {
    let setup = Setup::new().var("ACCESS", r#"{"names": "users"}"#);
    let (django, server) = site_behind(setup);
    let bob = Browser::at("10.0.0.2");
    bob.log_in(&server, "bob");
    let password = bob.submit(&server, "/profile/bob/", "/app-password/", "").text();
    let read = |who: &str| -> Value {
        let url = server.url("/_presence/feed.atom").replace("://", &format!("://{who}"));
        serde_json::from_str(&django.run(&["-c", READ, &url])).unwrap()
    };
    let whole = json!([200, false, "Who came to 127.0.0.1", ["Bjørn Ærø, jr."]]);
    assert_eq!(read(&format!("bob:{password}@")), whole);
    assert_eq!(read(&format!("bob@example.com:{password}@")), whole);
    assert_eq!(read("")[0], 401);
    assert_eq!(read(&format!("sally:{password}@"))[0], 401);
}

#[test]
fn tokens_go_both_ways_between_us_and_pyjwt() {
    let (django, server) = site_behind(Setup::new().var("PRESENCE_SECRET", SECRET).var("SITE", "club"));
    let touched = |token: &str| {
        let bearer = format!("Bearer {}", token.trim());
        assert_eq!(server.by("10.0.0.1").with("authorization", &bearer).touch("{}").status, 204);
        server.ids(ONLINE)
    };
    assert_eq!(touched(&django.run(&["-c", SIGN, "bob", SECRET, "HS512"])), [""; 0]);
    assert_eq!(touched(&django.run(&["-c", SIGN, "bob", "another-secret-of-enough-length!", "HS256"])), [""; 0]);
    assert_eq!(touched(&django.run(&["-c", SIGN, "zoë", SECRET, "HS256"])), ["zoë"]);

    let browser = Browser::at("10.0.0.2");
    browser.log_in(&server, "sally");
    let claims = django.run(&["-c", VERIFY, &browser.cookie("presence"), SECRET]);
    let claims: Value = serde_json::from_str(&claims).unwrap();
    assert_eq!((&claims["sub"], &claims["name"]), (&json!("sally"), &json!("Sally Surf")));
}

#[test]
fn who_deletes_their_account_leaves_no_trace() {
    let (_django, server) = site();
    let (zoe, sally) = (Browser::at("10.0.0.3"), Browser::at("10.0.0.1"));
    zoe.log_in(&server, "zo%C3%AB");
    sally.log_in(&server, "sally");
    zoe.submit(&server, "/profile/sally/", "/app-password/", "");
    zoe.open(&server, "/forum/");
    eventually(json!(2), || server.json(ONLINE)["counts"]["users"].clone());
    assert!(!files_with(&server.storage(), "zoë").is_empty(), "else this would show nothing");

    let gone = zoe.submit(&server, "/profile/zo%C3%AB/", "/goodbye/", "");
    assert_eq!((gone.status, gone.header("location")), (302, Some("/")), "{}", gone.text());
    eventually(vec![], || files_with(&server.storage(), "zoë"));
    assert_eq!(server.ids(ONLINE), ["sally"]);
    assert_eq!(zoe.try_to_log_in(&server, "zo%C3%AB").status, 200, "there is nobody to log in");
}

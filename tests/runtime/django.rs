//! A real Django site behind the Worker: who logs in there is a user here, by two response headers of a short
//! middleware.

use crate::django_site::*;
use serde_json::json;

#[test]
fn a_guest_who_logs_in_becomes_a_user_and_counts_once() {
    let (_django, server) = site();
    let browser = Browser::at("10.0.0.1");
    assert_eq!(browser.open(&server, "/").status, 200);
    assert_eq!(counts(&server), json!({"total": 1, "users": 0, "guests": 1, "bots": 0}));

    browser.log_in(&server, "sally");
    assert_eq!(counts(&server), json!({"total": 1, "users": 1, "guests": 0, "bots": 0}));
    let page = browser.open(&server, "/profile/sally/");
    assert!(page.text().contains("<h1>Profile</h1>"), "{}", page.text());
    let sally = &server.json(ONLINE)["users"][0];
    assert_eq!((&sally["id"], &sally["name"]), (&json!("sally"), &json!("Sally Surf")));
    assert_eq!(sally["location"], json!({"path": "/profile/sally/", "title": null}));
    assert_eq!(counts(&server)["guests"], 0);
}

#[test]
fn the_browser_gets_a_signed_cookie_and_none_of_the_headers() {
    let (_django, server) = site();
    let browser = Browser::at("10.0.0.1");
    for answer in [browser.open(&server, "/"), browser.log_in(&server, "sally"), browser.open(&server, "/forum/")] {
        let ours: Vec<_> = answer.headers.iter().filter(|(name, _)| name.starts_with("x-presence")).collect();
        assert!(ours.is_empty(), "{ours:?}");
    }
    assert_eq!(
        browser.cookies(),
        ["csrftoken", "presence", "presence_session", "presence_sign_on"],
        "the site's cookies, and ours"
    );
    assert_eq!(browser.open(&server, "/forum/").cookie(), None, "it is good for a while");
}

#[test]
fn what_the_widget_reports_is_the_users() {
    let (_django, server) = site();
    let browser = Browser::at("10.0.0.1");
    browser.log_in(&server, "sally");
    let touch = browser.client(&server).with("origin", &server.url("")).with("content-type", "application/json");
    assert_eq!(touch.touch(r#"{"path":"/forum/42","title":"Surf guitars","tab":"t1"}"#).status, 204);

    let place = json!({"path": "/forum/42", "title": "Surf guitars"});
    let online = server.json(ONLINE);
    assert_eq!((&online["users"][0]["id"], &online["users"][0]["location"]), (&json!("sally"), &place));
    assert_eq!(online["counts"], json!({"total": 1, "users": 1, "guests": 0, "bots": 0}));
    let sally = server.json("/_presence/v1/users/sally.json");
    assert_eq!((&sally["online"], &sally["state"], &sally["location"]), (&json!(true), &json!("online"), &place));
}

#[test]
fn a_client_cannot_say_who_it_is_and_the_site_never_sees_it_try() {
    let (_django, server) = site();
    let browser = Browser::at("10.0.0.1");
    let liar = browser.client(&server).document().with("x-presence-user", "bob").with("x-presence-name", "Bob");
    let liar = liar.with("x-forwarded-host", "evil.example").with("x-forwarded-proto", "https");
    let seen = liar.get("/headers/").json();
    let names: Vec<_> = seen["headers"].as_object().unwrap().keys().map(|name| name.to_ascii_lowercase()).collect();
    assert!(names.contains(&"user-agent".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("x-presence")), "{names:?}");
    assert_eq!(seen["url"], server.url("/headers/"), "the site knows the visitor's address for it, and no other");
    assert_eq!(counts(&server), json!({"total": 0, "users": 0, "guests": 0, "bots": 0}), "it is no page");

    browser.log_in(&server, "sally");
    let liar = browser.client(&server).document().with("x-presence-user", "bob");
    assert_eq!(liar.get("/forum/").status, 200);
    assert_eq!(server.ids(ONLINE), ["sally"]);
}

#[test]
fn who_logs_out_is_gone_at_once_and_a_guest_at_the_next_request() {
    let (_django, server) = site();
    let browser = Browser::at("10.0.0.1");
    browser.log_in(&server, "sally");
    let home = browser.submit(&server, "/", "/logout/", "");
    assert_eq!(counts(&server), json!({"total": 0, "users": 0, "guests": 0, "bots": 0}));
    assert_eq!(server.json("/_presence/v1/users/sally.json")["online"], false);
    assert_eq!(browser.cookies(), ["csrftoken"], "the site has cleared its cookie, and we ours");

    browser.open(&server, home.header("location").unwrap());
    assert_eq!(counts(&server), json!({"total": 1, "users": 0, "guests": 1, "bots": 0}));
}

#[test]
fn a_session_that_is_over_signs_the_user_out_with_the_next_page() {
    let (_django, server) = site();
    let browser = Browser::at("10.0.0.1");
    browser.log_in(&server, "sally");
    browser.forget("presence_session");
    browser.open(&server, "/forum/");
    assert_eq!(server.ids(ONLINE), [""; 0]);
    // The sign-on is good for other applications still; here they are a guest.
    assert_eq!(browser.cookies(), ["csrftoken", "presence_sign_on"]);
    browser.open(&server, "/forum/");
    assert_eq!(counts(&server), json!({"total": 1, "users": 0, "guests": 1, "bots": 0}));
}

#[test]
fn who_logs_in_as_somebody_else_is_somebody_else() {
    let (_django, server) = site();
    let browser = Browser::at("10.0.0.1");
    browser.log_in(&server, "sally");
    browser.log_in(&server, "bob");
    let online = server.json(ONLINE);
    assert_eq!(online["counts"], json!({"total": 1, "users": 1, "guests": 0, "bots": 0}));
    assert_eq!((&online["users"][0]["id"], &online["users"][0]["name"]), (&json!("bob"), &json!("Bjørn Ærø, jr.")));
}

#[test]
fn after_a_crash_everybody_is_still_there() {
    let (_django, server) = site();
    let (sally, bob, guest) = (Browser::at("10.0.0.1"), Browser::at("10.0.0.2"), Browser::at("10.0.0.3"));
    sally.log_in(&server, "sally");
    bob.log_in(&server, "bob");
    guest.open(&server, "/");
    sally.open(&server, "/profile/sally/");
    let before = server.json(ONLINE);
    assert_eq!(before["counts"], json!({"total": 3, "users": 2, "guests": 1, "bots": 0}));

    let server = server.kill_and_restart();
    let after = server.json(ONLINE);
    assert_eq!((&after["counts"], &after["users"]), (&before["counts"], &before["users"]));

    // The cookies are still good, and the guest is still the same one.
    assert_eq!(sally.client(&server).touch(r#"{"path":"/forum/"}"#).status, 204);
    assert!(bob.open(&server, "/profile/sally/").text().contains("Bjørn"));
    guest.open(&server, "/forum/");
    assert_eq!(counts(&server), before["counts"]);
}

#[test]
fn the_site_answers_through_the_worker_as_it_does_without() {
    let (django, server) = site();
    let browser = Browser::at("10.0.0.1");
    for path in ["/", "/forum/", "/forum", "/profile/sally/", "/latest/", "/export/", "/static/club.css", "/nowhere/"] {
        let (direct, through) = (django.get(path), browser.client(&server).document().get(path));
        assert_eq!(through.status, direct.status, "{path}");
        // The address is the visitor's, where a page or a redirect names it.
        let moved = |text: &str| text.replace(&django.url(""), &server.url(""));
        assert_eq!(through.text(), moved(&direct.text()), "{path}");
        for name in ["content-type", "content-disposition", "last-modified", "vary", "cache-control", "set-cookie"] {
            assert_eq!(through.all(name), direct.all(name), "{path}: {name}");
        }
        assert_eq!(through.header("location"), direct.header("location").map(moved).as_deref(), "{path}");
    }
    let style = browser.client(&server).get("/static/club.css");
    let unchanged = browser.client(&server).with("if-modified-since", style.header("last-modified").unwrap());
    assert_eq!(unchanged.get("/static/club.css").status, 304);
}

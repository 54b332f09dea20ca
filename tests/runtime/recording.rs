//! Who is recorded, as whom, and who is not.

use crate::harness::*;
use serde_json::json;

fn guests(server: &Server) -> u64 {
    server.json("/_presence/v1/online.json?limit=0")["counts"]["guests"].as_u64().unwrap()
}

fn counts(server: &Server) -> (u64, u64, u64) {
    let counts = &server.json("/_presence/v1/online.json?limit=0")["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap();
    (count("users"), count("guests"), count("bots"))
}

/// A site that signs somebody in at `/login/NAME`, a page of which nobody is told, and `/as/NAME`, out at `/logout`, and says nothing of assets.
fn site() -> Origin {
    Origin::with_headers(|request| match request.target.split('/').collect::<Vec<_>>().as_slice() {
        [_, "login" | "as", name] => format!("X-Presence-User: {name}\r\nX-Presence-Name: {name}%21\r\n"),
        [_, "hidden", name] => format!("X-Presence-User: {name}\r\nX-Presence-Invisible: 1\r\n"),
        [_, "logout"] => "X-Presence-User: \r\n".into(),
        [_, "public", name] => format!("X-Presence-User: {name}\r\nCache-Control: public, max-age=60\r\n"),
        [_, "cached", name] => format!("X-Presence-User: {name}\r\nAge: 5\r\n"),
        _ => String::new(),
    })
}

#[test]
fn the_same_browser_at_the_same_address_is_one_guest() {
    let server = Setup::new().start();
    server.by("10.0.0.1").touch("{}");
    server.by("10.0.0.1").touch("{}");
    server.by("10.0.0.2").touch("{}");
    server.by("10.0.0.1").with("user-agent", "Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/144.0").touch("{}");
    assert_eq!(counts(&server), (0, 3, 0));
}

#[test]
fn a_crawler_is_counted_apart() {
    let server = Setup::new().start();
    let crawler = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    server.by("10.0.0.1").with("user-agent", crawler).document().get("/");
    assert_eq!(counts(&server), (0, 0, 1));
    assert_eq!(server.json("/_presence/v1/count.json")["total"], 0);
}

#[test]
fn a_pixel_records_a_page_without_scripts() {
    let server = Setup::new().start();
    let pixel = server.by("10.0.0.1").get("/_presence/v1/touch.gif?path=/a%20b&title=A%20B");
    assert_eq!(
        (pixel.status, pixel.header("content-type"), pixel.header("cache-control")),
        (200, Some("image/gif"), Some("no-store"))
    );
    assert!(pixel.body.starts_with(b"GIF89a"));
    let user = &server.json("/_presence/v1/online.json?kind=guest")["users"][0];
    assert_eq!(user["location"], json!({"path": "/a b", "title": "A B"}));
}

#[test]
fn only_documents_say_where_somebody_is() {
    let server = Setup::new().before(&site()).start();
    let visitor = server.by("10.0.0.1");
    let place = || server.json("/_presence/v1/online.json?kind=guest")["users"][0]["location"].clone();
    visitor.clone().with("accept", "text/html").get("/old-browser");
    assert_eq!(place()["path"], "/old-browser");
    visitor.clone().with("sec-fetch-dest", "image").with("accept", "*/*").get("/logo.png");
    visitor.clone().with("sec-fetch-dest", "iframe").with("accept", "text/html").get("/frame");
    assert_eq!(place()["path"], "/old-browser");
    visitor.clone().document().get("/forum?private=query");
    assert_eq!(place()["path"], "/forum");
}

#[test]
fn what_is_fetched_ahead_touches_nobody() {
    let server = Setup::new().before(&site()).start();
    for (name, value) in [("sec-purpose", "prefetch"), ("sec-purpose", "prefetch;prerender"), ("purpose", "prefetch")] {
        assert_eq!(server.by("10.0.0.1").document().with(name, value).get("/next").status, 200);
    }
    assert_eq!(counts(&server), (0, 0, 0));
}

#[test]
fn a_visitor_who_signs_in_stops_being_a_guest_and_becomes_one_again() {
    let server = Setup::new().before(&site()).start();
    let visitor = server.by("10.0.0.1").document();
    visitor.get("/");
    assert_eq!(counts(&server), (0, 1, 0));
    let cookie = visitor.get("/login/sally").cookie().expect("a cookie");
    assert_eq!(counts(&server), (1, 0, 0));
    let signed_in = visitor.clone().with("cookie", &cookie);
    signed_in.touch(r#"{"path":"/forum","title":"Forum","tab":"1"}"#);
    server.by("10.0.0.1").with("cookie", &cookie).get("/logo.png");
    assert_eq!(counts(&server), (1, 0, 0));
    assert_eq!(server.json("/_presence/v1/users/sally.json")["location"]["title"], "Forum");
    let out = signed_in.get("/logout");
    assert!(out.all("set-cookie").iter().any(|cookie| cookie.contains("presence=;") && cookie.contains("Max-Age=0")));
    assert_eq!(counts(&server), (0, 0, 0), "gone at once");
    assert!(server.json("/_presence/v1/users/sally.json")["last_seen"].is_string());
    visitor.get("/");
    assert_eq!(counts(&server), (0, 1, 0));
}

#[test]
fn the_first_page_of_a_fresh_worker_signs_its_user_in() {
    let server = Setup::new().before(&site()).start();
    assert!(server.by("10.0.0.1").document().get("/login/sally").cookie().is_some());
}

#[test]
fn the_cookie_is_out_of_reach_and_set_once() {
    let server = Setup::new().before(&site()).start();
    let visitor = server.by("10.0.0.1").document();
    let answer = visitor.get("/login/sally");
    let set = answer.all("set-cookie");
    assert!(
        set.len() == 1 && set[0].contains("HttpOnly") && set[0].contains("SameSite=Lax") && set[0].contains("Path=/")
    );
    let again = visitor.with("cookie", &answer.cookie().unwrap()).get("/login/sally");
    assert!(again.all("set-cookie").is_empty(), "a good cookie is not set again");
}

#[test]
fn a_page_that_may_be_shared_gives_nobody_anothers_cookie() {
    let server = Setup::new().before(&site()).start();
    assert_eq!(server.by("10.0.0.1").document().get("/public/sally").cookie(), None);
    let cookie = server.by("10.0.0.1").document().get("/login/sally").cookie().unwrap();
    let out = server.by("10.0.0.1").with("cookie", &cookie).document().get("/public/");
    assert!(out.all("set-cookie").is_empty(), "nor clears anothers");
    server.by("10.0.0.1").document().get("/public/sally");
    server.by("10.0.0.2").document().get("/cached/bob");
    assert_eq!(server.ids("/_presence/v1/online.json"), ["sally"], "an answer out of a cache names nobody");
}

#[test]
fn an_invisible_user_is_counted_as_a_guest_and_named_nowhere() {
    let server = Setup::new().before(&site()).start();
    let page = server.by("10.0.0.1").document().get("/hidden/sally");
    server.by("10.0.0.1").with("cookie", &page.cookie().unwrap()).touch(r#"{"path":"/x"}"#);
    assert_eq!(counts(&server), (0, 1, 0));
    for path in ["online.json", "online.json?kind=guest", "users/sally.json"] {
        let text = server.by("10.0.0.9").get(&format!("/_presence/v1/{path}")).text();
        assert!(path.contains("sally") || !text.contains("sally"), "{text}");
        assert!(!text.contains("\"online\":true"), "{text}");
    }
}

#[test]
fn a_client_cannot_make_itself_a_user() {
    let site = site();
    let server = Setup::new().before(&site).start();
    let visitor = server.by("10.0.0.1").document();
    let forged = visitor.clone().with("x-presence-user", "sally").with("X-Presence-Perms", "admin");
    forged.get("/");
    forged.touch(r#"{"path":"/"}"#);
    assert_eq!(counts(&server), (0, 1, 0));
    assert!(
        site.seen()
            .iter()
            .all(|request| !request.headers.iter().any(|(name, _)| name.to_lowercase().starts_with("x-presence")))
    );
    for cookie in ["presence=sally", "presence=e30.e30.e30", "presence=", &format!("presence={}", "x".repeat(7000))] {
        visitor.clone().with("cookie", cookie).get("/");
    }
    visitor
        .clone()
        .with("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJzYWxseSIsImV4cCI6OTk5OTk5OTk5OX0.")
        .get("/");
    assert_eq!(counts(&server), (0, 1, 0));
}

#[test]
fn a_cookie_of_another_site_is_worth_nothing_here() {
    let secret = "the-same-secret-for-both-sites";
    let (one, other) = (site(), site());
    let here = Setup::new().before(&one).var("SITE", "here").var("PRESENCE_SECRET", secret).start();
    let there = Setup::new().before(&other).var("SITE", "there").var("PRESENCE_SECRET", secret).start();
    let cookie = there.by("10.0.0.1").document().get("/login/sally").cookie().unwrap();
    there.by("10.0.0.1").with("cookie", &cookie).touch("{}");
    here.by("10.0.0.1").with("cookie", &cookie).touch("{}");
    assert_eq!((counts(&there), counts(&here)), ((1, 0, 0), (0, 1, 0)));
}

#[test]
fn a_guest_cannot_choose_who_they_are() {
    let server = Setup::new().start();
    for body in
        [r#"{"key":"g_0000000000000001","id":"sally","user":"sally"}"#, r#"{"was":"g_00"}"#, r#"{"kind":"user"}"#]
    {
        assert_eq!(server.by("10.0.0.1").touch(body).status, 204);
    }
    server.by("10.0.0.1").with("x-forwarded-for", "10.0.0.77").touch("{}");
    assert_eq!(counts(&server), (0, 1, 0));
}

#[test]
fn untrusted_origin_headers_name_nobody_and_go_no_further() {
    let server = Setup::new().before(&site()).var("TRUST_ORIGIN_HEADERS", "false").start();
    let answer = server.by("10.0.0.1").document().get("/login/sally");
    assert_eq!((answer.header("x-presence-user"), answer.cookie()), (None, None));
    assert_eq!(counts(&server), (0, 1, 0));
}

#[test]
fn a_closed_page_leaves_after_a_grace() {
    let server = Setup::hooked().start();
    let start = 1_795_203_180_000_i64;
    let at = |seconds: i64| server.by("10.0.0.1").with("x-test-now", &(start + seconds * 1000).to_string());
    at(0).touch(r#"{"tab":"a"}"#);
    assert_eq!(at(1).post("/_presence/v1/leave", r#"{"tab":"a"}"#).status, 204);
    assert_eq!(at(5).get("/_presence/v1/count").text(), "1", "within the grace");
    assert_eq!(at(12).get("/_presence/v1/count").text(), "0");
    at(20).touch(r#"{"tab":"b"}"#);
    at(21).post("/_presence/v1/leave", r#"{"tab":"b"}"#);
    at(22).touch(r#"{"tab":"c"}"#);
    assert_eq!(at(40).get("/_presence/v1/count").text(), "1", "the next page was opened");
}

#[test]
fn a_leave_of_somebody_unknown_makes_nobody() {
    let server = Setup::new().start();
    assert_eq!(server.by("10.0.0.1").post("/_presence/v1/leave", r#"{"tab":"a"}"#).status, 204);
    assert_eq!(counts(&server), (0, 0, 0));
}

#[test]
fn somebody_is_online_for_the_window_and_kept_as_last_seen_for_a_week() {
    let server = Setup::hooked().before(&site()).start();
    let start = 1_795_203_180_000_i64;
    let at = |seconds: i64| server.by("10.0.0.1").with("x-test-now", &(start + seconds * 1000).to_string()).document();
    at(0).get("/as/sally");
    let user = |seconds: i64| at(seconds).get("/_presence/v1/users/sally.json").json();
    assert_eq!(user(330)["online"], true, "the window and the resolution");
    let offline = user(332);
    assert_eq!((&offline["online"], &offline["last_seen"]), (&json!(false), &json!("2026-11-20T19:33:00.000Z")));
    assert_eq!(offline["location"]["path"], "/as/sally");
    assert_eq!(user(604_800)["last_seen"], "2026-11-20T19:33:00.000Z");
    assert_eq!(user(604_802)["last_seen"], json!(null));
}

#[test]
fn after_midnight_nobody_counts_twice() {
    let server = Setup::hooked().start();
    let midnight = 1_795_219_200_000_i64;
    let at = |millis: i64| server.by("10.0.0.1").with("x-test-now", &(midnight + millis).to_string());
    at(-60_000).touch("{}");
    let before = at(-50_000).get("/_presence/v1/online.json?kind=guest").json()["users"][0].clone();
    at(1000).touch("{}");
    let after = at(5000).get("/_presence/v1/online.json?kind=guest").json();
    assert_eq!(after["counts"]["guests"], 1);
    assert_ne!(after["users"][0]["id"], before["id"], "the salt changed");
}

#[test]
fn a_listed_origin_may_record_and_any_other_may_not() {
    let server = Setup::new().var("ALLOWED_ORIGINS", "https://forum.example").start();
    let listed = server.by("10.0.0.1").with("origin", "https://forum.example");
    let answer = listed.touch("{}");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("https://forum.example")));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(listed.send("OPTIONS", "/_presence/v1/touch", None).status, 204);
    assert_eq!(guests(&server), 1);
    for (name, value) in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let other = server.by("10.0.0.2").with(name, value);
        assert!(other.touch("{}").problem(403).contains("ALLOWED_ORIGINS"));
        assert_eq!(other.post("/_presence/v1/leave", "{}").status, 403);
        assert_eq!(other.get("/_presence/v1/touch.gif").status, 403);
    }
    assert_eq!(guests(&server), 1);
    let own = server.by("10.0.0.3").with("origin", &format!("http://127.0.0.1:{}", server.port));
    assert_eq!(own.touch("{}").status, 204);
}

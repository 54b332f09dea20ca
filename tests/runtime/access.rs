//! Who may see what, on every output alike; who looked at what; and that somebody can be forgotten.

use crate::harness::*;
use serde_json::{Value, json};

const ADMIN: &str = "an-admin-token-of-some-length";
const READS: [&str; 11] = [
    "v1/online.json",
    "v1/online.json?limit=0",
    "v1/online.json?topic=user:sally",
    "v1/count.json",
    "v1/count",
    "badge.svg",
    "badge.json",
    "v1/users/sally.json",
    "v1/users.json?id=sally",
    "v1/pages.json",
    "feed.atom",
];

/// A site that names whomever the query says, with these permissions, on a page about that topic.
pub fn site() -> Origin {
    Origin::with_headers(|request| {
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        query.split('&').filter(|pair| !pair.is_empty()).fold(String::new(), |headers, pair| {
            let (name, value) = pair.split_once('=').unwrap();
            format!("{headers}X-Presence-{name}: {value}\r\n")
        })
    })
}

fn setup(origin: &Origin) -> Setup {
    Setup::new().before(origin).var("ADMIN_TOKEN", ADMIN).var("TOUCH_RESOLUTION", "0")
}

/// Somebody whom the site has signed in, with the cookie that they were given.
fn signed_in<'a>(server: &'a Server, address: &'a str, query: &str) -> Client<'a> {
    let client = server.by(address);
    let page = client.clone().document().get(&format!("/?{query}"));
    client.with("cookie", &page.cookie().expect("a cookie"))
}

fn admin(server: &Server) -> Client<'_> {
    server.by("10.8.8.8").with("authorization", &format!("Bearer {ADMIN}"))
}

#[test]
fn a_rule_holds_on_every_output_that_tells_of_it() {
    let origin = site();
    let server = |access: Value| setup(&origin).var("ACCESS", &access.to_string()).start();
    for (subject, closed) in [
        ("count", vec![0, 1, 2, 3, 4, 5, 6, 9]),
        ("names", vec![0, 2, 7, 8, 10]),
        ("locations", vec![2, 9]),
        ("last_seen", vec![]),
    ] {
        for (rule, guest, user, staff) in
            [("users", 401, 200, 200), ("perm:staff", 401, 403, 200), ("nobody", 403, 403, 403)]
        {
            let server = server(json!({subject: rule}));
            let user_client = signed_in(&server, "10.0.0.1", "User=sally");
            let staff_client = signed_in(&server, "10.0.0.2", "User=boss&Perms=staff");
            for (index, path) in READS.iter().enumerate() {
                let expected = if closed.contains(&index) { [guest, user, staff] } else { [200; 3] };
                let found = [server.by("10.0.0.3"), user_client.clone(), staff_client.clone()]
                    .map(|client| client.get(&format!("/_presence/{path}")).status);
                assert_eq!(found, expected, "{subject} {rule} {path}");
            }
        }
    }
}

#[test]
fn what_is_left_out_is_nobodys_to_cache() {
    let origin = site();
    let server = setup(&origin).var("ACCESS", r#"{"locations": "users", "last_seen": "nobody"}"#).start();
    let sally = signed_in(&server, "10.0.0.1", "User=sally");
    sally.clone().document().get("/forum");
    for (client, place) in [(server.by("10.0.0.3"), Value::Null), (sally, json!({"path": "/forum", "title": null}))] {
        for path in ["v1/online.json", "v1/users.json?id=sally"] {
            let answer = client.get(&format!("/_presence/{path}"));
            assert_eq!(answer.json()["users"][0]["location"], place, "{path}");
            assert_eq!(answer.header("cache-control"), Some("private, no-store"));
            assert_eq!((answer.header("access-control-allow-origin"), answer.header("etag")), (None, None));
        }
    }
    let count = server.by("10.0.0.3").get("/_presence/v1/count.json");
    assert_eq!(count.header("cache-control"), Some("public, max-age=1"), "which depends on nobody");
}

#[test]
fn a_listed_origin_may_read_what_is_restricted_with_its_visitors_token() {
    let origin = site();
    let setup =
        setup(&origin).var("ALLOWED_ORIGINS", "https://forum.example.com").var("ACCESS", r#"{"names": "users"}"#);
    let server = setup.start();
    let (_, sally) = (0, signed_in(&server, "10.0.0.1", "User=sally"));
    let listed = sally.clone().with("origin", "https://forum.example.com").get("/_presence/v1/online.json");
    assert_eq!((listed.status, listed.header("access-control-allow-origin")), (200, Some("https://forum.example.com")));
    let other = sally.with("origin", "https://evil.example").get("/_presence/v1/online.json");
    assert_eq!(other.header("access-control-allow-origin"), None);
}

#[test]
fn the_feed_tells_arrivals_newest_first() {
    let origin = site();
    let server = setup(&origin).start();
    for (number, name) in ["sally", "bob", "<carol>&"].into_iter().enumerate() {
        let encoded = name.replace('<', "%3C").replace('>', "%3E").replace('&', "%26");
        server.by(&format!("10.0.0.{number}")).document().get(&format!("/?User={encoded}"));
        eventually(number + 1, || server.ids("/_presence/v1/online.json").len());
    }
    server.by("10.0.0.0").document().get("/again?User=sally");
    let feed = server.by("10.9.9.9").get("/_presence/feed.atom");
    assert_eq!(feed.header("content-type"), Some("application/atom+xml; charset=utf-8"));
    let titles: Vec<_> =
        feed.text().split("<title>").skip(2).map(|rest| rest.split(" came").next().unwrap().to_owned()).collect();
    assert_eq!(titles, ["&lt;carol&gt;&amp;", "bob", "sally"]);
    let server = server.kill_and_restart();
    assert_eq!(server.by("10.9.9.9").get("/_presence/feed.atom").text().matches("<entry>").count(), 3);
}

#[test]
fn who_looked_is_for_the_owner_and_those_who_may() {
    let origin = site();
    let server = setup(&origin).start();
    let viewers = |client: &Client<'_>| client.get("/_presence/v1/viewers.json?topic=user:sally");
    let profile = "Topic=user%3Asally";
    for (number, who) in ["bob&Name=Bob%20B.", "carol", "sally"].into_iter().enumerate() {
        server.by(&format!("10.0.0.{number}")).document().get(&format!("/u/sally?User={who}&{profile}"));
    }
    for address in ["10.0.1.1", "10.0.1.2", "10.0.1.2"] {
        server.by(address).document().get(&format!("/u/sally?{profile}"));
    }
    server.by("10.0.0.0").document().get("/forum?User=bob&Name=Bob%20B.");
    let sally = signed_in(&server, "10.0.0.2", "User=sally");
    let check = |answer: Answer, expected: [&str; 2]| {
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("private, no-store")),
            "{}",
            answer.text()
        );
        let answer = answer.json();
        assert_eq!(answer["counts"], json!({"total": 4, "users": 2, "guests": 2}));
        let ids: Vec<_> = answer["viewers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|viewer| viewer["id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(ids, expected);
        answer
    };
    let first = check(viewers(&sally), ["carol", "bob"]);
    assert_eq!(first["viewers"][1]["name"], "Bob B.", "who has left the page has looked");
    assert_eq!(server.ids("/_presence/v1/online.json?topic=user:sally"), ["carol"], "and looks no longer");
    check(viewers(&admin(&server)), ["carol", "bob"]);
    check(viewers(&signed_in(&server, "10.0.0.7", "User=mod&Perms=view_viewers")), ["carol", "bob"]);
    viewers(&server.by("10.0.0.9")).problem(401);
    viewers(&signed_in(&server, "10.0.0.8", "User=dave&Perms=can_edit")).problem(403);
    viewers(&signed_in(&server, "10.0.0.8", "User=Sally")).problem(403);

    let server = server.kill_and_restart();
    let sally = signed_in(&server, "10.0.0.2", "User=sally");
    check(viewers(&sally), ["carol", "bob"]);
}

#[test]
fn an_invisible_user_is_named_nowhere_but_to_those_who_may_see_them() {
    let origin = site();
    let server = setup(&origin).start();
    server.by("10.0.0.1").document().get("/u/sally?User=ghost&Name=Casper&Invisible=1&Topic=user%3Asally");
    let sally = signed_in(&server, "10.0.0.2", "User=sally");
    let mod_ = signed_in(&server, "10.0.0.3", "User=mod&Perms=see_invisible,view_viewers");
    eventually(3, || server.json("/_presence/v1/count.json")["total"].as_u64().unwrap());
    let mut paths: Vec<String> = READS.iter().map(|path| format!("/_presence/{path}")).collect();
    paths.push("/_presence/v1/users/ghost.json".into());
    paths.push("/_presence/v1/viewers.json?topic=user:sally".into());
    paths.push("/_presence/v1/online.json?kind=guest".into());
    for path in &paths {
        for client in [server.by("10.0.0.9"), sally.clone()] {
            let text = client.get(path).text().replace("\"id\":\"ghost\"", "asked for");
            assert!(!text.contains("ghost") && !text.contains("Casper"), "{path}: {text}");
        }
    }
    assert_eq!(server.json("/_presence/v1/users/ghost.json")["online"], false);
    assert_eq!(server.json("/_presence/v1/count.json")["guests"], 1, "they are counted as a guest");
    let seen = mod_.get("/_presence/v1/online.json");
    assert_eq!(seen.header("cache-control"), Some("private, no-store"));
    assert!(seen.text().contains(r#""id":"ghost","name":"Casper""#) && seen.text().contains(r#""invisible":true"#));
    assert_eq!(seen.json()["counts"], json!({"total": 3, "users": 3, "guests": 0, "bots": 0}));
    assert_eq!(mod_.get("/_presence/v1/users/ghost.json").json()["online"], true);
    assert!(mod_.get("/_presence/v1/viewers.json?topic=user:sally").text().contains("Casper"));
    let after = server.by("10.0.0.9").get("/_presence/v1/online.json");
    assert_eq!(after.header("cache-control"), Some("public, max-age=1"));
    assert!(!after.text().contains("Casper"), "and nobody else gets what they were told");
}

#[test]
fn who_is_erased_leaves_no_trace_in_the_files_either() {
    const ID: &str = "somebody-to-be-forgotten";
    let origin = site();
    let server = setup(&origin).start();
    let profile = format!("Topic=user%3A{ID}");
    server.by("10.0.0.1").document().get(&format!("/u/sally?User={ID}&Name={ID}&Topic=user%3Asally"));
    server.by("10.0.0.2").document().get(&format!("/profile?User=bob&{profile}"));
    eventually(2, || server.ids("/_presence/v1/online.json").len());
    server.by("10.0.0.1").document().get(&format!("/?User={ID}&Name={ID}"));
    server.by("10.0.0.3").document().get(&format!("/profile?{profile}"));
    let client = signed_in(&server, "10.0.0.1", &format!("User={ID}"));
    for number in 0..20 {
        let body = json!({"value": format!("session of {ID}"), "user": ID}).to_string();
        assert_eq!(admin(&server).post("/_presence/v1/sessions", &body).status, 201);
        let body = json!({"user": if number < 3 { ID } else { "bob" }, "label": "reader"}).to_string();
        assert_eq!(admin(&server).post("/_presence/v1/app-passwords", &body).status, 201);
        let body = json!({"user": ID, "name": ID}).to_string();
        let path = format!("/_presence/v1/sign-ons/{number:064x}");
        assert_eq!(admin(&server).send("PUT", &path, Some(body.as_bytes())).status, 204);
        let body = json!({"user": ID, "permission": format!("p{number}"), "object": ID}).to_string();
        assert_eq!(admin(&server).send("PUT", "/_presence/v1/grants", Some(body.as_bytes())).status, 204);
    }
    client.clone().document().get("/?User=");
    eventually(json!(false), || server.json(&format!("/_presence/v1/users/{ID}.json"))["online"].clone());
    assert!(files_with(&server.storage(), ID).len() > 3, "else this would show nothing");

    let path = format!("/_presence/v1/users/{ID}");
    // The cookie of before they signed out is worth nothing any more.
    let client = signed_in(&server, "10.0.0.1", &format!("User={ID}"));
    signed_in(&server, "10.0.0.2", "User=bob").send("DELETE", &path, None).problem(403);
    let erased = client.send("DELETE", &path, None);
    assert_eq!(erased.status, 204, "{}", erased.text());
    assert!(erased.cookie().is_some_and(|cookie| cookie == "presence="), "their own cookie goes too");
    eventually(vec![], || files_with(&server.storage(), ID));
    client.send("DELETE", &path, None).problem(401);

    let bob = server.json("/_presence/v1/users/bob.json");
    assert_eq!(bob["online"], true, "nobody else is forgotten");
    assert_eq!(admin(&server).get("/_presence/v1/app-passwords").json()["app_passwords"].as_array().unwrap().len(), 17);
    assert_eq!(server.json(&format!("/_presence/v1/users/{ID}.json"))["last_seen"], Value::Null);
    let again = signed_in(&server, "10.0.0.1", &format!("User={ID}"));
    again.send("DELETE", &path, None).problem(429);
    let server = server.kill_and_restart();
    assert_eq!(server.json("/_presence/v1/users/bob.json")["online"], true);
    assert_eq!(admin(&server).send("DELETE", &path, None).status, 204, "to be forgotten twice is to be forgotten");
}

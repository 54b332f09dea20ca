//! Nobody learns what they should not: what strangers, users and those who may see more are told, with the settings that a site
//! has by itself.

use crate::access::{ADMIN, admin, signed_in};
use crate::harness::*;
use crate::live_socket::Watcher;
use serde_json::{Value, json};

const ONLINE: &str = "/_presence/v1/online.json";
const GUESTS: &str = "/_presence/v1/online.json?kind=guest";
const NOON: i64 = 1_795_176_000_000;

/// A site that answers with the headers that the query names, as `User=sally&Cache-Control=no-store`.
fn site() -> Origin {
    Origin::with_headers(|request| {
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        query.split('&').filter(|pair| !pair.is_empty()).fold(String::new(), |headers, pair| {
            let (name, value) = pair.split_once('=').unwrap();
            let name = if name == "Cache-Control" { name.to_owned() } else { format!("X-Presence-{name}") };
            format!("{headers}{name}: {value}\r\n")
        })
    })
}

/// Before a site, with nothing set that says who may see what.
fn setup(build: Setup, origin: &Origin) -> Setup {
    build.before(origin).var("ACCESS", "").var("ADMIN_TOKEN", ADMIN).var("TOUCH_RESOLUTION", "0")
}

/// Somebody who may see guests, and not who is invisible.
fn moderator(server: &Server) -> Client<'_> {
    signed_in(server, "10.7.7.7", "User=mod&Perms=view_guests")
}

fn users(answer: &Answer) -> Vec<Value> {
    answer.json()["users"].as_array().unwrap_or_else(|| panic!("{}", answer.text())).clone()
}

fn place(server: &Server, user: &str) -> Value {
    admin(server).get(&format!("/_presence/v1/users/{user}.json")).json()["location"].clone()
}

#[test]
fn strangers_are_told_who_is_here_and_users_where() {
    let origin = site();
    let server = setup(Setup::new(), &origin).start();
    let sally = signed_in(&server, "10.0.0.1", "User=sally");
    sally.clone().document().get("/forum?User=sally");
    eventually(json!("/forum"), || place(&server, "sally")["path"].clone());
    let stranger = server.by("10.0.0.9");
    for path in ["v1/online.json", "v1/users.json?id=sally"].map(|path| format!("/_presence/{path}")) {
        // One after the other, so that an answer that is given again would be given to the wrong one.
        for _ in 0..2 {
            let public = stranger.get(&path);
            assert_eq!((public.status, public.header("cache-control")), (200, Some("public, max-age=1")));
            assert_eq!(
                (public.header("vary"), public.header("access-control-allow-origin")),
                (Some("cookie, authorization"), Some("*"))
            );
            assert_eq!(users(&public)[0]["location"], Value::Null);
            for known in [&sally, &admin(&server)] {
                let personal = known.get(&path);
                assert_eq!((personal.status, personal.header("cache-control")), (200, Some("private, no-store")));
                assert_eq!(users(&personal)[0]["location"], json!({"path": "/forum", "title": null}), "{path}");
            }
        }
        let forged = stranger.clone().with("cookie", "presence=forged").get(&path);
        assert_eq!(users(&forged)[0]["location"], Value::Null);
        let tag = stranger.get(&path).header("etag").unwrap().to_owned();
        let asked = sally.clone().with("if-none-match", &tag).get(&path);
        assert_eq!(asked.status, 200, "what a browser kept as a stranger's is not what a user may see");
    }
    for path in [
        "v1/pages.json",
        "v1/online.json?path=/forum",
        "v1/online.json?topic=tea",
        "v1/online.json?limit=0&path=/forum",
    ] {
        let path = format!("/_presence/{path}");
        stranger.get(&path).problem(401);
        assert_eq!(sally.get(&path).status, 200, "{path}");
    }
    let count = stranger.get("/_presence/v1/count.json");
    assert_eq!((count.header("cache-control"), count.header("vary")), (Some("public, max-age=1"), None));
    let cookie = sally.cookie();
    let seen = |headers: &[(&str, &str)]| Watcher::open(&server, "", headers).users["sally"]["location"].clone();
    assert_eq!(seen(&[]), Value::Null);
    assert_eq!(seen(&[("cookie", &cookie)])["path"], "/forum");
}

#[test]
fn guests_are_listed_to_those_alone_who_may_see_them_and_by_no_key_of_theirs() {
    let origin = site();
    let server = setup(Setup::new(), &origin).start();
    server.by("10.0.0.1").document().get("/a");
    server.by("10.0.0.2").with("user-agent", "curl/8").document().get("/a");
    let moderator = moderator(&server);
    for kind in ["guest", "bot"] {
        let path = format!("{ONLINE}?kind={kind}");
        server.by("10.0.0.9").get(&path).problem(401);
        signed_in(&server, "10.0.0.3", "User=sally&Perms=staff").get(&path).problem(403);
        let listed = moderator.get(&path);
        assert_eq!((users(&listed).len(), listed.header("cache-control")), (1, Some("private, no-store")), "{kind}");
        assert_eq!(users(&admin(&server).get(&path)), users(&listed), "the same ids for all who may");
        let counted = server.by("10.0.0.9").get(&format!("{path}&limit=0"));
        assert_eq!((counted.status, counted.header("cache-control")), (200, Some("public, max-age=1")));
    }
}

#[test]
fn a_guest_is_another_one_each_day_and_on_each_site() {
    let origin = site();
    let setup = setup(Setup::hooked(), &origin).var("PRESENCE_SECRET", "0123456789abcdef0123456789abcdef");
    let id = |site: &str, at: i64| {
        let server = setup.clone().var("SITE", site).start();
        let now = at.to_string();
        server.by("10.0.0.1").with("x-test-now", &now).document().get("/a");
        let listed = admin(&server).with("x-test-now", &now).get(GUESTS);
        users(&listed)[0]["id"].as_str().unwrap().to_owned()
    };
    let (one, same) = (id("a", NOON), id("a", NOON + 3_600_000));
    assert_eq!(one, same);
    assert!(one != id("b", NOON) && one != id("a", NOON + 86_400_000));
}

#[test]
fn parameters_of_a_path_are_nobodys_business() {
    let origin = site();
    let server = setup(Setup::new(), &origin).start();
    let sally = signed_in(&server, "10.0.0.1", "User=sally");
    sally.clone().document().get("/shop;jsessionid=0123456789/item?User=sally");
    eventually(json!({"path": "/shop", "title": null}), || place(&server, "sally"));
    assert_eq!(sally.touch(r#"{"path": "/forum;v=1"}"#).status, 204);
    eventually(json!("/forum"), || place(&server, "sally")["path"].clone());
    assert_eq!(users(&sally.get(&format!("{ONLINE}?path=/forum%3Bother=2")))[0]["id"], "sally");
}

#[test]
fn a_page_that_is_not_to_be_kept_or_says_so_is_nobodys_place() {
    let origin = site();
    let server = setup(Setup::new(), &origin).start();
    let sally = signed_in(&server, "10.0.0.1", "User=sally");
    let bob = signed_in(&server, "10.0.0.2", "User=bob");
    for header in ["Location=none", "Cache-Control=private", "Cache-Control=no-store"] {
        sally.clone().document().get("/before?User=sally");
        eventually(json!("/before"), || place(&server, "sally")["path"].clone());
        let page = sally.clone().document().get(&format!("/page?User=sally&Topic=tea&{header}"));
        if header.ends_with("private") {
            assert_eq!(page.header("server-timing"), None);
            eventually(json!("/page"), || place(&server, "sally")["path"].clone());
            continue;
        }
        assert_eq!(page.header("server-timing"), Some("presence;desc=nowhere"), "{header}");
        eventually(Value::Null, || place(&server, "sally"));
        // What the page reports of itself by a call or a picture.
        assert_eq!(sally.touch(r#"{"path": "/page", "title": "Page", "topic": "tea", "tab": "1"}"#).status, 204);
        assert_eq!(sally.get("/_presence/v1/touch.gif?path=/page&title=Page&topic=tea").status, 200);
        let here = sally.get(ONLINE);
        assert_eq!(
            users(&here).iter().find(|user| user["id"] == "sally").unwrap()["location"],
            Value::Null,
            "{header}"
        );
        for path in ["path=/page", "topic=tea"] {
            assert_eq!(sally.get(&format!("{ONLINE}?{path}")).json()["counts"]["total"], 0, "{header} {path}");
        }
        // Another visitor's is another page.
        bob.clone().document().get("/page?User=bob");
        eventually(json!("/page"), || place(&server, "bob")["path"].clone());
        bob.clone().document().get("/?User=bob");
        eventually(json!("/"), || place(&server, "bob")["path"].clone());
    }
    let total: u64 = admin(&server).get("/_presence/v1/pages.json").json()["pages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|page| page["total"].as_u64().unwrap())
        .sum();
    assert_eq!((total, server.json("/_presence/v1/count.json")["total"].as_u64()), (1, Some(2)), "here, but nowhere");
}

#[test]
fn a_page_that_is_nobodys_place_is_heard_of_whatever_another_page_has_said_by_its_connection() {
    let origin = site();
    let server = setup(Setup::new(), &origin).var("TOUCH_RESOLUTION", "30").start();
    let sally = signed_in(&server, "10.0.0.1", "User=sally");
    let mut socket = Watcher::open(&server, "?tab=1", &[("cookie", &sally.cookie())]);
    for step in 0..2 {
        socket.say(&json!({"type": "touch", "path": format!("/open/{step}"), "tab": "1"}));
        eventually(json!(format!("/open/{step}")), || place(&server, "sally")["path"].clone());
        sally.clone().document().get("/hidden?User=sally&Location=none");
        eventually(Value::Null, || place(&server, "sally"));
    }
}

#[test]
fn of_a_private_page_nothing_is_kept_in_any_form() {
    const TOKEN: &str = "k3x9-of-a-reset-link";
    let origin = site();
    let server = setup(Setup::new(), &origin).start();
    let topic = "topic-of-a-private-page";
    let sally = signed_in(&server, "10.0.0.1", "User=sally");
    let mut socket = Watcher::open(&server, "?tab=2", &[("cookie", &sally.cookie())]);
    let paths = [
        "/account/",
        "/Account/",
        "/%61ccount/",
        "/en/%2561ccount/",
        "/account;a=1/",
        "/x//account/",
        "/password_reset/",
    ];
    for path in paths.map(|path| format!("{path}{TOKEN}")) {
        let report = json!({"type": "touch", "path": path, "title": TOKEN, "topic": topic, "tab": "1"}).to_string();
        sally.clone().document().get("/open?User=sally");
        eventually(json!("/open"), || place(&server, "sally")["path"].clone());
        sally.clone().document().get(&format!("{path}?User=sally&Topic={topic}"));
        eventually(Value::Null, || place(&server, "sally"));
        for way in 0..3 {
            match way {
                0 => assert_eq!(sally.touch(&report).status, 204),
                1 => {
                    let query =
                        format!("path={}&title={TOKEN}&topic={topic}", path.replace('%', "%25").replace(';', "%3B"));
                    assert_eq!(sally.get(&format!("/_presence/v1/touch.gif?{query}")).status, 200);
                }
                _ => socket.say(&serde_json::from_str(&report).unwrap()),
            }
        }
        let mut after = Watcher::open(&server, "?tab=2", &[("cookie", &sally.cookie())]);
        assert_eq!(after.users["sally"]["location"], Value::Null, "{path}");
        after.say(&json!({"type": "leave", "tab": "2"}));
        let pages = admin(&server).get("/_presence/v1/pages.json").text();
        assert!(!pages.contains(TOKEN) && !pages.contains("ccount"), "{pages}");
        for query in [format!("topic={topic}"), format!("path={}", path.replace('%', "%25").replace(';', "%3B"))] {
            assert_eq!(admin(&server).get(&format!("{ONLINE}?{query}")).json()["counts"]["total"], 0, "{path} {query}");
        }
        let viewers = admin(&server).get(&format!("/_presence/v1/viewers.json?topic={topic}")).json();
        assert_eq!(viewers["counts"]["total"], 0);
    }
    drop(socket);
    sally.clone().document().get("/?User=");
    eventually(json!(false), || server.json("/_presence/v1/users/sally.json")["online"].clone());
    let server = server.kill_and_restart();
    assert_eq!(place(&server, "sally"), Value::Null, "nor where they were last");
    assert_eq!(files_with(&server.storage(), TOKEN), Vec::<String>::new());
    assert_eq!(files_with(&server.storage(), topic), Vec::<String>::new());
}

#[test]
fn which_pages_are_private_is_the_owners_to_say() {
    let origin = site();
    let server = setup(Setup::new(), &origin).var("PRIVATE_PATHS", "/club/*").start();
    let sally = signed_in(&server, "10.0.0.1", "User=sally");
    for (path, told) in [("/account", json!("/account")), ("/club/7", Value::Null), ("/a", json!("/a"))] {
        sally.clone().document().get(&format!("{path}?User=sally"));
        eventually(told, || place(&server, "sally")["path"].clone());
    }
}

/// What is so of all guests: the fields that there are, and what each looks like but for the times.
fn shapes(guests: &[Value]) -> Vec<Vec<(String, String)>> {
    let shape = |name: &String, value: &Value| match name.as_str() {
        "id" => format!("{} {}", value.as_str().unwrap().len(), value.as_str().unwrap().starts_with("g_")),
        "since" | "last_seen" => String::new(),
        _ => value.to_string(),
    };
    let of = |guest: &Value| {
        guest.as_object().unwrap().iter().map(|(name, value)| (name.clone(), shape(name, value))).collect()
    };
    guests.iter().map(of).collect()
}

#[test]
fn who_is_invisible_is_a_guest_like_any_other() {
    let origin = site();
    for shards in ["1", "3"] {
        let server = setup(Setup::new(), &origin).var("SHARDS", shards).start();
        let moderator = moderator(&server);
        for number in 1..=3 {
            server.by(&format!("10.0.0.{number}")).document().get("/a?Topic=tea");
            let ghost = format!("/a?User=ghost{number}&Name=Casper&Avatar=/g.png&Invisible=1&Topic=tea");
            server.by(&format!("10.0.1.{number}")).document().get(&ghost);
        }
        eventually(6, || moderator.get(ONLINE).json()["counts"]["guests"].as_u64().unwrap());
        for query in ["", "&path=/a", "&topic=tea", "&path=/a&topic=tea"] {
            let answer = moderator.get(&format!("{GUESTS}{query}"));
            let guests = users(&answer);
            assert_eq!((guests.len(), &answer.json()["counts"]["guests"]), (6, &json!(6)), "{shards} {query}");
            let shapes = shapes(&guests);
            assert!(shapes.iter().all(|shape| *shape == shapes[0]), "{shapes:?}");
            let seen: Vec<_> = guests.iter().map(|guest| guest["last_seen"].as_str().unwrap()).collect();
            assert!(seen.is_sorted_by(|one, other| one >= other), "newest first");
            assert!(!answer.text().contains("ghost") && !answer.text().contains("Casper"));
        }
        // Page by page, each once, and whoever may see them sees them among the users.
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = moderator.get(&format!("{GUESTS}&limit=1{cursor}")).json();
            ids.extend(page["users"].as_array().unwrap().iter().map(|guest| guest["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let mut listed: Vec<_> =
            users(&moderator.get(GUESTS)).iter().map(|guest| guest["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, listed);
        listed.sort();
        listed.dedup();
        assert_eq!(listed.len(), 6);
        let pages = moderator.get("/_presence/v1/pages.json").json();
        assert_eq!(pages["pages"][0], json!({"path": "/a", "title": null, "total": 6}));
        let all = admin(&server);
        assert_eq!((users(&all.get(GUESTS)).len(), all.get(ONLINE).json()["counts"]["users"].as_u64()), (3, Some(4)));
    }
}

#[test]
fn whoever_watches_cannot_tell_the_invisible_from_a_guest() {
    let origin = site();
    let server = setup(Setup::new(), &origin).start();
    signed_in(&server, "10.0.0.1", "User=sally");
    let mut watcher = Watcher::open(&server, "", &[]);
    watcher.until(|watcher| watcher.ids() == ["sally"]);
    let mut comes = |address: &str, query: &str, total: u64| {
        server.by(address).document().get(&format!("/a?{query}"));
        loop {
            let message = watcher.message();
            if message["counts"]["total"] == total {
                let keys: Vec<_> = message.as_object().unwrap().keys().cloned().collect();
                return (message["counts"].clone(), keys);
            }
        }
    };
    // Who watches is a guest, too.
    let guest = comes("10.0.0.2", "", 3);
    let ghost = comes("10.0.0.3", "User=ghost&Invisible=1", 4);
    assert_eq!(guest.1, ghost.1, "the same is told of both");
    assert_eq!((guest.0["guests"].as_u64(), ghost.0["guests"].as_u64()), (Some(2), Some(3)));
    let headers = |answer: Answer| answer.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let here = headers(server.by("10.0.0.9").get(ONLINE));
    let without = setup(Setup::new(), &origin).start();
    signed_in(&without, "10.0.0.1", "User=sally");
    assert_eq!(here, headers(without.by("10.0.0.9").get(ONLINE)), "nor by a header");
}

#[test]
fn who_hides_is_a_guest_since_then() {
    let origin = site();
    let server = setup(Setup::hooked(), &origin).start();
    let at = |seconds: i64| (NOON + seconds * 1000).to_string();
    let page = |seconds, query: &str| {
        server.by("10.0.0.1").with("x-test-now", &at(seconds)).document().get(&format!("/a?{query}"))
    };
    page(0, "User=sally");
    page(60, "User=sally");
    let sally = admin(&server).get("/_presence/v1/users/sally.json").json();
    assert_eq!(sally["since"], "2026-11-20T12:00:00.000Z");
    page(120, "User=sally&Invisible=1");
    let moderator = server.by("10.7.7.7").with("x-test-now", &at(120)).document().get("/?User=mod&Perms=view_guests");
    let moderator = server.by("10.7.7.7").with("cookie", &moderator.cookie().unwrap());
    let hidden = &users(&moderator.get(GUESTS))[0];
    assert_eq!(hidden["since"], "2026-11-20T12:02:00.000Z", "or the time would name them");
}

#[test]
fn who_signs_in_brings_nothing_along_that_was_seen_of_a_guest() {
    let origin = site();
    for shards in ["1", "3"] {
        let server = setup(Setup::hooked(), &origin).var("SHARDS", shards).start();
        let at = |seconds: i64| server.by("10.0.0.1").with("x-test-now", &(NOON + seconds * 1000).to_string());
        at(0).document().get("/secret-interest?Topic=tea");
        at(10).touch(r#"{"path": "/secret-interest", "title": "Secret", "tab": "1", "topic": "tea"}"#);
        at(11).touch(r#"{"path": "/other", "title": "Other", "tab": "2"}"#);
        eventually(1, || users(&admin(&server).get(GUESTS)).len());
        // The answer to a login form is no page.
        let form = at(60).with("accept", "text/html").with("sec-fetch-dest", "empty");
        form.post("/login?User=sally", "name=sally");
        let sally = || admin(&server).get(&format!("{ONLINE}?new={shards}")).json()["users"][0].clone();
        eventually(json!("sally"), || sally()["id"].clone());
        let sally = sally();
        assert_eq!((&sally["since"], &sally["tabs"]), (&json!("2026-11-20T12:01:00.000Z"), &json!(1)), "{shards}");
        assert_eq!(sally["location"], Value::Null, "{shards}");
        assert_eq!(users(&admin(&server).get(GUESTS)), Vec::<Value>::new(), "and nobody counts twice");
        let viewers = admin(&server).get("/_presence/v1/viewers.json?topic=tea").json();
        assert_eq!(viewers["counts"], json!({"total": 1, "users": 0, "guests": 1}), "who looked was a guest: {shards}");
    }
}

#[test]
fn who_is_not_told_when_others_were_here_is_not_told_that_they_are() {
    let origin = site();
    let server = setup(Setup::new(), &origin).var("ACCESS", r#"{"last_seen": "nobody", "viewers": "public"}"#).start();
    let gone = "User=gone&Name=Somebody&Avatar=/g.png&Topic=tea";
    server.by("10.0.0.1").document().get(&format!("/a?{gone}"));
    signed_in(&server, "10.0.0.3", "User=here&Topic=tea");
    eventually(2, || server.ids(ONLINE).len());
    let stranger = server.by("10.0.0.9");
    let viewers = || stranger.get("/_presence/v1/viewers.json?topic=tea").json();
    assert_eq!(viewers()["counts"], json!({"total": 2, "users": 2, "guests": 0}));
    let cookie = signed_in(&server, "10.0.0.1", gone);
    cookie.document().get("/?User=");
    eventually(vec!["here".to_owned()], || server.ids(ONLINE));
    for reader in [stranger.clone(), admin(&server), signed_in(&server, "10.0.0.3", "User=here")] {
        let told = |id: &str| {
            let one = reader.get(&format!("/_presence/v1/users/{id}.json"));
            let several = reader.get(&format!("/_presence/v1/users.json?id={id}&id=here")).json()["users"][0].clone();
            (one.status, one.json().to_string().replace(id, "ID"), several.to_string().replace(id, "ID"))
        };
        assert_eq!(told("gone"), told("none"));
        let feed = reader.get("/_presence/feed.atom").text();
        assert!(feed.contains("here came online") && !feed.contains("gone") && !feed.contains("Somebody"), "{feed}");
    }
    let viewers = viewers();
    assert_eq!(viewers["counts"], json!({"total": 1, "users": 1, "guests": 0}));
    assert_eq!(viewers["viewers"][0]["id"], "here");
}

#[test]
fn names_and_titles_are_fit_to_be_shown() {
    let origin = site();
    let server = setup(Setup::new(), &origin).start();
    for (number, (name, shown)) in [
        ("%E2%80%AEyllaS%E2%80%AC%E2%80%8B%20", json!("yllaS")),
        ("%20%E2%80%8B%E3%85%A4%20", Value::Null),
        ("%F0%9F%91%A9%E2%80%8D%F0%9F%9A%92", json!("👩\u{200d}🚒")),
        (&"%C3%A9".repeat(100), json!("é".repeat(64))),
        ("a%CC%81%CC%81%CC%81%CC%81%CC%81", json!("a\u{301}\u{301}")),
    ]
    .into_iter()
    .enumerate()
    {
        server.by("10.0.0.1").document().get(&format!("/?User=u{number}&Name={name}"));
        eventually(shown, || server.json(&format!("/_presence/v1/users/u{number}.json"))["name"].clone());
    }
    let sally = signed_in(&server, "10.0.0.2", "User=sally");
    let title = format!("\u{202e}Surf\u{2067}\n {}", "é".repeat(200));
    assert_eq!(sally.touch(&json!({"path": "/a", "title": title}).to_string()).status, 204);
    let shown = format!("Surf {}", "é".repeat(125));
    eventually(json!({"path": "/a", "title": shown}), || place(&server, "sally"));
}

//! A site whose members are spread over several objects is one site to whoever asks.

use crate::harness::*;
use crate::live::{hooked, setup, token};
use serde_json::{Value, json};
use std::time::Duration;

const ONLINE: &str = "/_presence/v1/online.json";

fn over(count: u32) -> Setup {
    setup().var("SHARDS", &count.to_string()).var("ADMIN_TOKEN", ADMIN).var("TOPICS", "tea")
}

const ADMIN: &str = "0123456789abcdef0123456789abcdef";

fn touch(server: &Server, user: &str, address: &str, body: Value) {
    let client = server.by(address).with("authorization", &format!("Bearer {}", token(user)));
    assert_eq!(client.touch(&body.to_string()).status, 204);
}

fn names(count: u32) -> Vec<String> {
    (0..count).map(|number| format!("user-{number:02}")).collect()
}

/// The list, page by page.
fn listed(server: &Server, limit: usize) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.json(&format!("{ONLINE}?limit={limit}{cursor}"));
        all.extend(page["users"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn counts(server: &Server) -> Value {
    server.json(&format!("{ONLINE}?limit=0"))["counts"].clone()
}

#[test]
fn a_site_over_several_objects_lists_all_newest_first() {
    let server = over(4).start();
    let names = names(12);
    for (number, name) in names.iter().enumerate() {
        touch(&server, name, "10.0.0.1", json!({"path": format!("/page/{}", number % 3), "topic": "tea"}));
        // Each is told of before the next comes, so that they are seen one after the other.
        eventually(1 + number, || server.ids(ONLINE).len());
    }
    let newest_first: Vec<_> = names.iter().rev().cloned().collect();
    assert_eq!(listed(&server, 5), newest_first);
    assert_eq!(listed(&server, 1), newest_first);
    for guest in 0..5 {
        server.by(&format!("10.1.0.{guest}")).touch(r#"{"path": "/page/0"}"#);
    }
    assert_eq!(counts(&server), json!({"total": 17, "users": 12, "guests": 5, "bots": 0}));
    assert_eq!(server.json("/_presence/v1/count.json")["total"], 17);
    let page = server.json(&format!("{ONLINE}?path=/page/1"));
    assert_eq!((&page["counts"]["users"], page["users"].as_array().unwrap().len()), (&json!(4), 4));
    let pages = server.json("/_presence/v1/pages.json?limit=2");
    assert_eq!(pages["pages"][0], json!({"path": "/page/0", "title": null, "total": 9}));
    let asked: Vec<_> = ["user-07", "nobody", "user-03"].map(|id| format!("id={id}")).into();
    let users = server.json(&format!("/_presence/v1/users.json?{}", asked.join("&")));
    let told: Vec<_> = users["users"].as_array().unwrap().iter().map(|user| (&user["id"], &user["online"])).collect();
    assert_eq!(
        told,
        [(&json!("user-07"), &json!(true)), (&json!("nobody"), &json!(false)), (&json!("user-03"), &json!(true))]
    );
    let viewers = server
        .by("10.0.0.1")
        .with("authorization", &format!("Bearer {ADMIN}"))
        .get("/_presence/v1/viewers.json?topic=tea");
    assert_eq!(viewers.json()["counts"], json!({"total": 12, "users": 12, "guests": 0}));
    assert_eq!(server.json(ONLINE)["peak"]["total"], 17);
    let metrics = server.by("10.0.0.1").with("authorization", &format!("Bearer {ADMIN}")).get("/_presence/metrics");
    assert!(metrics.text().contains("whos_online_members{site=\"club\",kind=\"user\"} 12\n"), "{}", metrics.text());
    // Nothing of it is in the memory of a Worker alone.
    let server = server.kill_and_restart();
    assert_eq!(listed(&server, 5), newest_first);
    assert_eq!(server.json(ONLINE)["peak"]["total"], 17);
}

#[test]
fn who_signs_in_and_out_is_one_visitor_wherever_they_are_kept() {
    let origin = Origin::with_headers(|request| match request.target.split_once("?as=") {
        Some((_, user)) => format!("X-Presence-User: {user}\r\n"),
        None => String::new(),
    });
    let server = over(8).before(&origin).start();
    for visitor in 0..12 {
        let address = format!("10.2.0.{visitor}");
        server.by(&address).document().get("/forum");
        let before = counts(&server);
        assert_eq!(before, json!({"total": visitor + 1, "users": visitor, "guests": 1, "bots": 0}));
        let guest = server.json(&format!("{ONLINE}?kind=guest"))["users"][0]["since"].clone();
        server.by(&address).document().get(&format!("/forum?as=user-{visitor}"));
        assert_eq!(counts(&server), json!({"total": visitor + 1, "users": visitor + 1, "guests": 0, "bots": 0}));
        let user = server.json(&format!("/_presence/v1/users/user-{visitor}.json"))["since"].clone();
        assert!(user.as_str() > guest.as_str(), "since when the guest was here is told of nobody");
    }
}

/// Whatever is known of people: who is online, and who was; a line for each thing.
fn known(server: &Server, all: &[String]) -> Vec<String> {
    let asked: Vec<_> = all.iter().map(|id| format!("id={id}")).collect();
    let users = server.json(&format!("/_presence/v1/users.json?{}", asked.join("&")))["users"].clone();
    let admin = server.by("10.0.0.9").with("authorization", &format!("Bearer {ADMIN}"));
    let viewers = admin.get("/_presence/v1/viewers.json?topic=tea").json()["viewers"].clone();
    let mut known: Vec<_> =
        [users, viewers].iter().flat_map(|list| list.as_array().unwrap()).map(Value::to_string).collect();
    let feed = admin.get("/_presence/feed.atom").text().replace(&format!(":{}/", server.port), "/");
    known.extend(feed.lines().filter(|line| line.starts_with("<entry>")).map(str::to_owned));
    known.push(counts(server).to_string());
    known
}

/// Shows what is different alone.
fn same(found: &[String], expected: &[String], when: &str) {
    let only = |one: &[String], other: &[String]| one.iter().filter(|line| !other.contains(line)).cloned().collect();
    let (more, less): (Vec<_>, Vec<_>) = (only(found, expected), only(expected, found));
    assert!(found == expected, "{when}: more {more:#?}, less {less:#?}, {} lines for {}", found.len(), expected.len());
}

#[test]
fn their_number_is_changed_on_a_running_site_and_nobody_is_lost() {
    let mut server = over(1).start();
    let all = names(30);
    for (number, name) in all.iter().enumerate() {
        touch(&server, name, &format!("10.3.0.{number}"), json!({"path": "/a", "topic": "tea", "tab": "one"}));
        server.by(&format!("10.4.0.{number}")).touch("{}");
    }
    for name in &all[..10] {
        // They go, and are kept as last seen.
        let client = server.by("10.0.0.2").with("authorization", &format!("Bearer {}", token(name)));
        assert_eq!(client.post("/_presence/v1/leave", r#"{"tab": "one"}"#).status, 204);
    }
    eventually(20, || counts(&server)["users"].as_u64().unwrap());
    let before = known(&server, &all);
    assert_eq!(before.len(), 30 + 30 + 30 + 1, "{before:#?}");
    for count in [4, 7, 2, 1, 3] {
        server = server.kill_and_restart_as(over(count));
        same(&known(&server, &all), &before, &format!("over {count}"));
        // Killed again on the way, and asked at once.
        server = server.kill_and_restart();
        same(&known(&server, &all), &before, &format!("over {count}, restarted"));
    }
    let erased = server.by("10.0.0.9").with("authorization", &format!("Bearer {ADMIN}"));
    assert_eq!(erased.send("DELETE", "/_presence/v1/users/user-00", None).status, 204);
    // Of the objects that keep nothing any more, too.
    eventually(Vec::<String>::new(), || files_with(&server.storage(), "user-00"));
    server = server.kill_and_restart();
    assert_eq!(server.json("/_presence/v1/users/user-00.json")["last_seen"], json!(null));
}

#[test]
fn a_change_of_their_number_that_is_taken_back_half_way_loses_nobody() {
    let hooked_over = |count: u32| hooked().var("SHARDS", &count.to_string()).var("ADMIN_TOKEN", ADMIN);
    let mut server = hooked_over(1).start();
    let all = names(24);
    for (number, name) in all.iter().enumerate() {
        touch(&server, name, &format!("10.3.0.{number}"), json!({"path": "/a", "topic": "tea", "tab": "one"}));
    }
    for name in &all[..8] {
        let client = server.by("10.0.0.2").with("authorization", &format!("Bearer {}", token(name)));
        assert_eq!(client.post("/_presence/v1/leave", r#"{"tab": "one"}"#).status, 204);
    }
    eventually(16, || counts(&server)["users"].as_u64().unwrap());
    let before = known(&server, &all);
    for count in [4, 2] {
        // One of them hands nothing over, so the first does not come to an end; the others have what is theirs by then.
        server = server.kill_and_restart_as(hooked_over(count));
        let hang = format!("hang-object-{}", count - 1);
        server.by("10.0.0.1").with("x-test-fault", &hang).get("/_presence/healthz");
        eventually(true, || {
            server.by("10.0.0.1").get(ONLINE);
            server.log().contains("not all is here yet that was kept elsewhere")
        });
        server = server.kill_and_restart_as(hooked_over(1));
        same(&known(&server, &all), &before, &format!("over {count}, and taken back"));
    }
    server = server.kill_and_restart_as(hooked_over(4));
    same(&known(&server, &all), &before, "over four at last");
}

#[test]
fn a_silent_object_costs_what_it_knows_and_no_more() {
    let server = hooked().var("SHARDS", "4").start();
    let all = names(16);
    all.iter().for_each(|name| touch(&server, name, "10.0.0.1", json!({})));
    eventually(16, || server.ids(ONLINE).len());
    let fault =
        |name: &str| assert_eq!(server.by("10.0.0.1").with("x-test-fault", name).get("/_presence/healthz").status, 200);
    fault("hang-object-2");
    // Answers are used again for a second.
    eventually(true, || server.json(ONLINE)["partial"] == true);
    let told = server.json(ONLINE);
    let (listed, counted) = (told["users"].as_array().unwrap().len(), told["counts"]["users"].as_u64().unwrap());
    assert!((1..16).contains(&listed) && counted == listed as u64, "{told}");
    let there = server.ids(ONLINE);
    let asked: Vec<_> = all.iter().map(|id| format!("id={id}")).collect();
    let users = server.json(&format!("/_presence/v1/users.json?{}", asked.join("&")));
    assert_eq!((&users["partial"], users["users"].as_array().unwrap().len()), (&json!(true), listed));
    let gone = all.iter().find(|name| !there.contains(name)).unwrap();
    assert_eq!(server.by("10.0.0.1").get(&format!("/_presence/v1/users/{gone}.json")).status, 503);
    // The others are told of what happens meanwhile.
    touch(&server, &there[0], "10.0.0.1", json!({"path": "/moved"}));
    let moved = || server.json(&format!("/_presence/v1/users/{}.json", there[0]))["location"]["path"].clone();
    eventually(json!("/moved"), moved);
    fault("none");
    eventually(16, || server.ids(ONLINE).len());
    throughout(Duration::from_millis(300), || assert_eq!(server.json(ONLINE).get("partial"), None));
}

//! What can be asked, and how it is answered.

use crate::harness::*;
use serde_json::json;

fn sally(_: &SiteRequest) -> String {
    "X-Presence-User: sally\r\nX-Presence-Name: Sally%20%F0%9F%8F%84\r\n".into()
}

#[test]
fn an_empty_site_says_so() {
    let server = Setup::new().start();
    let online = server.json("/_presence/v1/online.json");
    assert_eq!(online["counts"], json!({"total": 0, "users": 0, "guests": 0, "bots": 0}));
    assert_eq!(online["site"], "127.0.0.1");
    assert_eq!(online["online_timeout"], 300);
    assert_eq!(online["peak"], json!({"total": 0, "at": null}));
    assert_eq!(server.by("10.0.0.1").get("/_presence/healthz").text(), "ok");
}

#[test]
fn whoever_is_recorded_is_read_at_once() {
    let server = Setup::new().start();
    assert_eq!(server.by("10.0.0.1").touch(r#"{"path":"/a","title":"A"}"#).status, 204);
    let online = server.json("/_presence/v1/online.json?kind=guest");
    assert_eq!(online["counts"]["guests"], 1);
    assert_eq!(online["users"][0]["location"], json!({"path": "/a", "title": "A"}));
    assert!(online["users"][0]["id"].as_str().unwrap().starts_with("g_"));
    assert_eq!(online["peak"]["total"], 1);
}

#[test]
fn a_count_is_told_as_json_as_text_and_as_a_badge() {
    let server = Setup::new().start();
    for guest in 1..=3 {
        server.by(&format!("10.0.0.{guest}")).touch("{}");
    }
    let count = server.json("/_presence/v1/count.json");
    assert_eq!((count["total"].as_u64(), count["guests"].as_u64()), (Some(3), Some(3)));
    assert!(count["as_of"].as_str().unwrap().ends_with('Z'));
    let reader = server.by("10.0.0.9");
    let text = reader.get("/_presence/v1/count");
    assert_eq!((text.text().as_str(), text.header("content-type")), ("3", Some("text/plain; charset=utf-8")));
    let badge = reader.get("/_presence/v1/badge.svg");
    assert!(badge.text().contains("online: 3"));
    assert_eq!(badge.header("content-type"), Some("image/svg+xml"));
    let endpoint = reader.get("/_presence/v1/badge.json").json();
    assert_eq!((&endpoint["schemaVersion"], &endpoint["message"]), (&json!(1), &json!("3")));
}

#[test]
fn a_user_is_told_online_with_name_and_place() {
    let site = Origin::with_headers(sally);
    let server = Setup::new().before(&site).start();
    server.by("10.0.0.1").document().get("/forum/42?page=2");
    let user = server.json("/_presence/v1/users/sally.json");
    assert_eq!((&user["online"], &user["state"]), (&json!(true), &json!("online")));
    assert_eq!(user["name"], "Sally 🏄");
    assert_eq!(user["location"], json!({"path": "/forum/42", "title": null}));
    let users = server.json("/_presence/v1/users.json?id=nobody&id=sally");
    assert_eq!(
        users["users"][0],
        json!({"id": "nobody", "name": null, "online": false, "state": "offline", "last_seen": null, "since": null, "location": null})
    );
    assert_eq!(users["users"][1]["id"], "sally");
}

#[test]
fn the_list_is_paged_by_cursors_newest_first() {
    let server = Setup::new().start();
    for guest in 1..=25 {
        server.by(&format!("10.0.1.{guest}")).touch("{}");
    }
    let mut seen = Vec::new();
    let mut url = "/_presence/v1/online.json?kind=guest&limit=10".to_owned();
    loop {
        let page = server.json(&url);
        seen.extend(
            page["users"]
                .as_array()
                .unwrap()
                .iter()
                .map(|user| (user["last_seen"].as_str().unwrap().to_owned(), user["id"].as_str().unwrap().to_owned())),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => url = format!("/_presence/v1/online.json?kind=guest&limit=10&cursor={cursor}"),
            None => break,
        }
    }
    assert!(seen.is_sorted_by(|a, b| a.0 >= b.0));
    seen.sort_by(|a, b| a.1.cmp(&b.1));
    seen.dedup_by(|a, b| a.1 == b.1);
    assert_eq!(seen.len(), 25);
    assert_eq!(server.json("/_presence/v1/online.json?kind=guest&limit=0")["users"], json!([]));
}

#[test]
fn pages_are_told_by_how_many_are_there() {
    let server = Setup::new().start();
    for (guest, path) in [(1, "/a"), (2, "/b"), (3, "/b"), (4, "/b")] {
        server.by(&format!("10.0.0.{guest}")).touch(&format!(r#"{{"path":"{path}","title":"Page {path}"}}"#));
    }
    let expected = json!([
        {"path": "/b", "title": "Page /b", "total": 3},
        {"path": "/a", "title": null, "total": 1},
    ]);
    assert_eq!(server.json("/_presence/v1/pages.json")["pages"], expected);
    let here = server.json("/_presence/v1/online.json?kind=guest&path=/a");
    assert_eq!((here["users"].as_array().unwrap().len(), &here["counts"]["total"]), (1, &json!(1)));
}

#[test]
fn an_answer_that_says_the_same_is_a_304() {
    let server = Setup::new().start();
    server.by("10.0.0.1").touch(r#"{"path":"/a"}"#);
    let reader = server.by("10.0.0.9");
    for path in
        ["v1/online.json", "v1/count.json", "v1/count", "v1/pages.json", "v1/users/x.json", "v1/badge.svg", "widget.js"]
    {
        let path = format!("/_presence/{path}");
        let first = reader.get(&path);
        let tag = first.header("etag").unwrap_or_else(|| panic!("{path} has a tag")).to_owned();
        let again = reader.clone().with("if-none-match", &tag).get(&path);
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag.as_str())), "{path}");
        assert!(again.header("cache-control").unwrap().starts_with("public, max-age="));
    }
    let tag = reader.get("/_presence/v1/pages.json").header("etag").unwrap().to_owned();
    server.by("10.0.0.1").touch(r#"{"path":"/b"}"#);
    eventually(200, || reader.clone().with("if-none-match", &tag).get("/_presence/v1/pages.json").status);
}

#[test]
fn anybody_may_read_from_anywhere() {
    let server = Setup::new().start();
    let elsewhere = server.by("10.0.0.1").with("origin", "https://elsewhere.example");
    for path in ["v1/online.json", "v1/count", "widget.js", "v1/badge.svg"] {
        assert_eq!(elsewhere.get(&format!("/_presence/{path}")).header("access-control-allow-origin"), Some("*"));
    }
    let preflight = elsewhere.send("OPTIONS", "/_presence/v1/online.json", None);
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(elsewhere.get("/_presence/v1/nothing").header("access-control-allow-origin"), Some("*"));
}

#[test]
fn a_head_request_gets_the_headers_alone() {
    let server = Setup::new().start();
    let head = server.by("10.0.0.1").send("HEAD", "/_presence/v1/online.json", None);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("etag").is_some());
}

#[test]
fn what_is_asked_again_at_once_is_answered_as_before() {
    let server = Setup::new().start();
    server.by("10.0.0.1").touch(r#"{"path":"/a"}"#);
    let reader = server.by("10.0.0.9").with("origin", "https://elsewhere.example");
    for path in ["v1/online.json?limit=5", "v1/count.json", "v1/count", "badge.svg", "feed.atom"] {
        let path = format!("/_presence/{path}");
        let first = reader.get(&path);
        let tag = first.header("etag").unwrap();
        for _ in 0..3 {
            let again = reader.get(&path);
            assert_eq!((again.status, again.header("etag")), (200, Some(tag)), "{path}");
            for name in ["content-type", "cache-control", "access-control-allow-origin", "x-content-type-options"] {
                assert!(again.header(name).is_some() && again.header(name) == first.header(name), "{path}: {name}");
            }
            assert!(again.body.len() == first.body.len() && !again.body.is_empty(), "{path}");
        }
        let known = reader.clone().with("if-none-match", tag).get(&path);
        assert_eq!((known.status, known.body.len()), (304, 0), "{path}");
        let head = reader.send("HEAD", &path, None);
        assert_eq!((head.status, head.body.len(), head.header("etag")), (200, 0, Some(tag)), "{path}");
        assert_eq!(reader.send("DELETE", &path, None).status, 405, "{path}");
    }
}

#[test]
fn who_comes_between_two_questions_is_in_the_second_answer() {
    let server = Setup::new().start();
    for guest in 1..=20 {
        let counted = || server.json("/_presence/v1/count.json")["guests"].as_u64().unwrap();
        assert_eq!((counted(), counted()), (guest - 1, guest - 1));
        assert_eq!(server.by(&format!("10.0.0.{guest}")).touch("{}").status, 204);
    }
}

#[test]
fn the_base_path_can_be_another() {
    let server = Setup::new().var("BASE_PATH", "/who").start();
    assert_eq!(server.by("10.0.0.1").post("/who/v1/touch", "{}").status, 204);
    assert_eq!(server.json("/who/v1/count.json")["guests"], 1);
    assert!(server.by("10.0.0.1").document().get("/").text().contains("/who/widget.js"));
    assert_eq!(server.by("10.0.0.1").get("/_presence/v1/count").status, 404);
}

#[test]
fn each_site_keeps_to_itself_unless_it_is_named() {
    let server = Setup::new().start();
    let count = |host: &str| server.by("10.0.0.9").with("host", host).get("/_presence/v1/count").text();
    server.by("10.0.0.1").with("host", "a.example").touch("{}");
    assert_eq!((count("a.example"), count("A.EXAMPLE:8080"), count("b.example")), ("1".into(), "1".into(), "0".into()));
    let named = Setup::new().var("SITE", "mine").start();
    named.by("10.0.0.1").with("host", "a.example").touch("{}");
    assert_eq!(named.by("10.0.0.9").with("host", "b.example").get("/_presence/v1/count").text(), "1");
}

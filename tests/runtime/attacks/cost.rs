//! No stranger makes the site pay, or pushes its visitors off its lists.

use super::{Attack, Stage, site};
use crate::harness::*;
use serde_json::{Value, json};

pub const ATTACKS: &[Attack] = &[
    ("an address makes up guests without end", an_address_makes_up_no_crowd),
    ("an IPv6 network makes up guests without end", a_network_makes_up_no_crowd),
    ("a browser has a row written for each request", hostile_traffic_writes_few_rows),
    ("a guest names topics that the site does not have", a_guest_names_no_topics),
    ("guests push a named viewer off the list", guests_erase_no_named_viewer),
    ("a guest titles a page for all", a_guest_titles_no_page),
    ("a path leads to another site", no_path_leads_to_another_site),
    ("questions without end are computed", questions_are_on_a_budget),
];

fn counts(stage: Stage, server: &Server) -> Value {
    stage.admin(server).get("/_presence/v1/online.json?limit=0").json()
}

fn rows(stage: Stage, server: &Server) -> f64 {
    let metrics = stage.admin(server).get("/_presence/metrics").text();
    let line =
        metrics.lines().find(|line| line.starts_with("whos_online_rows_written_total")).unwrap_or_default().to_owned();
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn an_address_makes_up_no_crowd(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    for number in 0..300 {
        let agent = format!("{FIREFOX} {number}");
        stage.by(&server, "203.0.113.1").with("user-agent", &agent).touch(r#"{"path":"/a"}"#);
    }
    for number in 0..5 {
        stage.by(&server, &format!("10.0.0.{number}")).touch(r#"{"path":"/b"}"#);
    }
    stage.signed_in(&server, "203.0.113.1", "X-Presence-User: sally");
    eventually(json!(1), || counts(stage, &server)["counts"]["users"].clone());
    let seen = counts(stage, &server);
    let guests = seen["counts"]["guests"].as_u64().unwrap();
    assert!((5..=64 + 5).contains(&guests), "{seen}");
    assert!(seen["peak"]["total"].as_u64().unwrap() <= 64 + 6, "{seen}");
}

fn a_network_makes_up_no_crowd(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    for number in 1..100 {
        stage.by(&server, &format!("2001:db8:1:2::{number:x}")).touch("{}");
    }
    stage.by(&server, "2001:db8:1:3::1").touch("{}");
    eventually(json!(2), || counts(stage, &server)["counts"]["guests"].clone());
}

fn hostile_traffic_writes_few_rows(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("TOUCH_RESOLUTION", "0").start();
    let noon = 1_795_176_000_000_i64;
    for number in 0..100 {
        let address = format!("10.0.0.{number}");
        stage.by(&server, &address).with("x-test-now", &noon.to_string()).document().get("/forum");
    }
    for number in 0..20 {
        let client = stage.by(&server, &format!("10.0.1.{number}")).with("x-test-now", &noon.to_string()).document();
        client.with("x-say", &format!("X-Presence-User: user{number}")).get("/forum");
    }
    eventually(json!(100), || counts(stage, &server)["counts"]["guests"].clone());
    let before = rows(stage, &server);
    // A thousand requests a second would be 60,000 in a minute: a tenth of them, by the clock of that minute.
    for number in 0..6000_i64 {
        let agent = format!("{FIREFOX} {}", number % 900);
        let hostile = stage.by(&server, "203.0.113.1").with("user-agent", &agent);
        let body = json!({"path": format!("/{number}"), "title": format!("T{number}"), "topic": format!("user:{number}"), "tab": "t"});
        hostile.with("x-test-now", &(noon + number * 10).to_string()).touch(&body.to_string());
    }
    let written = rows(stage, &server) - before;
    assert!(written <= 100.0, "{written} rows");
    let admin = stage.admin(&server);
    let listed = |kind: &str| -> usize {
        let list = admin.get(&format!("/_presence/v1/online.json?kind={kind}&limit=1000&path=/forum")).json();
        list["users"].as_array().unwrap().len()
    };
    assert_eq!((listed("guest"), listed("user")), (100, 20));
}

fn a_guest_names_no_topics(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("ACCESS", r#"{"locations":"public","viewers":"public"}"#).start();
    let guest = stage.by(&server, "10.0.0.1");
    for topic in ["buy-pills", "user:made-up", "group:42"] {
        guest.touch(&json!({"path": "/a", "topic": topic}).to_string());
        let listed = guest.get(&format!("/_presence/v1/viewers.json?topic={topic}")).json();
        assert_eq!(listed["counts"]["total"], 0, "{topic}");
    }
    stage.signed_in(&server, "10.0.0.2", "X-Presence-User: sally");
    eventually(json!(1), || counts(stage, &server)["counts"]["users"].clone());
    guest.touch(r#"{"path":"/sally","topic":"user:sally"}"#);
    let viewers = || guest.get("/_presence/v1/viewers.json?topic=user:sally").json()["counts"]["total"].clone();
    eventually(json!(1), viewers);
}

fn guests_erase_no_named_viewer(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("TOUCH_RESOLUTION", "0").start();
    let topic = "X-Presence-Topic: user:sally";
    stage.signed_in(&server, "10.0.0.1", &format!("X-Presence-User: bob|{topic}"));
    let bob = || {
        let viewers = stage.admin(&server).get("/_presence/v1/viewers.json?topic=user:sally").json();
        viewers["viewers"].as_array().unwrap().iter().filter(|viewer| viewer["id"] == "bob").count()
    };
    eventually(1, bob);
    for number in 0..400 {
        let agent = format!("{FIREFOX} {number}");
        let guest = stage.by(&server, &format!("10.1.{}.1", number % 200)).with("user-agent", &agent).document();
        guest.with("x-say", topic).get("/sally");
    }
    assert_eq!(bob(), 1);
}

fn a_guest_titles_no_page(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("ACCESS", r#"{"locations":"public"}"#).start();
    for number in 0..5 {
        stage.by(&server, &format!("10.0.0.{number}")).document().get("/forum");
    }
    let title = || {
        let pages = stage.by(&server, "10.0.9.9").get("/_presence/v1/pages.json").json();
        let page = pages["pages"].as_array().unwrap().iter().find(|page| page["path"] == "/forum").cloned();
        page.map(|page| page["title"].clone())
    };
    eventually(Some(Value::Null), title);
    for number in 0..40 {
        let agent = format!("{FIREFOX} {number}");
        let liar = stage.by(&server, "203.0.113.1").with("user-agent", &agent);
        liar.touch(&json!({"path": "/forum", "title": "Buy pills", "tab": format!("{number}")}).to_string());
    }
    assert_eq!(title(), Some(Value::Null));
    for number in 0..3 {
        stage.by(&server, &format!("10.0.0.{number}")).touch(r#"{"path":"/forum","title":"The forum","tab":"t"}"#);
    }
    eventually(Some(json!("The forum")), title);
    let sally = stage.signed_in(&server, "10.0.3.1", "X-Presence-User: sally");
    sally.touch(r#"{"path":"/forum","title":"Sally's forum","tab":"t"}"#);
    eventually(Some(json!("Sally's forum")), title);
}

fn no_path_leads_to_another_site(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("ACCESS", r#"{"locations":"public"}"#).start();
    for path in ["//evil.example/a", "/\\evil.example", "/%5cevil.example", "/%5Cevil.example", "/%2Fevil.example"] {
        let report = stage.by(&server, "10.0.0.1").touch(&json!({"path": path}).to_string());
        assert_eq!(report.status, 400, "{path}");
    }
    stage.by(&server, "10.0.0.1").document().get("//evil.example/a");
    stage.by(&server, "10.0.0.1").document().get("/ok");
    let pages = || stage.by(&server, "10.0.9.9").get("/_presence/v1/pages.json").text();
    eventually(true, || pages().contains("/ok"));
    assert!(!pages().contains("evil"));
}

fn questions_are_on_a_budget(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    let client = stage.by(&server, "203.0.113.1");
    let answers: Vec<_> = (0..200).map(|number| client.get(&format!("/_presence/v1/users/u{number}.json"))).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty(), "none of 200 questions in a moment was refused");
    assert!(refused.iter().all(|answer| answer.header("retry-after").is_some()));
    assert_eq!(stage.by(&server, "10.0.0.1").get("/_presence/v1/users/u1.json").status, 200, "others ask as before");
}

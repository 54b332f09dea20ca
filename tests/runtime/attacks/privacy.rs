//! What a stranger, or a visitor without the permission, does not learn.

use super::{ADMIN, Attack, Stage, site};
use crate::harness::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const ATTACKS: &[Attack] = &[
    ("a stranger learns where people are", a_stranger_does_not_learn_where_people_are),
    ("a secret in an address becomes a public place", a_secret_in_an_address_is_no_place),
    ("a count tells who is invisible", no_count_tells_who_is_invisible),
    ("signing in gives a guest's trail a name", signing_in_names_no_trail),
    ("somebody who is not online is known to exist", nobody_is_known_to_exist_who_is_not_online),
    ("a name breaks a list or looks like another", a_name_is_clean),
    ("an id or a cursor tells who is behind it", no_id_tells_who_is_behind_it),
];

const READS: [&str; 9] = [
    "v1/online.json",
    "v1/users/sally.json",
    "v1/users.json?id=sally",
    "v1/pages.json",
    "v1/online.json?path=/forum/42",
    "v1/online.json?kind=guest",
    "v1/viewers.json?topic=user:bob",
    "feed.atom",
    "v1/count.json",
];

fn list(client: &Client<'_>, query: &str) -> Value {
    let answer = client.get(&format!("/_presence/v1/online.json?{query}"));
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()
}

fn members(client: &Client<'_>, query: &str) -> Vec<Value> {
    list(client, query)["users"].as_array().unwrap().clone()
}

fn a_stranger_does_not_learn_where_people_are(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    let sally = stage.signed_in(&server, "10.0.0.1", "X-Presence-User: sally");
    sally.clone().document().get("/forum/42");
    stage.by(&server, "10.0.0.2").document().get("/forum/42");
    let stranger = stage.by(&server, "10.0.9.9");
    eventually(json!(2), || list(&stranger, "limit=0")["counts"]["total"].clone());
    for read in READS {
        let text = stranger.get(&format!("/_presence/{read}")).text();
        // The path that was asked for stands in no answer either.
        assert!(!text.contains("forum"), "{read}: {text}");
    }
    for read in
        ["v1/pages.json", "v1/online.json?path=/forum/42", "v1/online.json?kind=guest", "v1/online.json?kind=bot"]
    {
        assert_eq!(stranger.get(&format!("/_presence/{read}")).status, 401, "{read}");
    }
    assert_eq!(sally.get("/_presence/v1/online.json?kind=guest").status, 403);
    let seen = sally.get("/_presence/v1/online.json");
    assert_eq!(seen.json()["users"][0]["location"]["path"], "/forum/42");
    assert_eq!(seen.header("cache-control"), Some("private, no-store"));
    assert!(!stranger.get("/_presence/v1/online.json").text().contains("forum"), "also right after somebody who may");
}

fn a_secret_in_an_address_is_no_place(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("TOUCH_RESOLUTION", "0").start();
    let guest = stage.by(&server, "10.0.0.1").document();
    for (path, say) in [
        ("/reset/s3cr3t-t0ken", ""),
        ("/accounts/password/reset/confirm/MQ/s3cr3t", ""),
        ("/Account/s3cr3t", ""),
        ("/%61ccount/s3cr3t", ""),
        ("/messages/s3cr3t", ""),
        ("/wp-admin/s3cr3t", ""),
        ("/checkout/s3cr3t", ""),
        ("/item;jsessionid=s3cr3t", ""),
        ("/s3cr3t-report", "Cache-Control: private, no-store"),
        ("/s3cr3t-page", "X-Presence-Location: none"),
    ] {
        let client = if say.is_empty() { guest.clone() } else { guest.clone().with("x-say", say) };
        assert_eq!(client.get(path).status, 200);
    }
    for path in ["/reset/s3cr3t-t0ken", "/item;jsessionid=s3cr3t", "/account/s3cr3t?x=1"] {
        let reporter = stage.by(&server, "10.0.0.2");
        let report = json!({"path": path, "title": "My s3cr3t", "tab": "t"}).to_string();
        assert_eq!(reporter.touch(&report).status, 204, "{path}");
        assert_eq!(reporter.get(&format!("/_presence/v1/touch.gif?path={path}&title=s3cr3t")).status, 200);
    }
    let admin = stage.admin(&server);
    eventually(json!(2), || list(&admin, "limit=0")["counts"]["guests"].clone());
    for read in ["v1/pages.json", "v1/online.json?kind=guest", "v1/online.json"] {
        let text = admin.get(&format!("/_presence/{read}")).text();
        assert!(!text.to_lowercase().contains("s3cr3t"), "{read}: {text}");
    }
    assert!(!server.log().contains("s3cr3t"));
    let server = server.kill_and_restart();
    assert_eq!(files_with(&server.storage(), "s3cr3t"), Vec::<String>::new(), "nothing of it is stored");
}

fn no_count_tells_who_is_invisible(stage: Stage) {
    let site = site();
    let access = json!({"guests": "public", "locations": "public", "viewers": "public"}).to_string();
    let server = stage.before(&site).var("ACCESS", &access).start();
    let stranger = stage.by(&server, "10.0.9.9");
    let say = "X-Presence-User: sally|X-Presence-Name: Sally|X-Presence-Topic: user:bob";
    for number in 1..=3 {
        let address = format!("10.0.0.{number}");
        stage.by(&server, &address).document().with("x-say", "X-Presence-Topic: user:bob").get("/forum");
    }
    let ghost = stage.signed_in(&server, "10.0.1.1", &format!("{say}|X-Presence-Invisible: 1"));
    ghost.document().with("x-say", &format!("{say}|X-Presence-Invisible: 1")).get("/forum");
    eventually(json!(4), || list(&stranger, "limit=0")["counts"]["guests"].clone());
    for query in ["", "path=/forum&", "topic=user:bob&"] {
        let counts = list(&stranger, &format!("{query}limit=0"))["counts"].clone();
        let guests = members(&stranger, &format!("{query}kind=guest"));
        assert_eq!((counts["guests"].clone(), guests.len()), (json!(4), 4), "{query}");
        let alike: BTreeSet<Vec<String>> =
            guests.iter().map(|guest| guest.as_object().unwrap().keys().cloned().collect()).collect();
        assert_eq!(alike.len(), 1, "all guests have the same fields: {guests:?}");
        for guest in &guests {
            let id = guest["id"].as_str().unwrap();
            assert!(id.len() == 18 && id.starts_with("g_"), "{id}");
            assert_eq!((&guest["name"], &guest["avatar"]), (&Value::Null, &Value::Null));
        }
        assert!(!list(&stranger, query).to_string().to_lowercase().contains("sally"));
        // The pages of the list together are the list.
        let (mut paged, mut cursor) = (BTreeSet::new(), String::new());
        loop {
            let page = list(&stranger, &format!("{query}kind=guest&limit=1&cursor={cursor}"));
            paged.extend(page["users"].as_array().unwrap().iter().map(|guest| guest["id"].to_string()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(paged.len(), 4, "{query}");
    }
    let pages = stranger.get("/_presence/v1/pages.json").json();
    assert_eq!(pages["pages"][0], json!({"path": "/forum", "title": null, "total": 4}));
    for read in ["v1/users/sally.json", "v1/users.json?id=sally"] {
        let never = stranger.get(&format!("/_presence/{}", read.replace("sally", "nobody"))).text();
        assert_eq!(stranger.get(&format!("/_presence/{read}")).text().replace("sally", "nobody"), never, "{read}");
    }
}

fn signing_in_names_no_trail(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("ACCESS", r#"{"locations":"public"}"#).var("TOUCH_RESOLUTION", "0").start();
    let at = |time: i64| (1_795_176_000_000_i64 + time).to_string();
    let guest = stage.by(&server, "10.0.0.1").document();
    guest.clone().with("x-test-now", &at(0)).with("x-say", "X-Presence-Topic: user:bob").get("/before");
    guest.clone().with("x-test-now", &at(60_000)).with("x-say", "X-Presence-User: sally").get("/signing-in");
    let reader = stage.admin(&server).with("x-test-now", &at(61_000));
    let since = || members(&reader, "").first().map(|user| user["since"].clone());
    eventually(Some(json!("2026-11-20T12:01:00.000Z")), since);
    let viewers = reader.get("/_presence/v1/viewers.json?topic=user:bob").text();
    assert!(!viewers.contains("sally"), "what the guest looked at is not hers: {viewers}");
}

fn nobody_is_known_to_exist_who_is_not_online(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("ACCESS", r#"{"last_seen":"nobody"}"#).start();
    let sally = stage.signed_in(&server, "10.0.0.1", "X-Presence-User: sally|X-Presence-Name: Sally%20Surf");
    let stranger = stage.by(&server, "10.0.9.9");
    eventually(json!(1), || list(&stranger, "limit=0")["counts"]["users"].clone());
    sally.document().with("x-say", "X-Presence-User: ").get("/page");
    eventually(json!(0), || list(&stranger, "limit=0")["counts"]["users"].clone());
    for read in ["v1/users/sally.json", "v1/users.json?id=sally", "feed.atom"] {
        let never = stranger.get(&format!("/_presence/{}", read.replace("sally", "nobody")));
        let left = stranger.get(&format!("/_presence/{read}"));
        let without_times = |text: String| text.split("<updated>").next().unwrap().to_owned();
        assert_eq!(without_times(left.text().replace("sally", "nobody")), without_times(never.text()), "{read}");
    }
}

fn a_name_is_clean(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    for (index, (encoded, shown)) in [
        ("%E2%80%AEyllaS", json!("yllaS")),
        ("Sal%E2%80%8Bly", json!("Sally")),
        ("%20%20Sally%20%20", json!("Sally")),
        ("%E2%80%8B%20%E2%80%8B", Value::Null),
        ("Z%CC%80%CC%81%CC%82%CC%83%CC%84a", json!("Z\u{300}\u{301}a")),
        ("%F0%9F%91%A9%E2%80%8D%F0%9F%9A%80", json!("\u{1f469}\u{200d}\u{1f680}")),
        ("Sal%07ly", json!("Sally")),
    ]
    .into_iter()
    .enumerate()
    {
        let user = format!("user{index}");
        stage.signed_in(
            &server,
            &format!("10.0.0.{index}"),
            &format!("X-Presence-User: {user}|X-Presence-Name: {encoded}"),
        );
        let name =
            || stage.by(&server, "10.0.9.9").get(&format!("/_presence/v1/users/{user}.json")).json()["name"].clone();
        eventually(shown, name);
    }
    let long = "%E0%B8%81".repeat(86);
    stage.signed_in(&server, "10.0.1.1", &format!("X-Presence-User: long|X-Presence-Name: {long}"));
    let name = || stage.by(&server, "10.0.9.9").get("/_presence/v1/users/long.json").json()["name"].clone();
    eventually(json!("\u{0e01}".repeat(42)), name);
}

fn no_id_tells_who_is_behind_it(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    let browser = |address: &str, host: &str, now: &str| {
        stage.by(&server, address).with("host", host).document().with("x-test-now", now).get("/page");
    };
    let day = 86_400_000_i64;
    let ids = |host: &str, now: i64| -> BTreeSet<String> {
        let admin = server.by("10.8.8.8").with("authorization", &format!("Bearer {ADMIN}")).with("host", host);
        let admin = if stage == Stage::Https { admin.https() } else { admin };
        let found = members(&admin.with("x-test-now", &now.to_string()), "kind=guest");
        found.iter().map(|guest| guest["id"].as_str().unwrap().to_owned()).collect()
    };
    let noon = 1_795_176_000_000;
    let mut all = BTreeSet::new();
    for (host, now) in [("club.example", noon), ("other.example", noon), ("club.example", noon + day)] {
        browser("10.0.0.1", host, &now.to_string());
        browser("10.0.0.2", host, &now.to_string());
        eventually(2, || ids(host, now + 1000).len());
        all.extend(ids(host, now + 1000));
    }
    assert_eq!(all.len(), 6, "a guest has another id on each site and on each day: {all:?}");
    // Two browsers behind one address have nothing in common that others could see.
    let phone = stage
        .by(&server, "10.0.3.3")
        .with("user-agent", "Mozilla/5.0 (Android 14; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0");
    let later = noon + day + 2000;
    phone.document().with("x-test-now", &later.to_string()).get("/page");
    browser("10.0.3.3", "club.example", &later.to_string());
    eventually(4, || ids("club.example", later + 1000).len());
    let mut known: Vec<_> = ids("club.example", later + 1000).into_iter().collect();
    known.sort();
    let alike = known.windows(2).any(|pair| pair[0].get(..10) == pair[1].get(..10));
    assert!(!alike, "{known:?}");
}

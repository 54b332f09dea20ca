//! Whoever was let in yesterday is not let in for good.

use super::{Attack, Stage, site};
use crate::harness::*;
use serde_json::json;

pub const ATTACKS: &[Attack] = &[
    ("a cookie makes its owner an administrator", a_cookie_makes_nobody_an_administrator),
    ("a revoked cookie is good for longer", a_revoked_cookie_is_worth_nothing),
    ("a style sheet signs somebody out or in", a_style_sheet_signs_nobody_out),
    ("signing out here takes another device along", signing_out_here_leaves_other_devices),
    ("made-up accounts take the store down by erasing themselves", erasing_takes_nothing_down),
];

const SALLY: &str = "X-Presence-User: sally|X-Presence-Name: Sally";
const GRANTS: &str = "/_presence/v1/grants";
const NOON: i64 = 1_795_176_000_000;

fn online(stage: Stage, server: &Server) -> Vec<String> {
    let list = stage.admin(server).get("/_presence/v1/online.json").json();
    list["users"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned()).collect()
}

fn a_cookie_makes_nobody_an_administrator(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    let sally = stage.signed_in(&server, "10.0.0.1", &format!("{SALLY}|X-Presence-Perms: admin,can_edit"));
    let grant = json!({"user": "sally", "permission": "admin"}).to_string();
    for _ in 0..2 {
        let answer = sally.clone().with("origin", "https://club.example").send("PUT", GRANTS, Some(grant.as_bytes()));
        assert!(matches!(answer.status, 401 | 403), "{}", answer.text());
    }
    let check = sally.get("/_presence/v1/permissions.json?check=admin&check=view_viewers&check=see_invisible").json();
    assert_eq!(check, json!({"admin": false, "view_viewers": false, "see_invisible": false}));
    // A bearer token of an application may say so; a grant too.
    stage.admin(&server).send("PUT", GRANTS, Some(grant.as_bytes()));
    let granted = || sally.get("/_presence/v1/permissions.json?check=admin").json()["admin"] == true;
    eventually(true, granted);
}

fn a_revoked_cookie_is_worth_nothing(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("TOUCH_RESOLUTION", "0").start();
    let at = |time: i64| time.to_string();
    let by_then = |client: &Client<'_>, time: i64| -> String {
        let client = client.clone().with("x-test-now", &at(time));
        client.get("/_presence/v1/permissions.json?check=can_edit").json()["can_edit"].to_string()
    };
    let signing_in = stage.by(&server, "10.0.0.1").with("x-test-now", &at(NOON)).document();
    let say = format!("{SALLY}|X-Presence-Perms: can_edit");
    let page = signing_in.clone().with("x-say", &say).get("/signing-in");
    let sally = signing_in.with("cookie", &page.cookie().unwrap());
    assert_eq!(by_then(&sally, NOON + 1000), "true");
    let admin = stage.admin(&server).with("x-test-now", &at(NOON + 2000));
    let done = admin.post("/_presence/v1/users/sally/sign-out", "");
    assert_eq!(done.status, 204, "{}", done.text());
    assert_eq!(by_then(&sally, NOON + 33_000), "false");
    // Nor does it bring her back among those who are online.
    sally.clone().with("x-test-now", &at(NOON + 34_000)).get("/page");
    sally.clone().with("x-test-now", &at(NOON + 34_000)).touch(r#"{"path":"/here"}"#);
    let here = || {
        let list = stage.admin(&server).with("x-test-now", &at(NOON + 35_000)).get("/_presence/v1/online.json").json();
        list["users"].as_array().unwrap().len()
    };
    eventually(0, here);
    // Who signs in again is let in again.
    let again = stage.by(&server, "10.0.0.1").with("x-test-now", &at(NOON + 40_000)).document();
    let page = again.clone().with("x-say", &say).get("/signing-in");
    assert_eq!(by_then(&again.with("cookie", &page.cookie().unwrap()), NOON + 41_000), "true");
}

fn a_style_sheet_signs_nobody_out(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("TOUCH_RESOLUTION", "0").start();
    let sally = stage.signed_in(&server, "10.0.0.1", SALLY);
    let parts = [
        ("style", "text/css", "private"),
        ("style", "text/css", "public, max-age=600"),
        ("image", "image/png", "private"),
        ("script", "text/javascript", "max-age=60"),
    ];
    for (destination, content_type, control) in parts {
        let say = format!("X-Presence-User: |Content-Type: {content_type}|Cache-Control: {control}");
        let part =
            sally.clone().with("sec-fetch-dest", destination).with("accept", "*/*").with("x-say", &say).get("/css.php");
        assert_eq!(part.all("set-cookie").len(), 0, "{destination} {control}");
        let say = format!("X-Presence-User: bob|Content-Type: {content_type}|Cache-Control: {control}");
        let part =
            sally.clone().with("sec-fetch-dest", destination).with("accept", "*/*").with("x-say", &say).get("/css.php");
        assert_eq!(part.all("set-cookie").len(), 0, "{destination} {control} names nobody");
    }
    let shared =
        sally.clone().document().with("x-say", "X-Presence-User: |Cache-Control: public, max-age=60").get("/page");
    assert_eq!(shared.all("set-cookie").len(), 0, "a page that a shared cache may keep");
    eventually(vec!["sally".to_owned()], || online(stage, &server));
    let out = sally.document().with("x-say", "X-Presence-User: ").get("/page");
    assert_eq!(out.all("set-cookie").len(), 1, "a page that is the visitor's own signs out");
    eventually(Vec::<String>::new(), || online(stage, &server));
}

fn signing_out_here_leaves_other_devices(stage: Stage) {
    let site = site();
    let server = stage.before(&site).var("TOUCH_RESOLUTION", "0").start();
    let phone = stage.signed_in(&server, "10.0.0.1", SALLY);
    let laptop = stage.signed_in(&server, "10.0.0.2", SALLY);
    laptop.touch(r#"{"path":"/laptop","tab":"l"}"#);
    phone.touch(r#"{"path":"/phone","tab":"p"}"#);
    eventually(vec!["sally".to_owned()], || online(stage, &server));
    phone.document().with("x-say", "X-Presence-User: ").get("/page");
    let place = || {
        let list = stage.admin(&server).get("/_presence/v1/online.json").json();
        list["users"][0]["location"]["path"].clone()
    };
    eventually(json!("/laptop"), place);
    assert_eq!(laptop.touch(r#"{"path":"/laptop2","tab":"l"}"#).status, 204);
    eventually(json!("/laptop2"), place);
    laptop.document().with("x-say", "X-Presence-User: ").get("/page");
    eventually(Vec::<String>::new(), || online(stage, &server));
}

fn erasing_takes_nothing_down(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    let session = json!({"value": "v", "user": "sally"}).to_string();
    let made = stage.admin(&server).post("/_presence/v1/sessions", &session);
    assert_eq!(made.status, 201, "{}", made.text());
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let mut erased = 0;
    for number in 0..60 {
        let user = format!("made-up-{number}");
        let address = format!("10.1.0.{number}");
        let client = stage.signed_in(&server, &address, &format!("X-Presence-User: {user}"));
        let origin = if stage == Stage::Https { "https://club.example" } else { "http://club.example" };
        let answer = client.with("origin", origin).send("DELETE", &format!("/_presence/v1/users/{user}"), None);
        assert!(matches!(answer.status, 204 | 429), "{}: {}", answer.status, answer.text());
        erased += usize::from(answer.status == 204);
        let kept = stage.admin(&server).get(&format!("/_presence/v1/sessions/{key}"));
        assert_eq!(kept.status, 200, "after {number}: {}", kept.text());
        assert_eq!(stage.by(&server, "10.9.9.9").get("/_presence/v1/count").status, 200, "after {number}");
    }
    assert!((1..60).contains(&erased), "a site does not erase without end: {erased}");
}

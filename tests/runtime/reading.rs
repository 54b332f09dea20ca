//! What can be asked, and how it is answered.

use crate::harness::*;

#[test]
fn an_empty_site_says_so() {
    let server = Setup::new().start();
    let online = server.json("/_presence/v1/online.json");
    assert_eq!(online["counts"], serde_json::json!({"total": 0, "users": 0, "guests": 0, "bots": 0}));
    assert_eq!(online["site"], "127.0.0.1");
    assert_eq!(online["peak"], serde_json::json!({"total": 0, "at": null}));
    assert_eq!(server.by("10.0.0.1").get("/_presence/healthz").text(), "ok");
}

#[test]
fn whoever_is_recorded_is_read_at_once() {
    let server = Setup::new().start();
    assert_eq!(server.by("10.0.0.1").touch(r#"{"path":"/a","title":"A"}"#).status, 204);
    let online = server.json("/_presence/v1/online.json?kind=guest");
    assert_eq!(online["counts"]["guests"], 1);
    assert_eq!(online["users"][0]["location"], serde_json::json!({"path": "/a", "title": "A"}));
}

//! Whatever breaks in presence, the visitor's page is served and other requests live on.

use crate::harness::*;
use std::time::{Duration, Instant};

const PAGE: &str = "<h1>A page</h1>";

fn site() -> Origin {
    Origin::with_headers(|request| match request.target.strip_prefix("/as/") {
        Some(name) => format!("X-Presence-User: {name}\r\n"),
        None => String::new(),
    })
}

#[test]
fn a_page_is_served_whatever_is_wrong_with_presence() {
    for fault in ["panic-worker", "panic-object", "panic-object-at-work", "fail-object", "hang-object"] {
        let site = site();
        let server = Setup::hooked().before(&site).start();
        let visitor = server.by("10.0.0.1").document().with("x-test-fault", fault);
        for path in ["/", "/as/sally", "/logo.png", "/"] {
            let answer = visitor.clone().with("cookie", "presence=bad").get(path);
            assert_eq!((answer.status, answer.text().as_str()), (200, PAGE), "{fault} {path}");
            assert_eq!(answer.header("x-presence-user"), None, "{fault} {path}");
        }
        // Once it is over, whoever comes is recorded again.
        eventually(true, || {
            let page = server.by("10.0.0.2").with("x-test-fault", "none").document().get("/as/bob");
            assert_eq!(page.text(), PAGE);
            let list = server.by("10.0.0.9").get("/_presence/v1/online.json");
            list.status == 200 && list.text().contains("\"bob\"")
        });
    }
}

#[test]
fn a_panic_is_answered_within_a_second_and_memory_lives_on() {
    let server = Setup::hooked().start();
    server.by("10.0.0.1").touch("{}");
    assert_eq!(server.json("/_presence/v1/count.json")["total"], 1);
    for fault in ["panic-object", "panic-object-at-work"] {
        let start = Instant::now();
        let answer = server.by("10.0.0.9").with("x-test-fault", fault).get("/_presence/v1/users/a.json");
        answer.problem(503);
        assert!(start.elapsed() < Duration::from_secs(20), "the client was answered at all");
        let after = server.by("10.0.0.9").with("x-test-fault", "none").get("/_presence/v1/online.json?limit=0");
        assert_eq!(after.json()["counts"]["total"], 1, "{fault}");
    }
    assert!(server.log().contains("a panic that a test asked for"));
}

#[test]
fn a_panic_of_the_worker_is_one_requests_alone() {
    let server = Setup::hooked().start();
    server.by("10.0.0.1").touch("{}");
    server.by("10.0.0.9").with("x-test-fault", "panic-route").get("/_presence/v1/count").problem(500);
    server.by("10.0.0.9").get("/_presence/widget.js").problem(500);
    // What the isolate had not sent yet is still there.
    assert_eq!(server.by("10.0.0.9").with("x-test-fault", "none").get("/_presence/v1/count").text(), "1");
}

#[test]
fn an_object_that_hangs_is_not_waited_for_for_ever() {
    let server = Setup::hooked().start();
    server.by("10.0.0.1").touch("{}");
    assert_eq!(server.by("10.0.0.1").get("/_presence/v1/count").text(), "1");
    let sally = "/_presence/v1/users/sally.json";
    let answer = server.by("10.0.0.1").with("x-test-fault", "hang-object").get(sally);
    assert_eq!(answer.header("retry-after"), Some("2"));
    answer.problem(503);
    let after = server.by("10.0.0.1").with("x-test-fault", "none").get(sally);
    assert_eq!(after.json()["online"], false);
}

#[test]
fn a_batch_that_the_object_refused_is_sent_again() {
    let server = Setup::hooked().start();
    server.by("10.0.0.1").touch("{}");
    assert_eq!(server.by("10.0.0.9").get("/_presence/v1/count").text(), "1");
    server.by("10.0.0.2").with("x-test-fault", "fail-object").touch("{}");
    server.by("10.0.0.9").get("/_presence/v1/pages.json").problem(503);
    eventually("2".to_owned(), || server.by("10.0.0.9").with("x-test-fault", "none").get("/_presence/v1/count").text());
}

#[test]
fn a_batch_that_comes_late_brings_nobody_back_who_has_signed_out_since() {
    let site = site();
    let server = Setup::hooked().before(&site).start();
    let visitor = server.by("10.0.0.1").document();
    let ids = || server.ids("/_presence/v1/online.json");
    for number in 0.. {
        let cookie = visitor.get("/as/sally").cookie().expect("a cookie");
        let sally = visitor.clone().with("cookie", &cookie);
        eventually(vec!["sally".to_owned()], ids);
        let late = server.log().matches("a batch was not taken").count();
        std::thread::scope(|scope| {
            let moves = format!(r#"{{"path":"/moves-{number}"}}"#);
            assert_eq!(sally.clone().with("x-test-fault", "hang-object").touch(&moves).status, 204);
            // Whoever asks has it sent, and waits for it in vain.
            let asking = scope.spawn(|| server.by("10.0.0.9").get("/_presence/v1/count").status);
            server.by("10.0.0.8").get("/_presence/healthz");
            sally.with("x-test-fault", "none").get("/as/");
            asking.join().unwrap();
        });
        // A call that was on its way may have set the fault again.
        eventually(true, || {
            let asked = server.by("10.0.0.9").with("x-test-fault", "none").get("/_presence/v1/online.json");
            asked.status == 200 && asked.json()["users"] == serde_json::json!([])
        });
        // For as long as a batch is waited for: then it is put back, and whoever asks has it sent again.
        throughout(Duration::from_millis(3500), || assert_eq!(ids(), Vec::<String>::new()));
        if server.log().matches("a batch was not taken").count() > late {
            break;
        }
    }
}

#[test]
fn the_shipped_build_heeds_no_test_header() {
    let server = Setup::new().before(&site()).start();
    let client = server.by("10.0.0.1").with("x-test-fault", "panic-worker").with("x-test-now", "0").document();
    assert_eq!(client.get("/as/sally").status, 200);
    let user = client.get("/_presence/v1/users/sally.json").json();
    assert!(user["online"] == true && !user["last_seen"].as_str().unwrap().starts_with("1970"));
}

#[test]
fn more_visitors_than_a_batch_holds_are_all_pages_served() {
    let server = Setup::hooked().before(&site()).start();
    server.by("10.0.0.1").document().get("/");
    assert_eq!(server.by("10.0.0.9").get("/_presence/v1/count").text(), "1");
    server.by("10.0.0.1").with("x-test-fault", "fail-object").get("/");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let server = &server;
            scope.spawn(move || {
                for visitor in 0..400 {
                    let address = format!("10.{worker}.{}.{}", visitor / 250, visitor % 250);
                    let answer = server.by(&address).document().get("/");
                    assert_eq!((answer.status, answer.text().as_str()), (200, PAGE));
                }
            });
        }
    });
    server.by("10.9.9.9").with("x-test-fault", "none").get("/");
    eventually(true, || {
        let count = server.by("10.0.0.9").get("/_presence/v1/count");
        count.status == 200 && count.text().parse::<usize>().unwrap() >= 1000
    });
}

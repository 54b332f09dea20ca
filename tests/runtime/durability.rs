//! Killed at any moment, and started again: whatever the object had answered is there.

use crate::django_site::PYTHON;
use crate::harness::*;
use serde_json::json;
use std::path::Path;
use std::process::Command;

fn site() -> Origin {
    Origin::with_headers(|request| match request.target.strip_prefix("/as/") {
        Some(name) => format!("X-Presence-User: {name}\r\nX-Presence-Name: {name}\r\n"),
        None => String::new(),
    })
}

#[test]
fn a_killed_server_forgets_nobody() {
    let site = site();
    let server = Setup::new().before(&site).start();
    for name in ["sally", "bob", "carol"] {
        server.by("10.0.0.1").document().get(&format!("/as/{name}"));
    }
    server.by("10.0.0.2").touch(r#"{"path":"/x","title":"X","tab":"t"}"#);
    let before = server.json("/_presence/v1/online.json");
    let server = server.kill_and_restart();
    let after = server.json("/_presence/v1/online.json");
    assert_eq!(after["users"], before["users"]);
    assert_eq!((&after["counts"], &after["peak"]), (&before["counts"], &before["peak"]));
    assert!(after["version"].as_u64() >= before["version"].as_u64());
}

#[test]
fn killed_again_and_again_under_load_it_keeps_every_touch_that_was_answered() {
    let site = site();
    let mut server = Setup::new().before(&site).var("TOUCH_RESOLUTION", "0").start();
    let mut answered = 0;
    for round in 0..5 {
        for user in 0..20 {
            server.by("10.0.0.1").document().get(&format!("/as/u{round}x{user}"));
            answered += 1;
        }
        // A read waits for the object to have taken the batch.
        assert_eq!(server.json("/_presence/v1/online.json?limit=0")["counts"]["users"], answered);
        // What comes after may be lost, but must not harm what came before.
        server.by("10.0.0.3").touch("{}");
        server = server.kill_and_restart();
        assert_eq!(server.json("/_presence/v1/online.json?limit=0")["counts"]["users"], answered);
    }
}

#[test]
fn last_seen_outlives_the_window_and_a_kill() {
    let site = site();
    let setup = Setup::hooked().before(&site);
    let start = 1_795_203_180_000_i64;
    let at = |seconds: i64| (start + seconds * 1000).to_string();
    let server = setup.start();
    server.by("10.0.0.1").with("x-test-now", &at(0)).document().get("/as/sally");
    server.by("10.0.0.1").with("x-test-now", &at(1)).get("/_presence/v1/count");
    // Killed while she is online, and started when she has long been gone.
    let server = server.kill_and_restart();
    let user = server.by("10.0.0.9").with("x-test-now", &at(86_400)).get("/_presence/v1/users/sally.json").json();
    assert_eq!((&user["online"], &user["last_seen"]), (&json!(false), &json!("2026-11-20T19:33:00.000Z")));
    assert_eq!((&user["name"], &user["location"]["path"]), (&json!("sally"), &json!("/as/sally")));
    let server = server.kill_and_restart();
    let user = server.by("10.0.0.9").with("x-test-now", &at(86_500)).get("/_presence/v1/users/sally.json").json();
    assert_eq!(user["last_seen"], "2026-11-20T19:33:00.000Z");
}

/// Before there were notes and sheets, a user who went was a row.
#[test]
fn what_an_older_release_kept_of_users_is_still_told() {
    let site = site();
    let at = |millis: i64| (1_795_203_180_000_i64 + millis).to_string();
    let server = Setup::hooked().before(&site).start();
    server.by("10.0.0.1").with("x-test-now", &at(0)).document().get("/as/bob");
    eventually(true, || server.by("10.0.0.9").with("x-test-now", &at(1)).get("/_presence/v1/count").text() == "1");
    let table = "CREATE TABLE last_seen (user TEXT PRIMARY KEY, at INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID";
    let row = include_str!("../golden/departure-v2.hex").trim();
    let write = format!(
        "import sqlite3, sys\n\
         for file in sys.argv[1:]:\n\
         \x20   db = sqlite3.connect(file)\n\
         \x20   if db.execute(\"SELECT 1 FROM sqlite_master WHERE name = 'ring'\").fetchone():\n\
         \x20       db.execute('{table}')\n\
         \x20       db.execute('INSERT INTO last_seen VALUES (?, ?, ?)', ('sally', 1795203180123, bytes.fromhex('{row}')))\n\
         \x20   db.commit()\n\
         \x20   db.close()\n"
    );
    let server = server.kill_and_restart_after(|storage: &Path| {
        let files = files(storage).into_iter();
        let databases = files.filter(|file| file.extension().is_some_and(|kind| kind == "sqlite"));
        assert!(Command::new(PYTHON).arg("-c").arg(&write).args(databases).status().unwrap().success());
    });
    let user = server.by("10.0.0.9").with("x-test-now", &at(600_000)).get("/_presence/v1/users/sally.json").json();
    assert_eq!((&user["last_seen"], &user["name"]), (&json!("2026-11-20T19:33:00.123Z"), &json!("Sally 🏄")));
    let server = server.kill_and_restart();
    for (user, last_seen) in [("sally", "2026-11-20T19:33:00.123Z"), ("bob", "2026-11-20T19:33:00.000Z")] {
        let path = format!("/_presence/v1/users/{user}.json");
        assert_eq!(server.by("10.0.0.9").with("x-test-now", &at(600_001)).get(&path).json()["last_seen"], last_seen);
    }
}

#[test]
fn the_generated_secret_is_kept_so_that_cookies_stay_good() {
    let site = site();
    let server = Setup::new().before(&site).start();
    let cookie = server.by("10.0.0.1").document().get("/as/sally").cookie().unwrap();
    let server = server.kill_and_restart();
    server.by("10.0.0.1").with("cookie", &cookie).touch(r#"{"path":"/later"}"#);
    assert_eq!(server.json("/_presence/v1/users/sally.json")["location"]["path"], "/later");
}

#[test]
fn a_key_that_was_rotated_still_verifies() {
    let site = site();
    let (old, new) = ("an-old-secret-of-a-site", "a-new-secret-of-the-site");
    let server = Setup::new().before(&site).var("PRESENCE_SECRET", old).start();
    let cookie = server.by("10.0.0.1").document().get("/as/sally").cookie().unwrap();
    let rotated = Setup::new().before(&site).var("PRESENCE_SECRET", &format!("{new},{old}"));
    let server = server.kill_and_restart_as(rotated);
    server.by("10.0.0.1").with("cookie", &cookie).touch(r#"{"path":"/later"}"#);
    assert_eq!(server.json("/_presence/v1/users/sally.json")["location"]["path"], "/later");
}

#[test]
fn a_day_of_touches_is_kept_in_the_rows_of_one_window() {
    let server = Setup::hooked().var("ONLINE_TIMEOUT", "10").var("TOUCH_RESOLUTION", "0").start();
    let start = 1_795_203_180_000_i64;
    for second in 0..300 {
        let now = (start + second * 1000).to_string();
        server.by(&format!("10.0.0.{}", second % 7)).with("x-test-now", &now).touch("{}");
        server.by("10.0.0.9").with("x-test-now", &now).get("/_presence/v1/count");
    }
    // The database itself; the log beside it is of a size that SQLite chooses.
    let databases =
        files(&server.storage()).into_iter().filter(|file| file.extension().is_some_and(|kind| kind == "sqlite"));
    let size: u64 = databases.map(|file| file.metadata().unwrap().len()).sum();
    assert!((1..200_000).contains(&size), "300 batches take {size} bytes");
    let now = (start + 300_000).to_string();
    // Refreshes are on their way for a fifth of a second.
    eventually("7".to_owned(), || server.by("10.0.0.9").with("x-test-now", &now).get("/_presence/v1/count").text());
}

#[test]
fn no_address_is_ever_stored() {
    let server = Setup::new().start();
    server.by("203.0.113.77").touch(r#"{"path":"/needle-in-storage"}"#);
    assert_eq!(server.json("/_presence/v1/count.json")["guests"], 1);
    let all: Vec<u8> = files(&server.storage()).iter().flat_map(|file| std::fs::read(file).unwrap()).collect();
    let found = |needle: &[u8]| all.windows(needle.len()).any(|window| window == needle);
    assert!(found(b"/needle-in-storage"), "this is where it would be");
    assert!(!found(b"203.0.113.77"));
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn what_is_kept_of_who_went_is_swept_when_its_time_is_over() {
    let origin = Origin::with_headers(|_| "X-Presence-User: bob\r\nX-Presence-Topic: user%3Asally\r\n".to_owned());
    let setup = Setup::hooked()
        .before(&origin)
        .var("LAST_SEEN_TIMEOUT", "3600")
        .var("ADMIN_TOKEN", "an-admin-token-of-some-length");
    let server = setup.start();
    let at = |seconds: i64, fault: &str, path: &str| {
        let time = (1_795_203_180_000 + seconds * 1000).to_string();
        let client = server.by("10.0.0.1").with("x-test-now", &time).with("x-test-fault", fault);
        client.with("authorization", "Bearer an-admin-token-of-some-length").document().get(path)
    };
    at(0, "none", "/u/sally");
    eventually(1, || server.ids("/_presence/v1/online.json").len());
    let kept = |seconds: i64, fault: &str| {
        let viewers = at(seconds, fault, "/_presence/v1/viewers.json?topic=user:sally").json()["viewers"]
            .as_array()
            .unwrap()
            .len();
        let seen = at(seconds, fault, "/_presence/v1/users/bob.json").json()["last_seen"].is_string();
        (viewers, seen)
    };
    assert_eq!(kept(3600, "none"), (1, true));
    assert_eq!(kept(3602, "none"), (0, false));
    assert_eq!(kept(3600, "none"), (1, true), "to be told no more is not to be gone");
    kept(3602, "sweep");
    assert_eq!(kept(3598, "none"), (0, false));
}

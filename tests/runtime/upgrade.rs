//! What is stored outlives every release: storage that an older build wrote is opened by this one, and all of it is there.
//!
//! `tests/fixtures/README.md` says how a release adds its own.

use crate::access::site;
use crate::django_site::PYTHON;
use crate::harness::*;
use crate::metrics::metrics_told_to;
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

const ADMIN: &str = "0123456789abcdef0123456789abcdef";
const SIGN_ON: &str = "sally#sally@example.com#a-key-of-22-characters";
const THREAD: &str = "user:sally";
const YEAR: u32 = 31_536_000;

/// When its story begins: 2026-11-20T12:00:00Z.
const NOON: i64 = 1_795_176_000_000;
/// So many users come and go one after the other, enough for the first of them to be kept in a sheet.
const COMERS: i64 = 131;
/// How far apart they come: who came before is told to have gone.
const APART: i64 = 400;
/// Which of them looks at Sally's page, and goes on.
const VIEWER: i64 = 100;
/// When its story ends.
const END: i64 = COMERS * APART;

fn setup(site: &Origin) -> Setup {
    Setup::hooked().before(site).var("ADMIN_TOKEN", ADMIN).var("SITE", "club").var("TOUCH_RESOLUTION", "0")
}

/// Somebody at a second of the story.
fn at<'a>(server: &'a Server, address: &'a str, second: i64) -> Client<'a> {
    server.by(address).with("x-test-now", &(NOON + second * 1000).to_string())
}

/// The site's own server at a second of the story.
fn admin(server: &Server, second: i64) -> Client<'_> {
    at(server, "10.8.8.8", second).with("authorization", &format!("Bearer {ADMIN}"))
}

fn hash(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn send(client: &Client<'_>, method: &str, path: &str, body: &Value) -> Value {
    let answer = client.send(method, &format!("/_presence/v1/{path}"), Some(body.to_string().as_bytes()));
    assert!(matches!(answer.status, 201 | 204), "{path}: {}", answer.text());
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn tar(args: &[&str], archive: &Path, folder: &Path) {
    let mut command = Command::new("tar");
    let done = command.arg("-C").arg(folder).args(args).arg("-f").arg(archive);
    let names: &[&str] = if args.contains(&"-c") { &["storage", "keys.json"] } else { &[] };
    assert!(done.args(names).status().expect("tar is installed").success());
}

/// Writes the log of each database into it, so that one file is all there is. Their alarms go: by the clock of whoever opens
/// them they are long overdue.
fn close_databases(storage: &Path) {
    let script = "import glob, os, sqlite3, sys\n\
        for file in glob.glob(sys.argv[1] + '/**/*.sqlite', recursive=True):\n\
        \x20   db = sqlite3.connect(file)\n\
        \x20   for (table,) in db.execute(\"SELECT name FROM sqlite_master WHERE name IN ('_cf_ALARM', '_cf_METADATA')\").fetchall():\n\
        \x20       db.execute('DELETE FROM ' + table)\n\
        \x20   db.commit()\n\
        \x20   db.execute('PRAGMA wal_checkpoint(TRUNCATE)')\n\
        \x20   db.close()\n";
    assert!(Command::new(PYTHON).args(["-c", script]).arg(storage).status().unwrap().success());
}

/// Writes the storage folder of the current build, with one of everything that is stored.
///
/// `FIXTURE=<release> cargo test --test runtime -- --ignored a_release_writes_its_fixture`
#[test]
#[ignore = "writes a file: a release does that once"]
fn a_release_writes_its_fixture() {
    let release = std::env::var("FIXTURE").expect("FIXTURE says which release it is, as 2026-11-28");
    let site = site();
    let server = setup(&site).start();
    let first = admin(&server, 0);
    let session = json!({"value": "opaque \u{1f3c4}", "ttl": YEAR, "user": "sally"});
    let session = send(&first, "POST", "sessions", &session)["key"].clone();
    let anonymous = send(&first, "POST", "sessions", &json!({"value": "a cart", "ttl": YEAR}))["key"].clone();
    let sign_on = json!({"user": "sally", "name": "Sally \u{1f3c4}", "avatar": "/sally.png", "perms": ["can_edit@group:42"], "ttl": YEAR});
    send(&first, "PUT", &format!("sign-ons/{}", hash(SIGN_ON)), &sign_on);
    let password = json!({"user": "sally", "email": "sally@example.com", "label": "reader", "perms": ["can_read"]});
    let password = send(&first, "POST", "app-passwords", &password);
    send(&first, "PUT", "grants", &json!({"user": "sally", "permission": "can_moderate", "object": "group:7"}));
    send(&first, "PUT", "grants", &json!({"user": "sally", "permission": "can_post"}));

    // The peak: six at once.
    for number in 0..6 {
        at(&server, &format!("10.0.1.{number}"), 0).document().get("/start");
    }
    for number in 0..COMERS {
        let second = number * APART;
        let topic = if number == VIEWER { "&Topic=user%3Asally" } else { "" };
        let path = format!("/p{number}?User=u{number}&Name=U{number}{topic}");
        at(&server, "10.0.0.1", second).document().get(&path);
        assert_eq!(at(&server, "10.0.0.9", second).get("/_presence/v1/count").status, 200);
    }
    at(&server, "10.0.0.2", END).document().get("/profile?User=bob&Name=Bob&Topic=user%3Asally");
    at(&server, "10.0.0.3", END).document().get("/secret?User=casper&Name=Casper&Invisible=1");
    at(&server, "10.0.0.4", END).document().get("/guest");
    let page = at(&server, "10.0.0.5", END).document().get("/home?User=sally&Name=Sally");
    let cookie = page.cookie().expect("a cookie");
    assert_eq!(admin(&server, END).get("/_presence/v1/count.json").json()["total"], 4);
    let keys = json!({
        "cookie": cookie, "session": session, "anonymous": anonymous,
        "password_id": password["id"], "password": password["password"],
    });
    server.kill_and_restart_after(|storage| {
        close_databases(storage);
        let home = storage.parent().unwrap();
        std::fs::write(home.join("keys.json"), keys.to_string()).unwrap();
        tar(&["-c", "-z"], &fixtures().join(format!("storage-{release}.tar.gz")), home);
    });
}

/// The releases whose storage is kept, each with its file.
fn releases() -> Vec<PathBuf> {
    let files = std::fs::read_dir(fixtures()).unwrap().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = files.filter(|path| path.to_string_lossy().ends_with(".tar.gz")).collect();
    files.sort();
    files
}

/// This build on the storage of an older one, and the keys to what is in it.
fn upgraded(site: &Origin, archive: &Path) -> (Server, Value) {
    let mut keys = Value::Null;
    let server = setup(site).start().kill_and_restart_after(|storage| {
        std::fs::remove_dir_all(storage).unwrap();
        let home = storage.parent().unwrap();
        tar(&["-x", "-z"], archive, home);
        keys = serde_json::from_str(&std::fs::read_to_string(home.join("keys.json")).unwrap()).unwrap();
    });
    (server, keys)
}

fn time(second: i64) -> String {
    let at = NOON / 1000 + second;
    let (day, second) = (at / 86_400 - NOON / 1000 / 86_400 + 20, at % 86_400);
    format!("2026-11-{day}T{:02}:{:02}:{:02}.000Z", second / 3600, second / 60 % 60, second % 60)
}

#[test]
fn all_that_an_older_release_has_stored_is_there() {
    assert!(!releases().is_empty());
    for archive in releases() {
        let site = site();
        let (server, keys) = upgraded(&site, &archive);
        let text = |name: &str| keys[name].as_str().unwrap();
        let asked = admin(&server, END + 1);
        let told = |path: &str| {
            let answer = asked.get(&format!("/_presence/{path}"));
            assert_eq!(answer.status, 200, "{} of {}: {}", path, archive.display(), answer.text());
            answer.json()
        };
        // Who is online, and the peak.
        let online = told("v1/online.json");
        let ids: Vec<_> = online["users"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect();
        assert!(["sally", "bob"].iter().all(|id| ids.contains(id)), "{online}");
        assert_eq!((&online["peak"]["total"], &online["peak"]["at"]), (&json!(7), &json!(time(0))));
        // Who went: the one in a sheet, the other in a note.
        for (user, second) in [("u0", 0), ("u1", APART), ("u129", 129 * APART)] {
            let user = told(&format!("v1/users/{user}.json"));
            assert_eq!((&user["online"], &user["last_seen"]), (&json!(false), &json!(time(second))), "{user}");
            assert_eq!(user["name"], user["id"].as_str().unwrap().to_uppercase());
        }
        let viewers = told(&format!("v1/viewers.json?topic={THREAD}"));
        let viewers: Vec<_> =
            viewers["viewers"].as_array().unwrap().iter().map(|viewer| viewer["id"].clone()).collect();
        assert_eq!(viewers, [json!("bob"), json!(format!("u{VIEWER}"))]);
        // What was done.
        let metrics = metrics_told_to(asked.clone());
        assert!(metrics["signals_received_total"] >= (COMERS + 10) as f64, "{metrics:?}");
        assert_eq!(metrics["errors_totalkind=\"row_unreadable\""], 0.0);

        // Logins, and what they are good for.
        let session = told(&format!("v1/sessions/{}", text("session")));
        assert_eq!((&session["value"], &session["user"]), (&json!("opaque \u{1f3c4}"), &json!("sally")));
        let expires = json!("2027-11-20T12:00:00.000Z");
        assert_eq!(session["expires_at"], expires);
        let anonymous = told(&format!("v1/sessions/{}", text("anonymous")));
        assert_eq!((&anonymous["value"], &anonymous["user"]), (&json!("a cart"), &Value::Null));
        let sign_on = told(&format!("v1/sign-ons/{}", hash(SIGN_ON)));
        assert_eq!((&sign_on["user"], &sign_on["expires_at"]), (&json!("sally"), &expires));
        let passwords = told("v1/app-passwords");
        let password = &passwords["app_passwords"][0];
        assert_eq!((&password["id"], &password["user"]), (&keys["password_id"], &json!("sally")));
        assert_eq!((&password["email"], &password["label"]), (&json!("sally@example.com"), &json!("reader")));
        let checks =
            "v1/permissions.json?check=can_read&check=can_edit@group:42&check=can_post&check=can_moderate@group:7";
        let basic = Base64::encode_string(format!("sally:{}", text("password")).as_bytes());
        for (name, value, own) in [
            ("authorization", format!("Basic {basic}"), "can_read"),
            ("cookie", format!("presence_sign_on={SIGN_ON}"), "can_edit@group:42"),
            ("cookie", format!("presence_session={}", text("session")), ""),
            ("cookie", text("cookie").to_owned(), ""),
        ] {
            let may = at(&server, "10.0.0.5", END + 1).with(name, &value).get(&format!("/_presence/{checks}")).json();
            let expected = ["can_post", "can_moderate@group:7", own];
            for check in ["can_read", "can_edit@group:42", "can_post", "can_moderate@group:7"] {
                assert_eq!(may[check], json!(expected.contains(&check)), "{check} by {value}");
            }
        }
        // The secret: their cookie is theirs still, and who hides does so by a login that does not say it.
        at(&server, "10.0.0.5", END + 2).with("cookie", text("cookie")).touch(r#"{"path":"/later"}"#);
        let casper = send(&asked, "POST", "sessions", &json!({"user": "casper"}))["key"].clone();
        let casper = format!("presence_session={}", casper.as_str().unwrap());
        at(&server, "10.0.0.3", END + 400).with("cookie", &casper).touch(r#"{"path":"/back"}"#);
        at(&server, "10.0.0.5", END + 400).with("cookie", text("cookie")).touch(r#"{"path":"/later"}"#);
        let public = at(&server, "10.0.0.9", END + 400).get("/_presence/v1/online.json").json();
        let ids: Vec<_> = public["users"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["sally"], "{public}");
        assert_eq!(public["counts"]["total"], 2);
        assert_eq!(public["users"][0]["name"], "Sally");
    }
}

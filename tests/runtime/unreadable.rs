//! Rows that cannot be read, as a newer release wrote them or a disk damaged them: they are told of, and never taken for
//! absent.

use crate::django_site::PYTHON;
use crate::harness::*;
use crate::metrics::{ADMIN, metrics};
use base64ct::{Base64, Encoding};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Command;

const NOON: i64 = 1_795_176_000_000;
const SIGN_ON: &str = "sally#sally@example.com#a-key-of-22-characters";
const UNREADABLE: &str = "errors_totalkind=\"row_unreadable\"";

/// Runs SQL in each database that has a table of this name, and gives what it finds, in hexadecimal.
pub fn run_sql(storage: &Path, table: &str, sql: &str) -> Vec<String> {
    let script = "import glob, sqlite3, sys\n\
        for file in glob.glob(sys.argv[1] + '/**/*.sqlite', recursive=True):\n\
        \x20   db = sqlite3.connect(file)\n\
        \x20   if db.execute('SELECT 1 FROM sqlite_master WHERE name = ?', (sys.argv[2],)).fetchone():\n\
        \x20       for (value,) in db.execute(sys.argv[3]).fetchall():\n\
        \x20           print(value)\n\
        \x20       db.commit()\n\
        \x20   db.close()\n";
    let done = Command::new(PYTHON).args(["-c", script]).arg(storage).args([table, sql]).output().unwrap();
    assert!(done.status.success(), "{sql}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn setup() -> Setup {
    Setup::hooked()
        .var("ADMIN_TOKEN", ADMIN.trim_start_matches("Bearer "))
        .var("SITE", "club")
        .var("TOUCH_RESOLUTION", "0")
        .var("ACCESS", r#"{"names": "users"}"#)
}

/// Somebody at a time: what is remembered of a look-up is so for some seconds.
fn at<'a>(server: &'a Server, address: &'a str, second: i64) -> Client<'a> {
    server.by(address).with("x-test-now", &(NOON + second * 1000).to_string())
}

fn admin(server: &Server, second: i64) -> Client<'_> {
    at(server, "10.8.8.8", second).with("authorization", ADMIN)
}

fn send(client: &Client<'_>, method: &str, path: &str, body: &Value) -> Answer {
    client.send(method, &format!("/_presence/v1/{path}"), Some(body.to_string().as_bytes()))
}

fn sign_on() -> String {
    let hash: String = Sha256::digest(SIGN_ON).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sign-ons/{hash}")
}

#[test]
fn a_login_a_password_or_a_grant_that_cannot_be_read_is_neither_absent_nor_wrong() {
    let origin = Origin::with_headers(|_| String::new());
    let server = setup().before(&origin).start();
    let first = admin(&server, 0);
    let session = send(&first, "POST", "sessions", &json!({"value": "v", "user": "sally"})).json()["key"].clone();
    let session = session.as_str().unwrap().to_owned();
    assert_eq!(send(&first, "PUT", &sign_on(), &json!({"user": "sally"})).status, 204);
    let password = send(&first, "POST", "app-passwords", &json!({"user": "sally", "label": "reader"})).json();
    assert_eq!(send(&first, "PUT", "grants", &json!({"user": "bob", "permission": "can_edit"})).status, 204);
    let bob = send(&first, "POST", "sessions", &json!({"user": "bob"})).json()["key"].as_str().unwrap().to_owned();

    let server = server.kill_and_restart_after(|storage| {
        run_sql(storage, "sessions", "UPDATE sessions SET user = char(10) WHERE user = 'sally'");
        // As a release of tomorrow writes them.
        run_sql(storage, "sign_ons", "UPDATE sign_ons SET data = CAST(x'63' || substr(data, 2) AS BLOB)");
        run_sql(storage, "app_passwords", "UPDATE app_passwords SET data = CAST(x'63' || substr(data, 2) AS BLOB)");
        run_sql(storage, "grants", "UPDATE grants SET permission = 'can edit'");
    });
    let site = admin(&server, 10);
    let path = format!("/_presence/v1/sessions/{session}");
    assert!(site.get(&path).problem(503).contains("cannot be read"));
    let fresh = site.clone().with("if-none-match", "*");
    assert!(
        send(&fresh, "PUT", &format!("sessions/{session}"), &json!({"value": "lost"}))
            .problem(503)
            .contains("cannot be read")
    );
    site.get(&path).problem(503);
    site.get(&format!("/_presence/v1/{}", sign_on())).problem(503);
    // Whoever comes by one of them is let in nowhere, and not told that it is wrong, however often they try.
    let basic = format!(
        "Basic {}",
        Base64::encode_string(format!("sally:{}", password["password"].as_str().unwrap()).as_bytes())
    );
    for second in 0..8 {
        for (name, value) in [
            ("authorization", basic.clone()),
            ("cookie", format!("presence_session={session}")),
            ("cookie", format!("presence_sign_on={SIGN_ON}")),
        ] {
            let answer = at(&server, "10.0.0.1", 10 + second * 10).with(name, &value).get("/_presence/v1/online.json");
            assert_eq!(answer.status, 503, "{value}: {}", answer.text());
        }
    }
    let bob = at(&server, "10.0.0.2", 100).with("cookie", &format!("presence_session={bob}"));
    bob.get("/_presence/v1/permissions.json?check=can_edit").problem(503);
    assert_eq!(bob.get("/_presence/v1/online.json").status, 200, "who they are is known");
    // Pages go on, of a guest.
    let page = at(&server, "10.0.0.1", 100).with("cookie", &format!("presence_session={session}")).document();
    assert_eq!(page.get("/page").status, 200);
    eventually(json!(1), || at(&server, "10.0.0.9", 100).get("/_presence/v1/count.json").json()["guests"].clone());
    assert!(metrics(&server)[UNREADABLE] >= 5.0);
    // It can be seen and revoked.
    let listed = site.get("/_presence/v1/app-passwords").json();
    assert_eq!(
        (&listed["app_passwords"][0]["id"], &listed["app_passwords"][0]["unreadable"]),
        (&password["id"], &json!(true))
    );

    // Nothing was changed: once it can be read again it is there.
    let server = server.kill_and_restart_after(|storage| {
        run_sql(storage, "sign_ons", "UPDATE sign_ons SET data = CAST(x'10' || substr(data, 2) AS BLOB)");
        run_sql(storage, "app_passwords", "UPDATE app_passwords SET data = CAST(x'10' || substr(data, 2) AS BLOB)");
    });
    let site = admin(&server, 200);
    assert_eq!(site.get(&format!("/_presence/v1/{}", sign_on())).json()["user"], "sally");
    assert_eq!(at(&server, "10.0.0.1", 200).with("authorization", &basic).get("/_presence/v1/online.json").status, 200);
    // Who replaces or ends it whatever it was does so.
    assert_eq!(send(&site, "PUT", &format!("sessions/{session}"), &json!({"value": "new"})).status, 204);
    assert_eq!(site.get(&path).json()["value"], "new");
}

#[test]
fn a_stored_secret_that_cannot_be_read_is_told_of_and_never_replaced() {
    let origin = Origin::with_headers(|_| "X-Presence-User: sally\r\n".into());
    for damaged in ["x''", "substr(value, 2)", "hex(value)"] {
        let server = setup().before(&origin).start();
        let cookie = at(&server, "10.0.0.1", 0).document().get("/").cookie().unwrap();
        let mut kept = Vec::new();
        let mut before = Vec::new();
        let server = server.kill_and_restart_after(|storage| {
            before = run_sql(storage, "kept", "SELECT hex(value) FROM kept WHERE name = 'secret'");
            run_sql(storage, "kept", &format!("UPDATE kept SET value = {damaged} WHERE name = 'secret'"));
            kept = run_sql(storage, "kept", "SELECT quote(value) FROM kept WHERE name = 'secret'");
        });
        let page = at(&server, "10.0.0.1", 1).with("cookie", &cookie).document().get("/page");
        assert_eq!((page.status, page.cookie()), (200, None), "{damaged}");
        let told = at(&server, "10.0.0.2", 1).touch("{}").problem(503);
        assert!(told.starts_with("The site's secret is stored and cannot be read."), "{told}");
        at(&server, "10.0.0.1", 1).with("cookie", &cookie).get("/_presence/v1/online.json").problem(503);
        assert_eq!(at(&server, "10.0.0.9", 1).get("/_presence/v1/count.json").status, 200);
        assert!(server.log().contains("the stored secret of the site must be 32 bytes"), "{}", server.log());
        let server = server.kill_and_restart_after(|storage| {
            let left = run_sql(storage, "kept", "SELECT quote(value) FROM kept WHERE name = 'secret'");
            assert_eq!(left, kept, "it is left as it is");
            run_sql(storage, "kept", &format!("UPDATE kept SET value = x'{}' WHERE name = 'secret'", before[0]));
        });
        let again = at(&server, "10.0.0.1", 2).with("cookie", &cookie);
        assert_eq!(again.get("/_presence/v1/online.json").status, 200, "once it is put back the cookie is good");
    }
}

#[test]
fn what_a_newer_release_kept_of_users_is_there_when_that_release_is_back() {
    let origin =
        Origin::with_headers(|request| format!("X-Presence-User: {}\r\n", request.target.trim_start_matches('/')));
    let server = setup().before(&origin).start();
    for (number, user) in ["sally", "bob", "carol"].into_iter().enumerate() {
        let second = number as i64 * 400;
        at(&server, "10.0.0.1", second).document().get(&format!("/{user}"));
        assert_eq!(at(&server, "10.0.0.9", second).get("/_presence/v1/count").status, 200);
    }
    let last_seen = |server: &Server, user: &str| {
        admin(server, 1000).get(&format!("/_presence/v1/users/{user}.json")).json()["last_seen"].clone()
    };
    assert_eq!(last_seen(&server, "sally"), "2026-11-20T12:00:00.000Z");
    let server = server.kill_and_restart_after(|storage| {
        run_sql(storage, "notes", "UPDATE notes SET data = CAST(x'63' || substr(data, 2) AS BLOB)");
    });
    assert_eq!(last_seen(&server, "sally"), Value::Null);
    assert_eq!(last_seen(&server, "carol"), "2026-11-20T12:13:20.000Z", "others are kept on");
    at(&server, "10.0.0.2", 1000).touch("{}");
    at(&server, "10.0.0.9", 1000).get("/_presence/v1/count");
    assert!(metrics(&server)[UNREADABLE] >= 1.0);
    let server = server.kill_and_restart_after(|storage| {
        assert!(!run_sql(storage, "aside", "SELECT form FROM aside").is_empty());
        run_sql(storage, "aside", "UPDATE aside SET data = CAST(x'01' || substr(data, 2) AS BLOB)");
    });
    assert_eq!(last_seen(&server, "sally"), "2026-11-20T12:00:00.000Z");
}

#[test]
fn who_hides_stays_hidden_and_who_looked_is_told_again_where_their_rows_could_not_be_read() {
    let origin = crate::access::site();
    let server = setup().before(&origin).start();
    let session = |server: &Server, user: &str| {
        let made = send(&admin(server, 0), "POST", "sessions", &json!({"user": user})).json();
        format!("presence_session={}", made["key"].as_str().unwrap())
    };
    let (casper, bob) = (session(&server, "casper"), session(&server, "bob"));
    at(&server, "10.0.0.1", 0).document().get("/?User=casper&Invisible=1");
    at(&server, "10.0.0.2", 0).document().get("/sally?User=bob&Topic=user%3Asally");
    at(&server, "10.0.0.9", 0).get("/_presence/v1/count");
    at(&server, "10.0.0.2", 1).document().get("/?User=bob");
    at(&server, "10.0.0.9", 1).get("/_presence/v1/count");
    let viewers = |server: &Server, second: i64| {
        let told = admin(server, second).get("/_presence/v1/viewers.json?topic=user:sally");
        assert_eq!(told.status, 200, "{}", told.text());
        told.json()["viewers"].as_array().unwrap().len()
    };
    assert_eq!(viewers(&server, 1), 1);
    let server = server.kill_and_restart_after(|storage| {
        run_sql(storage, "hidden", "UPDATE hidden SET at = 'a while ago'");
        run_sql(storage, "viewers", "UPDATE viewers SET data = CAST(x'63' || substr(data, 2) AS BLOB)");
    });
    assert_eq!(viewers(&server, 1000), 0);
    at(&server, "10.0.0.1", 1000).with("cookie", &casper).touch("{}");
    at(&server, "10.0.0.2", 1000).with("cookie", &bob).touch("{}");
    let online = at(&server, "10.0.0.2", 1000).with("cookie", &bob).get("/_presence/v1/online.json").json();
    assert!(online["users"].to_string().contains("bob") && !online.to_string().contains("casper"), "{online}");
    assert!(metrics(&server)[UNREADABLE] >= 2.0);
    let server = server.kill_and_restart_after(|storage| {
        run_sql(storage, "viewers", "UPDATE viewers SET data = CAST(x'01' || substr(data, 2) AS BLOB)");
    });
    assert_eq!(viewers(&server, 1000), 1);
}

#[test]
fn where_it_cannot_be_read_what_was_revoked_nobody_is_let_in_by_a_token_and_pages_go_on() {
    let origin = crate::access::site();
    let server = setup().before(&origin).start();
    let signed_in = |server: &Server, address: &str, second: i64| {
        at(server, address, second).document().get("/?User=sally&Perms=can_edit").cookie().unwrap()
    };
    let asks = |server: &Server, cookie: &str, second: i64| {
        let client = at(server, "10.0.0.1", second).with("cookie", cookie);
        client.get("/_presence/v1/permissions.json?check=can_edit")
    };
    let cookie = signed_in(&server, "10.0.0.1", 0);
    let other = signed_in(&server, "10.0.0.2", 0);
    at(&server, "10.0.0.2", 1).with("cookie", &other).document().get("/?User=");
    eventually(json!(false), || asks(&server, &other, 40).json()["can_edit"].clone());
    assert_eq!(asks(&server, &cookie, 40).json()["can_edit"], true);
    // Whoever asks sees what was said before.
    assert_eq!(at(&server, "10.0.0.9", 41).get("/_presence/v1/count").status, 200);
    let let_in_nowhere = |server: &Server, second: i64| {
        asks(server, &cookie, second).problem(503);
        let client = at(server, "10.0.0.1", second + 10).with("cookie", &cookie);
        client.get("/_presence/v1/online.json").problem(503);
        assert_eq!(client.document().get("/page").status, 200);
    };

    let server = server.kill_and_restart_after(|storage| {
        let damaged = run_sql(storage, "not_before", "UPDATE not_before SET at = 'a while ago' RETURNING 1");
        assert_eq!(damaged.len(), 2, "with her account and with her presence");
    });
    let_in_nowhere(&server, 100);
    eventually(3.0, || metrics(&server)[UNREADABLE]);
    let server = server.kill_and_restart_after(|storage| {
        run_sql(storage, "not_before", &format!("UPDATE not_before SET at = {NOON} + 1000"));
    });
    assert_eq!(asks(&server, &cookie, 200).json()["can_edit"], true, "once it can be read again");
    assert_eq!(asks(&server, &other, 200).json()["can_edit"], false);

    let server = server.kill_and_restart_after(|storage| {
        run_sql(storage, "named", "UPDATE named SET since = 'a while ago'");
    });
    let_in_nowhere(&server, 300);
    // The site names her anew: what she may is known since then.
    let newer = signed_in(&server, "10.0.0.3", 400);
    eventually(json!(false), || asks(&server, &cookie, 440).json()["can_edit"].clone());
    assert_eq!(asks(&server, &newer, 440).json()["can_edit"], true);
    assert_eq!(at(&server, "10.0.0.1", 440).with("cookie", &cookie).get("/_presence/v1/online.json").status, 200);
}

/// Rows are written and copied whole: a release may add tables, and change none.
#[test]
fn the_tables_are_as_they_were_released() {
    let origin = Origin::with_headers(|_| "X-Presence-User: sally\r\n".into());
    let server = setup().before(&origin).start();
    at(&server, "10.0.0.1", 0).document().get("/");
    send(&admin(&server, 0), "POST", "sessions", &json!({}));
    send(&admin(&server, 0), "POST", "app-passwords", &json!({"user": "sally"}));
    let mut tables = Vec::new();
    server.kill_and_restart_after(|storage| {
        for table in ["ring", "sessions", "grants"] {
            let sql =
                "SELECT sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY name";
            tables.extend(run_sql(storage, table, sql));
        }
    });
    tables.dedup();
    assert_eq!(tables.join("\n"), include_str!("../golden/tables.sql").trim());
}

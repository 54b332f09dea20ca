//! Nobody can make the site pay, or fill it: what one hostile client does, and what it costs.

use crate::harness::*;
use crate::live::token;
use crate::live_socket::connect;
use crate::load::Connection;
use crate::metrics::metrics;
use serde_json::{Value, json};
use std::sync::Barrier;
use std::thread;

const ADMIN: &str = "0123456789abcdef0123456789abcdef";
const ATTACKER: &str = "10.66.6.6";
const NOON: i64 = 1_795_176_000_000;
/// How many connections the attacker has.
const REQUESTS: i64 = 60_000;
const CONNECTIONS: i64 = 8;

fn over(setup: Setup, shards: &str) -> Setup {
    let setup = setup.var("SHARDS", shards).var("ADMIN_TOKEN", ADMIN).var("SITE", "club");
    setup.var("PRESENCE_SECRET", "a-secret-of-thirty-two-characters")
}

/// What may be seen by whoever runs the site.
fn read(server: &Server, path: &str) -> Value {
    let admin = server.by("10.9.9.9").with("authorization", &format!("Bearer {ADMIN}"));
    let answer = admin.get(&format!("/_presence/v1/{path}"));
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn counts(server: &Server) -> Value {
    read(server, "online.json?limit=0")["counts"].clone()
}

fn browser(number: i64) -> String {
    format!("Mozilla/5.0 (X11; Linux x86_64; rv:{number}.0) Gecko/20100101 Firefox/{number}.0")
}

/// The attacker's request of that number, at its time: each is another browser, page, title, topic, tab and question.
fn hostile(number: i64) -> Vec<u8> {
    let common = format!(
        "host: club\r\ncf-connecting-ip: {ATTACKER}\r\nx-test-now: {}\r\nuser-agent: {}\r\n",
        NOON + 1000 + number,
        browser(number % 1009)
    );
    let touch = format!(
        r#"{{"path":"/{number}","title":"Title {number}","topic":"user:user-{}","tab":"{number}"}}"#,
        number % 20
    );
    let post = |path: &str, body: &str| {
        format!("POST /_presence/v1/{path} HTTP/1.1\r\n{common}content-length: {}\r\n\r\n{body}", body.len())
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\n{common}accept: text/html\r\n\r\n");
    let request = match number % 8 {
        0..=3 => post("touch", &touch),
        4 => post("leave", "{}"),
        5 => get(&format!("/page/{number}")),
        6 => get(&format!("/_presence/v1/touch.gif?path=/{number}&topic=thread:{number}")),
        _ => get(&format!("/_presence/v1/online.json?path=/{number}&limit={}", number % 1000)),
    };
    request.into_bytes()
}

fn a_hostile_minute(shards: &str) {
    let origin = Origin::with_headers(|request| match request.header("x-as") {
        Some(user) => format!("X-Presence-User: {user}\r\n"),
        None => String::new(),
    });
    let server = over(Setup::hooked(), shards).before(&origin).start();
    let now = NOON.to_string();
    let by = |address: &str| server.by(address).with("x-test-now", &now).document().get("/forum").status;
    assert!((0..100).all(|guest| by(&format!("10.1.0.{guest}")) == 200));
    for user in 0..20 {
        // They sit behind the attacker's address.
        let user = format!("user-{user}");
        server.by(ATTACKER).with("x-test-now", &now).with("x-as", &user).document().get("/forum");
    }
    eventually(json!({"total": 120, "users": 20, "guests": 100, "bots": 0}), || counts(&server));
    let before = metrics(&server)["rows_written_total"];
    // No connection is ahead of another one by as much as a second: a clock that is put back is stored.
    let together = Barrier::new(CONNECTIONS as usize);
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (port, together) = (server.port, &together);
            scope.spawn(move || {
                let mut open = Connection::open(port);
                for number in (connection..REQUESTS).step_by(CONNECTIONS as usize) {
                    let status = open.ask(&hostile(number));
                    assert!([200, 204, 429].contains(&status), "{status}");
                    if number % 400 < CONNECTIONS {
                        together.wait();
                    }
                }
            });
        }
    });
    // Whoever is over budget is not among those who are listed, and nobody has made room for them.
    assert_eq!(read(&server, "online.json?limit=1000")["users"].as_array().unwrap().len(), 20);
    let guests = read(&server, "online.json?kind=guest&path=/forum&limit=1000");
    assert_eq!((&guests["counts"]["guests"], guests["users"].as_array().unwrap().len()), (&json!(100), 100));
    let counts = counts(&server);
    assert!(counts["guests"].as_u64() <= Some(164) && counts["users"] == 20 && counts["bots"].as_u64() <= Some(64));
    assert!(read(&server, "online.json")["peak"]["total"].as_u64() <= Some(184));
    let told = metrics(&server);
    let rows = told["rows_written_total"] - before;
    assert!(rows <= 100.0, "{rows} rows: {told:?}");
    assert!(told["signals_shed_total"] > 10_000.0, "or it shows nothing: {told:?}");
}

#[test]
fn a_minute_of_a_thousand_hostile_requests_a_second_costs_few_rows_and_nobody_their_place() {
    a_hostile_minute("1");
}

#[test]
fn so_it_does_where_a_site_is_kept_by_several_objects() {
    a_hostile_minute("3");
}

#[test]
fn a_client_has_so_many_guests_and_whoever_is_signed_in_behind_it_is_none_of_them() {
    for (shards, vars, most) in [("1", None, 64), ("3", None, 64), ("1", Some("3"), 3)] {
        let setup = over(Setup::hooked(), shards);
        let server = vars.into_iter().fold(setup, |setup, guests| setup.var("CLIENT_GUESTS", guests)).start();
        for number in 0..100 {
            let client = server.by("2001:db8:1:2::1").with("user-agent", &browser(number));
            // Any address of the /64 is the same client.
            assert_eq!(client.with("cf-connecting-ip", &format!("2001:db8:1:2::{number:x}")).touch("{}").status, 204);
        }
        server.by("2001:db8:1:3::1").touch("{}");
        let signed_in = server.by("2001:db8:1:2::1").with("authorization", &format!("Bearer {}", token("sally")));
        assert_eq!(signed_in.touch("{}").status, 204);
        let expected = json!({"total": most + 2, "users": 1, "guests": most + 1, "bots": 0});
        eventually(expected, || counts(&server));
    }
}

#[test]
fn an_ipv4_address_is_the_same_client_however_it_is_written() {
    let server = over(Setup::hooked(), "1").start();
    ["10.0.0.1", "::ffff:10.0.0.1", "::FFFF:a00:1"].iter().for_each(|address| drop(server.by(address).touch("{}")));
    assert_eq!(counts(&server)["guests"], 1);
}

#[test]
fn a_page_reports_topics_that_are_listed_and_users_who_are_known() {
    for shards in ["1", "3"] {
        let server = over(Setup::hooked(), shards).var("TOPICS", "user:*, thread:*").start();
        let sally = server.by("10.0.0.1").with("authorization", &format!("Bearer {}", token("sally")));
        sally.touch("{}");
        assert_eq!(read(&server, "online.json")["counts"]["users"], 1);
        let about =
            |topic: &str| read(&server, &format!("online.json?topic={topic}&limit=0"))["counts"]["guests"].clone();
        for (number, topic) in ["user:sally", "user:nobody", "thread:7", "tea"].iter().enumerate() {
            let (guest, pixel) = (format!("10.0.1.{number}"), format!("10.0.2.{number}"));
            let touch = server.by(&guest).touch(&json!({"path": "/a", "topic": topic}).to_string());
            assert_eq!((touch.status, about(topic)), (204, json!(i32::from(number % 2 == 0))), "{topic}");
            server.by(&pixel).get(&format!("/_presence/v1/touch.gif?path=/a&topic={topic}"));
            eventually(json!(if number % 2 == 0 { 2 } else { 0 }), || about(topic));
        }
        let mut live = crate::live_socket::Watcher::open(&server, "?view=count", &[("cf-connecting-ip", "10.0.3.1")]);
        for (path, topic) in [("/b", "tea"), ("/c", "user:nobody"), ("/d", "user:sally")] {
            live.say(&json!({"type": "touch", "path": path, "topic": topic}));
        }
        eventually(json!(3), || about("user:sally"));
        assert_eq!((about("tea"), about("user:nobody")), (json!(0), json!(0)));
        assert_eq!(read(&server, "online.json?path=/a&limit=0")["counts"]["guests"], 8, "the rest counts");
    }
}

#[test]
fn what_the_site_says_a_page_is_about_needs_no_leave() {
    let origin = Origin::with_headers(|_| "X-Presence-Topic: tea\r\n".to_owned());
    let server = over(Setup::hooked(), "1").before(&origin).start();
    server.by("10.0.0.1").document().get("/a");
    assert_eq!(read(&server, "online.json?topic=tea&limit=0")["counts"]["guests"], 1);
}

#[test]
fn a_title_is_told_to_others_by_a_user_or_by_guests_of_two_clients() {
    for shards in ["1", "3"] {
        let server = over(Setup::hooked(), shards).start();
        let body = |title: &str| json!({"path": "/forum", "title": title}).to_string();
        let title = || read(&server, "pages.json")["pages"][0]["title"].clone();
        server.by("10.0.0.9").touch(r#"{"path":"/forum"}"#);
        for number in 0..9 {
            server.by(ATTACKER).with("user-agent", &browser(number)).touch(&body("Free beer"));
        }
        let people = |most: u64| eventually(json!(most), || read(&server, "pages.json")["pages"][0]["total"].clone());
        people(10);
        assert_eq!(title(), Value::Null, "one client says so with nine browsers");
        server.by("10.0.0.2").touch(&body("The forum"));
        server.by("10.0.0.3").touch(&body("The forum"));
        server.by("10.0.0.4").touch(&body("The forum"));
        people(13);
        assert_eq!(title(), "The forum", "of two clients and more");
        let own = read(&server, "online.json?kind=guest&limit=1000");
        let own = own["users"].as_array().unwrap().iter().filter(|guest| guest["location"]["title"] == "Free beer");
        assert_eq!(own.count(), 9, "and of themselves anybody may");
        let sally = server.by("10.0.0.1").with("authorization", &format!("Bearer {}", token("sally")));
        sally.touch(&body("Forum"));
        people(14);
        assert_eq!(title(), "Forum", "a user's word counts for more");
        let server = server.kill_and_restart();
        assert_eq!(read(&server, "pages.json")["pages"][0]["title"], "Forum");
    }
}

#[test]
fn a_path_that_leads_to_another_site_is_nobodys_place() {
    let origin = Origin::with_headers(|_| String::new());
    let server = over(Setup::hooked(), "1").before(&origin).start();
    for (number, path) in
        ["//evil.example", "/\\\\evil.example", "/%5Cevil.example", "/%2fevil.example"].iter().enumerate()
    {
        server.by("10.0.0.1").touch(&format!(r#"{{"path":"{path}"}}"#)).problem(400);
        server.by("10.0.0.1").get(&format!("/_presence/v1/touch.gif?path={}", path.replace('%', "%25"))).problem(400);
        assert_eq!(server.by(&format!("10.0.1.{number}")).document().get(&path.replace('\\', "%5C")).status, 200);
    }
    assert_eq!(counts(&server)["guests"], 4, "they are here");
    assert_eq!(read(&server, "pages.json")["pages"], json!([]), "and nowhere in particular");
}

#[test]
fn questions_that_differ_in_how_much_they_want_are_asked_once_and_others_so_often() {
    let server = over(Setup::hooked(), "1").var("ACCESS", r#"{"locations": "public"}"#).start();
    let now = NOON.to_string();
    server.by("10.0.0.1").with("x-test-now", &now).touch(r#"{"path":"/a"}"#);
    let ask =
        |address: &str, path: &str| server.by(address).with("x-test-now", &now).get(&format!("/_presence/v1/{path}"));
    for limit in 1..400 {
        assert_eq!(ask(ATTACKER, &format!("pages.json?limit={limit}")).status, 200);
        assert_eq!(ask(ATTACKER, &format!("online.json?limit={limit}")).status, 200);
    }
    assert_eq!(ask(ATTACKER, "pages.json?limit=0").json()["pages"], json!([]));
    let refused = (0..200)
        .map(|number| ask(ATTACKER, &format!("online.json?path=/{number}&limit=0")))
        .find(|answer| answer.status != 200);
    let refused = refused.expect("after a burst");
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.problem(429), "Try again in 1 seconds.");
    assert_eq!(ask("10.0.0.2", "online.json?path=/other&limit=0").status, 200, "another client is not hurt");
    let sally =
        server.by(ATTACKER).with("x-test-now", &now).with("authorization", &format!("Bearer {}", token("sally")));
    assert_eq!(
        sally.get("/_presence/v1/online.json?path=/sallys&limit=0").status,
        200,
        "nor a user behind the same address"
    );
    let later = server.by(ATTACKER).with("x-test-now", &(NOON + 1000).to_string());
    assert_eq!(later.get("/_presence/v1/online.json?path=/later&limit=0").status, 200, "and a second later it goes on");
}

#[test]
fn a_client_has_so_many_connections_and_users_behind_it_have_theirs() {
    let server = over(Setup::hooked(), "1").start();
    let open = |headers: &[(&str, &str)]| {
        let mut socket = connect(&server, "?view=count", headers).unwrap();
        let message = socket.read().unwrap();
        (!message.is_close()).then_some(socket)
    };
    let of_client = |number: i64| open(&[("cf-connecting-ip", ATTACKER), ("user-agent", &browser(number / 20))]);
    let held: Vec<_> = (0..80).filter_map(of_client).collect();
    assert_eq!(held.len(), 64);
    let bearer = format!("Bearer {}", token("sally"));
    assert!(open(&[("cf-connecting-ip", ATTACKER), ("authorization", &bearer)]).is_some());
    assert!(open(&[("cf-connecting-ip", "10.0.0.2")]).is_some());
    drop(held);
    eventually(true, || of_client(0).is_some());
}

#[test]
fn guests_push_no_user_off_the_list_of_who_has_looked() {
    let origin = Origin::with_headers(|request| {
        let user = request.header("x-as").map(|user| format!("X-Presence-User: {user}\r\n")).unwrap_or_default();
        let topic = if request.target == "/u/sally" { "X-Presence-Topic: user%3Asally\r\n" } else { "" };
        format!("{user}{topic}")
    });
    let server = over(Setup::hooked(), "1").before(&origin).start();
    for page in ["/u/sally", "/elsewhere"] {
        server.by("10.0.0.1").with("x-as", "bob").document().get(page);
        counts(&server);
    }
    thread::scope(|scope| {
        for connection in 0..8 {
            let port = server.port;
            scope.spawn(move || {
                let mut open = Connection::open(port);
                for number in (connection..1100).step_by(8) {
                    for page in ["/u/sally", "/elsewhere"] {
                        let request = format!(
                            "GET {page} HTTP/1.1\r\nhost: club\r\ncf-connecting-ip: 10.4.{}.{}\r\nuser-agent: {FIREFOX}\r\naccept: text/html\r\n\r\n",
                            number / 250,
                            number % 250
                        );
                        assert_eq!(open.ask(request.as_bytes()), 200);
                    }
                }
            });
        }
    });
    let viewers = || read(&server, "viewers.json?topic=user:sally");
    eventually(json!({"total": 1001, "users": 1, "guests": 1000}), || viewers()["counts"].clone());
    assert_eq!(viewers()["viewers"][0]["id"], "bob");
}

/// Half a megabyte is told to each who connects, and none of it is read.
#[test]
fn who_never_reads_takes_little_memory_however_often_they_connect() {
    let server = over(Setup::hooked(), "1").start();
    let long = |sign: &str, bytes: usize| sign.repeat(bytes);
    for user in 0..500 {
        let place = json!({"path": format!("/{user}{}", long("x", 400)), "title": long("t", 250)});
        let client = server
            .by("10.0.0.1")
            .with("authorization", &format!("Bearer {}", token(&format!("{user}{}", long("u", 100)))));
        assert_eq!(client.touch(&place.to_string()).status, 204);
    }
    assert_eq!(counts(&server)["users"], 500);
    let before = server.memory();
    let open = |number: usize| {
        let address = format!("10.3.{}.1", number / 40);
        connect(&server, "?limit=10000", &[("cf-connecting-ip", &address), ("user-agent", &browser(number as i64))])
            .unwrap()
    };
    let held: Vec<_> = (0..320).map(open).collect();
    let taken = server.memory().saturating_sub(before);
    assert!(taken < 150 << 20, "{} MB of {} connections", taken >> 20, held.len());
    assert_eq!(counts(&server)["users"], 500, "and all goes on");
}

//! A million guests in one object, through the door by which the batches of isolates come.

use crate::harness::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use whos_online::presence::bounds::MAX_GUESTS;
use whos_online::presence::id::{GuestKey, Name, PagePath, TabId, Title, UserId};
use whos_online::presence::member::{MemberKey, Place, Profile, Signal, State, Touch};
use whos_online::presence::reports::{Report, Reports};
use whos_online::presence::time::Millis;
use whos_online::presence::totals::Counted;
use whos_online::protocol::call::{Call, write};

const BATCH: u64 = 1000;
const PAGES: u64 = 500;
/// How often each of the first million is touched, each time on another page.
const ROUNDS: u64 = 2;
const USERS: u64 = 1500;
/// A few more than are kept.
const GUESTS: u64 = 1_100_000;
/// What the platform gives to an isolate.
const MEMORY: usize = 128 << 20;
const ADMIN: &str = "0123456789abcdef0123456789abcdef";

fn at_page(number: u64) -> Option<Place> {
    let path = PagePath::parse(format!("/page/{}", number % PAGES)).unwrap();
    Some(Place { path, title: Title::parse(format!("Page {}", number % PAGES)).ok(), topic: None })
}

/// A multiplication spreads them over all numbers, as the digests of guests are.
fn guest(number: u64) -> Touch {
    let key = MemberKey::Guest(GuestKey(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let (place, tab, state) = (at_page(number), Some(TabId(number as u32)), State::Online);
    Touch { place, tab, state, ..Touch::of(key) }
}

fn user(number: u64) -> Touch {
    let key = MemberKey::User(UserId::parse(format!("user-{number}")).unwrap());
    let profile = Profile { name: Name::parse(format!("User {number}")).ok(), ..Profile::default() };
    Touch { key, profile: Some(profile), ..guest(number) }
}

/// An isolate that sends batches.
struct Isolate(BufReader<TcpStream>);

impl Isolate {
    fn beside(server: &Server) -> Self {
        Self(BufReader::new(TcpStream::connect(("127.0.0.1", server.beside.unwrap())).unwrap()))
    }

    fn send(&mut self, touches: impl Iterator<Item = Touch>) {
        let reports: Reports = touches.map(|touch| Report { age: Millis(0), signal: Signal::Touch(touch) }).collect();
        let body = write(&Call::Apply(reports, Counted::default()));
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        let request = [head.as_bytes(), &body].concat();
        self.0.get_mut().write_all(&request).unwrap();
        let (mut line, mut length) = (String::new(), 0);
        self.0.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line.trim() != "" {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            if let Some(told) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = told.trim().parse().unwrap();
            }
        }
        self.0.read_exact(&mut vec![0; length]).unwrap();
    }
}

/// All that is asserted: the same before and after a restart.
fn look(server: &Server, guests: u64) {
    let counts = serde_json::json!({ "total": guests + USERS, "users": USERS, "guests": guests, "bots": 0 });
    // An answer is used again for a second.
    eventually(counts, || server.json("/_presence/v1/online.json?limit=1000")["counts"].clone());
    let all = server.json("/_presence/v1/online.json?limit=1000");
    assert_eq!(all["users"].as_array().unwrap().len(), 1000);
    let rest =
        server.json(&format!("/_presence/v1/online.json?limit=1000&cursor={}", all["next_cursor"].as_str().unwrap()));
    assert_eq!(rest["users"].as_array().unwrap().len() as u64, USERS - 1000, "users are never merged");
    let newest = server.json("/_presence/v1/online.json?kind=guest&limit=100");
    assert_eq!(newest["users"].as_array().unwrap().len(), 100);
    let merged = guests.saturating_sub(MAX_GUESTS as u64);
    eventually((PAGES, guests + USERS - merged), || {
        let pages = server.json(&format!("/_presence/v1/pages.json?limit={PAGES}"));
        let totals = pages["pages"].as_array().unwrap().iter().map(|page| page["total"].as_u64().unwrap());
        (totals.clone().count() as u64, totals.sum())
    });
    let by = server.by("10.0.0.1").with("authorization", &format!("Bearer {ADMIN}"));
    let metrics = by.with("x-test-fault", "memory").get("/_presence/metrics").text();
    let line = format!("members_merged{{site=\"bench\",kind=\"guest\"}} {merged}");
    assert!(metrics.contains(&line), "{line} is not in {metrics}");
    let memory = server.wasm_memory();
    println!("{guests} guests: {} MB of wasm memory", memory >> 20);
    assert!(memory < MEMORY, "{memory} bytes");
}

#[test]
fn a_million_guests_fit_into_one_object_and_outlive_a_kill() {
    let setup = Setup::hooked().var("SITE", "bench").var("ADMIN_TOKEN", ADMIN).var("ONLINE_TIMEOUT", "3600");
    let server = setup.beside("tests/bench/workers/driver.js").start();
    let mut isolate = Isolate::beside(&server);
    // Users first: of all they are seen longest ago.
    isolate.send((0..BATCH).map(user));
    isolate.send((BATCH..USERS).map(user));
    for round in 0..ROUNDS {
        for first in (0..1_000_000).step_by(BATCH as usize) {
            isolate
                .send((first..first + BATCH).map(|number| Touch { place: at_page(number + round), ..guest(number) }));
        }
    }
    look(&server, 1_000_000);
    for first in (1_000_000..GUESTS).step_by(BATCH as usize) {
        isolate.send((first..first + BATCH).map(guest));
    }
    look(&server, GUESTS);
    let server = server.kill_and_restart();
    look(&server, GUESTS);
    // Life goes on, over HTTP.
    for number in 0..20 {
        assert_eq!(server.by(&format!("10.1.0.{number}")).touch(r#"{"path":"/page/0"}"#).status, 204);
    }
    eventually(GUESTS + 20, || server.json("/_presence/v1/online.json?limit=0")["counts"]["guests"].as_u64().unwrap());
    look(&server, GUESTS + 20);
}

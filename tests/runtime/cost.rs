//! What `npm run cost` reckons with, held against the real thing: a small day that it simulates is replayed on the Worker,
//! view by view and timer by timer, and what both have counted is compared.

#[path = "../cost/day.rs"]
mod day;
#[path = "../cost/object.rs"]
mod object;
#[path = "../cost/shelf.rs"]
mod shelf;
#[path = "../cost/visitors.rs"]
mod visitors;

use crate::harness::*;
use crate::metrics::{ADMIN, metrics_told_to};
use day::{Looking, Step, Traffic, What, simulate};
use shelf::Rows;
use std::collections::{BTreeMap, HashMap};
use visitors::{View, Visitor, user_id};
use whos_online::config::Secret;
use whos_online::identity::{Keys, User};
use whos_online::presence::id::{DeviceId, SiteName};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

const SECRET: &str = "a-secret-of-thirty-two-characters";
const SITE: &str = "example.com";

/// A replay under way.
struct Replay {
    server: Server,
    keys: Keys,
    cookies: HashMap<u64, String>,
    told: BTreeMap<String, f64>,
}

impl Replay {
    fn follow(&mut self, step: &Step) {
        match &step.what {
            What::Viewed(view) => self.view(view, step.at),
            What::Sent => assert_eq!(self.at(step.at).get("/_presence/healthz").status, 200),
            What::Swept => self.told = metrics_told_to(self.at(step.at).with("x-test-fault", "sweep")),
        }
        // All timers that have run out have sent their batch, which was answered: to wait for an answer takes a timer too.
        eventually(step.timers.to_string(), || self.at(step.at).get("/test/timers").text());
    }

    fn at(&self, at: Timestamp) -> Client<'_> {
        self.server.by("10.9.9.9").with("x-test-now", &at.as_millis().to_string())
    }

    fn view(&mut self, view: &View, at: Timestamp) {
        let address = format!("10.0.{}.{}", view.visitor / 250, view.visitor % 250);
        let mut client = self.at(at).with("cf-connecting-ip", &address).document();
        if let Some(cookie) = self.cookie(view, at) {
            client = client.with("cookie", &cookie);
        } else if Visitor::of(view.visitor) != Visitor::Guest {
            client = client.with("x-name-me", user_id(view.visitor).as_str());
        }
        let answer = client.get(&format!("/page/{}", view.page));
        assert_eq!(answer.status, 200);
        if let Some(cookie) = answer.cookie() {
            self.cookies.insert(view.visitor, cookie);
        }
    }

    /// What the visitor's browser sends: what it was given before, if they have been here within the day.
    fn cookie(&self, view: &View, at: Timestamp) -> Option<String> {
        if Visitor::of(view.visitor) != Visitor::Known {
            return self.cookies.get(&view.visitor).cloned();
        }
        let user = User { id: user_id(view.visitor), profile: None, perms: Vec::new() };
        let token = self.keys.sign(&user, DeviceId(1), &SiteName::parse(SITE).unwrap(), at, at.plus(Seconds(86_400)));
        Some(format!("presence={}", token.unwrap()))
    }
}

#[test]
fn a_day_takes_what_its_simulation_says() {
    let site = Origin::with_headers(|request| {
        let named = request.header("x-name-me").map(|user| format!("X-Presence-User: {user}\r\n"));
        named.unwrap_or_default()
    });
    let setup = Setup::hooked().timed().before(&site).var("SITE", SITE).var("PRESENCE_SECRET", SECRET);
    let server = setup.var("ADMIN_TOKEN", ADMIN.trim_start_matches("Bearer ")).start();
    let keys = Keys::new(vec![Secret::new(SECRET)]).unwrap();
    let mut replay = Replay { server, keys, cookies: HashMap::new(), told: BTreeMap::new() };
    // One isolate, that is kept all day; and few pages, so that many a view tells nothing new.
    let traffic = Traffic {
        views: 400,
        pages: 3,
        colos: 1,
        idle: Millis(u32::MAX),
        earlier: &Rows::default(),
        looking: Looking::Nobody,
        lapse: 1,
    };
    let used = simulate(&traffic, &mut |step| replay.follow(step));
    let totals = used.totals;
    let told = |name: &str| replay.told[name] as u64;
    assert_eq!(told("batch_signals_count") as f64, used.object_requests);
    assert_eq!(told("batch_signals_sum"), totals.sizes.sum);
    assert_eq!(told("signals_received_total"), totals.received);
    assert_eq!(told("signals_suppressed_total"), totals.suppressed);
    assert!(totals.suppressed > 20 && used.object_requests > 100.0, "{totals:?}: there is something to compare");
    assert_eq!(told("rows_written_total") as f64, used.rows_written);
}

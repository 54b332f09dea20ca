//! Real traffic, and generated traffic like it, replayed in its own time before a site that answers as the log tells: every count and
//! every list must be what a plain map of last-seen times says.

#[path = "../replay/log.rs"]
mod log;

use crate::harness::*;
use chrono::{DateTime, SecondsFormat};
use log::Line;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::path::Path;
use whos_online::config::PrivatePaths;
use whos_online::identity::bot::is_bot;
use whos_online::presence::id::PagePath;

/// A path of no page.
const NOWHERE: &str = "";

/// Where real traffic may lie, beside the project.
const REAL_LOG: &str = "../shared/data/access-2015-05-17.log.gz";
/// So many of its lines reach well past a midnight.
const REAL_LINES: usize = 2500;
const GENERATED_LINES: usize = 1500;

const ONLINE_TIMEOUT: i64 = 300;
/// Lists are read page by page.
const LIMIT: usize = 7;
/// How much time of the log passes between two looks at every list.
const BETWEEN_CHECKS: i64 = 240_000;
/// The Worker gives an answer again within a second of its time.
const FRESH: i64 = 1000;
const DAY: i64 = 86_400_000;

#[test]
fn real_traffic_is_told_as_a_map_of_last_seen_times_tells_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(REAL_LOG);
    if !path.is_file() {
        // Not by `println!`, which is kept from view in a test that passes.
        writeln!(std::io::stderr(), "{REAL_LOG} is absent: a generated log is replayed in its place").unwrap();
        return replay(&generated_log(17));
    }
    let lines = log::open(&path).unwrap().lines().take(REAL_LINES);
    replay(&lines.map(|line| Line::parse(line.unwrap().as_bytes()).unwrap()).collect::<Vec<_>>());
}

#[test]
fn generated_traffic_is_told_as_a_map_of_last_seen_times_tells_it() {
    replay(&generated_log(42));
}

/// An address and a user agent.
type Visitor = (String, String);

/// What the map holds of a visitor: times in milliseconds, and the last document, if there was one in this visit.
struct Visit {
    since: i64,
    last_seen: i64,
    turn: usize,
    path: Option<String>,
}

impl Visit {
    /// On which page they are, if on any.
    fn place(&self) -> Option<&str> {
        self.path.as_deref().filter(|path| *path != NOWHERE)
    }

    fn is_online(&self, now: i64) -> bool {
        now.div_euclid(1000) - self.last_seen.div_euclid(1000) <= ONLINE_TIMEOUT
    }
}

/// The model: when each visitor was last seen.
#[derive(Default)]
struct Model {
    seen: BTreeMap<Visitor, Visit>,
    turns: usize,
    peak: (usize, i64),
    /// Who was seen on which day: a guest has an id of its own on each.
    days: BTreeSet<(Visitor, i64)>,
}

impl Model {
    /// What a request means for where its visitor is: no page, for which they stay where they are; or a page, which is nowhere where
    /// it was refused, or is nobody's business. `HEAD` and `OPTIONS` show nothing.
    fn request(&mut self, line: &Line, now: i64) {
        let who = (line.address.clone(), String::from_utf8(line.agent.clone()).unwrap());
        let leads_on = (300..400).contains(&line.status) && line.status != 304 || line.status == 204;
        let path = line.target.split(['?', ';']).next().filter(|_| line.is_document() && !leads_on);
        // On a private page, or one whose path is too long, they are nowhere.
        let told = |path: &str| PagePath::reported(path).is_ok_and(|path| !PrivatePaths::default().cover(&path));
        match path {
            _ if matches!(line.method.as_str(), "HEAD" | "OPTIONS") => {}
            Some(path) => self.touch(who, now, Some(if line.status < 400 && told(path) { path } else { NOWHERE })),
            None if self.seen.get(&who).is_some_and(|visit| visit.is_online(now)) => self.touch(who, now, None),
            None => {}
        }
    }

    fn touch(&mut self, who: Visitor, now: i64, path: Option<&str>) {
        self.turns += 1;
        let before = self.seen.remove(&who).filter(|visit| visit.is_online(now));
        let since = before.as_ref().map_or(now, |visit| visit.since);
        let path = path.map(str::to_owned).or(before.and_then(|visit| visit.path));
        self.days.insert((who.clone(), now.div_euclid(DAY)));
        self.seen.insert(who, Visit { since, last_seen: now, turn: self.turns, path });
        let total = self.online(now, false).len();
        if total > self.peak.0 {
            self.peak = (total, now);
        }
    }

    /// Who is online, guests or bots, newest first.
    fn online(&self, now: i64, bots: bool) -> Vec<(&Visitor, &Visit)> {
        let here = |(who, visit): &(&Visitor, &Visit)| is_bot(&who.1) == bots && visit.is_online(now);
        let mut online: Vec<_> = self.seen.iter().filter(here).collect();
        online.sort_by_key(|(_, visit)| std::cmp::Reverse(visit.turn));
        online
    }

    fn counts(&self, now: i64) -> Value {
        let (guests, bots) = (self.online(now, false).len(), self.online(now, true).len());
        json!({"total": guests, "users": 0, "guests": guests, "bots": bots})
    }

    fn pages(&self, now: i64) -> BTreeMap<&str, u64> {
        let mut pages = BTreeMap::new();
        for path in self.online(now, false).into_iter().filter_map(|(_, visit)| visit.place()) {
            *pages.entry(path).or_default() += 1;
        }
        pages
    }
}

/// A replay under way: the Worker and the model, side by side.
struct Replay {
    server: Server,
    http: ureq::Agent,
    model: Model,
    watched: usize,
    checks: usize,
    ids: BTreeMap<String, (Visitor, i64)>,
    names: BTreeMap<(Visitor, i64), String>,
}

fn replay(lines: &[Line]) {
    let origin = Origin::serving(|request, stream| {
        let (status, kind) = (request.header("x-status").unwrap(), request.header("x-type").unwrap());
        let body = if matches!(status, "204" | "304") { "" } else { "Content-Length: 0\r\n" };
        let _ = write!(stream, "HTTP/1.1 {status} Told\r\nContent-Type: {kind}\r\n{body}Connection: close\r\n\r\n");
    });
    let server = Setup::hooked().before(&origin).var("ONLINE_TIMEOUT", "300").var("TOUCH_RESOLUTION", "0").start();
    let config = ureq::Agent::config_builder().http_status_as_error(false).user_agent("").max_redirects(0);
    let http = config.build().into();
    let (ids, names) = (BTreeMap::new(), BTreeMap::new());
    let mut replay = Replay { server, http, model: Model::default(), watched: 0, checks: 0, ids, names };
    let mut last = lines[0].second * 1000;
    let mut next_check = last + BETWEEN_CHECKS;
    replay.watch(last);
    for (number, line) in lines.iter().enumerate() {
        // The log tells whole seconds; visitors come at any time within them.
        let now = (line.second * 1000 + number as i64 * 37 % 1000).max(last);
        let mut free_from = last + FRESH;
        while next_check.max(free_from) < now {
            let at = next_check.max(free_from);
            replay.check(at);
            free_from = at + FRESH;
            // Before a midnight everybody is looked at once more, as guests have other ids after it.
            let midnight = (at + 1).div_euclid(DAY) * DAY + DAY;
            next_check = (at + BETWEEN_CHECKS).min(midnight - 1);
        }
        replay.send(line, now);
        replay.watch(now);
        replay.check_counts(now);
        last = now;
        if number == lines.len() / 2 {
            replay.server = replay.server.kill_and_restart();
            replay.watch(now);
        }
    }
    replay.check(last + FRESH);
    assert_eq!(
        replay.names.keys().cloned().collect::<BTreeSet<_>>(),
        replay.model.days,
        "everybody was listed each day"
    );
    let (total, at) = replay.model.peak;
    let end = last + (ONLINE_TIMEOUT + 1) * 1000;
    replay.check(end);
    let online = replay.read("online.json", end);
    assert_eq!(online["peak"], json!({"total": total, "at": rfc3339(at)}));
    assert_eq!(online["counts"], json!({"total": 0, "users": 0, "guests": 0, "bots": 0}));
    println!(
        "{} lines of {} visitors, {} of them guests at once at the most; {} ids; every list was looked at {} times",
        lines.len(),
        replay.model.seen.len(),
        total,
        replay.ids.len(),
        replay.checks
    );
}

impl Replay {
    fn run(&self, request: ureq::http::Request<()>, now: i64) -> Vec<u8> {
        let what = request.uri().to_string();
        let (status, body) = self.run_for_status(request, now);
        assert!(status < 400, "{what}: {status}");
        body
    }

    fn run_for_status(&self, mut request: ureq::http::Request<()>, now: i64) -> (u16, Vec<u8>) {
        request.headers_mut().insert("x-test-now", now.into());
        let what = request.uri().to_string();
        let mut answer = self.http.run(request).unwrap_or_else(|error| panic!("{what}: {error}"));
        (answer.status().as_u16(), answer.body_mut().read_to_vec().unwrap())
    }

    fn send(&mut self, line: &Line, now: i64) {
        let mut request = line.request(&self.server.url("")).unwrap();
        let headers = request.headers_mut();
        headers.insert("x-status", line.status.into());
        headers.insert("x-type", if line.is_document() { "text/html" } else { "image/png" }.parse().unwrap());
        let (what, status) = (request.uri().to_string(), line.status);
        assert_eq!(self.run_for_status(request, now).0, status, "{what}");
        self.model.request(line, now);
    }

    /// A visitor who goes from page to page all the time. A read has the Worker send its news first but not mere
    /// refreshes, which it holds back for a moment; a move is news, and takes them along.
    fn watch(&mut self, now: i64) {
        self.watched += 1;
        let (address, path) = ("10.255.255.255", format!("/watch/{}", self.watched % 2));
        let request = ureq::http::Request::get(self.server.url(&format!("/_presence/v1/touch.gif?path={path}")))
            .header("cf-connecting-ip", address)
            .header("user-agent", FIREFOX);
        self.run(request.body(()).unwrap(), now);
        self.model.touch((address.into(), FIREFOX.into()), now, Some(&path));
    }

    fn read(&self, what: &str, now: i64) -> Value {
        let url = self.server.url(&format!("/_presence/v1/{what}"));
        let body = self.run(ureq::http::Request::get(url).body(()).unwrap(), now);
        serde_json::from_slice(&body).unwrap()
    }

    fn check_counts(&self, now: i64) {
        let mut expected = self.model.counts(now);
        expected["as_of"] = rfc3339(now).into();
        expected["online_timeout"] = 300.into();
        assert_eq!(self.read("count.json", now), expected);
    }

    /// Looks at every count and every list.
    fn check(&mut self, now: i64) {
        self.checks += 1;
        self.check_counts(now);
        for kind in ["guest", "bot"] {
            let mut found = self.list(kind, now);
            let seen = |told: &Value| told["last_seen"].to_string();
            assert!(found.is_sorted_by(|(_, one), (_, other)| seen(one) >= seen(other)), "newest first");
            let mut expected: Vec<_> = self.model.online(now, kind == "bot");
            // Those of the same millisecond are in no order that the model would know.
            found.sort_by_cached_key(|(_, told)| told.to_string());
            expected.sort_by_cached_key(|(_, visit)| member(visit).to_string());
            let told: Vec<_> = found.iter().map(|(_, told)| told.clone()).collect();
            assert_eq!(told, expected.iter().map(|(_, visit)| member(visit)).collect::<Vec<_>>(), "{kind}s at {now}");
            for ((id, one), (who, visit)) in found.into_iter().zip(expected) {
                if told.iter().filter(|other| **other == one).count() > 1 {
                    // Nothing but the id tells them apart.
                    continue;
                }
                let who = (who.clone(), visit.last_seen.div_euclid(DAY));
                assert_eq!(self.ids.entry(id.clone()).or_insert(who.clone()), &who, "an id is one visitor's");
                assert_eq!(self.names.entry(who).or_insert(id.clone()), &id, "a visitor has one id a day");
            }
        }
        assert_eq!(self.list("user", now), []);
        let pages = self.read("pages.json?limit=1000", now);
        let pages: Vec<_> = pages["pages"].as_array().unwrap().iter().collect();
        let total = |page: &&Value| page["total"].as_u64().unwrap();
        assert!(pages.is_sorted_by_key(|page| std::cmp::Reverse(total(page))), "most first");
        let told: BTreeMap<_, _> = pages.iter().map(|page| (page["path"].as_str().unwrap(), total(page))).collect();
        assert_eq!((told, pages.len()), (self.model.pages(now), self.model.pages(now).len()), "pages at {now}");
    }

    /// All members of a kind, page by page: each with its id apart.
    fn list(&self, kind: &str, now: i64) -> Vec<(String, Value)> {
        let (mut members, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.read(&format!("online.json?kind={kind}&limit={LIMIT}{cursor}"), now);
            assert_eq!((&page["counts"], &page["as_of"]), (&self.model.counts(now), &rfc3339(now).into()));
            assert_eq!(page["online_timeout"], ONLINE_TIMEOUT);
            let mut users = page["users"].as_array().unwrap().clone();
            for user in &mut users {
                let id = user.as_object_mut().unwrap().remove("id").unwrap();
                members.push((id.as_str().unwrap().to_owned(), user.take()));
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return members,
            }
            assert_eq!(users.len(), LIMIT, "a page with another after it is full");
        }
    }
}

fn member(visit: &Visit) -> Value {
    json!({
        "name": null, "avatar": null, "state": "online", "tabs": 1,
        "since": rfc3339(visit.since), "last_seen": rfc3339(visit.last_seen),
        "location": visit.place().map(|path| json!({"path": path, "title": null})),
    })
}

fn rfc3339(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis).unwrap().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A log of a busier site than the real one: people who come, look at pages with pictures and go, crawlers, scripts
/// that name no user agent, and a midnight on the way. The same seed gives the same log.
fn generated_log(seed: u64) -> Vec<Line> {
    const AGENTS: [&str; 6] = [
        "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "UniversalFeedParser/4.2-pre-314-svn +http://feedparser.org/",
        "-",
    ];
    const PATHS: [&str; 9] = [
        "/",
        "/blog/",
        "/blog/surf-guitars.html?page=2",
        "/projects",
        "/about.php",
        "/style.css",
        "/logo.png",
        "/app.js",
        "/favicon.ico",
    ];
    let mut state = seed;
    let mut random = move |below: u64| {
        // Knuth's MMIX generator, of which the upper bits are good.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    // 2026-11-19T22:40:00Z.
    let mut second = 1_795_128_000;
    let mut lines = Vec::with_capacity(GENERATED_LINES);
    for number in 0..GENERATED_LINES as u64 {
        // Now and then nobody comes for longer than the online window.
        second += if random(200) == 0 { 200 + random(300) as i64 } else { random(10) as i64 };
        // People go and others come: forty addresses at a time, moving on.
        let address = number / 20 + random(40);
        let agent = AGENTS[(address + random(2)) as usize % AGENTS.len()];
        let path = PATHS[random(PATHS.len() as u64) as usize];
        let time = DateTime::from_timestamp(second, 0).unwrap().format("%d/%b/%Y:%H:%M:%S +0000");
        let status = [200, 200, 200, 200, 304, 302, 404, 204][random(8) as usize];
        let method = if random(20) == 0 { "HEAD" } else { "GET" };
        let text =
            format!(r#"10.1.0.{} - - [{time}] "{method} {path} HTTP/1.1" {status} 1234 "-" "{agent}""#, address % 250);
        lines.push(Line::parse(text.as_bytes()).unwrap());
    }
    let days = |line: Option<&Line>| line.unwrap().second.div_euclid(86_400);
    assert!(days(lines.first()) < days(lines.last()), "a midnight is on the way");
    lines
}

//! What it costs to record a page: the shipped Worker on the real runtime, in front of a site that does next to nothing;
//! beside the same Worker on requests that are nobody's visit, a Worker that writes a row for each hit as examples do, and
//! Django with Redis. They take turns, and a ratio is of two that were measured one after the other.

use crate::django::Django;
use crate::harness::{Server, Setup};
use crate::load::{self, Load, VISITORS};
use crate::report::{Bar, Spread, bar, figure, plain};
use crate::site;
use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::rc::Rc;
use std::time::Duration;

const PART: &str = "recording a page";
const CONNECTIONS: usize = 32;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_secs(1);
/// For so long each is asked before: what is asked often is compiled once more, better.
const WARM: Duration = Duration::from_secs(3);
/// Where nobody waits for anybody: how long a page takes then is told by how long it takes to serve it.
const CALM: Duration = Duration::from_millis(2);
const CALM_ROUND: Duration = Duration::from_secs(4);
pub const SECRET: &str = "a-secret-of-thirty-two-characters";
const ADMIN: &str = "only-for-the-bench-of-presence";

/// Something to be measured.
struct Scenario {
    name: &'static str,
    port: u16,
    requests: Vec<Vec<u8>>,
    what: What,
    rounds: Vec<Round>,
    calm: Vec<Load>,
}

struct Round {
    load: Load,
    /// How long processors have worked for a page, in microseconds.
    worked: Option<f64>,
}

/// What is measured there.
enum What {
    Site,
    Passing(Rc<Server>),
    /// Those that are of this kind are to be online in the end.
    Ours(Rc<Server>, &'static str),
    Upsert(Rc<Server>),
    /// With the command that counts those who are known.
    Django(Django, &'static str),
}

impl What {
    /// How long processors have worked for it.
    fn worked(&self) -> Option<Duration> {
        match self {
            Self::Site => None,
            Self::Passing(server) | Self::Ours(server, _) | Self::Upsert(server) => Some(server.worked()),
            Self::Django(django, _) => Some(django.worked()),
        }
    }

    /// How many visitors it has recorded.
    fn recorded(&self) -> Option<usize> {
        let number = |value: &serde_json::Value| value.as_u64().map(|number| number as usize);
        match self {
            Self::Site | Self::Passing(_) => None,
            Self::Ours(server, kind) => {
                let counts = server.json("/_presence/v1/online.json?limit=0")["counts"].clone();
                assert_eq!(counts["total"], counts[kind], "and nobody else");
                number(&counts[kind])
            }
            Self::Upsert(server) => {
                number(&server.by("10.1.0.1").get("/online.json?limit=0").json()["counts"]["total"])
            }
            Self::Django(django, count) => Some(django.redis.number(count)),
        }
    }
}

/// Prints it.
pub fn run() {
    println!("\n{PART}: {CONNECTIONS} connections, {ROUNDS} rounds of {ROUND:?} in turns: the middle (least-most)");
    let mut scenarios = scenarios(site::start());
    for scenario in &scenarios {
        load::run(scenario.port, CONNECTIONS, WARM, &scenario.requests);
    }
    for _ in 0..ROUNDS {
        scenarios.iter_mut().for_each(Scenario::measure);
        let mut calm: Vec<_> = scenarios.iter_mut().filter(|scenario| CALMLY.contains(&scenario.name)).collect();
        calm.sort_by_key(|scenario| CALMLY.iter().position(|name| *name == scenario.name));
        let asked: Vec<_> = calm.iter().map(|scenario| (scenario.port, scenario.requests.as_slice())).collect();
        let loads = load::alternately(&asked, CALM, CALM_ROUND);
        calm.iter_mut().zip(loads).for_each(|(scenario, load)| scenario.calm.push(load));
    }
    print(&scenarios);
}

impl Scenario {
    fn measure(&mut self) {
        let before = self.what.worked();
        let load = load::run(self.port, CONNECTIONS, ROUND, &self.requests);
        let spent = self.what.worked().zip(before).map(|(after, before)| (after - before).as_secs_f64() * 1e6);
        self.rounds.push(Round { worked: spent.map(|spent| spent / load.answers as f64), load });
    }
}

const LONG_SCRIPT: &str = "a Worker in JavaScript, a page of 320 KB";
const LONG: &str = "this Worker, a page of 320 KB";
const THROUGH: &str = "this Worker, passing through";
const THROUGH_AS_USER: &str = "the same, with a user's cookie and headers";
const GUEST: &str = "this Worker, a guest";
const USER: &str = "this Worker, a user by the site's header";
/// One process is asked for two of these, and each time after the same time, or it would still be warm for one of them.
const CALMLY: [&str; 4] = [THROUGH, THROUGH_AS_USER, GUEST, USER];

fn scenarios(site: u16) -> Vec<Scenario> {
    let origin = format!("http://127.0.0.1:{site}");
    let worker = || {
        let setup = Setup::new().var("ORIGIN", &origin).var("SITE", "bench");
        Rc::new(setup.var("PRESENCE_SECRET", SECRET).var("ADMIN_TOKEN", ADMIN).start())
    };
    let of = |name, port, what, headers: &dyn Fn(usize) -> (&'static str, String)| Scenario {
        name,
        port,
        requests: load::pages(headers),
        what,
        rounds: Vec::new(),
        calm: Vec::new(),
    };
    let ours = |name, kind, server: Rc<Server>, headers: &dyn Fn(&Server, usize) -> (&'static str, String)| {
        let headers: Vec<_> = (0..VISITORS).map(|visitor| headers(&server, visitor)).collect();
        of(name, server.port, What::Ours(server, kind), &|visitor| headers[visitor].clone())
    };
    let passing = |name, server: Rc<Server>, headers: &dyn Fn(usize) -> (&'static str, String)| {
        of(name, server.port, What::Passing(server), headers)
    };
    let upsert = |name, query| {
        let server = Setup::script("tests/bench/workers/upsert.js").object("UPSERT", "Upsert").var("ORIGIN", &origin);
        let server = Rc::new(server.start());
        of(name, server.port, What::Upsert(server), &|_| (query, String::new()))
    };
    let django = |name, recipe, count, query| {
        let django = Django::start(recipe, site);
        of(name, django.port, What::Django(django, count), &|_| (query, String::new()))
    };
    let script = |path| Rc::new(Setup::script(path).var("ORIGIN", &origin).start());
    let cookie = |visitor: usize| format!("cookie: presence={}\r\n", token(visitor));
    // A page that is fetched in advance is nobody's visit.
    let ahead = "sec-purpose: prefetch\r\n";
    // What a user's page takes to be passed on: as many bytes, that mean nothing.
    let as_user = |visitor: usize| format!("{ahead}{}", cookie(visitor).replace("presence=", "whatever="));
    // Recording is held against the very process that passes on: two of the same Worker differ by up to a tenth.
    let (guests, users) = (worker(), worker());
    vec![
        of("the site alone", site, What::Site, &|_| ("", String::new())),
        passing("a Worker in JavaScript, passing through", script("tests/bench/workers/pass.js"), &|_| {
            ("", String::new())
        }),
        passing(LONG_SCRIPT, script("tests/bench/workers/pass.js"), &|_| ("?long", String::new())),
        passing(LONG, worker(), &|_| ("?long", ahead.to_owned())),
        passing(THROUGH, guests.clone(), &|_| ("", ahead.to_owned())),
        ours(GUEST, "guests", guests, &|_, _| ("", String::new())),
        passing(THROUGH_AS_USER, users.clone(), &|visitor| ("?else", as_user(visitor))),
        ours(USER, "users", users, &|_, visitor| ("?user", cookie(visitor))),
        ours("this Worker, a signed cookie", "users", worker(), &|_, visitor| ("", cookie(visitor))),
        ours("this Worker, a sign-on cookie", "users", worker(), &|server, visitor| ("", sign_on(server, visitor))),
        ours("this Worker, a session", "users", worker(), &|server, visitor| ("", session(server, visitor))),
        upsert("a row for each hit in JavaScript, a guest", ""),
        upsert("a row for each hit in JavaScript, a user", "?user"),
        django("Django with a cache key each, a guest", "cache_key", "DBSIZE", ""),
        django("Django with a cache key each, a user", "cache_key", "DBSIZE", "?user"),
        django("Django with a sorted set, a guest", "sorted_set", "ZCARD online", ""),
        django("Django with a sorted set, a user", "sorted_set", "ZCARD online", "?user"),
    ]
}

fn print(scenarios: &[Scenario]) {
    let named = |name: &str| scenarios.iter().find(|scenario| scenario.name == name).unwrap();
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{:<44} {:>8} {:>20} {:>8} {:>8} {:>8}", "", "pages/s", "of passing through", "ms", "99%", "µs each");
    for scenario in scenarios {
        let of = |figure: &dyn Fn(&Load) -> f64| Spread::of(scenario.rounds.iter().map(|round| figure(&round.load)));
        let (rate, late) = (of(&|round| round.rate), of(&|round| millis(round.late)));
        let median = of(&|round| millis(round.median));
        let Spread { middle, least, most } = ratio(scenario, named(THROUGH));
        let worked: Option<Vec<f64>> = scenario.rounds.iter().map(|round| round.worked).collect();
        let worked = worked.map(Spread::of);
        println!(
            "{:<44} {:>8.0} {:>20} {:>8.2} {:>8.2} {:>8}",
            scenario.name,
            rate.middle,
            format!("{middle:.2} ({least:.2}-{most:.2})"),
            median.middle,
            late.middle,
            worked.map_or_else(String::new, |worked| format!("{:.0}", worked.middle)),
        );
        worked.iter().for_each(|worked| figure(PART, scenario.name, "µs of processor each", *worked));
        for (unit, spread) in [("pages/s", rate), ("ms, median", median), ("ms, 99%", late)] {
            figure(PART, scenario.name, unit, spread);
        }
        verify(scenario);
    }
    let worked = |name: &str| named(name).rounds.iter().filter_map(|round| round.worked);
    let times = Spread::of(worked(LONG).zip(worked(LONG_SCRIPT)).map(|(ours, script)| ours / script));
    plain(PART, "a page of 320 KB in chunks, processor time, against a Worker in JavaScript", "times", times);
    for (ours, through, kind, share) in [(GUEST, THROUGH, "guest", 0.95), (USER, THROUGH_AS_USER, "user", 0.90)] {
        let of = |what: &str, other: &str, least| {
            let what = format!("a {kind}, against {what}");
            bar(PART, &what, "times", ratio(named(ours), named(other)), Bar::AtLeast(least));
        };
        of("this Worker passing it through", through, share);
        of("a row for each hit", &format!("a row for each hit in JavaScript, a {kind}"), 2.0);
        let django = format!("Django with a cache key each, a {kind}");
        of("Django with a cache key each", &django, 4.0);
        of("Django with a sorted set", &format!("Django with a sorted set, a {kind}"), 4.0);
        for (what, other) in [("this Worker passing it through", through), ("Django with a cache key each", &django)] {
            let times = Spread::of(worked(ours).zip(worked(other)).map(|(ours, other)| ours / other));
            plain(PART, &format!("a {kind}, processor time, against {what}"), "times", times);
        }
        let calm = |name| named(name).calm.iter();
        let added = |of: fn(&Load) -> Duration| {
            Spread::of(calm(ours).zip(calm(through)).map(|(ours, through)| millis(of(ours)) - millis(of(through))))
        };
        plain(PART, &format!("a {kind}, added to half of the pages, one at a time"), "ms", added(|load| load.median));
        let what = format!("a {kind}, added to 99 of 100 pages, one at a time");
        bar(PART, &what, "ms", added(|load| load.late), Bar::AtMost(0.3));
    }
}

/// How many times as many pages a second.
fn ratio(scenario: &Scenario, other: &Scenario) -> Spread {
    Spread::of(scenario.rounds.iter().zip(&other.rounds).map(|(round, other)| round.load.rate / other.load.rate))
}

/// Nothing was fast because it was not done.
fn verify(scenario: &Scenario) {
    let loads = scenario.rounds.iter().map(|round| &round.load).chain(&scenario.calm);
    let refused: usize = loads.map(|load| load.refused).sum();
    assert_eq!(refused, 0, "{}", scenario.name);
    let recorded = scenario.what.recorded();
    assert!(recorded.is_none_or(|visitors| visitors == VISITORS), "{}: {recorded:?}", scenario.name);
}

pub fn id(visitor: usize) -> String {
    format!("user-{visitor}")
}

pub fn token(visitor: usize) -> String {
    let part = |value: serde_json::Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let claims = json!({"sub": id(visitor), "name": "A Visitor", "exp": 4_000_000_000_u32});
    let text = format!("{}.{}", part(json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", Base64UrlUnpadded::encode_string(&mac.finalize().into_bytes()))
}

fn sign_on(server: &Server, visitor: usize) -> String {
    let value = format!("{}#mail#key", id(visitor));
    let hash: String = Sha256::digest(&value).iter().map(|byte| format!("{byte:02x}")).collect();
    told(server, "PUT", &format!("/_presence/v1/sign-ons/{hash}"), visitor);
    format!("cookie: presence_sign_on={value}\r\n")
}

fn session(server: &Server, visitor: usize) -> String {
    let key = format!("session-of-visitor-{visitor}");
    told(server, "PUT", &format!("/_presence/v1/sessions/{key}"), visitor);
    format!("cookie: presence_session={key}\r\n")
}

fn told(server: &Server, method: &str, path: &str, visitor: usize) {
    let body = json!({"user": id(visitor), "value": "opaque"}).to_string();
    let admin = server.by("10.1.0.1").with("authorization", &format!("Bearer {ADMIN}"));
    let answer = admin.send(method, path, Some(body.as_bytes()));
    assert_eq!(answer.status, 204, "{}", answer.text());
}

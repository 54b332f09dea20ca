//! What it costs to record a page, by how its visitor is known: the shipped Worker on the real runtime, in front of a
//! site that does next to nothing, beside a Worker that passes requests through and no more.

use crate::harness::{FIREFOX, Server, Setup};
use crate::load;
use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const VISITORS: usize = 1000;
/// Each comes to so many pages in turn, so that every request is news and none is spared.
const PAGES: usize = 4;
const CONNECTIONS: usize = 32;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
pub const SECRET: &str = "a-secret-of-thirty-two-characters";
const ADMIN: &str = "only-for-the-bench-of-presence";

/// Something to be measured.
struct Scenario {
    name: &'static str,
    port: u16,
    requests: Vec<Vec<u8>>,
    /// Who is to be online in the end, by the Worker that recorded them.
    recorded: Option<(Server, &'static str)>,
    rounds: Vec<load::Load>,
}

/// Prints it.
pub fn run() {
    let site = site();
    println!(
        "\nrecording a page, {CONNECTIONS} connections, {ROUNDS} rounds of {ROUND:?} in turns: the middle (least-most)"
    );
    let mut scenarios = scenarios(site);
    for scenario in &scenarios {
        load::run(scenario.port, CONNECTIONS, ROUND, &scenario.requests);
    }
    for _ in 0..ROUNDS {
        for scenario in &mut scenarios {
            scenario.rounds.push(load::run(scenario.port, CONNECTIONS, ROUND, &scenario.requests));
        }
    }
    print(&scenarios);
}

fn scenarios(site: u16) -> Vec<Scenario> {
    let origin = format!("http://127.0.0.1:{site}");
    let worker = || {
        let setup = Setup::new().var("ORIGIN", &origin).var("SITE", "bench");
        setup.var("PRESENCE_SECRET", SECRET).var("ADMIN_TOKEN", ADMIN).start()
    };
    let pass = Setup::script("tests/bench/workers/pass.js").var("ORIGIN", &origin).start();
    let by = |name, server: Server, kind, headers: &dyn Fn(&Server, usize) -> String| {
        let headers: Vec<_> = (0..VISITORS).map(|visitor| headers(&server, visitor)).collect();
        let requests = requests(|visitor| ("", headers[visitor].clone()));
        Scenario { name, port: server.port, requests, recorded: Some((server, kind)), rounds: Vec::new() }
    };
    let unrecorded = |name, port, header: &str| Scenario {
        name,
        port,
        requests: requests(|_| ("", header.to_owned())),
        recorded: None,
        rounds: Vec::new(),
    };
    let said = worker();
    let through = worker();
    vec![
        unrecorded("the site alone", site, ""),
        Scenario { recorded: Some((pass, "")), ..unrecorded("passing through in JavaScript", 0, "") },
        Scenario {
            // A page that is fetched in advance is nobody's visit.
            recorded: Some((through, "")),
            ..unrecorded("this Worker recording nothing", 0, "sec-purpose: prefetch\r\n")
        },
        by("a guest", worker(), "guests", &|_, _| String::new()),
        by("a signed cookie", worker(), "users", &|_, visitor| format!("cookie: presence={}\r\n", token(visitor))),
        by("a sign-on cookie", worker(), "users", &sign_on),
        by("a session", worker(), "users", &session),
        Scenario {
            requests: requests(|visitor| ("?user", format!("cookie: presence={}\r\n", token(visitor)))),
            ..by("the site's header, and the cookie", said, "users", &|_, _| String::new())
        },
    ]
    .into_iter()
    .map(|scenario| match &scenario.recorded {
        Some((server, _)) => Scenario { port: server.port, ..scenario },
        None => scenario,
    })
    .collect()
}

fn print(scenarios: &[Scenario]) {
    let middle = |mut figures: Vec<f64>| {
        figures.sort_by(f64::total_cmp);
        (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
    };
    let (script, through) = (&scenarios[1].rounds, &scenarios[2].rounds);
    println!("{:<34} {:>8} {:>18} {:>18} {:>7} {:>7}", "", "pages/s", "of JavaScript", "of nothing", "ms", "99%");
    for scenario in scenarios {
        let of = |figure: &dyn Fn(&load::Load) -> f64| middle(scenario.rounds.iter().map(figure).collect()).0;
        let against = |others: &[load::Load]| {
            let ratios = scenario.rounds.iter().zip(others).map(|(round, other)| round.rate / other.rate);
            let (ratio, least, most) = middle(ratios.collect());
            format!("{ratio:.2} ({least:.2}-{most:.2})")
        };
        println!(
            "{:<34} {:>8.0} {:>18} {:>18} {:>7.2} {:>7.2}",
            scenario.name,
            of(&|round| round.rate),
            against(script),
            against(through),
            of(&|round| round.median.as_secs_f64() * 1000.0),
            of(&|round| round.late.as_secs_f64() * 1000.0),
        );
        verify(scenario);
    }
}

/// Nothing was fast because it was not done.
fn verify(scenario: &Scenario) {
    let refused: usize = scenario.rounds.iter().map(|round| round.refused).sum();
    assert_eq!(refused, 0, "{}", scenario.name);
    if let Some((server, kind)) = scenario.recorded.as_ref().filter(|(_, kind)| !kind.is_empty()) {
        let counts = server.json("/_presence/v1/online.json?limit=0")["counts"].clone();
        assert_eq!((&counts["total"], &counts[kind]), (&json!(VISITORS), &json!(VISITORS)), "{}", scenario.name);
    }
}

/// The requests of all visitors for their pages: a target's query and further headers, by visitor.
fn requests(of: impl Fn(usize) -> (&'static str, String)) -> Vec<Vec<u8>> {
    let one = |number: usize| {
        let (visitor, page) = (number % VISITORS, number / VISITORS);
        let (query, headers) = of(visitor);
        let address = format!("10.0.{}.{}", visitor / 250, visitor % 250);
        format!(
            "GET /page/{page}{query} HTTP/1.1\r\nhost: bench\r\nuser-agent: {FIREFOX}\r\naccept: text/html\r\n\
             sec-fetch-dest: document\r\ncf-connecting-ip: {address}\r\nx-user: {visitor}\r\n{headers}\r\n"
        )
        .into_bytes()
    };
    (0..VISITORS * PAGES).map(one).collect()
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

/// A site that answers each request with one small page; where it is asked to, it names a user.
fn site() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn serve(mut stream: TcpStream) -> Option<()> {
    let page = format!("<!doctype html><title>A page</title><p>{}</p>", "Words. ".repeat(300));
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n", page.len());
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    loop {
        let (mut user, mut names) = (String::new(), false);
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end() {
                "" => break,
                first if first.starts_with("GET ") => names = first.contains("?user"),
                header => user = header.strip_prefix("x-user: ").map_or(user, str::to_owned),
            }
        }
        let name =
            format!("x-presence-user: user-{user}\r\nx-presence-name: A%20Visitor\r\ncache-control: private\r\n");
        let answer = format!("{head}{}\r\n{page}", if names { &name } else { "" });
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

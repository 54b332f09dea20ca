//! Attacks on a site, each refused, wherever the Worker stands and however many objects keep the site.
//!
//! Each attack is a function that sets up a site, attacks it as a stranger or a visitor could, and asserts that nothing came
//! of it. The table runs all of them on each stage.

mod blocks;
mod cost;
mod hosts;
mod privacy;
mod revocation;

use crate::harness::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

const ADMIN: &str = "an-admin-token-of-some-length";

/// Where an attack takes place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// In front of a site at an address of its own, with one object.
    Plain,
    /// The same with three objects.
    ThreeShards,
    /// The same as the first over https, where cookies have other names.
    Https,
    /// On the site's own route.
    Route,
}

type Attack = (&'static str, fn(Stage));

impl Stage {
    /// The Worker in front of a site.
    fn before(self, site: &Origin) -> Setup {
        let setup = Setup::hooked()
            .var("ACCESS", "")
            .var("ADMIN_TOKEN", ADMIN)
            .var("PRESENCE_SECRET", "a-secret-of-some-length");
        match self {
            Self::Route => setup.on_route_of(site),
            Self::ThreeShards => setup.before(site).var("SHARDS", "3"),
            Self::Plain | Self::Https => setup.before(site),
        }
    }

    /// Somebody with a browser.
    fn by<'a>(self, server: &'a Server, address: &str) -> Client<'a> {
        let client = server.by(address).with("host", "club.example");
        if self == Self::Https { client.https() } else { client }
    }

    /// The site's own server, with the admin token.
    fn admin(self, server: &Server) -> Client<'_> {
        self.by(server, "10.8.8.8").with("authorization", &format!("Bearer {ADMIN}"))
    }

    /// Somebody whom the site signs in, with the cookie that the Worker gives them.
    fn signed_in<'a>(self, server: &'a Server, address: &str, say: &str) -> Client<'a> {
        let client = self.by(server, address);
        let page = client.clone().document().with("x-say", say).get("/signing-in");
        let cookie = page.cookie().expect("a cookie");
        assert_eq!(cookie.starts_with("__Host-"), self == Self::Https, "{cookie}");
        client.with("cookie", &cookie)
    }
}

/// A site that answers as the request's headers ask: `x-say` lists headers (`Name: value|Name: value`), `x-body` is the body,
/// `x-status` the status. Otherwise it answers with a private page.
fn site() -> Origin {
    Origin::serving(|request, stream| {
        use std::io::Write;
        let say = request.header("x-say").unwrap_or_default();
        let own = say.split('|').filter(|line| !line.is_empty());
        let mut head: String = own.map(|line| format!("{line}\r\n")).collect();
        for (name, default) in [("content-type", "text/html"), ("cache-control", "private")] {
            if !head.to_ascii_lowercase().contains(name) {
                head += &format!("{name}: {default}\r\n");
            }
        }
        let body = request.header("x-body").unwrap_or("<h1>A page</h1>");
        let status = request.header("x-status").unwrap_or("200 OK");
        let _ = write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{head}Connection: close\r\n\r\n{body}",
            body.len()
        );
    })
}

fn every_attack_fails(stage: Stage) {
    let tables: [&[Attack]; 5] =
        [blocks::ATTACKS, revocation::ATTACKS, privacy::ATTACKS, cost::ATTACKS, hosts::ATTACKS];
    let succeeded = |(name, attack): &&Attack| {
        let outcome = catch_unwind(AssertUnwindSafe(|| attack(stage)));
        outcome.is_err().then(|| eprintln!("on {stage:?}: {name}")).is_some()
    };
    let succeeded: Vec<_> = tables.concat().iter().filter(succeeded).map(|(name, _)| *name).collect();
    assert!(succeeded.is_empty(), "on {stage:?} these attacks succeed: {succeeded:#?}");
}

#[test]
fn every_attack_is_refused_in_front_of_a_site() {
    every_attack_fails(Stage::Plain);
}

#[test]
fn every_attack_is_refused_where_three_objects_keep_the_site() {
    every_attack_fails(Stage::ThreeShards);
}

#[test]
fn every_attack_is_refused_over_https() {
    every_attack_fails(Stage::Https);
}

#[test]
fn every_attack_is_refused_on_a_route() {
    every_attack_fails(Stage::Route);
}

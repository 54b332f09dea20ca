//! Hosts that a client makes up, and addresses that it claims to have.

use super::{Attack, Stage, site};
use crate::harness::Server;

pub const ATTACKS: &[Attack] = &[
    ("an invented host makes an object by a read", an_invented_host_makes_no_object_by_a_read),
    ("a client chooses its address for the site behind", a_client_cannot_choose_its_address),
];

/// The files in which objects of a class keep what they store.
fn objects(server: &Server, class: &str) -> usize {
    let files = std::fs::read_dir(server.storage().join(class)).into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".sqlite") && !name.starts_with("metadata")).count()
}

fn an_invented_host_makes_no_object_by_a_read(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    let reads = [
        "v1/online.json",
        "v1/online.json?kind=guest",
        "v1/count",
        "v1/pages.json",
        "v1/users/sally.json",
        "v1/users.json?id=sally",
        "v1/viewers.json?topic=user:sally",
        "v1/permissions.json?check=admin",
        "badge.svg",
        "feed.atom",
    ];
    for (index, read) in reads.into_iter().enumerate() {
        let invented = stage.by(&server, "10.0.0.1").with("host", &format!("h{index}.example"));
        let answer = invented.get(&format!("/_presence/{read}"));
        assert!(answer.status < 500, "{read}: {}", answer.text());
        let session = invented.with("cookie", "presence_session=0123456789abcdef0123456789abcdef");
        assert!(session.get(&format!("/_presence/{read}")).status < 500);
    }
    for class in ["presence", "logins", "relays"] {
        assert_eq!(objects(&server, class), 0, "{class}");
    }
    // At most the one that knows which hosts there are.
    assert!(objects(&server, "accounts") <= 1);
}

fn a_client_cannot_choose_its_address(stage: Stage) {
    let site = site();
    let server = stage.before(&site).start();
    let lies = ["forwarded", "x-forwarded-for", "x-real-ip", "true-client-ip", "x-forwarded-port"];
    let liar = lies.iter().fold(stage.by(&server, "203.0.113.7"), |client, name| client.with(name, "198.51.100.1"));
    liar.document().get("/page");
    let request = site.seen().pop().unwrap();
    for name in lies {
        assert!(request.header(name).is_none_or(|told| told == "203.0.113.7"), "{name}");
    }
}

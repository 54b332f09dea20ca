//! The word of one isolate to the others that it has recorded a visitor. A server that was killed is another isolate: it
//! remembers nobody.

use crate::harness::*;
use crate::metrics::{metrics, readable};

const NOON: i64 = 1_795_176_000_000;
/// With a key at hand a visitor is recorded before their page goes out.
const SECRET: &str = "0123456789abcdef";

fn site() -> Origin {
    Origin::with_headers(|request| match request.target.as_str() {
        "/public" => "Cache-Control: public, max-age=60\r\n".into(),
        _ => String::new(),
    })
}

/// What somebody's page was given, if anything, as a browser sends it back.
fn word(answer: &Answer) -> Option<String> {
    let set = answer.all("set-cookie").into_iter().find(|cookie| cookie.starts_with("presence_seen="))?;
    assert!(set.ends_with("; HttpOnly; SameSite=Lax; Path=/; Max-Age=30"), "{set}");
    Some(set.split(';').next().unwrap().to_owned())
}

/// A request that tells nothing but that somebody is there, as for a picture on the page.
fn picture(server: &Server, address: &str, cookie: &str, second: i64) {
    let now = (NOON + second * 1000).to_string();
    let by = server.by(address).with("sec-fetch-dest", "image").with("cookie", cookie).with("x-test-now", &now);
    assert_eq!(by.get("/picture").status, 200);
}

/// How many signals the object was sent; whoever reads has them sent.
fn sent(server: &Server) -> f64 {
    server.json("/_presence/v1/online.json?limit=0");
    metrics(server)["batch_signals_sum"]
}

/// A server on which a visitor has a word of their isolate, and that word; it was killed since.
fn told(site: &Origin) -> (Server, String) {
    let server = readable(Setup::hooked()).var("PRESENCE_SECRET", SECRET).before(site).start();
    // Whose page was answered elsewhere.
    picture(&server, "10.0.0.2", "", 0);
    let page = server.by("10.0.0.1").document().get("/page");
    let word = word(&page).expect("it is not alone");
    assert_eq!(sent(&server), 2.0);
    (server.kill_and_restart(), word)
}

#[test]
fn who_is_recorded_by_the_only_isolate_there_is_gets_no_cookie() {
    let site = site();
    let server = Setup::new().var("PRESENCE_SECRET", SECRET).before(&site).start();
    for page in ["/a", "/b"] {
        assert_eq!(word(&server.by("10.0.0.1").document().get(page)), None);
    }
}

#[test]
fn whom_another_isolate_has_just_recorded_is_not_sent_again() {
    let site = site();
    let (server, word) = told(&site);
    picture(&server, "10.0.0.1", &word, 29);
    assert_eq!(sent(&server), 2.0);
    // When it is time again they are, and a page is news whatever the word says.
    picture(&server, "10.0.0.1", &word, 30);
    server.by("10.0.0.1").document().with("cookie", &word).get("/next");
    assert_eq!(sent(&server), 4.0);
    assert_eq!(server.pages()[0], "/next");
}

#[test]
fn a_word_that_is_old_or_made_up_or_of_another_visitor_says_nothing() {
    let site = site();
    let (server, word) = told(&site);
    picture(&server, "10.0.0.3", &word, 1);
    // Of another visitor. What is no page's is in no hurry.
    eventually(3.0, || sent(&server));
    let (said, _) = word.split_once('.').unwrap();
    let forged = format!("{said}.0123456789abcdef");
    picture(&server, "10.0.0.1", &forged, 1);
    // Made up.
    eventually(4.0, || sent(&server));
    let (server, word) = told(&site);
    picture(&server, "10.0.0.1", &word, 30);
    // Old.
    eventually(3.0, || sent(&server));
}

#[test]
fn a_page_that_a_shared_cache_may_keep_carries_no_word() {
    let site = site();
    let server = Setup::hooked().var("PRESENCE_SECRET", SECRET).before(&site).start();
    picture(&server, "10.0.0.2", "", 0);
    assert_eq!(word(&server.by("10.0.0.1").document().get("/public")), None);
    assert!(word(&server.by("10.0.0.1").document().get("/own")).is_some());
}

#[test]
fn whoever_closes_their_page_has_the_word_taken_back() {
    let server = Setup::new().start();
    let leave = |cookie| server.by("10.0.0.1").with("cookie", cookie).post("/_presence/v1/leave", "{}");
    assert!(leave("a=1").all("set-cookie").is_empty());
    let taken_back = "presence_seen=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0";
    assert_eq!(leave("presence_seen=6a0f.0123").all("set-cookie"), [taken_back]);
}

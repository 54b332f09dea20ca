//! Every way in which a page may show what it should not, each refused.

use crate::blocks_site::*;
use crate::harness::*;

/// Opens every page of the corpus in a way.
fn refuse_all(server: &Server, how: &str, host: &str) {
    let sally = server.by("10.0.0.1").with("host", host);
    let page = sally.clone().document().get("/?User=sally&Perms=yes");
    let sally = sally.with("cookie", &page.cookie().expect("a cookie")).document();
    for (number, attack) in Attack::all().into_iter().enumerate() {
        let answer = sally.get(&format!("/{number}?{how}"));
        let (text, name) = (answer.text().replace('\0', ""), format!("{}, {how}", attack.name));
        assert_eq!(answer.status, 200, "{name}: {text}");
        assert!(!text.contains("SECRET"), "{name}: {text}");
        assert!(!text.to_ascii_lowercase().contains(&PART_OF_KEY.to_ascii_lowercase()), "{name}: {text}");
        assert_eq!(text.contains("the end"), !attack.cut, "{name}: {text}");
        assert_eq!(answer.header("cache-control"), Some("private, no-cache"), "{name}");
        for header in ["etag", "content-encoding", "x-presence-blocks"] {
            assert_eq!(answer.header(header), None, "{name}");
        }
    }
}

#[test]
fn a_page_that_announces_blocks_shows_none_of_them_to_those_who_may_not() {
    let origin = attacked();
    for server in [setup(&origin).start(), setup(&origin).var("SHARDS", "3").start()] {
        for how in ["announce=1", "announce=1&chunk=7", "announce=1&chunk=1"] {
            refuse_all(&server, how, "club");
        }
        for coding in ["gzip", "deflate", "GZIP", "identity"] {
            refuse_all(&server, &format!("announce=1&coding={coding}"), "club");
        }
    }
}

#[test]
fn with_a_key_for_all_answers_no_page_shows_blocks_to_those_who_may_not() {
    let origin = attacked();
    let server = setup(&origin).var("BLOCK_KEY", KEY).start();
    for how in ["", "chunk=7", "coding=gzip", "coding=deflate", "announce=1"] {
        refuse_all(&server, how, "club");
    }
}

#[test]
fn on_a_route_no_page_shows_blocks_to_those_who_may_not() {
    let origin = attacked();
    let route = || Setup::new().on_route_of(&origin);
    refuse_all(&route().start(), "announce=1&chunk=7", "site.example");
    refuse_all(&route().var("BLOCK_KEY", KEY).var("SHARDS", "3").start(), "coding=gzip", "site.example");
}

#[test]
fn the_log_says_where_an_answer_was_cut_off_and_not_by_which_key() {
    let origin = attacked();
    let server = setup(&origin).start();
    let number = Attack::all().iter().position(|attack| attack.name == "a block that is not closed").unwrap();
    server.by("10.0.0.1").document().get(&format!("/{number}?announce=1&secret=of-the-query"));
    let says = format!("/{number} was cut off at byte 8: the block that begins there is not closed");
    eventually(true, || server.log().contains(&says));
    assert!(!server.log().contains(PART_OF_KEY) && !server.log().contains("of-the-query"), "{}", server.log());
}

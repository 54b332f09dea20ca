//! Batches as the recorder of an isolate sends them, through a Worker (`driver.js`) that hands them to the site's object.

use crate::harness::Setup;
use crate::load::Connection;
use std::collections::BTreeMap;
use whos_online::presence::id::{GuestKey, Name, PagePath, UserId};
use whos_online::presence::member::{MemberKey, Place, Profile, Signal, Touch};
use whos_online::presence::reports::{Report, Reports};
use whos_online::presence::shards::Shards;
use whos_online::presence::time::Millis;
use whos_online::presence::totals::Counted;
use whos_online::protocol::call::{Call, write};

/// How many touches a batch holds.
pub const BATCH: usize = 1000;

/// Over how much time those are spread who were here when somebody looks: a site is not filled in a second.
const SPREAD: usize = 300_000;

/// A site that is sent them, on which everybody stays for as long as anything is measured.
pub fn driven(setup: Setup) -> Setup {
    setup.var("SITE", "bench").var("ONLINE_TIMEOUT", "7200").beside("tests/bench/workers/driver.js")
}

/// A batch as a request: touches, each with how many milliseconds ago it was.
pub fn request(touches: impl IntoIterator<Item = (u32, Touch)>) -> Vec<u8> {
    request_to(0, touches)
}

/// The same for one of several objects.
pub fn request_to(number: u32, touches: impl IntoIterator<Item = (u32, Touch)>) -> Vec<u8> {
    let report = |(age, touch)| Report { age: Millis(age), signal: Signal::Touch(touch) };
    let reports: Reports = touches.into_iter().map(report).collect();
    let body = write(&Call::Apply(reports, Counted::default()));
    let head = format!("POST /{number} HTTP/1.1\r\nhost: bench\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

/// The key of a guest. A multiplication spreads them over all that there are.
pub fn guest_key(number: usize) -> MemberKey {
    MemberKey::Guest(GuestKey((number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

/// A guest on a page.
pub fn guest(number: usize, page: String) -> Touch {
    touch(guest_key(number), None, page)
}

/// A user on one of 500 pages, who has a name.
pub fn user(number: usize) -> Touch {
    let profile = Profile { name: Name::parse(format!("Visitor {number}")).ok(), ..Profile::default() };
    touch(MemberKey::User(UserId::parse(user_id(number)).unwrap()), Some(profile), page(number))
}

/// The id of that user.
pub fn user_id(number: usize) -> String {
    format!("user-{number}")
}

/// One of 500 pages.
pub fn page(number: usize) -> String {
    format!("/page/{}", number % 500)
}

/// Has so many be online, who came one after the other in the last minutes.
pub fn fill(port: u16, members: usize, member: impl Fn(usize) -> Touch) {
    fill_over(Shards::ONE, port, members, member);
}

/// The same where several objects keep them.
pub fn fill_over(shards: Shards, port: u16, members: usize, member: impl Fn(usize) -> Touch) {
    let mut connection = Connection::open(port);
    let numbers: Vec<usize> = (0..members).collect();
    let age = |number: usize| ((members - number) * SPREAD / members) as u32;
    for numbers in numbers.chunks(BATCH) {
        let mut touches = BTreeMap::new();
        for number in numbers {
            let touch = member(*number);
            touches.entry(shards.home(touch.key.borrow())).or_insert_with(Vec::new).push((age(*number), touch));
        }
        for (home, touches) in touches {
            assert_eq!(connection.ask(&request_to(home, touches)), 200);
        }
    }
}

fn touch(key: MemberKey, profile: Option<Profile>, page: String) -> Touch {
    let place = Some(Place { path: PagePath::parse(page).unwrap(), title: None, topic: None });
    Touch { profile, place, ..Touch::of(key) }
}

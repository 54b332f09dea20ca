//! More guests than a site is to keep: those seen longest ago are only counted, users never are.

use std::collections::BTreeMap;
use whos_online::presence::bounds::Bounds;
use whos_online::presence::id::{GuestKey, PagePath, UserId};
use whos_online::presence::member::{Kind, MemberKey, Place, Signal, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::site::{Counts, Filter, Outcome, Site};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

/// Room for three guests and two bots.
const BOUNDS: Bounds = Bounds { window: Seconds(300), guests: 3, bots: 2, places: usize::MAX, client_guests: None };

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + seconds * 1000)
}

fn user(name: &str) -> MemberKey {
    MemberKey::User(UserId::parse(name).unwrap())
}

fn guest(number: u64) -> MemberKey {
    MemberKey::Guest(GuestKey(number))
}

fn touch(key: MemberKey) -> Touch {
    Touch::of(key)
}

/// A site and its rows.
struct Kept {
    bounds: Bounds,
    site: Site,
    rows: BTreeMap<i64, Vec<u8>>,
}

impl Kept {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, site: Site::new(bounds, at(0)), rows: BTreeMap::new() }
    }

    fn store(&mut self, outcome: Outcome) {
        self.rows.extend(outcome.writes.into_iter().map(|write| (write.slot, write.data)));
    }

    fn touch(&mut self, second: i64, touches: impl IntoIterator<Item = Touch>) {
        let report = |touch| Report { age: Millis(0), signal: Signal::Touch(touch) };
        let outcome = self.site.apply(at(second), touches.into_iter().map(report).collect::<Vec<_>>());
        self.store(outcome);
    }

    fn restart(&mut self, second: i64) {
        let (site, outcome, unreadable) = Site::restore(self.bounds, &self.rows, at(second), &[]);
        assert_eq!(unreadable, 0);
        self.site = site;
        self.store(outcome);
    }

    fn guests(&self) -> Vec<MemberKey> {
        let (views, _) = self.site.list(Kind::Guest, &Filter::default(), None, usize::MAX);
        views.iter().map(|view| view.key.owned()).collect()
    }
}

#[test]
fn users_are_never_merged() {
    let mut kept = Kept::new(Bounds { places: 0, ..BOUNDS });
    let here = || PagePath::parse("/a").ok().map(|path| Place { path, title: None, topic: None });
    kept.touch(0, (0..50).map(|number| Touch { place: here(), ..touch(user(&format!("u{number}"))) }));
    kept.touch(1, (0..50).map(guest).map(touch));
    assert_eq!(kept.site.list(Kind::User, &Filter::default(), None, 99).0.len(), 50);
    assert_eq!(kept.site.counts(), Counts { total: 100, users: 50, guests: 50, bots: 0 });
}

#[test]
fn who_was_seen_longest_ago_is_merged_and_counts_until_their_window_has_passed() {
    let mut kept = Kept::new(BOUNDS);
    (0..5).for_each(|number| kept.touch(number, [touch(guest(number as u64))]));
    kept.touch(5, [touch(guest(2))]);
    kept.touch(6, [touch(guest(5))]);
    assert_eq!(kept.guests(), [guest(5), guest(2), guest(4)], "in no list, on no page");
    assert_eq!((kept.site.counts().guests, kept.site.merged()), (6, (3, 0)));
    for (second, left) in [(301, 5), (302, 4), (303, 4), (304, 3), (305, 2), (306, 1), (307, 0)] {
        let deadline = kept.site.deadline().unwrap();
        assert!(deadline > kept.site.now() && deadline <= at(320), "it is known when to look next");
        kept.site.advance(at(second));
        assert_eq!(kept.site.counts().guests, left, "{second}: each goes at their time");
    }
    assert_eq!(kept.site.deadline(), None);
}

#[test]
fn who_is_touched_again_after_that_counts_twice_until_then() {
    let mut kept = Kept::new(BOUNDS);
    kept.touch(0, (0..4).map(guest).map(touch));
    let merged = (0..4).map(guest).find(|key| !kept.guests().contains(key)).unwrap();
    kept.touch(100, [touch(merged.clone())]);
    assert!(kept.guests().contains(&merged));
    assert_eq!(kept.site.counts().guests, 5);
    kept.site.advance(at(301));
    assert_eq!(kept.site.counts().guests, 1);
}

#[test]
fn a_batch_of_more_than_there_is_room_for_counts_whole() {
    let mut kept = Kept::new(BOUNDS);
    kept.touch(0, (0..5000).map(guest).map(touch));
    let version = kept.site.version();
    assert_eq!((kept.guests().len(), kept.site.counts().guests), (3, 5000));
    assert_eq!(kept.site.peak().unwrap().total, 5000);
    kept.restart(0);
    assert_eq!((kept.guests().len(), kept.site.counts().guests), (3, 5000));
    assert!(kept.site.version() >= version);
    kept.site.advance(at(301));
    assert!(kept.site.version() > version, "that they went is news");
    assert_eq!(kept.site.counts().total, 0);
}

#[test]
fn a_restart_tells_the_same_counts() {
    let mut kept = Kept::new(BOUNDS);
    for second in 0..400 {
        kept.touch(second, [touch(guest(second as u64)), touch(MemberKey::Bot(GuestKey(second as u64)))]);
        let (counts, guests, merged) = (kept.site.counts(), kept.guests(), kept.site.merged());
        if second % 7 == 0 {
            kept.restart(second);
            assert_eq!((kept.site.counts(), kept.guests(), kept.site.merged()), (counts, guests, merged));
        }
    }
    assert_eq!((kept.site.counts().guests, kept.site.counts().bots, kept.site.merged()), (301, 301, (298, 299)));
}

#[test]
fn a_row_never_holds_more_than_it_may_however_many_are_merged_at_once() {
    let mut kept = Kept::new(Bounds { guests: 250_000, ..BOUNDS });
    for second in 0..2 {
        let numbers = (0..250_000).map(|number| u64::MAX - second * 250_000 - number);
        kept.touch(second as i64, numbers.map(guest).map(touch));
    }
    assert!(kept.rows.values().all(|row| row.len() < 100_000));
    kept.restart(2);
    assert_eq!((kept.site.counts().guests, kept.guests().len()), (500_000, 250_000));
}

#[test]
fn made_up_addresses_take_no_more_than_they_may() {
    let mut kept = Kept::new(Bounds { guests: usize::MAX, places: 100_000, ..BOUNDS });
    let page = |number| PagePath::parse(format!("/{number}{}", "x".repeat(500))).ok();
    for second in 0..100 {
        let visitors = (0..10).map(|number| second as u64 * 10 + number);
        let there = |number| page(number).map(|path| Place { path, title: None, topic: None });
        kept.touch(second, visitors.map(|number| Touch { place: there(number), ..touch(guest(number)) }));
    }
    let pages = kept.site.pages(usize::MAX).len();
    assert!((100..200).contains(&pages), "{pages}: as many as fit");
    assert_eq!((kept.guests().len(), kept.site.counts().guests), (pages, 1000));
}

#[test]
fn a_release_with_narrower_bounds_merges_those_whom_an_older_one_kept() {
    let mut kept = Kept::new(Bounds { guests: 10, ..BOUNDS });
    kept.touch(0, (0..10).map(guest).map(touch));
    kept.bounds = BOUNDS;
    for _ in 0..2 {
        kept.restart(1);
        assert_eq!((kept.guests().len(), kept.site.counts().guests), (3, 10));
    }
}

//! The core as a whole: days of presence in milliseconds, against a naive model.

use proptest::prelude::*;
use std::collections::BTreeMap;
use whos_online::presence::bounds::Bounds;
use whos_online::presence::id::{DeviceId, GuestKey, Name, PagePath, TabId, Title, UserId};
use whos_online::presence::member::{Evidence, KeyRef, Kind, MemberKey, Place, Profile, Signal, State, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::site::changes::RECALL;
use whos_online::presence::site::{Filter, LEAVE_GRACE, Outcome, Site, Tally};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

const WINDOW: Seconds = Seconds(300);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + seconds * 1000)
}

fn user(name: &str) -> MemberKey {
    MemberKey::User(UserId::parse(name).unwrap())
}

fn guest(number: u64) -> MemberKey {
    MemberKey::Guest(GuestKey(number))
}

fn place(path: &str, title: Option<&str>) -> Place {
    let title = title.map(|title| Title::parse(title).unwrap());
    Place { path: PagePath::parse(path).unwrap(), title, topic: None }
}

fn touch(key: MemberKey) -> Touch {
    Touch { key, was: None, profile: None, said: None, place: None, tab: None, state: State::Online }
}

fn now(signal: Signal) -> Report {
    Report { age: Millis(0), signal }
}

/// A site with the storage that a shell would give it: killed and started at will.
struct Kept {
    bounds: Bounds,
    site: Site,
    rows: BTreeMap<i64, Vec<u8>>,
    last_seen: BTreeMap<String, Timestamp>,
    written: usize,
}

impl Kept {
    fn new(start: Timestamp) -> Self {
        Self::within(WINDOW.into(), start)
    }

    fn within(bounds: Bounds, start: Timestamp) -> Self {
        Self { bounds, site: Site::new(bounds, start), rows: BTreeMap::new(), last_seen: BTreeMap::new(), written: 0 }
    }

    fn apply(&mut self, time: Timestamp, reports: Vec<Report>) {
        let outcome = self.site.apply(time, reports);
        self.store(outcome);
    }

    fn store(&mut self, outcome: Outcome) {
        let Outcome { writes, departures, .. } = outcome;
        for write in writes {
            self.rows.insert(write.slot, write.data);
            self.written += 1;
        }
        for gone in departures {
            let seen = self.last_seen.entry(gone.user.as_str().into()).or_insert(gone.last_seen);
            *seen = (*seen).max(gone.last_seen);
        }
    }

    fn touch(&mut self, time: Timestamp, touch: Touch) {
        self.apply(time, vec![now(Signal::Touch(touch))]);
    }

    fn advance(&mut self, time: Timestamp) {
        let outcome = self.site.advance(time);
        self.store(outcome);
    }

    fn restart(&mut self, time: Timestamp) {
        let (site, outcome, unreadable) = Site::restore(self.bounds, &self.rows, time, &[]);
        assert_eq!(unreadable, 0);
        self.site = site;
        self.store(outcome);
    }

    /// When users were last seen who went, as it would be told.
    fn last_seen(&self) -> BTreeMap<String, Timestamp> {
        let mut last_seen = self.last_seen.clone();
        for gone in self.site.departures() {
            let seen = last_seen.entry(gone.user.as_str().into()).or_insert(gone.last_seen);
            *seen = (*seen).max(gone.last_seen);
        }
        last_seen
    }

    fn names(&self) -> Vec<String> {
        names(&self.site, Kind::User)
    }
}

fn name(key: KeyRef<'_>) -> String {
    match key {
        KeyRef::User(id) => id.as_str().to_owned(),
        KeyRef::Guest(key) | KeyRef::Bot(key) => key.to_string(),
    }
}

fn names(site: &Site, kind: Kind) -> Vec<String> {
    site.list(kind, &Filter::default(), None, usize::MAX).0.iter().map(|view| name(view.key)).collect()
}

#[test]
fn an_empty_site_has_nobody_and_no_peak() {
    let site = Site::new(WINDOW, at(0));
    assert_eq!(site.counts(), Default::default());
    assert_eq!(site.peak(), None);
    assert_eq!(site.list(Kind::User, &Filter::default(), None, 100).0, []);
    assert!(site.pages(10).is_empty());
}

#[test]
fn somebody_is_online_for_the_window_and_then_was_last_seen() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), touch(user("sally")));
    kept.advance(at(300));
    assert_eq!(kept.names(), ["sally"]);
    kept.advance(at(301));
    assert!(kept.names().is_empty());
    assert_eq!(kept.last_seen()["sally"], at(0));
}

#[test]
fn whom_the_same_millisecond_saw_are_told_apart_page_by_page_and_after_a_restart() {
    let mut kept = Kept::new(at(0));
    kept.apply(at(0), vec![now(Signal::Touch(touch(user("a")))), now(Signal::Touch(touch(user("b"))))]);
    let names = kept.names();
    let (first, next) = kept.site.list(Kind::User, &Filter::default(), None, 1);
    let (second, end) = kept.site.list(Kind::User, &Filter::default(), next, 1);
    let listed: Vec<_> = first.iter().chain(&second).map(|view| view.key).collect();
    assert_eq!((listed, end), (vec![user(&names[0]).borrow(), user(&names[1]).borrow()], None));
    kept.restart(at(0));
    assert_eq!(kept.names(), names);
    assert_ne!(names[0], names[1]);
}

#[test]
fn a_guest_who_signs_in_counts_once() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), touch(guest(1)));
    kept.touch(at(5), Touch { was: Some(guest(1)), ..touch(user("sally")) });
    let counts = kept.site.counts();
    assert_eq!((counts.users, counts.guests, counts.total), (1, 0, 1));
    kept.restart(at(6));
    assert_eq!(kept.site.counts(), counts);
    let sally = kept.site.user(&UserId::parse("sally").unwrap(), false).unwrap();
    assert_eq!((sally.since, sally.last_seen), (at(0), at(5)), "here since they came, whoever they were then");
}

#[test]
fn whoever_is_known_by_another_key_stays_where_they_were() {
    let bot = |number| MemberKey::Bot(GuestKey(number));
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), Touch { place: Some(place("/a", None)), tab: Some(TabId(1)), ..touch(guest(1)) });
    kept.touch(at(0), Touch { place: Some(place("/a", None)), ..touch(bot(1)) });
    kept.touch(at(9), Touch { was: Some(guest(1)), ..touch(guest(2)) });
    kept.touch(at(9), Touch { was: Some(bot(1)), ..touch(bot(2)) });
    for time in [9, 10] {
        let counts = kept.site.counts();
        assert_eq!((counts.guests, counts.bots), (1, 1));
        assert_eq!(kept.site.pages(9)[0].total(), 1);
        kept.restart(at(time));
    }
    kept.advance(at(400));
    assert!(kept.site.pages(9).is_empty());
}

#[test]
fn a_guest_who_signs_in_as_somebody_online_adds_nobody() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), Touch { place: Some(place("/a", None)), ..touch(guest(1)) });
    kept.touch(at(1), Touch { place: Some(place("/b", None)), ..touch(user("sally")) });
    kept.touch(at(2), Touch { was: Some(guest(1)), ..touch(user("sally")) });
    let counts = kept.site.counts();
    assert_eq!((counts.users, counts.guests), (1, 0));
    assert_eq!(kept.site.pages(9).len(), 1);
}

#[test]
fn a_user_who_signs_out_is_gone_at_once() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), touch(user("sally")));
    kept.apply(at(1), vec![now(Signal::SignOut { user: UserId::parse("sally").unwrap(), device: None })]);
    assert!(kept.names().is_empty());
    assert_eq!(kept.last_seen()["sally"], at(0));
    kept.restart(at(2));
    assert!(kept.names().is_empty());
}

/// A touch of a user's tab on one of their devices.
fn on(device: u64, tab: Option<u32>, path: &str) -> Touch {
    let said = Some(Evidence { device: Some(DeviceId(device)), ..Evidence::default() });
    Touch { said, tab: tab.map(TabId), place: Some(place(path, None)), ..touch(user("sally")) }
}

fn sally_signs_out_on(device: u64) -> Report {
    now(Signal::SignOut { user: UserId::parse("sally").unwrap(), device: Some(DeviceId(device)) })
}

#[test]
fn who_signs_out_on_one_device_stays_where_they_are_on_the_other() {
    for restarted in [false, true] {
        let mut kept = Kept::new(at(0));
        kept.touch(at(0), on(1, Some(1), "/phone"));
        kept.touch(at(5), on(2, None, "/desk"));
        kept.touch(at(6), on(2, Some(2), "/desk/2"));
        kept.touch(at(7), on(2, Some(3), "/desk/3"));
        if restarted {
            kept.restart(at(8));
        }
        kept.apply(at(8), vec![sally_signs_out_on(2)]);
        for _ in 0..2 {
            let view = kept.site.user(&UserId::parse("sally").unwrap(), false).unwrap();
            assert_eq!((view.place.unwrap().path.as_str(), view.tabs, view.last_seen), ("/phone", 1, at(0)));
            assert_eq!(kept.site.pages(9).len(), 1, "nobody is on the pages of the other");
            kept.restart(at(9));
        }
        kept.apply(at(10), vec![sally_signs_out_on(2)]);
        assert_eq!(kept.names(), ["sally"], "to sign out twice is to sign out");
        kept.apply(at(11), vec![sally_signs_out_on(1)]);
        assert!(kept.names().is_empty());
        kept.advance(at(400));
        assert!(kept.site.pages(9).is_empty());
    }
}

#[test]
fn a_device_that_was_closed_or_not_heard_of_within_the_window_keeps_nobody() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), on(1, Some(1), "/phone"));
    kept.touch(at(1), on(2, Some(2), "/desk"));
    kept.apply(at(2), vec![now(Signal::Leave { key: user("sally"), tab: Some(TabId(1)) })]);
    kept.apply(at(3), vec![sally_signs_out_on(2)]);
    assert!(kept.names().is_empty(), "its last page was closed");
    kept.touch(at(10), on(3, None, "/phone"));
    kept.touch(at(311), on(4, None, "/desk"));
    kept.apply(at(312), vec![sally_signs_out_on(4)]);
    assert!(kept.names().is_empty(), "it was heard of too long ago");
}

#[test]
fn what_was_told_of_a_device_before_its_user_signed_out_there_brings_nothing_back() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), on(1, Some(1), "/phone"));
    kept.touch(at(1), on(2, Some(2), "/desk"));
    kept.apply(at(5), vec![sally_signs_out_on(2)]);
    kept.apply(at(6), vec![Report { age: Millis(3000), signal: Signal::Touch(on(2, Some(2), "/desk")) }]);
    let view = kept.site.user(&UserId::parse("sally").unwrap(), false).unwrap();
    assert_eq!((view.place.unwrap().path.as_str(), view.tabs), ("/phone", 1));
}

#[test]
fn a_touch_that_rests_on_a_token_of_before_a_sign_out_counts_as_nothing() {
    let by_token = |device: u64, issued| {
        let said = Some(Evidence { said: None, issued: Some(issued), device: Some(DeviceId(device)) });
        Touch { said, ..touch(user("sally")) }
    };
    let mut kept = Kept::new(at(0));
    kept.touch(at(1), by_token(1, at(0)));
    kept.touch(at(1), by_token(2, at(0)));
    kept.apply(at(10), vec![sally_signs_out_on(1)]);
    kept.apply(at(11), vec![sally_signs_out_on(2)]);
    kept.touch(at(100), by_token(1, at(9)));
    assert!(kept.names().is_empty());
    kept.touch(at(101), by_token(1, at(10)));
    assert_eq!(kept.names(), ["sally"], "who has signed in again is here");
    kept.apply(at(110), vec![now(Signal::SignOut { user: UserId::parse("sally").unwrap(), device: None })]);
    kept.touch(at(200), by_token(3, at(109)));
    assert!(kept.names().is_empty(), "on no device");
}

#[test]
fn what_was_told_of_somebody_before_they_signed_out_or_in_brings_nobody_back() {
    let aged = |age: u32, touch| vec![Report { age: Millis(age * 1000), signal: Signal::Touch(touch) }];
    let sign_out = now(Signal::SignOut { user: UserId::parse("sally").unwrap(), device: None });
    let mut kept = Kept::new(at(0));
    kept.touch(at(10), Touch { was: Some(guest(1)), ..touch(user("sally")) });
    kept.apply(at(24), aged(20, touch(guest(1))));
    let counts = kept.site.counts();
    assert_eq!((counts.users, counts.guests), (1, 0), "an isolate held what they did as a guest");
    kept.apply(at(30), vec![sign_out]);
    kept.apply(at(40), aged(15, touch(user("sally"))));
    kept.apply(at(40), aged(15, Touch { was: Some(guest(1)), ..touch(user("sally")) }));
    assert_eq!(kept.site.counts().total, 0);
    assert_eq!(kept.last_seen()["sally"], at(25));
    kept.touch(at(41), touch(user("sally")));
    assert_eq!(kept.names(), ["sally"], "who has signed in again is here");
}

#[test]
fn who_goes_and_comes_again_in_one_batch_is_told_from_whoever_took_their_room() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), Touch { place: Some(place("/a", None)), ..touch(user("sally")) });
    let seen = |name, path| now(Signal::Touch(Touch { place: Some(place(path, None)), ..touch(user(name)) }));
    let out = now(Signal::SignOut { user: UserId::parse("sally").unwrap(), device: None });
    kept.apply(at(1), vec![out, seen("bob", "/b"), seen("sally", "/c"), seen("bob", "/d")]);
    for _ in 0..2 {
        let place = |name| kept.site.user(&UserId::parse(name).unwrap(), false).unwrap().place.unwrap().path.as_str();
        assert_eq!((place("sally"), place("bob"), kept.site.counts().users), ("/c", "/d", 2));
        kept.restart(at(1));
    }
}

#[test]
fn a_closed_page_leaves_after_the_grace_unless_the_next_one_opens() {
    let tab = |number| Touch { tab: Some(TabId(number)), ..touch(user("sally")) };
    let leave = |number| now(Signal::Leave { key: user("sally"), tab: Some(TabId(number)) });
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), tab(1));
    kept.apply(at(10), vec![leave(1)]);
    kept.touch(at(12), tab(2));
    kept.advance(at(60));
    assert_eq!(kept.names(), ["sally"]);
    kept.apply(at(60), vec![leave(2)]);
    kept.restart(at(65));
    assert_eq!(kept.names(), ["sally"], "within the grace");
    kept.advance(at(60).plus(LEAVE_GRACE));
    assert!(kept.names().is_empty());
    assert_eq!(kept.last_seen()["sally"], at(12));
}

#[test]
fn a_leave_of_a_page_keeps_who_asked_for_the_next_one() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), Touch { tab: Some(TabId(1)), place: Some(place("/a", None)), ..touch(guest(7)) });
    kept.touch(at(5), Touch { place: Some(place("/b", None)), ..touch(guest(7)) });
    kept.apply(at(6), vec![now(Signal::Leave { key: guest(7), tab: Some(TabId(1)) })]);
    kept.advance(at(100));
    assert_eq!(kept.site.counts().guests, 1);
}

#[test]
fn several_tabs_are_one_member_where_the_most_recent_one_is() {
    let tab = |number, path: &str| Touch {
        tab: Some(TabId(number)),
        place: Some(place(path, Some(path))),
        ..touch(user("sally"))
    };
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), tab(1, "/a"));
    kept.touch(at(1), tab(2, "/b"));
    kept.touch(at(2), Touch { state: State::Away, place: None, ..tab(1, "/a") });
    for restarted in [false, true] {
        if restarted {
            kept.restart(at(2));
        }
        let view = kept.site.user(&UserId::parse("sally").unwrap(), false).unwrap();
        assert_eq!((view.tabs, view.state), (2, State::Online), "one tab of two is looked at");
        assert_eq!(view.place.unwrap().path.as_str(), "/b");
    }
    kept.apply(at(3), vec![now(Signal::Leave { key: user("sally"), tab: Some(TabId(2)) })]);
    let view = kept.site.user(&UserId::parse("sally").unwrap(), false).unwrap();
    assert_eq!((view.tabs, view.state), (1, State::Away));
    assert_eq!(view.place.unwrap().path.as_str(), "/a");
}

#[test]
fn a_title_told_by_the_page_outlives_a_request_that_knows_none() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), Touch { place: Some(place("/a", Some("A"))), ..touch(guest(1)) });
    kept.touch(at(1), Touch { place: Some(place("/a", None)), ..touch(guest(1)) });
    assert_eq!(kept.site.pages(1)[0].title(), Some("A"));
    kept.touch(at(2), Touch { place: Some(place("/b", None)), ..touch(guest(1)) });
    let pages = kept.site.pages(9);
    assert_eq!((pages.len(), pages[0].title()), (1, None));
}

#[test]
fn an_invisible_user_counts_as_a_guest_and_is_named_nowhere() {
    let hidden = Profile { invisible: true, ..Profile::default() };
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), Touch { profile: Some(hidden), ..touch(user("sally")) });
    for time in [0, 1] {
        kept.restart(at(time));
        let counts = kept.site.counts();
        assert_eq!((counts.users, counts.guests, counts.total), (0, 1, 1));
        assert!(kept.names().is_empty());
        assert_eq!(kept.site.user(&UserId::parse("sally").unwrap(), false), None);
    }
    let everybody = Filter { invisible: true, ..Filter::default() };
    assert_eq!(Tally::of(&kept.site).counts(&everybody).users, 1, "but to those who may see it");
    assert_eq!(kept.site.list(Kind::User, &everybody, None, 9).0.len(), 1);
    kept.advance(at(301));
    assert_eq!(kept.site.counts().total, 0);
    assert!(kept.last_seen().is_empty());
}

#[test]
fn who_closes_all_tabs_has_left_in_whatever_order_they_were_touched() {
    let mut kept = Kept::new(at(0));
    let tab = |number| Touch { tab: Some(TabId(number)), ..touch(user("sally")) };
    kept.touch(at(0), tab(1));
    kept.touch(at(5), tab(2));
    for number in [2, 1] {
        kept.apply(at(6), vec![now(Signal::Leave { key: user("sally"), tab: Some(TabId(number)) })]);
    }
    kept.advance(at(17));
    assert_eq!(kept.site.counts().users, 0);
}

#[test]
fn who_hides_stays_hidden_whatever_an_older_word_or_none_says() {
    let profile = |invisible| Some(Profile { name: None, avatar: None, invisible });
    let told = |invisible, said| {
        let said = Some(Evidence { said, ..Evidence::default() });
        Touch { profile: profile(invisible), said, ..touch(user("sally")) }
    };
    let mut kept = Kept::new(at(0));
    let visible = |kept: &Kept| kept.site.counts().users == 1;
    kept.touch(at(0), told(false, None));
    kept.touch(at(10), told(true, None));
    assert!(!visible(&kept));
    kept.touch(at(20), told(false, Some(at(5))));
    assert!(!visible(&kept), "another page said so before");
    kept.touch(at(21), touch(user("sally")));
    assert!(!visible(&kept));
    kept.advance(at(1000));
    kept.touch(at(1001), touch(user("sally")));
    assert!(!visible(&kept), "nor when they come again and nobody says how they are shown");
    kept.touch(at(1010), told(false, None));
    assert!(visible(&kept));
    let slot = kept.site.list(Kind::User, &Filter::default(), None, 1).0[0].since;
    assert_eq!(slot, at(1010), "and nobody is told since when they were here in hiding");
    kept.touch(at(1020), told(true, Some(at(10))));
    assert!(visible(&kept), "a page that has not heard of that hides them no more");
}

#[test]
fn who_says_that_they_hide_is_heard_even_late() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(5), touch(user("sally")));
    let hidden = Some(Profile { name: None, avatar: None, invisible: true });
    let late = Touch { profile: hidden, ..touch(user("sally")) };
    kept.apply(at(6), vec![Report { age: Millis(3000), signal: Signal::Touch(late) }]);
    assert_eq!((kept.site.counts().users, kept.site.counts().guests), (0, 1));
}

#[test]
fn who_hides_has_gone_to_others() {
    let hidden = Profile { invisible: true, ..Profile::default() };
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), touch(user("sally")));
    kept.touch(at(5), Touch { profile: Some(hidden), ..touch(user("sally")) });
    assert_eq!(kept.last_seen()["sally"], at(0), "as long as they were to be seen");
    kept.touch(at(60), touch(user("sally")));
    kept.advance(at(361));
    assert_eq!(kept.last_seen()["sally"], at(0));
}

#[test]
fn bots_are_counted_apart_and_are_nowhere() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), Touch { place: Some(place("/a", None)), ..touch(MemberKey::Bot(GuestKey(1))) });
    let counts = kept.site.counts();
    assert_eq!((counts.total, counts.bots), (0, 1));
    assert!(kept.site.pages(10).is_empty());
    assert_eq!(kept.site.peak(), None);
}

#[test]
fn the_peak_is_kept_with_its_time_and_outlives_everybody() {
    let mut kept = Kept::new(at(0));
    for number in 0..5 {
        kept.touch(at(number), touch(guest(number as u64)));
    }
    kept.touch(at(1000), touch(guest(9)));
    kept.restart(at(100_000));
    let peak = kept.site.peak().unwrap();
    assert_eq!((peak.total, peak.at), (5, at(4)));
    assert_eq!(kept.site.counts().total, 0);
}

#[test]
fn an_hour_put_back_shuts_nobody_out_and_keeps_nobody_longer() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(7200), touch(user("early")));
    kept.touch(at(3600), touch(user("late")));
    let names = kept.names();
    assert!(names.len() == 2 && names.contains(&"early".to_owned()), "both by the clock of now: {names:?}");
    kept.restart(at(3601));
    kept.advance(at(3900));
    assert_eq!(kept.names().len(), 2);
    kept.advance(at(3902));
    assert!(kept.names().is_empty());
}

#[test]
fn a_leap_ahead_is_a_long_absence() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), touch(user("sally")));
    kept.touch(at(400_000_000), touch(user("bob")));
    assert_eq!(kept.names(), ["bob"]);
    assert_eq!(kept.last_seen()["sally"], at(0));
}

#[test]
fn versions_grow_across_a_restart() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), touch(user("sally")));
    kept.advance(at(301));
    let before = kept.site.version();
    kept.restart(at(302));
    assert!(kept.site.version() >= before);
    kept.touch(at(302), touch(user("sally")));
    assert!(kept.site.version() > before);
}

#[test]
fn rows_are_used_again_in_place() {
    let mut kept = Kept::new(at(0));
    for second in 0..86_400 {
        kept.touch(at(second), touch(guest(second as u64 % 50)));
    }
    assert_eq!(kept.written, 86_400, "one row a batch");
    let most = (WINDOW.0 + RECALL.0) as usize + 3;
    assert!(kept.rows.len() <= most, "{} rows for a window of {WINDOW:?}", kept.rows.len());
    assert_eq!(kept.site.counts().guests, 50);
}

#[test]
fn a_damaged_row_is_left_out_and_the_others_are_read() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), touch(user("a")));
    kept.touch(at(1), touch(user("b")));
    kept.rows.insert(0, vec![1, 255, 255]);
    let (site, _, unreadable) = Site::restore(WINDOW, &kept.rows, at(2), &[]);
    assert_eq!(unreadable, 1);
    assert_eq!(names(&site, Kind::User), ["b"]);
}

#[test]
fn a_hundred_thousand_members_are_listed_page_by_page() {
    let mut kept = Kept::new(at(0));
    for batch in 0..100u64 {
        let touches = (0..1000).map(|n| now(Signal::Touch(touch(guest(batch * 1000 + n))))).collect();
        kept.apply(at(batch as i64), touches);
    }
    assert_eq!(kept.site.counts().guests, 100_000);
    let (mut seen, mut after) = (std::collections::HashSet::new(), None);
    loop {
        let (page, next) = kept.site.list(Kind::Guest, &Filter::default(), after, 1000);
        seen.extend(page.iter().map(|view| view.key.owned()));
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen.len(), 100_000);
    kept.restart(at(100));
    assert_eq!(kept.site.counts().guests, 100_000);
    kept.advance(at(500));
    assert_eq!(kept.site.counts().total, 0);
}

#[test]
fn a_name_of_128_bytes_of_emoji_survives_a_restart() {
    let name = Name::parse("🏄".repeat(32)).unwrap();
    let mut kept = Kept::new(at(0));
    let profile = Profile { name: Some(name.clone()), ..Profile::default() };
    kept.touch(at(0), Touch { profile: Some(profile), ..touch(user("sally")) });
    kept.restart(at(1));
    let view = kept.site.user(&UserId::parse("sally").unwrap(), false).unwrap();
    assert_eq!(view.profile.unwrap().name, Some(name));
}

#[derive(Clone, Debug)]
enum Step {
    Touch { who: u8, age: u32, tab: Option<u8>, path: Option<u8>, device: Option<u8> },
    Leave { who: u8 },
    SignOut { who: u8, device: Option<u8> },
    Pass { millis: u32 },
    PutBack { seconds: u32 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let age = prop_oneof![4 => Just(0), 2 => 0..5_000u32, 1 => 0..400_000u32];
    let tab = proptest::option::of(0..3u8);
    let path = proptest::option::of(0..4u8);
    let device = proptest::option::of(1..4u8);
    prop_oneof![
        12 => (0..20u8, age, tab, path, device.clone())
            .prop_map(|(who, age, tab, path, device)| Step::Touch { who, age, tab, path, device }),
        2 => (0..20u8).prop_map(|who| Step::Leave { who }),
        2 => (0..20u8, device).prop_map(|(who, device)| Step::SignOut { who, device }),
        5 => (0..2_000u32).prop_map(|millis| Step::Pass { millis }),
        2 => (0..400_000u32).prop_map(|millis| Step::Pass { millis }),
        1 => (0..4_000u32).prop_map(|seconds| Step::PutBack { seconds }),
        2 => Just(Step::Restart),
    ]
}

/// Ten users, then five guests, then five bots.
fn who(number: u8) -> MemberKey {
    match number {
        0..10 => user(&format!("u{number}")),
        10..15 => guest(u64::from(number)),
        _ => MemberKey::Bot(GuestKey(u64::from(number))),
    }
}

/// The model: a plain map of when each was last seen, and when they go if they said so; and of when those were who are
/// only counted.
#[derive(Default)]
struct Model {
    seen: BTreeMap<u8, (Timestamp, Option<Timestamp>)>,
    merged: Vec<(Kind, Timestamp)>,
    last_seen: BTreeMap<String, Timestamp>,
    /// When users have signed out, on a device or on all of them.
    out: BTreeMap<(u8, Option<u8>), Timestamp>,
    /// When users were last seen on each of their devices; on one that is not told among them.
    devices: BTreeMap<u8, BTreeMap<Option<u8>, Timestamp>>,
}

impl Model {
    fn settle(&mut self, time: Timestamp) {
        let gone = |(seen, leaves): &(Timestamp, Option<Timestamp>)| {
            time.as_secs() - seen.as_secs() > i64::from(WINDOW.0) || leaves.is_some_and(|leaves| leaves <= time)
        };
        let left: Vec<u8> = self.seen.iter().filter(|(_, state)| gone(state)).map(|(&who, _)| who).collect();
        left.into_iter().for_each(|number| self.depart(number));
        self.merged.retain(|(_, seen)| !gone(&(*seen, None)));
    }

    /// Merges whoever of a kind is not told any more, of whom there must be as many as are too many; says when the last of
    /// them was seen.
    fn merge(&mut self, kind: Kind, limit: usize, told: &[String]) -> Option<i64> {
        let of_kind = self.seen.iter().filter(|(number, _)| who(**number).kind() == kind);
        let (kept, merged): (Vec<_>, Vec<_>) = of_kind
            .map(|(&number, (seen, _))| (number, *seen))
            .partition(|(number, _)| told.contains(&name(who(*number).borrow())));
        assert_eq!(merged.len(), (kept.len() + merged.len()).saturating_sub(limit), "no more than have to be");
        for (number, seen) in &merged {
            self.seen.remove(number);
            self.merged.push((kind, *seen));
        }
        merged.iter().map(|(_, seen)| seen.as_secs()).max()
    }

    fn note_device(&mut self, time: Timestamp, number: u8, device: Option<u8>, seen: Timestamp) {
        let devices = self.devices.entry(number).or_default();
        devices.insert(device, seen);
        devices.retain(|_, seen| *seen >= time.minus(WINDOW));
    }

    /// A user signs out, on one device or on all of them: they stay if they were seen on another within the window.
    fn sign_out(&mut self, time: Timestamp, number: u8, device: Option<u8>) {
        let known = self.devices.get(&number).cloned().unwrap_or_default();
        let others = known.iter().filter(|(other, at)| **other != device && **at >= time.minus(WINDOW));
        match others.map(|(_, at)| *at).max().filter(|_| device.is_some()) {
            Some(last) => {
                if let (Some(_), Some((seen, _))) = (known.get(&device), self.seen.get_mut(&number)) {
                    *seen = last;
                }
                self.devices.entry(number).or_default().remove(&device);
            }
            None => self.depart(number),
        }
    }

    fn depart(&mut self, number: u8) {
        self.devices.remove(&number);
        if let (MemberKey::User(id), Some((seen, _))) = (who(number), self.seen.remove(&number)) {
            let kept = self.last_seen.entry(id.as_str().into()).or_insert(seen);
            *kept = (*kept).max(seen);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: Some(Box::new(proptest::test_runner::FileFailurePersistence::Direct("tests/core_site.proptest-regressions"))), ..ProptestConfig::default() })]

    #[test]
    fn the_site_agrees_with_a_map_of_last_seen_times(
        guests in 0..6usize, bots in 0..6usize, steps in proptest::collection::vec(step(), 0..120)
    ) {
        let mut time = at(0);
        let mut kept = Kept::within(Bounds { guests, bots, ..WINDOW.into() }, time);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Touch { who: number, age, tab, path, device } => {
                    model.settle(time);
                    let seen = time.minus(Millis(age));
                    let known = model.seen.get(&number).map(|(seen, _)| *seen);
                    let is_user = matches!(who(number), MemberKey::User(_));
                    let device = device.filter(|_| is_user);
                    let out = |device| model.out.get(&(number, device)).is_some_and(|out| seen < *out);
                    // They have signed out since, there or on all devices.
                    let (out, out_there) = (out(None), device.is_some() && out(device));
                    if known.is_none_or(|known| known <= seen && !out_there) {
                        model.seen.insert(number, (seen, None));
                        model.note_device(time, number, device, seen);
                        model.settle(time);
                    } else if known.is_some() && !out_there {
                        // What else it tells is no longer so.
                        let devices = model.devices.get(&number);
                        if devices.is_none_or(|devices| !devices.contains_key(&device)) {
                            model.note_device(time, number, device, seen);
                        }
                    }
                    if known.is_none() && (out || out_there) {
                        model.depart(number);
                    }
                    let tab = tab.map(|tab| TabId(u32::from(tab)));
                    let place = path.map(|path| place(&format!("/{path}"), None));
                    let device = device.map(|device| DeviceId(u64::from(device)));
                    let said = device.map(|_| Evidence { device, ..Evidence::default() });
                    let signal = Signal::Touch(Touch { tab, place, said, ..touch(who(number)) });
                    kept.apply(time, vec![Report { age: Millis(age), signal }]);
                }
                Step::Leave { who: number } => {
                    model.settle(time);
                    if let Some((_, leaves)) = model.seen.get_mut(&number) {
                        *leaves = Some(time.plus(LEAVE_GRACE));
                        model.devices.remove(&number);
                    }
                    kept.apply(time, vec![now(Signal::Leave { key: who(number), tab: None })]);
                }
                Step::SignOut { who: number, device } => {
                    model.settle(time);
                    if let MemberKey::User(id) = who(number) {
                        model.sign_out(time, number, device);
                        // It is known for a minute, and no longer than until the next one signs out.
                        model.out.retain(|_, out| time.since(*out) < Millis(60_000));
                        model.out.insert((number, device), time);
                        let device = device.map(|device| DeviceId(u64::from(device)));
                        kept.apply(time, vec![now(Signal::SignOut { user: id, device })]);
                    }
                }
                Step::Pass { millis } => time = time.plus(Millis(millis)),
                Step::PutBack { seconds } => {
                    model.settle(time);
                    time = time.minus(Seconds(seconds));
                    for (seen, leaves) in model.seen.values_mut() {
                        *seen = (*seen).min(time);
                        *leaves = leaves.map(|leaves| leaves.min(time.plus(LEAVE_GRACE)));
                    }
                    model.devices.values_mut().flat_map(BTreeMap::values_mut).for_each(|at| *at = (*at).min(time));
                    model.merged.iter_mut().for_each(|(_, seen)| *seen = (*seen).min(time));
                    if seconds > 0 {
                        model.out.clear();
                    }
                    // What departed keeps the time that it was given by the clock of then.
                }
                Step::Restart => {
                    kept.restart(time);
                    model.out.clear();
                }
            }
            kept.advance(time);
            model.settle(time);
            for (kind, limit) in [(Kind::Guest, guests), (Kind::Bot, bots)] {
                let last = model.merge(kind, limit, &names(&kept.site, kind));
                let (told, _) = kept.site.list(kind, &Filter::default(), None, usize::MAX);
                prop_assert!(told.iter().all(|view| last.is_none_or(|last| last <= view.last_seen.as_secs())), "the oldest");
            }
            let mut expected: [Vec<String>; 3] = Default::default();
            let mut order: Vec<_> = model.seen.iter().map(|(&number, (seen, _))| (*seen, number)).collect();
            order.sort();
            for (_, number) in order {
                match who(number) {
                    MemberKey::User(id) => expected[0].push(id.as_str().into()),
                    MemberKey::Guest(key) => expected[1].push(key.to_string()),
                    MemberKey::Bot(key) => expected[2].push(key.to_string()),
                }
            }
            for (kind, expected) in [Kind::User, Kind::Guest, Kind::Bot].into_iter().zip(&mut expected) {
                let mut found = names(&kept.site, kind);
                let last_seen: Vec<_> = kept.site.list(kind, &Filter::default(), None, usize::MAX).0.iter()
                    .map(|view| view.last_seen).collect();
                prop_assert!(last_seen.is_sorted_by(|a, b| a >= b), "newest first");
                found.sort();
                expected.sort();
                prop_assert_eq!(&found, expected);
            }
            let counts = kept.site.counts();
            let merged = |kind| model.merged.iter().filter(|(merged, _)| *merged == kind).count();
            prop_assert_eq!(kept.site.merged(), (merged(Kind::Guest), merged(Kind::Bot)));
            prop_assert_eq!(counts.users, expected[0].len());
            prop_assert_eq!(counts.total, expected[0].len() + expected[1].len() + merged(Kind::Guest));
            prop_assert_eq!(counts.bots, expected[2].len() + merged(Kind::Bot));
            let on_pages: usize = kept.site.pages(usize::MAX).iter().map(|page| page.total()).sum();
            prop_assert!(on_pages <= counts.total);
            prop_assert_eq!(&kept.last_seen(), &model.last_seen);
        }
    }
}

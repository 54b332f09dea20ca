//! The core as a whole: days of presence in milliseconds, against a naive model.

mod hiding;
mod kept;
mod model;
mod refreshes;
mod sign_outs;
mod tabs;

use kept::Kept;
use whos_online::presence::id::{GuestKey, Name, PagePath, TabId, Title, UserId};
use whos_online::presence::member::{KeyRef, Kind, MemberKey, Place, Profile, Signal, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::site::changes::RECALL;
use whos_online::presence::site::{Filter, Site};
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
    Touch::of(key)
}

fn now(signal: Signal) -> Report {
    Report { age: Millis(0), signal }
}

fn name(key: KeyRef<'_>) -> String {
    match key {
        KeyRef::User(id) => id.as_str().to_owned(),
        KeyRef::Guest(key) | KeyRef::Bot(key) => format!("g_{:016x}", key.0),
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
fn a_guest_who_signs_in_counts_once_and_is_here_since_then() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), touch(guest(1)));
    kept.touch(at(5), Touch { was: Some(guest(1)), ..touch(user("sally")) });
    let counts = kept.site.counts();
    assert_eq!((counts.users, counts.guests, counts.total), (1, 0, 1));
    kept.restart(at(6));
    assert_eq!(kept.site.counts(), counts);
    let sally = kept.site.user(&UserId::parse("sally").unwrap(), false).unwrap();
    assert_eq!((sally.since, sally.last_seen), (at(5), at(5)), "since when the guest was here is told of nobody");
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

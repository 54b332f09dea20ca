//! What is seen of the invisible, of guests who sign in, and of those who are nowhere: nothing that should not be.

use proptest::prelude::*;
use std::collections::BTreeMap;
use whos_online::presence::id::{GuestKey, PagePath, TabId, Title, Topic, UserId};
use whos_online::presence::member::{Kind, MemberKey, Place, Profile, Signal, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::site::{Filter, Outcome, Site, Tally};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

const WINDOW: Seconds = Seconds(300);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + seconds * 1000)
}

fn id(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn user(name: &str) -> MemberKey {
    MemberKey::User(id(name))
}

fn guest(number: u64) -> MemberKey {
    MemberKey::Guest(GuestKey(number))
}

fn place(path: &str, topic: Option<&str>) -> Option<Place> {
    let topic = topic.map(|topic| Topic::parse(topic).unwrap());
    Some(Place { path: PagePath::parse(path).unwrap(), title: Title::parse(path).ok(), topic })
}

fn touch(key: MemberKey) -> Touch {
    Touch::of(key)
}

fn hidden(key: MemberKey) -> Touch {
    Touch { profile: Some(Profile { invisible: true, ..Profile::default() }), ..touch(key) }
}

fn told(touch: Touch) -> Vec<Report> {
    vec![Report { age: Millis(0), signal: Signal::Touch(touch) }]
}

fn restarted(outcomes: Vec<Outcome>, now: Timestamp) -> Site {
    let writes = outcomes.into_iter().flat_map(|outcome| outcome.writes);
    let rows: BTreeMap<i64, Vec<u8>> = writes.map(|write| (write.slot, write.data)).collect();
    Site::restore(WINDOW, &rows, now, &[]).0
}

#[test]
fn a_guest_who_signs_in_takes_nothing_along() {
    for known in [false, true] {
        let mut site = Site::new(WINDOW, at(0));
        if known {
            site.apply(at(0), told(Touch { place: place("/phone", None), ..touch(user("sally")) }));
        }
        site.apply(at(1), told(Touch { place: place("/a", Some("tea")), tab: Some(TabId(1)), ..touch(guest(1)) }));
        site.apply(at(2), told(Touch { place: place("/b", Some("rum")), tab: Some(TabId(2)), ..touch(guest(1)) }));
        let Outcome { views, .. } = site.apply(at(60), told(Touch { was: Some(guest(1)), ..touch(user("sally")) }));
        let views: Vec<_> =
            views.into_iter().map(|view| (view.topic.as_str().to_owned(), view.viewer, view.at)).collect();
        for (topic, seen) in [("rum", at(2)), ("tea", at(1))] {
            assert!(views.contains(&(topic.to_owned(), guest(1), seen)), "{views:?}");
        }
        let sally = site.user(&id("sally"), false).unwrap();
        assert_eq!((sally.since, sally.tabs), (if known { at(0) } else { at(60) }, 1));
        assert_eq!(sally.place.map(|place| place.path.as_str()), known.then_some("/phone"));
        assert_eq!((site.counts().users, site.counts().guests), (1, 0));
        assert_eq!(site.pages(9).len(), usize::from(known));
    }
}

#[test]
fn who_hides_is_a_guest_since_then_and_who_shows_themselves_a_user_since_then() {
    let mut site = Site::new(WINDOW, at(0));
    site.apply(at(0), told(touch(user("sally"))));
    site.apply(at(60), told(hidden(user("sally"))));
    let since = |site: &Site, kind| site.list(kind, &Filter::default(), None, 9).0.first().map(|view| view.since);
    assert_eq!((since(&site, Kind::Guest), since(&site, Kind::User)), (Some(at(60)), None));
    site.apply(at(90), told(Touch { profile: Some(Profile::default()), ..touch(user("sally")) }));
    assert_eq!((since(&site, Kind::Guest), since(&site, Kind::User)), (None, Some(at(90))));
    // What came late hides them too.
    let late = vec![Report { age: Millis(5000), signal: Signal::Touch(hidden(user("sally"))) }];
    site.apply(at(94), late);
    site.apply(at(95), told(touch(user("sally"))));
    assert_eq!(since(&site, Kind::User), Some(at(90)), "that was said before");
}

#[test]
fn who_is_nowhere_is_here_and_on_no_page() {
    let mut site = Site::new(WINDOW, at(0));
    site.watch();
    let mut outcomes = vec![site.apply(at(0), told(Touch { place: place("/a", Some("tea")), ..touch(user("sally")) }))];
    let version = site.version();
    outcomes.push(
        site.apply(at(1), told(Touch { place: Some(Place::nowhere()), tab: Some(TabId(1)), ..touch(user("sally")) })),
    );
    let changes = site.changes(version, &Filter::default(), true).unwrap();
    assert_eq!((changes.updates.len(), changes.updates[0].place), (1, None));
    let mut again = restarted(outcomes, at(1));
    for site in [&mut site, &mut again] {
        assert_eq!(site.user(&id("sally"), false).unwrap().place, None);
        assert!(site.pages(9).is_empty());
        for filter in
            [Filter { path: Some("/a"), ..Filter::default() }, Filter { topic: Some("tea"), ..Filter::default() }]
        {
            assert_eq!(Tally::of(site).counts(&filter).total, 0);
        }
        // That another page of theirs says nothing leaves them there; one that does brings them out.
        site.apply(at(2), told(Touch { tab: Some(TabId(1)), ..touch(user("sally")) }));
        assert_eq!(site.user(&id("sally"), false).unwrap().place, None);
        site.apply(at(3), told(Touch { place: place("/b", None), tab: Some(TabId(2)), ..touch(user("sally")) }));
        assert_eq!(site.pages(9).len(), 1);
        let leave = Signal::Leave { key: user("sally"), tab: Some(TabId(2)) };
        site.apply(at(4), vec![Report { age: Millis(0), signal: leave }]);
        assert_eq!(site.user(&id("sally"), false).unwrap().place, None, "back to the page that is nowhere");
        site.advance(at(1000));
        assert!(site.departures().all(|gone| gone.place.is_none()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Page by page as at once, newest first, and as many as are counted: whoever of them is invisible.
    #[test]
    fn the_list_of_guests_accounts_for_all_who_are_counted(
        members in proptest::collection::vec((0..3u8, 0..4u8, 0..3i64), 0..30), limit in 1..5usize
    ) {
        let mut site = Site::new(WINDOW, at(0));
        for (number, (kind, page, second)) in members.iter().enumerate() {
            let (name, place) = (format!("u{number}"), place(&format!("/{page}"), (*page == 0).then_some("tea")));
            let touched = match kind {
                0 => touch(guest(number as u64 * 0x9E37_79B9)),
                1 => hidden(user(&name)),
                _ => touch(user(&name)),
            };
            let report = Report { age: Millis((2 - *second) as u32 * 1000), signal: Signal::Touch(Touch { place, ..touched }) };
            site.apply(at(10), vec![report]);
        }
        for filter in [
            Filter::default(),
            Filter { path: Some("/1"), ..Filter::default() },
            Filter { topic: Some("tea"), ..Filter::default() },
            Filter { invisible: true, ..Filter::default() },
        ] {
            let (all, next) = site.list(Kind::Guest, &filter, None, usize::MAX);
            prop_assert_eq!(next, None);
            prop_assert!(all.is_sorted_by(|one, other| one.order() > other.order()));
            prop_assert_eq!(all.len(), Tally::of(&site).counts(&filter).guests);
            let (mut paged, mut after) = (Vec::new(), None);
            loop {
                let (page, next) = site.list(Kind::Guest, &filter, after, limit);
                prop_assert!(page.len() <= limit);
                paged.extend(page);
                after = next;
                if after.is_none() {
                    break;
                }
            }
            prop_assert_eq!(paged, all);
        }
    }
}

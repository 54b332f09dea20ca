//! Requests that are no page's: they bring nobody in, and tell nothing of those who are here but that they are.

use crate::kept::Kept;
use crate::{at, guest, now, place, touch, user};
use whos_online::presence::id::{TabId, UserId};
use whos_online::presence::member::{Evidence, MemberKey, Profile, Signal, State, Touch};
use whos_online::presence::time::Seconds;

fn refresh(key: MemberKey) -> Touch {
    Touch { arrives: false, ..touch(key) }
}

/// On a page that reports itself, and is not looked at.
fn away(key: MemberKey) -> Touch {
    Touch { place: Some(place("/a", None)), tab: Some(TabId(1)), state: State::Away, ..touch(key) }
}

#[test]
fn a_request_that_is_no_pages_brings_nobody_in_and_keeps_who_is_here() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), refresh(user("sally")));
    kept.touch(at(0), refresh(guest(1)));
    assert_eq!(kept.site.counts().total, 0);
    assert!(kept.last_seen().is_empty());
    kept.touch(at(1), Touch { place: Some(place("/a", None)), ..touch(user("sally")) });
    kept.touch(at(250), refresh(user("sally")));
    kept.restart(at(400));
    assert_eq!(kept.names(), ["sally"]);
    let sally = kept.site.user(&UserId::parse("sally").unwrap(), false).unwrap();
    assert_eq!((sally.place.unwrap().path.as_str(), sally.last_seen), ("/a", at(250)));
}

#[test]
fn who_is_away_stays_away_whatever_their_page_fetches() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), away(user("sally")));
    for seconds in [10, 20, 30] {
        let before = kept.site.version();
        kept.touch(at(seconds), refresh(user("sally")));
        let sally = kept.site.user(&UserId::parse("sally").unwrap(), false).unwrap();
        assert_eq!((sally.state, sally.tabs, kept.site.version()), (State::Away, 1, before), "nobody is told anything");
    }
}

#[test]
fn whose_page_says_how_long_it_is_open_stays_no_longer_than_that() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), away(guest(1)));
    kept.touch(at(290), refresh(guest(1)));
    kept.advance(at(301));
    assert_eq!(kept.site.counts().guests, 0);
}

#[test]
fn who_closes_their_last_page_goes_though_it_fetches_something_at_its_end() {
    let mut kept = Kept::new(at(0));
    kept.touch(at(0), away(guest(1)));
    kept.touch(at(5), refresh(guest(1)));
    kept.apply(at(6), vec![now(Signal::Leave { key: guest(1), tab: Some(TabId(1)) })]);
    kept.touch(at(7), refresh(guest(1)));
    kept.advance(at(6).plus(Seconds(10)));
    assert_eq!(kept.site.counts().guests, 0);
}

#[test]
fn who_hides_by_such_a_request_is_hidden() {
    let mut kept = Kept::new(at(0));
    let said = Some(Evidence::default());
    kept.touch(at(0), Touch { said, ..away(user("sally")) });
    let profile = Some(Profile { invisible: true, ..Profile::default() });
    kept.touch(at(5), Touch { said, profile, ..refresh(user("sally")) });
    assert_eq!((kept.names().len(), kept.site.counts().guests), (0, 1));
}

//! Pages that somebody has open: which of them they are on, and when they have left.

use crate::kept::Kept;
use crate::{at, guest, now, place, touch, user};
use whos_online::presence::id::{TabId, UserId};
use whos_online::presence::member::{Signal, State, Touch};
use whos_online::presence::site::LEAVE_GRACE;

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
    kept.touch(at(0), Touch { place: Some(place("/a", Some("A"))), ..touch(user("sally")) });
    kept.touch(at(1), Touch { place: Some(place("/a", None)), ..touch(user("sally")) });
    assert_eq!(kept.site.pages(1)[0].title(), Some("A"));
    kept.touch(at(2), Touch { place: Some(place("/b", None)), ..touch(user("sally")) });
    let pages = kept.site.pages(9);
    assert_eq!((pages.len(), pages[0].title()), (1, None));
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

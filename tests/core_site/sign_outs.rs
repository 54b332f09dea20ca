//! Who signs out is gone, on one device or on all of them, and nothing said before brings them back.

use crate::kept::Kept;
use crate::{at, guest, now, place, touch, user};
use whos_online::presence::id::{DeviceId, TabId, UserId};
use whos_online::presence::member::{Evidence, Signal, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::time::Millis;

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

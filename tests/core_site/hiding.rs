//! Who hides is among the guests, and is named nowhere.

use crate::kept::Kept;
use crate::{at, touch, user};
use whos_online::presence::id::UserId;
use whos_online::presence::member::{Evidence, Kind, Profile, Signal, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::site::{Filter, Tally};
use whos_online::presence::time::Millis;

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

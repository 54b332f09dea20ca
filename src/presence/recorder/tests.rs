use super::*;
use crate::presence::id::{DeviceId, GuestKey, PagePath, TabId, UserId};
use crate::presence::member::{Evidence, Place, Profile};
use crate::presence::reports::Report;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + millis)
}

fn recorder() -> Recorder {
    Recorder::new(Seconds(30), Seconds(330), at(0))
}

fn touch(guest: u64) -> Touch {
    let key = MemberKey::Guest(GuestKey(guest));
    Touch::of(key)
}

fn on(guest: u64, path: &str) -> Signal {
    let place = Place { path: PagePath::parse(path).unwrap(), title: None, topic: None };
    Signal::Touch(Touch { place: Some(place), ..touch(guest) })
}

#[test]
fn an_arrival_is_sent_soon_and_a_refresh_later() {
    let mut recorder = recorder();
    assert_eq!(recorder.take(at(0), on(1, "/a")), Some(HOLD));
    assert_eq!(recorder.drain(at(200)).list.len(), 1);
    assert_eq!(recorder.take(at(31_000), on(1, "/a")), Some(LAZY_HOLD));
}

#[test]
fn a_touch_at_the_end_of_the_window_does_not_wait() {
    let mut recorder = recorder();
    recorder.take(at(0), on(1, "/a"));
    recorder.drain(at(200));
    assert_eq!(recorder.take(at(326_000), on(1, "/a")), Some(HOLD));
}

#[test]
fn while_somebody_watches_news_goes_at_once_or_just_before_they_are_told_next() {
    let mut recorder = recorder();
    recorder.heed(at(-8), at(0), Attention::Watched(Millis(0)));
    assert_eq!(recorder.take(at(0), on(1, "/a")), Some(Millis(0)));
    recorder.drain(at(0));
    assert_eq!(recorder.take(at(50), on(2, "/a")), Some(Millis(200)), "nothing is known yet");
    recorder.heed(at(0), at(60), Attention::Watched(Millis(190)));
    assert_eq!(recorder.take(at(100), on(3, "/a")), Some(Millis(80)), "as the way there takes 60 ms");
    assert_eq!(recorder.take(at(110), on(4, "/a")), None);
    recorder.drain(at(180));
    recorder.heed(at(180), at(200), Attention::Watched(Millis(5000)));
    assert_eq!(recorder.take(at(9000), on(5, "/a")), Some(Millis(0)), "nobody waits any more");
    recorder.drain(at(9000));
    recorder.heed(at(9000), at(9010), Attention::Watched(Millis(15)));
    assert_eq!(recorder.take(at(9011), on(5, "/b")), Some(Millis(244)), "too late for that one");
    recorder.drain(at(9012));
    recorder.heed(at(9000), at(9010), Attention::Watched(Millis(5000)));
    assert_eq!(recorder.take(at(9020), on(6, "/a")), Some(PACE), "no longer than that it may be lost");
    recorder.drain(at(9270));
    recorder.heed(at(9270), at(9280), Attention::Asked);
    assert_eq!(recorder.take(at(9300), on(7, "/a")), Some(HOLD));
}

#[test]
fn a_page_that_is_closed_waits_for_the_next_one() {
    let mut recorder = recorder();
    recorder.heed(at(0), at(0), Attention::Watched(Millis(0)));
    let leave = Signal::Leave { key: touch(1).key, tab: Some(TabId(1)) };
    assert_eq!(recorder.take(at(1000), leave), Some(PACE));
    assert!(recorder.has_news(), "whoever reads sees it");
    assert_eq!(recorder.take(at(1100), on(1, "/b")), Some(Millis(0)));
    assert_eq!(recorder.drain(at(1100)).list.len(), 2);
}

#[test]
fn whose_pages_connect_tells_by_that_where_they_are() {
    let mut recorder = recorder();
    recorder.heed(at(0), at(0), Attention::Watched(Millis(0)));
    let connects = |recorder: &mut Recorder, millis| recorder.connects(at(millis), touch(1).key.borrow());
    let page = |recorder: &mut Recorder, millis, signal| recorder.take_of_page(at(millis), signal, |_| None).due;
    assert_eq!(page(&mut recorder, 1000, on(1, "/a")), Some(Millis(0)), "who comes is told of at once");
    recorder.drain(at(1000));
    assert_eq!(connects(&mut recorder, 1300), []);
    recorder.take(at(2000), on(1, "/a2"));
    assert_eq!(connects(&mut recorder, 2100), [on(1, "/a2")], "or they would come too late");
    assert_eq!(page(&mut recorder, 9000, on(1, "/b")), Some(CONNECTING));
    assert_eq!(recorder.take(at(9100), on(2, "/b")), Some(Millis(0)));
    assert_eq!(recorder.drain(at(9100)).list.len(), 1, "others do not take it along");
    assert!(recorder.is_waiting() && !recorder.has_news());
    assert_eq!(connects(&mut recorder, 9300), [on(1, "/b")]);
    assert!(!recorder.is_waiting());
    assert_eq!(recorder.take(at(15_000), on(1, "/c")), Some(Millis(0)), "what a page reports is not waited with");
    recorder.drain(at(15_000));
    assert_eq!(page(&mut recorder, 20_000, on(1, "/d")), Some(CONNECTING));
    assert_eq!(recorder.drain(at(22_990)).list.len(), 1, "a page that does not connect");
    assert_eq!(page(&mut recorder, 30_000, on(1, "/e")), Some(Millis(0)), "is not waited for again");
}

#[test]
fn what_a_page_that_connects_tells_is_news_to_whoever_has_told_it_before() {
    let mut recorder = recorder();
    recorder.take(at(0), on(1, "/a"));
    recorder.drain(at(0));
    assert_eq!(recorder.take(at(1000), on(1, "/a")), None);
    recorder.tells_next(touch(1).key.borrow());
    assert_eq!(recorder.take(at(1000), on(1, "/a")), Some(HOLD));
    assert_eq!(recorder.take(at(1000), on(1, "/a")), None, "and is so once");
}

#[test]
fn what_is_told_of_a_page_never_comes_after_what_was_told_later() {
    let sally = || UserId::parse("sally").unwrap();
    let as_sally = |was| Touch { key: MemberKey::User(sally()), was, ..touch(0) };
    let page_of = |touch: Touch| {
        let Signal::Touch(Touch { place, .. }) = on(1, "/b") else { panic!("a touch") };
        Signal::Touch(Touch { place, ..touch })
    };
    let leave = Signal::Leave { key: touch(1).key, tab: None };
    let signs_in = Signal::Touch(as_sally(Some(touch(1).key)));
    for (page, then) in [
        (page_of(as_sally(None)), Signal::SignOut { user: sally(), device: None }),
        (page_of(touch(1)), signs_in),
        (page_of(touch(1)), leave),
    ] {
        let mut recorder = recorder();
        recorder.take(at(0), page.clone());
        recorder.drain(at(0));
        recorder.connects(at(300), page.key());
        let elsewhere = Place { path: PagePath::parse("/c").unwrap(), title: None, topic: None };
        let page = page.at(|_| Some(elsewhere));
        assert_eq!(recorder.take_of_page(at(9000), page.clone(), |_| None).due, Some(CONNECTING));
        recorder.take(at(9100), then.clone());
        let sent: Vec<_> = Vec::from(recorder.drain(at(9300))).into_iter().map(|report| report.signal).collect();
        assert_eq!(sent, [page, then]);
    }
}

#[test]
fn a_page_that_connects_takes_along_who_its_visitor_was() {
    let mut recorder = recorder();
    let sally = MemberKey::User(UserId::parse("sally").unwrap());
    // Past midnight they are the guest of today first.
    let (yesterday, today) = (on(1, "/login"), Signal::Touch(Touch { was: Some(touch(1).key), ..touch(2) }));
    let signs_in = Signal::Touch(Touch { key: sally.clone(), was: Some(touch(2).key), ..touch(0) });
    for signal in [&yesterday, &on(3, "/login"), &today, &signs_in] {
        recorder.take(at(0), signal.clone());
    }
    let along = recorder.connects(at(100), sally.borrow());
    assert_eq!(along, [yesterday, today, signs_in], "or the guest would come after the user, and count besides");
    let left: Vec<_> = Vec::from(recorder.drain(at(200))).into_iter().map(|report| report.signal).collect();
    assert_eq!(left, [on(3, "/login")]);
}

#[test]
fn where_nobody_looks_news_waits_for_more_and_what_hides_or_ends_does_not() {
    let mut recorder = recorder();
    recorder.heed(at(-8), at(0), Attention::Nobody);
    // The moment is at 12 seconds: 1,795,203,192 is a multiple of 24.
    assert_eq!(recorder.take(at(0), on(1, "/a")), Some(Millis(12_000)));
    assert_eq!(recorder.take(at(8000), on(2, "/a")), None);
    let user = || UserId::parse("sally").unwrap();
    assert_eq!(recorder.take(at(9000), Signal::SignOut { user: user(), device: None }), Some(HOLD));
    assert_eq!(recorder.drain(at(9200)).list.len(), 3);
    let hidden = Some(Profile { invisible: true, ..Profile::default() });
    let hides = Touch { key: MemberKey::User(user()), profile: hidden, ..touch(0) };
    assert_eq!(recorder.take(at(9300), Signal::Touch(hides.clone())), Some(HOLD));
    recorder.drain(at(9500));
    assert_eq!(recorder.take(at(9600), Signal::Touch(Touch { profile: None, ..hides.clone() })), None);
    let shown = Touch { profile: Some(Profile::default()), ..hides };
    assert_eq!(recorder.take(at(9700), Signal::Touch(shown)), Some(HOLD));
    recorder.drain(at(9900));
    recorder.heed(at(9900), at(9901), Attention::Asked);
    assert_eq!(recorder.take(at(10_000), on(1, "/b")), Some(HOLD));
}

#[test]
fn a_short_window_shortens_the_wait() {
    let mut recorder = Recorder::new(Seconds(0), Seconds(60), at(0));
    recorder.heed(at(0), at(0), Attention::Nobody);
    assert_eq!(recorder.take(at(0), on(1, "/a")), Some(Millis(6000)));
}

#[test]
fn a_touch_that_tells_nothing_new_is_not_sent_again() {
    let mut recorder = recorder();
    recorder.take(at(0), on(1, "/a"));
    assert_eq!(recorder.take(at(29_999), on(1, "/a")), None);
    assert_eq!(recorder.take(at(29_999), Signal::Touch(touch(1))), None, "an image on the page");
    assert_eq!(recorder.drain(at(30_000)).list.len(), 1);
}

#[test]
fn a_move_a_new_tab_and_another_state_are_news() {
    let mut recorder = recorder();
    recorder.take(at(0), on(1, "/a"));
    recorder.take(at(1), on(1, "/b"));
    recorder.take(at(2), Signal::Touch(Touch { tab: Some(TabId(1)), ..touch(1) }));
    recorder.take(at(3), Signal::Touch(Touch { state: State::Away, ..touch(1) }));
    assert!(recorder.has_news());
    assert_eq!(recorder.drain(at(3)).list.len(), 4);
}

#[test]
fn one_request_sends_for_all() {
    let mut recorder = recorder();
    assert_eq!(recorder.take(at(0), on(1, "/a")), Some(HOLD));
    assert_eq!(recorder.take(at(10), on(2, "/a")), None);
    let ages: Vec<_> = recorder.drain(at(200)).list.iter().map(|report| report.age).collect();
    assert_eq!(ages, [Millis(200), Millis(190)]);
    assert_eq!(recorder.take(at(300), on(3, "/a")), Some(HOLD));
}

#[test]
fn an_arrival_hurries_a_lazy_batch() {
    let mut recorder = recorder();
    recorder.take(at(0), on(1, "/a"));
    recorder.drain(at(200));
    assert_eq!(recorder.take(at(40_000), on(1, "/a")), Some(LAZY_HOLD));
    assert_eq!(recorder.take(at(40_100), on(2, "/a")), Some(HOLD));
}

#[test]
fn a_sender_that_was_cut_off_is_replaced() {
    let mut recorder = recorder();
    assert_eq!(recorder.take(at(0), on(1, "/a")), Some(HOLD));
    assert_eq!(recorder.take(at(1000), on(2, "/a")), None);
    assert_eq!(recorder.take(at(1300), on(3, "/a")), Some(HOLD));
}

#[test]
fn a_visitor_who_left_arrives_anew() {
    let mut recorder = recorder();
    recorder.take(at(0), on(1, "/a"));
    recorder.take(at(1), Signal::Leave { key: touch(1).key, tab: None });
    assert_eq!(recorder.drain(at(2)).list.len(), 2);
    assert_eq!(recorder.take(at(3), on(1, "/a")), Some(HOLD));
}

#[test]
fn a_guest_who_signed_in_and_out_arrives_anew() {
    let mut recorder = recorder();
    recorder.take(at(0), on(1, "/a"));
    let sally = UserId::parse("sally").unwrap();
    let sign_in = Touch { key: MemberKey::User(sally.clone()), was: Some(touch(1).key), ..touch(1) };
    recorder.take(at(1), Signal::Touch(sign_in));
    recorder.take(at(2), Signal::SignOut { user: sally, device: None });
    recorder.take(at(3), on(1, "/a"));
    assert_eq!(recorder.drain(at(3)).list.len(), 4);
}

#[test]
fn who_is_seen_on_another_device_is_news_once_and_then_as_any_visitor_there() {
    let mut recorder = recorder();
    let sally = || MemberKey::User(UserId::parse("sally").unwrap());
    let on = |device| {
        let said = Some(Evidence { device: Some(DeviceId(device)), ..Evidence::default() });
        Signal::Touch(Touch { key: sally(), said, ..touch(1) })
    };
    let sent = |recorder: &mut Recorder, millis, device| {
        recorder.take(at(millis), on(device));
        recorder.drain(at(millis)).list.len()
    };
    assert_eq!([1, 1, 2, 1, 2].map(|device| sent(&mut recorder, 0, device)), [1, 0, 1, 0, 0]);
    let (user, device) = (UserId::parse("sally").unwrap(), Some(DeviceId(1)));
    recorder.take(at(10), Signal::SignOut { user, device });
    let reports = recorder.drain(at(10));
    assert_eq!(reports.list.len(), 1);
    let told = |device| Report { age: Millis(5000), signal: on(device) };
    recorder.put_back(at(20), vec![told(1), told(2)].into(), Counted::default());
    assert_eq!(Vec::from(recorder.drain(at(20))).len(), 1, "what was told of the other device is told still");
}

#[test]
fn a_batch_that_fills_is_sent_before_anything_has_to_be_shed() {
    let mut recorder = recorder();
    let mut asked = Vec::new();
    for number in 1..=FULL + 1 {
        // The timer of the first is late.
        let now = at(if number == 1 { 0 } else { 500 });
        asked.extend(recorder.take(now, on(number as u64, "/a")).map(|hold| (number, hold)));
    }
    assert_eq!(asked, [(1, HOLD), (FULL, Millis(0))]);
}

#[test]
fn where_a_refresh_needs_not_be_sent_none_delays_what_comes_after_it() {
    let mut recorder = recorder();
    assert_eq!(recorder.take_news(at(0), on(1, "/a")), Some(HOLD));
    recorder.drain(at(200));
    assert_eq!(recorder.take_news(at(40_000), on(1, "/a")), None, "a refresh");
    assert!(!recorder.is_waiting());
    assert_eq!(recorder.take_news(at(45_000), on(1, "/b")), Some(HOLD));
}

#[test]
fn who_has_left_is_news_when_they_are_back() {
    let mut recorder = recorder();
    recorder.take(at(0), on(1, "/a"));
    recorder.drain(at(200));
    recorder.forget(&MemberKey::Guest(GuestKey(1)));
    assert_eq!(recorder.take(at(1000), on(1, "/a")), Some(HOLD));
}

#[test]
fn whom_another_isolate_has_just_recorded_is_not_sent_again_unless_they_tell_more() {
    let mut recorder = recorder();
    let mut take = |millis, touch: Touch| {
        let taken = recorder.take_of_page(at(millis), Signal::Touch(touch), |_| Some(at(0)));
        (taken.kept, recorder.has_neighbours(at(millis)))
    };
    let Signal::Touch(moves) = on(1, "/a") else { panic!("a touch") };
    let tab = Some(TabId(1));
    assert_eq!(take(1000, moves), (true, false), "a page is news");
    assert_eq!(take(1000, Touch { tab, ..touch(2) }), (true, false), "as is a page that tells of itself");
    assert_eq!(take(1000, Touch { state: State::Away, ..touch(3) }), (true, false));
    assert_eq!(take(1000, Touch { was: Some(touch(4).key), ..touch(5) }), (true, false));
    assert_eq!(take(29_000, touch(6)), (false, true));
    assert_eq!(take(30_000, touch(6)), (true, true), "it is remembered when that was");
    assert_eq!(take(30_000, touch(7)), (true, true), "and told again after the resolution");
    assert!(!recorder.has_neighbours(at(361_000)), "who is alone again gives no more words");
    assert_eq!(recorder.counted().suppressed, 1);
}

#[test]
fn whoever_is_known_here_needs_no_word_of_others() {
    let mut recorder = recorder();
    recorder.take(at(0), on(1, "/a"));
    for millis in [1000, 40_000] {
        let asked = |_: &Touch| panic!("nobody asks");
        recorder.take_of_page(at(millis), Signal::Touch(touch(1)), asked);
    }
    assert_eq!(recorder.drain(at(40_000)).list.len(), 2);
}

#[test]
fn a_full_batch_sheds_refreshes_before_arrivals() {
    let mut recorder = recorder();
    recorder.take(at(0), on(0, "/a"));
    recorder.drain(at(0));
    recorder.take(at(40_000), on(0, "/a"));
    for guest in 1..=MAX_BATCH as u64 {
        recorder.take(at(40_000), on(guest, "/a"));
    }
    assert_eq!(recorder.take(at(40_000), on(5000, "/a")), None, "arrivals are shed when nothing else is left");
    let batch = recorder.drain(at(40_000));
    let guests = batch.list.iter().filter_map(|report| match &report.signal {
        Signal::Touch(Touch { key: MemberKey::Guest(GuestKey(guest)), .. }) => Some(*guest),
        _ => None,
    });
    assert!(guests.eq(1..=MAX_BATCH as u64), "in the order they came, without the refresh");
    let counted = recorder.counted();
    assert_eq!((counted.received, counted.shed), (MAX_BATCH as u32 + 3, 2), "and it is known how many were dropped");
    assert_eq!(recorder.take(at(40_001), on(5000, "/a")), Some(HOLD), "who was shed is sent at the next request");
}

#[test]
fn a_batch_that_could_not_be_sent_goes_with_the_next() {
    let mut recorder = recorder();
    recorder.take(at(0), on(1, "/a"));
    let batch = recorder.drain(at(100));
    let counted = recorder.counted();
    recorder.put_back(at(2000), batch, counted);
    recorder.take(at(2000), on(2, "/a"));
    assert_eq!(recorder.drain(at(2000)).list.len(), 2);
    let told = Counted { received: 2, failed: 1, ..Counted::default() };
    assert_eq!((recorder.counted(), recorder.counted()), (told, Counted::default()));
}

#[test]
fn a_batch_that_comes_back_tells_nothing_of_who_is_known_by_that_key_no_more() {
    let sally = || UserId::parse("sally").unwrap();
    let as_sally = |was| Touch { key: MemberKey::User(sally()), was, ..touch(0) };
    let mut recorder = recorder();
    for signal in [on(1, "/a"), on(2, "/a"), Signal::Touch(as_sally(None))] {
        recorder.take(at(0), signal);
    }
    let batch = recorder.drain(at(100));
    let signs_in = Signal::Touch(as_sally(Some(touch(1).key)));
    for (millis, signal) in [(200, Signal::SignOut { user: sally(), device: None }), (300, signs_in)] {
        recorder.take(at(millis), signal);
    }
    let again = recorder.drain(at(400));
    recorder.put_back(at(400), again.clone(), Counted::default());
    assert_eq!(recorder.drain(at(400)), again, "who has signed in since");
    recorder.put_back(at(100), batch, Counted::default());
    let sent: Vec<_> = Vec::from(recorder.drain(at(500))).into_iter().map(|report| report.signal).collect();
    assert_eq!(sent, [on(2, "/a")]);
}

#[test]
fn without_a_resolution_every_touch_is_sent() {
    let mut recorder = Recorder::new(Seconds(0), Seconds(300), at(0));
    for millis in 0..5 {
        recorder.take(at(millis), on(1, "/a"));
    }
    assert_eq!(recorder.drain(at(5)).list.len(), 5);
}

#[test]
fn a_clock_put_back_silences_nobody() {
    let mut recorder = recorder();
    recorder.take(at(3_600_000), on(1, "/a"));
    recorder.drain(at(3_600_000));
    assert_eq!(recorder.take(at(0), on(1, "/a")), Some(HOLD));
}

#[test]
fn a_request_that_is_no_pages_is_in_no_hurry_and_makes_no_page_that_follows_it_old_news() {
    let refresh = |number| Signal::Touch(Touch { arrives: false, ..touch(number) });
    let mut recorder = recorder();
    assert_eq!(recorder.take(at(0), refresh(1)), Some(LAZY_HOLD), "another isolate may know them");
    assert_eq!(recorder.take(at(100), refresh(1)), None);
    assert!(!recorder.has_news());
    assert_eq!(recorder.take(at(200), Signal::Touch(touch(1))), Some(HOLD), "now they are here");
    assert!(recorder.has_news());
    assert_eq!(recorder.drain(at(400)).list.len(), 2);
    assert_eq!(recorder.take(at(500), Signal::Touch(touch(1))), None);
    assert_eq!(recorder.drain(at(600)).list.len(), 0);
}

#[test]
fn who_is_away_is_not_told_to_look_by_what_their_page_fetches() {
    let mut recorder = recorder();
    let away = || Signal::Touch(Touch { state: State::Away, tab: Some(TabId(1)), ..touch(1) });
    recorder.take(at(0), away());
    recorder.take(at(100), Signal::Touch(Touch { arrives: false, ..touch(1) }));
    recorder.take(at(200), away());
    assert_eq!(recorder.drain(at(400)).list.len(), 1);
}

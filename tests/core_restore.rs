//! A site that was rebuilt from its rows is the site that wrote them: every member, place, count and peak, whatever the
//! history, with sweeps and clocks put back among its steps.

use proptest::prelude::*;
use std::collections::BTreeMap;
use whos_online::presence::bounds::Bounds;
use whos_online::presence::id::{DeviceId, GuestKey, PagePath, TabId, Title, UserId};
use whos_online::presence::member::{Evidence, Kind, MemberKey, Place, Profile, Signal, State, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::site::{Counts, Filter, Outcome, Site, Write};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

const WINDOW: Seconds = Seconds(60);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + millis)
}

/// Four users, then four guests, then bots.
fn key(number: u8) -> MemberKey {
    match number {
        0..4 => MemberKey::User(UserId::parse(format!("u{number}")).unwrap()),
        4..8 => MemberKey::Guest(GuestKey(number.into())),
        _ => MemberKey::Bot(GuestKey(number.into())),
    }
}

fn place(number: u8) -> Place {
    let path = PagePath::parse(format!("/{}", number % 3)).unwrap();
    Place { path, title: (number == 3).then(|| Title::parse("T").unwrap()), topic: None }
}

fn device() -> impl Strategy<Value = DeviceId> {
    (1..4u64).prop_map(DeviceId)
}

fn touch(who: u8) -> impl Strategy<Value = Touch> {
    let was = proptest::option::weighted(0.3, 4..10u8);
    let place = proptest::option::of((0..4u8).prop_map(place));
    let tab = proptest::option::of((0..4u32).prop_map(TabId));
    let evidence = (proptest::option::of(device()), proptest::option::weighted(0.2, 0..100_000i64));
    (was, place, tab, any::<bool>(), any::<bool>(), evidence).prop_map(
        move |(was, place, tab, invisible, away, evidence)| {
            let key = key(who);
            let (device, issued) = evidence;
            let said = Some(Evidence { said: None, issued: issued.map(at), device });
            let said = said.filter(|_| key.kind() == Kind::User);
            let was = was.map(self::key).filter(|was| *was != key);
            let profile = (key.kind() == Kind::User).then(|| Profile { invisible, ..Profile::default() });
            Touch {
                key,
                was,
                profile,
                said,
                place,
                tab,
                state: if away { State::Away } else { State::Online },
                arrives: true,
            }
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    let age = prop_oneof![3 => Just(0), 2 => 0..3_000u32, 1 => 0..70_000u32].prop_map(Millis);
    let leave = (0..10u8, proptest::option::of((0..4u32).prop_map(TabId)));
    let signal = prop_oneof![
        8 => (0..10u8).prop_flat_map(touch).prop_map(Signal::Touch),
        3 => leave.prop_map(|(who, tab)| Signal::Leave { key: key(who), tab }),
        2 => (0..4u8, proptest::option::weighted(0.7, device())).prop_map(|(who, device)| {
            Signal::SignOut { user: UserId::parse(format!("u{who}")).unwrap(), device }
        }),
    ];
    (age, signal).prop_map(|(age, signal)| Report { age, signal })
}

#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<Report>),
    /// Heard, to be stored with what comes next.
    Hear(Vec<Report>),
    Pass(i64),
    PutBack(i64),
    Sweep,
    Erase(u8),
    Compare,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(report(), 1..5).prop_map(Step::Batch),
        4 => proptest::collection::vec(report(), 1..5).prop_map(Step::Hear),
        4 => (0..2_000i64).prop_map(Step::Pass),
        3 => (0..40_000i64).prop_map(Step::Pass),
        2 => (0..100_000i64).prop_map(Step::PutBack),
        1 => Just(Step::Sweep),
        1 => (0..4u8).prop_map(Step::Erase),
        3 => Just(Step::Compare),
    ]
}

/// All that can be told of a site.
fn told(site: &Site) -> (Vec<String>, Counts, Vec<String>, String) {
    let members = [Kind::User, Kind::Guest, Kind::Bot].into_iter().flat_map(|kind| {
        let (members, _) = site.list(kind, &Filter::default(), None, usize::MAX);
        members.iter().map(|member| format!("{member:?}")).collect::<Vec<_>>()
    });
    let pages = site.pages(usize::MAX).iter().map(|page| format!("{page:?}")).collect();
    let totals = format!("{:?} {:?}", site.merged(), site.peak().map(|peak| peak.total));
    (members.collect(), site.counts(), pages, totals)
}

/// Most often so narrow that guests and bots are merged: for their number, or for the bytes of the places where they are.
fn bounds() -> impl Strategy<Value = Bounds> {
    let few = || prop_oneof![Just(usize::MAX), 0..4usize];
    let places = prop_oneof![3 => Just(usize::MAX), 1 => 0..400usize];
    (few(), few(), places).prop_map(|(guests, bots, places)| Bounds {
        window: WINDOW,
        guests,
        bots,
        places,
        client_guests: None,
    })
}

#[derive(Default)]
struct Rows(BTreeMap<i64, Vec<u8>>);

impl Rows {
    fn store(&mut self, writes: impl IntoIterator<Item = Write>) {
        self.0.extend(writes.into_iter().map(|write| (write.slot, write.data)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_restored_site_tells_what_the_living_one_does(
        bounds in bounds(), steps in proptest::collection::vec(step(), 1..60)
    ) {
        let (mut time, mut site, mut rows) = (0, Site::new(bounds, at(0)), Rows::default());
        for step in steps {
            match step {
                Step::Batch(reports) => rows.store(site.apply(at(time), reports).writes),
                Step::Hear(reports) => {
                    site.go_on(at(time), Vec::new);
                    if site.was_put_back() {
                        rows.store(site.outcome().writes);
                    }
                    site.hear(at(time), reports);
                }
                Step::Pass(millis) => time += millis,
                Step::PutBack(millis) => time -= millis,
                Step::Sweep => {
                    rows.store(site.advance(at(time)).writes);
                    let (slots, last) = site.sweep();
                    slots.iter().for_each(|slot| { rows.0.remove(slot); });
                    rows.store(last);
                }
                Step::Erase(number) => {
                    if let MemberKey::User(user) = key(number) {
                        let Outcome { writes, .. } = site.erase(&user);
                        rows.0.clear();
                        rows.store(writes);
                    }
                }
                Step::Compare => {
                    rows.store(site.advance(at(time)).writes);
                    // Where the clock was put back by less than a second, the living one stands still.
                    let (restored, _, unreadable) = Site::restore(bounds, &rows.0, site.now(), &[]);
                    prop_assert_eq!(unreadable, 0);
                    prop_assert_eq!(told(&restored), told(&site));
                }
            }
        }
        // When everybody is gone nothing is left of them, and whoever comes then is counted right.
        site.advance(at(time + 1_000_000));
        prop_assert_eq!(site.counts(), Counts::default());
        prop_assert!(site.pages(9).is_empty());
        // They may have hidden; by this they show themselves.
        let touch = Touch { profile: Some(Profile::default()), ..Touch::of(key(0)) };
        site.apply(at(time + 1_000_001), vec![Report { age: Millis(0), signal: Signal::Touch(touch) }]);
        prop_assert_eq!((site.counts().users, site.counts().guests), (1, 0));
    }
}

fn named(key: MemberKey) -> Touch {
    Touch::of(key)
}

#[test]
fn who_leaves_and_is_gone_before_that_is_stored_does_not_come_back() {
    let (mut site, mut rows) = (Site::new(WINDOW, at(0)), Rows::default());
    let tab = Some(TabId(1));
    rows.store(site.apply(at(0), aged(0, Signal::Touch(Touch { tab, ..named(key(0)) }))).writes);
    site.hear(at(20_000), aged(15_000, Signal::Leave { key: key(0), tab }));
    site.go_on(at(20_001), Vec::new);
    assert_eq!(site.counts().users, 0);
    rows.store(site.outcome().writes);
    let (restored, ..) = Site::restore(WINDOW, &rows.0, at(20_002), &[]);
    assert_eq!(restored.counts().users, 0);
}

fn aged(age: u32, signal: Signal) -> Vec<Report> {
    vec![Report { age: Millis(age), signal }]
}

#[test]
fn whoever_hides_is_not_shown_however_late_that_is_told() {
    let mut site = Site::new(WINDOW, at(0));
    site.apply(at(1000), aged(0, Signal::Touch(named(key(4)))));
    let hidden = Profile { invisible: true, ..Profile::default() };
    let sign_in = Touch { was: Some(key(4)), profile: Some(hidden), ..named(key(0)) };
    site.apply(at(1100), aged(500, Signal::Touch(sign_in)));
    assert_eq!((site.counts().users, site.counts().guests), (0, 1));
}

#[test]
fn a_sign_out_before_the_last_sign_in_takes_nobody_away() {
    let mut site = Site::new(WINDOW, at(0));
    site.apply(at(5000), aged(0, Signal::Touch(named(key(0)))));
    site.apply(at(6000), aged(4000, Signal::SignOut { user: UserId::parse("u0").unwrap(), device: None }));
    assert_eq!(site.counts().users, 1);
}

#[test]
fn rows_stay_below_two_megabytes_with_every_text_at_its_longest() {
    let mut site = Site::new(WINDOW, at(0));
    let (mut rows, mut largest) = (Rows::default(), 0);
    for tab in 0..16 {
        let reports = (0..1000u64).map(|guest| {
            let path = PagePath::parse(format!("/{guest:04}{tab:04}{}", "x".repeat(503))).unwrap();
            let place = Some(Place { path, title: Title::parse("t".repeat(256)).ok(), topic: None });
            let touch = Touch { place, tab: Some(TabId(tab)), ..named(MemberKey::Guest(GuestKey(guest))) };
            Report { age: Millis(0), signal: Signal::Touch(touch) }
        });
        let Outcome { writes, .. } = site.apply(at(i64::from(tab)), reports.collect::<Vec<_>>());
        largest = writes.iter().map(|write| write.data.len()).fold(largest, usize::max);
        rows.store(writes);
    }
    assert!(largest < 2_000_000, "{largest} bytes in a row");
    let (restored, _, _) = Site::restore(WINDOW, &rows.0, at(20), &[]);
    assert_eq!(told(&restored), told(&site));
}

#[test]
fn a_sweep_leaves_the_peak_and_nothing_of_anybody() {
    let mut site = Site::new(WINDOW, at(0));
    let mut rows = Rows::default();
    for second in 0..10 {
        rows.store(site.apply(at(second * 1000), aged(0, Signal::Touch(named(key(0))))).writes);
    }
    site.advance(at(3_600_000));
    let (slots, last) = site.sweep();
    slots.iter().for_each(|slot| {
        rows.0.remove(slot);
    });
    rows.store(last);
    assert_eq!(rows.0.len(), 1);
    assert!(!rows.0.values().any(|row| row.windows(2).any(|bytes| bytes == b"u0")));
    let (restored, _, _) = Site::restore(WINDOW, &rows.0, at(3_600_001), &[]);
    assert_eq!(restored.peak(), site.peak());
    assert!(restored.peak().is_some());
}

#[test]
fn a_version_that_was_told_tells_nothing_else_after_a_restart_with_the_clock_put_back() {
    let (mut site, mut rows) = (Site::new(WINDOW, at(0)), Rows::default());
    rows.store(site.apply(at(100_000), aged(0, Signal::Touch(named(key(0))))).writes);
    rows.store(site.apply(at(102_000), aged(0, Signal::Touch(named(key(1))))).writes);
    rows.store(site.advance(at(0)).writes);
    rows.store(site.apply(at(5000), aged(0, Signal::Touch(named(key(1))))).writes);
    // They go one after the other, which no row tells.
    site.advance(at(61_000));
    site.advance(at(66_000));
    assert_eq!(site.counts().total, 0);
    let (mut restored, ..) = Site::restore(WINDOW, &rows.0, at(66_000), &[]);
    restored.apply(at(66_001), aged(0, Signal::Touch(named(key(2)))));
    assert!(restored.version() > site.version(), "or whoever was told before would not hear who has come");
}

#[test]
fn a_version_that_was_told_after_a_restart_tells_nothing_else_after_the_next() {
    let (mut site, mut rows) = (Site::new(WINDOW, at(0)), Rows::default());
    rows.store(site.apply(at(10_000), aged(0, Signal::Touch(named(key(0))))).writes);
    rows.store(site.advance(at(0)).writes);
    let (restored, outcome, _) = Site::restore(WINDOW, &rows.0, at(0), &[]);
    rows.store(outcome.writes);
    let told = restored.version();
    let caught_up = Timestamp::from_millis(i64::try_from(told).unwrap());
    let (mut restored, ..) = Site::restore(WINDOW, &rows.0, caught_up, &[]);
    restored.apply(caught_up, aged(0, Signal::Touch(named(key(1)))));
    assert!(restored.version() > told);
}

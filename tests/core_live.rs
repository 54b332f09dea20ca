//! Whoever watches and applies what they are told always sees what is so.

use proptest::prelude::*;
use std::collections::BTreeMap;
use whos_online::presence::id::{GuestKey, Name, PagePath, TabId, Topic, UserId};
use whos_online::presence::member::{KeyRef, Kind, MemberKey, Place, Profile, Signal, State, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::site::changes::{MAX_CHANGES, RECALL};
use whos_online::presence::site::{Counts, Filter, Lease, Outcome, Site, Tally, View};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

const WINDOW: Seconds = Seconds(300);
const START: i64 = 1_795_203_180_000;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(START + millis)
}

/// What a watcher shows of a user.
type Row = (Option<Profile>, State, Timestamp, Option<Place>, usize);

/// Somebody who watches, by what they were told alone.
struct Watcher {
    filter: Filter<'static>,
    locations: bool,
    version: u64,
    users: BTreeMap<String, Row>,
    /// Changes and full states that it took.
    told: (usize, usize),
}

impl Watcher {
    fn row(&self, view: &View<'_>) -> (String, Row) {
        let KeyRef::User(id) = view.key else { panic!("a user") };
        let place = view.place.filter(|_| self.locations).cloned();
        // That another page of theirs has a topic is not shown.
        let place = place.map(|place| Place { topic: None, ..place });
        (id.as_str().to_owned(), (view.profile.cloned(), view.state, view.since, place, view.tabs))
    }

    fn truth(&self, site: &Site) -> BTreeMap<String, Row> {
        let (all, _) = site.list(Kind::User, &self.filter, None, usize::MAX);
        all.iter().map(|view| self.row(view)).collect()
    }

    fn listen(&mut self, site: &Site) {
        match site.changes(self.version, &self.filter, self.locations) {
            Some(changes) => {
                for view in &changes.joins {
                    let (id, row) = self.row(view);
                    assert_eq!(self.users.insert(id, row), None, "nobody joins twice");
                }
                for view in &changes.updates {
                    let (id, row) = self.row(view);
                    let before = self.users.insert(id, row.clone());
                    // After a restart it may be of somebody who went before and came again.
                    assert_ne!(before, Some(row), "an update is one");
                }
                changes.leaves.iter().for_each(|id| drop(self.users.remove(id.as_str())));
                self.told.0 += 1;
            }
            None => {
                self.users = self.truth(site);
                self.told.1 += 1;
            }
        }
        self.version = site.version();
    }
}

fn filters() -> impl Iterator<Item = Filter<'static>> {
    let all = [None, Some("/0"), Some("/1")].into_iter();
    let all = all.flat_map(|path| [None, Some("user:0"), Some("user:1")].map(|topic| (path, topic)));
    all.flat_map(|(path, topic)| [false, true].map(|invisible| Filter { path, topic, invisible }))
}

/// How many a filter lets through, one by one.
fn counted(site: &Site, filter: &Filter<'_>) -> Counts {
    let listed = |kind| site.list(kind, filter, None, usize::MAX).0.len();
    let (users, guests) = (listed(Kind::User), listed(Kind::Guest));
    Counts { total: users + guests, users, guests, bots: listed(Kind::Bot) }
}

fn watchers() -> Vec<Watcher> {
    let all = Filter::default();
    let filters = [
        (all.clone(), true),
        (all.clone(), false),
        (Filter { invisible: true, ..all.clone() }, true),
        (Filter { path: Some("/1"), ..all.clone() }, true),
        (Filter { topic: Some("user:1"), ..all }, false),
    ];
    let watcher = |(filter, locations)| Watcher { filter, locations, version: 0, users: BTreeMap::new(), told: (0, 0) };
    filters.into_iter().map(watcher).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Signals(Vec<(Signal, u32)>),
    Pass(i64),
    /// Some of the watchers are told; the others have to wait.
    Tell(u8),
    /// It was down for so long.
    Restart(i64),
    Erase(u8),
    Sweep,
}

fn user(number: u8) -> UserId {
    UserId::parse(format!("{number}")).unwrap()
}

fn signal() -> impl Strategy<Value = Signal> {
    let key = prop_oneof![
        4 => (0..5_u8).prop_map(|number| MemberKey::User(user(number))),
        1 => (0..3_u64).prop_map(|number| MemberKey::Guest(GuestKey(number)))
    ];
    let place = (0..3_u8, prop::option::of(0..2_u8)).prop_map(|(path, topic)| Place {
        path: PagePath::parse(format!("/{path}")).unwrap(),
        title: None,
        topic: topic.map(|number| Topic::parse(format!("user:{number}")).unwrap()),
    });
    let profile = (0..3_u8, prop::bool::weighted(0.2)).prop_map(|(name, invisible)| Profile {
        name: Name::parse(format!("Name {name}")).ok(),
        avatar: None,
        invisible,
    });
    let touch = (
        key.clone(),
        prop::option::weighted(0.2, (0..3_u64).prop_map(|number| MemberKey::Guest(GuestKey(number)))),
        prop::option::of(profile),
        prop::option::of(place),
        prop::option::of((0..3_u32).prop_map(TabId)),
        prop::bool::ANY,
    );
    let touch = touch.prop_map(|(key, was, profile, place, tab, away)| {
        let was = was.filter(|was| *was != key);
        // Nothing is known of guests.
        let profile = profile.filter(|_| key.kind() == Kind::User);
        let state = if away { State::Away } else { State::Online };
        Signal::Touch(Touch { key, was, profile, said: None, place, tab, state, arrives: true })
    });
    let tab = prop::option::of((0..3_u32).prop_map(TabId));
    prop_oneof![
        8 => touch,
        2 => (key, tab).prop_map(|(key, tab)| Signal::Leave { key, tab }),
        1 => (0..5_u8).prop_map(|number| Signal::SignOut { user: user(number), device: None }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec((signal(), 0..5000_u32), 1..4).prop_map(Step::Signals),
        4 => prop_oneof![0..3000_i64, 3000..400_000_i64, -20_000..0_i64].prop_map(Step::Pass),
        6 => any::<u8>().prop_map(Step::Tell),
        1 => (0..400_000_i64).prop_map(Step::Restart),
        1 => (0..5_u8).prop_map(Step::Erase),
        1 => Just(Step::Sweep),
    ]
}

/// A site that is watched, with its rows and the clock.
struct Watched {
    site: Site,
    rows: BTreeMap<i64, Vec<u8>>,
    now: i64,
}

impl Watched {
    fn new() -> Self {
        let mut site = Site::new(WINDOW, Timestamp::from_millis(START));
        site.watch();
        Self { site, rows: BTreeMap::new(), now: START }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn keep(&mut self, outcome: Outcome) {
        self.rows.extend(outcome.writes.into_iter().map(|write| (write.slot, write.data)));
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Signals(signals) => {
                let report = |(signal, age): &(Signal, u32)| Report { age: Millis(*age), signal: signal.clone() };
                let outcome = self.site.apply(self.now(), signals.iter().map(report).collect::<Vec<_>>());
                self.keep(outcome);
            }
            Step::Pass(millis) => {
                self.now += millis;
                let outcome = self.site.advance(self.now());
                self.keep(outcome);
            }
            Step::Restart(down) => {
                self.now += down;
                let (site, outcome, _) = Site::restore(WINDOW, &self.rows, self.now(), &[]);
                self.site = site;
                self.keep(outcome);
            }
            Step::Erase(number) => {
                let outcome = self.site.erase(&user(*number));
                self.rows.clear();
                self.keep(outcome);
            }
            Step::Sweep => {
                let (slots, write) = self.site.sweep();
                self.rows.retain(|slot, _| !slots.contains(slot));
                self.keep(Outcome { writes: write.into_iter().collect(), ..Outcome::default() });
            }
            Step::Tell(_) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_history_told_in_any_pieces_ends_in_what_is_so(steps in prop::collection::vec(step(), 1..60)) {
        let (mut watched, mut watchers) = (Watched::new(), watchers());
        for step in &steps {
            watched.take(step);
            let tally = Tally::of(&watched.site);
            for filter in filters() {
                prop_assert_eq!(tally.counts(&filter), counted(&watched.site, &filter), "{:?}", filter);
            }
            if let Step::Tell(which) = step {
                let told = watchers.iter_mut().enumerate().filter(|(number, _)| which >> number & 1 == 1);
                for (number, watcher) in told {
                    watcher.listen(&watched.site);
                    prop_assert_eq!(&watcher.users, &watcher.truth(&watched.site), "watcher {} after {:?}", number, step);
                }
            }
        }
    }
}

fn touch(number: u8, path: &str) -> Signal {
    let place = Place { path: PagePath::parse(path).unwrap(), title: None, topic: None };
    let key = MemberKey::User(user(number));
    Signal::Touch(Touch { place: Some(place), ..Touch::of(key) })
}

#[test]
fn a_refresh_is_nothing_new_and_neither_is_who_came_and_went() {
    let mut watched = Watched::new();
    watched.take(&Step::Signals(vec![(touch(1, "/a"), 0)]));
    let version = watched.site.version();
    watched.take(&Step::Pass(60_000));
    watched.take(&Step::Signals(vec![(touch(1, "/a"), 0), (touch(2, "/a"), 0)]));
    watched.take(&Step::Signals(vec![(Signal::SignOut { user: user(2), device: None }, 0)]));
    assert!(watched.site.changes(version, &Filter::default(), true).unwrap().is_empty());
    watched.take(&Step::Signals(vec![(touch(1, "/b"), 0)]));
    let changes = watched.site.changes(version, &Filter::default(), true).unwrap();
    assert_eq!((changes.joins.len(), changes.updates.len(), changes.leaves.len()), (0, 1, 0), "a move is an update");
    assert!(watched.site.changes(version, &Filter::default(), false).unwrap().is_empty(), "which not all may see");
}

#[test]
fn who_has_missed_too_much_is_told_everything() {
    let mut watched = Watched::new();
    watched.take(&Step::Signals(vec![(touch(1, "/a"), 0)]));
    let version = watched.site.version();
    for number in 0..MAX_CHANGES {
        watched.take(&Step::Signals(vec![(touch(1, if number % 2 == 0 { "/b" } else { "/a" }), 0)]));
    }
    assert!(watched.site.changes(version, &Filter::default(), true).is_some());
    watched.take(&Step::Signals(vec![(touch(1, "/c"), 0)]));
    assert_eq!(watched.site.changes(version, &Filter::default(), true), None);
    assert_eq!(watched.site.changes(watched.site.version() + 1, &Filter::default(), true), None, "nor the future");
}

#[test]
fn who_resumes_after_a_restart_hears_of_those_who_went_meanwhile() {
    let mut watched = Watched::new();
    watched.take(&Step::Signals(vec![(touch(1, "/a"), 0)]));
    watched.take(&Step::Pass(200_000));
    watched.take(&Step::Signals(vec![(touch(2, "/a"), 0)]));
    let version = watched.site.version();
    watched.take(&Step::Restart(200_000));
    let changes = watched.site.changes(version, &Filter::default(), true).unwrap();
    assert_eq!(changes.leaves, [&user(1)]);
    assert!(changes.joins.is_empty() && changes.updates.is_empty());
}

#[test]
fn a_restart_among_many_changes_is_survived_by_all_who_were_told_of_something_in_the_minute_before() {
    let mut watched = Watched::new();
    let mut told = Vec::new();
    for second in 0..400_u32 {
        let number = (second * 7 % 50) as u8;
        let signal = if second % 9 == 0 {
            Signal::SignOut { user: user(number), device: None }
        } else {
            touch(number, &format!("/{second}"))
        };
        watched.take(&Step::Pass(1000));
        watched.take(&Step::Signals(vec![(signal, 0)]));
        let mut watcher = watchers().remove(0);
        watcher.listen(&watched.site);
        told.push(watcher);
    }
    watched.take(&Step::Restart(5000));
    for (ago, watcher) in told.iter_mut().rev().enumerate() {
        watcher.told = (0, 0);
        watcher.listen(&watched.site);
        assert_eq!(watcher.users, watcher.truth(&watched.site));
        let expected = if ago <= RECALL.0 as usize { (1, 0) } else { (0, 1) };
        assert_eq!(watcher.told, expected, "{ago} seconds before");
    }
}

#[test]
fn changes_are_remembered_for_a_minute_after_the_last_watcher_has_gone() {
    let mut watched = Watched::new();
    watched.take(&Step::Signals(vec![(touch(1, "/a"), 0)]));
    let version = watched.site.version();
    let known = |watched: &Watched| watched.site.changes(version, &Filter::default(), true).is_some();
    watched.site.unwatch();
    watched.take(&Step::Pass(59_000));
    watched.site.unwatch();
    assert!(known(&watched));
    watched.site.watch();
    watched.take(&Step::Pass(50_000));
    watched.site.unwatch();
    watched.take(&Step::Pass(59_000));
    watched.site.unwatch();
    assert!(known(&watched), "somebody came back in between");
    watched.take(&Step::Pass(1000));
    watched.site.unwatch();
    assert!(!known(&watched));
}

#[test]
fn who_was_told_of_a_leave_that_no_row_tells_hears_of_the_next() {
    let mut watched = Watched::new();
    for number in 1..=3 {
        watched.take(&Step::Signals(vec![(touch(number, "/a"), 0)]));
        watched.take(&Step::Pass(100_000));
    }
    watched.take(&Step::Pass(10_000));
    let version = watched.site.version();
    assert_eq!(watched.site.counts().users, 2, "the first has gone");
    watched.take(&Step::Restart(100_000));
    let changes = watched.site.changes(version, &Filter::default(), true).unwrap();
    assert!(changes.leaves.contains(&&user(2)), "{changes:?}");
}

#[test]
fn an_open_page_keeps_its_user_whatever_their_other_pages_do() {
    let mut site = Site::new(Seconds(330), at(0));
    let key = MemberKey::User(user(1));
    let told = |tab, path: &str| {
        let place = Some(Place { path: PagePath::parse(path).unwrap(), title: None, topic: None });
        let (was, profile, said, tab, state) = (None, None, None, Some(TabId(tab)), State::Online);
        Signal::Touch(Touch { key: key.clone(), was, profile, said, place, tab, state, arrives: true })
    };
    let report = |signal| vec![Report { age: Millis(0), signal }];
    site.apply(at(0), report(told(1, "/desktop")));
    for second in 1..2000 {
        let now = at(second * 1000);
        site.go_on(now, || vec![Lease { key: key.clone(), tab: TabId(1), at: now.minus(Seconds(30)) }]);
        match second % 700 {
            // The phone is touched again and again, so nobody is ever about to go; then its page is closed.
            (1..=600) if second % 50 == 0 => drop(site.apply(now, report(told(2, "/phone")))),
            601 => drop(site.apply(now, report(Signal::Leave { key: key.clone(), tab: Some(TabId(2)) }))),
            _ => {}
        }
        let (users, _) = site.list(Kind::User, &Filter::default(), None, 1);
        let place = users.first().map(|user| user.place.unwrap().path.as_str());
        let expected = if (50..=600).contains(&(second % 700)) { "/phone" } else { "/desktop" };
        assert_eq!(place, Some(expected), "after {second} seconds");
    }
}

proptest! {
    /// Whoever was seen, or whose open page was, within the window is online, and nobody else: whenever somebody looks.
    #[test]
    fn an_open_page_keeps_its_reader_and_no_other(
        steps in proptest::collection::vec((0u8..4, 0i64..3, 0i64..900_000, 0i64..400_000), 1..60),
    ) {
        let mut site = Site::new(Seconds(330), at(0));
        site.watch();
        let (mut now, mut seen) = (0, [None; 4]);
        for (who, what, passed, ago) in steps {
            now += passed;
            let key = MemberKey::User(UserId::parse(format!("user-{who}")).unwrap());
            let online = |seen: Option<i64>| seen.is_some_and(|seen| at(now).as_secs() - at(seen).as_secs() <= 330);
            let last = &mut seen[usize::from(who)];
            if what == 0 {
                let touch = Touch { tab: Some(TabId(1)), ..Touch::of(key) };
                site.apply(at(now), vec![Report { age: Millis(0), signal: Signal::Touch(touch) }]);
                *last = Some(now);
            } else if what == 1 {
                let lease = Lease { key, tab: TabId(1), at: at((now - ago).max(0)) };
                site.renew(at(now), &[lease]);
                // Whoever had gone by then stays away, though nobody had looked.
                // What was known of late is left as it is.
                let stale = |last: &i64| *last <= now - 330 * 250;
                *last = last.map(|last: i64| if stale(&last) { last.max((now - ago).max(0)) } else { last });
            } else {
                site.advance(at(now));
            }
            for last in &mut seen {
                *last = last.filter(|last| online(Some(*last)));
            }
            prop_assert_eq!(site.counts().users, seen.iter().flatten().count());
            prop_assert!(site.deadline().is_none_or(|deadline| deadline > at(now)));
        }
    }
}

//! Those who watch a site that is spread over several objects are told by the copies of its parts.

use crate::object::Object;
use crate::spread::Spread;
use crate::steps::{Said, Step, step};
use crate::{WINDOW, at, config, who};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use whos_online::identity::access::Scope;
use whos_online::presence::copies::{Copies, Progress};
use whos_online::presence::id::{PagePath, TabId};
use whos_online::presence::member::{Kind, Signal, State, Touch};
use whos_online::presence::reports::{Report, Reports};
use whos_online::presence::site::{Filter, Lease, Site, Tally};
use whos_online::presence::time::{Millis, Timestamp};
use whos_online::protocol::live::{View, Watch};
use whos_online::protocol::query::Query;

/// Somebody who watches by the copies of all parts, and knows what they were told alone.
struct Watcher {
    view: View,
    version: u64,
    users: BTreeMap<String, Value>,
    counts: Value,
}

impl Watcher {
    fn of(path: Option<&str>, locations: bool, invisible: bool) -> Self {
        let path = path.map(|path| PagePath::parse(path).unwrap());
        let watch = Watch { names: true, limit: 1000, path, topic: None };
        let scope = Scope { locations, last_seen: true, invisible };
        Self { view: View { watch, scope }, version: 0, users: BTreeMap::new(), counts: Value::Null }
    }

    fn told(&mut self, tally: &Tally<'_>) {
        if let Some(text) = self.view.since(tally, self.version, None) {
            self.take(&serde_json::from_str(&text).unwrap());
        }
        self.version = tally.version();
        let mut newcomer = Self { view: self.view.clone(), users: BTreeMap::new(), ..Self::of(None, true, false) };
        newcomer.take(&serde_json::from_str(&self.view.state(tally)).unwrap());
        assert_eq!((&self.users, &self.counts), (&newcomer.users, &newcomer.counts));
    }

    fn take(&mut self, message: &Value) {
        let list = |name: &str| message[name].as_array().cloned().unwrap_or_default();
        assert!(self.version <= message["version"].as_u64().unwrap(), "{} and then {message}", self.version);
        if message["type"] == "state" {
            self.users.clear();
        }
        for id in list("leaves") {
            assert!(self.users.remove(id.as_str().unwrap()).is_some(), "{message}");
        }
        for mut user in [list("users"), list("joins"), list("updates")].concat() {
            // That somebody was touched again is no news.
            user["last_seen"] = Value::Null;
            self.users.insert(user["id"].as_str().unwrap().to_owned(), user);
        }
        self.counts = message["counts"].clone();
    }
}

/// The rows that parts had when they fell silent.
type Silent = BTreeMap<u32, BTreeMap<i64, Vec<u8>>>;

impl Spread {
    /// The site as far as it is known where some are silent: these go on by themselves from where they were, by another clock.
    fn as_known(&self, silent: &Silent, now: Timestamp, ahead: Timestamp) -> Self {
        let known = |(number, object): (u32, &Object)| {
            let (now, rows) = silent.get(&number).map_or((now, &object.rows), |rows| (ahead, rows));
            let mut known = Object::new(now);
            known.site = Site::restore(WINDOW, rows, now, &[]).0;
            known
        };
        Self { shards: self.shards, objects: (0..).zip(&self.objects).map(known).collect() }
    }
}

/// Has the copies come to where the parts are, as far as these speak, copying anew what they have lost track of.
fn bring_along(copies: &mut Copies, several: &mut Spread, silent: &Silent) {
    for (number, object) in (0..).zip(&mut several.objects) {
        if silent.contains_key(&number) {
            copies.note_silent(number);
            continue;
        }
        let progress = object.progress(number);
        if !copies.follow(&progress) {
            copies.copy(number, &object.rows, progress.at, progress.to);
        }
    }
}

fn hear(object: &mut Object, numbers: &[u8], now: Timestamp) {
    let one = |number: &u8| {
        let (key, state) = (who(*number), State::Online);
        let tab = Some(TabId(u32::from(*number)));
        let touch = Touch { tab, state, ..Touch::of(key) };
        Report { age: Millis(0), signal: Signal::Touch(touch) }
    };
    object.hear(now, numbers.iter().map(one).collect());
}

/// A part where one user has just come, and a copy of it.
fn copied() -> (Object, Copies) {
    let (mut object, mut copies) = (Object::new(at(0)), Copies::new(WINDOW, 1));
    hear(&mut object, &[0], at(0));
    copies.copy(0, &object.rows, at(0), object.site.version());
    (object, copies)
}

#[test]
fn who_was_online_in_a_silent_part_goes_in_their_time_and_is_back_when_it_speaks_again() {
    let mut object = Object::new(at(0));
    hear(&mut object, &[0], at(0));
    hear(&mut object, &[1], at(100_000));
    hear(&mut object, &[2], at(200_000));
    let mut copies = Copies::new(WINDOW, 1);
    copies.copy(0, &object.rows, at(200_000), object.site.version());
    let ids = |copies: &Copies| {
        let tally = copies.tally();
        let users = tally.users(&Filter::default(), 9);
        users.iter().map(|view| view.key.owned()).collect::<Vec<_>>()
    };
    assert_eq!(copies.deadline(), None, "a part that speaks tells by itself who goes");
    copies.go_on(at(900_000), Vec::new);
    assert_eq!(ids(&copies), [who(2), who(1), who(0)]);

    copies.note_silent(0);
    // They go with others who go at about the same time.
    let soon = |deadline: Option<Timestamp>, millis| deadline.unwrap().since(at(millis)) < Millis(10_000);
    assert!(soon(copies.deadline(), 301_000) && copies.deadline() >= Some(at(301_000)));
    let (version, told) = (copies.version(0), copies.tally().version());
    copies.go_on(at(300_000), Vec::new);
    assert_eq!((copies.version(0), copies.tally().version()), (version, told), "nobody has gone");
    copies.go_on(at(301_000), Vec::new);
    assert_eq!(ids(&copies), [who(2), who(1)]);
    assert!(copies.tally().version() > told, "those who watch are told of it");
    // Of the others one is known to have a page open.
    let open = |seen| move || vec![Lease { key: who(2), tab: TabId(2), at: at(seen) }];
    copies.go_on(at(450_000), open(440_000));
    assert_eq!(ids(&copies), [who(2)]);
    assert!(soon(copies.deadline(), 741_000) && copies.deadline() >= Some(at(741_000)));

    // What it has to tell from where it was is no way back.
    hear(&mut object, &[3], at(610_000));
    let progress = Progress { from: version, ..object.progress(0) };
    assert!(!copies.follow(&progress) && copies.version(0).is_none());
    let told = copies.tally().version();
    copies.copy(0, &object.rows, progress.at, progress.to);
    assert_eq!((ids(&copies), copies.deadline()), (vec![who(3)], None));
    assert!(copies.tally().version() > told);
}

#[test]
fn a_clock_that_is_put_back_keeps_nobody_of_a_silent_part_for_ever() {
    let (_, mut copies) = copied();
    copies.note_silent(0);
    copies.go_on(at(-86_400_000), Vec::new);
    assert_eq!(copies.tally().users(&Filter::default(), 9).len(), 1);
    copies.go_on(at(-86_400_000 + 301_000), Vec::new);
    assert!(copies.tally().users(&Filter::default(), 9).is_empty());
}

#[test]
fn a_part_that_starts_anew_with_its_clock_put_back_is_copied_anew() {
    let (mut object, mut copies) = copied();
    object.progress(0);
    object.hear(at(302_000), Reports::default());
    assert!(copies.follow(&object.progress(0)) && copies.tally().users(&Filter::default(), 9).is_empty());
    object.restart(at(200_000), |_| true);
    assert_eq!(object.site.counts().users, 1);
    assert!(!copies.follow(&object.progress(0)), "it has come further, but by another clock");
}

#[test]
fn a_part_that_speaks_again_and_has_nothing_new_tells_by_itself_who_goes() {
    let (mut object, mut copies) = copied();
    object.progress(0);
    copies.note_silent(0);
    let said_before = Progress { to: object.site.version() - 1, ..object.progress(0) };
    assert!(copies.follow(&said_before) && copies.deadline().is_some());
    assert!(copies.follow(&object.progress(0)));
    copies.go_on(at(900_000), Vec::new);
    assert_eq!((copies.deadline(), copies.tally().users(&Filter::default(), 9).len()), (None, 1));
}

#[test]
fn a_copy_that_has_asked_by_itself_goes_on_by_the_rest_of_what_is_told() {
    let (mut object, mut copies) = copied();
    let told = object.progress(0).to;
    hear(&mut object, &[1], at(2000));
    let (version, rows) = (object.site.version(), object.untold.clone());
    assert!(copies.follow(&Progress { number: 0, from: Some(told), to: version, at: at(2000), rows }));
    copies.note_told();
    let seen = copies.tally().version();
    hear(&mut object, &[2], at(4000));
    assert!(copies.follow(&object.progress(0)));
    let tally = copies.tally();
    let changes = tally.changes(seen, &Filter::default(), true).unwrap();
    assert_eq!((changes.joins.len(), changes.updates.len(), changes.leaves.len()), (1, 0, 0));
    assert_eq!(tally.users(&Filter::default(), 9).len(), 3);
    let missed =
        Progress { from: Some(object.site.version() + 1), to: object.site.version() + 2, ..object.progress(0) };
    assert!(!copies.follow(&missed), "what came in between is not known");
}

#[test]
fn who_moves_from_one_part_to_another_has_neither_come_nor_gone_to_those_who_watch() {
    let mut several = Spread::over(2, at(0));
    hear(&mut several.objects[0], &[0, 1], at(0));
    let (mut copies, silent) = (Copies::new(WINDOW, 2), Silent::new());
    bring_along(&mut copies, &mut several, &silent);
    copies.note_told();
    let seen = copies.tally().version();
    let tell = |copies: &mut Copies, seen| {
        let tally = copies.tally();
        let changes = tally.changes(seen, &Filter::default(), true).unwrap();
        assert!(changes.joins.is_empty() && changes.leaves.is_empty(), "{changes:?}");
        let version = tally.version();
        copies.note_told();
        version
    };
    // The one takes them in and says so before the other lets go of them.
    let packed = several.objects[0].site.pack(&[who(1)]);
    several.objects[1].site.adopt(&packed).unwrap();
    several.objects[1].store();
    bring_along(&mut copies, &mut several, &silent);
    let seen = tell(&mut copies, seen);
    several.objects[0].site.give(&[who(1)]);
    several.objects[0].store();
    bring_along(&mut copies, &mut several, &silent);
    tell(&mut copies, seen);
    assert_eq!(copies.tally().users(&Filter::default(), 9).len(), 2);
}

proptest! {
    #![proptest_config(config())]

    /// The copies say what the parts say, those of silent ones what these would say had they heard nothing more, and who
    /// watches by them knows what a newcomer is told.
    #[test]
    fn copies_are_what_they_are_copied_from(count in 2..5u32, ahead in 0..20_000u32, steps in proptest::collection::vec((step(), any::<bool>()), 0..40)) {
        let mut now = at(0);
        let mut several = Spread::over(count, now);
        let (mut copies, mut silent) = (Copies::new(WINDOW, count), Silent::new());
        let newcomers = || [Watcher::of(None, true, false), Watcher::of(None, false, true), Watcher::of(Some("/p1"), true, false)];
        let mut watchers = newcomers();
        for (step, tell) in steps {
            match step {
                Step::Say(said) => several.hear(now, said.iter().map(Said::report).collect()),
                Step::Pass(millis) => now = now.plus(Millis(millis)),
                // One of them alone.
                Step::Restart => several.restart_one(0, now),
                Step::Spread(count) => {
                    several.over_again(count, now);
                    (copies, silent) = (Copies::new(WINDOW, count), Silent::new());
                    watchers = newcomers();
                }
                Step::Silence(number) if silent.remove(&number).is_none() => {
                    // It has told everything until then.
                    several.advance(now);
                    bring_along(&mut copies, &mut several, &silent);
                    silent.extend(several.objects.get(number as usize).map(|object| (number, object.rows.clone())));
                }
                Step::Silence(_) => {}
            }
            if !tell {
                continue;
            }
            several.advance(now);
            bring_along(&mut copies, &mut several, &silent);
            let ahead = now.plus(Millis(ahead));
            copies.go_on(ahead, Vec::new);
            let known = several.as_known(&silent, now, ahead);
            for invisible in [false, true] {
                let truth = known.told(&Query::Online { limit: 1000, after: None, kind: Kind::User, path: None, topic: None }, invisible);
                let filter = Filter { invisible, ..Filter::default() };
                let tally = copies.tally();
                prop_assert_eq!(&truth["counts"], &serde_json::to_value(tally.counts(&filter)).unwrap());
                let listed: Vec<_> = tally.users(&filter, 1000).iter().map(|view| view.last_seen.to_rfc3339()).collect();
                let expected: Vec<_> = truth["users"].as_array().unwrap().iter().map(|user| user["last_seen"].as_str().unwrap().to_owned()).collect();
                prop_assert_eq!(listed, expected);
            }
            watchers.iter_mut().for_each(|watcher| watcher.told(&copies.tally()));
            copies.note_told();
        }
    }
}

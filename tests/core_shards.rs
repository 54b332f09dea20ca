//! A site that is spread over several objects answers as one that is kept by a single one.

use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use whos_online::identity::access::Scope;
use whos_online::presence::copies::{Copies, Progress};
use whos_online::presence::id::{GuestKey, Name, PagePath, SiteName, TabId, Title, Topic, UserId};
use whos_online::presence::member::{Departure, KeyRef, Kind, MemberKey, Place, Profile, Signal, State, Touch, Viewed};
use whos_online::presence::reports::{Report, Reports};
use whos_online::presence::shards::Shards;
use whos_online::presence::site::{Filter, Lease, Outcome, Site, Tally};
use whos_online::presence::time::{Millis, Seconds, Timestamp};
use whos_online::protocol::Kept;
use whos_online::protocol::answer::{About, answer};
use whos_online::protocol::call::read;
use whos_online::protocol::live::{View, Watch};
use whos_online::protocol::part::tell;
use whos_online::protocol::query::Query;

const WINDOW: Seconds = Seconds(300);
const PEOPLE: u8 = 16;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + millis)
}

/// Eight users, then six guests, then two bots.
fn who(number: u8) -> MemberKey {
    match number {
        0..8 => MemberKey::User(id(number)),
        8..14 => MemberKey::Guest(GuestKey(u64::from(number))),
        _ => MemberKey::Bot(GuestKey(u64::from(number))),
    }
}

fn id(number: u8) -> UserId {
    UserId::parse(format!("u{number}")).unwrap()
}

/// One object, with its storage.
struct Object {
    site: Site,
    rows: BTreeMap<i64, Vec<u8>>,
    /// What was stored since those were told who copy it, and the version that they were told of.
    untold: Vec<Vec<u8>>,
    told: Option<u64>,
    departures: BTreeMap<String, Departure>,
    views: BTreeMap<(String, MemberKey, bool), Viewed>,
    hidden: BTreeMap<String, Timestamp>,
}

impl Object {
    fn new(now: Timestamp) -> Self {
        Self {
            site: Site::new(WINDOW, now),
            rows: BTreeMap::new(),
            untold: Vec::new(),
            told: None,
            departures: BTreeMap::new(),
            views: BTreeMap::new(),
            hidden: BTreeMap::new(),
        }
    }

    fn hear(&mut self, now: Timestamp, reports: Reports) {
        self.site.hear(now, reports);
        self.store();
    }

    fn store(&mut self) {
        let outcome = self.site.outcome();
        self.keep(outcome);
    }

    fn keep(&mut self, Outcome { writes, departures, views, hidden }: Outcome) {
        self.untold.extend(writes.iter().map(|write| write.data.clone()));
        self.rows.extend(writes.into_iter().map(|write| (write.slot, write.data)));
        departures.into_iter().for_each(|departure| self.keep_departure(departure));
        views.into_iter().for_each(|view| self.keep_view(view));
        for (user, since) in hidden {
            match since {
                Some(since) => drop(self.hidden.insert(user.into(), since)),
                None => drop(self.hidden.remove(user.as_str())),
            }
        }
    }

    fn keep_departure(&mut self, departure: Departure) {
        let known = self.departures.get(departure.user.as_str()).map(|known| known.last_seen);
        if known.is_none_or(|known| known < departure.last_seen) {
            self.departures.insert(departure.user.as_str().into(), departure);
        }
    }

    fn keep_view(&mut self, view: Viewed) {
        let hides = view.profile.as_ref().is_some_and(|profile| profile.invisible);
        let key = (view.topic.as_str().to_owned(), view.viewer.clone(), hides);
        if self.views.get(&key).is_none_or(|known| known.at < view.at) {
            self.views.insert(key, view);
        }
    }

    /// Builds it from its rows. Of those who had gone when they were handed over these tell still.
    fn restart(&mut self, now: Timestamp, is_own: impl Fn(KeyRef<'_>) -> bool) {
        let (mut site, mut outcome, unreadable) = Site::restore(WINDOW, &self.rows, now, &[]);
        assert_eq!(unreadable, 0);
        site.retain_held(|user| is_own(MemberKey::User(user)));
        outcome.departures.retain(|departure| is_own(MemberKey::User(&departure.user)));
        outcome.views.retain(|viewed| is_own(viewed.viewer.borrow()));
        site.know_hidden(self.hidden.iter().map(|(user, at)| (UserId::parse(user.as_str()).unwrap(), *at)));
        self.site = site;
        // What it had to tell is forgotten, and whom.
        (self.untold, self.told) = (Vec::new(), None);
        self.keep(outcome);
    }

    fn progress(&mut self, number: u32) -> Progress {
        let (from, to, at) = (self.told, self.site.version(), self.site.now());
        self.told = Some(to);
        Progress { number, from, to, at, rows: std::mem::take(&mut self.untold) }
    }
}

impl Kept for Object {
    fn departed(&self, user: &UserId) -> Option<Departure> {
        self.departures.get(user.as_str()).cloned()
    }

    fn departures(&self, limit: usize) -> Vec<Departure> {
        let mut all: Vec<_> = self.departures.values().cloned().collect();
        all.sort_by_key(|departure| std::cmp::Reverse(departure.last_seen));
        all.truncate(limit);
        all
    }

    fn viewed(&self, topic: &Topic) -> Vec<Viewed> {
        self.views.values().filter(|view| view.topic == *topic).cloned().collect()
    }
}

/// A site over several objects.
struct Spread {
    shards: Shards,
    objects: Vec<Object>,
}

impl Spread {
    fn over(count: u32, now: Timestamp) -> Self {
        let shards = Shards::try_from(count).unwrap();
        Self { shards, objects: shards.all().map(|_| Object::new(now)).collect() }
    }

    fn hear(&mut self, now: Timestamp, reports: Reports) {
        for (home, reports) in self.shards.split(reports).into_iter().flatten() {
            for (other, claims) in self.shards.claims(&reports) {
                self.carry(other as usize, home as usize, now, |site| site.give_claimed(&claims));
            }
            self.objects[home as usize].hear(now, reports);
        }
    }

    fn carry(&mut self, from: usize, to: usize, now: Timestamp, give: impl FnOnce(&mut Site) -> Vec<u8>) {
        [from, to].into_iter().for_each(|number| self.objects[number].site.hear(now, Vec::new()));
        let packed = give(&mut self.objects[from].site);
        self.objects[to].site.adopt(&packed).unwrap();
        self.objects[to].store();
        self.objects[from].store();
    }

    fn advance(&mut self, now: Timestamp) {
        self.hear_each(now);
        self.objects.iter_mut().for_each(Object::store);
    }

    fn hear_each(&mut self, now: Timestamp) {
        self.objects.iter_mut().for_each(|object| object.site.hear(now, Vec::new()));
    }

    fn restart(&mut self, now: Timestamp) {
        (0..self.objects.len()).for_each(|number| self.restart_one(number, now));
    }

    fn restart_one(&mut self, number: usize, now: Timestamp) {
        let shards = self.shards;
        self.objects[number].restart(now, |key| shards.home(key) as usize == number);
    }

    /// Spreads it over another number of objects, which are started anew for it.
    fn over_again(&mut self, count: u32, now: Timestamp) {
        self.shards = Shards::try_from(count).unwrap();
        while self.objects.len() < count as usize {
            self.objects.push(Object::new(now));
        }
        self.objects.iter_mut().for_each(|object| object.restart(now, |_| true));
        let (all, shards) = (0..self.objects.len(), self.shards);
        let ways = all.flat_map(|from| shards.all().map(move |to| (from, to as usize)));
        for (from, to) in ways.filter(|(from, to)| from != to) {
            loop {
                let keys = self.objects[from].site.strangers(self.shards, to as u32, 3);
                if keys.is_empty() {
                    break;
                }
                self.carry(from, to, now, |site| {
                    let packed = site.pack(&keys);
                    site.give(&keys);
                    packed
                });
            }
            let moves = |key: &MemberKey| shards.home(key.borrow()) as usize == to;
            let user = |user: &str| MemberKey::User(UserId::parse(user).unwrap());
            let outcome = self.objects[from].site.whole_outcome();
            self.objects[from].keep(outcome);
            let departures: Vec<_> = self.objects[from].departures.extract_if(.., |id, _| moves(&user(id))).collect();
            departures.into_iter().for_each(|(_, departure)| self.objects[to].keep_departure(departure));
            let views: Vec<_> = self.objects[from].views.extract_if(.., |(_, viewer, _), _| moves(viewer)).collect();
            views.into_iter().for_each(|(_, view)| self.objects[to].keep_view(view));
            let hidden: Vec<_> = self.objects[from].hidden.extract_if(.., |id, _| moves(&user(id))).collect();
            let known = hidden.iter().map(|(id, since)| (UserId::parse(id.as_str()).unwrap(), *since));
            self.objects[to].site.know_hidden(known.collect::<Vec<_>>());
            self.objects[to].hidden.extend(hidden);
        }
        self.objects.truncate(count as usize);
    }

    /// What is told of a question, but for what tells of the objects themselves.
    fn told(&self, query: &Query, invisible: bool) -> Value {
        let scope = Scope { locations: true, last_seen: true, invisible };
        let name = SiteName::parse("example.com").unwrap();
        let about = About { site: &name, online_timeout: WINDOW };
        let told: Vec<_> = self.objects.iter().map(|object| tell(query, scope, &object.site, object)).collect();
        let answer = answer(query, scope, &about, told.iter().map(|told| read(told).unwrap()).collect(), false);
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
        if let Some(body) = body.as_object_mut() {
            // Versions and the peak are of objects; the rest of the list is the site's.
            body.remove("version");
            body.remove("peak");
        }
        body
    }

    /// The whole list, page by page.
    fn listed(&self, kind: Kind, limit: usize) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let told = self.told(&Query::Online { limit, after, kind, path: None, topic: None }, false);
            all.extend(told["users"].as_array().unwrap().iter().cloned());
            let Some(cursor) = told["next_cursor"].as_str() else { return all };
            let (at, digest) = cursor.split_once('.').unwrap();
            let at = Timestamp::from_millis(i64::from_str_radix(at, 16).unwrap());
            after = Some((at, u64::from_str_radix(digest, 16).unwrap()));
        }
    }

    fn everything(&self) -> Vec<Value> {
        let path = PagePath::parse("/p1").ok();
        let topics = [Topic::parse("t1").unwrap(), Topic::parse("user:u2").unwrap()];
        let online = |kind, path, topic| Query::Online { limit: 1000, after: None, kind, path, topic };
        let mut queries = vec![
            online(Kind::User, None, None),
            online(Kind::Guest, None, None),
            online(Kind::Bot, None, None),
            online(Kind::User, path, None),
            Query::Counts,
            Query::Users((0..8).map(id).collect()),
            Query::Pages(3),
            Query::Arrivals(50),
        ];
        queries.extend((0..8).map(|number| Query::User(id(number))));
        queries.extend(topics.iter().map(|topic| online(Kind::User, None, Some(topic.clone()))));
        queries.extend(topics.into_iter().map(|topic| Query::Viewers(topic, 2)));
        queries.iter().flat_map(|query| [false, true].map(|invisible| self.told(query, invisible))).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Say(Vec<Said>),
    Pass(u32),
    Restart,
    Spread(u32),
    /// One falls silent to those who copy it, or speaks again.
    Silence(u32),
}

#[derive(Clone, Debug)]
struct Said {
    who: u8,
    was: Option<u8>,
    age: u32,
    place: Option<(u8, bool, Option<u8>)>,
    tab: Option<u8>,
    away: bool,
    profile: Option<bool>,
    what: u8,
}

fn said() -> impl Strategy<Value = Said> {
    let was = prop_oneof![3 => Just(None), 1 => (8..14u8).prop_map(Some)];
    let age = prop_oneof![4 => Just(0), 1 => 0..5_000u32];
    let place = proptest::option::of((0..3u8, any::<bool>(), proptest::option::of(0..3u8)));
    let (tab, profile) =
        (proptest::option::of(0..3u8), prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)]);
    (0..PEOPLE, was, age, place, tab, any::<bool>(), profile, 0..10u8).prop_map(
        |(who, was, age, place, tab, away, profile, what)| Said { who, was, age, place, tab, away, profile, what },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(said(), 1..6).prop_map(Step::Say),
        3 => (0..2_000u32).prop_map(Step::Pass),
        2 => (0..200_000u32).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => (1..6u32).prop_map(Step::Spread),
        2 => (0..4u32).prop_map(Step::Silence),
    ]
}

impl Said {
    fn report(&self) -> Report {
        let key = who(self.who);
        let tab = self.tab.map(|tab| TabId(u32::from(tab)));
        let place = self.place.map(|(path, titled, topic)| Place {
            path: PagePath::parse(format!("/p{path}")).unwrap(),
            title: titled.then(|| Title::parse("A page").unwrap()),
            topic: topic.map(|topic| Topic::parse(["t1", "t2", "user:u2"][usize::from(topic)]).unwrap()),
        });
        let signal = match (self.what, &key) {
            (0, _) => Signal::Leave { key, tab },
            (1, MemberKey::User(user)) => Signal::SignOut(user.clone()),
            _ => {
                let of_user = key.kind() == Kind::User;
                let profile = self.profile.filter(|_| of_user);
                let profile = profile.map(|invisible| Profile { name: Name::parse("N").ok(), avatar: None, invisible });
                let was = self.was.map(who).filter(|was| *was != key && key.kind() != Kind::Bot);
                let state = if self.away { State::Away } else { State::Online };
                Signal::Touch(Touch { key, was, profile, said: None, place, tab, state })
            }
        };
        Report { age: Millis(self.age), signal }
    }
}

#[test]
fn a_guest_who_signs_in_is_one_member_wherever_they_are_kept_then() {
    let mut spread = Spread::over(8, at(0));
    let touch = |number| Touch {
        key: who(number),
        was: None,
        profile: None,
        said: None,
        place: None,
        tab: None,
        state: State::Online,
    };
    let reports = |touches: Vec<Touch>| -> Reports {
        touches.into_iter().map(|touch| Report { age: Millis(0), signal: Signal::Touch(touch) }).collect()
    };
    spread.hear(at(0), reports((8..14).map(touch).collect()));
    spread.hear(at(5000), reports((8..14).map(|guest| Touch { was: Some(who(guest)), ..touch(guest - 8) }).collect()));
    let told = spread.told(&Query::Online { limit: 9, after: None, kind: Kind::User, path: None, topic: None }, false);
    assert_eq!((&told["counts"]["total"], &told["counts"]["users"]), (&6.into(), &6.into()));
    assert!(told["users"].as_array().unwrap().iter().all(|user| user["since"] == at(0).to_rfc3339()));
}

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

fn touches(numbers: &[u8], now: Timestamp) -> (Timestamp, Reports) {
    let one = |number: &u8| {
        let (key, state) = (who(*number), State::Online);
        let tab = Some(TabId(u32::from(*number)));
        let touch = Touch { key, was: None, profile: None, said: None, place: None, tab, state };
        Report { age: Millis(0), signal: Signal::Touch(touch) }
    };
    (now, numbers.iter().map(one).collect())
}

#[test]
fn who_was_online_in_a_silent_part_goes_in_their_time_and_is_back_when_it_speaks_again() {
    let mut object = Object::new(at(0));
    let hear = |object: &mut Object, numbers: &[u8], now| {
        let (now, reports) = touches(numbers, now);
        object.hear(now, reports);
    };
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
    let mut object = Object::new(at(0));
    let (now, reports) = touches(&[0], at(0));
    object.hear(now, reports);
    let mut copies = Copies::new(WINDOW, 1);
    copies.copy(0, &object.rows, at(0), object.site.version());
    copies.note_silent(0);
    copies.go_on(at(-86_400_000), Vec::new);
    assert_eq!(copies.tally().users(&Filter::default(), 9).len(), 1);
    copies.go_on(at(-86_400_000 + 301_000), Vec::new);
    assert!(copies.tally().users(&Filter::default(), 9).is_empty());
}

#[test]
fn a_part_that_starts_anew_with_its_clock_put_back_is_copied_anew() {
    let mut object = Object::new(at(0));
    let (now, reports) = touches(&[0], at(0));
    object.hear(now, reports);
    let mut copies = Copies::new(WINDOW, 1);
    copies.copy(0, &object.rows, at(0), object.site.version());
    object.progress(0);
    object.hear(at(302_000), Reports::default());
    assert!(copies.follow(&object.progress(0)) && copies.tally().users(&Filter::default(), 9).is_empty());
    object.restart(at(200_000), |_| true);
    assert_eq!(object.site.counts().users, 1);
    assert!(!copies.follow(&object.progress(0)), "it has come further, but by another clock");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The model is the same history in a single object.
    #[test]
    fn several_objects_answer_as_one_does(count in 2..6u32, steps in proptest::collection::vec(step(), 0..40)) {
        let mut now = at(0);
        let (mut one, mut several) = (Spread::over(1, now), Spread::over(count, now));
        for step in steps {
            match step {
                Step::Say(said) => {
                    let reports: Reports = said.iter().map(Said::report).collect();
                    one.hear(now, reports.clone());
                    several.hear(now, reports);
                }
                Step::Pass(millis) => now = now.plus(Millis(millis)),
                Step::Restart => {
                    one.restart(now);
                    several.restart(now);
                }
                Step::Spread(count) => {
                    one.restart(now);
                    several.over_again(count, now);
                }
                // Whoever asks waits for none.
                Step::Silence(_) => {}
            }
            one.advance(now);
            several.advance(now);
            prop_assert_eq!(one.everything(), several.everything());
            for kind in [Kind::User, Kind::Guest] {
                prop_assert_eq!(one.listed(kind, 2), several.listed(kind, 3));
            }
        }
    }

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

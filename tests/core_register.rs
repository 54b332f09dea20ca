//! The register of when users were last here, beside a plain map of all of them.

#[path = "cost/shelf.rs"]
mod shelf;

use proptest::prelude::*;
use shelf::Rows;
use std::collections::BTreeMap;
use std::convert::Infallible;
use whos_online::presence::id::{Avatar, PagePath, Topic, UserId};
use whos_online::presence::member::{Departure, Place, Profile};
use whos_online::presence::record::decode;
use whos_online::presence::register::{Form, Register, Sheet};
use whos_online::presence::time::{Seconds, Timestamp};

const WEEK: Seconds = Seconds(604_800);

fn at(seconds: u32) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000).plus(Seconds(seconds))
}

fn user(number: u32) -> UserId {
    UserId::parse(format!("user-{number}")).unwrap()
}

/// Some have much to be kept of them, so that sheets are split.
fn gone(number: u32, last_seen: Timestamp) -> Departure {
    let avatar = format!("/{}.png", "a".repeat(if number.is_multiple_of(3) { 500 } else { 0 }));
    let profile = Profile { avatar: Some(Avatar::parse(avatar).unwrap()), ..Profile::default() };
    let topic = number.is_multiple_of(7).then(|| Topic::parse(format!("user:user-{}", number / 7)).unwrap());
    let place = Place { path: PagePath::parse("/forum").unwrap(), title: None, topic };
    Departure { user: user(number), last_seen, profile, place: Some(place), since: last_seen }
}

/// What is told of a register without errors.
fn ok<T>(result: Result<T, Infallible>) -> T {
    result.unwrap_or_else(|never| match never {})
}

/// The register with its shelf, and all that it should know.
#[derive(Default)]
struct Both {
    register: Register,
    rows: Rows,
    model: BTreeMap<UserId, Departure>,
    now: u32,
}

impl Both {
    fn since(&self) -> Timestamp {
        at(self.now).minus(WEEK)
    }

    fn note(&mut self, departures: Vec<Departure>) {
        for gone in &departures {
            let known = self.model.get(&gone.user);
            if known.is_none_or(|known| known.last_seen < gone.last_seen) {
                self.model.insert(gone.user.clone(), gone.clone());
            }
        }
        ok(self.register.note(departures, self.since(), &self.rows));
    }

    fn find(&mut self, number: u32) -> Option<Departure> {
        let found = ok(self.register.find(&user(number), &self.rows));
        found.filter(|gone| gone.last_seen >= self.since())
    }

    fn newest(&mut self, limit: usize) -> Vec<Departure> {
        let since = self.since();
        let mut newest = ok(self.register.newest(limit, &self.rows));
        newest.retain(|gone| gone.last_seen >= since);
        newest
    }

    fn check(&mut self) {
        let since = self.since();
        self.model.retain(|_, gone| gone.last_seen >= since);
        for number in (0..500).step_by(5) {
            assert!(self.find(number) == self.model.get(&user(number)).cloned(), "{number}");
        }
        let mut newest: Vec<_> = self.model.values().cloned().collect();
        newest.sort_by(|one, other| (other.last_seen, &one.user).cmp(&(one.last_seen, &other.user)));
        newest.truncate(20);
        assert!(self.newest(20) == newest);
    }
}

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    /// Users go who were last seen so many seconds ago.
    Gone(Vec<(u32, u32)>),
    Pass(u32),
    Restart,
    Sweep,
    Forget(Vec<u32>),
    ForgetTopic(u32),
    HandOver,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => prop::collection::vec((0..500u32, 0..3000u32), 1..12).prop_map(Step::Gone),
        1 => prop::collection::vec((0..500u32, 0..300_000u32), 900..1300).prop_map(Step::Gone),
        20 => (1..5000u32).prop_map(Step::Pass),
        1 => (300_000..700_000u32).prop_map(Step::Pass),
        4 => Just(Step::Restart),
        1 => Just(Step::Sweep),
        2 => prop::collection::vec(0..500u32, 1..5).prop_map(Step::Forget),
        2 => (0..70u32).prop_map(Step::ForgetTopic),
        1 => Just(Step::HandOver),
    ]
}

fn take(both: &mut Both, step: Step) {
    match step {
        Step::Gone(users) => {
            let departures = users.iter().map(|(number, ago)| gone(*number, at(both.now).minus(Seconds(*ago))));
            both.note(departures.collect());
        }
        Step::Pass(seconds) => both.now += seconds,
        Step::Restart => both.register = Register::default(),
        Step::Sweep => {
            ok(both.register.sweep(both.since(), &both.rows));
            let oldest = both.rows.sheets.borrow().values().map(|sheet| sheet.oldest).min();
            assert!(oldest.is_none_or(|oldest| oldest >= both.since()));
        }
        Step::Forget(users) => {
            let users: Vec<_> = users.into_iter().map(user).collect();
            ok(both.register.forget(&users, &both.rows));
            both.model.retain(|user, _| !users.contains(user));
        }
        Step::ForgetTopic(number) => {
            let topic = Topic::parse(format!("user:user-{number}")).unwrap();
            ok(both.register.forget_topic(&topic, &both.rows));
            for place in both.model.values_mut().filter_map(|gone| gone.place.as_mut()) {
                if place.topic.as_ref() == Some(&topic) {
                    place.topic = None;
                }
            }
        }
        Step::HandOver => {
            let (mut told, mut from) = (BTreeMap::new(), 0);
            while let Some((departures, next)) = ok(both.register.leaf(from, both.since(), &both.rows)) {
                told.extend(departures.into_iter().map(|gone| (gone.user.clone(), gone)));
                from = next;
            }
            told.retain(|_, gone| gone.last_seen >= both.since());
            both.model.retain(|_, gone| gone.last_seen >= at(both.now).minus(WEEK));
            assert!(told == both.model, "everybody is handed over");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn the_register_knows_what_a_map_of_all_users_knows(steps in prop::collection::vec(step(), 1..600)) {
        let mut both = Both::default();
        for (number, step) in steps.into_iter().enumerate() {
            take(&mut both, step);
            if number % 100 == 99 {
                both.check();
            }
        }
        both.check();
    }
}

#[test]
fn a_row_is_written_for_many_users() {
    let mut both = Both::default();
    for minute in 0..1440 {
        both.now = minute * 60;
        let departures = (0..20).map(|number| gone(minute * 20 + number, at(both.now)));
        both.note(departures.collect());
    }
    let (users, written) = (1440 * 20, both.rows.written.get());
    assert!(written * 8 < users, "{written} rows for {users} users");
    let sizes: Vec<_> = both.rows.sheets.borrow().values().map(|sheet| sheet.data.len()).collect();
    assert!(sizes.len() > 50 && sizes.iter().all(|size| *size <= 64 * 1024), "{sizes:?}");
}

#[test]
fn who_goes_again_and_again_is_one_entry() {
    let mut both = Both::default();
    for hour in 0..1000 {
        both.now = hour * 600;
        both.note(vec![gone(1, at(both.now)), gone(2, at(both.now))]);
    }
    both.check();
    let sheets = both.rows.sheets.borrow();
    let sheets: Vec<_> = sheets.values().map(|sheet| decode::<Sheet>(&sheet.data).unwrap().departures.len()).collect();
    assert_eq!(sheets, [2]);
}

#[test]
fn what_was_heard_before_is_not_noted_again() {
    let mut both = Both::default();
    both.note(vec![gone(1, at(0)), gone(2, at(0))]);
    both.register = Register::default();
    both.note(vec![gone(1, at(0)), gone(2, at(0))]);
    assert_eq!(both.rows.written.get(), 1);
}

#[test]
fn a_sheet_that_cannot_be_read_costs_nobody_else_anything() {
    let mut both = Both::default();
    both.note((0..400).map(|number| gone(number, at(0))).collect());
    // All have had their turn.
    (1..150).for_each(|note| both.note(vec![gone(450, at(note))]));
    let starts: Vec<_> = both.rows.sheets.borrow().keys().copied().collect();
    assert!(starts.len() > 1);
    both.rows.sheets.borrow_mut().values_mut().next().unwrap().data = vec![99, 1, 2];
    let known = (0..400).filter(|number| both.find(*number).is_some()).count();
    assert!(known > 0 && known < 400);
    (150..300).for_each(|note| both.note(vec![gone(note % 400, at(note))]));
    (150..300).for_each(|note| assert!(both.find(note % 400).is_some()));
}

#[test]
fn what_a_newer_release_has_written_is_put_aside_whole_before_its_place_is_used() {
    let mut both = Both::default();
    both.note((0..40).map(|number| gone(number, at(0))).collect());
    both.note(vec![gone(41, at(0))]);
    (1..150).for_each(|note| both.note(vec![gone(450, at(note))]));
    // As a release of tomorrow writes them.
    let newer = |data: &mut Vec<u8>| data[0] = 99;
    let (sheet, note) = {
        let (mut sheets, mut notes) = (both.rows.sheets.borrow_mut(), both.rows.notes.borrow_mut());
        let (sheet, note) = (&mut sheets.values_mut().next().unwrap().data, notes.get_mut(&100).unwrap());
        newer(sheet);
        newer(note);
        (sheet.clone(), note.clone())
    };
    both.register = Register::default();
    assert_eq!(both.find(0), None);
    assert!(both.rows.unreadable.get() >= 2, "that it was not read is counted");
    assert_eq!(*both.rows.aside.borrow(), [(Form::Note, note)], "nobody needs the sheet's place yet");
    (150..300).for_each(|note| both.note(vec![gone(451, at(note))]));
    assert_eq!(both.rows.aside.borrow().iter().filter(|(form, _)| *form == Form::Sheet).count(), 1, "once and for all");
    let (form, data) = both.rows.aside.borrow().last().unwrap().clone();
    assert_eq!((form, &data), (Form::Sheet, &sheet));
    // That release is back.
    let mut data = data;
    data[0] = 1;
    both.note(form.read(&data).unwrap());
    assert!((0..40).all(|number| both.find(number).is_some()));
}

#[test]
fn who_is_erased_takes_along_what_cannot_be_read_and_may_tell_of_them() {
    let mut both = Both::default();
    both.note((0..400).map(|number| gone(number, at(0))).collect());
    (1..150).for_each(|note| both.note(vec![gone(450, at(note))]));
    let sheets = both.rows.sheets.borrow().len();
    both.rows.sheets.borrow_mut().values_mut().for_each(|sheet| sheet.data[0] = 99);
    both.note(vec![gone(1, at(200)), gone(2, at(200))]);
    ok(both.register.erase(&user(1), &both.rows));
    let unreadable = both.rows.sheets.borrow().values().filter(|sheet| sheet.data[0] == 99).count();
    assert_eq!(unreadable, sheets - 1, "the one that they would be in");
    assert_eq!(both.find(1), None);
    assert!(both.find(2).is_some());
}

#[test]
fn who_was_noted_of_a_sheet_that_is_swept_out_is_not_lost() {
    let mut both = Both::default();
    both.note((0..400).map(|number| gone(number, at(0))).collect());
    let go_on = |both: &mut Both, number: u32, notes: u32| {
        for _ in 0..notes {
            both.now += 60;
            both.note(vec![gone(number, at(both.now))]);
        }
    };
    // All have had their turn.
    go_on(&mut both, 450, 150);
    let sheets: Vec<_> = both.rows.sheets.borrow().values().map(|sheet| sheet.data.clone()).collect();
    let of_sheet = |sheet: &[u8]| {
        let Sheet { departures } = decode(sheet).unwrap();
        departures.into_iter().filter(|gone| gone.user != user(450)).map(|gone| gone.user).next_back().unwrap()
    };
    let numbered = |user: UserId| user.as_str().split_once('-').unwrap().1.parse().unwrap();
    let (of_first, of_last): (u32, u32) =
        (numbered(of_sheet(&sheets[0])), numbered(of_sheet(&sheets[sheets.len() - 1])));
    assert!(sheets.len() > 1);
    // The last sheet has had its turn when they go, and the first one has its next one soon after that.
    both.now += 6 * 86_400;
    go_on(&mut both, of_first, 80);
    go_on(&mut both, of_last, 1);
    go_on(&mut both, of_first, 30);
    both.now += 86_400;
    take(&mut both, Step::Sweep);
    go_on(&mut both, of_first, 120);
    assert!(both.find(of_last).is_some());
    both.check();
}

//! A site agrees with a plain map, whatever happens: clock jumps, restarts and too many guests are ordinary steps.

use crate::kept::Kept;
use crate::{WINDOW, at, guest, name, names, now, place, touch, user};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::collections::BTreeMap;
use whos_online::presence::bounds::Bounds;
use whos_online::presence::id::{DeviceId, GuestKey, TabId};
use whos_online::presence::member::{Evidence, Kind, MemberKey, Signal, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::site::{Filter, LEAVE_GRACE};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

#[derive(Clone, Debug)]
enum Step {
    Touch { who: u8, age: u32, tab: Option<u8>, path: Option<u8>, device: Option<u8> },
    Leave { who: u8 },
    SignOut { who: u8, device: Option<u8> },
    Pass { millis: u32 },
    PutBack { seconds: u32 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let age = prop_oneof![4 => Just(0), 2 => 0..5_000u32, 1 => 0..400_000u32];
    let tab = proptest::option::of(0..3u8);
    let path = proptest::option::of(0..4u8);
    let device = proptest::option::of(1..4u8);
    prop_oneof![
        12 => (0..20u8, age, tab, path, device.clone())
            .prop_map(|(who, age, tab, path, device)| Step::Touch { who, age, tab, path, device }),
        2 => (0..20u8).prop_map(|who| Step::Leave { who }),
        2 => (0..20u8, device).prop_map(|(who, device)| Step::SignOut { who, device }),
        5 => (0..2_000u32).prop_map(|millis| Step::Pass { millis }),
        2 => (0..400_000u32).prop_map(|millis| Step::Pass { millis }),
        1 => (0..4_000u32).prop_map(|seconds| Step::PutBack { seconds }),
        2 => Just(Step::Restart),
    ]
}

/// Ten users, then five guests, then five bots.
fn who(number: u8) -> MemberKey {
    match number {
        0..10 => user(&format!("u{number}")),
        10..15 => guest(u64::from(number)),
        _ => MemberKey::Bot(GuestKey(u64::from(number))),
    }
}

/// The model: a plain map of when each was last seen, and when they go if they said so; and of when those were who are
/// only counted.
#[derive(Default)]
struct Model {
    seen: BTreeMap<u8, (Timestamp, Option<Timestamp>)>,
    merged: Vec<(Kind, Timestamp)>,
    last_seen: BTreeMap<String, Timestamp>,
    /// When users have signed out, on a device or on all of them.
    out: BTreeMap<(u8, Option<u8>), Timestamp>,
    /// When users were last seen on each of their devices; on one that is not told among them.
    devices: BTreeMap<u8, BTreeMap<Option<u8>, Timestamp>>,
}

impl Model {
    fn settle(&mut self, time: Timestamp) {
        let gone = |(seen, leaves): &(Timestamp, Option<Timestamp>)| {
            time.as_secs() - seen.as_secs() > i64::from(WINDOW.0) || leaves.is_some_and(|leaves| leaves <= time)
        };
        let left: Vec<u8> = self.seen.iter().filter(|(_, state)| gone(state)).map(|(&who, _)| who).collect();
        left.into_iter().for_each(|number| self.depart(number));
        self.merged.retain(|(_, seen)| !gone(&(*seen, None)));
    }

    /// Merges whoever of a kind is not told any more, of whom there must be as many as are too many; says when the last of
    /// them was seen.
    fn merge(&mut self, kind: Kind, limit: usize, told: &[String]) -> Option<i64> {
        let of_kind = self.seen.iter().filter(|(number, _)| who(**number).kind() == kind);
        let (kept, merged): (Vec<_>, Vec<_>) = of_kind
            .map(|(&number, (seen, _))| (number, *seen))
            .partition(|(number, _)| told.contains(&name(who(*number).borrow())));
        assert_eq!(merged.len(), (kept.len() + merged.len()).saturating_sub(limit), "no more than have to be");
        for (number, seen) in &merged {
            self.seen.remove(number);
            self.merged.push((kind, *seen));
        }
        merged.iter().map(|(_, seen)| seen.as_secs()).max()
    }

    fn note_device(&mut self, time: Timestamp, number: u8, device: Option<u8>, seen: Timestamp) {
        let devices = self.devices.entry(number).or_default();
        devices.insert(device, seen);
        devices.retain(|_, seen| *seen >= time.minus(WINDOW));
    }

    /// A user signs out, on one device or on all of them: they stay if they were seen on another within the window.
    fn sign_out(&mut self, time: Timestamp, number: u8, device: Option<u8>) {
        let known = self.devices.get(&number).cloned().unwrap_or_default();
        let others = known.iter().filter(|(other, at)| **other != device && **at >= time.minus(WINDOW));
        match others.map(|(_, at)| *at).max().filter(|_| device.is_some()) {
            Some(last) => {
                if let (Some(_), Some((seen, _))) = (known.get(&device), self.seen.get_mut(&number)) {
                    *seen = last;
                }
                self.devices.entry(number).or_default().remove(&device);
            }
            None => self.depart(number),
        }
    }

    fn depart(&mut self, number: u8) {
        self.devices.remove(&number);
        if let (MemberKey::User(id), Some((seen, _))) = (who(number), self.seen.remove(&number)) {
            let kept = self.last_seen.entry(id.as_str().into()).or_insert(seen);
            *kept = (*kept).max(seen);
        }
    }
}

/// What failed once is kept beside this file.
fn config() -> ProptestConfig {
    let beside = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig { failure_persistence: Some(Box::new(beside)), ..ProptestConfig::with_cases(400) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_site_agrees_with_a_map_of_last_seen_times(
        guests in 0..6usize, bots in 0..6usize, steps in proptest::collection::vec(step(), 0..120)
    ) {
        let mut time = at(0);
        let mut kept = Kept::within(Bounds { guests, bots, ..WINDOW.into() }, time);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Touch { who: number, age, tab, path, device } => {
                    model.settle(time);
                    let seen = time.minus(Millis(age));
                    let known = model.seen.get(&number).map(|(seen, _)| *seen);
                    let is_user = matches!(who(number), MemberKey::User(_));
                    let device = device.filter(|_| is_user);
                    let out = |device| model.out.get(&(number, device)).is_some_and(|out| seen < *out);
                    // They have signed out since, there or on all devices.
                    let (out, out_there) = (out(None), device.is_some() && out(device));
                    if known.is_none_or(|known| known <= seen && !out_there) {
                        model.seen.insert(number, (seen, None));
                        model.note_device(time, number, device, seen);
                        model.settle(time);
                    } else if known.is_some() && !out_there {
                        // What else it tells is no longer so.
                        let devices = model.devices.get(&number);
                        if devices.is_none_or(|devices| !devices.contains_key(&device)) {
                            model.note_device(time, number, device, seen);
                        }
                    }
                    if known.is_none() && (out || out_there) {
                        model.depart(number);
                    }
                    let tab = tab.map(|tab| TabId(u32::from(tab)));
                    let place = path.map(|path| place(&format!("/{path}"), None));
                    let device = device.map(|device| DeviceId(u64::from(device)));
                    let said = device.map(|_| Evidence { device, ..Evidence::default() });
                    let signal = Signal::Touch(Touch { tab, place, said, ..touch(who(number)) });
                    kept.apply(time, vec![Report { age: Millis(age), signal }]);
                }
                Step::Leave { who: number } => {
                    model.settle(time);
                    if let Some((_, leaves)) = model.seen.get_mut(&number) {
                        *leaves = Some(time.plus(LEAVE_GRACE));
                        model.devices.remove(&number);
                    }
                    kept.apply(time, vec![now(Signal::Leave { key: who(number), tab: None })]);
                }
                Step::SignOut { who: number, device } => {
                    model.settle(time);
                    if let MemberKey::User(id) = who(number) {
                        model.sign_out(time, number, device);
                        // It is known for a minute, and no longer than until the next one signs out.
                        model.out.retain(|_, out| time.since(*out) < Millis(60_000));
                        model.out.insert((number, device), time);
                        let device = device.map(|device| DeviceId(u64::from(device)));
                        kept.apply(time, vec![now(Signal::SignOut { user: id, device })]);
                    }
                }
                Step::Pass { millis } => time = time.plus(Millis(millis)),
                Step::PutBack { seconds } => {
                    model.settle(time);
                    time = time.minus(Seconds(seconds));
                    for (seen, leaves) in model.seen.values_mut() {
                        *seen = (*seen).min(time);
                        *leaves = leaves.map(|leaves| leaves.min(time.plus(LEAVE_GRACE)));
                    }
                    model.devices.values_mut().flat_map(BTreeMap::values_mut).for_each(|at| *at = (*at).min(time));
                    model.merged.iter_mut().for_each(|(_, seen)| *seen = (*seen).min(time));
                    if seconds > 0 {
                        model.out.clear();
                    }
                    // What departed keeps the time that it was given by the clock of then.
                }
                Step::Restart => {
                    kept.restart(time);
                    model.out.clear();
                }
            }
            kept.advance(time);
            model.settle(time);
            for (kind, limit) in [(Kind::Guest, guests), (Kind::Bot, bots)] {
                let last = model.merge(kind, limit, &names(&kept.site, kind));
                let (told, _) = kept.site.list(kind, &Filter::default(), None, usize::MAX);
                prop_assert!(told.iter().all(|view| last.is_none_or(|last| last <= view.last_seen.as_secs())), "the oldest");
            }
            let mut expected: [Vec<String>; 3] = Default::default();
            let mut order: Vec<_> = model.seen.iter().map(|(&number, (seen, _))| (*seen, number)).collect();
            order.sort();
            for (_, number) in order {
                match who(number) {
                    MemberKey::User(id) => expected[0].push(id.as_str().into()),
                    key @ MemberKey::Guest(_) => expected[1].push(name(key.borrow())),
                    key @ MemberKey::Bot(_) => expected[2].push(name(key.borrow())),
                }
            }
            for (kind, expected) in [Kind::User, Kind::Guest, Kind::Bot].into_iter().zip(&mut expected) {
                let mut found = names(&kept.site, kind);
                let last_seen: Vec<_> = kept.site.list(kind, &Filter::default(), None, usize::MAX).0.iter()
                    .map(|view| view.last_seen).collect();
                prop_assert!(last_seen.is_sorted_by(|a, b| a >= b), "newest first");
                found.sort();
                expected.sort();
                prop_assert_eq!(&found, expected);
            }
            let counts = kept.site.counts();
            let merged = |kind| model.merged.iter().filter(|(merged, _)| *merged == kind).count();
            prop_assert_eq!(kept.site.merged(), (merged(Kind::Guest), merged(Kind::Bot)));
            prop_assert_eq!(counts.users, expected[0].len());
            prop_assert_eq!(counts.total, expected[0].len() + expected[1].len() + merged(Kind::Guest));
            prop_assert_eq!(counts.bots, expected[2].len() + merged(Kind::Bot));
            let on_pages: usize = kept.site.pages(usize::MAX).iter().map(|page| page.total()).sum();
            prop_assert!(on_pages <= counts.total);
            prop_assert_eq!(&kept.last_seen(), &model.last_seen);
        }
    }
}

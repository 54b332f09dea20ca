//! More than a batch has room for: whatever is dropped, it is no user's as long as it can be a guest's, it is no sign-out as
//! long as it can be anything else, and whoever was dropped is sent again at their next request.

use proptest::prelude::*;
use whos_online::presence::id::{GuestKey, PagePath, UserId};
use whos_online::presence::member::{Kind, MemberKey, Place, Signal, Touch};
use whos_online::presence::recorder::{MAX_BATCH, Recorder};
use whos_online::presence::reports::{Report, Reports};
use whos_online::presence::time::{Seconds, Timestamp};

/// How many guests were here before.
const KNOWN: usize = 900;

#[derive(Clone, Debug)]
enum Step {
    /// So many of a kind come, each to a page that nobody was on before.
    Come { kind: Kind, many: usize },
    /// Guests who were here are here still.
    Refresh { many: usize },
    /// So many of a kind close their page.
    Leave { kind: Kind, many: usize },
    /// So many users sign out.
    SignOut { many: usize },
    /// The batch is sent, or cannot be.
    Send { taken: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let kind = || prop_oneof![3 => Just(Kind::Guest), 2 => Just(Kind::User), 1 => Just(Kind::Bot)];
    prop_oneof![
        6 => (kind(), 0..700usize).prop_map(|(kind, many)| Step::Come { kind, many }),
        2 => (0..400usize).prop_map(|many| Step::Refresh { many }),
        2 => (kind(), 0..300usize).prop_map(|(kind, many)| Step::Leave { kind, many }),
        2 => (0..700usize).prop_map(|many| Step::SignOut { many }),
        2 => any::<bool>().prop_map(|taken| Step::Send { taken }),
    ]
}

fn key(kind: Kind, number: usize) -> MemberKey {
    match kind {
        Kind::User => MemberKey::User(UserId::parse(format!("u{number}")).unwrap()),
        Kind::Guest => MemberKey::Guest(GuestKey(number as u64)),
        Kind::Bot => MemberKey::Bot(GuestKey(number as u64)),
    }
}

fn touch(key: MemberKey, page: usize) -> Signal {
    let place = PagePath::parse(format!("/{page}")).ok().map(|path| Place { path, title: None, topic: None });
    Signal::Touch(Touch { place, ..Touch::of(key) })
}

/// How much of it there is: the more, the later it may be dropped.
fn worth(signal: &Signal, refresh: bool) -> u8 {
    match signal {
        Signal::SignOut { .. } => 3,
        _ if refresh => 0,
        Signal::Touch(Touch { key, .. }) | Signal::Leave { key, .. } => 1 + u8::from(key.kind() == Kind::User),
    }
}

/// The recorder, and all that it was given since the last batch that was taken, with what each was worth.
struct Overloaded {
    recorder: Recorder,
    now: Timestamp,
    given: Vec<(Signal, u8)>,
    dropped: u32,
}

impl Overloaded {
    fn give(&mut self, signal: Signal, refresh: bool) {
        self.recorder.take(self.now, signal.clone());
        let suppressed = self.recorder.counted();
        self.dropped += suppressed.shed;
        if suppressed.suppressed == 0 {
            self.given.push((signal.clone(), worth(&signal, refresh)));
        }
    }

    /// What is left is as much as there is room for, in the order in which it was given, and nothing that was dropped was
    /// worth more than anything that is left.
    fn check(&mut self, reports: &Reports) {
        let left: Vec<Signal> = Vec::<Report>::from(reports.clone()).into_iter().map(|report| report.signal).collect();
        assert_eq!(left.len(), self.given.len().min(MAX_BATCH));
        assert_eq!(self.given.len() - left.len(), self.dropped as usize, "and it is known how many were dropped");
        let mut expected = left.iter().peekable();
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        for (signal, worth) in self.given.drain(..) {
            let found = expected.next_if(|next| **next == signal).is_some();
            if found { kept.push((signal, worth)) } else { dropped.push((signal, worth)) }
        }
        assert_eq!(expected.next(), None, "in order");
        let least = kept.iter().map(|(_, worth)| *worth).min();
        assert!(dropped.iter().all(|(_, worth)| least.is_none_or(|least| *worth <= least)));
        self.given = kept;
        self.dropped = 0;
        for (signal, _) in dropped.into_iter().rev().take(20) {
            let again = self.given.iter().any(|(other, _)| key_of(other) == key_of(&signal));
            if let (Signal::Touch(_), false) = (&signal, again) {
                let taken = self.recorder.take_of_page(self.now, signal, |_| None);
                assert!(taken.kept, "whoever was dropped is sent again");
            }
        }
        self.recorder.drain(self.now);
        self.recorder.counted();
    }
}

fn key_of(signal: &Signal) -> MemberKey {
    match signal {
        Signal::Touch(Touch { key, .. }) | Signal::Leave { key, .. } => key.clone(),
        Signal::SignOut { user, .. } => MemberKey::User(user.clone()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn overload_never_loses_a_user_as_long_as_there_is_a_guest_to_lose(steps in proptest::collection::vec(step(), 1..12)) {
        let now = Timestamp::from_millis(1_795_203_180_000);
        let recorder = Recorder::new(Seconds(30), Seconds(3600), now);
        let mut site = Overloaded { recorder, now, given: Vec::new(), dropped: 0 };
        // Guests who can be refreshed, each once: who was dropped is news the next time.
        for number in 0..KNOWN {
            site.recorder.take(now, touch(key(Kind::Guest, number), 0));
        }
        site.recorder.drain(now);
        site.recorder.counted();
        site.now = now.plus(Seconds(40));
        let (mut next, mut refreshed) = (KNOWN, 0);
        for step in steps {
            match step {
                Step::Come { kind, many } => (0..many).for_each(|_| {
                    next += 1;
                    site.give(touch(key(kind, next), next), false);
                }),
                Step::Refresh { many } => {
                    site.now = site.now.plus(Seconds(31));
                    let these = refreshed..(refreshed + many).min(KNOWN);
                    refreshed = these.end;
                    these.for_each(|number| site.give(touch(key(Kind::Guest, number), 0), true));
                }
                Step::Leave { kind, many } => (0..many).for_each(|_| {
                    next += 1;
                    site.give(Signal::Leave { key: key(kind, next), tab: None }, false);
                }),
                Step::SignOut { many } => (0..many).for_each(|_| {
                    next += 1;
                    if let MemberKey::User(user) = key(Kind::User, next) {
                        site.give(Signal::SignOut { user, device: None }, false);
                    }
                }),
                Step::Send { taken } => {
                    let reports = site.recorder.drain(site.now);
                    if taken {
                        site.check(&reports);
                        site.given.clear();
                    } else {
                        site.recorder.put_back(site.now, reports, Default::default());
                        // How soon each was to be sent is not known any more.
                        site.dropped += site.recorder.counted().shed;
                        site.given.iter_mut().for_each(|(_, worth)| *worth = (*worth).max(1));
                    }
                }
            }
        }
        let reports = site.recorder.drain(site.now);
        site.check(&reports);
    }

    #[test]
    fn a_batch_never_grows_beyond_its_room_whatever_is_in_it(kind in 0..3u8, taken in 0..3000usize) {
        let now = Timestamp::from_millis(1_795_203_180_000);
        let mut recorder = Recorder::new(Seconds(0), Seconds(300), now);
        for number in 0..taken {
            let signal = match (kind, key(Kind::User, number)) {
                (0, user) => touch(user, number),
                (1, MemberKey::User(user)) => Signal::SignOut { user, device: None },
                (_, user) => Signal::Leave { key: user, tab: None },
            };
            recorder.take(now, signal);
        }
        prop_assert_eq!(recorder.drain(now).list.len(), taken.min(MAX_BATCH));
    }
}

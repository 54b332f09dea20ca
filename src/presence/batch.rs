//! The batch that an isolate is gathering, and what is dropped of it where more comes than it has room for.

use super::id::{DeviceId, UserId};
use super::member::{KeyRef, Kind, MemberKey, Signal, Touch};
use super::reports::{Report, Reports};
use super::time::{Millis, Timestamp};

/// The most signals in a batch.
pub const MAX_BATCH: usize = 1000;

/// How long it is waited for a page to connect of somebody whose last one did.
pub const CONNECTING: Millis = Millis(3000);

/// A timer may be so much too early.
const LATE: Millis = Millis(100);

/// A signal, when it was taken, and how soon it has to be sent.
type Waiting = (Timestamp, Urgency, Signal);

/// Signals in the order in which they came.
#[derive(Default)]
pub struct Batch(Vec<Waiting>);

/// How soon something has to be sent, and how much of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// That somebody is here still.
    Refresh,
    /// That somebody is on another page, which is about to connect and can tell that, too.
    Echo,
    /// That a page was closed: nobody has gone yet, as the next one may be about to open.
    Leave,
    /// That somebody comes or moves.
    News,
    /// That somebody signs in or out, or wants to be shown otherwise: it is not told for long what is not so.
    Prompt,
}

/// What is dropped before what, where more comes than a batch has room for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// Whoever is refreshed is online already.
    Refresh,
    /// News of a guest or a bot: anybody can make up more of them than there is room for.
    Guest,
    /// News of a user.
    User,
    /// That a user signs out: what is dropped of others they tell again, and this nobody does.
    SignOut,
}

impl Worth {
    fn of((_, urgency, signal): &Waiting) -> Self {
        let kind = match signal {
            Signal::SignOut { .. } => return Self::SignOut,
            Signal::Touch(Touch { key, .. }) | Signal::Leave { key, .. } => key.kind(),
        };
        match (urgency, kind) {
            (Urgency::Refresh, _) => Self::Refresh,
            (_, Kind::User) => Self::User,
            (_, Kind::Guest | Kind::Bot) => Self::Guest,
        }
    }
}

impl Batch {
    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is anything that nobody else tells.
    pub fn has_news(&self) -> bool {
        self.0.iter().any(|(_, urgency, _)| *urgency > Urgency::Echo)
    }

    /// Adds a signal: whether there is room for it, and what is dropped.
    pub fn push(&mut self, now: Timestamp, urgency: Urgency, signal: Signal) -> (bool, Vec<Signal>) {
        let one = (now, urgency, signal);
        let kept = self.len() < MAX_BATCH || self.0.iter().any(|other| Worth::of(other) < Worth::of(&one));
        if urgency != Urgency::Echo {
            self.hurry_echoes_before(&one.2);
        }
        self.0.push(one);
        (kept, self.drop_excess())
    }

    /// All that is to be sent by now, each with its age; and whose pages have not connected.
    pub fn take(&mut self, now: Timestamp) -> (Reports, Vec<MemberKey>) {
        let mut missed = Vec::new();
        let due = |(at, urgency, _): &mut Waiting| {
            *urgency != Urgency::Echo || now < *at || now.since(*at).0 + LATE.0 >= CONNECTING.0
        };
        let report = |(at, urgency, signal): Waiting| {
            if urgency == Urgency::Echo {
                missed.push(signal.key().owned());
            }
            Report { age: now.since(at), signal }
        };
        let reports = self.0.extract_if(.., due).map(report).collect();
        (reports, missed)
    }

    /// Takes back what was taken, ahead of what has come since. What is dropped is given back.
    pub fn put_back(&mut self, now: Timestamp, reports: Reports) -> Vec<Signal> {
        let reports = Vec::from(reports).into_iter();
        let mut returned: Vec<_> =
            reports.map(|report| (now.minus(report.age), Urgency::News, report.signal)).collect();
        returned.append(&mut self.0);
        self.0 = returned;
        self.drop_excess()
    }

    /// What was to be told of where somebody is, and their page can tell itself, as it connects; also of who they were
    /// until now, or that one would come again when they are known otherwise already.
    pub fn take_touches_of(&mut self, key: KeyRef<'_>) -> Vec<Signal> {
        let mut keys = vec![key.owned()];
        for (_, _, signal) in self.0.iter().rev() {
            if let Signal::Touch(Touch { key, was: Some(was), .. }) = signal
                && keys.contains(key)
            {
                keys.push(was.clone());
            }
        }
        let of_them =
            |(_, _, signal): &mut Waiting| matches!(signal, Signal::Touch(Touch { key, .. }) if keys.contains(key));
        self.0.extract_if(.., of_them).map(|(_, _, signal)| signal).collect()
    }

    /// What was told of somebody before goes before what is told of them now: a page's touch that came after a sign-out, or
    /// after the guest became a user, would have them here again.
    fn hurry_echoes_before(&mut self, signal: &Signal) {
        let was = if let Signal::Touch(touch) = signal { touch.was.as_ref().map(MemberKey::borrow) } else { None };
        for (_, urgency, before) in &mut self.0 {
            if *urgency == Urgency::Echo && (before.key() == signal.key() || Some(before.key()) == was) {
                *urgency = Urgency::News;
            }
        }
    }

    /// Drops what is said of a user, or what one of their devices has told.
    pub fn drop_all_of(&mut self, user: &UserId, device: Option<DeviceId>) {
        self.0.retain(|(_, _, signal)| {
            let of_device = matches!(signal, Signal::Touch(touch) if touch.device() == device);
            signal.key() != MemberKey::User(user) || !(device.is_none() || of_device)
        });
    }

    /// Drops what there is no room for: what is worth least, and of that what came last. The others stay in order: a
    /// sign-out after a touch is not one before it.
    fn drop_excess(&mut self) -> Vec<Signal> {
        let mut dropped = Vec::new();
        for worth in [Worth::Refresh, Worth::Guest, Worth::User, Worth::SignOut] {
            let excess = self.len().saturating_sub(MAX_BATCH);
            if excess == 0 {
                break;
            }
            let of_it = |one: &Waiting| Worth::of(one) == worth;
            let mut spared = self.0.iter().filter(|one| of_it(one)).count().saturating_sub(excess);
            let too_much = |one: &mut Waiting| {
                let goes = of_it(one) && spared == 0;
                spared -= usize::from(of_it(one) && !goes);
                goes
            };
            dropped.extend(self.0.extract_if(.., too_much).map(|(_, _, signal)| signal));
        }
        dropped
    }
}

//! What an isolate remembers of recent visitors, and the batch that it is gathering.
//!
//! It decides what is sent at once, what later and what not at all. It does not send: it says when the batch is due.

use super::attention::{Attention, QUIET_HOLD};
pub use super::batch::MAX_BATCH;
use super::batch::{Batch, CONNECTING, Urgency};
use super::budget::{Inflow, Payer};
use super::ended::Ended;
use super::id::{DeviceId, UserId};
use super::member::{KeyRef, Kind, MemberKey, Signal, State, Touch};
use super::recent::{Recent, Remembered, digest};
use super::reports::Reports;
use super::time::{Millis, Seconds, Timestamp};
use super::totals::Counted;
use super::watchers::PACE;

/// How long a batch with an arrival, a move or a leave is held, so that others can join it.
const HOLD: Millis = Millis(200);

/// How long before those who watch are told next a batch is sent: timers are late at times.
const LEAD: Millis = Millis(10);

/// How long a batch of nothing but refreshes is held at the most. These are in no hurry: a member is online for
/// `TOUCH_RESOLUTION` beyond the online window.
pub const LAZY_HOLD: Millis = Millis(5000);

/// With so many a batch is held no longer: more may come before it is sent.
const FULL: usize = MAX_BATCH / 2;

/// The recorder of one isolate for one site.
pub struct Recorder {
    resolution: Seconds,
    window: Seconds,
    recent: Recent,
    batch: Batch,
    /// Who is known by their key no more, and since when.
    ended: Ended,
    due: Option<Timestamp>,
    looked_at: LookedAt,
    /// When somebody came last whose page another isolate must have answered: they told no place, and nobody knew them.
    strayed: Option<Timestamp>,
    /// What visitors have told of late; none where nobody is held to anything.
    inflow: Option<Inflow>,
    counted: Counted,
}

/// What comes of a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How long from now the batch has to be sent, if somebody must see to that who was not asked before.
    pub due: Option<Millis>,
    /// Whether it goes with the batch.
    pub kept: bool,
}

/// Who is known to want news: until it is known, it is taken that somebody asks.
#[derive(Clone, Copy)]
enum LookedAt {
    /// Those who watch are told next at that time.
    Watched(Timestamp),
    Asked,
    ByNobody,
}

impl Recorder {
    /// A recorder that remembers nobody. Within `resolution` a touch that tells nothing new is not sent again; after
    /// `window` a visitor is new.
    pub fn new(resolution: Seconds, window: Seconds, now: Timestamp) -> Self {
        Self {
            resolution,
            window,
            recent: Recent::new(window, now),
            batch: Batch::default(),
            ended: Ended::default(),
            due: None,
            looked_at: LookedAt::Asked,
            strayed: None,
            inflow: None,
            counted: Counted::default(),
        }
    }

    /// The same where no visitor may cost more than their [`budget`](super::budget), and so many guests of one client are let in.
    pub fn with_budgets(mut self, client_guests: u32) -> Self {
        self.inflow = Some(Inflow::new(client_guests, self.window));
        self
    }

    /// Takes a signal, and says how long from now the batch has to be sent, if somebody must see to that who was not
    /// asked before.
    pub fn take(&mut self, now: Timestamp, mut signal: Signal) -> Option<Millis> {
        let urgency = self.admit(now, &mut signal, None::<fn(&Touch) -> Option<Timestamp>>)?;
        self.add(now, signal, urgency).due
    }

    /// The same of a page that was asked for. Another isolate may have recorded the visitor: `seen` says when that was, as
    /// the request has a word of it. It is asked only where it matters.
    pub fn take_of_page(
        &mut self,
        now: Timestamp,
        mut signal: Signal,
        seen: impl FnOnce(&Touch) -> Option<Timestamp>,
    ) -> Taken {
        let urgency = self.admit(now, &mut signal, Some(seen));
        urgency.map_or(Taken::default(), |urgency| self.add(now, signal, urgency))
    }

    /// Whether other isolates serve the same visitors, as far as is known: then it spares touches to give these a word of
    /// who was recorded. That costs about 15 µs a page, and spares a busy site up to a quarter of its signals; where an
    /// isolate is alone, and on most sites it is, there is nothing to spare.
    pub fn has_neighbours(&self, now: Timestamp) -> bool {
        self.strayed.is_some_and(|at| at <= now && now.since(at) <= Millis(self.window.0.saturating_mul(1000)))
    }

    /// The same where a refresh needs not be sent.
    pub fn take_news(&mut self, now: Timestamp, mut signal: Signal) -> Option<Millis> {
        let urgency = self.admit(now, &mut signal, None::<fn(&Touch) -> Option<Timestamp>>)?;
        if urgency > Urgency::Refresh { self.add(now, signal, urgency).due } else { None }
    }

    /// Whether a signal is worth sending, and if so how soon.
    fn admit(
        &mut self,
        now: Timestamp,
        signal: &mut Signal,
        of_page: Option<impl FnOnce(&Touch) -> Option<Timestamp>>,
    ) -> Option<Urgency> {
        self.counted.received = self.counted.received.saturating_add(1);
        let urgency = match signal {
            Signal::Touch(touch) => {
                if !self.may_tell(now, touch) {
                    return self.leave_out();
                }
                let urgency = self.consider(now, touch, of_page);
                self.counted.suppressed = self.counted.suppressed.saturating_add(u32::from(urgency.is_none()));
                urgency
            }
            Signal::Leave { key, .. } => {
                let (known, payer) = (self.recent.find(digest(key)).is_some(), Payer::of(key.borrow()));
                if self.inflow.as_mut().is_some_and(|inflow| !inflow.leaves(payer, known, now)) {
                    return self.leave_out();
                }
                self.forget(key);
                Some(Urgency::Leave)
            }
            Signal::SignOut { user, device } => {
                let key = MemberKey::User(user.clone());
                // Only who has been here since they signed out last signs out again.
                let again = self.recent.find(digest(&key)).is_none();
                if again && self.inflow.as_mut().is_some_and(|inflow| !inflow.is_prompt(Payer::of(key.borrow()), now)) {
                    return self.leave_out();
                }
                self.end(now, &key, *device);
                return Some(Urgency::Prompt);
            }
        };
        urgency.map(|urgency| self.paced(now, signal, urgency))
    }

    /// Counts what is not told, as whoever it is of has spent their budget.
    fn leave_out(&mut self) -> Option<Urgency> {
        self.counted.shed = self.counted.shed.saturating_add(1);
        None
    }

    /// Whether a visitor may be told of, as far as their budget goes. Who changes too often stays as they were.
    fn may_tell(&mut self, now: Timestamp, touch: &mut Touch) -> bool {
        let Some(inflow) = &mut self.inflow else { return true };
        let (known, payer) = (self.recent.find(digest(&touch.key)), Payer::of(touch.key.borrow()));
        if known.is_none() && !inflow.admits(payer, now) {
            return false;
        }
        let (place, tab) = (touch.place.as_ref().map(digest), touch.tab.as_ref().map(digest));
        let profile = touch.profile.as_ref().map(digest);
        let changes = touch.was.is_some()
            || known.is_none_or(|known| {
                let differs = |told: Option<u64>, known| told.is_some_and(|told| told != known);
                let stays = known.state == touch.state || !touch.arrives;
                let moves = differs(place, known.place) || differs(tab, known.tab) || !stays;
                moves || differs(profile, known.profile)
            });
        // Where every request is recorded, even one that changes nothing counts.
        if !(changes || self.resolution == Seconds(0)) || inflow.may_move(payer, now) {
            return true;
        }
        let hides = touch.profile.as_ref().is_some_and(|profile| profile.invisible);
        if known.is_none() && touch.key.kind() == Kind::User {
            // They come and go all the time.
            return hides && inflow.is_prompt(payer, now);
        }
        let state = known.map_or(touch.state, |known| known.state);
        (touch.was, touch.place, touch.tab, touch.state) = (None, None, None, state);
        touch.profile.take_if(|_| !hides);
        changes
    }

    /// How soon it is sent of a visitor who may have told much of late. Whoever hides waits for nothing.
    fn paced(&mut self, now: Timestamp, signal: &Signal, urgency: Urgency) -> Urgency {
        let hides =
            matches!(signal, Signal::Touch(touch) if touch.profile.as_ref().is_some_and(|profile| profile.invisible));
        let paced = urgency > Urgency::Echo && !(hides && urgency == Urgency::Prompt);
        let inflow = self.inflow.as_mut().filter(|_| paced);
        let prompt = inflow.is_none_or(|inflow| inflow.is_prompt(Payer::of(signal.key()), now));
        if prompt { urgency } else { Urgency::Patient }
    }

    fn add(&mut self, now: Timestamp, signal: Signal, urgency: Urgency) -> Taken {
        let (kept, dropped) = self.batch.push(now, urgency, signal);
        self.shed(&dropped);
        let due = if kept && self.batch.len().is_multiple_of(FULL) {
            // Whoever was to send it may be late because so much comes.
            self.due = Some(now);
            Some(Millis(0))
        } else if urgency == Urgency::Echo {
            // What is sent before does not take it along.
            Some(CONNECTING)
        } else {
            self.schedule(now, self.hold(now, urgency))
        };
        Taken { due: due.filter(|_| kept), kept }
    }

    /// Notes that a page of somebody connects, and gives what was to be sent of it: it can tell that along.
    pub fn connects(&mut self, now: Timestamp, key: KeyRef<'_>) -> Vec<Signal> {
        self.recent.turn(now);
        let digest = digest(&key);
        if let Some(known) = self.recent.find(digest) {
            self.recent.put(digest, Remembered { at: now, connects: true, ..known });
        }
        self.batch.take_touches_of(key)
    }

    /// Says that where somebody is and which of their pages that is will be told next, and is news whatever it is: it may have
    /// been taken out of a batch, and meanwhile others may have told otherwise.
    pub fn tells_next(&mut self, key: KeyRef<'_>) {
        let key = digest(&key);
        if let Some(known) = self.recent.find(key) {
            self.recent.put(key, Remembered { place: 0, tab: 0, ..known });
        }
    }

    /// Says who wants to know what is new, as it was answered to what was sent at `sent`.
    ///
    /// For those who watch news is sent just before they are told next, or at once where they wait for nothing: so it
    /// waits for one pace, not for one here and another one there. As long as it took to hear of it, it takes to tell.
    /// Where nobody looks there is no hurry, and what is sent together costs one row.
    pub fn heed(&mut self, sent: Timestamp, now: Timestamp, attention: Attention) {
        self.counted.answered_in = Some(now.since(sent));
        self.looked_at = match attention {
            Attention::Watched(next) => {
                let at = now.plus(next).minus(now.since(sent)).minus(LEAD);
                // What comes too late for one telling waits for the one after it.
                LookedAt::Watched(if next > Millis(0) && at <= now { at.plus(PACE) } else { at })
            }
            Attention::Asked => LookedAt::Asked,
            Attention::Nobody => LookedAt::ByNobody,
        };
    }

    /// Counts that an object could not read a row that it needed.
    pub fn count_unreadable(&mut self) {
        self.counted.unreadable = self.counted.unreadable.saturating_add(1);
    }

    /// What was counted since this was asked last.
    pub fn counted(&mut self) -> Counted {
        std::mem::take(&mut self.counted)
    }

    fn hold(&self, now: Timestamp, urgency: Urgency) -> Millis {
        match (self.looked_at, urgency) {
            (_, Urgency::Refresh | Urgency::Patient) => self.lazy_hold(now),
            (_, Urgency::Echo) => CONNECTING,
            // It takes less time to go from page to page, and what that tells is then stored together.
            (LookedAt::Watched(_), Urgency::Leave) => PACE,
            (LookedAt::Watched(at), _) => at.since(now).min(PACE),
            (LookedAt::ByNobody, Urgency::Leave | Urgency::News) => self.quiet_hold(now),
            (LookedAt::Asked | LookedAt::ByNobody, _) => HOLD,
        }
    }

    /// Until the next of the moments at which all isolates send; where the window is short, a small part of it, or whoever
    /// comes would be known when they have gone.
    fn quiet_hold(&self, now: Timestamp) -> Millis {
        let since = now.as_millis().rem_euclid(i64::from(QUIET_HOLD.0));
        let until = Millis(QUIET_HOLD.0.saturating_sub(since as u32));
        until.min(Millis(self.window.0.saturating_mul(100)).max(HOLD))
    }

    /// The batch, if there is one, with each signal's age; it is due no more.
    pub fn drain(&mut self, now: Timestamp) -> Reports {
        self.due = None;
        if let LookedAt::Watched(at) = &mut self.looked_at {
            // Until it is known better: those who watch are told of this batch, and then wait for the next one.
            *at = now.plus(PACE);
        }
        let (reports, missed) = self.batch.take(now);
        for key in missed {
            // The next one is not waited for.
            let key = digest(&key);
            if let Some(known) = self.recent.find(key) {
                self.recent.put(key, Remembered { connects: false, ..known });
            }
        }
        reports
    }

    /// Takes back a batch that could not be sent, and what was counted, ahead of what has come since, as far as there is
    /// room. It goes with the next batch, but for what was told of somebody who is known by that key no more: it would have
    /// them here again.
    pub fn put_back(&mut self, now: Timestamp, mut reports: Reports, counted: Counted) {
        reports.list.retain(|report| match &report.signal {
            Signal::Touch(touch) => {
                let at = now.minus(report.age);
                let there = touch.device().map(|device| digest(&(&touch.key, device)));
                !self.ended.is_late(digest(&touch.key), at) && !there.is_some_and(|there| self.ended.is_late(there, at))
            }
            Signal::Leave { .. } | Signal::SignOut { .. } => true,
        });
        self.counted.add(Counted { failed: counted.failed.saturating_add(1), ..counted });
        let dropped = self.batch.put_back(now, reports);
        self.shed(&dropped);
    }

    /// Notes that somebody is known by that key no more, or no more on one of their devices.
    pub fn end(&mut self, now: Timestamp, key: &MemberKey, device: Option<DeviceId>) {
        self.forget(key);
        let ended = device.map_or_else(|| digest(key), |device| digest(&(key, device)));
        self.recent.forget(ended);
        self.ended.note(ended, now, now);
    }

    /// Forgets a user, or what was heard of them from one of their devices, and what of that was still to be sent.
    pub fn erase(&mut self, now: Timestamp, user: &UserId, device: Option<DeviceId>) {
        self.end(now, &MemberKey::User(user.clone()), device);
        self.batch.drop_all_of(user, device);
    }

    /// Whether a batch is waiting that holds more than refreshes: whoever reads next should see it sent first.
    pub fn has_news(&self) -> bool {
        self.batch.has_news()
    }

    /// Whether such a batch is due by now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.has_news() && self.due.is_some_and(|due| due <= now)
    }

    /// Whether anything at all is waiting to be sent.
    pub fn is_waiting(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Whether a touch is worth sending, and if so how soon.
    fn consider(
        &mut self,
        now: Timestamp,
        touch: &Touch,
        of_page: Option<impl FnOnce(&Touch) -> Option<Timestamp>>,
    ) -> Option<Urgency> {
        self.recent.turn(now);
        if let Some(was) = &touch.was {
            self.end(now, was, None);
        }
        let key = digest(&touch.key);
        let known = self.recent.find(key);
        // A clock that was put back makes nobody wait.
        let known = known.filter(|known| known.at <= now && now.since(known.at) <= Millis(self.window.0 * 1000));
        // Who was only refreshed may not be here.
        let known = known.filter(|known| known.arrived || !touch.arrives);
        let or_known = |value: Option<u64>, before: fn(&Remembered) -> u64| {
            value.or(known.as_ref().map(before)).unwrap_or_default()
        };
        let next = Remembered {
            at: now,
            place: or_known(touch.place.as_ref().map(digest), |k| k.place),
            tab: or_known(touch.tab.as_ref().map(digest), |k| k.tab),
            state: known.filter(|_| !touch.arrives).map_or(touch.state, |known| known.state),
            profile: or_known(touch.profile.as_ref().map(digest), |k| k.profile),
            connects: known.is_some_and(|known| known.connects),
            arrived: touch.arrives || known.is_some_and(|known| known.arrived),
        };
        // On a device where they were not seen of late they are news, or nobody would know that they stay there.
        let device = touch.device().filter(|_| touch.key.kind() == Kind::User);
        let there = device.map(|device| digest(&(&touch.key, device)));
        let in_time = |known: &Remembered| known.at <= now && now.since(known.at) <= Millis(self.window.0 * 1000);
        let known_there = there.map(|there| self.recent.find(there).filter(in_time));
        // Whoever is about to fall out of the window cannot wait for a lazy batch.
        let late = known.is_some_and(|known| now.since(known.at).0 + self.lazy_hold(now).0 >= self.window.0 * 1000);
        let signs_in = touch.was.is_some() && touch.key.kind() == Kind::User;
        let hides = touch.profile.as_ref().is_some_and(|profile| profile.invisible);
        let shown_otherwise = known.map_or(hides, |known| known.profile != next.profile);
        let moved = |known: Remembered| (known.place, known.tab, known.state) != (next.place, next.tab, next.state);
        let urgency = match known {
            _ if signs_in || shown_otherwise => Urgency::Prompt,
            Some(_) if known_there.is_some_and(|known| known.is_none()) => Urgency::News,
            Some(known) if !late && !moved(known) => Urgency::Refresh,
            Some(known) if !late && known.connects && of_page.is_some() => Urgency::Echo,
            None if !touch.arrives => Urgency::Refresh,
            _ => Urgency::News,
        };
        let is_fresh = |known: Remembered| now.since(known.at) < Millis(self.resolution.0 * 1000);
        let fresh_there = known_there.is_none_or(|known| known.is_some_and(is_fresh));
        let fresh = known.is_some_and(is_fresh) && fresh_there;
        if urgency == Urgency::Refresh && fresh {
            return None;
        }
        if known.is_none() && is_bare(touch) {
            self.strayed = Some(now);
            // So short a time ago that they will be seen again well within the window.
            let recent = |at: &Timestamp| now.since(*at) < Millis(self.resolution.0 * 1000) && !hides;
            if let Some(at) = of_page.and_then(|seen| seen(touch)).filter(recent) {
                there.into_iter().chain([key]).for_each(|key| self.recent.put(key, Remembered { at, ..next }));
                return None;
            }
        }
        there.into_iter().chain([key]).for_each(|key| self.recent.put(key, next));
        Some(urgency)
    }

    fn lazy_hold(&self, now: Timestamp) -> Millis {
        let lazy = LAZY_HOLD.min(Millis(self.resolution.0 * 500)).max(HOLD);
        if matches!(self.looked_at, LookedAt::ByNobody) { self.quiet_hold(now) } else { lazy }
    }

    /// Forgets what was known of somebody who has left: when they come back, wherever that is, it is news.
    pub fn forget(&mut self, key: &MemberKey) {
        self.recent.forget(digest(key));
    }

    /// What is dropped was not sent, so whoever it was of is sent again at their next request.
    fn shed(&mut self, dropped: &[Signal]) {
        self.counted.shed = self.counted.shed.saturating_add(dropped.len() as u32);
        for signal in dropped {
            if let Signal::Touch(touch) = signal {
                self.forget(&touch.key);
            }
        }
    }

    fn schedule(&mut self, now: Timestamp, hold: Millis) -> Option<Millis> {
        let due = now.plus(hold);
        // Whoever was to send the batch may have been cut off; a second late is late enough.
        let cut_off = |before: Timestamp| before.plus(Millis(1000)) < now || before > now.plus(QUIET_HOLD);
        match self.due {
            Some(before) if before <= due && !cut_off(before) => None,
            _ => {
                self.due = Some(due);
                Some(hold)
            }
        }
    }
}

/// Whether a touch tells nothing but that a visitor is here.
fn is_bare(touch: &Touch) -> bool {
    let Touch { was, place, tab, state, .. } = touch;
    was.is_none() && place.is_none() && tab.is_none() && *state == State::Online && touch.key.kind() != Kind::Bot
}

#[cfg(test)]
mod tests;

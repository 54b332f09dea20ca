//! What an isolate remembers of recent visitors, and the batch that it is gathering.
//!
//! It decides what is sent at once, what later and what not at all. It does not send: it says when the batch is due.

use super::attention::{Attention, QUIET_HOLD};
pub use super::batch::MAX_BATCH;
use super::batch::{Batch, CONNECTING, Urgency};
use super::ended::Ended;
use super::id::UserId;
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
            counted: Counted::default(),
        }
    }

    /// Takes a signal, and says how long from now the batch has to be sent, if somebody must see to that who was not
    /// asked before.
    pub fn take(&mut self, now: Timestamp, signal: Signal) -> Option<Millis> {
        let urgency = self.admit(now, &signal, None::<fn(&Touch) -> Option<Timestamp>>)?;
        self.add(now, signal, urgency).due
    }

    /// The same of a page that was asked for. Another isolate may have recorded the visitor: `seen` says when that was, as
    /// the request has a word of it. It is asked only where it matters.
    pub fn take_of_page(
        &mut self,
        now: Timestamp,
        signal: Signal,
        seen: impl FnOnce(&Touch) -> Option<Timestamp>,
    ) -> Taken {
        let urgency = self.admit(now, &signal, Some(seen));
        urgency.map_or(Taken::default(), |urgency| self.add(now, signal, urgency))
    }

    /// Whether other isolates serve the same visitors, as far as is known: then it spares touches to give these a word of
    /// who was recorded. That costs about 15 µs a page, and spares a busy site up to a quarter of its signals; where an
    /// isolate is alone, and on most sites it is, there is nothing to spare.
    pub fn has_neighbours(&self, now: Timestamp) -> bool {
        self.strayed.is_some_and(|at| at <= now && now.since(at) <= Millis(self.window.0.saturating_mul(1000)))
    }

    /// The same where a refresh needs not be sent.
    pub fn take_news(&mut self, now: Timestamp, signal: Signal) -> Option<Millis> {
        let urgency = self.admit(now, &signal, None::<fn(&Touch) -> Option<Timestamp>>)?;
        if urgency > Urgency::Refresh { self.add(now, signal, urgency).due } else { None }
    }

    /// Whether a signal is worth sending, and if so how soon.
    fn admit(
        &mut self,
        now: Timestamp,
        signal: &Signal,
        of_page: Option<impl FnOnce(&Touch) -> Option<Timestamp>>,
    ) -> Option<Urgency> {
        self.counted.received = self.counted.received.saturating_add(1);
        match signal {
            Signal::Touch(touch) => {
                let urgency = self.consider(now, touch, of_page);
                self.counted.suppressed = self.counted.suppressed.saturating_add(u32::from(urgency.is_none()));
                urgency
            }
            Signal::Leave { key, .. } => {
                self.forget(key);
                Some(Urgency::Leave)
            }
            Signal::SignOut(user) => {
                self.end(now, &MemberKey::User(user.clone()));
                Some(Urgency::Prompt)
            }
        }
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

    /// What was counted since this was asked last.
    pub fn counted(&mut self) -> Counted {
        std::mem::take(&mut self.counted)
    }

    fn hold(&self, now: Timestamp, urgency: Urgency) -> Millis {
        match (self.looked_at, urgency) {
            (_, Urgency::Refresh) => self.lazy_hold(now),
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
            Signal::Touch(touch) => !self.ended.is_late(digest(&touch.key), now.minus(report.age)),
            Signal::Leave { .. } | Signal::SignOut(_) => true,
        });
        self.counted.add(Counted { failed: counted.failed.saturating_add(1), ..counted });
        let dropped = self.batch.put_back(now, reports);
        self.shed(&dropped);
    }

    /// Notes that somebody is known by that key no more.
    pub fn end(&mut self, now: Timestamp, key: &MemberKey) {
        self.forget(key);
        self.ended.note(digest(key), now, now);
    }

    /// Forgets a user, and what of theirs was still to be sent.
    pub fn erase(&mut self, now: Timestamp, user: &UserId) {
        self.end(now, &MemberKey::User(user.clone()));
        self.batch.drop_all_of(user);
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
            self.end(now, was);
        }
        let key = digest(&touch.key);
        let known = self.recent.find(key);
        // A clock that was put back makes nobody wait.
        let known = known.filter(|known| known.at <= now && now.since(known.at) <= Millis(self.window.0 * 1000));
        let or_known = |value: Option<u64>, before: fn(&Remembered) -> u64| {
            value.or(known.as_ref().map(before)).unwrap_or_default()
        };
        let next = Remembered {
            at: now,
            place: or_known(touch.place.as_ref().map(digest), |k| k.place),
            tab: or_known(touch.tab.as_ref().map(digest), |k| k.tab),
            state: touch.state,
            profile: or_known(touch.profile.as_ref().map(digest), |k| k.profile),
            connects: known.is_some_and(|known| known.connects),
        };
        // Whoever is about to fall out of the window cannot wait for a lazy batch.
        let late = known.is_some_and(|known| now.since(known.at).0 + self.lazy_hold(now).0 >= self.window.0 * 1000);
        let signs_in = touch.was.is_some() && touch.key.kind() == Kind::User;
        let hides = touch.profile.as_ref().is_some_and(|profile| profile.invisible);
        let shown_otherwise = known.map_or(hides, |known| known.profile != next.profile);
        let moved = |known: Remembered| (known.place, known.tab, known.state) != (next.place, next.tab, next.state);
        let urgency = match known {
            _ if signs_in || shown_otherwise => Urgency::Prompt,
            Some(known) if !late && !moved(known) => Urgency::Refresh,
            Some(known) if !late && known.connects && of_page.is_some() => Urgency::Echo,
            _ => Urgency::News,
        };
        let fresh = known.is_some_and(|known| now.since(known.at) < Millis(self.resolution.0 * 1000));
        if urgency == Urgency::Refresh && fresh {
            return None;
        }
        if known.is_none() && is_bare(touch) {
            self.strayed = Some(now);
            // So short a time ago that they will be seen again well within the window.
            let recent = |at: &Timestamp| now.since(*at) < Millis(self.resolution.0 * 1000) && !hides;
            if let Some(at) = of_page.and_then(|seen| seen(touch)).filter(recent) {
                self.recent.put(key, Remembered { at, ..next });
                return None;
            }
        }
        self.recent.put(key, next);
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
mod tests {
    use super::*;
    use crate::presence::id::{GuestKey, PagePath, TabId, UserId};
    use crate::presence::member::{Place, Profile};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_795_203_180_000 + millis)
    }

    fn recorder() -> Recorder {
        Recorder::new(Seconds(30), Seconds(330), at(0))
    }

    fn touch(guest: u64) -> Touch {
        let key = MemberKey::Guest(GuestKey(guest));
        Touch { key, was: None, profile: None, said: None, place: None, tab: None, state: State::Online }
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
            (page_of(as_sally(None)), Signal::SignOut(sally())),
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
        assert_eq!(recorder.take(at(9000), Signal::SignOut(user())), Some(HOLD));
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
        recorder.take(at(2), Signal::SignOut(sally));
        recorder.take(at(3), on(1, "/a"));
        assert_eq!(recorder.drain(at(3)).list.len(), 4);
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
        assert_eq!(
            (counted.received, counted.shed),
            (MAX_BATCH as u32 + 3, 2),
            "and it is known how many were dropped"
        );
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
        for (millis, signal) in [(200, Signal::SignOut(sally())), (300, signs_in)] {
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
}

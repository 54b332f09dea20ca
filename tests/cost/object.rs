//! The object that keeps the site's presence, as far as it costs something: what it stores and when, its timer and its alarm.

use super::day::{Agenda, Event, Looking, RESOLUTION, Used, WINDOW};
use super::shelf::Rows;
use std::collections::HashMap;
use whos_online::presence::attention::Attention;
use whos_online::presence::gathering::Gathering;
use whos_online::presence::id::TabId;
use whos_online::presence::member::{MemberKey, Signal};
use whos_online::presence::pulse::{self, SILENCE};
use whos_online::presence::recorder::Recorder;
use whos_online::presence::register::Register;
use whos_online::presence::reports::Report;
use whos_online::presence::site::{Lease, Outcome, Site};
use whos_online::presence::time::{Millis, Seconds, Timestamp};
use whos_online::presence::totals::{Counted, Totals};
use whos_online::presence::watchers::{PACE, pace};

/// How long a call keeps the object active: its answer waits until what was written is safe.
pub const CALL: Millis = Millis(15);
/// For how long it is kept when a user was last here: the default of `LAST_SEEN_TIMEOUT`.
pub const KEPT: Seconds = Seconds(7 * 86_400);

/// How far apart the pings of a page are that is connected. Nobody says that those are free which the platform answers.
pub const PING: Millis = Millis(25_000);

struct Connection {
    key: MemberKey,
    since: Timestamp,
}

impl Connection {
    fn pings(&self, at: Timestamp) -> u32 {
        at.since(self.since).0 / PING.0
    }

    fn heard(&self, at: Timestamp) -> Timestamp {
        self.since.plus(Millis(self.pings(at) * PING.0))
    }
}

pub struct Object {
    site: Site,
    /// Whether somebody watches who is no visitor.
    watched: bool,
    /// What those say who are connected.
    recorder: Recorder,
    connected: HashMap<TabId, Connection>,
    /// When it is looked next who has fallen silent.
    look_at: Option<Timestamp>,
    /// When those who watch were told last, and of which version.
    told: (Timestamp, u64),
    works_at: Option<Timestamp>,
    wakes_at: Option<Timestamp>,
    active_until: Timestamp,
    gathering: Gathering,
    register: Register,
    shelf: Rows,
    used: Used,
}

impl Object {
    pub fn new(now: Timestamp, looking: Looking, shelf: Rows) -> Self {
        Self {
            site: Site::new(WINDOW, now),
            watched: looking == Looking::Somebody,
            recorder: Recorder::new(RESOLUTION, WINDOW, now),
            connected: HashMap::new(),
            look_at: None,
            told: (now, 0),
            works_at: None,
            wakes_at: None,
            active_until: now,
            gathering: Gathering::default(),
            register: Register::default(),
            shelf,
            used: Used::default(),
        }
    }

    /// Adds what was used since this was asked last.
    pub fn spend(&mut self, used: &mut Used) {
        used.object_requests += std::mem::take(&mut self.used.object_requests);
        used.messages += std::mem::take(&mut self.used.messages);
        used.rows_written += std::mem::take(&mut self.used.rows_written);
        used.active_seconds += std::mem::take(&mut self.used.active_seconds);
    }

    pub fn totals(&self) -> Totals {
        self.site.totals
    }

    /// A batch comes, and is answered when it is stored.
    pub fn take_batch(&mut self, at: Timestamp, sender: &mut Recorder, agenda: &mut Agenda) {
        let reports = sender.drain(at);
        if reports.list.is_empty() {
            return;
        }
        self.used.object_requests += 1.0;
        self.hear_taken(at);
        self.site.totals.add(sender.counted(), reports.list.len());
        self.site.hear(at, reports);
        let next = self.next(at);
        // What is told together is stored together.
        let wait = next.unwrap_or_else(|| self.gathering.note(at));
        // When it is answered those who watch have been told.
        let attention = next.map_or(Attention::Nobody, |_| Attention::Watched(self.pace()));
        sender.heed(at, at.plus(CALL), attention);
        self.stay_active(at, Millis(wait.0 + CALL.0));
        match wait {
            Millis(0) => self.store(at, agenda),
            _ if next.is_some() => self.work_in(at, wait, agenda),
            _ => agenda.plan(at.plus(wait), Event::Store),
        }
    }

    /// A page connects: who is here already is stored with where the page is, which it says next.
    pub fn enter(&mut self, at: Timestamp, key: &MemberKey, tab: TabId, signals: Vec<Signal>, agenda: &mut Agenda) {
        self.used.object_requests += 1.0;
        self.stay_active(at, CALL);
        self.recorder.tells_next(key.borrow());
        self.store(at, agenda);
        self.connected.insert(tab, Connection { key: key.clone(), since: at });
        self.look_at = self.look_at.or(Some(at.plus(SILENCE)));
        let signs_in = |signal: &Signal| matches!(signal, Signal::Touch(touch) if touch.was.is_some());
        if signals.iter().all(|signal| !signs_in(signal) && self.site.knows(signal.key())) {
            signals.into_iter().for_each(|signal| self.take(at, Some(PACE), signal, agenda));
        } else {
            self.hear_taken(at);
            self.site.hear(at, signals.into_iter().map(report).collect::<Vec<_>>());
        }
        self.store(at, agenda);
    }

    /// A page that is connected says something.
    pub fn hear(&mut self, at: Timestamp, signal: Signal, agenda: &mut Agenda) {
        self.used.messages += 1.0;
        self.stay_active(at, Millis(0));
        self.take(at, self.next(at), signal, agenda);
    }

    /// A page that is connected is closed.
    pub fn part(&mut self, at: Timestamp, key: MemberKey, tab: TabId, agenda: &mut Agenda) {
        let pings = self.connected.remove(&tab).map_or(0, |connection| connection.pings(at));
        self.used.messages += f64::from(pings);
        self.hear(at, Signal::Leave { key, tab: Some(tab) }, agenda);
    }

    fn take(&mut self, at: Timestamp, next: Option<Millis>, signal: Signal, agenda: &mut Agenda) {
        self.recorder.heed(at, at, next.map_or(Attention::Asked, Attention::Watched));
        match self.recorder.take_news(at, signal) {
            Some(Millis(0)) => self.work(at, agenda),
            Some(hold) => self.work_in(at, hold, agenda),
            None => {}
        }
    }

    /// In what time those who watch are told something next, if anybody does.
    fn next(&self, at: Timestamp) -> Option<Millis> {
        let anybody = self.watched || !self.connected.is_empty();
        anybody.then(|| self.told.0.plus(self.pace()).max(at).since(at))
    }

    fn pace(&self) -> Millis {
        pace(self.connected.len())
    }

    fn work_in(&mut self, at: Timestamp, wait: Millis, agenda: &mut Agenda) {
        let due = at.plus(wait);
        if self.works_at.is_none_or(|known| due < known) {
            self.works_at = Some(due);
            self.stay_active(at, wait);
            agenda.plan(due, Event::Work);
        }
    }

    /// What was said is heard and stored, and what there is to tell is told.
    pub fn work(&mut self, at: Timestamp, agenda: &mut Agenda) {
        self.works_at = self.works_at.filter(|known| *known > at);
        self.hear_taken(at);
        self.store(at, agenda);
    }

    fn hear_taken(&mut self, at: Timestamp) {
        self.advance(at);
        if self.recorder.has_news() {
            let reports = self.recorder.drain(at);
            let counted = Counted { answered_in: None, ..self.recorder.counted() };
            self.site.totals.add(counted, reports.list.len());
            self.site.hear(at, reports);
        }
    }

    fn advance(&mut self, at: Timestamp) {
        let lease = |(tab, connection): (&TabId, &Connection)| Lease {
            key: connection.key.clone(),
            tab: *tab,
            at: connection.heard(at),
        };
        self.site.go_on(at, || self.connected.iter().map(lease).collect());
    }

    /// The first who has waited long enough stores for all.
    pub fn store(&mut self, at: Timestamp, agenda: &mut Agenda) {
        self.advance(at);
        let outcome = self.site.outcome();
        self.keep(outcome, at);
        if let Some(next) = self.next(at) {
            self.tell(at, next, agenda);
        }
    }

    /// Those who watch are told now or when it is time.
    fn tell(&mut self, at: Timestamp, next: Millis, agenda: &mut Agenda) {
        let version = self.site.version();
        match next {
            _ if version == self.told.1 => {}
            Millis(0) => self.told = (at, version),
            wait => self.work_in(at, wait, agenda),
        }
        let Some(deadline) = self.site.deadline().into_iter().chain(self.look(at)).min() else { return };
        // Those who watch are told when somebody goes. An alarm costs a row, and a request when it comes.
        if self.wakes_at.is_none_or(|known| known > deadline || known <= at) {
            self.wakes_at = Some(deadline);
            self.used.rows_written += 1.0;
            agenda.plan(deadline, Event::Wake);
        }
    }

    /// When it is to be looked next who has fallen silent: where somebody is alone there is nobody to know.
    fn look(&mut self, at: Timestamp) -> Option<Timestamp> {
        if self.connected.len() > 1 && self.look_at.is_some_and(|look| pulse::look_is_due(look, at)) {
            let oldest = self.connected.values().map(|connection| connection.heard(at)).min();
            self.look_at = Some(pulse::next_look(oldest.unwrap_or(at), at));
        }
        self.look_at.filter(|_| self.connected.len() > 1)
    }

    pub fn wake(&mut self, at: Timestamp, agenda: &mut Agenda) {
        // One that was set anew does not come.
        if self.wakes_at == Some(at) {
            self.wakes_at = None;
            self.used.object_requests += 1.0;
            self.stay_active(at, CALL);
            self.store(at, agenda);
        }
    }

    fn keep(&mut self, outcome: Outcome, at: Timestamp) {
        let before = self.shelf.written.get();
        let Ok(()) = self.register.note(outcome.departures, at.minus(KEPT), &self.shelf);
        let rows = outcome.writes.len() + outcome.views.len() + outcome.hidden.len();
        self.used.rows_written += (rows + self.shelf.written.get() - before) as f64;
    }

    /// What a sweep costs each day, with the alarm and the note that it was done.
    pub fn sweep(&mut self, at: Timestamp) {
        self.advance(at);
        let outcome = self.site.outcome();
        self.keep(outcome, at);
        let outcome = self.site.whole_outcome();
        self.keep(outcome, at);
        let before = self.shelf.written.get();
        let Ok(()) = self.register.sweep(at.minus(KEPT), &self.shelf);
        let (slots, write) = self.site.sweep();
        let rows = slots.len() + usize::from(write.is_some()) + self.shelf.written.get() - before + 2;
        self.used.rows_written += rows as f64;
    }

    fn stay_active(&mut self, at: Timestamp, span: Millis) {
        let (from, until) = (at.max(self.active_until), at.plus(span));
        self.used.active_seconds += f64::from(until.since(from).0) / 1000.0;
        self.active_until = self.active_until.max(until);
    }
}

fn report(signal: Signal) -> Report {
    Report { age: Millis(0), signal }
}

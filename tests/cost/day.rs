//! A day of a site, on the core and the recorder that ship, with a clock of its own.

use super::shelf::Rows;
use super::visitors::{self, DAY, PAGES, View, user_id};
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use whos_online::presence::attention::Attention;
use whos_online::presence::gathering::Gathering;
use whos_online::presence::id::TabId;
use whos_online::presence::member::{Departure, MemberKey, Profile, Signal, State, Touch};
use whos_online::presence::recorder::Recorder;
use whos_online::presence::register::Register;
use whos_online::presence::reports::Report;
use whos_online::presence::site::Site;
use whos_online::presence::time::{Millis, Seconds, Timestamp};
use whos_online::presence::totals::Totals;
use whos_online::presence::watchers::PACE;

const RESOLUTION: Seconds = Seconds(30);
const WINDOW: Seconds = Seconds(330);

/// How many requests a second of one site an isolate takes before there is another beside it: the platform does not say,
/// so this is a guess.
const PER_ISOLATE: f64 = 100.0;
/// How long after a page was asked for it is there, and connects.
const OPENED: Millis = Millis(300);
/// How long a call keeps the object active: its answer waits until what was written is safe.
const CALL: Millis = Millis(15);
/// The Worker's time for a page, in milliseconds: to pass it through, and to record it. From `npm run bench -- http`.
const PASSING: f64 = 0.25;
const RECORDING: f64 = 0.05;
/// For how long it is kept when a user was last here: the default of `LAST_SEEN_TIMEOUT`.
const KEPT: Seconds = Seconds(7 * 86_400);

/// When the day begins.
fn beginning() -> Timestamp {
    Timestamp::from_millis(1_795_132_800_000)
}

/// Who wants to know what is new.
#[derive(Clone, Copy, PartialEq)]
#[allow(dead_code, reason = "a test lets nobody look")]
pub enum Looking {
    /// Nobody: nothing is read all day.
    Nobody,
    /// Somebody watches all day.
    Somebody,
    /// Every page has the widget, connected as long as it is open.
    EveryPage,
}

/// What comes to a site.
pub struct Traffic<'a> {
    /// How many pages are viewed in the day.
    pub views: u64,
    /// How many different ones.
    pub pages: u32,
    /// How many places visitors come through.
    pub colos: usize,
    /// For how long an isolate is kept when nobody comes.
    pub idle: Millis,
    /// What is kept of the users who were here in the days before.
    pub earlier: &'a Rows,
    pub looking: Looking,
    /// Whether only the half of the day passes from its emptiest hour to its fullest, and counts twice: the other half is its
    /// mirror image.
    pub half: bool,
}

/// What was used of all that is billed.
#[derive(Default)]
#[allow(dead_code, reason = "a test looks at what the object has counted alone")]
pub struct Used {
    pub views: f64,
    pub worker_requests: f64,
    pub passing_millis: f64,
    pub recording_millis: f64,
    pub object_requests: f64,
    pub messages: f64,
    pub rows_written: f64,
    pub rows_read: f64,
    pub active_seconds: f64,
    /// What the object has counted.
    pub totals: Totals,
}

impl Used {
    fn repeat(&mut self, times: f64) {
        for figure in [
            &mut self.views,
            &mut self.worker_requests,
            &mut self.passing_millis,
            &mut self.recording_millis,
            &mut self.object_requests,
            &mut self.messages,
            &mut self.rows_written,
            &mut self.rows_read,
            &mut self.active_seconds,
        ] {
            *figure *= times;
        }
    }
}

/// Something that has come to pass.
#[allow(dead_code, reason = "a test follows it")]
pub struct Step {
    pub at: Timestamp,
    pub what: What,
    /// How many timers are running now that send a batch.
    pub timers: usize,
}

#[allow(dead_code, reason = "a test follows it")]
pub enum What {
    /// A page was viewed.
    Viewed(View),
    /// Timers have run out, and whatever was waiting was sent.
    Sent,
    /// All is forgotten.
    Swept,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// An isolate sends its batch.
    Send { isolate: usize },
    /// The object stores what it has heard.
    Store,
    /// The object's alarm comes.
    Wake,
    /// A visitor sees a page, and has so many more before them.
    View { visitor: u64, colo: usize, more: u32 },
    /// What a visitor has asked for takes the place of the page before, and connects.
    Open { visitor: u64, page: u32, first: bool, colo: usize },
    /// A page that has connected says where it is.
    Say { visitor: u64, page: u32 },
    /// A visitor closes their last page.
    Close { visitor: u64 },
}

struct Isolate {
    recorder: Recorder,
    used: Timestamp,
}

struct Day<'a> {
    traffic: &'a Traffic<'a>,
    site: Site,
    isolates: Vec<Option<Isolate>>,
    per_colo: Vec<usize>,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    numbered: u64,
    timers: usize,
    active_until: Timestamp,
    told: Timestamp,
    wakes_at: Option<Timestamp>,
    gathering: Gathering,
    register: Register,
    shelf: Rows,
    /// Which page each visitor has open, where these are connected.
    connected: HashMap<u64, (MemberKey, TabId)>,
    used: Used,
    random: Rng,
    follow: &'a mut dyn FnMut(&Step),
}

/// What is kept of so many users who were here within the week before.
#[allow(dead_code, reason = "a test begins with nobody")]
pub fn kept_before(users: u64, pages: u32) -> Rows {
    let gone = |number| {
        let at = beginning().minus(KEPT).plus(Seconds((u64::from(KEPT.0) * number / users) as u32));
        let place = Some(visitors::place(number as u32 % pages));
        Departure { user: user_id(u64::MAX - number), last_seen: at, profile: Profile::default(), place, since: at }
    };
    let shelf = Rows::default();
    let Ok(()) = Register::default().note((0..users).map(gone).collect(), beginning().minus(KEPT), &shelf);
    shelf
}

/// Lets a day pass, and tells what it took. Whoever follows hears of each step when it is done.
pub fn simulate(traffic: &Traffic<'_>, follow: &mut dyn FnMut(&Step)) -> Used {
    let start = beginning();
    let weights: Vec<f64> = (1..=traffic.colos).map(|rank| 1.0 / rank as f64).collect();
    let all: f64 = weights.iter().sum();
    let a_second = traffic.views as f64 / DAY;
    let per_colo: Vec<usize> =
        weights.iter().map(|weight| 1 + (a_second * weight / all / PER_ISOLATE) as usize).collect();
    let mut day = Day {
        traffic,
        site: Site::new(WINDOW, start),
        isolates: (0..per_colo.iter().sum()).map(|_| None).collect(),
        per_colo,
        events: BinaryHeap::new(),
        numbered: 0,
        timers: 0,
        active_until: start,
        told: start,
        wakes_at: None,
        gathering: Gathering::default(),
        register: Register::default(),
        shelf: traffic.earlier.clone(),
        connected: HashMap::new(),
        used: Used::default(),
        random: Rng::with_seed(7),
        follow,
    };
    let visits = (traffic.views as f64 / PAGES).round() as u64;
    let (visits, times) = if traffic.half { (visits / 2, 2.0) } else { (visits, 1.0) };
    let mut arrivals: Vec<u32> = (0..visits).map(|_| visitors::time_of_day(&mut day.random)).collect();
    if traffic.half {
        arrivals.iter_mut().for_each(|millis| *millis = visitors::before_the_fullest_hour(*millis));
    }
    arrivals.sort_unstable();
    for (visitor, millis) in arrivals.into_iter().enumerate() {
        let at = start.plus(Millis(millis));
        day.pass_to(at);
        let mut colo = day.random.f64() * all;
        let colo = weights.iter().position(|weight| {
            colo -= weight;
            colo < 0.0
        });
        let more = visitors::more_pages(&mut day.random);
        day.view(at, visitor as u64, colo.unwrap_or_default(), more, true);
    }
    day.pass_to(start.plus(Seconds(2 * DAY as u32)));
    day.used.repeat(times);
    day.sweep(start.plus(Seconds(2 * DAY as u32)));
    day.used.totals = day.site.totals;
    day.used
}

impl Day<'_> {
    fn pass_to(&mut self, until: Timestamp) {
        while let Some(Reverse((at, number, event))) = self.events.pop() {
            if at > until {
                self.events.push(Reverse((at, number, event)));
                return;
            }
            match event {
                Event::Send { isolate } => self.send(at, isolate),
                Event::Store => self.tell_and_store(at),
                Event::Wake => self.wake(at),
                Event::View { visitor, colo, more } => self.view(at, visitor, colo, more, false),
                Event::Open { visitor, page, first, colo } => self.open(at, View { visitor, page, first }, colo),
                Event::Say { visitor, page } => self.say(at, visitor, page),
                Event::Close { visitor } => self.close(at, visitor),
            }
        }
    }

    fn plan(&mut self, at: Timestamp, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((at, self.numbered, event)));
    }

    fn tell(&mut self, at: Timestamp, what: What) {
        (self.follow)(&Step { at, what, timers: self.timers });
    }

    fn view(&mut self, at: Timestamp, visitor: u64, colo: usize, more: u32, first: bool) {
        self.used.views += 1.0;
        self.used.worker_requests += 1.0;
        self.used.passing_millis += PASSING;
        self.used.recording_millis += RECORDING;
        let isolate = self.isolate_of(colo);
        let known = &mut self.isolates[isolate];
        if known.as_ref().is_some_and(|known| at.since(known.used) > self.traffic.idle) {
            *known = None;
        }
        let known = known.get_or_insert_with(|| Isolate { recorder: Recorder::new(RESOLUTION, WINDOW, at), used: at });
        known.used = at;
        let view = View { visitor, page: self.random.u32(..self.traffic.pages), first };
        let signals = visitors::signals(&view, at, WINDOW);
        let holds: Vec<_> =
            signals.iter().filter_map(|signal| known.recorder.take_of_page(at, signal.clone(), |_| None).due).collect();
        for hold in holds {
            self.timers += 1;
            self.plan(at.plus(hold), Event::Send { isolate });
        }
        let everybody_watches = self.traffic.looking == Looking::EveryPage;
        if everybody_watches {
            self.plan(at.plus(OPENED), Event::Open { visitor, page: view.page, first, colo });
        }
        if more > 0 || everybody_watches {
            let until = at.plus(visitors::dwell(&mut self.random));
            let next = if more > 0 { Event::View { visitor, colo, more: more - 1 } } else { Event::Close { visitor } };
            self.plan(until, next);
        }
        self.tell(at, What::Viewed(view));
    }

    /// The one of a place's isolates that takes a request.
    fn isolate_of(&mut self, colo: usize) -> usize {
        let before: usize = self.per_colo.iter().take(colo).sum();
        before + self.random.usize(..self.per_colo[colo])
    }

    /// A page that was asked for takes the place of the one before, and connects.
    fn open(&mut self, at: Timestamp, view: View, colo: usize) {
        self.close(at, view.visitor);
        self.used.worker_requests += 1.0;
        self.used.object_requests += 1.0;
        let tab = TabId(self.numbered as u32);
        let mut signals = visitors::signals(&view, at, WINDOW);
        for signal in &mut signals {
            if let Signal::Touch(touch) = signal {
                (touch.place, touch.tab) = (None, Some(tab));
                self.connected.insert(view.visitor, (touch.key.clone(), tab));
            }
        }
        let isolate = self.isolate_of(colo);
        if let (Some(isolate), Some((key, _))) = (&mut self.isolates[isolate], self.connected.get(&view.visitor)) {
            signals.splice(0..0, isolate.recorder.connects(at, key.borrow()));
        }
        self.stay_active(at, CALL);
        let reports = signals.into_iter().map(|signal| Report { age: Millis(0), signal });
        self.site.hear(at, reports.collect::<Vec<_>>());
        // It is stored with what the page says next.
        self.plan(at.plus(CALL), Event::Say { visitor: view.visitor, page: view.page });
    }

    /// A page says where it is, which is stored when others are told.
    fn say(&mut self, at: Timestamp, visitor: u64, page: u32) {
        let Some((key, tab)) = self.connected.get(&visitor).cloned() else { return };
        let (place, tab) = (Some(visitors::place(page)), Some(tab));
        let touch = Touch { key, was: None, profile: None, said: None, place, tab, state: State::Online };
        let until_told = self.told.plus(PACE).max(at).since(at);
        self.used.messages += 1.0;
        self.stay_active(at, until_told);
        self.site.hear(at, vec![Report { age: Millis(0), signal: Signal::Touch(touch) }]);
        self.plan(at.plus(until_told), Event::Store);
    }

    /// A page that is connected is closed.
    fn close(&mut self, at: Timestamp, visitor: u64) {
        if let Some((key, tab)) = self.connected.remove(&visitor) {
            self.used.messages += 1.0;
            self.stay_active(at, PACE);
            self.site.hear(at, vec![Report { age: Millis(0), signal: Signal::Leave { key, tab: Some(tab) } }]);
            // Unless the next page comes first.
            self.plan(at.plus(PACE), Event::Store);
        }
    }

    fn send(&mut self, at: Timestamp, isolate: usize) {
        self.timers -= 1;
        if let Some(mut known) = self.isolates[isolate].take() {
            if known.recorder.is_waiting() {
                self.send_batch(at, &mut known.recorder);
            }
            self.isolates[isolate] = Some(known);
        }
        // Several may run out at once.
        let last = !matches!(self.events.peek(), Some(Reverse((next, _, Event::Send { .. }))) if *next == at);
        if last {
            self.tell(at, What::Sent);
        }
    }

    fn send_batch(&mut self, at: Timestamp, recorder: &mut Recorder) {
        let reports = recorder.drain(at);
        if reports.list.is_empty() {
            return;
        }
        let counted = recorder.counted();
        self.site.totals.add(counted, reports.list.len());
        self.site.hear(at, reports);
        let quiet = self.traffic.looking == Looking::Nobody;
        // What is told together is stored together: now, or when its time has come.
        let until_told = self.told.plus(PACE).max(at).since(at);
        let wait = if quiet { self.gathering.note(at) } else { until_told };
        let attention = if quiet { Attention::Nobody } else { Attention::Watched(PACE) };
        recorder.heed(at, at.plus(CALL), attention);
        self.used.object_requests += 1.0;
        self.stay_active(at, Millis(wait.0 + CALL.0));
        if wait == Millis(0) {
            self.tell_and_store(at);
        } else {
            self.plan(at.plus(wait), Event::Store);
        }
    }

    /// The first who has waited long enough stores for all.
    fn tell_and_store(&mut self, at: Timestamp) {
        self.told = at;
        self.store(at);
    }

    fn store(&mut self, at: Timestamp) {
        let outcome = self.site.outcome();
        let rows = outcome.writes.len() + outcome.views.len() + outcome.hidden.len();
        self.used.rows_written += rows as f64;
        self.note(outcome.departures, at);
        if self.traffic.looking != Looking::Nobody {
            self.wake_by(self.site.deadline(), at);
        }
    }

    /// Sets the alarm for when the next one goes, as those who watch are told that. It costs a row, and a request when it
    /// comes.
    fn wake_by(&mut self, deadline: Option<Timestamp>, now: Timestamp) {
        let Some(deadline) = deadline else { return };
        if self.wakes_at.is_none_or(|at| at > deadline || at <= now) {
            self.wakes_at = Some(deadline);
            self.used.rows_written += 1.0;
            self.plan(deadline, Event::Wake);
        }
    }

    fn wake(&mut self, at: Timestamp) {
        // One that was set anew does not come.
        if self.wakes_at == Some(at) {
            self.wakes_at = None;
            self.used.object_requests += 1.0;
            self.stay_active(at, CALL);
            self.site.go_on(at, Vec::new);
            self.store(at);
        }
    }

    fn note(&mut self, departures: Vec<Departure>, at: Timestamp) {
        let before = self.shelf.written.get();
        let Ok(()) = self.register.note(departures, at.minus(KEPT), &self.shelf);
        self.used.rows_written += (self.shelf.written.get() - before) as f64;
    }

    /// What a sweep costs each day, with the alarm and the note that it was done.
    fn sweep(&mut self, at: Timestamp) {
        self.site.go_on(at, Vec::new);
        self.store(at);
        let outcome = self.site.whole_outcome();
        self.note(outcome.departures, at);
        let before = self.shelf.written.get();
        let Ok(()) = self.register.sweep(at.minus(KEPT), &self.shelf);
        let (slots, write) = self.site.sweep();
        let rows = slots.len() + usize::from(write.is_some()) + self.shelf.written.get() - before + 2;
        self.used.rows_written += rows as f64;
        self.tell(at, What::Swept);
    }

    fn stay_active(&mut self, at: Timestamp, span: Millis) {
        let (from, until) = (at.max(self.active_until), at.plus(span));
        self.used.active_seconds += f64::from(until.since(from).0) / 1000.0;
        self.active_until = self.active_until.max(until);
    }
}

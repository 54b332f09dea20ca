//! A day of a site, on the core and the recorder that ship, with a clock of its own.

use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use whos_online::presence::attention::Attention;
use whos_online::presence::gathering::Gathering;
use whos_online::presence::id::{GuestKey, PagePath, UserId};
use whos_online::presence::member::{MemberKey, Place, Signal, State, Touch};
use whos_online::presence::recorder::Recorder;
use whos_online::presence::site::Site;
use whos_online::presence::time::{Millis, Seconds, Timestamp};
use whos_online::presence::watchers::PACE;

const DAY: f64 = 86_400.0;
const RESOLUTION: Seconds = Seconds(30);
const WINDOW: Seconds = Seconds(330);

/// How many places visitors come through, of the more than 300 that there are: half of a site's visitors come through
/// its six largest.
const COLOS: usize = 80;
/// How many requests a second of one site an isolate takes before there is another beside it, and for how long it is
/// kept when none comes: the platform says neither, so these are guesses.
const PER_ISOLATE: f64 = 100.0;
const IDLE: Millis = Millis(600_000);
/// How many pages a visit has on average, and how long somebody stays on one: log-normal, with this median in seconds.
const PAGES: f64 = 4.0;
const DWELL: (f64, f64) = (40.0, 1.2);
/// One visitor in five is signed in.
const SIGNED_IN: f64 = 0.2;
/// How long a call keeps the object active: its answer waits until what was written is safe.
const CALL: Millis = Millis(15);
/// The Worker's time for a page, in milliseconds: to pass it through, and to record it. From `npm run bench -- http`.
const PASSING: f64 = 0.25;
const RECORDING: f64 = 0.05;

/// Who wants to know what is new.
#[derive(Clone, Copy, PartialEq)]
pub enum Looking {
    /// Nobody: nothing is read all day.
    Nobody,
    /// Somebody watches all day.
    Somebody,
    /// Every page has the widget, connected as long as it is open.
    EveryPage,
}

/// What was used of all that is billed.
#[derive(Default)]
pub struct Used {
    pub views: f64,
    pub worker_requests: f64,
    pub passing_millis: f64,
    pub recording_millis: f64,
    pub object_requests: f64,
    pub rows_written: f64,
    pub rows_read: f64,
    pub active_seconds: f64,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// An isolate sends its batch.
    Send { isolate: usize },
    /// The object stores what it has heard.
    Store,
    /// A visitor sees a page, and has so many more before them.
    View { visitor: u64, colo: usize, more: u32 },
}

struct Isolate {
    recorder: Recorder,
    used: Timestamp,
}

struct Day {
    site: Site,
    isolates: Vec<Option<Isolate>>,
    per_colo: Vec<usize>,
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    numbered: u64,
    looking: Looking,
    active_until: Timestamp,
    told: Timestamp,
    gathering: Gathering,
    used: Used,
    random: Rng,
}

/// Lets a day pass on which so many pages are viewed.
pub fn simulate(views: u64, looking: Looking) -> Used {
    let start = Timestamp::from_millis(1_795_132_800_000);
    let weights: Vec<f64> = (1..=COLOS).map(|rank| 1.0 / rank as f64).collect();
    let all: f64 = weights.iter().sum();
    let per_colo: Vec<usize> =
        weights.iter().map(|weight| 1 + (views as f64 / DAY * weight / all / PER_ISOLATE) as usize).collect();
    let mut day = Day {
        site: Site::new(WINDOW, start),
        isolates: (0..per_colo.iter().sum()).map(|_| None).collect(),
        per_colo,
        events: BinaryHeap::new(),
        numbered: 0,
        looking,
        active_until: start,
        told: start,
        gathering: Gathering::default(),
        used: Used::default(),
        random: Rng::with_seed(7),
    };
    let visits = (views as f64 / PAGES).round() as u64;
    let mut arrivals: Vec<u32> = (0..visits).map(|_| time_of_day(&mut day.random)).collect();
    arrivals.sort_unstable();
    for (visitor, millis) in arrivals.into_iter().enumerate() {
        let at = start.plus(Millis(millis));
        day.pass_to(at);
        let mut colo = day.random.f64() * all;
        let colo = weights.iter().position(|weight| {
            colo -= weight;
            colo < 0.0
        });
        let more = (day.random.f64().ln() / (1.0 - 1.0 / PAGES).ln()) as u32;
        day.view(at, visitor as u64, colo.unwrap_or_default(), more);
    }
    day.pass_to(start.plus(Seconds(2 * DAY as u32)));
    day.used
}

impl Day {
    fn pass_to(&mut self, until: Timestamp) {
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > until {
                self.events.push(Reverse((at, self.numbered, event)));
                self.numbered += 1;
                return;
            }
            match event {
                Event::Send { isolate } => self.send(at, isolate),
                Event::Store => self.store(),
                Event::View { visitor, colo, more } => self.view(at, visitor, colo, more),
            }
        }
    }

    fn plan(&mut self, at: Timestamp, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((at, self.numbered, event)));
    }

    fn view(&mut self, at: Timestamp, visitor: u64, colo: usize, more: u32) {
        self.used.views += 1.0;
        self.used.worker_requests += 1.0;
        self.used.passing_millis += PASSING;
        self.used.recording_millis += RECORDING;
        let first: usize = self.per_colo.iter().take(colo).sum();
        let isolate = first + self.random.usize(..self.per_colo[colo]);
        let known = &mut self.isolates[isolate];
        if known.as_ref().is_some_and(|known| at.since(known.used) > IDLE) {
            *known = None;
        }
        let known = known.get_or_insert_with(|| Isolate { recorder: Recorder::new(RESOLUTION, WINDOW, at), used: at });
        known.used = at;
        let signal = touch(visitor, self.random.u32(..500));
        if let Some(hold) = known.recorder.take(at, signal.clone()) {
            self.plan(at.plus(hold), Event::Send { isolate });
        }
        if self.looking == Looking::EveryPage {
            self.watch(at, signal);
        }
        if more > 0 {
            let (median, spread) = DWELL;
            let dwell = median * (spread * normal(&mut self.random)).exp() * 1000.0;
            self.plan(at.plus(Millis(dwell as u32)), Event::View { visitor, colo, more: more - 1 });
        }
    }

    /// A page connects, says where it is, and in the end that it is closed.
    fn watch(&mut self, at: Timestamp, signal: Signal) {
        self.used.worker_requests += 1.0;
        self.used.object_requests += 1.0 + 2.0 / crate::prices::MESSAGES_PER_REQUEST;
        self.stay_active(at, CALL);
        let report = whos_online::presence::reports::Report { age: Millis(0), signal };
        self.site.hear(at, vec![report]);
        self.store();
    }

    fn send(&mut self, at: Timestamp, isolate: usize) {
        let Some(known) = self.isolates[isolate].as_mut().filter(|known| known.recorder.is_waiting()) else { return };
        let reports = known.recorder.drain(at);
        self.site.hear(at, reports);
        let quiet = self.looking == Looking::Nobody;
        let wait = if quiet { self.gathering.note(at) } else { Millis(0) };
        let attention = if self.looking == Looking::Nobody { Attention::Nobody } else { Attention::Watched(PACE) };
        known.recorder.heed(at, at.plus(CALL), attention);
        self.used.object_requests += 1.0;
        self.stay_active(at, Millis(wait.0 + CALL.0));
        if self.looking != Looking::Nobody {
            // It is told now, or a timer waits for its time.
            let wait = Millis(PACE.0.saturating_sub(at.since(self.told).0));
            self.stay_active(at, wait);
            self.told = at.plus(wait);
        }
        if wait == Millis(0) {
            self.store();
        } else {
            self.plan(at.plus(wait), Event::Store);
        }
    }

    /// The first who has waited long enough stores for all.
    fn store(&mut self) {
        let outcome = self.site.outcome();
        let rows = outcome.writes.len() + outcome.departures.len() + outcome.views.len() + outcome.hidden.len();
        self.used.rows_written += rows as f64;
    }

    fn stay_active(&mut self, at: Timestamp, span: Millis) {
        let (from, until) = (at.max(self.active_until), at.plus(span));
        self.used.active_seconds += f64::from(until.since(from).0) / 1000.0;
        self.active_until = self.active_until.max(until);
    }
}

fn touch(visitor: u64, page: u32) -> Signal {
    let user = (visitor.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24) < SIGNED_IN;
    let key = match UserId::parse(format!("user-{visitor}")) {
        Ok(user_id) if user => MemberKey::User(user_id),
        _ => MemberKey::Guest(GuestKey(visitor)),
    };
    let path = PagePath::parse(format!("/page/{page}")).ok();
    let place = path.map(|path| Place { path, title: None, topic: None });
    Signal::Touch(Touch { key, was: None, profile: None, said: None, place, tab: None, state: State::Online })
}

/// When in the day somebody comes, in milliseconds: at eight in the evening nine times as many as at eight in the morning.
fn time_of_day(random: &mut Rng) -> u32 {
    loop {
        let at = random.f64();
        if random.f64() * 1.8 < 1.0 + 0.8 * (std::f64::consts::TAU * (at - 14.0 / 24.0)).sin() {
            return (at * DAY * 1000.0) as u32;
        }
    }
}

/// A standard normal figure (Box and Muller, 1958).
fn normal(random: &mut Rng) -> f64 {
    (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos()
}

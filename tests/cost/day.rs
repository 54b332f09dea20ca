//! A day of a site, on the core and the recorder that ship, with a clock of its own.

use super::object::{CALL, KEPT, Object, PING};
use super::shelf::Rows;
use super::visitors::{self, DAY, PAGES, View, user_id};
use fastrand::Rng;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use whos_online::presence::id::TabId;
use whos_online::presence::member::{Departure, Kind, MemberKey, Profile, Signal, Touch};
use whos_online::presence::record::encode;
use whos_online::presence::recorder::Recorder;
use whos_online::presence::register::{Filled, Sheet, Shelf, place};
use whos_online::presence::time::{Millis, Seconds, Timestamp};
use whos_online::presence::totals::Totals;

pub const RESOLUTION: Seconds = Seconds(30);
pub const WINDOW: Seconds = Seconds(330);

/// How many requests a second of one site an isolate takes before there is another beside it: the platform does not say,
/// so this is a guess.
const PER_ISOLATE: f64 = 100.0;
/// How long after a page was asked for it is there, and connects.
const OPENED: Millis = Millis(300);
/// For how long an isolate remembers what is granted to a user.
const RIGHTS_KNOWN: Seconds = Seconds(30);
/// The Worker's time for a page, in milliseconds: to pass it through, and to record it. From `npm run bench -- http`.
const PASSING: f64 = 0.25;
const RECORDING: f64 = 0.05;

/// How many users are in a sheet: with texts as short as theirs here it is three quarters full, as sheets are that grow little
/// by little.
const IN_A_SHEET: usize = 900;

/// When the day begins: at its emptiest hour.
fn beginning() -> Timestamp {
    Timestamp::from_millis(1_795_132_800_000).plus(Seconds(8 * 3600))
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
    /// How many times as fast the day passes: with as many at a time, so that only such a part of them comes, which counts so
    /// many times.
    pub lapse: u32,
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
pub enum Event {
    /// An isolate sends its batch.
    Send { isolate: usize },
    /// A batch has waited long enough to be stored.
    Store,
    /// The object's timer runs out.
    Work,
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

/// What comes to pass, and when.
#[derive(Default)]
pub struct Agenda {
    events: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    numbered: u64,
}

impl Agenda {
    /// Plans something.
    pub fn plan(&mut self, at: Timestamp, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((at, self.numbered, event)));
    }

    /// What comes next, if it comes by then.
    fn next(&mut self, until: Timestamp) -> Option<(Timestamp, Event)> {
        let due = self.events.peek().is_some_and(|Reverse((at, ..))| *at <= until);
        let Reverse((at, _, event)) = due.then(|| self.events.pop()).flatten()?;
        Some((at, event))
    }

    /// Whether another batch is sent at the same time.
    fn sends_more(&self, now: Timestamp) -> bool {
        matches!(self.events.peek(), Some(Reverse((at, _, Event::Send { .. }))) if *at == now)
    }
}

struct Isolate {
    recorder: Recorder,
    used: Timestamp,
}

struct Day<'a> {
    traffic: &'a Traffic<'a>,
    object: Object,
    isolates: Vec<Option<Isolate>>,
    per_colo: Vec<usize>,
    agenda: Agenda,
    timers: usize,
    opened: u32,
    /// Which page each visitor has open, where these are connected.
    connected: HashMap<u64, (MemberKey, TabId)>,
    /// Until when an isolate knows what is granted to a visitor.
    knows_rights: HashMap<(usize, u64), Timestamp>,
    used: Used,
    random: Rng,
    follow: &'a mut dyn FnMut(&Step),
}

/// What is kept of so many users who were here within the week before.
#[allow(dead_code, reason = "a test begins with nobody")]
pub fn kept_before(users: u64, pages: u32) -> Rows {
    let since = beginning().minus(KEPT);
    let gone = |number| {
        let at = since.plus(Seconds((u64::from(KEPT.0) * number / users) as u32));
        Departure {
            user: user_id(u64::MAX - number),
            last_seen: at,
            profile: Profile::default(),
            place: Some(visitors::place(number as u32 % pages)),
            since: at,
        }
    };
    let mut departures: Vec<_> = (0..users).map(gone).collect();
    departures.sort_by_cached_key(|gone| place(&gone.user));
    let shelf = Rows::default();
    for (number, departures) in departures.chunks(IN_A_SHEET).enumerate() {
        let start = if number == 0 { 0 } else { place(&departures[0].user) };
        let data = encode(&Sheet { departures: departures.to_vec() });
        let Ok(()) = shelf.put_sheet(start, Some(Filled { oldest: since, newest: beginning(), data }));
    }
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
        object: Object::new(start, traffic.looking, traffic.earlier.clone()),
        isolates: (0..per_colo.iter().sum()).map(|_| None).collect(),
        per_colo,
        agenda: Agenda::default(),
        timers: 0,
        opened: 0,
        connected: HashMap::new(),
        knows_rights: HashMap::new(),
        used: Used::default(),
        random: Rng::with_seed(7),
        follow,
    };
    let visits = (traffic.views as f64 / PAGES / f64::from(traffic.lapse)).round() as u64;
    let mut arrivals: Vec<u32> = (0..visits).map(|_| visitors::time_of_day(&mut day.random) / traffic.lapse).collect();
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
    let end = start.plus(Seconds(2 * DAY as u32));
    day.pass_to(end);
    day.object.spend(&mut day.used);
    if traffic.looking == Looking::Somebody {
        day.used.messages += DAY * 1000.0 / f64::from(PING.0) / f64::from(traffic.lapse);
    }
    day.used.repeat(traffic.lapse.into());
    day.object.sweep(end);
    day.object.spend(&mut day.used);
    day.tell(end, What::Swept);
    day.used.totals = day.object.totals();
    day.used
}

impl Day<'_> {
    fn pass_to(&mut self, until: Timestamp) {
        while let Some((at, event)) = self.agenda.next(until) {
            match event {
                Event::Send { isolate } => self.send(at, isolate),
                Event::Store => self.object.store(at, &mut self.agenda),
                Event::Work => self.object.work(at, &mut self.agenda),
                Event::Wake => self.object.wake(at, &mut self.agenda),
                Event::View { visitor, colo, more } => self.view(at, visitor, colo, more, false),
                Event::Open { visitor, page, first, colo } => self.open(at, View { visitor, page, first }, colo),
                Event::Say { visitor, page } => self.say(at, visitor, page),
                Event::Close { visitor } => self.close(at, visitor),
            }
        }
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
        for signal in visitors::signals(&view, at, WINDOW) {
            if let Some(hold) = known.recorder.take_of_page(at, signal, |_| None).due {
                self.timers += 1;
                self.agenda.plan(at.plus(hold), Event::Send { isolate });
            }
        }
        let everybody_watches = self.traffic.looking == Looking::EveryPage;
        if everybody_watches {
            self.agenda.plan(at.plus(OPENED), Event::Open { visitor, page: view.page, first, colo });
        }
        if more > 0 || everybody_watches {
            let until = at.plus(visitors::dwell(&mut self.random));
            let next = if more > 0 { Event::View { visitor, colo, more: more - 1 } } else { Event::Close { visitor } };
            self.agenda.plan(until, next);
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
        self.opened += 1;
        let tab = TabId(self.opened);
        // Whom the site has named has the cookie by now.
        let mut signals = visitors::signals(&View { first: false, ..view }, at, WINDOW);
        for signal in &mut signals {
            if let Signal::Touch(touch) = signal {
                (touch.place, touch.tab) = (None, Some(tab));
                self.connected.insert(view.visitor, (touch.key.clone(), tab));
            }
        }
        let isolate = self.isolate_of(colo);
        let Some((key, _)) = self.connected.get(&view.visitor) else { return };
        if key.kind() == Kind::User && self.knows_rights.get(&(isolate, view.visitor)).is_none_or(|until| *until < at) {
            // What is granted to a user is looked up in another object.
            self.knows_rights.insert((isolate, view.visitor), at.plus(RIGHTS_KNOWN));
            self.used.object_requests += 1.0;
            self.used.active_seconds += f64::from(CALL.0) / 1000.0;
        }
        if let Some(isolate) = &mut self.isolates[isolate] {
            signals.splice(0..0, isolate.recorder.connects(at, key.borrow()));
        }
        self.object.enter(at, key, tab, signals, &mut self.agenda);
        self.agenda.plan(at.plus(CALL), Event::Say { visitor: view.visitor, page: view.page });
    }

    fn say(&mut self, at: Timestamp, visitor: u64, page: u32) {
        let Some((key, tab)) = self.connected.get(&visitor).cloned() else { return };
        let (place, tab) = (Some(visitors::place(page)), Some(tab));
        let touch = Touch { place, tab, ..Touch::of(key) };
        self.object.hear(at, Signal::Touch(touch), &mut self.agenda);
    }

    /// A page that is connected is closed.
    fn close(&mut self, at: Timestamp, visitor: u64) {
        if let Some((key, tab)) = self.connected.remove(&visitor) {
            self.object.part(at, key, tab, &mut self.agenda);
        }
    }

    fn send(&mut self, at: Timestamp, isolate: usize) {
        self.timers -= 1;
        if let Some(known) = &mut self.isolates[isolate]
            && known.recorder.is_waiting()
        {
            self.object.take_batch(at, &mut known.recorder, &mut self.agenda);
        }
        // Several may run out at once.
        if !self.agenda.sends_more(at) {
            self.tell(at, What::Sent);
        }
    }
}

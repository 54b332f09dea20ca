//! The presence of one site (or one shard of it): signals go in, members and counts come out.
//!
//! What is stored goes out as [`Write`]s; whoever holds a site writes them down before it answers, and gives them all
//! back to [`Site::restore`] after a restart. Time never runs backwards here: see [`Site::advance`].

use super::id::{TabId, UserId};
use super::member::{Departure, Kind, MemberKey, Place, Profile, Signal, State, Touch};
use super::places::{PageCount, PlaceId, Places};
use super::record::{self, Batch, Peak, Record, TabRecord};
use super::ring::Slot;
pub use super::roster::Order;
use super::roster::{Member, Roster, Tab};
use super::time::{Millis, Seconds, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// How long a visitor whose last page was closed is kept, as they may be opening the next one: a page that is
/// navigated away from reports its leave before the next one reports its touch.
pub const LEAVE_GRACE: Seconds = Seconds(10);

/// The most tabs that are told apart for a member; of more, the one seen longest ago is forgotten.
pub const MAX_TABS: usize = 16;

/// A signal, with how long ago it happened. Ages cross between machines rather than times, so that it does not
/// matter whose clock is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How long before the report was sent.
    pub age: Millis,
    /// What happened.
    pub signal: Signal,
}

/// How many are online.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Users and guests.
    pub total: usize,
    /// Signed in, and to be seen.
    pub users: usize,
    /// Not signed in, or invisible.
    pub guests: usize,
    /// Crawlers; in no total.
    pub bots: usize,
}

/// A row to be stored: `data` in place of whatever the slot held.
#[derive(Debug, PartialEq, Eq)]
pub struct Write {
    /// Which row.
    pub slot: i64,
    /// What it holds from now on.
    pub data: Vec<u8>,
}

/// What came of a batch.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The row to be stored, if anything changed.
    pub write: Option<Write>,
    /// Users who went, each to be kept in `last_seen` if that is newer than what it holds.
    pub departures: Vec<Departure>,
}

/// A member as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// Who.
    pub key: &'a MemberKey,
    /// How they are shown; nothing is known of guests.
    pub profile: Option<&'a Profile>,
    /// Whether they are looking.
    pub state: State,
    /// When this visit began.
    pub since: Timestamp,
    /// When they were last touched.
    pub last_seen: Timestamp,
    /// Where they were last.
    pub place: Option<&'a Place>,
    /// How many pages they have open, as far as these report themselves; at least 1.
    pub tabs: usize,
}

/// Which members to list.
#[derive(Clone, Debug, Default)]
pub struct Filter<'a> {
    /// Only those on this page.
    pub path: Option<&'a str>,
    /// Only those on a page about this.
    pub topic: Option<&'a str>,
}

struct Leaving {
    at: Timestamp,
    kind: Kind,
    slot: Slot,
    seq: u64,
}

/// Who is online, and all that has to be known to say so.
pub struct Site {
    window: Seconds,
    users: Roster,
    guests: Roster,
    bots: Roster,
    places: Places,
    invisible: usize,
    leaving: VecDeque<Leaving>,
    /// Rows in the order they were written, each with the time after which nobody needs it.
    rows: VecDeque<(i64, Timestamp)>,
    next_slot: i64,
    now: Timestamp,
    seq: u64,
    version: u64,
    peak: Option<Peak>,
    departures: Vec<Departure>,
    /// How far the clock had come when it was put back since the last row: rows must tell, or a restart would not know.
    rewound_from: Option<Timestamp>,
}

impl Site {
    /// A site that nobody has visited. `window` is for how long after a touch a member is online.
    pub fn new(window: Seconds, now: Timestamp) -> Self {
        let roster = || Roster::new(window, now);
        Self {
            window,
            users: roster(),
            guests: roster(),
            bots: roster(),
            places: Places::default(),
            invisible: 0,
            leaving: VecDeque::new(),
            rows: VecDeque::new(),
            next_slot: 0,
            now,
            seq: 0,
            version: 0,
            peak: None,
            departures: Vec::new(),
            rewound_from: None,
        }
    }

    /// Rebuilds a site from its rows, by slot. What had fallen out of the window in the meantime comes out as
    /// departures. Rows that cannot be read are left out, and how many those were is told.
    pub fn restore(
        window: Seconds,
        rows: impl IntoIterator<Item = (i64, Vec<u8>)>,
        now: Timestamp,
    ) -> (Self, Outcome, usize) {
        let mut unreadable = 0;
        let mut batches: Vec<(i64, Batch)> = Vec::new();
        for (slot, data) in rows {
            match record::decode::<Batch>(&data) {
                Ok(batch) => batches.push((slot, batch)),
                // Version 0 sorts first, so that the slot is the next to be used again.
                Err(_) => {
                    unreadable += 1;
                    batches.push((slot, Batch::default()));
                }
            }
        }
        batches.sort_by_key(|(_, batch)| batch.version);
        let start = batches.first().map_or(now, |(_, batch)| batch.written);
        let mut site = Self::new(window, start);
        for (slot, batch) in batches {
            // As it went, by the clock of then: what was to be put right since is put right at the end.
            if let Some(reached) = batch.rewound_from {
                site.move_to(reached);
            }
            site.move_to(batch.written);
            site.replay(batch);
            site.keep_row(slot);
        }
        site.rewound_from = None;
        let outcome = site.advance(now);
        (site, outcome, unreadable)
    }

    /// Moves on to `now`, and hands out the users who went in the meantime. There is a row to be stored only where
    /// the clock was put back.
    ///
    /// A clock that is put back by less than a second stands still until it has caught up; one that is put back
    /// further takes everybody along, so that nobody stays longer than a window and nobody's touch is ignored.
    pub fn advance(&mut self, now: Timestamp) -> Outcome {
        self.move_to(now);
        self.outcome(Vec::new(), Vec::new())
    }

    /// Applies a batch of signals, all of them or (on a crash) none, and says what to store.
    pub fn apply(&mut self, now: Timestamp, reports: Vec<Report>) -> Outcome {
        self.move_to(now);
        let mut changed: Vec<MemberKey> = Vec::with_capacity(reports.len());
        let mut gone = Vec::new();
        for report in reports {
            self.seq += 1;
            let at = self.now.minus(report.age);
            match report.signal {
                Signal::Touch(touch) => {
                    if let Some(was) = self.supersede(touch.was.clone(), &touch.key) {
                        gone.push(was);
                        changed.push(touch.key.clone());
                    }
                    changed.extend(self.touch(at, touch));
                }
                Signal::Leave { key, tab } => changed.extend(self.leave(at, key, tab)),
                Signal::SignOut(user) => gone.extend(self.sign_out(user)),
            }
        }
        if !changed.is_empty() || !gone.is_empty() {
            self.bump();
            self.note_peak();
        }
        self.outcome(changed, gone)
    }

    /// How many are online.
    pub fn counts(&self) -> Counts {
        let users = self.users.len().saturating_sub(self.invisible);
        let guests = self.guests.len() + self.invisible;
        Counts { total: users + guests, users, guests, bots: self.bots.len() }
    }

    /// The most that were ever online at once.
    pub fn peak(&self) -> Option<Peak> {
        self.peak
    }

    /// A number that grows whenever anything changes, across restarts too: the time in milliseconds where that is
    /// ahead of the last one, as a number that was used before a crash must never be used again.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The time that the site stands at.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets go of the rows that nobody needs any more, and names them. The newest one stays: it tells the peak.
    pub fn sweep(&mut self) -> Vec<i64> {
        let mut swept = Vec::new();
        while self.rows.len() > 1 && self.rows.front().is_some_and(|(_, until)| *until < self.now) {
            swept.extend(self.rows.pop_front().map(|(slot, _)| slot));
        }
        swept
    }

    /// Members of a kind, newest first, from just after `after`, at most `limit`; and where the next page begins, if
    /// there is one. Invisible users are not among them.
    pub fn list(
        &self,
        kind: Kind,
        filter: &Filter<'_>,
        after: Option<Order>,
        limit: usize,
    ) -> (Vec<View<'_>>, Option<Order>) {
        let mut views = Vec::new();
        let (mut last, mut next) = (None, None);
        if limit == 0 {
            return (views, next);
        }
        self.roster(kind).newest(after, |member| {
            if member.invisible() || !self.matches(member, filter) {
                return true;
            }
            if views.len() == limit {
                next = last;
                return false;
            }
            views.push(self.view(member));
            last = Some((member.last_seen, member.seq));
            true
        });
        (views, next)
    }

    /// A user who is online and to be seen.
    pub fn user(&self, id: &UserId) -> Option<View<'_>> {
        let slot = self.users.find(&MemberKey::User(id.clone()))?;
        self.users.get(slot).filter(|member| !member.invisible()).map(|member| self.view(member))
    }

    /// Pages with users or guests on them, most first.
    pub fn pages(&self, limit: usize) -> Vec<PageCount<'_>> {
        self.places.pages(limit)
    }

    /// Counts of those whom a filter lets through. Costs as much as there are members.
    pub fn counts_of(&self, filter: &Filter<'_>) -> Counts {
        let matching = |roster: &Roster| roster.iter().filter(|member| self.matches(member, filter)).count();
        let hidden = self.users.iter().filter(|member| member.invisible() && self.matches(member, filter)).count();
        let users = matching(&self.users) - hidden;
        let guests = matching(&self.guests) + hidden;
        Counts { total: users + guests, users, guests, bots: matching(&self.bots) }
    }

    fn matches(&self, member: &Member, filter: &Filter<'_>) -> bool {
        if filter.path.is_none() && filter.topic.is_none() {
            return true;
        }
        let place = member.place.and_then(|id| self.places.get(id));
        let path = place.map(|place| place.path.as_str());
        let topic = place.and_then(|place| place.topic.as_ref()).map(|topic| topic.as_str());
        filter.path.is_none_or(|wanted| path == Some(wanted)) && filter.topic.is_none_or(|wanted| topic == Some(wanted))
    }

    fn view<'a>(&'a self, member: &'a Member) -> View<'a> {
        let live = member.tabs.iter().filter(|tab| self.users.covers(tab.at)).count();
        View {
            key: &member.key,
            profile: member.profile.as_deref(),
            state: member.state,
            since: member.since,
            last_seen: member.last_seen,
            place: member.place.and_then(|id| self.places.get(id)),
            tabs: live.max(1),
        }
    }

    fn roster(&self, kind: Kind) -> &Roster {
        match kind {
            Kind::User => &self.users,
            Kind::Guest => &self.guests,
            Kind::Bot => &self.bots,
        }
    }

    fn roster_mut(&mut self, kind: Kind) -> &mut Roster {
        match kind {
            Kind::User => &mut self.users,
            Kind::Guest => &mut self.guests,
            Kind::Bot => &mut self.bots,
        }
    }

    fn move_to(&mut self, now: Timestamp) {
        if now.as_secs() < self.now.as_secs() && self.now.since(now) >= Millis(1000) {
            self.rewind(now);
        }
        self.now = self.now.max(now);
        let before = self.users.len() + self.guests.len() + self.bots.len();
        self.let_leavers_go();
        let now = self.now;
        let mut left = Vec::new();
        for roster in [&mut self.users, &mut self.guests, &mut self.bots] {
            roster.expire(now, |member| left.push(member));
        }
        left.into_iter().for_each(|member| self.depart(member));
        if before != self.users.len() + self.guests.len() + self.bots.len() {
            self.bump();
        }
    }

    fn let_leavers_go(&mut self) {
        while let Some(leaving) = self.leaving.front() {
            if leaving.at > self.now {
                break;
            }
            let (kind, slot, seq) = (leaving.kind, leaving.slot, leaving.seq);
            self.leaving.pop_front();
            let still = self.roster(kind).get(slot).is_some_and(|member| member.seq == seq);
            if let Some(member) = still.then(|| self.roster_mut(kind).remove(slot)).flatten() {
                self.depart(member);
            }
        }
    }

    fn rewind(&mut self, now: Timestamp) {
        let window = self.window;
        self.rewound_from = self.rewound_from.max(Some(self.now));
        self.now = now;
        let adjust = |member: &mut Member| {
            member.last_seen = member.last_seen.min(now);
            member.since = member.since.min(now);
            member.leaves_at = member.leaves_at.map(|at| at.min(now.plus(LEAVE_GRACE)));
            member.tabs.iter_mut().for_each(|tab| tab.at = tab.at.min(now));
        };
        for roster in [&mut self.users, &mut self.guests, &mut self.bots] {
            roster.rewind(window, now, adjust);
        }
        self.rows.iter_mut().for_each(|(_, until)| *until = (*until).min(now.plus(window)));
        self.leaving.clear();
        let mut leaving: Vec<_> = [Kind::User, Kind::Guest, Kind::Bot]
            .into_iter()
            .flat_map(|kind| self.roster(kind).iter().map(move |member| (kind, member)))
            .filter_map(|(kind, member)| Some((member.leaves_at?, kind, member.key.clone(), member.seq)))
            .collect();
        leaving.sort_by_key(|(at, ..)| *at);
        for (at, kind, key, seq) in leaving {
            if let Some(slot) = self.roster(kind).find(&key) {
                self.leaving.push_back(Leaving { at, kind, slot, seq });
            }
        }
        self.bump();
    }

    /// Lets go of all that a member held, and notes a user's departure.
    fn depart(&mut self, member: Member) {
        let place = member.place.and_then(|id| self.places.get(id)).cloned();
        self.let_go(&member);
        let MemberKey::User(user) = member.key else { return };
        let profile = member.profile.map(|profile| *profile).unwrap_or_default();
        if profile.invisible {
            self.invisible = self.invisible.saturating_sub(1);
        } else {
            self.departures.push(Departure { user, last_seen: member.last_seen, profile, place });
        }
    }

    fn let_go(&mut self, member: &Member) {
        if let Some(id) = member.place {
            if member.key.kind() != Kind::Bot {
                self.places.exit(id);
            }
            self.places.release(id);
        }
        for id in member.tabs.iter().filter_map(|tab| tab.place) {
            self.places.release(id);
        }
    }

    /// A visitor is known by another key from now on. What is known of them goes over to it, unless somebody is
    /// online by that one already; the key that they had is given back.
    fn supersede(&mut self, was: Option<MemberKey>, key: &MemberKey) -> Option<MemberKey> {
        let was = was?;
        let slot = self.roster(was.kind()).find(&was)?;
        let mut member = self.roster_mut(was.kind()).remove(slot)?;
        if self.roster(key.kind()).find(key).is_some() {
            self.forget(member);
            return Some(was);
        }
        match (member.place, was.kind() == Kind::Bot, key.kind() == Kind::Bot) {
            (Some(id), true, false) => self.places.enter(id),
            (Some(id), false, true) => self.places.exit(id),
            _ => {}
        }
        (member.key, member.seq, member.leaves_at) = (key.clone(), self.seq, None);
        self.roster_mut(key.kind()).insert(member);
        Some(was)
    }

    fn touch(&mut self, at: Timestamp, touch: Touch) -> Option<MemberKey> {
        let kind = touch.key.kind();
        let Some(slot) = self.roster(kind).find(&touch.key) else {
            return self.arrive(at, touch);
        };
        if self.roster(kind).get(slot)?.last_seen > at {
            return None;
        }
        let told = touch.place.is_some();
        let here = self.settle(slot, kind, touch.place);
        let (window, now, seq) = (self.window, self.now, self.seq);
        let member = self.roster_mut(kind).get_mut(slot)?;
        let mut released: Vec<PlaceId> = Vec::new();
        member.tabs.retain(|tab| {
            let live = tab.at >= now.minus(window);
            released.extend(tab.place.filter(|_| !live));
            live
        });
        (member.last_seen, member.seq, member.leaves_at) = (at, seq, None);
        let mut held = None;
        if let Some(id) = touch.tab {
            let before = member.tabs.iter().find(|tab| tab.id == id).and_then(|tab| tab.place);
            // A tab that does not say where it is stays where it was.
            let place = if told { here } else { before.or(here) };
            held = place;
            released.extend(note_tab(&mut member.tabs, Tab { id, at, place, state: touch.state }));
        }
        let others_look = member.tabs.iter().any(|tab| Some(tab.id) != touch.tab && tab.state == State::Online);
        member.state = if others_look { State::Online } else { touch.state };
        let was_invisible = member.invisible();
        if let Some(profile) = touch.profile {
            member.profile = Some(Box::new(profile));
        }
        let is_invisible = member.invisible();
        self.roster_mut(kind).touch(slot);
        self.invisible = self.invisible + usize::from(is_invisible) - usize::from(was_invisible);
        held.into_iter().for_each(|id| self.places.hold_again(id));
        released.into_iter().for_each(|id| self.places.release(id));
        Some(touch.key)
    }

    fn arrive(&mut self, at: Timestamp, touch: Touch) -> Option<MemberKey> {
        let kind = touch.key.kind();
        let profile = touch.profile.map(Box::new);
        let invisible = profile.as_ref().is_some_and(|profile| profile.invisible);
        if !self.roster(kind).covers(at) {
            // Too old to be online by now, but a user was seen nevertheless.
            if let (MemberKey::User(user), false) = (touch.key, invisible) {
                let profile = profile.map(|profile| *profile).unwrap_or_default();
                self.departures.push(Departure { user, last_seen: at, profile, place: touch.place });
            }
            return None;
        }
        let place = touch.place.map(|place| self.places.hold(place));
        if let Some(id) = place {
            if kind != Kind::Bot {
                self.places.enter(id);
            }
            if touch.tab.is_some() {
                self.places.hold_again(id);
            }
        }
        let tabs = touch.tab.map(|id| Tab { id, at, place, state: touch.state }).into_iter().collect();
        let (seq, key) = (self.seq, touch.key.clone());
        let (last_seen, since, state) = (at, at, touch.state);
        let member = Member { key: touch.key, last_seen, since, seq, profile, place, state, tabs, leaves_at: None };
        self.roster_mut(kind).insert(member);
        self.invisible += usize::from(invisible);
        Some(key)
    }

    /// Moves a member to where they are now, and says where that is. A page without a title that was told one before
    /// keeps it: the origin's answer names the page, the page itself names its title a moment later.
    fn settle(&mut self, slot: Slot, kind: Kind, place: Option<Place>) -> Option<PlaceId> {
        let current = self.roster(kind).get(slot)?.place;
        let Some(place) = place else { return current };
        let known = current.and_then(|id| self.places.get(id));
        if known.is_some_and(|known| known.path == place.path && place.title.is_none() && place.topic.is_none()) {
            return current;
        }
        let next = self.places.hold(place);
        if kind != Kind::Bot {
            self.places.enter(next);
            if let Some(id) = current {
                self.places.exit(id);
            }
        }
        if let Some(id) = current {
            self.places.release(id);
        }
        self.roster_mut(kind).get_mut(slot)?.place = Some(next);
        Some(next)
    }

    fn leave(&mut self, at: Timestamp, key: MemberKey, tab: Option<TabId>) -> Option<MemberKey> {
        let kind = key.kind();
        let slot = self.roster(kind).find(&key)?;
        let (now, seq) = (self.now, self.seq);
        let oldest_live = now.minus(self.window);
        let member = self.roster_mut(kind).get_mut(slot)?;
        let named = tab.is_some();
        let closed = match tab {
            // A tab that was never told of, or was seen again after it was closed, closes nothing.
            Some(id) => {
                let index = member.tabs.iter().position(|tab| tab.id == id && tab.at <= at)?;
                vec![member.tabs.remove(index)]
            }
            None if member.last_seen > at => return None,
            None => std::mem::take(&mut member.tabs),
        };
        // The next page was asked for before this one was closed: that request keeps them.
        let seen_since = named && closed.iter().all(|tab| tab.at < member.last_seen);
        member.tabs.sort_by_key(|tab| tab.at);
        let rest = member.tabs.last().filter(|tab| tab.at >= oldest_live).cloned();
        member.seq = seq;
        if let Some(rest) = rest {
            let looking = member.tabs.iter().any(|tab| tab.state == State::Online);
            member.state = if looking { State::Online } else { State::Away };
            self.settle_in_tab(slot, kind, rest.place);
        } else if !seen_since {
            let leaves_at = at.plus(LEAVE_GRACE);
            member.leaves_at = Some(leaves_at);
            self.note_leaving(Leaving { at: leaves_at, kind, slot, seq });
        }
        closed.iter().filter_map(|tab| tab.place).for_each(|id| self.places.release(id));
        Some(key)
    }

    /// Queues a leaver by when they go. Reports come nearly in order, so there is hardly ever anybody to pass.
    fn note_leaving(&mut self, leaving: Leaving) {
        let behind = self.leaving.iter().rev().take_while(|other| other.at > leaving.at).count();
        self.leaving.insert(self.leaving.len() - behind, leaving);
    }

    /// A tab was closed: the member is where the most recent of the others is.
    fn settle_in_tab(&mut self, slot: Slot, kind: Kind, place: Option<PlaceId>) {
        let place = place.and_then(|id| self.places.get(id)).cloned();
        self.settle(slot, kind, place);
    }

    fn sign_out(&mut self, user: UserId) -> Option<MemberKey> {
        let key = MemberKey::User(user);
        let slot = self.users.find(&key)?;
        let member = self.users.remove(slot)?;
        self.depart(member);
        Some(key)
    }

    fn bump(&mut self) {
        let time = u64::try_from(self.now.as_millis()).unwrap_or(0);
        self.version = time.max(self.version + 1);
    }

    fn note_peak(&mut self) {
        let total = self.counts().total as u32;
        if self.peak.is_none_or(|peak| total > peak.total) && total > 0 {
            self.peak = Some(Peak { total, at: self.now });
        }
    }

    fn outcome(&mut self, changed: Vec<MemberKey>, gone: Vec<MemberKey>) -> Outcome {
        let nothing = changed.is_empty() && gone.is_empty() && self.rewound_from.is_none();
        let write = (!nothing).then(|| self.write(changed, gone));
        Outcome { write, departures: std::mem::take(&mut self.departures) }
    }

    fn write(&mut self, changed: Vec<MemberKey>, gone: Vec<MemberKey>) -> Write {
        let mut places = StoredPlaces::default();
        let mut members: Vec<&Member> = Vec::with_capacity(changed.len());
        for key in &changed {
            let roster = self.roster(key.kind());
            members.extend(roster.find(key).and_then(|slot| roster.get(slot)));
        }
        members.sort_unstable_by_key(|member| member.seq);
        members.dedup_by_key(|member| member.seq);
        let members = members.into_iter().map(|member| self.record(member, &mut places)).collect();
        let batch = Batch {
            written: self.now,
            rewound_from: self.rewound_from.take(),
            version: self.version,
            seq: self.seq,
            peak: self.peak,
            gone,
            places: places.list,
            members,
        };
        let data = record::encode(&batch);
        // A row that nobody needs any more is written over; the oldest comes first.
        let slot = match self.rows.front() {
            Some(&(slot, until)) if until < self.now => {
                self.rows.pop_front();
                slot
            }
            _ => self.next_slot,
        };
        self.keep_row(slot);
        Write { slot, data }
    }

    /// Notes a row written now, and until when it is needed: the second that a touch falls into counts whole.
    fn keep_row(&mut self, slot: i64) {
        self.next_slot = self.next_slot.max(slot.saturating_add(1));
        self.rows.push_back((slot, self.now.plus(self.window).plus(Seconds(1))));
    }

    fn record(&self, member: &Member, places: &mut StoredPlaces) -> Record {
        Record {
            key: member.key.clone(),
            last_seen: member.last_seen,
            since: member.since,
            seq: member.seq,
            profile: member.profile.as_deref().cloned(),
            place: member.place.and_then(|id| places.number(id, &self.places)),
            state: member.state,
            tabs: member
                .tabs
                .iter()
                .map(|tab| TabRecord {
                    id: tab.id,
                    at: tab.at,
                    place: tab.place.and_then(|id| places.number(id, &self.places)),
                    state: tab.state,
                })
                .collect(),
            leaves_at: member.leaves_at,
        }
    }

    fn replay(&mut self, batch: Batch) {
        self.version = self.version.max(batch.version);
        self.seq = self.seq.max(batch.seq);
        self.peak = batch.peak.or(self.peak);
        let Batch { gone, places, members, .. } = batch;
        let place = |number: Option<u32>| number.and_then(|number| places.get(number as usize)).cloned();
        for key in gone {
            let roster = self.roster_mut(key.kind());
            if let Some(member) = roster.find(&key).and_then(|slot| roster.remove(slot)) {
                self.forget(member);
            }
        }
        for record in members {
            let kind = record.key.kind();
            let roster = self.roster_mut(kind);
            if let Some(member) = roster.find(&record.key).and_then(|slot| roster.remove(slot)) {
                self.forget(member);
            }
            let here = place(record.place).map(|place| self.places.hold(place));
            if let (Some(id), true) = (here, kind != Kind::Bot) {
                self.places.enter(id);
            }
            let mut tabs = Vec::with_capacity(record.tabs.len());
            for tab in record.tabs {
                let place = place(tab.place).map(|place| self.places.hold(place));
                tabs.push(Tab { id: tab.id, at: tab.at.min(self.now), place, state: tab.state });
            }
            let member = Member {
                key: record.key,
                last_seen: record.last_seen.min(self.now),
                since: record.since.min(self.now),
                seq: record.seq,
                profile: record.profile.map(Box::new),
                place: here,
                state: record.state,
                tabs,
                leaves_at: record.leaves_at,
            };
            self.invisible += usize::from(member.invisible());
            let seq = member.seq;
            let slot = self.roster_mut(kind).insert(member);
            if let Some(at) = record.leaves_at {
                self.note_leaving(Leaving { at: at.min(self.now.plus(LEAVE_GRACE)), kind, slot, seq });
            }
        }
    }

    /// Lets go of a member without a departure, as another row tells more of them.
    fn forget(&mut self, member: Member) {
        self.invisible -= usize::from(member.invisible());
        self.let_go(&member);
    }
}

/// Notes what a tab reports, and gives back the place that it held before.
fn note_tab(tabs: &mut Vec<Tab>, tab: Tab) -> Option<PlaceId> {
    if let Some(known) = tabs.iter_mut().find(|known| known.id == tab.id) {
        return std::mem::replace(known, tab).place;
    }
    tabs.push(tab);
    if tabs.len() <= MAX_TABS {
        return None;
    }
    let oldest = tabs.iter().enumerate().min_by_key(|(_, tab)| tab.at).map(|(index, _)| index)?;
    tabs.remove(oldest).place
}

/// The places of a batch, each told once.
#[derive(Default)]
struct StoredPlaces {
    list: Vec<Place>,
    numbers: HashMap<PlaceId, u32>,
}

impl StoredPlaces {
    fn number(&mut self, id: PlaceId, places: &Places) -> Option<u32> {
        if let Some(&number) = self.numbers.get(&id) {
            return Some(number);
        }
        let number = self.list.len() as u32;
        self.list.push(places.get(id)?.clone());
        self.numbers.insert(id, number);
        Some(number)
    }
}

//! The presence of one site (or one shard of it): signals go in, members and counts come out.
//!
//! What is stored goes out as [`Write`]s; whoever holds a site writes them down before it answers, and gives them all
//! back to [`Site::restore`] after a restart. Time never runs backwards here: see [`Site::advance`].

pub mod changes;
mod devices;
pub mod erasing;
mod hiding;
mod moving;
mod passing;
mod signals;
mod stored;
mod tally;
mod topics;

use crate::presence::bounds::Bounds;
use crate::presence::compact::Member;
use crate::presence::ended::Ended;
use crate::presence::id::{TabId, UserId};
use crate::presence::member::{Departure, KeyRef, Kind, MemberKey, Place, Profile, State, Viewed};
use crate::presence::pages::{Page, fullest};
use crate::presence::places::{Numbers, Places};
use crate::presence::record::Peak;
use crate::presence::revoked::{Revocation, Revoked};
use crate::presence::ring::Slot;
pub use crate::presence::roster::Order;
use crate::presence::roster::{Roster, digest, order};
use crate::presence::time::{Seconds, Timestamp};
use crate::presence::totals::Totals;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};
use std::iter::Sum;
pub use stored::Rows;
pub use tally::Tally;

/// How long a visitor whose last page was closed is kept, as they may be opening the next one: a page that is
/// navigated away from reports its leave before the next one reports its touch.
pub const LEAVE_GRACE: Seconds = Seconds(10);

/// The most tabs that are told apart for a member; of more, the one seen longest ago is forgotten.
pub const MAX_TABS: usize = 16;

/// A page that is still open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose it is.
    pub key: MemberKey,
    /// Which of their tabs.
    pub tab: TabId,
    /// When that was last known.
    pub at: Timestamp,
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

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, counts| Self {
            total: sum.total + counts.total,
            users: sum.users + counts.users,
            guests: sum.guests + counts.guests,
            bots: sum.bots + counts.bots,
        })
    }
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
    /// The rows to be stored, together: none if nothing changed, hardly ever more than one.
    pub writes: Vec<Write>,
    /// Users who went, each to be kept if that is newer than what is kept of them. Those who went by the passing of time
    /// are told of together, once a minute at the most: until then the rows tell of them.
    pub departures: Vec<Departure>,
    /// Who looked at what and does no longer, each to be kept if that is newer than what is kept.
    pub views: Vec<Viewed>,
    /// Who hides, and since when; or no longer does.
    pub hidden: Vec<(UserId, Option<Timestamp>)>,
    /// Since when users' tokens are worth nothing, to be kept.
    pub revoked: Vec<Revocation>,
}

/// A member as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// Who.
    pub key: KeyRef<'a>,
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

impl View<'_> {
    /// Their place in the newest-first order.
    pub fn order(&self) -> Order {
        (self.last_seen, digest(self.key))
    }
}

/// Which members to list.
#[derive(Clone, Debug, Default)]
pub struct Filter<'a> {
    /// Only those on this page.
    pub path: Option<&'a str>,
    /// Only those with a page about this.
    pub topic: Option<&'a str>,
    /// Also those who are invisible, as what they are: users.
    pub invisible: bool,
}

/// The version that a change has which comes at that time, if none before has a later one: see [`Site::version`].
pub fn version_at(at: Timestamp) -> u64 {
    u64::try_from(at.as_millis()).unwrap_or(0)
}

struct Leaving {
    at: Timestamp,
    kind: Kind,
    slot: Slot,
}

/// Who is online, and all that has to be known to say so.
pub struct Site {
    window: Seconds,
    /// How many bytes places may take as long as there is anybody to merge.
    max_places: usize,
    users: Roster,
    guests: Roster,
    bots: Roster,
    places: Places,
    invisible: usize,
    leaving: VecDeque<Leaving>,
    /// Where those lie who are to be stored anew, and are marked so; and some who have gone since.
    changed: Vec<(Kind, Slot)>,
    /// Who is gone at once.
    gone: Vec<MemberKey>,
    /// Who is known by their key no more, and since when.
    ended: Ended,
    /// Rows in the order they were written, each with the time after which nobody needs it.
    rows: VecDeque<(i64, Timestamp)>,
    next_slot: i64,
    now: Timestamp,
    version: u64,
    peak: Option<Peak>,
    /// Whether it has but a share of the members, so that the peak of all has to be told to it.
    shared: bool,
    /// What was done; whoever holds the site counts along.
    pub totals: Totals,
    departures: Vec<Departure>,
    /// Users who went by the passing of time: the rows tell of them as well, for a while.
    held: Vec<Departure>,
    views: Vec<Viewed>,
    hidden: HashMap<UserId, Timestamp>,
    /// Who has hidden and is here in plain sight again, and since when.
    shown: HashMap<UserId, Timestamp>,
    hiding: Vec<(UserId, Option<Timestamp>)>,
    revoked: Revoked,
    revoking: Vec<Revocation>,
    /// How far the clock had come when it was put back since the last row: rows must tell, or a restart would not know.
    rewound_from: Option<Timestamp>,
    /// When it was last seen to which pages are open.
    renewed: Timestamp,
    /// While anybody watches.
    log: Option<changes::Log>,
}

impl Site {
    /// A site that nobody has visited. A window alone, which is for how long after a touch a member is online, means the
    /// bounds that hold for an object.
    pub fn new(bounds: impl Into<Bounds>, now: Timestamp) -> Self {
        let Bounds { window, guests, bots, places } = bounds.into();
        let roster = |limit| Roster::new(window, limit, now);
        Self {
            window,
            max_places: places,
            users: roster(usize::MAX),
            guests: roster(guests),
            bots: roster(bots),
            places: Places::default(),
            invisible: 0,
            leaving: VecDeque::new(),
            changed: Vec::new(),
            gone: Vec::new(),
            ended: Ended::default(),
            rows: VecDeque::new(),
            next_slot: 0,
            now,
            version: 0,
            peak: None,
            shared: false,
            totals: Totals::default(),
            departures: Vec::new(),
            held: Vec::new(),
            views: Vec::new(),
            hidden: HashMap::new(),
            shown: HashMap::new(),
            hiding: Vec::new(),
            revoked: Revoked::default(),
            revoking: Vec::new(),
            rewound_from: None,
            renewed: now,
            log: None,
        }
    }

    /// How many are online.
    pub fn counts(&self) -> Counts {
        Tally::of(self).counts(&Filter::default())
    }

    /// How many users are counted as guests.
    pub fn invisible(&self) -> usize {
        self.invisible
    }

    /// How many guests and bots are only counted, as there were too many to keep.
    pub fn merged(&self) -> (usize, usize) {
        (self.guests.merged().len(), self.bots.merged().len())
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

    /// For how long a touch counts.
    pub fn window(&self) -> Seconds {
        self.window
    }

    /// The time that the site stands at.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Members of a kind, newest first, from just after `after`, at most `limit`; and where the next page begins, if
    /// there is one. Who was merged is not among them. Invisible users are not among them unless the filter says so.
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
            if !self.visible(member, filter) {
                return true;
            }
            if views.len() == limit {
                next = last;
                return false;
            }
            views.push(self.view(member));
            last = Some(order(member));
            true
        });
        (views, next)
    }

    /// Whether somebody is online.
    pub fn knows(&self, key: KeyRef<'_>) -> bool {
        self.roster(key.kind()).find(key).is_some()
    }

    /// A user who is online and to be seen, or who is just online.
    pub fn user(&self, id: &UserId, invisible: bool) -> Option<View<'_>> {
        let slot = self.users.find(KeyRef::User(id))?;
        self.users.get(slot).filter(|member| invisible || !member.invisible()).map(|member| self.view(member))
    }

    /// What is to be kept of a user who went, and was not handed out yet.
    pub fn departed(&self, id: &UserId) -> Option<&Departure> {
        self.departures.iter().chain(&self.held).filter(|gone| gone.user == *id).max_by(|one, other| one.by_time(other))
    }

    /// The same of all of them.
    pub fn departures(&self) -> impl Iterator<Item = &Departure> {
        self.departures.iter().chain(&self.held)
    }

    /// Pages with users or guests on them, most first.
    pub fn pages(&self, limit: usize) -> Vec<Page<'_>> {
        fullest(self.places.pages(), limit)
    }

    /// Whether a user is online whom the filter lets through.
    fn sees(&self, user: &UserId, filter: &Filter<'_>) -> bool {
        let slot = self.users.find(KeyRef::User(user));
        slot.and_then(|slot| self.users.get(slot)).is_some_and(|member| self.visible(member, filter))
    }

    fn visible(&self, member: &Member, filter: &Filter<'_>) -> bool {
        (filter.invisible || !member.invisible()) && self.matches(member, filter)
    }

    fn matches(&self, member: &Member, filter: &Filter<'_>) -> bool {
        let path = |wanted: &str| {
            member.place().and_then(|id| self.places.get(id)).is_some_and(|place| place.path.as_str() == wanted)
        };
        filter.path.is_none_or(path) && filter.topic.is_none_or(|wanted| self.looks_at(member, wanted))
    }

    fn view<'a>(&'a self, member: &'a Member) -> View<'a> {
        View {
            key: member.key(),
            profile: member.profile(),
            state: member.state(),
            since: member.since(),
            last_seen: member.last_seen(),
            place: member.place().and_then(|id| self.places.get(id)),
            tabs: changes::tabs(member),
        }
    }

    /// Everybody, in no order.
    fn members(&self) -> impl Iterator<Item = &Member> {
        self.members_by_slot().map(|(.., member)| member)
    }

    /// The same, and where each of them lies.
    fn members_by_slot(&self) -> impl Iterator<Item = (Kind, Slot, &Member)> {
        let of = |kind| self.roster(kind).iter().map(move |(slot, member)| (kind, slot, member));
        [Kind::User, Kind::Guest, Kind::Bot].into_iter().flat_map(of)
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

    fn numbers(&self) -> Numbers {
        Numbers {
            users: self.users.len().saturating_sub(self.invisible),
            invisible: self.invisible,
            guests: self.guests.len(),
            bots: self.bots.len(),
        }
    }

    /// Says that it has but a share of the members: what it counts is not how many there are.
    pub fn share(&mut self) {
        self.shared = true;
    }

    /// Is told how many were online at once, and when. It is stored with the next row.
    pub fn tell_peak(&mut self, told: Peak) {
        if self.peak.is_none_or(|peak| told.total > peak.total) {
            self.peak = Some(told);
        }
    }

    fn note_peak(&mut self) {
        let total = self.numbers().people() as u32;
        if total > 0 && !self.shared {
            self.tell_peak(Peak { total, at: self.now });
        }
    }
}

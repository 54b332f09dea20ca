//! Somebody who is online, in forty bytes: a site may have a million of them, of whom nearly all are guests on one page.
//!
//! What few have lies apart: a user's id and how they are shown, further pages, when somebody is about to leave.

use super::id::{ClientId, DeviceId, GuestKey, TabId, UserId};
use super::member::{KeyRef, Kind, MemberKey, Profile, State};
use super::place_id::PlaceId;
use super::ring::Timed;
use super::time::{Millis, Timestamp};

/// One page that a member has open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tab {
    pub id: TabId,
    pub at: Timestamp,
    pub place: Option<PlaceId>,
    pub state: State,
}

/// A device on which a user is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: DeviceId,
    /// When it was last heard of, apart from its tabs.
    pub at: Timestamp,
    /// Where it was then.
    pub place: Option<PlaceId>,
    pub state: State,
    /// Which of the user's tabs are open on it.
    pub tabs: Vec<TabId>,
}

/// As what somebody is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    User,
    /// A user who is to be counted as a guest and named nowhere.
    Invisible,
    Guest,
    Bot,
}

/// Somebody who is online.
#[derive(Debug)]
pub struct Member {
    /// A guest's or a bot's key, or a digest of a user's id.
    digest: u64,
    more: Option<Box<More>>,
    /// When they were last seen, in whole seconds since the epoch; in the years 1970 to 2106.
    second: u32,
    /// How long their visit was when they were last seen, in milliseconds; of one of more than 49 days those.
    visit: u32,
    place: Option<PlaceId>,
    /// The one page that they have open, if it is the place where they were last; other pages lie apart, and then this is the
    /// first half of a summary of their places.
    tab: TabId,
    /// How long before they were last seen that one was touched, in milliseconds; or the other half.
    tab_age: u32,
    /// When they were last seen, in milliseconds beyond the second.
    millis: u16,
    flags: u8,
    sort: Sort,
}

/// Nobody is looking.
const AWAY: u8 = 1;
/// There is one page, where they were last.
const TAB: u8 = 2;
/// Nobody is looking at it.
const TAB_AWAY: u8 = 4;
/// They are to be stored anew.
const CHANGED: u8 = 8;
/// There are pages that lie apart.
const TABS_APART: u8 = 16;

#[derive(Debug, Default)]
struct More {
    user: Option<UserId>,
    profile: Option<Profile>,
    tabs: Vec<Tab>,
    leaves_at: Option<Timestamp>,
    devices: Vec<Device>,
}

impl Timed for Member {
    fn second(&self) -> i64 {
        i64::from(self.second)
    }
}

impl Member {
    /// Somebody who was seen for the first time; `digest` is of their key.
    pub fn new(key: MemberKey, digest: u64, at: Timestamp) -> Self {
        let mut member = Self {
            digest,
            more: None,
            second: 0,
            visit: 0,
            place: None,
            tab: TabId(0),
            tab_age: 0,
            millis: 0,
            flags: 0,
            sort: Sort::Guest,
        };
        member.call(key, digest);
        member.see(at);
        member.visit = 0;
        member
    }

    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Whose guest they are; to whom that is no business, a user in hiding is like the guest of a client of their own.
    pub fn client(&self) -> ClientId {
        GuestKey(self.digest).client()
    }

    pub fn key(&self) -> KeyRef<'_> {
        match (self.sort, self.more.as_deref().and_then(|more| more.user.as_ref())) {
            (_, Some(user)) => MemberKey::User(user),
            (Sort::Bot, None) => MemberKey::Bot(GuestKey(self.digest)),
            (_, None) => MemberKey::Guest(GuestKey(self.digest)),
        }
    }

    /// Has them known by another key from now on.
    pub fn call(&mut self, key: MemberKey, digest: u64) {
        self.digest = digest;
        self.sort = match key.kind() {
            Kind::User => Sort::User,
            Kind::Guest => Sort::Guest,
            Kind::Bot => Sort::Bot,
        };
        let user = if let MemberKey::User(user) = key { Some(user) } else { None };
        self.change_more(|more| (more.user, more.profile) = (user, None));
    }

    pub fn sort(&self) -> Sort {
        self.sort
    }

    /// Whether they are to be counted as a guest and named nowhere.
    pub fn invisible(&self) -> bool {
        self.sort == Sort::Invisible
    }

    pub fn last_seen(&self) -> Timestamp {
        Timestamp::from_millis(i64::from(self.second) * 1000 + i64::from(self.millis))
    }

    /// Notes when they were last seen; their visit began when it did.
    pub fn see(&mut self, at: Timestamp) {
        let (since, tab) = (self.since(), self.last_tab());
        let millis = at.as_millis().clamp(0, i64::from(u32::MAX) * 1000);
        // Both fit: that is what it was clamped for.
        (self.second, self.millis) = ((millis / 1000) as u32, (millis % 1000) as u16);
        self.begin(since);
        if let Some(tab) = tab {
            match span(tab.at, self.last_seen()) {
                Some(age) => self.tab_age = age,
                None => self.put_tabs(vec![tab]),
            }
        }
    }

    /// When this visit began.
    pub fn since(&self) -> Timestamp {
        self.last_seen().minus(Millis(self.visit))
    }

    /// Notes when this visit began.
    pub fn begin(&mut self, since: Timestamp) {
        self.visit = self.last_seen().since(since).0;
    }

    pub fn place(&self) -> Option<PlaceId> {
        self.place
    }

    /// Notes where they are; a page that they have open stays where it was.
    pub fn settle(&mut self, place: Option<PlaceId>) {
        let tab = self.last_tab().filter(|_| self.place != place);
        self.place = place;
        if let Some(tab) = tab {
            self.put_tabs(vec![tab]);
        }
    }

    /// Notes where they have gone to with the one page that they have open, where they were last.
    pub fn settle_along(&mut self, place: PlaceId) {
        self.place = Some(place);
    }

    pub fn state(&self) -> State {
        self.state_by(AWAY)
    }

    pub fn look(&mut self, state: State) {
        self.set(AWAY, state == State::Away);
    }

    pub fn profile(&self) -> Option<&Profile> {
        self.more.as_deref()?.profile.as_ref()
    }

    pub fn show_as(&mut self, profile: Option<Profile>) {
        let hides = profile.as_ref().is_some_and(|profile| profile.invisible);
        self.sort = match self.sort {
            Sort::User | Sort::Invisible => {
                if hides {
                    Sort::Invisible
                } else {
                    Sort::User
                }
            }
            sort @ (Sort::Guest | Sort::Bot) => sort,
        };
        self.change_more(|more| more.profile = profile);
    }

    /// When they go, unless they are seen again: told when their last page was closed.
    pub fn leaves_at(&self) -> Option<Timestamp> {
        self.more.as_deref()?.leaves_at
    }

    pub fn leave_at(&mut self, at: Option<Timestamp>) {
        if self.leaves_at() != at {
            self.change_more(|more| more.leaves_at = at);
        }
    }

    /// The pages that they have open, as far as these report themselves.
    pub fn tabs(&self) -> impl Iterator<Item = Tab> {
        // Most have none that lie apart, and to look there costs more than all else.
        let apart = self.more.as_ref().filter(|_| self.has(TABS_APART));
        self.last_tab().into_iter().chain(apart.into_iter().flat_map(|more| more.tabs.iter().copied()))
    }

    /// Whether one of the pages that lie apart may be at a place of which this is the summary. `false` is
    /// certain and reads nothing that lies apart. Of the members who have no such page open, about one in twenty gets `true`.
    pub fn may_have_apart(&self, summary: u64) -> bool {
        let theirs = u64::from(self.tab.0) | u64::from(self.tab_age) << 32;
        self.has(TABS_APART) && theirs & summary != 0
    }

    /// The devices on which they are signed in; none are known of a guest.
    pub fn devices(&self) -> &[Device] {
        self.more.as_deref().map_or(&[], |more| &more.devices)
    }

    /// Changes what is known of their devices. The places of these are held, as those of tabs are.
    pub fn change_devices(&mut self, change: impl FnOnce(&mut Vec<Device>)) {
        self.change_more(|more| change(&mut more.devices));
    }

    /// When a device was last heard of, its open tabs among it.
    pub fn last_heard_of(&self, device: &Device) -> Timestamp {
        self.tabs().filter(|tab| device.tabs.contains(&tab.id)).map(|tab| tab.at).fold(device.at, Timestamp::max)
    }

    /// The places that are held for them: where they are, and where each of their tabs and devices is.
    pub fn places(&self) -> impl Iterator<Item = PlaceId> {
        let of_devices = self.devices().iter().filter_map(|device| device.place);
        self.tabs().filter_map(|tab| tab.place).chain(self.place()).chain(of_devices)
    }

    /// Whether this is the one page that they have open, and where they were last.
    pub fn has_only(&self, tab: TabId) -> bool {
        self.has(TAB) && self.tab == tab
    }

    /// Notes a page that was touched, if that and no other is open and it is where they are. Where it is not so, says so:
    /// then all of them have to be looked at.
    pub fn note_only_tab(&mut self, tab: Tab) -> bool {
        let only = self.has_only(tab.id) || self.tabs().next().is_none();
        let age = span(tab.at, self.last_seen()).filter(|_| only && tab.place == self.place);
        if let Some(age) = age {
            self.hold_tab(tab, age);
        }
        age.is_some()
    }

    /// Takes the pages out, to be put back when they were changed.
    pub fn take_tabs(&mut self) -> Vec<Tab> {
        let tabs = self.tabs().collect();
        self.put_tabs(Vec::new());
        tabs
    }

    pub fn put_tabs(&mut self, tabs: Vec<Tab>) {
        let last = match tabs.as_slice() {
            [tab] if tab.place == self.place => Some((*tab, span(tab.at, self.last_seen()))),
            _ => None,
        };
        self.set(TAB, false);
        if let Some((tab, Some(age))) = last {
            self.hold_tab(tab, age);
        }
        let apart = if self.has(TAB) { Vec::new() } else { tabs };
        self.set(TABS_APART, !apart.is_empty());
        if !apart.is_empty() {
            let summary = apart.iter().filter_map(|tab| tab.place).fold(0, |summary, place| summary | place.bit());
            (self.tab, self.tab_age) = (TabId(summary as u32), (summary >> 32) as u32);
        }
        if !apart.is_empty() || self.more.as_ref().is_some_and(|more| !more.tabs.is_empty()) {
            self.change_more(|more| more.tabs = apart);
        }
    }

    /// Marks them to be stored anew, and says whether they were not before.
    pub fn mark_changed(&mut self) -> bool {
        let before = self.has(CHANGED);
        self.set(CHANGED, true);
        !before
    }

    /// Whether they are to be stored anew.
    pub fn is_changed(&self) -> bool {
        self.has(CHANGED)
    }

    /// Takes that mark off, and says whether it was there.
    pub fn unmark_changed(&mut self) -> bool {
        let before = self.has(CHANGED);
        self.set(CHANGED, false);
        before
    }

    fn hold_tab(&mut self, tab: Tab, age: u32) {
        (self.tab, self.tab_age) = (tab.id, age);
        self.set(TAB, true);
        self.set(TAB_AWAY, tab.state == State::Away);
    }

    fn last_tab(&self) -> Option<Tab> {
        let at = self.last_seen().minus(Millis(self.tab_age));
        let tab = Tab { id: self.tab, at, place: self.place, state: self.state_by(TAB_AWAY) };
        self.has(TAB).then_some(tab)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn set(&mut self, flag: u8, to: bool) {
        self.flags = if to { self.flags | flag } else { self.flags & !flag };
    }

    fn state_by(&self, away: u8) -> State {
        if self.has(away) { State::Away } else { State::Online }
    }

    fn change_more(&mut self, change: impl FnOnce(&mut More)) {
        let mut more = self.more.take().unwrap_or_default();
        change(&mut more);
        let listed = !more.tabs.is_empty() || !more.devices.is_empty();
        let any = listed || more.user.is_some() || more.profile.is_some() || more.leaves_at.is_some();
        self.more = any.then_some(more);
    }
}

/// How long it was from one moment to another that is not before it, if that is not too long to be told.
fn span(from: Timestamp, to: Timestamp) -> Option<u32> {
    u32::try_from(to.as_millis() - from.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::PagePath;
    use crate::presence::member::Place;
    use crate::presence::places::Places;
    use proptest::prelude::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_795_203_180_000 + millis)
    }

    fn guest() -> Member {
        Member::new(MemberKey::Guest(GuestKey(7)), 7, at(0))
    }

    fn places() -> [Option<PlaceId>; 3] {
        let mut places = Places::default();
        let mut hold =
            |path: &str| Some(places.hold(Place { path: PagePath::parse(path).unwrap(), title: None, topic: None }));
        [None, hold("/a"), hold("/b")]
    }

    #[test]
    fn somebody_takes_forty_bytes() {
        assert_eq!(size_of::<Option<Member>>(), 40);
    }

    #[test]
    fn a_guest_on_one_page_has_nothing_apart() {
        let mut member = guest();
        let [_, here, there] = places();
        member.settle(here);
        member.put_tabs(vec![Tab { id: TabId(1), at: at(0), place: here, state: State::Online }]);
        member.see(at(5000));
        assert!(member.more.is_none());
        member.settle(there);
        assert!(member.more.is_some(), "the page is not where they are");
        member.put_tabs(vec![Tab { id: TabId(1), at: at(5000), place: there, state: State::Online }]);
        assert!(member.more.is_none() && member.has_only(TabId(1)) && !member.has_only(TabId(2)));
        member.settle_along(here.unwrap());
        assert!(member.more.is_none() && member.tabs().all(|tab| tab.place == here));
        assert!(member.mark_changed() && !member.mark_changed());
        assert!(member.unmark_changed() && !member.unmark_changed());
    }

    #[test]
    fn a_visit_of_years_is_told_as_one_of_weeks() {
        let mut member = guest();
        member.see(at(100 * 86_400_000));
        assert_eq!(member.last_seen(), at(100 * 86_400_000));
        assert_eq!(member.last_seen().since(member.since()), Millis(u32::MAX));
    }

    #[derive(Clone, Debug)]
    enum Step {
        See(i64),
        Settle(usize),
        SettleAlong(usize),
        Look(bool),
        Leave(Option<i64>),
        Tabs(Vec<(u32, i64, usize, bool)>),
        Show(Option<bool>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let tab = (0..3u32, 0..9000i64, 0..3usize, any::<bool>());
        prop_oneof![
            (0..9000i64).prop_map(Step::See),
            (0..3usize).prop_map(Step::Settle),
            (1..3usize).prop_map(Step::SettleAlong),
            any::<bool>().prop_map(Step::Look),
            proptest::option::of(0..9000i64).prop_map(Step::Leave),
            proptest::collection::vec(tab, 0..3).prop_map(Step::Tabs),
            proptest::option::of(any::<bool>()).prop_map(Step::Show),
        ]
    }

    proptest! {
        /// The model is a plain struct.
        #[test]
        fn what_is_packed_is_what_was_told(user: bool, steps in proptest::collection::vec(step(), 0..30)) {
            let state = |away| if away { State::Away } else { State::Online };
            let key = if user { MemberKey::User(UserId::parse("sally").unwrap()) } else { MemberKey::Bot(GuestKey(9)) };
            let mut member = Member::new(key.clone(), 9, at(0));
            let (mut seen, mut place, mut looks, mut leaves) = (at(0), None, State::Online, None);
            let (mut tabs, mut profile) = (Vec::<Tab>::new(), None);
            for step in steps {
                match step {
                    Step::See(time) => { seen = seen.max(at(time)); member.see(seen); }
                    Step::Settle(number) => { place = places()[number]; member.settle(place); }
                    Step::SettleAlong(number) => {
                        let [tab] = tabs.as_mut_slice() else { continue };
                        if member.has_only(tab.id) {
                            prop_assert_eq!(tab.place, place);
                            (place, tab.place) = (places()[number], places()[number]);
                            member.settle_along(place.unwrap());
                        }
                    }
                    Step::Look(away) => { looks = state(away); member.look(looks); }
                    Step::Leave(time) => { leaves = time.map(at); member.leave_at(leaves); }
                    Step::Tabs(told) => {
                        let tab = |(id, time, place, away)| Tab { id: TabId(id), at: at(time), place: places()[place], state: state(away) };
                        tabs = told.into_iter().map(tab).collect();
                        member.put_tabs(tabs.clone());
                    }
                    Step::Show(hides) => {
                        profile = hides.map(|invisible| Profile { invisible, ..Profile::default() });
                        member.show_as(profile.clone());
                    }
                }
                prop_assert_eq!((member.last_seen(), member.since()), (seen, at(0)));
                prop_assert_eq!((member.place(), member.state(), member.leaves_at()), (place, looks, leaves));
                prop_assert_eq!(member.key(), key.borrow());
                prop_assert_eq!(member.profile(), profile.as_ref());
                prop_assert_eq!(member.invisible(), user && profile.as_ref().is_some_and(|profile| profile.invisible));
                prop_assert_eq!(member.tabs().collect::<Vec<_>>(), tabs.clone());
                let apart = |open: Option<PlaceId>| open != place && tabs.iter().any(|tab| tab.place == open);
                let missed = |open: Option<PlaceId>| apart(open) && !member.may_have_apart(open.map_or(0, PlaceId::bit));
                prop_assert!(!places().into_iter().flatten().any(|open| missed(Some(open))));
            }
            prop_assert_eq!(member.take_tabs(), tabs);
            prop_assert_eq!(member.tabs().count(), 0);
        }
    }
}

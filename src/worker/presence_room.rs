//! Those who watch a site, each by a socket.

use super::sockets::{Sockets, attach, attached, send};
use crate::http::problem::Problem;
use crate::http::report::{Seen, Sent};
use crate::identity::User;
use crate::identity::access::{Access, Standing};
use crate::identity::permission::Right;
use crate::identity::revocation::Account;
use crate::presence::allowance::{Allowance, Verdict};
use crate::presence::id::{DeviceId, TabId, UserId};
use crate::presence::member::{MemberKey, Signal};
use crate::presence::pulse;
use crate::presence::reports::Report;
use crate::presence::site::{Lease, MAX_TABS, Tally};
use crate::presence::time::{Millis, Seconds, Timestamp};
use crate::presence::watchers::{WatcherId, Watchers};
use crate::protocol::call::{Entry, Refusal, Watcher, read, write};
use crate::protocol::live::View;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use wasm_bindgen::JsValue;
use worker::Result;

/// A message that is no JSON object that we know.
const UNREADABLE: u16 = 4400;
/// They have signed out, were erased, or have to show again who they are.
const SIGNED_OUT: u16 = 4401;
/// Two pings are missing.
const SILENT: u16 = 4408;
/// They take in less than there is to tell.
const TOO_SLOW: u16 = 4413;
/// More messages than anybody has to send, or more connections.
const TOO_MANY: u16 = 4429;
/// The object has no room for more.
const FULL: u16 = 4503;

/// The most sockets of one visitor: one for each tab of several browsers.
const MAX_OF_ONE: usize = 32;
/// The most sockets of one object; the platform takes 32,768.
const MAX_SOCKETS: usize = 30_000;

/// How long ago it may have been looked up what somebody may do, before they are told more that depends on it.
const RECHECK: Seconds = Seconds(30);

/// Of so many users at a time it is looked up again.
const MAX_RECHECKED: usize = 500;

/// How many bytes may wait for a client, beyond the longest message that it was sent.
const MAX_UNREAD: usize = 256 * 1024;

/// Somebody's place in the room. It is kept with the socket, so that it outlives our memory.
#[derive(Serialize, Deserialize)]
struct Seat {
    id: WatcherId,
    view: View,
    who: Watcher,
    /// The permissions that they brought along, where what they see depends on what they may do.
    perms: Option<Vec<Right>>,
    /// When that was looked up last; anew after a sleep.
    #[serde(skip)]
    checked: Cell<Timestamp>,
    /// Until when they are who they are, and let see that.
    good_until: Timestamp,
    /// The socket's own, and those that it has told of.
    tabs: Vec<TabId>,
    heard: Timestamp,
    /// The longest message that was sent to them, in bytes; it is read by the time that the object sleeps.
    #[serde(skip)]
    longest: Cell<usize>,
}

/// Everybody who watches.
pub struct Room {
    sockets: Sockets,
    watchers: Watchers<View>,
    seats: HashMap<WatcherId, (web_sys::WebSocket, Seat)>,
    /// Which sockets each visitor has.
    held: HashMap<MemberKey, Vec<WatcherId>>,
    /// What those who sent something may still send.
    allowances: HashMap<WatcherId, Allowance>,
    last: WatcherId,
    /// Who sees what depends on what they may do.
    depending: BTreeSet<WatcherId>,
    /// When to look next who has fallen silent.
    look_at: Option<Timestamp>,
    /// When somebody has to show again who they are.
    expires_at: Option<Timestamp>,
    /// Whether others watch elsewhere.
    pub accompanied: bool,
}

impl Room {
    /// The room with those who were in it when the object went to sleep. They had been told everything by then: it
    /// does not sleep while there is anything to tell.
    pub fn of(sockets: Sockets) -> Self {
        let (mut watchers, mut seats, mut last) = (Watchers::default(), HashMap::new(), 0);
        let mut held: HashMap<MemberKey, Vec<WatcherId>> = HashMap::new();
        let (mut expires_at, mut depending) = (None, BTreeSet::new());
        for socket in sockets.open() {
            let Some(seat) = attached(&socket).and_then(|data| read::<Seat>(&data).ok()) else {
                let _ = socket.close();
                continue;
            };
            last = last.max(seat.id);
            watchers.add(seat.id, seat.view.clone(), None);
            held.entry(seat.who.key.clone()).or_default().push(seat.id);
            expires_at = earliest(expires_at, seat.good_until);
            depending.extend(seat.perms.is_some().then_some(seat.id));
            seats.insert(seat.id, (socket, seat));
        }
        Self {
            sockets,
            watchers,
            seats,
            held,
            allowances: HashMap::new(),
            last,
            depending,
            look_at: None,
            expires_at,
            accompanied: false,
        }
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Whether nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Refuses somebody for whom there is no room. They never have a socket here, so that it need not be seen to that
    /// they close it.
    pub fn refuse(&self, entry: &Entry) -> Option<Refusal> {
        let held = self.held.get(&entry.who.key).map_or(0, Vec::len);
        let (code, why) = match (held >= MAX_OF_ONE, self.seats.len() >= MAX_SOCKETS) {
            (true, _) => (TOO_MANY, "too many connections"),
            (_, true) => (FULL, "no room for more: try again later"),
            _ => return None,
        };
        Some(Refusal { code, why: why.to_owned() })
    }

    /// Lets somebody in, and tells them how things are. Their end of the socket is given back.
    pub fn enter(&mut self, entry: Entry, tally: &Tally<'_>, now: Timestamp) -> Result<web_sys::WebSocket> {
        let (server, client) = self.sockets.accept()?;
        let Entry { view, perms, since, who, good_until, tab, .. } = entry;
        let told = since.and_then(|version| view.since(tally, version, None)).unwrap_or_else(|| view.state(tally));
        let counts = view.counts(tally);
        server.send_with_str(&told)?;
        self.last += 1;
        self.held.entry(who.key.clone()).or_default().push(self.last);
        self.look_at = self.look_at.or(Some(now.plus(pulse::SILENCE)));
        self.expires_at = earliest(self.expires_at, good_until);
        let longest = Cell::new(told.len());
        // It may have been looked up a while ago: before more is told it is looked up again.
        self.depending.extend(perms.is_some().then_some(self.last));
        let (id, tabs, checked) = (self.last, vec![tab], Cell::default());
        let seat = Seat { id, view, who, perms, checked, good_until, tabs, heard: now, longest };
        attach(&server, &write(&seat));
        self.watchers.add(seat.id, seat.view.clone(), Some((tally.version(), counts)));
        self.seats.insert(seat.id, (server, seat));
        Ok(client)
    }

    /// What somebody says, as signals. Who says what cannot be read is shown out.
    pub fn hear(&mut self, socket: &web_sys::WebSocket, text: &str, now: Timestamp) -> Vec<Signal> {
        let Some((id, known)) = self.seat_of(socket) else { return Vec::new() };
        let Some((socket, seat)) = self.seats.get_mut(&id).filter(|_| known) else { return Vec::new() };
        seat.heard = now;
        match self.allowances.entry(id).or_insert_with(|| Allowance::new(now)).spend(now) {
            Verdict::Taken => {}
            Verdict::Dropped => return Vec::new(),
            Verdict::Enough => {
                return self.show_out(id, TOO_MANY, "too many messages");
            }
        }
        if text == "ping" {
            let _ = socket.send_with_str("pong");
            return Vec::new();
        }
        match Sent::from_message(text) {
            Ok(Sent::Touch(seen)) => {
                let tab = seen.tab.unwrap_or_else(|| seat.tabs.first().copied().unwrap_or(TabId(0)));
                if !seat.tabs.contains(&tab) {
                    if seat.tabs.len() >= MAX_TABS {
                        seat.tabs.remove(0);
                    }
                    seat.tabs.push(tab);
                    attach(socket, &write(seat));
                }
                vec![seat.who.touch(Seen { tab: Some(tab), ..seen })]
            }
            Ok(Sent::Leave(tab)) => {
                let tab = tab.or(seat.tabs.first().copied());
                seat.tabs.retain(|known| Some(*known) != tab);
                attach(socket, &write(seat));
                vec![Signal::Leave { key: seat.who.key.clone(), tab }]
            }
            Err(problem) => self.show_out(id, UNREADABLE, &reason(&problem)),
        }
    }

    /// Somebody's socket was closed: their pages are, as far as it spoke for them.
    pub fn part(&mut self, socket: &web_sys::WebSocket) -> Vec<Signal> {
        // Or they would wait for it, and the platform with them.
        let _ = socket.close();
        match self.seat_of(socket) {
            Some((id, true)) => self.part_from(id),
            _ => Vec::new(),
        }
    }

    /// Whether somebody has a connection.
    pub fn holds(&self, who: &MemberKey) -> bool {
        self.held.contains_key(who)
    }

    /// Shows a user out who is one no more, or no more on one of their devices. They may come again as whoever they are now.
    pub fn dismiss(&mut self, user: &UserId, device: Option<DeviceId>) {
        let key = MemberKey::User(user.clone());
        if device.is_none() {
            return self.sign_out(&key, "signed out");
        }
        let on_device = |(_, seat): &&(web_sys::WebSocket, Seat)| seat.who.said.and_then(|said| said.device) == device;
        let all = self.held.get(&key).into_iter().flatten().filter_map(|id| self.seats.get(id));
        let theirs: Vec<_> = all.filter(on_device).map(|(_, seat)| seat.id).collect();
        theirs.into_iter().for_each(|id| self.send_away(id, "signed out"));
    }

    /// Users of whom it has to be looked up again what they may do, before anything more is told.
    pub fn to_recheck(&self, now: Timestamp) -> Vec<UserId> {
        let seats = self.depending.iter().filter_map(|id| self.seats.get(id));
        let due = seats.filter(|(_, seat)| {
            let checked = seat.checked.get();
            checked > now || checked.plus(RECHECK) <= now
        });
        let mut users: Vec<_> = due.filter_map(|(_, seat)| user_of(&seat.who).cloned()).collect();
        users.sort_unstable();
        users.dedup();
        users.truncate(MAX_RECHECKED);
        users
    }

    /// Has it looked up again what a user may do, as that has changed.
    pub fn recheck_soon(&self, user: &UserId) {
        let seats = self.depending.iter().filter_map(|id| self.seats.get(id));
        seats
            .filter(|(_, seat)| user_of(&seat.who) == Some(user))
            .for_each(|(_, seat)| seat.checked.set(Timestamp::default()));
    }

    /// Shows those of these users out who may not see any more what they do; they may come again, to see what they may. What
    /// that means is given back. Where it could not be looked up what they may do, it is nothing.
    pub fn recheck(&mut self, now: Timestamp, looked_up: &[(UserId, Option<Account>)], access: &Access) -> Vec<Signal> {
        let mut over = Vec::new();
        for (_, seat) in self.depending.iter().filter_map(|id| self.seats.get(id)) {
            let (Some(user), Some(perms)) = (user_of(&seat.who), &seat.perms) else { continue };
            let Some((_, account)) = looked_up.iter().find(|(other, _)| other == user) else { continue };
            let user = User { id: user.clone(), profile: None, perms: perms.clone() };
            let standing = Standing::of(user, seat.who.said.unwrap_or_default(), account.as_ref());
            match account.is_some() && seat.view.is_for(&standing, access) {
                true => seat.checked.set(now),
                false => over.push(seat.id),
            }
        }
        over.into_iter().flat_map(|id| self.show_out(id, SIGNED_OUT, "what you may see has changed")).collect()
    }

    /// The same for a guest who is a user now: else their other pages would go on as another visitor.
    pub fn dismiss_guest(&mut self, guest: &MemberKey) {
        self.sign_out(guest, "signed in");
    }

    /// Shows out who has to show again who they are: a token has come to its end, a session perhaps too, or a guest's day.
    pub fn dismiss_expired(&mut self, now: Timestamp) {
        if self.expires_at.is_none_or(|at| now < at) {
            return;
        }
        let over = |(_, seat): &&(web_sys::WebSocket, Seat)| seat.good_until <= now;
        let over: Vec<_> = self.seats.values().filter(over).map(|(_, seat)| seat.id).collect();
        over.into_iter().for_each(|id| self.send_away(id, "sign in again"));
        self.expires_at = self.seats.values().map(|(_, seat)| seat.good_until).min();
    }

    fn sign_out(&mut self, who: &MemberKey, why: &str) {
        for id in self.held.get(who).cloned().unwrap_or_default() {
            self.send_away(id, why);
        }
    }

    fn send_away(&mut self, id: WatcherId, why: &str) {
        if let Some((socket, _)) = self.take_out(id) {
            let _ = socket.close_with_code_and_reason(SIGNED_OUT, why);
        }
    }

    /// When there is something to see to: somebody has to show again who they are, or may have fallen silent. Where
    /// somebody is alone there is nobody to know.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.look_at.into_iter().chain(self.expires_at).min().filter(|_| !self.is_alone())
    }

    /// Whether there is nobody to know who is still here.
    fn is_alone(&self) -> bool {
        self.seats.is_empty() || (self.seats.len() == 1 && !self.accompanied)
    }

    /// Parts from those who have fallen silent, if it is time to look: they have left when they were last heard.
    pub fn part_from_silent(&mut self, now: Timestamp) -> Vec<Report> {
        if self.is_alone() || self.look_at.is_some_and(|at| !pulse::look_is_due(at, now)) {
            return Vec::new();
        }
        let heard: Vec<_> =
            self.seats.values().map(|(socket, seat)| (seat.id, self.heard(socket, seat, now))).collect();
        let (mut dead, alive): (Vec<_>, Vec<_>) = heard.into_iter().partition(|(_, heard)| pulse::is_dead(*heard, now));
        let oldest = alive.into_iter().map(|(_, heard)| heard).min();
        self.look_at = Some(pulse::next_look(oldest.unwrap_or(now), now));
        // A page that was heard of after another was closed has outlived it.
        dead.sort_by_key(|(_, heard)| *heard);
        let mut left = Vec::new();
        for (id, heard) in dead {
            let age = now.since(heard);
            let signals = self.show_out(id, SILENT, "no ping for a minute");
            left.extend(signals.into_iter().map(|signal| Report { age, signal }));
        }
        left
    }

    /// Which pages are open, each as of when it was last heard of.
    pub fn open(&self, now: Timestamp) -> Vec<Lease> {
        let lease = |(socket, seat): &(web_sys::WebSocket, Seat)| {
            let (key, at) = (&seat.who.key, self.heard(socket, seat, now));
            seat.tabs.iter().map(|tab| Lease { key: key.clone(), tab: *tab, at }).collect::<Vec<_>>()
        };
        self.seats.values().flat_map(lease).collect()
    }

    /// In what time they are told something next, if anybody is there.
    pub fn next(&self, now: Timestamp) -> Option<Millis> {
        (!self.is_empty()).then(|| self.watchers.next(now))
    }

    /// How long to wait before they are told of this version; `None` if they know it.
    pub fn due(&self, now: Timestamp, version: u64) -> Option<Millis> {
        self.watchers.due(now, version)
    }

    /// Tells them what is new. Who does not read what they were told is shown out, rather than more and more of it kept
    /// for them: what that means is given back.
    pub fn tell(&mut self, now: Timestamp, tally: &Tally<'_>) -> Vec<Signal> {
        let (seats, mut slow) = (&self.seats, Vec::new());
        self.watchers.tell(now, tally.version(), |view, known, watchers| {
            let (version, counts) = known.unzip();
            let text = match version.or(tally.restarted_at()) {
                // As when the object went to sleep.
                Some(slept) if version.is_none() && slept == tally.version() => None,
                Some(version) => view.since(tally, version, counts),
                None => Some(view.state(tally)),
            };
            if let Some(text) = text {
                let message = JsValue::from_str(&text);
                for (socket, seat) in watchers.iter().filter_map(|id| seats.get(id)) {
                    if socket.buffered_amount() as usize > seat.longest.get() + MAX_UNREAD {
                        slow.push(seat.id);
                        continue;
                    }
                    seat.longest.set(seat.longest.get().max(text.len()));
                    // One that is dead must not keep the others from hearing it; it will be closed.
                    send(socket, &message);
                }
            }
            view.counts(tally)
        });
        slow.into_iter().flat_map(|id| self.show_out(id, TOO_SLOW, "too much is unread")).collect()
    }

    /// When somebody was last heard.
    fn heard(&self, socket: &web_sys::WebSocket, seat: &Seat, now: Timestamp) -> Timestamp {
        let answered = self.sockets.answered_at(socket).map(Timestamp::from_millis);
        answered.map_or(seat.heard, |answered| answered.max(seat.heard)).min(now)
    }

    /// Closes somebody's socket, and says what that means: their pages are closed.
    fn show_out(&mut self, id: WatcherId, code: u16, why: &str) -> Vec<Signal> {
        if let Some((socket, _)) = self.seats.get(&id) {
            let _ = socket.close_with_code_and_reason(code, why);
        }
        self.part_from(id)
    }

    fn part_from(&mut self, id: WatcherId) -> Vec<Signal> {
        let Some((_, seat)) = self.take_out(id) else { return Vec::new() };
        let others = self.held.get(&seat.who.key).into_iter().flatten().filter_map(|id| self.seats.get(id));
        let open: Vec<_> = others.flat_map(|(_, other)| &other.tabs).collect();
        // A page may have several connections, or a new one before the old one's end is noticed.
        let closed = seat.tabs.iter().filter(|tab| !open.contains(tab));
        closed.map(|tab| Signal::Leave { key: seat.who.key.clone(), tab: Some(*tab) }).collect()
    }

    fn take_out(&mut self, id: WatcherId) -> Option<(web_sys::WebSocket, Seat)> {
        let (socket, seat) = self.seats.remove(&id)?;
        // Until the other end closes it too it is among the object's sockets: it is to be nobody's after a sleep.
        attach(&socket, &[]);
        self.watchers.remove(id);
        self.allowances.remove(&id);
        self.depending.remove(&id);
        if let Some(held) = self.held.get_mut(&seat.who.key) {
            held.retain(|other| *other != id);
            if held.is_empty() {
                self.held.remove(&seat.who.key);
            }
        }
        Some((socket, seat))
    }

    fn seat_of(&self, socket: &web_sys::WebSocket) -> Option<(WatcherId, bool)> {
        let seat = read::<Seat>(&attached(socket)?).ok()?;
        Some((seat.id, self.seats.contains_key(&seat.id)))
    }
}

fn user_of(who: &Watcher) -> Option<&UserId> {
    if let MemberKey::User(user) = &who.key { Some(user) } else { None }
}

/// A close's reason has room for 123 bytes.
fn reason(problem: &Problem) -> String {
    let text = problem.detail();
    let end = (0..=123).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.get(..end).unwrap_or(&text).to_owned()
}

fn earliest(known: Option<Timestamp>, other: Timestamp) -> Option<Timestamp> {
    Some(known.map_or(other, |known| known.min(other)))
}

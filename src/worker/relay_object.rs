//! A Durable Object that relays a site in several parts to those who watch it.
//!
//! It is an object because what somebody watches must be one thing, of one version after the other. It copies each part,
//! holds the connections, and says for those who are connected what they would say to the parts themselves. It stores
//! nothing: what it knows it can ask for, and who watches is kept with their connections.
//!
//! One relay holds so many connections; more are held by others below it, to which it passes on what it is told.

use super::calls::{self, Object, PATIENCE};
use super::object::{Store, call};
use super::presence_object::{ENTRY, REFUSED};
use super::presence_room::Room;
use super::rechecks::Rechecks;
use super::sockets::Sockets;
use super::waiting::{Timer, Together};
use super::{clock, recording, topics};
use crate::config::Config;
use crate::presence::copies::{Copies, Progress};
use crate::presence::member::{MemberKey, Signal, Touch};
use crate::presence::pulse::open_at;
use crate::presence::reports::Report;
use crate::presence::shards::Shards;
use crate::presence::site::Lease;
use crate::presence::time::{Millis, Seconds, Timestamp};
use crate::protocol::call::{Call, Entry, Share, read_text, write};
use crate::protocol::relay::{Ended, Follow, Followed, RelayCall};
use futures_util::future::{FutureExt, join, join_all, select};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::time::Duration;
use worker::{
    Delay, DurableObject, Env, Error, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage,
    console_error, durable_object,
};

/// How many connections a relay holds; a test has few.
const CONNECTIONS: usize = if cfg!(feature = "test-hooks") { 8 } else { 4000 };

/// How many relays a site has at the most.
pub const RELAYS: u32 = 32;

/// The status of the answer to who is to ask the next relay.
pub const ELSEWHERE: u16 = 421;

/// How often the parts are told which pages are open: twice before one would be taken for closed. A test does not wait.
const RENEW: Millis = Millis(if cfg!(feature = "test-hooks") { 2000 } else { 25_000 });

/// How long who comes waits until the parts have heard of it and are copied: less than is waited for a relay. One that is
/// silent keeps nobody from watching the others.
const HURRY: Duration = Duration::from_millis(1200);

/// Of pages that connect within this time the parts are told together.
const TOGETHER: Millis = Millis(250);

/// One of the relays of a site.
#[durable_object]
pub struct RelayObject {
    relay: AssertUnwindSafe<Rc<Relay>>,
}

pub(super) struct Relay {
    pub(super) this: Weak<Self>,
    pub(super) store: Store,
    pub(super) env: Env,
    config: std::result::Result<Config, String>,
    pub(super) share: Option<Share>,
    pub(super) room: RefCell<Room>,
    copies: RefCell<Copies>,
    /// Whether every part was copied, or asked for in vain.
    ready: Cell<bool>,
    renewing: Together,
    /// To which it passes on what it is told.
    pub(super) below: RefCell<BTreeSet<u32>>,
    /// How many times one of them has said so, and whether those are known that did before it was started anew.
    pub(super) belows: Cell<u64>,
    pub(super) recalled: Cell<bool>,
    /// Parts that are being asked for where they are, and which version of theirs is wanted.
    catching_up: RefCell<BTreeMap<u32, u64>>,
    /// How many are about to watch.
    entering: Cell<usize>,
    /// Which pages have connected since the parts were told of some, and when that was.
    connecting: RefCell<Vec<Lease>>,
    connected_at: Cell<Option<Timestamp>>,
    timer: Timer,
    rechecks: Rechecks,
    /// When the parts were told last which pages are open.
    renewed_at: Cell<Option<Timestamp>>,
}

impl DurableObject for RelayObject {
    fn new(state: State, env: Env) -> Self {
        let setup = super::setup::Setup::of(&env);
        let config = setup.config().cloned().map_err(|problem| format!("{problem:?}"));
        let share = state.id().name().and_then(|name| Share::of(&name));
        let room = RefCell::new(Room::of(Sockets::of(&state)));
        let (window, parts) =
            config.as_ref().map_or_else(|_| Default::default(), |config| (config.window(), config.shards.count()));
        let relay = Rc::new_cyclic(|this| Relay {
            this: this.clone(),
            store: Store::new(state, &[]),
            env,
            config,
            share,
            room,
            copies: RefCell::new(Copies::new(window, parts)),
            ready: Cell::new(false),
            renewing: Together::default(),
            below: RefCell::default(),
            belows: Cell::new(0),
            recalled: Cell::new(false),
            catching_up: RefCell::default(),
            entering: Cell::new(0),
            connecting: RefCell::default(),
            connected_at: Cell::new(None),
            timer: Timer::default(),
            rechecks: Rechecks::default(),
            renewed_at: Cell::new(None),
        });
        relay.note_company();
        Self { relay: AssertUnwindSafe(relay) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let relay = &self.relay;
        #[cfg(feature = "test-hooks")]
        relay.heed(&request).await?;
        if let Some(entry) = request.headers().get(ENTRY)? {
            let entry = read_text(&entry).map_err(|error| Error::RustError(error.to_string()))?;
            relay.entering.set(relay.entering.get() + 1);
            let entered = relay.enter(entry).await;
            relay.entering.set(relay.entering.get().saturating_sub(1));
            return entered;
        }
        let answer = match call::<RelayCall>(request).await? {
            RelayCall::Progress(progress, ended, known) => {
                relay.recall_below(known);
                write(&relay.hear(progress, ended))
            }
            RelayCall::Recheck(user) => {
                relay.room.borrow().recheck_soon(&user);
                relay.pass_on_recheck(&user);
                write(&())
            }
            RelayCall::Below(number) => {
                relay.belows.set(relay.belows.get() + 1);
                relay.below.borrow_mut().insert(number);
                relay.note_company();
                write(&())
            }
        };
        Response::from_bytes(answer)
    }

    async fn alarm(&self) -> Result<Response> {
        let relay = &self.relay;
        relay.store.woken();
        let now = clock::now();
        relay.room.borrow_mut().dismiss_expired(now);
        let silent = relay.room.borrow_mut().part_from_silent(now);
        relay.say_of(silent);
        if !relay.room.borrow().is_empty() {
            if relay.renewal(now) <= now {
                relay.renew().await;
            }
            relay.tell();
        }
        Response::empty()
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        let text = if let WebSocketIncomingMessage::String(text) = message { text } else { String::new() };
        let private = self.relay.config().ok().map(|config| &config.private_paths);
        let said = self.relay.room.borrow_mut().hear(socket.as_ref(), &text, private, clock::now());
        self.relay.say_checked(said).await;
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, _: usize, _: String, _: bool) -> Result<()> {
        self.relay.part(&socket);
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, _: Error) -> Result<()> {
        self.relay.part(&socket);
        Ok(())
    }
}

/// Open pages, by the part that keeps whose they are.
fn by_home(open: Vec<Lease>, shards: Shards) -> BTreeMap<u32, Vec<Lease>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for lease in open {
        all.entry(shards.home(lease.key.borrow())).or_default().push(lease);
    }
    all
}

impl Relay {
    fn config(&self) -> Result<&Config> {
        self.config.as_ref().map_err(|error| Error::RustError(error.clone()))
    }

    pub(super) fn share(&self) -> Result<&Share> {
        self.share.as_ref().ok_or_else(|| Error::RustError("it does not know its name".into()))
    }

    /// Lets a test meddle with it, and start it anew.
    #[cfg(feature = "test-hooks")]
    async fn heed(&self, request: &Request) -> Result<()> {
        use super::hooks;
        let called = format!("relay-{}", self.share.as_ref().map_or(0, |share| share.number));
        super::object::heed(request, &called).await?;
        if hooks::fault() == format!("restart-{called}") {
            hooks::set(None, Some("none".to_owned()));
            self.store.restart()?;
        }
        Ok(())
    }

    async fn enter(&self, entry: Entry) -> Result<Response> {
        // Those who are about to watch are among them, and whoever comes here is one of those.
        if self.room.borrow().len() + self.entering.get() > CONNECTIONS && self.share()?.number + 1 < RELAYS {
            return Ok(Response::empty()?.with_status(ELSEWHERE));
        }
        let refusal = self.room.borrow_mut().refuse(&entry);
        if let Some(refusal) = refusal {
            return Ok(Response::from_bytes(write(&refusal))?.with_status(REFUSED));
        }
        let (key, tab, entry_signals) = (entry.who.key.clone(), entry.tab, entry.signals.clone());
        // The parts do not tell a relay at which nobody watches.
        let renews = !self.ready.get() || self.room.borrow().is_empty();
        self.hurry(move |relay| async move { relay.say_at_once(entry_signals, renews).await }).await;
        let client = {
            let mut copies = self.copies.borrow_mut();
            let client = self.room.borrow_mut().enter(entry, &copies.tally(), clock::now())?;
            copies.note_told();
            client
        };
        // They are among those that the parts are told of in a while: before that, all of them would be told without them.
        let lease = Lease { key, tab, at: clock::now() };
        self.hurry(move |relay| async move { relay.connect(lease).await }).await;
        self.wake_in_time();
        Response::from_websocket(client.into())
    }

    /// Waits for some work, though not for long; it goes on all the same.
    async fn hurry<W: Future<Output = ()> + 'static>(&self, work: impl FnOnce(Rc<Self>) -> W) {
        let Some(this) = self.this.upgrade() else { return };
        let work = work(this).boxed_local().shared();
        self.store.wait_until(work.clone());
        select(work, pin!(Delay::from(HURRY))).await;
    }

    async fn say_at_once(&self, signals: Vec<Signal>, renews: bool) {
        let (Ok(share), Ok(config)) = (self.share(), self.config()) else { return };
        let said = recording::say_at_once(signals, &share.site, config, &self.env);
        if !renews {
            return said.await;
        }
        join(said, self.renew()).await;
        // Who comes may not have waited for it.
        self.tell();
    }

    /// Tells the part of a page that connects: now, or with those that connect in the next moments.
    async fn connect(&self, lease: Lease) {
        self.connecting.borrow_mut().push(lease);
        let now = clock::now();
        let since = self.connected_at.get().filter(|at| *at <= now).map_or(TOGETHER, |at| now.since(at));
        if since >= TOGETHER {
            return self.tell_connected().await;
        }
        if let (1, Some(this)) = (self.connecting.borrow().len(), self.this.upgrade()) {
            self.store.wait_until(async move {
                Delay::from(Duration::from_millis(u64::from(TOGETHER.0 - since.0))).await;
                this.tell_connected().await;
            });
        }
    }

    async fn tell_connected(&self) {
        self.connected_at.set(Some(clock::now()));
        let (Ok(share), Ok(config)) = (self.share(), self.config()) else { return };
        let open = by_home(self.connecting.take(), config.shards);
        let told = open.into_iter().map(|(number, open)| async move {
            let (object, call) = (Object::Presence(&share.site, number), Call::Connected(share.number, open));
            calls::ask::<()>(&self.env, object, &call, PATIENCE).await
        });
        for told in join_all(told).await {
            told.unwrap_or_else(|error| console_error!("a part does not hear who is connected: {error}"));
        }
    }

    /// Hears what has become of a part, and says whether anybody wants to know.
    fn hear(&self, progress: Progress, ended: Vec<Ended>) -> bool {
        let wanted = !self.room.borrow().is_empty() || !self.below.borrow().is_empty() || self.entering.get() > 0;
        self.pass_on(&progress, &ended);
        if let Ok(share) = self.share() {
            // Whoever comes by that key again is news to this isolate, too.
            recording::end(&share.site, &ended);
        }
        let mut room = self.room.borrow_mut();
        for (key, device) in &ended {
            match key {
                MemberKey::User(user) => room.dismiss(user, *device),
                MemberKey::Guest(_) | MemberKey::Bot(_) => room.dismiss_guest(key),
            }
        }
        drop(room);
        if !self.copies.borrow_mut().follow(&progress) && wanted {
            self.catch_up(progress.number, progress.to);
        }
        self.tell();
        wanted
    }

    /// Comes to where a part is that has got this far, whatever the others do.
    fn catch_up(&self, number: u32, version: u64) {
        let under_way = self.catching_up.borrow_mut().insert(number, version).is_some();
        if let (false, Some(this)) = (under_way, self.this.upgrade()) {
            self.store.wait_until(async move {
                // It may get on while it is asked.
                for _ in 0..2 {
                    this.follow_one(number).await;
                    let (known, wanted) = (this.copies.borrow().version(number), this.catching_up.borrow());
                    if known >= wanted.get(&number).copied() {
                        break;
                    }
                }
                this.catching_up.borrow_mut().remove(&number);
            });
        }
    }

    async fn follow_one(&self, number: u32) {
        if let (Ok(share), Ok(config)) = (self.share(), self.config()) {
            let mut open = by_home(self.room.borrow().open(clock::now()), config.shards);
            self.follow(share, number, open.remove(&number).unwrap_or_default()).await;
        }
    }

    /// Tells each part which pages are open, and comes to where it is.
    async fn renew(&self) {
        let work = |relay: Rc<Self>| async move { relay.follow_all().await };
        self.renewing.wait(&self.store, &self.this, work).await;
    }

    /// When the parts are to be told next which pages are open. A clock that was put back makes nobody wait.
    fn renewal(&self, now: Timestamp) -> Timestamp {
        self.renewed_at.get().filter(|at| *at <= now).map_or(now, |at| at.plus(RENEW))
    }

    /// Has it woken when there is something to see to, as long as anybody watches.
    fn wake_in_time(&self) {
        let (now, room) = (clock::now(), self.room.borrow());
        if !room.is_empty() {
            let due = [Some(self.renewal(now)), room.deadline(), self.copies.borrow_mut().deadline()];
            self.store.wake_by(due.into_iter().flatten().min(), now);
        }
    }

    async fn follow_all(&self) {
        self.renewed_at.set(Some(clock::now()));
        if let (Ok(share), Ok(config)) = (self.share(), self.config()) {
            if share.number > 0 {
                let below = RelayCall::Below(share.number);
                let told = calls::ask::<()>(&self.env, Object::Relay(&share.site, 0), &below, PATIENCE).await;
                told.unwrap_or_else(|error| console_error!("it is not passed on what becomes of the parts: {error}"));
            }
            let shards = config.shards;
            let mut open = by_home(self.room.borrow().open(clock::now()), shards);
            join_all(
                shards
                    .all()
                    .map(|number| self.follow(share, number, open.remove(&number).unwrap_or_default()))
                    .collect::<Vec<_>>(),
            )
            .await;
        }
        self.ready.set(true);
        self.renewing.done();
    }

    async fn follow(&self, share: &Share, number: u32, open: Vec<Lease>) {
        let (since, watchers) = (self.copies.borrow().version(number), self.room.borrow().len());
        let follow = Call::Follow(Follow { relay: share.number, since, open, watchers });
        let object = Object::Presence(&share.site, number);
        match calls::ask(&self.env, object, &follow, PATIENCE).await {
            Ok(followed) => self.take_followed(number, since, followed),
            // It is missing as yet, or goes on by itself.
            Err(error) => {
                self.copies.borrow_mut().note_silent(number);
                console_error!("a part does not tell where it is: {error}");
            }
        }
        // Who watches does not wait for the other parts.
        self.tell();
    }

    fn take_followed(&self, number: u32, since: Option<u64>, followed: Followed) {
        let (Followed { version, at, rows, anew }, mut copies) = (followed, self.copies.borrow_mut());
        if anew {
            let rows: BTreeMap<i64, Vec<u8>> = (0..).zip(rows).collect();
            copies.copy(number, &rows, at, version);
        } else {
            // It may have been told more since it asked.
            copies.follow(&Progress { number, from: since, to: version, at, rows });
        }
    }

    /// Somebody's socket was closed.
    fn part(&self, socket: &WebSocket) {
        let said = self.room.borrow_mut().part(socket.as_ref());
        self.say(said);
    }

    /// The same without the topics that pages report of themselves and that are not taken.
    async fn say_checked(&self, mut said: Vec<Signal>) {
        if let (Ok(share), Ok(config)) = (self.share(), self.config()) {
            for signal in &mut said {
                if let Signal::Touch(Touch { place: Some(place), .. }) = signal {
                    topics::check(place, &share.site, config, &self.env, || true).await;
                }
            }
        }
        self.say(said);
    }

    /// Tells the parts what those who are connected say.
    fn say(&self, signals: Vec<Signal>) {
        self.say_of(signals.into_iter().map(|signal| Report { age: Millis(0), signal }).collect());
    }

    /// Tells the parts what is to be said of those who are connected.
    fn say_of(&self, reports: Vec<Report>) {
        let (Ok(share), Ok(config)) = (self.share(), self.config()) else { return };
        if let Some(sending) = recording::say(reports, &share.site, config, &self.env) {
            self.store.wait_until(sending);
        }
    }

    /// Tells those who watch what is new, now or when it is time.
    fn tell(&self) {
        if !self.ready.get() {
            return;
        }
        let now = clock::now();
        self.copies.borrow_mut().go_on(now, || self.open(now));
        self.wake_in_time();
        let due = self.room.borrow().due(now, self.copies.borrow().tally().version());
        match due {
            // They are told when that is known.
            Some(Millis(0)) if self.recheck(now) => {}
            Some(Millis(0)) => {
                let left = self.room.borrow_mut().tell(now, &self.copies.borrow().tally());
                self.copies.borrow_mut().note_told();
                self.say(left);
            }
            Some(wait) => self.tell_in(wait),
            None => {}
        }
    }

    /// Has it looked up again what those may do who watch, where that is due: until then nothing is told.
    fn recheck(&self, now: Timestamp) -> bool {
        let users = self.room.borrow().to_recheck(now);
        let (false, Some(this)) = (users.is_empty(), self.this.upgrade()) else { return false };
        let site = self.share.as_ref().map(|share| share.site.clone());
        self.rechecks.start(&self.store, &self.env, site, users, move |accounts| {
            let Ok(config) = this.config() else { return };
            let left = this.room.borrow_mut().recheck(clock::now(), &accounts, &config.access);
            this.say(left);
            this.tell();
        });
        true
    }

    /// The pages that are known to be open.
    fn open(&self, now: Timestamp) -> Vec<Lease> {
        let window = self.config().map_or_else(|_| Seconds::default(), Config::window);
        let open = self.room.borrow().open(now).into_iter();
        open.map(|lease| Lease { at: open_at(lease.at, window, now), ..lease }).collect()
    }

    fn tell_in(&self, wait: Millis) {
        self.timer.set(&self.store, wait, &self.this, |relay| &relay.timer, Self::tell);
    }
}

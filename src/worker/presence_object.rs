//! The Durable Object that keeps one site's presence.
//!
//! It is an object because presence is one thing: whoever asks must see what everybody else reported. Its storage
//! makes it durable: writes without an `await` between them commit together, and the output gate holds an answer
//! until what was written before it is on disk, so whatever was answered survives.
//!
//! Load, call the core, store, answer. The core is put back only when all of that went well: after an error or a
//! panic it is built anew from the rows, which are the truth.

use super::clock;
use super::object::{Store, answered, call};
use super::presence_batches::signed_in;
use super::presence_moves::Among;
use super::presence_relays::Relays;
use super::presence_room::Room;
use super::presence_rows::{LOGINS, RingRows, TABLES, upgrade};
use super::rechecks::Rechecks;
use super::sockets::Sockets;
use super::waiting::Timer;
use crate::config::Config;
use crate::presence::attention::{Attention, OF_LATE};
use crate::presence::gathering::Gathering;
use crate::presence::recorder::Recorder;
use crate::presence::register::Register;
use crate::presence::reports::Report;
use crate::presence::shards::Shards;
use crate::presence::site::{Site, Tally};
use crate::presence::time::{Millis, Timestamp};
use crate::presence::watchers::PACE;
use crate::protocol::call::{Call, Entry, read_text, write};
use crate::protocol::metrics::Figures;
use crate::protocol::part;
use crate::protocol::repeat::Repeat;
use futures_channel::oneshot;
use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::{Rc, Weak};
use worker::{
    DurableObject, Env, Error, Request, Response, Result, State, WebSocket, WebSocketIncomingMessage, console_error,
    durable_object,
};

/// In which a request for a WebSocket says who comes to watch.
pub const ENTRY: &str = "x-presence-entry";

/// The status of the answer to who is not let watch: a [`crate::protocol::call::Refusal`].
pub const REFUSED: u16 = 409;

/// One site's presence.
#[durable_object]
pub struct PresenceObject {
    presence: AssertUnwindSafe<Rc<Presence>>,
}

/// The site, and who is answered when what it has heard is stored.
pub struct Held {
    pub site: Site,
    pub waiting: Vec<oneshot::Sender<()>>,
}

/// What the object is; it is shared with what waits for its time to come.
pub struct Presence {
    pub this: Weak<Self>,
    pub env: Env,
    pub among: Among,
    pub relays: Relays,
    pub store: Store,
    config: std::result::Result<Config, String>,
    site: RefCell<Option<Held>>,
    pub register: RefCell<Register>,
    /// How many calls are being read.
    pub reading: Cell<usize>,
    pub gathering: RefCell<Gathering>,
    /// When somebody asked last.
    asked: Cell<Option<Timestamp>>,
    pub room: RefCell<Room>,
    /// What it has just answered.
    repeat: RefCell<Repeat>,
    /// What those who watch have said; none where the settings are not sound.
    pub recorder: RefCell<Option<Recorder>>,
    timer: Timer,
    pub rechecks: Rechecks,
}

impl DurableObject for PresenceObject {
    fn new(state: State, env: Env) -> Self {
        #[cfg(feature = "test-hooks")]
        console_error!("{}", super::hooks::BUILT);
        let setup = super::setup::Setup::of(&env);
        let config = setup.config().cloned().map_err(|problem| format!("{problem:?}"));
        let room = RefCell::new(Room::of(Sockets::of(&state)));
        let recorder = config.as_ref().ok();
        let recorder = recorder.map(|config| {
            let recorder = Recorder::new(config.touch_resolution, config.window(), clock::now());
            recorder.with_budgets(config.client_guests)
        });
        let among = Among::of(state.id().name());
        let presence = Rc::new_cyclic(|this| Presence {
            this: this.clone(),
            env,
            among,
            relays: Relays::default(),
            store: Store::new(state, &TABLES).upgraded_by(upgrade),
            config,
            site: RefCell::default(),
            register: RefCell::default(),
            reading: Cell::new(0),
            gathering: RefCell::default(),
            asked: Cell::new(None),
            room,
            repeat: RefCell::default(),
            recorder: RefCell::new(recorder),
            timer: Timer::default(),
            rechecks: Rechecks::default(),
        });
        Self { presence: AssertUnwindSafe(presence) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let presence = &self.presence;
        #[cfg(feature = "test-hooks")]
        super::object::heed(&request, &presence.among.called()).await?;
        #[cfg(feature = "test-hooks")]
        if super::object::heed(&request, "object").await? {
            presence.store.woken();
            let more = presence.sweep()?;
            presence.store.swept(more).await;
            presence.store.scrub_if_due().await?;
        }
        if let Some(entry) = request.headers().get(ENTRY)? {
            return presence.enter(read_text(&entry).map_err(|error| Error::RustError(error.to_string()))?);
        }
        presence.reading.set(presence.reading.get() + 1);
        let call = call::<Call>(request).await;
        presence.reading.set(presence.reading.get().saturating_sub(1));
        let call = call?;
        if call.needs_all() {
            presence.settle().await;
        }
        let answer = match call {
            Call::Apply(reports, counted) => {
                presence.apply(reports, counted).await?;
                presence.store.see_to_sweeping().await;
                write(&presence.attention())
            }
            Call::Read(query, scope) => {
                presence.asked.set(Some(clock::now()));
                // Whoever asks sees what was said before.
                presence.hear_all()?;
                presence.with_site(|presence, site| {
                    let search = || part::tell(&query, scope, site, presence);
                    let told = presence.repeat.borrow_mut().answer((&query, scope), site.version(), site.now(), search);
                    // Nothing says that there were too many.
                    Ok(told.unwrap_or_default())
                })?
            }
            Call::Knows(user) => write(&presence.with_site(|presence, site| Ok(presence.knows(site, &user)))?),
            Call::Metrics => write(&presence.with_site(|presence, site| {
                Ok(Figures::of(site, presence.room.borrow().len() + presence.watchers_elsewhere()))
            })?),
            Call::Peak(peak) => {
                presence.with_site(|_, site| {
                    site.tell_peak(peak);
                    Ok(())
                })?;
                write(&())
            }
            Call::Secret => {
                let secret = presence.secret();
                return answered(secret.map(|secret| write(&secret)));
            }
            Call::HasLogins => write(&presence.store.kept(LOGINS)?.is_some()),
            Call::RecordLogins => {
                if presence.store.kept(LOGINS)?.is_none() {
                    presence.store.keep_as(LOGINS, "yes".into())?;
                }
                write(&())
            }
            Call::PassedOn(reports) => {
                presence.has_strangers()?;
                presence.hear_batch(reports, Vec::new(), None)?;
                presence.with_site(|_, _| Ok(()))?;
                write(&())
            }
            Call::Claim(claims) => write(&presence.claimed(&claims)?),
            Call::Release(wish) => write(&presence.release(wish)?),
            Call::Collect(other) => {
                presence.collect(other).await?;
                write(&())
            }
            Call::Connected(relay, open) => {
                presence.relays.connected(relay, open);
                write(&())
            }
            Call::Follow(follow) => write(&presence.follow(follow)?),
            Call::Most => write(&presence.note_most()?),
            Call::Recheck(user) => {
                presence.room.borrow().recheck_soon(&user);
                write(&())
            }
            Call::Erase(user) => {
                presence.with_site(|presence, site| presence.erase(site, &user))?;
                presence.show_out(&user, None);
                presence.store.scrub_soon()?;
                write(&())
            }
        };
        Response::from_bytes(answer)
    }

    async fn alarm(&self) -> Result<Response> {
        let presence = &self.presence;
        presence.store.woken();
        presence.with_site(|_, _| Ok(()))?;
        let more = if presence.sweep_is_due()? { presence.sweep()? } else { true };
        presence.store.swept(more).await;
        presence.store.scrub_if_due().await?;
        Response::empty()
    }

    async fn websocket_message(&self, socket: WebSocket, message: WebSocketIncomingMessage) -> Result<()> {
        let text = if let WebSocketIncomingMessage::String(text) = message { text } else { String::new() };
        let private = self.presence.config().ok().map(|config| &config.private_paths);
        let mut said = self.presence.room.borrow_mut().hear(socket.as_ref(), &text, private, clock::now());
        self.presence.leave_out_topics(&mut said);
        self.presence.hear(said);
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, _: usize, _: String, _: bool) -> Result<()> {
        self.presence.part(&socket);
        Ok(())
    }

    async fn websocket_error(&self, socket: WebSocket, _: Error) -> Result<()> {
        self.presence.part(&socket);
        Ok(())
    }
}

impl Presence {
    /// The settings.
    pub fn config(&self) -> Result<&Config> {
        self.config.as_ref().map_err(|error| Error::RustError(error.clone()))
    }

    /// Who wants to know what is new.
    pub fn attention(&self) -> Attention {
        let now = clock::now();
        let asked = self.asked.get().is_some_and(|at| at <= now && at.plus(OF_LATE) >= now);
        match self.room.borrow().next(now).or(self.relays.next(now)) {
            Some(next) => Attention::Watched(next),
            None if asked => Attention::Asked,
            None => Attention::Nobody,
        }
    }

    /// Somebody's socket was closed.
    fn part(&self, socket: &WebSocket) {
        let said = self.room.borrow_mut().part(socket.as_ref());
        self.hear(said);
    }

    /// Does in some time whatever is due then, unless that is seen to already.
    pub fn work_in(&self, wait: Millis) {
        self.timer.set(&self.store, wait, &self.this, |presence| &presence.timer, Self::work);
    }

    /// Does what is due: whatever was said is heard and stored, and what there is to tell is told.
    pub fn work(&self) {
        if let Err(error) = self.hear_all().and_then(|()| self.with_site(|_, _| Ok(()))) {
            console_error!("what was due was not done: {error}");
        }
    }

    fn enter(&self, entry: Entry) -> Result<Response> {
        let refusal = self.room.borrow_mut().refuse(&entry);
        if let Some(refusal) = refusal {
            return Ok(Response::from_bytes(write(&refusal))?.with_status(REFUSED));
        }
        self.recorder.borrow_mut().iter_mut().for_each(|recorder| recorder.tells_next(entry.who.key.borrow()));
        let is_here =
            |site: &Site| entry.signals.iter().all(|signal| signed_in(signal).is_none() && site.knows(signal.key()));
        if self.with_site(|_, site| Ok(is_here(site)))? {
            // That they have one more page open is stored with where it is, which it says next.
            self.hear_in(Some(PACE), entry.signals.clone());
        } else {
            let reports = entry.signals.iter().map(|signal| Report { age: Millis(0), signal: signal.clone() });
            // Whoever is here already hears of it before, as what the newcomer is told is newer than that.
            self.hear_batch(reports.collect(), Vec::new(), None)?;
            self.with_site(|_, _| Ok(()))?;
        }
        let client = self.with_site(|presence, site| {
            site.watch();
            presence.room.borrow_mut().enter(entry, &Tally::of(site), clock::now())
        })?;
        Response::from_websocket(client.into())
    }

    /// Works on the site, which is loaded if need be, has come to the present, and has stored what it has heard. While it
    /// is worked on nobody else has it, and it is given back only if the work went well.
    pub fn with_site<T>(&self, work: impl FnOnce(&Self, &mut Site) -> Result<T>) -> Result<T> {
        self.with_held(|presence, held| {
            presence.bring_up_to_date(&mut held.site)?;
            let done = work(presence, &mut held.site)?;
            presence.tell(&mut held.site);
            for waits in held.waiting.drain(..) {
                // One who waits no more needs no answer.
                let _ = waits.send(());
            }
            Ok(done)
        })
    }

    // This and what follows is compiled once, not into each of those who work with the site: that is a tenth of the wasm.
    #[inline(never)]
    fn bring_up_to_date(&self, site: &mut Site) -> Result<()> {
        // What the last row cost is told by the next one.
        site.totals.rows += self.store.take_written();
        site.totals.unreadable += self.store.take_unreadable();
        self.advance(site)?;
        self.hear_taken(site, |recorder| recorder.is_due(clock::now()));
        self.keep(site.outcome())?;
        let now = clock::now();
        self.room.borrow_mut().dismiss_expired(now);
        let silent = self.room.borrow_mut().part_from_silent(now);
        if !silent.is_empty() {
            self.heed_leaves(&silent);
            self.keep(site.apply(now, silent))?;
        }
        #[cfg(feature = "test-hooks")]
        super::hooks::maybe_panic("panic-object-at-work");
        Ok(())
    }

    /// The same, of a site that may have heard more than is stored: what it has heard so far is lost if this goes wrong,
    /// and those who wait for that to be stored hear of it.
    pub fn with_held<T>(&self, work: impl FnOnce(&Self, &mut Held) -> Result<T>) -> Result<T> {
        let kept = self.site.borrow_mut().take();
        let mut held = match kept {
            Some(held) => held,
            None => Held { site: self.load()?, waiting: Vec::new() },
        };
        let done = work(self, &mut held)?;
        *self.site.borrow_mut() = Some(held);
        Ok(done)
    }

    /// Brings the site to the present.
    #[inline(never)]
    pub fn advance(&self, site: &mut Site) -> Result<()> {
        let (now, window) = (clock::now(), site.window());
        site.go_on(now, || self.leases(window, now));
        if site.was_put_back() { self.keep(site.outcome()) } else { Ok(()) }
    }

    /// Tells those who watch what is new, now or when it is time.
    #[inline(never)]
    fn tell(&self, site: &mut Site) {
        let now = clock::now();
        self.tell_relays(site);
        if self.room.borrow().is_empty() {
            site.unwatch();
            if self.relays.follow() {
                self.store.wake_by(site.deadline(), now);
            }
            return;
        }
        let due = self.room.borrow().due(now, site.version());
        match due {
            // They are told when that is known.
            Some(Millis(0)) if self.recheck(now) => {}
            Some(Millis(0)) => {
                let left = self.room.borrow_mut().tell(now, &Tally::of(site));
                self.take(Some(PACE), left).into_iter().for_each(|hold| self.work_in(hold));
            }
            Some(wait) => self.work_in(wait),
            None => {}
        }
        let deadline = self.room.borrow().deadline();
        // What cannot be looked up now is looked up by the next alarm.
        let scrub = self.store.scrub_due().ok().flatten();
        self.store.wake_by(site.deadline().into_iter().chain(deadline).chain(scrub).min(), now);
    }

    #[inline(never)]
    fn load(&self) -> Result<Site> {
        self.register.replace(Register::default());
        self.take_over()?;
        self.relays.remember(self.store.kept("followed")?.is_some());
        let rows = RingRows::of(&self.store)?;
        let (config, now) = (self.config()?, clock::now());
        let hidden = self.hidden(now)?;
        let (mut site, mut outcome, unreadable) =
            Site::restore(config.bounds(), &rows, now, &self.leases(config.window(), now));
        rows.done()?;
        site.totals.wakes += 1;
        site.totals.unreadable += unreadable as u64;
        if unreadable > 0 {
            console_error!("{unreadable} stored batches cannot be read and were left out");
        }
        site.know_hidden(hidden);
        site.know_revoked(self.revoked(now)?);
        if self.config()?.shards > Shards::ONE {
            site.share();
        }
        self.drop_handed_over(&mut site, &mut outcome)?;
        self.keep(outcome)?;
        Ok(site)
    }
}

//! Signals go to the isolate's recorder, and its batches to the site's object.

use super::calls::{self, Object, PATIENCE, PATIENCE_FOR_ONE};
use super::keys::{self, MAX_SITES};
use super::request::Asked;
use super::setup::Setup;
use super::{answers, clock, repeats, sites, who};
use crate::config::Config;
use crate::http::problem::Problem;
use crate::http::report::Seen;
use crate::identity::visit::Visitor;
use crate::presence::attention::Attention;
use crate::presence::id::{DeviceId, SiteName, TabId, UserId};
use crate::presence::member::{KeyRef, Signal, Touch};
use crate::presence::recorder::Recorder;
use crate::presence::reports::Report;
use crate::presence::time::{Millis, Timestamp};
use crate::presence::totals::Counted;
use crate::protocol::call::Call;
use crate::protocol::relay::Ended;
use futures_util::future::{join_all, select};
use js_sys::futures::{JsFuture, future_to_promise};
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Duration;
use wasm_bindgen::JsValue;
use worker::{Context, Delay, Env, console_error};

thread_local! {
    static RECORDERS: RefCell<HashMap<SiteName, Recorder>> = RefCell::new(HashMap::new());
}

/// Records the touch of whoever sent a request.
pub async fn touch(asked: &Asked, seen: Seen, config: &Config, env: &Env, ctx: &Context) -> Result<(), Problem> {
    record_as(asked, config, env, ctx, |visitor| visitor.touch(seen)).await
}

/// Records that a page of whoever sent a request is being closed.
pub async fn leave(
    asked: &Asked,
    tab: Option<TabId>,
    config: &Config,
    env: &Env,
    ctx: &Context,
) -> Result<(), Problem> {
    record_as(asked, config, env, ctx, |visitor| vec![visitor.leave(tab)]).await
}

async fn record_as(
    asked: &Asked,
    config: &Config,
    env: &Env,
    ctx: &Context,
    signals: impl FnOnce(&Visitor<'_>) -> Vec<Signal>,
) -> Result<(), Problem> {
    let site = asked.site(config)?;
    let keys = keys::get(config, &site, env, PATIENCE).await.map_err(|error| {
        console_error!("no keys: {error}");
        calls::problem(&error, "The site's secret")
    })?;
    let asker = asked.asker(site.clone(), config);
    // Who cannot be looked up is a guest.
    let known = who::look_up(&asker, &keys, &config.access, false, env).await.unwrap_or_default();
    let now = clock::now();
    let visitor = who::visitor(&asker, known.as_ref(), &keys, config);
    for signal in signals(&visitor) {
        let due = with(&site, config, |recorder| recorder.take(now, signal));
        send_when_due(due, &site, env, ctx);
    }
    Ok(())
}

/// Records signals of a visitor by a page that was asked for.
///
/// Of who was recorded there is a word for other isolates, where these serve the same visitors.
pub fn record(
    signals: Vec<Signal>,
    visitor: &Visitor<'_>,
    config: &Config,
    env: &Env,
    ctx: &Context,
) -> Option<String> {
    let (asker, secret, now) = (visitor.asker, &visitor.keys.seen, visitor.now);
    let (site, mut word) = (&asker.site, None);
    let seen = |touch: &Touch| secret.recorded_at(asker.seen.as_ref()?, touch, site, now, config.touch_resolution);
    for signal in signals {
        let (taken, its_word) = with(site, config, |recorder| {
            let word = match &signal {
                Signal::Touch(touch) if touch.place.is_some() && recorder.has_neighbours(now) => {
                    Some(secret.mark(touch, site, now))
                }
                Signal::Touch(_) | Signal::Leave { .. } | Signal::SignOut { .. } => None,
            };
            (recorder.take_of_page(now, signal, seen), word)
        });
        word = its_word.filter(|_| taken.kept);
        send_when_due(taken.due, site, env, ctx);
    }
    word
}

/// Whoever's request brings the first of a batch sees to it that the batch is sent.
fn send_when_due(due: Option<Millis>, site: &SiteName, env: &Env, ctx: &Context) {
    if let Some(hold) = due {
        ctx.wait_until(send_in(hold, site.clone(), env.clone()));
    }
}

/// Sends what is new now, so that whoever reads next sees it.
///
/// The sending belongs to the isolate and not to the reader: should that one hang up, or not wait any longer for one object
/// that does not take it, it goes on.
pub async fn send_news(site: &SiteName, env: &Env, ctx: &Context) {
    if !has_news(site) {
        return;
    }
    let (owned, env) = (site.clone(), env.clone());
    let sending = future_to_promise(AssertUnwindSafe(async move {
        send(&owned, &env).await;
        Ok(JsValue::UNDEFINED)
    }));
    let to_the_end = JsFuture::from(sending.clone());
    ctx.wait_until(async move {
        let _ = to_the_end.await;
    });
    select(JsFuture::from(sending), pin!(Delay::from(PATIENCE_FOR_ONE))).await;
}

/// Whether there is news that waits to be sent.
pub fn has_news(site: &SiteName) -> bool {
    RECORDERS.with_borrow(|recorders| recorders.get(site).is_some_and(Recorder::has_news))
}

/// Takes what is said of those who are connected to a relay, and gives back what sends it in its time. That somebody is here
/// still needs not be sent: whoever is connected stays by their lease.
pub fn say(
    reports: Vec<Report>,
    site: &SiteName,
    config: &Config,
    env: &Env,
) -> Option<impl Future<Output = ()> + use<>> {
    let now = clock::now();
    let take = |report: Report| with(site, config, |recorder| recorder.take_news(now.minus(report.age), report.signal));
    let hold = reports.into_iter().filter_map(take).min()?;
    Some(send_in(hold, site.clone(), env.clone()))
}

/// Sends what somebody says who has just connected to a relay.
pub async fn say_at_once(signals: Vec<Signal>, site: &SiteName, config: &Config, env: &Env) {
    with(site, config, |recorder| {
        // A page that was asked for here has told it to this very recorder.
        signals.first().iter().for_each(|first| recorder.tells_next(first.key()));
        for signal in signals {
            recorder.take(clock::now(), signal);
        }
    });
    send_in(Millis(0), site.clone(), env.clone()).await;
}

/// Notes that a page of somebody connects, and gives what was to be sent of it.
pub fn take_along(site: &SiteName, key: KeyRef<'_>) -> Vec<Signal> {
    with_known(site, |recorder| recorder.connects(clock::now(), key)).unwrap_or_default()
}

/// Takes that back, as it did not connect. It goes with the next batch.
pub fn take_back(site: &SiteName, signals: Vec<Signal>) {
    let reports = signals.into_iter().map(|signal| Report { age: Millis(0), signal });
    with_known(site, |recorder| recorder.put_back(clock::now(), reports.collect(), Counted::default()));
}

/// Counts that an object of the site could not read a row, to be told with the next batch.
pub fn count_unreadable(site: &SiteName, env: &Env) {
    if let Ok(config) = Setup::of(env).config() {
        with(site, config, Recorder::count_unreadable);
    }
}

/// Notes who is known by their key no more.
pub fn end(site: &SiteName, ended: &[Ended]) {
    with_known(site, |recorder| ended.iter().for_each(|(key, device)| recorder.end(clock::now(), key, *device)));
}

/// Forgets a user, or what was heard of them from one of their devices, and what of that was still to be sent.
pub fn forget(site: &SiteName, user: &UserId, device: Option<DeviceId>) {
    with_known(site, |recorder| recorder.erase(clock::now(), user, device));
}

async fn send_in(hold: Millis, site: SiteName, env: Env) {
    Delay::from(Duration::from_millis(u64::from(hold.0))).await;
    for attempt in 1..=3 {
        if send(&site, &env).await {
            return;
        }
        Delay::from(Duration::from_millis(500 * attempt)).await;
    }
}

/// Sends the batch, to each of the site's objects what is for it, and takes back what was not taken.
async fn send(site: &SiteName, env: &Env) -> bool {
    let (sent, setup) = (clock::now(), Setup::of(env));
    let drained = with_known(site, |recorder| {
        let reports = recorder.drain(sent);
        (!reports.list.is_empty()).then(|| (reports, recorder.counted()))
    });
    // Without settings nothing is recorded.
    let (Some((reports, counted)), Ok(config)) = (drained.flatten(), setup.config()) else { return true };
    if !sites::register(site, config, env).await {
        return true;
    }
    let mut counted = Some(counted);
    let (mut attention, mut all_taken) = (None, true);
    for wave in config.shards.split(reports) {
        let batches = wave.into_iter().map(|(number, reports)| {
            let call = Call::Apply(reports, counted.take().unwrap_or_default());
            async move { (calls::ask::<Attention>(env, Object::Presence(site, number), &call, PATIENCE).await, call) }
        });
        for (answer, call) in join_all(batches.collect::<Vec<_>>()).await {
            match answer {
                Ok(told) => attention = Some(attention.map_or(told, |known: Attention| known.or(told))),
                Err(error) => {
                    console_error!("a batch was not taken: {error}");
                    all_taken = false;
                    put_back(site, sent, call);
                }
            }
        }
    }
    if let Some(attention) = attention {
        with_known(site, |recorder| recorder.heed(sent, clock::now(), attention));
        answers::forget(site);
    }
    all_taken
}

fn put_back(site: &SiteName, sent: Timestamp, call: Call) {
    let Call::Apply(batch, counted) = call else { return };
    with_known(site, |recorder| recorder.put_back(sent, batch, counted));
}

/// Works on the site's recorder, if there is one. There may be news in it then, so that no answer is given again.
fn with_known<T>(site: &SiteName, work: impl FnOnce(&mut Recorder) -> T) -> Option<T> {
    repeats::forget();
    RECORDERS.with_borrow_mut(|recorders| recorders.get_mut(site).map(work))
}

/// The same, and there is one from now on.
fn with<T>(site: &SiteName, config: &Config, work: impl FnOnce(&mut Recorder) -> T) -> T {
    repeats::forget();
    RECORDERS.with_borrow_mut(|recorders| {
        if recorders.len() >= MAX_SITES && !recorders.contains_key(site) {
            // What waits to be sent stays; it is sent within seconds.
            recorders.retain(|_, recorder| recorder.is_waiting());
        }
        let new = || Recorder::new(config.touch_resolution, config.window(), clock::now());
        work(recorders.entry(site.clone()).or_insert_with(new))
    })
}

//! Signals go to the isolate's recorder, and its batches to the site's object.

use super::keys::{self, MAX_SITES};
use super::request::Asked;
use super::{answers, calls, clock, who};
use crate::config::Config;
use crate::http::problem::Problem;
use crate::http::report::Seen;
use crate::identity::visit::Visitor;
use crate::presence::attention::Attention;
use crate::presence::id::{SiteName, TabId, UserId};
use crate::presence::member::{Signal, Touch};
use crate::presence::recorder::Recorder;
use crate::presence::time::Millis;
use crate::protocol::call::Call;
use js_sys::futures::{JsFuture, future_to_promise};
use std::cell::RefCell;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
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
    let keys = keys::get(config, &site, env, calls::PATIENCE).await.map_err(|error| {
        console_error!("no keys: {error}");
        Problem::Unavailable
    })?;
    let asker = asked.asker(site.clone(), config);
    // Who cannot be looked up is a guest.
    let known = who::look_up(&asker, &keys, None, env).await.unwrap_or_default();
    let (now, window) = (clock::now(), config.window());
    let visitor = Visitor { asker: &asker, known: known.as_ref(), keys: &keys, now, window };
    record(signals(&visitor), &visitor, config, env, ctx);
    Ok(())
}

/// Records signals of a visitor. Whoever's request brings the first of a batch sees to it that the batch is sent.
///
/// Of who was recorded on a page there is a word for other isolates, where these serve the same visitors.
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
                Signal::Touch(_) | Signal::Leave { .. } | Signal::SignOut(_) => None,
            };
            (recorder.take_unless_seen(now, signal, seen), word)
        });
        word = its_word.filter(|_| taken.kept);
        if let Some(hold) = taken.due {
            ctx.wait_until(send_in(hold, site.clone(), env.clone()));
        }
    }
    word
}

/// Sends what is new now, so that whoever reads next sees it.
///
/// The sending belongs to the isolate and not to the reader: should that one hang up, it goes on.
pub async fn send_news(site: &SiteName, env: &Env, ctx: &Context) {
    let news = RECORDERS.with_borrow(|recorders| recorders.get(site).is_some_and(Recorder::has_news));
    if !news {
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
    let _ = JsFuture::from(sending).await;
}

/// Forgets a user, and what of theirs was still to be sent.
pub fn forget(site: &SiteName, user: &UserId) {
    RECORDERS
        .with_borrow_mut(|recorders| recorders.get_mut(site).into_iter().for_each(|recorder| recorder.erase(user)));
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

/// Sends the batch, and takes it back where that fails.
async fn send(site: &SiteName, env: &Env) -> bool {
    let sent = clock::now();
    let drained = RECORDERS.with_borrow_mut(|recorders| {
        let recorder = recorders.get_mut(site).filter(|recorder| recorder.is_waiting())?;
        Some(Call::Apply(recorder.drain(sent), recorder.counted()))
    });
    let Some(call) = drained else { return true };
    let error = match calls::ask::<Attention>(env, calls::Object::Presence(site), &call, calls::PATIENCE).await {
        Ok(attention) => {
            RECORDERS.with_borrow_mut(|recorders| {
                let recorder = recorders.get_mut(site).into_iter();
                recorder.for_each(|recorder| recorder.heed(sent, clock::now(), attention));
            });
            answers::forget(site);
            return true;
        }
        Err(error) => error,
    };
    console_error!("a batch was not taken: {error}");
    if let Call::Apply(batch, counted) = call {
        RECORDERS.with_borrow_mut(|recorders| {
            if let Some(recorder) = recorders.get_mut(site) {
                recorder.put_back(sent, batch, counted);
            }
        });
    }
    false
}

fn with<T>(site: &SiteName, config: &Config, work: impl FnOnce(&mut Recorder) -> T) -> T {
    RECORDERS.with_borrow_mut(|recorders| {
        if recorders.len() >= MAX_SITES && !recorders.contains_key(site) {
            // What waits to be sent stays; it is sent within seconds.
            recorders.retain(|_, recorder| recorder.is_waiting());
        }
        let new = || Recorder::new(config.touch_resolution, config.window(), clock::now());
        work(recorders.entry(site.clone()).or_insert_with(new))
    })
}

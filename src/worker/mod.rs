//! The shell: the only code that sees the platform. It moves bytes and calls the core; it decides nothing.

mod account_object;
mod admin;
mod answer;
mod answers;
mod calls;
mod clock;
mod events;
mod headers;
#[cfg(feature = "test-hooks")]
mod hooks;
mod kept;
mod keys;
mod live;
mod login_object;
mod logins;
mod object;
mod origin;
mod presence_batches;
mod presence_keeping;
mod presence_moves;
mod presence_object;
mod presence_relays;
mod presence_room;
mod presence_rows;
mod questions;
mod reads;
mod rechecks;
mod recording;
mod relay_below;
mod relay_object;
mod repeats;
mod request;
mod rewrite;
mod scrubbing;
mod setup;
mod sites;
mod sockets;
mod topics;
mod waiting;
mod who;

use crate::http::Headers;
use crate::http::conditions::tagged;
use crate::http::cors::{Caller, public, public_preflight};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::report::{MAX_BODY, Seen, leave_from_body};
use crate::http::route::{Live, Route};
use crate::identity::cookies;
use crate::protocol::widget::Script;
use futures_util::FutureExt;
use js_sys::Reflect;
use js_sys::futures::spawn_local;
use request::Asked;
use setup::Setup;
use std::panic::AssertUnwindSafe;
use wasm_bindgen::JsValue;
use worker::{Context, Env, Result, event};

/// The smallest picture there is: a transparent GIF of one pixel (GIF89a).
const PIXEL: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\0\0\0!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// Has futures woken by promises. What wakes them takes the runtime's `queueMicrotask` where there is one when the first is
/// woken, and here that costs many times as much: a twelfth of the time that a page takes.
#[event(start)]
fn start() {
    let (global, name) = (js_sys::global(), JsValue::from("queueMicrotask"));
    let Ok(queue) = Reflect::get(&global, &name) else { return };
    if Reflect::set(&global, &name, &JsValue::UNDEFINED).is_ok() {
        spawn_local(async {});
        let _ = Reflect::set(&global, &name, &queue);
    }
}

#[event(fetch)]
async fn fetch(raw: web_sys::Request, env: Env, ctx: Context) -> Result<web_sys::Response> {
    let asked = Asked::read(raw);
    #[cfg(feature = "test-hooks")]
    hooks::heed(&asked);
    let setup = Setup::of(&env);
    match Route::of(setup.base_path(), &asked.method, &asked.path, &asked.query) {
        Ok(Route::Page) => origin::page(asked, &setup, env, ctx).await,
        Ok(Route::Live(live)) => match watched(live, &asked, &setup, &env).await {
            Ok(response) => Ok(response),
            Err(problem) => answer::write(problem.reply(), &asked),
        },
        Ok(route) => {
            // A panic is one request's, not the isolate's.
            let reply = AssertUnwindSafe(ours(route, &asked, &setup, &env, &ctx)).catch_unwind().await;
            let reply = reply.unwrap_or(Err(Problem::Internal));
            answer::write(reply.unwrap_or_else(|problem| public(problem.reply())), &asked)
        }
        Err(problem) => answer::write(public(problem.reply()), &asked),
    }
}

async fn watched(
    live: Live,
    asked: &Asked,
    setup: &Setup,
    env: &Env,
) -> std::result::Result<web_sys::Response, Problem> {
    let opened = AssertUnwindSafe(live::open(live, asked, setup.config()?, env)).catch_unwind().await;
    opened.unwrap_or(Err(Problem::Internal))
}

/// Everything under the base path.
async fn ours(
    route: Route,
    asked: &Asked,
    setup: &Setup,
    env: &Env,
    ctx: &Context,
) -> std::result::Result<Reply, Problem> {
    #[cfg(feature = "test-hooks")]
    hooks::maybe_panic("panic-route");
    let config = setup.config()?;
    match route {
        Route::Page | Route::Live(_) => Err(Problem::NotFound("There is nothing at this address.".into())),
        Route::Health => Ok(Reply::new(200, "text/plain; charset=utf-8", "ok").with("cache-control", "no-store")),
        Route::Script(wanted) => Ok(script(wanted, asked)),
        Route::ReadPreflight => Ok(public_preflight()),
        Route::RecordPreflight => Ok(Caller::of(asked, &asked.host, &config.allowed_origins)?.preflight()),
        Route::Read(query, form) => reads::read(query, form, asked, config, env, ctx).await,
        Route::Permissions(checks) => admin::permissions(&checks, asked, config, env).await,
        Route::Admin(what) => admin::answer(what, asked, config, env).await,
        Route::Touch => {
            let caller = Caller::of(asked, &asked.host, &config.allowed_origins)?;
            let done = async {
                let seen = Seen::from_body(&asked.body(MAX_BODY).await?)?;
                recording::touch(asked, seen, config, env, ctx).await
            };
            Ok(recorded(&caller, done.await))
        }
        Route::Leave => {
            let caller = Caller::of(asked, &asked.host, &config.allowed_origins)?;
            let done = async {
                let tab = leave_from_body(&asked.body(MAX_BODY).await?)?;
                recording::leave(asked, tab, config, env, ctx).await
            };
            // Who comes back is news to every isolate.
            let seen = cookies::seen(&asked.get("cookie").unwrap_or_default(), asked.secure);
            let reply = recorded(&caller, done.await);
            Ok(if seen.is_some() { reply.with("set-cookie", cookies::clear_seen(asked.secure)) } else { reply })
        }
        Route::TouchGif(touch) => {
            let caller = Caller::of(asked, &asked.host, &config.allowed_origins)?;
            recording::touch(asked, Seen::from_gif(touch)?, config, env, ctx).await?;
            Ok(caller.allow(Reply::new(200, "image/gif", PIXEL).with("cache-control", "no-store")))
        }
    }
}

fn script(script: Script, asked: &Asked) -> Reply {
    let reply = Reply::new(200, script.content_type(), script.text())
        // Long enough to be free on the next page, short enough to reach everybody within the hour.
        .with("cache-control", "public, max-age=3600");
    public(tagged(reply, script.tag(), asked))
}

/// The reply to what was to be recorded. A page that may record may also read what was wrong.
fn recorded(caller: &Caller, done: std::result::Result<(), Problem>) -> Reply {
    caller.allow(done.map_or_else(|problem| problem.reply(), |()| Reply::no_content()))
}

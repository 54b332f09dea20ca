//! Pages: they come from the origin as they are, and presence looks on.
//!
//! The order is the promise. The origin's answer is there before presence is asked anything, and whatever then goes
//! wrong, a panic included, the visitor gets it.

use super::request::Asked;
use super::setup::Setup;
use super::{answer, clock, keys, recording};
use crate::config::{Config, Origin};
use crate::http::Headers;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::report::{PageRequest, Seen, place_of_request};
use crate::identity::origin::{HEADERS, Said, is_shared, read};
use crate::identity::visit::{COOKIE_LIFE, CookieChange, Visitor};
use crate::identity::{Keys, cookies};
use crate::presence::id::SiteName;
use crate::protocol::widget;
use js_sys::futures::JsFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::JsCast;
use worker::{Context, Env, Result, console_error};

/// How long a page that names a user may wait for the key that signs their cookie: only where none is configured, and
/// only until the site's object has told it once.
const KEY_PATIENCE: Duration = Duration::from_millis(100);

struct Answered(web_sys::Headers);

impl Headers for Answered {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).ok().flatten()
    }
}

/// Answers a request for a page.
pub async fn page(asked: Asked, setup: &Rc<Setup>, env: Env, ctx: Context) -> Result<web_sys::Response> {
    let origin = match setup.origin() {
        Ok(origin) => origin,
        Err(problem) => return answer::write(problem.reply(), &asked),
    };
    let _ = guarded(|| warm_up(&asked, setup, &env, &ctx));
    let response = match origin {
        Origin::Demo => answer::write(demo(&asked, setup.base_path()), &asked)?,
        Origin::Route | Origin::Url(_) => match forward(&asked, origin).await {
            Ok(response) => response,
            Err(error) => {
                console_error!("the origin cannot be reached: {error}");
                return answer::write(Problem::BadGateway.reply(), &asked);
            }
        },
    };
    let headers = Answered(response.headers());
    // What is between the origin and us goes no further, whatever becomes of the rest.
    let told = HEADERS.iter().any(|name| headers.get(name).is_some());
    let keys = if told { signing_keys(&asked, setup, &env).await } else { None };
    let cookie = guarded(|| note(&asked, &response, keys, setup, &env, &ctx)).flatten();
    if !told && cookie.is_none() {
        return Ok(response);
    }
    rewritten(&response, cookie)
}

/// Runs what must not break a page: a panic is told in the log, and nothing came of it.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| console_error!("presence panicked; the page was served")).ok()
}

/// Has the site's keys fetched while the origin is at work, if they are not at hand.
fn warm_up(asked: &Asked, setup: &Rc<Setup>, env: &Env, ctx: &Context) {
    let Some((config, site)) = known(asked, setup) else { return };
    if keys::at_hand(config, &site).is_none() {
        let (setup, env) = (setup.clone(), env.clone());
        ctx.wait_until(async move {
            if let Ok(config) = setup.config() {
                let _ = keys::get(config, &site, &env, super::calls::PATIENCE).await;
            }
        });
    }
}

fn known<'a>(asked: &Asked, setup: &'a Setup) -> Option<(&'a Config, SiteName)> {
    let config = setup.config().map_err(|problem| console_error!("presence is off: {problem:?}")).ok()?;
    Some((config, asked.site(config).ok()?))
}

async fn forward(asked: &Asked, origin: &Origin) -> std::result::Result<web_sys::Response, String> {
    let text = |error: wasm_bindgen::JsValue| format!("{error:?}");
    let sent_by_client = HEADERS.iter().any(|name| asked.get(name).is_some());
    let request = match origin {
        Origin::Url(base) => {
            let url = format!("{base}{}", asked.target());
            let request = web_sys::Request::new_with_str_and_init(&url, asked.raw.unchecked_ref()).map_err(text)?;
            let headers = request.headers();
            // As the origin has another address, these tell it what the visitor sees.
            headers.set("x-forwarded-host", &asked.host).map_err(text)?;
            headers.set("x-forwarded-proto", if asked.secure { "https" } else { "http" }).map_err(text)?;
            request
        }
        _ if sent_by_client => web_sys::Request::new_with_request(&asked.raw).map_err(text)?,
        _ => Clone::clone(&asked.raw),
    };
    if sent_by_client {
        for name in HEADERS {
            request.headers().delete(name).map_err(text)?;
        }
    }
    let global: web_sys::WorkerGlobalScope = js_sys::global().unchecked_into();
    let response = JsFuture::from(global.fetch_with_request(&request)).await.map_err(text)?;
    Ok(response.unchecked_into())
}

fn demo(asked: &Asked, base_path: &str) -> Reply {
    match widget::demo(&asked.path, base_path) {
        Some(page) if matches!(asked.method.as_str(), "GET" | "HEAD") => Reply::new(200, page.content_type, page.body)
            .with("cache-control", "no-cache")
            .with("content-security-policy", "default-src 'self'; img-src 'self' data:"),
        Some(_) => Problem::MethodNotAllowed("GET, HEAD").reply(),
        None => Problem::NotFound("No ORIGIN is set, so only the demo pages are here: /, /forum and /market.".into())
            .reply(),
    }
}

async fn signing_keys(asked: &Asked, setup: &Setup, env: &Env) -> Option<Rc<Keys>> {
    let (config, site) = known(asked, setup)?;
    keys::get(config, &site, env, KEY_PATIENCE).await.ok()
}

/// Looks at who was answered, records them, and says what becomes of the cookie.
fn note(
    asked: &Asked,
    response: &web_sys::Response,
    keys: Option<Rc<Keys>>,
    setup: &Rc<Setup>,
    env: &Env,
    ctx: &Context,
) -> Option<String> {
    #[cfg(feature = "test-hooks")]
    super::hooks::maybe_panic("panic-worker");
    let (config, site) = known(asked, setup)?;
    let request = PageRequest::of(asked);
    if request == PageRequest::Ahead {
        return None;
    }
    let headers = Answered(response.headers());
    let (said, topic) =
        if config.trust_origin_headers { read(response.status(), &headers) } else { (Said::Nothing, None) };
    // A redirect is no place: the visitor is already on the way to another.
    let redirected = (300..400).contains(&response.status()) && response.status() != 304;
    let document = request == PageRequest::Document && !redirected;
    let place = document.then(|| place_of_request(&asked.path, topic)).flatten();
    let seen = Seen { place, ..Seen::default() };
    let asker = asked.asker(site.clone());
    if let Some(keys) = keys.or_else(|| keys::at_hand(config, &site)) {
        let visitor = Visitor { asker: &asker, keys: &keys, now: clock::now(), window: config.window() };
        let visit = visitor.page(said, seen);
        recording::record(visit.signals, &site, config, env, ctx);
        return match visit.cookie? {
            // A shared cache would give what is done to one visitor's cookie to the next.
            _ if is_shared(&headers) => None,
            CookieChange::Keep(token) => Some(cookies::keep(&token, asked.secure, COOKIE_LIFE.0)),
            CookieChange::Clear => Some(cookies::clear(asked.secure)),
        };
    }
    // The keys are on their way: the page goes out, and the visitor is recorded when they are there.
    let (setup, env, later) = (setup.clone(), env.clone(), Later(wasm_bindgen::JsValue::from(ctx.as_ref())));
    ctx.wait_until(async move {
        let Ok(config) = setup.config() else { return };
        match keys::get(config, &site, &env, super::calls::PATIENCE).await {
            Ok(keys) => {
                let visitor = Visitor { asker: &asker, keys: &keys, now: clock::now(), window: config.window() };
                let visit = visitor.page(said, seen);
                recording::record(visit.signals, &site, config, &env, &later.context());
            }
            Err(error) => console_error!("a visit was not recorded: {error}"),
        }
    });
    None
}

/// A context for work that outlives the request's own handle.
struct Later(wasm_bindgen::JsValue);

impl Later {
    fn context(&self) -> Context {
        Context::new(self.0.clone().unchecked_into())
    }
}

/// The same answer without what is between the origin and us, and with our cookie. Its body is not touched.
fn rewritten(response: &web_sys::Response, cookie: Option<String>) -> Result<web_sys::Response> {
    let init: &web_sys::ResponseInit = response.unchecked_ref();
    let rewritten = web_sys::Response::new_with_opt_readable_stream_and_init(response.body().as_ref(), init)?;
    for name in HEADERS {
        rewritten.headers().delete(name)?;
    }
    if let Some(cookie) = cookie {
        rewritten.headers().append("set-cookie", &cookie)?;
    }
    Ok(rewritten)
}

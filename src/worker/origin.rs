use super::headers::PlatformHeaders;
use super::request::Asked;
use super::setup::Setup;
use super::{answer, calls, html, keys, recording, who};
use crate::config::{Config, Origin};
use crate::http::Headers;
use crate::http::page::Look;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::report::{PageRequest, Seen, place_of_request};
use crate::identity::origin::{HEADERS, OriginAnswer, OriginClaim, is_shared, read};
use crate::identity::visit::{COOKIE_LIFE, CookieChange, Visit};
use crate::identity::{Asker, Keys, Known, cookies};
use crate::presence::id::SiteName;
use crate::presence::member::Evidence;
use crate::protocol::widget;
use futures_util::future::{Either, FutureExt, LocalBoxFuture, Shared, select};
use js_sys::ArrayBuffer;
use js_sys::futures::JsFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use wasm_bindgen::{JsCast, JsValue};
use worker::{Context, Delay, Env, Result, console_error};

/// How long a page that names a user may wait for the key that signs their cookie: only where none is configured, and
/// only until the site's object has told it once.
const KEY_PATIENCE: Duration = Duration::from_millis(100);

/// How long a page with blocks waits to be told who looks at it; then it is as for nobody in particular.
const VIEWER_PATIENCE: Duration = Duration::from_secs(1);

/// Who asks for a page, by the request alone. All of it may have to be fetched, which happens while the origin is at
/// work; nothing, where presence is out of order.
type Identity = Option<(Rc<Keys>, Option<Known>)>;

/// What a page is served with.
struct Visiting {
    setup: Rc<Setup>,
    site: SiteName,
    asker: Rc<Asker>,
    identity: Shared<LocalBoxFuture<'static, Identity>>,
    env: Env,
}

/// Answers a request for a page.
pub async fn page(asked: Asked, setup: &Rc<Setup>, env: Env, ctx: Context) -> Result<web_sys::Response> {
    let origin = match setup.origin() {
        Ok(origin) => origin,
        Err(problem) => return answer::write(problem.reply(), &asked),
    };
    let visiting = guarded(|| visit(&asked, setup, &env, &ctx)).flatten().map(Rc::new);
    let answer = match origin {
        Origin::Demo => {
            let answer = Answer::of(answer::write(demo(&asked, setup.base_path()), &asked)?, Look::None);
            return answered(answer, &asked, visiting, &ctx).await;
        }
        Origin::Route | Origin::Url(_) => match fetch_page(&asked, origin).await {
            Ok(answer) => answer,
            Err(error) => {
                console_error!("the origin cannot be reached: {error}");
                return answer::write(Problem::BadGateway.reply(), &asked);
            }
        },
    };
    answered(answer, &asked, visiting, &ctx).await
}

/// What a page was answered with.
struct Answer {
    response: web_sys::Response,
    headers: PlatformHeaders,
    look: Look,
}

impl Answer {
    fn of(response: web_sys::Response, look: Look) -> Self {
        Self { headers: PlatformHeaders::of(response.headers()), response, look }
    }

    fn from_origin(response: web_sys::Response, method: &str) -> Self {
        let answer = Self::of(response, Look::None);
        Self { look: Look::of(method, answer.response.status(), &answer.headers), ..answer }
    }
}

/// Serves what was answered, and looks on.
async fn answered(
    answer: Answer,
    asked: &Asked,
    visiting: Option<Rc<Visiting>>,
    ctx: &Context,
) -> Result<web_sys::Response> {
    // What is between the origin and us goes no further, whatever becomes of the rest.
    let told = HEADERS.iter().any(|name| answer.headers.has(name));
    let (mut cookie, mut claim) = (None, OriginClaim::Nothing);
    if let Some(visiting) = &visiting {
        let said = if told { guarded(|| said(asked, &answer, visiting)) } else { None };
        let said = said.unwrap_or_default();
        claim = said.claim.clone();
        let keys = if told { visiting.signing_keys().await } else { None };
        cookie = guarded(|| record(asked, &answer, said, keys, visiting, ctx)).flatten();
    }
    match look_through(asked, answer, claim, visiting.as_ref()).await {
        Err(error) => {
            console_error!("the page broke off: {error:?}");
            answer::write(Problem::BadGateway.reply(), asked)
        }
        Ok((page, Kept::AsItWas)) if !told && cookie.is_none() => Ok(page.response),
        Ok((page, kept)) => page.changed(kept, cookie),
    }
}

/// Fetches a page. Of one that came in pieces the whole is fetched: in a piece no block can be told.
async fn fetch_page(asked: &Asked, origin: &Origin) -> std::result::Result<Answer, String> {
    let answer = Answer::from_origin(forward(asked, origin, false).await?, &asked.method);
    match answer.look {
        Look::Piece => Ok(Answer::from_origin(forward(asked, origin, true).await?, &asked.method)),
        _ => Ok(answer),
    }
}

/// Runs what must not break a page: a panic is told in the log, and nothing came of it.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| console_error!("presence panicked; the page was served")).ok()
}

/// Finds out who asks, as far as that is at hand, and has the rest fetched while the origin is at work.
fn visit(asked: &Asked, setup: &Rc<Setup>, env: &Env, ctx: &Context) -> Option<Visiting> {
    let config = setup.config().map_err(|problem| console_error!("presence is off: {problem:?}")).ok()?;
    let site = asked.site(config).ok()?;
    let asker = Rc::new(asked.asker(site.clone(), config));
    let at_hand =
        keys::at_hand(config, &site).and_then(|keys| Some((who::at_hand(&asker, &keys, &config.access)?, keys)));
    let identity = match at_hand {
        Some((known, keys)) => futures_util::future::ready(Some((keys, known))).boxed_local().shared(),
        None => {
            let (setup, site, asker, env) = (setup.clone(), site.clone(), asker.clone(), env.clone());
            let identity = async move {
                let config = setup.config().ok()?;
                let keys = keys::get(config, &site, &env, calls::PATIENCE).await;
                let keys = keys.map_err(|error| console_error!("a visit was not recorded: {error}")).ok()?;
                let known = who::look_up(&asker, &keys, &config.access, None, &env).await.unwrap_or_default();
                Some((keys, known))
            };
            let identity = identity.boxed_local().shared();
            let to_the_end = identity.clone();
            ctx.wait_until(async move {
                to_the_end.await;
            });
            identity
        }
    };
    Some(Visiting { setup: setup.clone(), site, asker, identity, env: env.clone() })
}

impl Visiting {
    async fn signing_keys(&self) -> Option<Rc<Keys>> {
        keys::get(self.setup.config().ok()?, &self.site, &self.env, KEY_PATIENCE).await.ok()
    }

    /// Who they are, if that is known by now: all of it, or for a visitor whom the origin has named their signed cookie.
    fn identity_now(&self, keys: Option<Rc<Keys>>, named: bool, config: &Config) -> Identity {
        // What is at hand is told when it is asked for, and not before.
        if let Some(identity) = self.identity.clone().now_or_never() {
            return identity;
        }
        let keys = keys.filter(|_| named)?;
        let known = who::signed(&self.asker, &keys, &config.access);
        Some((keys, known))
    }
}

/// What the origin says of the visitor and of the page.
fn said(asked: &Asked, answer: &Answer, visiting: &Visiting) -> OriginAnswer {
    match visiting.setup.config() {
        Ok(config) if config.trust_origin_headers => {
            read(&asked.method, asked, answer.response.status(), &answer.headers)
        }
        _ => OriginAnswer::default(),
    }
}

async fn forward(asked: &Asked, origin: &Origin, whole: bool) -> std::result::Result<web_sys::Response, String> {
    let text = |error: JsValue| format!("{error:?}");
    let sent_by_client = HEADERS.iter().any(|name| asked.has(name));
    let change = |headers: &PlatformHeaders| -> std::result::Result<(), JsValue> {
        if let Origin::Url(_) = origin {
            // As the origin has another address, these tell it what the visitor sees.
            headers.set("x-forwarded-host", &asked.host)?;
            headers.set("x-forwarded-proto", if asked.secure { "https" } else { "http" })?;
        }
        let ours = HEADERS.iter().filter(|_| sent_by_client);
        ours.chain(["range", "if-range"].iter().filter(|_| whole)).try_for_each(|name| headers.delete(name))
    };
    let global: web_sys::WorkerGlobalScope = js_sys::global().unchecked_into();
    let made = |request: std::result::Result<web_sys::Request, JsValue>| {
        let request = request.map_err(text)?;
        change(&PlatformHeaders::of(request.headers())).map_err(text)?;
        Ok::<_, String>(global.fetch_with_request(&request))
    };
    let answer = match origin {
        // A request made of the visitor's is copied once more to be sent, with all that the platform tells of the visitor,
        // which took a twentieth of the time that a page takes.
        Origin::Url(base) if asked.raw.body().is_none() => {
            let (headers, init) = (asked.headers.copy().map_err(text)?, web_sys::RequestInit::new());
            change(&headers).map_err(text)?;
            init.set_method(&asked.method);
            init.set_headers(headers.native());
            init.set_redirect(web_sys::RequestRedirect::Manual);
            global.fetch_with_str_and_init(&address(base, asked)?, &init)
        }
        // Otherwise no GET could have a body, nor say that it has none.
        Origin::Url(base) => {
            made(web_sys::Request::new_with_str_and_init(&address(base, asked)?, asked.raw.unchecked_ref()))?
        }
        _ if sent_by_client || whole => made(web_sys::Request::new_with_request(&asked.raw))?,
        _ => global.fetch_with_request(&asked.raw),
    };
    Ok(JsFuture::from(answer).await.map_err(text)?.unchecked_into())
}

/// Where a page is at the origin.
fn address(base: &str, asked: &Asked) -> std::result::Result<String, String> {
    let (address, path) = (format!("{base}{}", asked.target()), path_of(base));
    // What `..` leads to is worked out only when it is fetched. Where the origin has no path it leads out of nothing.
    if !path.is_empty() {
        let request = web_sys::Request::new_with_str(&address).map_err(|error| format!("{error:?}"))?;
        if !path_of(&request.url()).starts_with(&format!("{path}/")) {
            return Err("the address leads out of it".into());
        }
    }
    Ok(address)
}

/// The path of a URL, and what follows it.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').and_then(|start| rest.get(start..)).unwrap_or_default()
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

/// Records whoever was answered, and gives the `Set-Cookie` value that the answer needs, if any.
fn record(
    asked: &Asked,
    answer: &Answer,
    said: OriginAnswer,
    keys: Option<Rc<Keys>>,
    visiting: &Rc<Visiting>,
    ctx: &Context,
) -> Option<String> {
    #[cfg(feature = "test-hooks")]
    super::hooks::maybe_panic("panic-worker");
    let config = visiting.setup.config().ok()?;
    let request = PageRequest::of(asked);
    if request == PageRequest::Ahead {
        return None;
    }
    // A redirect is no place: the visitor is already on the way to another.
    let status = answer.response.status();
    let redirected = (300..400).contains(&status) && status != 304;
    let document = request == PageRequest::Document && !redirected;
    let OriginAnswer { claim, topic, is_place } = said;
    let place = (document && is_place).then(|| place_of_request(&asked.path, topic)).flatten();
    let seen = Seen { place, ..Seen::default() };
    if let Some((keys, known)) = visiting.identity_now(keys, claim != OriginClaim::Nothing, config) {
        let visitor = who::visitor(&visiting.asker, known.as_ref(), &keys, config);
        let Visit { signals, cookie, changes } = visitor.page(claim, seen);
        who::tell_accounts(changes, &visiting.site, &visiting.env, ctx);
        let word = recording::record(signals, &visitor, config, &visiting.env, ctx);
        return match (cookie, word) {
            // A shared cache would give what is done to one visitor's cookie to the next.
            (Some(_), _) | (_, Some(_)) if is_shared(&answer.headers) => None,
            (Some(CookieChange::Keep(token)), _) => Some(cookies::keep(&token, asked.secure, COOKIE_LIFE.0)),
            (Some(CookieChange::Clear), _) => Some(cookies::clear(asked.secure)),
            (None, word) => word.map(|word| cookies::keep_seen(&word, asked.secure, config.touch_resolution.0)),
        };
    }
    // Who they are is on its way: the page goes out, and the visitor is recorded when it is known.
    let (visiting, later) = (visiting.clone(), Later(JsValue::from(ctx.as_ref())));
    ctx.wait_until(async move {
        let (Ok(config), Some((keys, known))) = (visiting.setup.config(), visiting.identity.clone().await) else {
            return;
        };
        let (visitor, ctx) = (who::visitor(&visiting.asker, known.as_ref(), &keys, config), later.context());
        let Visit { signals, changes, .. } = visitor.page(claim, seen);
        who::tell_accounts(changes, &visiting.site, &visiting.env, &ctx);
        recording::record(signals, &visitor, config, &visiting.env, &ctx);
    });
    None
}

/// A context for work that outlives the request's own handle.
struct Later(JsValue);

impl Later {
    fn context(&self) -> Context {
        Context::new(self.0.clone().unchecked_into())
    }
}

/// The page as this visitor gets it: with the blocks that are for them, and with the widget's script.
async fn look_through(
    asked: &Asked,
    answer: Answer,
    claim: OriginClaim,
    visiting: Option<&Rc<Visiting>>,
) -> std::result::Result<(Page, Kept), JsValue> {
    let Answer { response, headers, look } = answer;
    let config = visiting.and_then(|visiting| visiting.setup.config().ok());
    let script = config
        .filter(|config| config.inject_widget && PageRequest::of(asked) == PageRequest::Document)
        .map(|config| format!("{}/widget.js", config.base_path));
    let shared = || is_shared(&headers);
    let named = matches!(claim, OriginClaim::User(_));
    let viewer = || match visiting {
        Some(visiting) if !shared() => viewer(claim, visiting.clone()),
        // What any cache may keep is written for nobody in particular; and so is what goes out while presence is out of
        // order.
        _ => html::known(Rc::default()),
    };
    let rewriting = |script: Option<String>| match script {
        Some(script) => html::Rewriting::new().with_script(&script),
        None => Ok(html::Rewriting::new()),
    };
    match look {
        Look::None | Look::Piece => Ok((Page::from_elsewhere(response), Kept::AsItWas)),
        Look::Whole => {
            let body = html::body(&response).await?;
            let whole = with_body(&response, &body)?;
            match (html::has_blocks(&body), script) {
                (false, None) => Ok((Page { response: whole, ours: true }, Kept::AsItWas)),
                (false, script) => Ok((Page::from_elsewhere(rewriting(script)?.of(&whole)?), Kept::AsItWas)),
                (true, script) => {
                    let kept = if shared() { Kept::AsItWas } else { Kept::ByNobody };
                    let viewer = viewer();
                    viewer.clone().await;
                    Ok((Page::from_elsewhere(rewriting(script)?.with_blocks(viewer)?.of(&whole)?), kept))
                }
            }
        }
        Look::Streaming => {
            // Whether there are blocks is seen only when the headers have gone.
            let kept = match shared() {
                true => Kept::AsItWas,
                false if !named && visiting.is_some_and(|visiting| !visiting.asker.has_credentials()) => {
                    Kept::WithoutTag
                }
                false => Kept::ByNobody,
            };
            let page = match script {
                Some(_) => rewriting(script)?.with_blocks(viewer())?.of(&response)?,
                None => {
                    let viewer = viewer();
                    html::from_first_block(&response, move || html::Rewriting::new().with_blocks(viewer))?
                }
            };
            Ok((Page::from_elsewhere(page), kept))
        }
    }
}

/// Who looks at a page: whom the origin has named, or whoever the request shows.
fn viewer(claim: OriginClaim, visiting: Rc<Visiting>) -> html::Viewer {
    let standing = async move {
        let (user, evidence) = match claim {
            OriginClaim::User(user) => (user, Evidence::default()),
            OriginClaim::Nobody => return Rc::default(),
            OriginClaim::Nothing if !visiting.asker.has_credentials() => return Rc::default(),
            OriginClaim::Nothing => {
                let patience = pin!(Delay::from(VIEWER_PATIENCE));
                let known = select(visiting.identity.clone(), patience).await;
                let Either::Left((Some((_, Some(known))), _)) = known else { return Rc::default() };
                (known.user().clone(), known.evidence())
            }
        };
        Rc::new(who::standing_of(user, evidence, &visiting.site, &visiting.env).await)
    };
    standing.boxed_local().shared()
}

/// By whom a page may be kept that was changed for a visitor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// As the origin says.
    AsItWas,
    /// As the origin says, but it cannot be asked whether it is still the same: to the origin it is, though not to
    /// another visitor.
    WithoutTag,
    /// By nobody: the next who looks may be another visitor of the same browser.
    ByNobody,
}

/// An answer with another body.
fn with_body(response: &web_sys::Response, body: &ArrayBuffer) -> std::result::Result<web_sys::Response, JsValue> {
    let init: &web_sys::ResponseInit = response.unchecked_ref();
    web_sys::Response::new_with_opt_buffer_source_and_init(Some(body), init)
}

/// A page that is about to go out.
struct Page {
    response: web_sys::Response,
    /// Whether we have made it, and so may change its headers.
    ours: bool,
}

impl Page {
    fn from_elsewhere(response: web_sys::Response) -> Self {
        Self { response, ours: false }
    }

    /// The same without what is between the origin and us, and with our cookie. Its body is not touched.
    fn changed(self, kept: Kept, cookie: Option<String>) -> Result<web_sys::Response> {
        let page = if self.ours {
            self.response
        } else {
            let (init, body): (&web_sys::ResponseInit, _) = (self.response.unchecked_ref(), self.response.body());
            web_sys::Response::new_with_opt_readable_stream_and_init(body.as_ref(), init)?
        };
        let headers = page.headers();
        let named = PlatformHeaders::of(headers.clone());
        for name in HEADERS {
            named.delete(name)?;
        }
        if kept != Kept::AsItWas {
            named.delete("etag")?;
            named.delete("last-modified")?;
        }
        let stored = || !named.get("cache-control").unwrap_or_default().to_ascii_lowercase().contains("no-store");
        if kept == Kept::ByNobody && stored() {
            headers.set("cache-control", "private, no-cache")?;
        }
        if let Some(cookie) = cookie {
            headers.append("set-cookie", &cookie)?;
        }
        Ok(page)
    }
}

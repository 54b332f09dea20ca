use super::headers::PlatformHeaders;
use super::request::Asked;
use super::rewrite::Rewriting;
use super::setup::Setup;
use super::{answer, calls, keys, recording, who};
use crate::config::{BlockKey, Config, Origin};
use crate::http::Change;
use crate::http::Headers;
use crate::http::blocks::Cutter;
use crate::http::forward;
use crate::http::inject::Injector;
use crate::http::page::{self, Coding, Cutting, Handling, Plan};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::report::{Seen, Shows, opens_document, place_of_request};
use crate::identity::access::{Standing, Subject};
use crate::identity::origin::{HEADERS, OriginAnswer, OriginClaim, is_shared, read};
use crate::identity::visit::{COOKIE_LIFE, CookieChange, Visit};
use crate::identity::{Asker, Keys, Known, cookies};
use crate::presence::id::SiteName;
use crate::presence::member::{Evidence, Place};
use crate::protocol::widget::{self, ANYWHERE};
use futures_util::future::{Either, FutureExt, LocalBoxFuture, Shared, select};
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
    let inject = setup.config().is_ok_and(|config| config.inject_widget) && opens_document(&asked);
    let answer = match origin {
        Origin::Demo => {
            let answer = Answer::uncut(answer::write(demo(&asked, setup), &asked)?);
            return answered(answer, &asked, visiting, None, &ctx).await;
        }
        Origin::Route | Origin::Url(_) => match fetch_page(&asked, origin, setup, inject).await {
            Ok(answer) => answer,
            Err(problem) => {
                console_error!("{}: {}", asked.path, problem.detail());
                return answer::write(problem.reply(), &asked);
            }
        },
    };
    answered(answer, &asked, visiting, inject.then_some(setup.base_path()), &ctx).await
}

/// What a page was answered with.
struct Answer {
    response: web_sys::Response,
    headers: PlatformHeaders,
    /// How its blocks are cut, where it may hold any.
    cutting: Option<Cutting>,
}

impl Answer {
    fn uncut(response: web_sys::Response) -> Self {
        Self { headers: PlatformHeaders::of(response.headers()), response, cutting: None }
    }
}

/// Serves what was answered, and looks on. `inject` is where the widget's script is, where that is to be put in.
async fn answered(
    answer: Answer,
    asked: &Asked,
    visiting: Option<Rc<Visiting>>,
    inject: Option<&str>,
    ctx: &Context,
) -> Result<web_sys::Response> {
    // What is between the origin and us goes no further, whatever becomes of the rest.
    let told = HEADERS.iter().any(|name| answer.headers.has(name));
    let (mut cookie, mut claim, mut shows) = (None, OriginClaim::Nothing, Shows::Nothing);
    if let Some(visiting) = &visiting {
        let said = if told { guarded(|| said(asked, &answer, visiting)) } else { None };
        let said = said.unwrap_or_default();
        claim = said.claim.clone();
        let status = answer.response.status();
        shows = guarded(|| Shows::of(&asked.method, asked, status, &answer.headers, said.is_place))
            .unwrap_or(Shows::Nothing);
        let keys = if told { visiting.signing_keys().await } else { None };
        cookie = guarded(|| record(asked, &answer, said, shows, keys, visiting, ctx)).flatten();
    }
    let nowhere = shows == Shows::Nowhere;
    match rewritten(asked, answer, claim, visiting, inject) {
        Err(error) => {
            console_error!("the page broke off: {error:?}");
            answer::write(Problem::BadGateway.reply(), asked)
        }
        Ok((response, changes)) if !told && !nowhere && cookie.is_none() && changes.is_empty() => Ok(response),
        Ok((response, changes)) => with_headers(response, &changes, cookie, nowhere),
    }
}

/// Fetches a page. Of one that came in pieces and may hold blocks the whole is fetched: in a piece no block can be told.
async fn fetch_page(
    asked: &Asked,
    origin: &Origin,
    setup: &Setup,
    inject: bool,
) -> std::result::Result<Answer, Problem> {
    let key = setup.block_key()?;
    let plan = Plan { cut: key.is_some(), inject, whole: false };
    let (mut answer, mut handling) = fetch_planned(asked, origin, key, plan).await?;
    if handling == Handling::AskForWhole {
        (answer, handling) = fetch_planned(asked, origin, key, Plan { whole: true, ..plan }).await?;
    }
    match handling {
        Handling::Pass => Ok(answer),
        Handling::Cut(cutting) => Ok(Answer { cutting: Some(cutting), ..answer }),
        Handling::AskForWhole => Err(page::piece()),
    }
}

async fn fetch_planned(
    asked: &Asked,
    origin: &Origin,
    key: Option<&BlockKey>,
    plan: Plan,
) -> std::result::Result<(Answer, Handling), Problem> {
    let changes = page::changes_to_request(asked, plan);
    let answer = forward(asked, origin, &changes).await.map(Answer::uncut).map_err(|error| {
        console_error!("the origin cannot be reached: {error}");
        Problem::BadGateway
    })?;
    let handling = page::handling(&asked.method, answer.response.status(), &answer.headers, key)?;
    Ok((answer, handling))
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
                let known = who::look_up(&asker, &keys, &config.access, false, &env).await.unwrap_or_default();
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
    let said = read(&asked.method, asked, answer.response.status(), &answer.headers);
    match visiting.setup.config() {
        Ok(config) if config.trust_origin_headers => said,
        // To leave a place out does no harm.
        _ => OriginAnswer { is_place: said.is_place, ..OriginAnswer::default() },
    }
}

async fn forward(asked: &Asked, origin: &Origin, changes: &[Change]) -> std::result::Result<web_sys::Response, String> {
    let text = |error: JsValue| format!("{error:?}");
    let mut all = forward::changes(asked, &asked.host, asked.secure, origin);
    all.extend_from_slice(changes);
    let change = |headers: &PlatformHeaders| headers.change(&all);
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
        _ if all.is_empty() => global.fetch_with_request(&asked.raw),
        _ => made(web_sys::Request::new_with_request(&asked.raw))?,
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

fn demo(asked: &Asked, setup: &Setup) -> Reply {
    let locations = setup.config().is_ok_and(|config| !config.access.restricts(&[Subject::Count, Subject::Locations]));
    let page = |path: &str| widget::demo(path, setup.base_path(), locations);
    // Any address is a page, so that an access log can be replayed.
    match page(&asked.path).or_else(|| opens_document(asked).then(|| page(ANYWHERE)).flatten()) {
        Some(page) if matches!(asked.method.as_str(), "GET" | "HEAD") => Reply::new(200, page.content_type, page.body)
            .with("cache-control", "no-cache")
            .with("content-security-policy", "default-src 'self'; img-src 'self' data:"),
        Some(_) => Problem::MethodNotAllowed("GET, HEAD").reply(),
        None => Problem::NotFound("No ORIGIN is set, so only the demo pages are here: /, /forum and /market.".into())
            .reply()
            .with("cache-control", "no-cache"),
    }
}

/// Records whoever was answered, and gives the `Set-Cookie` value that the answer needs, if any.
fn record(
    asked: &Asked,
    answer: &Answer,
    said: OriginAnswer,
    shows: Shows,
    keys: Option<Rc<Keys>>,
    visiting: &Rc<Visiting>,
    ctx: &Context,
) -> Option<String> {
    #[cfg(feature = "test-hooks")]
    super::hooks::maybe_panic("panic-worker");
    let config = visiting.setup.config().ok()?;
    let OriginAnswer { claim, topic, .. } = said;
    let place = match shows {
        Shows::Nothing => return None,
        Shows::Part => None,
        Shows::Page => Some(place_of_request(&asked.path, topic, &config.private_paths)),
        Shows::Nowhere => Some(Place::nowhere()),
    };
    let seen = Seen { arrives: place.is_some(), place, ..Seen::default() };
    let nowhere = shows == Shows::Nowhere;
    if let Some((keys, known)) = visiting.identity_now(keys, claim != OriginClaim::Nothing, config) {
        let visitor = who::visitor(&visiting.asker, known.as_ref(), &keys, config);
        let Visit { signals, cookie, changes } = visitor.page(claim, seen);
        who::tell_accounts(changes, visitor.now, &visiting.site, &visiting.env, ctx);
        recording::note_page(&signals, &asked.path, nowhere, &visitor);
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
    let (visiting, later, path) = (visiting.clone(), Later(JsValue::from(ctx.as_ref())), asked.path.clone());
    ctx.wait_until(async move {
        let (Ok(config), Some((keys, known))) = (visiting.setup.config(), visiting.identity.clone().await) else {
            return;
        };
        let (visitor, ctx) = (who::visitor(&visiting.asker, known.as_ref(), &keys, config), later.context());
        let Visit { signals, changes, .. } = visitor.page(claim, seen);
        who::tell_accounts(changes, visitor.now, &visiting.site, &visiting.env, &ctx);
        recording::note_page(&signals, &path, nowhere, &visitor);
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

/// The page as this visitor gets it, with the blocks that are for them and with the widget's script; and what that changes
/// about its headers.
fn rewritten(
    asked: &Asked,
    answer: Answer,
    claim: OriginClaim,
    visiting: Option<Rc<Visiting>>,
    inject: Option<&str>,
) -> std::result::Result<(web_sys::Response, Vec<Change>), JsValue> {
    let Answer { response, headers, cutting } = answer;
    let head = (asked.method.as_str(), response.status());
    let injector = inject.and_then(|base_path| Injector::of(asked, head, &headers, &asked.host, base_path));
    let changes = match (&cutting, &injector) {
        (None, None) => return Ok((response, Vec::new())),
        (None, Some(_)) => page::changes_to_longer_answer(),
        (Some(_), _) => page::changes_to_cut_answer(&headers),
    };
    let Cutting { keys, coding } = cutting.unwrap_or(Cutting { keys: Vec::new(), coding: Coding::Plain });
    let viewer = viewer(page::viewer(claim, &headers), visiting);
    let rewriting = Rewriting { cutter: Cutter::new(keys), coding, viewer, injector, path: asked.path.clone() };
    Ok((rewriting.of(&response)?, changes))
}

/// Who looks at a page: whom the origin has named, or whoever the request shows; nobody, while presence is out of order.
fn viewer(claim: OriginClaim, visiting: Option<Rc<Visiting>>) -> LocalBoxFuture<'static, Standing> {
    let standing = async move {
        let Some(visiting) = visiting else { return Standing::default() };
        let (user, evidence) = match claim {
            OriginClaim::User(user) => (user, Evidence::default()),
            OriginClaim::Nobody => return Standing::default(),
            OriginClaim::Nothing if !visiting.asker.has_credentials() => return Standing::default(),
            OriginClaim::Nothing => {
                let patience = pin!(Delay::from(VIEWER_PATIENCE));
                let known = select(visiting.identity.clone(), patience).await;
                let Either::Left((Some((_, Some(known))), _)) = known else { return Standing::default() };
                (known.user().clone(), known.evidence())
            }
        };
        who::standing_of(user, evidence, &visiting.site, &visiting.env).await
    };
    standing.boxed_local()
}

/// An answer without what is between the origin and us, with changes to its headers and with our cookie. Where it is `nowhere`
/// the page's script learns that, so that it does not report where it is.
fn with_headers(
    response: web_sys::Response,
    changes: &[Change],
    cookie: Option<String>,
    nowhere: bool,
) -> Result<web_sys::Response> {
    // Of what others have made the headers cannot be changed.
    let (init, body): (&web_sys::ResponseInit, _) = (response.unchecked_ref(), response.body());
    let page = web_sys::Response::new_with_opt_readable_stream_and_init(body.as_ref(), init)?;
    let headers = PlatformHeaders::of(page.headers());
    HEADERS.iter().try_for_each(|name| headers.delete(name))?;
    headers.change(changes)?;
    if nowhere {
        // The one header of its own answer that a page can read.
        headers.native().append("server-timing", "presence;desc=nowhere")?;
    }
    if let Some(cookie) = cookie {
        headers.native().append("set-cookie", &cookie)?;
    }
    Ok(page)
}

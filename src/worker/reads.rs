//! Questions about presence, answered by the site's object as far as whoever asks may know.

use super::answers::Question;
use super::request::Asked;
use super::{answers, calls, clock, keys, questions, recording, repeats, sites, who};
use crate::config::Config;
use crate::http::conditions::tagged;
use crate::http::cors::{Caller, public};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::route::Form;
use crate::identity::access::{Scope, Standing};
use crate::identity::memory::Memory;
use crate::identity::shown::ShownIds;
use crate::presence::id::SiteName;
use crate::presence::shards::Shards;
use crate::presence::site::Site;
use crate::presence::time::{Seconds, Timestamp};
use crate::protocol::answer::{About, Answer, answer};
use crate::protocol::call::{self, Call};
use crate::protocol::part::{self, Part};
use crate::protocol::query::Query;
use crate::protocol::{NothingKept, badge, feed};
use futures_util::future::join_all;
use std::cell::RefCell;
use std::rc::Rc;
use worker::{Context, Env, console_error};

/// For how long one is left alone that has not answered.
const RESPITE: Seconds = Seconds(5);

/// What an answer depends on that not everybody gets.
const VARY: &str = "cookie, authorization";

thread_local! {
    static SILENT: RefCell<Memory<(SiteName, u32), ()>> = RefCell::new(Memory::default());
}

/// Answers a question.
pub async fn read(
    query: Query,
    form: Form,
    asked: &Asked,
    config: &Config,
    env: &Env,
    ctx: &Context,
) -> Result<Reply, Problem> {
    let site = asked.site(config)?;
    let Reader { scope, mut personal, varies } = reader(&query, &site, asked, config, env).await?;
    // What guests are called takes the site's key.
    let keys = match query.lists_guests() {
        true => Some(keys::get(config, &site, env, calls::PATIENCE).await.map_err(|error| {
            console_error!("no keys: {error}");
            Problem::Unavailable
        })?),
        false => None,
    };
    let ids = keys.as_ref().map(|keys| &keys.shown);
    let query = match ids {
        Some(ids) => query.opened(ids),
        None => query,
    };
    recording::send_news(&site, env, ctx).await;
    let (at, mut answer) = look_up((site.clone(), query.clone(), scope), ids, asked, config, env, ctx).await?;
    // Only where somebody was left out it matters whether whoever asks may see them.
    if answer.hidden && !personal && asked.asker(site.clone(), config).has_credentials() {
        let sees = who::standing_if_known(asked, &site, config, env).await.sees_invisible();
        if sees {
            personal = true;
            let all = Scope { invisible: true, ..scope };
            (_, answer) = look_up((site.clone(), query, all), ids, asked, config, env, ctx).await?;
        }
    }
    let (content_type, body) = match form {
        Form::Json => ("application/json", answer.body.clone()),
        Form::Text => ("text/plain; charset=utf-8", answer.total.to_string().into_bytes()),
        Form::BadgeSvg => ("image/svg+xml", badge::svg(answer.total).into_bytes()),
        Form::BadgeJson => ("application/json", badge::json(answer.total)),
        Form::Atom => {
            let home = format!("{}://{}/", if asked.secure { "https" } else { "http" }, asked.host);
            let own = format!("{}{}", home.trim_end_matches('/'), asked.path);
            let xml = feed::atom(&answer.body, site.as_str(), &home, &own, clock::now());
            ("application/atom+xml; charset=utf-8", xml)
        }
    };
    let reply = Reply::new(200, content_type, body);
    if !personal {
        let reply = reply.with("cache-control", "public, max-age=1");
        // A cache is to give it to nobody who may see more.
        let reply = if varies { reply.with("vary", VARY) } else { reply };
        let reply = public(tagged(reply, &answer.tag, asked));
        // Where there is news whoever asks has it sent. Where somebody was left out others may see more, too: that nothing is given
        // again then would tell strangers that somebody hides.
        if !recording::has_news(&site) {
            repeats::remember(asked, &reply, at, varies || answer.hidden);
        }
        return Ok(reply);
    }
    let reply = reply.with("cache-control", "private, no-store").with("vary", VARY);
    // A page of a listed origin may read it with its visitor's own token.
    match Caller::of(asked, &asked.host, &config.allowed_origins) {
        Ok(Caller::Listed(origin)) => Ok(Caller::Listed(origin).allow(reply)),
        _ => Ok(reply),
    }
}

/// Who asks, as far as an answer depends on it.
struct Reader {
    /// How much of it is for them.
    scope: Scope,
    /// Whether it is for them alone.
    personal: bool,
    /// Whether others may see more of it than strangers do.
    varies: bool,
}

async fn reader(query: &Query, site: &SiteName, asked: &Asked, config: &Config, env: &Env) -> Result<Reader, Problem> {
    let access = &config.access;
    let subjects = query.subjects();
    let topic = if let Query::Viewers(topic, _) = query { Some(topic) } else { None };
    let closed = access.restricts(&subjects) || topic.is_some_and(|_| !access.viewers_are_public());
    let varies = access.restricts(query.details());
    // To strangers an answer that is open is the same for all, and nothing has to be looked up for it.
    let known = closed || (varies && asked.asker(site.clone(), config).has_credentials());
    let standing = match known {
        _ if closed => who::standing(asked, site, config, env).await?,
        true => who::standing_if_known(asked, site, config, env).await,
        false => Standing::default(),
    };
    let allowed = access.scope(&subjects, &standing).and_then(|scope| {
        topic.map_or(Ok(()), |topic| access.viewers(topic, &standing))?;
        Ok(scope)
    });
    let scope = allowed.map_err(|denied| who::refusal(denied, asked, config))?;
    Ok(Reader { scope, personal: known, varies })
}

/// The answer, and as of when it is.
async fn look_up(
    question: Question,
    ids: Option<&ShownIds>,
    asked: &Asked,
    config: &Config,
    env: &Env,
    ctx: &Context,
) -> Result<(Timestamp, Rc<Answer>), Problem> {
    if let Some(known) = answers::fresh(&question) {
        return Ok(known);
    }
    let (site, query, scope) = &question;
    let (at, all) = ask_all((site.clone(), query.widened(), *scope), asked, config, env).await?;
    let parts: Vec<Part<'_>> = all.iter().flatten().filter_map(|told| call::read(told).ok()).collect();
    if parts.is_empty() {
        return Err(Problem::Unavailable);
    }
    let partial = parts.len() < all.len();
    let answer = Rc::new(answer(query, *scope, &About::of(site, config, ids), parts, partial));
    if let Some(peak) = answer.new_peak {
        let (site, env) = (site.clone(), env.clone());
        ctx.wait_until(async move {
            // Whoever asks next tells it otherwise.
            let _ = calls::ask::<()>(&env, calls::Object::Presence(&site, 0), &Call::Peak(peak), calls::PATIENCE).await;
        });
    }
    answers::remember(question, at, &answer);
    Ok((at, answer))
}

/// What each of the site's objects tells to a widened question, and as of when that is. It may have been told a moment ago.
async fn ask_all(
    question: Question,
    asked: &Asked,
    config: &Config,
    env: &Env,
) -> Result<(Timestamp, answers::Told), Problem> {
    if let Some(told) = answers::told(&question) {
        return Ok(told);
    }
    let (site, query, scope) = &question;
    questions::pay(asked, site, config, env).await?;
    let at = clock::now();
    let all = if sites::is_known(site, config, env).await {
        let shares = query.parts(config.shards).into_iter();
        join_all(shares.map(|(number, query)| share(site, number, Call::Read(query, *scope), config, env))).await
    } else {
        // What an object would say that is made for this question; none is made for it.
        vec![Some(part::tell(query, *scope, &Site::new(config.window(), at), &NothingKept))]
    };
    let all = Rc::new(all);
    if all.iter().flatten().any(Vec::is_empty) {
        // It has too much to look for: see `Repeat`.
        return Err(Problem::TooManyAttempts(Seconds(1)));
    }
    answers::remember_told(question, at, &all);
    Ok((at, all))
}

/// What one of the objects tells. Of several one that has not answered is left alone for a while, so that it costs no more
/// than what it knows.
async fn share(site: &SiteName, number: u32, call: Call, config: &Config, env: &Env) -> Option<Vec<u8>> {
    let (key, several) = ((site.clone(), number), config.shards > Shards::ONE);
    if several && SILENT.with_borrow(|silent| silent.recall(&key, clock::now())).is_some() {
        return None;
    }
    let patience = if several { calls::PATIENCE_FOR_ONE } else { calls::PATIENCE };
    let ask = || calls::ask_in_bytes(env, calls::Object::Presence(site, number), call::write(&call), patience);
    let told = match ask().await {
        // As when it starts anew: it is there again at once.
        Err(error) if calls::has_broken_off(&error) => ask().await,
        told => told,
    };
    told.map_err(|error| {
        console_error!("no answer: {error}");
        if several {
            SILENT.with_borrow_mut(|silent| silent.keep(key, clock::now().plus(RESPITE), None));
        }
    })
    .ok()
}

//! Questions about presence, answered by the site's object as far as whoever asks may know.

use super::answers::Question;
use super::request::Asked;
use super::{answers, calls, clock, questions, recording, repeats, who};
use crate::config::Config;
use crate::http::conditions::tagged;
use crate::http::cors::{Caller, public};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::route::Form;
use crate::identity::access::{Scope, Standing};
use crate::identity::memory::Memory;
use crate::presence::id::SiteName;
use crate::presence::shards::Shards;
use crate::presence::time::{Seconds, Timestamp};
use crate::protocol::answer::{About, Answer, answer};
use crate::protocol::call::{self, Call};
use crate::protocol::part::Part;
use crate::protocol::query::Query;
use crate::protocol::{badge, feed};
use futures_util::future::join_all;
use std::cell::RefCell;
use std::rc::Rc;
use worker::{Context, Env, console_error};

/// For how long one is left alone that has not answered.
const RESPITE: Seconds = Seconds(5);

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
    let (scope, personal) = scope(&query, &site, asked, config, env).await?;
    recording::send_news(&site, env, ctx).await;
    let (at, mut answer) = look_up((site.clone(), query.clone(), scope), asked, config, env, ctx).await?;
    let mut personal = personal;
    // Only where somebody was left out it matters whether whoever asks may see them.
    if answer.hidden && !personal && asked.asker(site.clone(), config).has_credentials() {
        let sees = who::standing_if_known(asked, &site, config, env).await.sees_invisible();
        if sees {
            personal = true;
            let question = (site.clone(), query, Scope { invisible: true, ..scope });
            (_, answer) = look_up(question, asked, config, env, ctx).await?;
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
        let reply = public(tagged(reply.with("cache-control", "public, max-age=1"), &answer.tag, asked));
        // Where somebody was left out it matters who asks, and where there is news whoever asks has it sent.
        if !answer.hidden && !recording::has_news(&site) {
            repeats::remember(asked, &reply, at);
        }
        return Ok(reply);
    }
    let reply = reply.with("cache-control", "private, no-store").with("vary", "cookie, authorization");
    // A page of a listed origin may read it with its visitor's own token.
    match Caller::of(asked, &asked.host, &config.allowed_origins) {
        Ok(Caller::Listed(origin)) => Ok(Caller::Listed(origin).allow(reply)),
        _ => Ok(reply),
    }
}

/// How much of an answer is for whoever asks, and whether that depends on who it is.
async fn scope(
    query: &Query,
    site: &SiteName,
    asked: &Asked,
    config: &Config,
    env: &Env,
) -> Result<(Scope, bool), Problem> {
    let access = &config.access;
    let subjects = query.subjects();
    let topic = if let Query::Viewers(topic, _) = query { Some(topic) } else { None };
    let personal = access.restricts(&subjects)
        || access.restricts(query.details())
        || topic.is_some_and(|_| !access.viewers_are_public());
    let standing = if personal { who::standing(asked, site, config, env).await? } else { Standing::default() };
    let allowed = access.scope(&subjects, &standing).and_then(|scope| {
        topic.map_or(Ok(()), |topic| access.viewers(topic, &standing))?;
        Ok(scope)
    });
    Ok((allowed.map_err(|denied| who::refusal(denied, asked, config))?, personal))
}

/// The answer, and as of when it is.
async fn look_up(
    question: Question,
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
    let answer = Rc::new(answer(query, *scope, &About::of(site, config), parts, partial));
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
    let shares = query.parts(config.shards).into_iter();
    let all = shares.map(|(number, query)| share(site, number, Call::Read(query, *scope), config, env));
    let all = Rc::new(join_all(all).await);
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

//! Questions about presence, answered by the site's object as far as whoever asks may know.

use super::answers::Question;
use super::request::Asked;
use super::{answers, calls, clock, recording, who};
use crate::config::Config;
use crate::http::conditions::tagged;
use crate::http::cors::{Caller, public};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::route::Form;
use crate::identity::access::{Scope, Standing};
use crate::presence::id::SiteName;
use crate::protocol::answer::{About, Answer, answer};
use crate::protocol::call::{self, Call};
use crate::protocol::part::Part;
use crate::protocol::query::Query;
use crate::protocol::{badge, feed};
use std::fmt::Display;
use std::rc::Rc;
use worker::{Context, Env, console_error};

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
    let mut answer = look_up((site.clone(), query.clone(), scope), config, env).await?;
    let mut personal = personal;
    // Only where somebody was left out it matters whether whoever asks may see them.
    if answer.hidden && !personal && asked.asker(site.clone(), config).has_credentials() {
        let sees = who::standing_if_known(asked, &site, config, env).await.sees_invisible();
        if sees {
            personal = true;
            answer = look_up((site.clone(), query, Scope { invisible: true, ..scope }), config, env).await?;
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
        return Ok(public(tagged(reply.with("cache-control", "public, max-age=1"), &answer.tag, asked)));
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

async fn look_up(question: Question, config: &Config, env: &Env) -> Result<Rc<Answer>, Problem> {
    if let Some(answer) = answers::fresh(&question) {
        return Ok(answer);
    }
    let (site, query, scope) = &question;
    let (asked, call) = (clock::now(), Call::Read(query.clone(), *scope));
    let told = calls::ask_in_bytes(env, calls::Object::Presence(site), call::write(&call), calls::PATIENCE).await;
    let unavailable = |error: &dyn Display| {
        console_error!("no answer: {error}");
        Problem::Unavailable
    };
    let told = told.map_err(|error| unavailable(&error))?;
    let part = call::read::<Part>(&told).map_err(|error| unavailable(&error))?;
    let answer = Rc::new(answer(query, *scope, &About::of(site, config), vec![part], false));
    answers::remember(question, asked, &answer);
    Ok(answer)
}

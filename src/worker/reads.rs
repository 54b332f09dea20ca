//! Questions about presence, answered by the site's object.

use super::answers::Question;
use super::request::Asked;
use super::{answers, calls, clock, recording};
use crate::config::Config;
use crate::http::conditions::tagged;
use crate::http::cors::public;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::route::{Form, Query};
use crate::protocol::badge;
use crate::protocol::call::{Answer, Call};
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
    recording::send_news(&site, env, ctx).await;
    let answer = look_up((site, query), env).await?;
    let (content_type, body) = match form {
        Form::Json => ("application/json", answer.body.clone()),
        Form::Text => ("text/plain; charset=utf-8", answer.total.to_string().into_bytes()),
        Form::BadgeSvg => ("image/svg+xml", badge::svg(answer.total).into_bytes()),
        Form::BadgeJson => ("application/json", badge::json(answer.total)),
    };
    let reply = Reply::new(200, content_type, body).with("cache-control", "public, max-age=1");
    Ok(public(tagged(reply, &answer.tag, asked)))
}

async fn look_up(question: Question, env: &Env) -> Result<Rc<Answer>, Problem> {
    if let Some(answer) = answers::fresh(&question) {
        return Ok(answer);
    }
    let (site, query) = &question;
    let (asked, call) = (clock::now(), Call::Read(query.clone(), site.clone()));
    let answer = calls::ask(env, site, &call, calls::PATIENCE).await.map_err(|error| {
        console_error!("no answer: {error}");
        Problem::Unavailable
    })?;
    let answer = Rc::new(answer);
    answers::remember(question, asked, &answer);
    Ok(answer)
}

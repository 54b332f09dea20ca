//! Questions about presence, answered by the site's object and remembered for a moment.

use super::request::Asked;
use super::{calls, clock, recording};
use crate::config::Config;
use crate::http::conditions::tagged;
use crate::http::cors::public;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::route::{Form, Query};
use crate::presence::id::SiteName;
use crate::presence::time::{Millis, Timestamp};
use crate::protocol::badge;
use crate::protocol::call::{Answer, Call};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use worker::{Context, Env, console_error};

/// For how long an answer is used again: however many ask, the object is asked once in that time by each isolate.
const FRESH: Millis = Millis(1000);

/// The most answers that are remembered, and the most bytes that each of them may have.
const MAX_ANSWERS: usize = 64;
const MAX_BYTES: usize = 64 * 1024;

type Remembered = HashMap<(SiteName, Query), (Timestamp, Rc<Answer>)>;

thread_local! {
    static ANSWERS: RefCell<Remembered> = RefCell::new(HashMap::new());
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
    recording::send_news(&site, env, ctx).await;
    let answer = look_up(query, site, env).await?;
    let (content_type, body) = match form {
        Form::Json => ("application/json", answer.body.clone()),
        Form::Text => ("text/plain; charset=utf-8", answer.total.to_string().into_bytes()),
        Form::BadgeSvg => ("image/svg+xml", badge::svg(answer.total).into_bytes()),
        Form::BadgeJson => ("application/json", badge::json(answer.total)),
    };
    let reply = Reply::new(200, content_type, body).with("cache-control", "public, max-age=1");
    Ok(public(tagged(reply, &answer.tag, asked)))
}

/// Forgets what was answered for a site, as it has news.
pub fn forget(site: &SiteName) {
    ANSWERS.with_borrow_mut(|answers| answers.retain(|(known, _), _| known != site));
}

async fn look_up(query: Query, site: SiteName, env: &Env) -> Result<Rc<Answer>, Problem> {
    let now = clock::now();
    let key = (site, query);
    let fresh = |(at, answer): &(Timestamp, Rc<Answer>)| (*at <= now && now.since(*at) < FRESH).then(|| answer.clone());
    if let Some(answer) = ANSWERS.with_borrow(|answers| answers.get(&key).and_then(fresh)) {
        return Ok(answer);
    }
    let call = Call::Read(key.1.clone(), key.0.clone());
    let answer: Answer = calls::ask(env, &key.0, &call, calls::PATIENCE).await.map_err(|error| {
        console_error!("no answer: {error}");
        Problem::Unavailable
    })?;
    let answer = Rc::new(answer);
    if answer.body.len() > MAX_BYTES {
        return Ok(answer);
    }
    ANSWERS.with_borrow_mut(|answers| {
        if answers.len() >= MAX_ANSWERS {
            answers.clear();
        }
        answers.insert(key, (now, answer.clone()));
    });
    Ok(answer)
}

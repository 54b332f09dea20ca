//! Who asks: what a request shows by itself, and what has to be looked up, which is remembered for a while.

use super::calls::{self, Object};
use super::request::Asked;
use super::{clock, keys, logins, recording, sites};
use crate::config::Config;
use crate::http::Headers;
use crate::http::problem::{Challenge, Problem};
use crate::identity::access::{Denied, Standing};
use crate::identity::lookups::{Outcome, RESPITE, Unknown};
use crate::identity::memory::{FOUND, Memory, VERIFIED};
use crate::identity::permission::Right;
use crate::identity::token::Claims;
use crate::identity::{Asker, Keys, Known, User};
use crate::presence::id::{SiteName, UserId};
use crate::protocol::call::AccountCall;
use futures_util::future::{join, join_all};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use worker::{Env, console_error};

/// What is granted is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is granted, by site and user.
type Granted = Memory<(SiteName, UserId), Rc<Vec<Right>>>;

thread_local! {
    /// Tokens that were verified, each for the site that it is for: a browser sends its cookie with every request.
    static TOKENS: RefCell<Memory<String, Rc<(SiteName, Claims)>>> = RefCell::new(Memory::default());
    static RIGHTS: RefCell<Granted> = RefCell::new(Memory::default());
}

/// The user that a request shows, if that is known without asking anybody; `None` where somebody has to be asked.
pub fn at_hand(asker: &Asker, keys: &Keys) -> Option<Option<Known>> {
    remembered(asker, keys).map(Result::unwrap_or_default)
}

fn remembered(asker: &Asker, keys: &Keys) -> Option<Result<Option<Known>, Unknown>> {
    let now = clock::now();
    if let Some(known) = signed(asker, keys) {
        return Some(Ok(Some(known)));
    }
    let logins = asker.logins.iter().map(|login| logins::recall_login(&asker.site, login, now));
    let basic = asker.basic.iter().map(|basic| logins::recall_basic(&asker.site, basic, now));
    let mut sure = true;
    for outcome in logins.chain(basic) {
        match outcome? {
            Outcome::Found(user) => return Some(Ok(Some(Known::LoggedIn { user: (*user).clone(), first: false }))),
            Outcome::Nobody => {}
            Outcome::Unsure => sure = false,
        }
    }
    Some(if sure { Ok(None) } else { Err(Unknown::Unsure) })
}

/// The user whom a token of ours names.
pub fn signed(asker: &Asker, keys: &Keys) -> Option<Known> {
    let now = clock::now();
    let verified = asker.tokens().find_map(|token| {
        let known = TOKENS.with_borrow(|tokens| tokens.recall(token, now)).flatten();
        if let Some(known) = known.filter(|known| known.0 == asker.site) {
            return Some(known.1.clone());
        }
        let claims = keys.verify(token, &asker.site, now)?;
        let until = claims.until.min(now.plus(VERIFIED));
        let known = Rc::new((asker.site.clone(), claims.clone()));
        TOKENS.with_borrow_mut(|tokens| tokens.keep(token.clone(), until, Some(known)));
        Some(claims)
    });
    verified.map(Known::Signed)
}

/// The user that a request shows. All that has to be looked up is looked up at once, so that it takes one round trip.
/// Failed passwords are counted by the site's object where they are `counted`.
///
/// # Errors
/// Where nobody was found and not all could be looked up, or has to wait.
pub async fn look_up(asker: &Asker, keys: &Keys, counted: bool, env: &Env) -> Result<Option<Known>, Unknown> {
    if let Some(known) = remembered(asker, keys) {
        return known;
    }
    // Nothing is kept of a host for which nobody was ever recorded.
    if !sites::is_known_by_settings(&asker.site, env).await {
        return Ok(None);
    }
    let own = asker.client(keys, clock::now());
    // Where nobody tells addresses all are one client, and none of them is to be out of reach of their login by the others.
    let client = (!asker.address.is_empty()).then_some(own);
    let logins = async {
        let any = !asker.logins.is_empty() && logins::any(&asker.site, env).await;
        let logins = asker.logins.iter().filter(|_| any);
        join_all(logins.map(|login| logins::look_up(&asker.site, *login, client, env))).await
    };
    let basic = async {
        match &asker.basic {
            Some(basic) => logins::verify(&asker.site, basic, client, counted.then_some(u64::from(own.0)), env).await,
            None => Ok(Outcome::Nobody),
        }
    };
    let (logins, basic) = join(logins, basic).await;
    let mut sure = true;
    for outcome in logins.into_iter().map(Ok).chain([basic]) {
        match outcome? {
            Outcome::Found(user) => return Ok(Some(Known::LoggedIn { user: (*user).clone(), first: true })),
            Outcome::Nobody => {}
            Outcome::Unsure => sure = false,
        }
    }
    if sure { Ok(None) } else { Err(Unknown::Unsure) }
}

/// Who asks and what they may do, with what is granted to them.
///
/// # Errors
/// 429 where failed passwords have to wait.
pub async fn standing(asked: &Asked, site: &SiteName, config: &Config, env: &Env) -> Result<Standing, Problem> {
    standing_counted(asked, site, config, env, true).await
}

/// The same where nothing depends on it but what is shown besides: a password that is the site's own and none of ours
/// is no failure.
pub async fn standing_if_known(asked: &Asked, site: &SiteName, config: &Config, env: &Env) -> Standing {
    standing_counted(asked, site, config, env, false).await.unwrap_or_default()
}

async fn standing_counted(
    asked: &Asked,
    site: &SiteName,
    config: &Config,
    env: &Env,
    counted: bool,
) -> Result<Standing, Problem> {
    let asker = asked.asker(site.clone(), config);
    if asker.is_admin(config.admin_token.as_ref()) {
        return Ok(Standing { admin: true, ..Standing::default() });
    }
    if !asker.has_credentials() {
        return Ok(Standing::default());
    }
    // Where nobody was ever recorded there is no key either, and none is to be made.
    if keys::at_hand(config, site).is_none() && !sites::is_known(site, config, env).await {
        return Ok(Standing::default());
    }
    let keys = match keys::get(config, site, env, calls::PATIENCE).await {
        Ok(keys) => keys,
        Err(error) => {
            console_error!("no keys: {error}");
            return Ok(Standing { uncertain: true, ..Standing::default() });
        }
    };
    match look_up(&asker, &keys, counted, env).await {
        Ok(known) => Ok(standing_of(known.map(|known| known.user().clone()), site, env).await),
        Err(Unknown::Wait(wait)) => Err(Problem::TooManyAttempts(wait)),
        Err(Unknown::Unsure) => Ok(Standing { uncertain: true, ..Standing::default() }),
    }
}

/// What a user may do, with what is granted to them.
pub async fn standing_of(user: Option<User>, site: &SiteName, env: &Env) -> Standing {
    let granted = match &user {
        Some(user) => rights(site, &user.id, env).await,
        None => Some(Rc::default()),
    };
    let uncertain = granted.is_none();
    Standing { admin: false, user, granted: granted.as_deref().cloned().unwrap_or_default(), uncertain }
}

/// What is told to somebody who may not. A script on a page is not told of passwords: its browser would ask for one.
pub fn refusal(denied: Denied, asked: &Asked, config: &Config) -> Problem {
    let realm = config.basic_realm.clone();
    let scripted = asked.get("sec-fetch-mode").is_some_and(|mode| mode != "navigate");
    match denied {
        Denied::SignIn if scripted => Problem::SignIn(Challenge::Bearer(realm)),
        Denied::SignIn => Problem::SignIn(Challenge::Basic(realm)),
        Denied::Unsure => Problem::Unavailable,
        Denied::Forbidden => Problem::Forbidden("You may not see or do this; ACCESS says who may.".into()),
    }
}

/// Forgets what is granted to a user, as it has changed.
pub fn forget_rights(site: &SiteName, user: &UserId) {
    RIGHTS.with_borrow_mut(|rights| rights.forget(&(site.clone(), user.clone())));
}

/// Forgets a user altogether.
pub fn forget_user(site: &SiteName, user: &UserId) {
    logins::forget_user(user);
    forget_rights(site, user);
}

/// What is granted to a user, if that can be found out.
async fn rights(site: &SiteName, user: &UserId, env: &Env) -> Option<Rc<Vec<Right>>> {
    let (key, now) = ((site.clone(), user.clone()), clock::now());
    if let Some(rights) = RIGHTS.with_borrow(|rights| rights.recall(&key, now)) {
        return rights;
    }
    let call = AccountCall::Rights(user.clone());
    let (rights, good_for) = match calls::ask::<Vec<Right>>(env, Object::Accounts(site), &call, PATIENCE).await {
        Ok(rights) => (Some(Rc::new(rights)), FOUND),
        Err(error) => {
            console_error!("what is granted could not be looked up: {error}");
            if calls::is_unreadable(&error) {
                recording::count_unreadable(site, env);
            }
            (None, RESPITE)
        }
    };
    RIGHTS.with_borrow_mut(|known| known.keep(key, now.plus(good_for), rights.clone()));
    rights
}

//! What has to be looked up of who asks: sessions, sign-ons and app passwords.

use super::calls::{self, Object};
use super::{clock, recording};
use crate::identity::User;
use crate::identity::login::{Basic, Digest, Login};
use crate::identity::lookups::{Key, LookUps, Outcome, Unknown};
use crate::identity::memory::{FOUND, VERIFIED};
use crate::presence::id::{ClientId, SiteName, UserId};
use crate::presence::time::Timestamp;
use crate::protocol::call::{AccountCall, Call, LoginCall, Verified};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use worker::{Env, Error, Result, console_error};

/// Whoever cannot be looked up by then is a guest.
const PATIENCE: Duration = Duration::from_secs(1);

thread_local! {
    static LOOK_UPS: RefCell<LookUps<Rc<User>>> = RefCell::default();
}

/// Works with what is known of logins.
fn with<T>(work: impl FnOnce(&mut LookUps<Rc<User>>) -> T) -> T {
    LOOK_UPS.with_borrow_mut(work)
}

/// Whose a login is, if that is known without asking anybody. A site without logins has nobody's.
pub fn recall_login(site: &SiteName, login: &Login, now: Timestamp) -> Option<Outcome<Rc<User>>> {
    with(|known| match known.has_logins(site, now)? {
        true => known.recall(&(site.clone(), login.digest()), now),
        false => Some(Outcome::Nobody),
    })
}

/// The same of a name and a password.
pub fn recall_basic(site: &SiteName, basic: &Basic, now: Timestamp) -> Option<Outcome<Rc<User>>> {
    with(|known| known.recall(&(site.clone(), basic.digest()), now))
}

/// Whether a site has ever stored a login. Its object is asked once in a while, until it has.
pub async fn any(site: &SiteName, env: &Env) -> bool {
    if let Some(any) = with(|known| known.has_logins(site, clock::now())) {
        return any;
    }
    let any: Result<bool> = calls::ask(env, Object::Presence(site, 0), &Call::HasLogins, PATIENCE).await;
    let any = any.map_err(|error| console_error!("it is not known whether there are logins: {error}")).ok();
    with(|known| known.learn(site, any, clock::now()));
    // Where it cannot be found out, they are looked up.
    any.unwrap_or(true)
}

/// Has it remembered that a site has logins, before the first of them is stored.
pub async fn record_any(site: &SiteName, env: &Env) -> Result<()> {
    if with(|known| known.is_with_logins(site)) {
        return Ok(());
    }
    calls::ask::<()>(env, Object::Presence(site, 0), &Call::RecordLogins, calls::PATIENCE).await?;
    with(|known| known.learn(site, Some(true), clock::now()));
    Ok(())
}

/// Looks up whose a login is, for a client whose failures are counted.
pub async fn look_up(site: &SiteName, login: Login, client: Option<ClientId>, env: &Env) -> Outcome<Rc<User>> {
    let (key, now) = ((site.clone(), login.digest()), clock::now());
    if let Some(known) = with(|known| known.recall(&key, now)) {
        return known;
    }
    if with(|known| known.begin(&key, client, now)).is_err() {
        return Outcome::Unsure;
    }
    let call = LoginCall::LookUp(login);
    let found: Result<Option<User>> = calls::ask(env, Object::of_login(site, key.1), &call, PATIENCE).await;
    let outcome = match found {
        Ok(Some(user)) => Outcome::Found(Rc::new(user)),
        Ok(None) => Outcome::Nobody,
        Err(error) => unsure(site, &error, env),
    };
    with(|known| known.end(key, client, now, &outcome, FOUND));
    outcome
}

/// Verifies a name and a password. Where the request depends on them, failures are `counted` by the site's object, which takes a
/// right one whatever others have tried; elsewhere as those of cookies are.
///
/// # Errors
/// How long the next attempt has to wait, after so many failures.
pub async fn verify(
    site: &SiteName,
    basic: &Basic,
    client: Option<ClientId>,
    counted: Option<u64>,
    env: &Env,
) -> std::result::Result<Outcome<Rc<User>>, Unknown> {
    let (key, now) = ((site.clone(), basic.digest()), clock::now());
    if let Some(known) = with(|known| known.recall(&key, now)) {
        return Ok(known);
    }
    let tried = client.filter(|_| counted.is_none());
    if with(|known| known.begin(&key, tried, now)).is_err() {
        return Ok(Outcome::Unsure);
    }
    let call = AccountCall::Verify { basic: basic.clone(), client: counted };
    let verified: Result<Verified> = calls::ask(env, Object::Accounts(site), &call, PATIENCE).await;
    let outcome = match verified {
        Ok(Verified::User(user)) => Outcome::Found(Rc::new(user)),
        // Who fails on purpose is counted there each time; a page's own password is none of ours, and not asked for again.
        Ok(Verified::Nobody) if counted.is_some() => return Ok(Outcome::Nobody),
        Ok(Verified::Nobody) => Outcome::Nobody,
        Ok(Verified::SlowDown(wait)) => return Err(Unknown::Wait(wait)),
        Err(error) => unsure(site, &error, env),
    };
    with(|known| known.end(key, tried, now, &outcome, VERIFIED));
    Ok(outcome)
}

fn unsure(site: &SiteName, error: &Error, env: &Env) -> Outcome<Rc<User>> {
    console_error!("a login could not be looked up: {error}");
    if calls::is_unreadable(error) {
        recording::count_unreadable(site, env);
    }
    Outcome::Unsure
}

/// Forgets a login, as it has changed.
pub fn forget(site: &SiteName, digest: Digest) {
    let key: Key = (site.clone(), digest);
    with(|known| known.forget(&key));
}

/// Forgets all logins of a user.
pub fn forget_user(user: &UserId) {
    with(|known| known.forget_where(|found| found.id == *user));
}

/// Forgets whose logins are, as one was revoked of which only its id is known.
pub fn forget_all() {
    with(LookUps::forget_all);
}

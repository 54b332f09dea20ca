//! Who asks: what a request shows by itself, and what has to be looked up, which is remembered for a while.

use super::calls::{self, Object};
use super::request::Asked;
use super::{clock, keys};
use crate::config::Config;
use crate::http::Headers;
use crate::http::problem::{Challenge, Problem};
use crate::identity::access::{Access, Denied, Standing};
use crate::identity::login::{Basic, Digest, Login};
use crate::identity::memory::{ByLogin, FOUND, MISSED, Memory, VERIFIED};
use crate::identity::permission::Right;
use crate::identity::revocation::{Account, Change};
use crate::identity::token::Claims;
use crate::identity::visit::Visitor;
use crate::identity::{Asker, Keys, Known, User};
use crate::presence::id::{SiteName, UserId};
use crate::presence::member::Evidence;
use crate::presence::time::{Seconds, Timestamp};
use crate::protocol::call::{AccountCall, LoginCall, Verified};
use futures_util::future::{join, join_all};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use worker::{Context, Delay, Env, console_error};

/// Whoever cannot be looked up by then is a guest.
const PATIENCE: Duration = Duration::from_secs(1);
/// And is one for this long, so that an object that is down is not asked by every request.
const RESPITE: Seconds = Seconds(2);

/// What is known of accounts, by site and user; none where it could not be looked up.
type Accounts = Memory<(SiteName, UserId), Rc<Account>>;

thread_local! {
    /// Tokens that were verified, each for the site that it is for: a browser sends its cookie with every request.
    static TOKENS: RefCell<Memory<String, Rc<(SiteName, Claims)>>> = RefCell::new(Memory::default());
    static LOGINS: RefCell<ByLogin<Rc<User>>> = RefCell::new(Memory::default());
    static ACCOUNTS: RefCell<Accounts> = RefCell::new(Memory::default());
    /// With which permissions users were named to their accounts.
    static NAMED: RefCell<Memory<(SiteName, UserId), Vec<Right>>> = RefCell::new(Memory::default());
}

/// The user that a request shows, if that is known without asking anybody; `None` where somebody has to be asked.
pub fn at_hand(asker: &Asker, keys: &Keys, access: &Access) -> Option<Option<Known>> {
    let now = clock::now();
    if let Some(known) = signed(asker, keys, access) {
        return Some(Some(known));
    }
    for digest in digests(asker) {
        match LOGINS.with_borrow(|logins| logins.recall(&(asker.site.clone(), digest), now)) {
            None => return None,
            Some(Some(user)) => return Some(Some(logged_in(&user, digest, false))),
            Some(None) => {}
        }
    }
    Some(None)
}

/// The user whom a token of ours names, unless it is known here that it was revoked. What administrates is not taken from
/// our cookie.
pub fn signed(asker: &Asker, keys: &Keys, access: &Access) -> Option<Known> {
    asker.tokens().find_map(|(token, by_cookie)| {
        let mut claims = verified(token, asker, keys)?;
        if by_cookie {
            claims.user.perms = access.for_cookie(&claims.user.perms);
        }
        let key = (asker.site.clone(), claims.user.id.clone());
        let account = ACCOUNTS.with_borrow(|accounts| accounts.recall(&key, clock::now())).flatten();
        let known = Known::Signed(claims);
        match account {
            Some(account) => account.not_before.judge(known),
            None => Some(known),
        }
    })
}

fn verified(token: &String, asker: &Asker, keys: &Keys) -> Option<Claims> {
    let now = clock::now();
    let known = TOKENS.with_borrow(|tokens| tokens.recall(token, now)).flatten();
    if let Some(known) = known.filter(|known| known.0 == asker.site) {
        return Some(known.1.clone());
    }
    let claims = keys.verify(token, &asker.site, now)?;
    let until = claims.until.min(now.plus(VERIFIED));
    let known = Rc::new((asker.site.clone(), claims.clone()));
    TOKENS.with_borrow_mut(|tokens| tokens.keep(token.clone(), until, Some(known)));
    Some(claims)
}

fn logged_in(user: &User, digest: Digest, first: bool) -> Known {
    Known::LoggedIn { user: user.clone(), first, device: digest.device() }
}

/// Who a request is from, with what it takes to say what it means.
pub fn visitor<'a>(asker: &'a Asker, known: Option<&'a Known>, keys: &'a Keys, config: &'a Config) -> Visitor<'a> {
    let (now, window) = (clock::now(), config.window());
    Visitor { asker, known, keys, access: &config.access, now, window }
}

/// The user that a request shows. All that has to be looked up is looked up at once, so that it takes one round trip.
/// Failed passwords are counted where a `client` is told.
///
/// # Errors
/// How long the next attempt has to wait, after so many failures.
pub async fn look_up(
    asker: &Asker,
    keys: &Keys,
    access: &Access,
    client: Option<u64>,
    env: &Env,
) -> Result<Option<Known>, Seconds> {
    if let Some(known) = at_hand(asker, keys, access) {
        return Ok(known);
    }
    let logins = join_all(asker.logins.iter().map(|login| async move {
        let user = look_up_login(&asker.site, *login, env).await?;
        Some(logged_in(&user, login.digest(), true))
    }));
    let basic = async {
        match &asker.basic {
            Some(basic) => {
                let user = verify(&asker.site, basic, client, env).await?;
                Ok(user.map(|user| logged_in(&user, basic.digest(), true)))
            }
            None => Ok(None),
        }
    };
    let (logins, basic) = join(logins, basic).await;
    match logins.into_iter().flatten().next() {
        Some(known) => Ok(Some(known)),
        None => basic,
    }
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
    let keys = match keys::get(config, site, env, calls::PATIENCE).await {
        Ok(keys) => keys,
        Err(error) => {
            console_error!("no keys: {error}");
            return Ok(Standing::default());
        }
    };
    let client = counted.then(|| asker.client(&keys, clock::now()));
    let known = look_up(&asker, &keys, &config.access, client, env).await.map_err(Problem::TooManyAttempts)?;
    Ok(match known {
        Some(known) => standing_of(known.user().clone(), known.evidence(), site, env).await,
        None => Standing::default(),
    })
}

/// What a user may do who is known by that evidence, with what is granted to them. Whom the site names in this very answer
/// needs none.
pub async fn standing_of(user: User, evidence: Evidence, site: &SiteName, env: &Env) -> Standing {
    let account = account(site, &user.id, env).await;
    Standing::of(user, evidence, account.as_deref())
}

/// Tells accounts what the site has said of their users. It belongs to the isolate, and nobody waits for it.
pub fn tell_accounts(changes: Vec<Change>, site: &SiteName, env: &Env, ctx: &Context) {
    let now = clock::now();
    for change in changes {
        if is_known(&change, site, now) {
            continue;
        }
        let (site, env) = (site.clone(), env.clone());
        ctx.wait_until(async move {
            for attempt in 1..=3 {
                match change_account(&change, now, &site, &env).await {
                    Ok(()) => return,
                    Err(error) => console_error!("an account did not hear what has changed: {error}"),
                }
                Delay::from(Duration::from_millis(500 * attempt)).await;
            }
        });
    }
}

/// Tells an account what has changed, as of then.
pub async fn change_account(change: &Change, at: Timestamp, site: &SiteName, env: &Env) -> worker::Result<()> {
    let call = AccountCall::Change(change.clone(), at);
    calls::ask::<()>(env, Object::Accounts(site), &call, calls::PATIENCE).await?;
    // Only now, as else the old state might be looked up again meanwhile.
    forget_account(site, change.user());
    Ok(())
}

/// Whether it was told a moment ago with which permissions the site names a user: one without our cookie is named anew with
/// each page.
fn is_known(change: &Change, site: &SiteName, now: Timestamp) -> bool {
    let Change::Permissions(user, perms) = change else { return false };
    let key = (site.clone(), user.clone());
    NAMED.with_borrow_mut(|named| {
        let known = named.recall(&key, now).flatten().is_some_and(|known| known == *perms);
        if !known {
            named.keep(key, now.plus(FOUND), Some(perms.clone()));
        }
        known
    })
}

/// What is told to somebody who may not. A script on a page is not told of passwords: its browser would ask for one.
pub fn refusal(denied: Denied, asked: &Asked, config: &Config) -> Problem {
    let realm = config.basic_realm.clone();
    let scripted = asked.get("sec-fetch-mode").is_some_and(|mode| mode != "navigate");
    match denied {
        Denied::SignIn if scripted => Problem::SignIn(Challenge::Bearer(realm)),
        Denied::SignIn => Problem::SignIn(Challenge::Basic(realm)),
        Denied::Forbidden => Problem::Forbidden("You may not see or do this; ACCESS says who may.".into()),
    }
}

/// Forgets a login, as it has changed.
pub fn forget_login(site: &SiteName, digest: Digest) {
    LOGINS.with_borrow_mut(|logins| logins.forget(&(site.clone(), digest)));
}

/// Forgets what is known of a user's account, as it has changed.
pub fn forget_account(site: &SiteName, user: &UserId) {
    ACCOUNTS.with_borrow_mut(|accounts| accounts.forget(&(site.clone(), user.clone())));
}

/// Forgets a user altogether; without one, every login by a password.
pub fn forget_user(site: &SiteName, user: &UserId) {
    LOGINS.with_borrow_mut(|logins| logins.forget_where(|known| known.id == *user));
    forget_account(site, user);
}

/// Forgets all logins, as one was revoked of which only its id is known.
pub fn forget_logins() {
    LOGINS.with_borrow_mut(|logins| *logins = Memory::default());
}

/// What a request may be known by, in the order in which it counts.
fn digests(asker: &Asker) -> impl Iterator<Item = Digest> + '_ {
    asker.logins.iter().map(Login::digest).chain(asker.basic.iter().map(Basic::digest))
}

async fn look_up_login(site: &SiteName, login: Login, env: &Env) -> Option<Rc<User>> {
    let (key, now) = ((site.clone(), login.digest()), clock::now());
    if let Some(user) = LOGINS.with_borrow(|logins| logins.recall(&key, now)) {
        return user;
    }
    let call = LoginCall::LookUp(login);
    let found: worker::Result<Option<User>> = calls::ask(env, Object::of_login(site, key.1), &call, PATIENCE).await;
    let (user, good_for) = match found {
        Ok(Some(user)) => (Some(Rc::new(user)), FOUND),
        Ok(None) => (None, MISSED),
        Err(error) => {
            console_error!("a login could not be looked up: {error}");
            (None, RESPITE)
        }
    };
    remember(key, now, good_for, user)
}

async fn verify(site: &SiteName, basic: &Basic, client: Option<u64>, env: &Env) -> Result<Option<Rc<User>>, Seconds> {
    let (key, now) = ((site.clone(), basic.digest()), clock::now());
    let call = AccountCall::Verify { basic: basic.clone(), client };
    let verified: worker::Result<Verified> = calls::ask(env, Object::Accounts(site), &call, PATIENCE).await;
    match verified {
        Ok(Verified::User(user)) => Ok(remember(key, now, VERIFIED, Some(Rc::new(user)))),
        // Who fails on purpose is counted there each time; a page's own password is none of ours, and not asked for again.
        Ok(Verified::Nobody) if client.is_some() => Ok(None),
        Ok(Verified::Nobody) => Ok(remember(key, now, MISSED, None)),
        Ok(Verified::SlowDown(wait)) => Err(wait),
        Err(error) => {
            console_error!("a password could not be verified: {error}");
            Ok(remember(key, now, RESPITE, None))
        }
    }
}

fn remember(key: (SiteName, Digest), now: Timestamp, good_for: Seconds, user: Option<Rc<User>>) -> Option<Rc<User>> {
    LOGINS.with_borrow_mut(|logins| logins.keep(key, now.plus(good_for), user.clone()));
    user
}

async fn account(site: &SiteName, user: &UserId, env: &Env) -> Option<Rc<Account>> {
    let (key, now) = ((site.clone(), user.clone()), clock::now());
    if let Some(account) = ACCOUNTS.with_borrow(|accounts| accounts.recall(&key, now)) {
        return account;
    }
    let call = AccountCall::Accounts(vec![user.clone()]);
    let found = calls::ask::<Vec<Account>>(env, Object::Accounts(site), &call, PATIENCE).await;
    let (account, good_for) = match found {
        Ok(mut accounts) => (accounts.pop().map(Rc::new), FOUND),
        Err(error) => {
            console_error!("an account could not be looked up: {error}");
            (None, RESPITE)
        }
    };
    ACCOUNTS.with_borrow_mut(|known| known.keep(key, now.plus(good_for), account.clone()));
    account
}

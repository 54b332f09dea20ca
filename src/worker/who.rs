//! Who asks: what a request shows by itself, and what has to be looked up, which is remembered for a while.

use super::calls::{self, Object};
use super::request::Asked;
use super::setup::Setup;
use super::{clock, keys, logins, recording, sites};
use crate::config::Config;
use crate::http::Headers;
use crate::http::problem::{Challenge, Problem};
use crate::identity::access::{Access, Denied, Standing};
use crate::identity::login::Digest;
use crate::identity::lookups::{Outcome, RESPITE, Unknown};
use crate::identity::memory::{FOUND, Memory, VERIFIED};
use crate::identity::permission::Right;
use crate::identity::revocation::{Account, Change};
use crate::identity::token::Claims;
use crate::identity::visit::Visitor;
use crate::identity::{Asker, Keys, Known, User};
use crate::presence::id::{SiteName, UserId};
use crate::presence::member::Evidence;
use crate::presence::time::Timestamp;
use crate::protocol::call::AccountCall;
use futures_util::future::{FutureExt, join, join_all};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use worker::{Context, Delay, Env, console_error};

/// Accounts are not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of accounts, by site and user; none where it could not be looked up.
type Accounts = Memory<(SiteName, UserId), Rc<Account>>;

thread_local! {
    /// Tokens that were verified, each for the site that it is for: a browser sends its cookie with every request.
    static TOKENS: RefCell<Memory<String, Rc<(SiteName, Claims)>>> = RefCell::new(Memory::default());
    static ACCOUNTS: RefCell<Accounts> = RefCell::new(Memory::default());
    /// With which permissions users were named to their accounts.
    static NAMED: RefCell<Memory<(SiteName, UserId), Vec<Right>>> = RefCell::new(Memory::default());
}

/// The user that a request shows, if that is known without asking anybody; `None` where somebody has to be asked.
pub fn at_hand(asker: &Asker, keys: &Keys, access: &Access) -> Option<Option<Known>> {
    remembered(asker, keys, access).map(Result::unwrap_or_default)
}

fn remembered(asker: &Asker, keys: &Keys, access: &Access) -> Option<Result<Option<Known>, Unknown>> {
    let (site, now) = (&asker.site, clock::now());
    if let Some(known) = signed(asker, keys, access) {
        return Some(Ok(Some(known)));
    }
    let logins = asker.logins.iter().map(|login| (login.digest(), logins::recall_login(site, login, now)));
    let basic = asker.basic.iter().map(|basic| (basic.digest(), logins::recall_basic(site, basic, now)));
    let mut sure = true;
    for (digest, outcome) in logins.chain(basic) {
        match outcome? {
            Outcome::Found(user) => return Some(Ok(Some(logged_in(&user, digest, false)))),
            Outcome::Nobody => {}
            Outcome::Unsure => sure = false,
        }
    }
    Some(if sure { Ok(None) } else { Err(Unknown::Unsure) })
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
/// Failed passwords are counted by the site's object where they are `counted`.
///
/// # Errors
/// Where nobody was found and not all could be looked up, or has to wait.
pub async fn look_up(
    asker: &Asker,
    keys: &Keys,
    access: &Access,
    counted: bool,
    env: &Env,
) -> Result<Option<Known>, Unknown> {
    if let Some(known) = remembered(asker, keys, access) {
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
        let look_up = async |login| logins::look_up(&asker.site, login, client, env).await;
        join_all(logins.map(|login| look_up(*login).map(|outcome| Ok((login.digest(), outcome))))).await
    };
    let basic = async {
        let Some(basic) = &asker.basic else { return None };
        let outcome = logins::verify(&asker.site, basic, client, counted.then_some(u64::from(own.0)), env).await;
        Some(outcome.map(|outcome| (basic.digest(), outcome)))
    };
    let (logins, basic) = join(logins, basic).await;
    let mut sure = true;
    for outcome in logins.into_iter().chain(basic) {
        match outcome? {
            (digest, Outcome::Found(user)) => return Ok(Some(logged_in(&user, digest, true))),
            (_, Outcome::Nobody) => {}
            (_, Outcome::Unsure) => sure = false,
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
    match look_up(&asker, &keys, &config.access, counted, env).await {
        Ok(Some(known)) => Ok(standing_of(known.user().clone(), known.evidence(), site, env).await),
        Ok(None) => Ok(Standing::default()),
        Err(Unknown::Wait(wait)) => Err(Problem::TooManyAttempts(wait)),
        Err(Unknown::Unsure) => Ok(Standing { uncertain: true, ..Standing::default() }),
    }
}

/// What a user may do who is known by that evidence, with what is granted to them. Whom the site names in this very answer
/// needs none.
pub async fn standing_of(user: User, evidence: Evidence, site: &SiteName, env: &Env) -> Standing {
    let account = account(site, &user.id, env).await;
    Standing::of(user, evidence, account.as_deref())
}

/// Tells accounts what the site has said of their users, as of `now`: when it was said, as a cookie that was given along with it
/// is no older. It belongs to the isolate, and nobody waits for it.
pub fn tell_accounts(changes: Vec<Change>, now: Timestamp, site: &SiteName, env: &Env, ctx: &Context) {
    for change in changes {
        if is_known(&change, site, now) {
            continue;
        }
        let (site, env) = (site.clone(), env.clone());
        ctx.wait_until(async move {
            let setup = Setup::of(&env);
            // A host that a client has made up has no accounts.
            let Ok(config) = setup.config() else { return };
            if !sites::register(&site, config, &env).await {
                return;
            }
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
        Denied::Unsure => Problem::Unavailable,
        Denied::Forbidden => Problem::Forbidden("You may not see or do this; ACCESS says who may.".into()),
    }
}

/// Forgets what is known of a user's account, as it has changed.
pub fn forget_account(site: &SiteName, user: &UserId) {
    ACCOUNTS.with_borrow_mut(|accounts| accounts.forget(&(site.clone(), user.clone())));
}

/// Forgets a user altogether.
pub fn forget_user(site: &SiteName, user: &UserId) {
    logins::forget_user(user);
    forget_account(site, user);
}

/// What is known of a user's account, if that can be found out.
async fn account(site: &SiteName, user: &UserId, env: &Env) -> Option<Rc<Account>> {
    let (key, now) = ((site.clone(), user.clone()), clock::now());
    if let Some(account) = ACCOUNTS.with_borrow(|accounts| accounts.recall(&key, now)) {
        return account;
    }
    let call = AccountCall::Accounts(vec![user.clone()]);
    let found = calls::ask::<Vec<Option<Account>>>(env, Object::Accounts(site), &call, PATIENCE).await;
    let account = match found {
        Ok(accounts) => {
            let account = accounts.into_iter().next().flatten();
            if account.is_none() {
                recording::count_unreadable(site, env);
            }
            account.map(Rc::new)
        }
        Err(error) => {
            console_error!("an account could not be looked up: {error}");
            None
        }
    };
    let good_for = if account.is_some() { FOUND } else { RESPITE };
    ACCOUNTS.with_borrow_mut(|known| known.keep(key, now.plus(good_for), account.clone()));
    account
}

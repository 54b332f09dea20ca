//! What the site's own servers ask, and what visitors ask about themselves.

use super::calls::{self, LOGIN_OBJECTS, Object};
use super::request::Asked;
use super::{answers, clock, keys, logins, recording, who};
use crate::config::Config;
use crate::http::Headers;
use crate::http::admin::{
    Admin, AppPasswordBody, AppPasswordId, GrantBody, MAX_SESSION_BODY, SessionBody, SignOnBody, SignOutBody, Verb,
};
use crate::http::conditions::Precondition;
use crate::http::cors::Caller;
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::report::MAX_BODY;
use crate::identity::access::{Denied, Standing};
use crate::identity::cookies;
use crate::identity::login::{Digest, SessionKey};
use crate::identity::memory::{Memory, VERIFIED};
use crate::identity::permission::Right;
use crate::identity::revocation::Change;
use crate::presence::allowance::{ERASURES, TokenBuckets};
use crate::presence::attention::Attention;
use crate::presence::id::{SiteName, UserId};
use crate::presence::member::{MemberKey, Signal};
use crate::presence::reports::Report;
use crate::presence::shards::Shards;
use crate::presence::time::{Millis, Seconds};
use crate::presence::totals::Counted;
use crate::protocol::admin as body;
use crate::protocol::call::{AccountCall, AppPassword, Call, LoginCall, Session, SignOn};
use crate::protocol::metrics::{self, Figures};
use crate::protocol::relay::RelayCall;
use base64ct::{Base64UrlUnpadded, Encoding};
use futures_util::future::{join, join_all};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::time::Duration;
use worker::{Env, Error, console_error};

/// To forget somebody an object writes its rows anew, which takes a while where these are many.
const ERASING_PATIENCE: Duration = Duration::from_secs(25);

/// After which time users may have themselves erased again.
const ERASE_AGAIN: Seconds = VERIFIED;

thread_local! {
    static ERASED: RefCell<Memory<(SiteName, UserId), ()>> = RefCell::new(Memory::default());
    /// How many users of a site may still have themselves erased here.
    static ERASING: RefCell<TokenBuckets<SiteName>> = RefCell::default();
}

type Answer<T> = Result<T, Problem>;

/// A call to the objects of one site.
struct Desk<'a> {
    asked: &'a Asked,
    site: SiteName,
    env: &'a Env,
}

/// Does what is asked, if whoever asks may.
pub async fn answer(admin: Admin, asked: &Asked, config: &Config, env: &Env) -> Answer<Reply> {
    let site = asked.site(config)?;
    let standing = who::standing(asked, &site, config, env).await?;
    may(&admin, &standing, asked, config)?;
    let desk = Desk { asked, site, env };
    let reply = match admin {
        Admin::CreateSession => desk.create_session().await,
        Admin::Session(verb, key) => desk.session(verb, &key).await,
        Admin::SignOn(verb, digest) => desk.sign_on(verb, digest).await,
        Admin::CreateAppPassword => desk.create_app_password().await,
        Admin::ListAppPasswords { user, after, limit } => {
            let list: Vec<AppPassword> = desk.account(&AccountCall::ListPasswords { user, after, limit }).await?;
            list.iter().filter(|listed| listed.unreadable).for_each(|_| recording::count_unreadable(&desk.site, env));
            Ok(json(200, body::passwords(&list, limit)))
        }
        Admin::RevokeAppPassword(id) => desk.revoke(&AccountCall::RevokePassword(id)).await,
        Admin::RevokeByLabel(user, label) => desk.revoke(&AccountCall::RevokeByLabel(user, label)).await,
        Admin::Grant => {
            let GrantBody { user, right } = GrantBody::parse(&asked.body(MAX_BODY).await?)?;
            desk.change_rights(user.clone(), &AccountCall::Grant(user, right), config).await
        }
        Admin::Revoke => {
            let GrantBody { user, right } = GrantBody::parse(&asked.body(MAX_BODY).await?)?;
            desk.change_rights(user.clone(), &AccountCall::Revoke(user, right), config).await
        }
        Admin::SignOut(user) => desk.sign_out(&user, config).await,
        Admin::Metrics => {
            let figures = desk.presence::<Figures>(config.shards.count(), &Call::Metrics, calls::PATIENCE).await?;
            Ok(Reply::new(200, metrics::CONTENT_TYPE, metrics::text(&desk.site, &figures.into_iter().sum())))
        }
        Admin::Erase(user) => {
            let own = standing.user.as_ref().is_some_and(|asker| asker.id == user);
            let by_themselves = config.access.admin(&standing).is_err();
            desk.erase(&user, by_themselves).await?;
            let reply = Reply::no_content();
            Ok(if own { reply.with("set-cookie", cookies::clear(asked.secure)) } else { reply })
        }
    };
    reply.map(|reply| reply.with("cache-control", "private, no-store"))
}

/// What whoever asks may do.
pub async fn permissions(checks: &[Right], asked: &Asked, config: &Config, env: &Env) -> Answer<Reply> {
    let site = asked.site(config)?;
    let standing = who::standing(asked, &site, config, env).await?;
    if standing.uncertain && !checks.iter().all(|right| standing.may(right)) {
        return Err(Problem::Unavailable);
    }
    let body = body::permissions(checks, |right| standing.may(right));
    Ok(json(200, body).with("cache-control", "private, no-store"))
}

fn may(admin: &Admin, standing: &Standing, asked: &Asked, config: &Config) -> Answer<()> {
    // What a browser sends along by itself, a page elsewhere could make it send.
    let bearer = asked.get("authorization").is_some_and(|value| value.to_ascii_lowercase().starts_with("bearer "));
    if !bearer && !matches!(asked.method.as_str(), "GET" | "HEAD") {
        Caller::of(asked, &asked.host, &[])?;
    }
    let own = |user: &UserId| standing.user.as_ref().is_some_and(|asker| asker.id == *user);
    match config.access.admin(standing) {
        Err(_) if matches!(admin, Admin::Erase(user) if own(user)) => Ok(()),
        Err(Denied::SignIn) if config.admin_token.is_none() => Err(Problem::Forbidden(
            "This is for the site's own servers: set a token with `wrangler secret put ADMIN_TOKEN` and send it as \
             `Authorization: Bearer …`, or sign in as a user who has the permission `admin`."
                .into(),
        )),
        Err(denied) => Err(who::refusal(denied, asked, config)),
        Ok(()) => Ok(()),
    }
}

impl Desk<'_> {
    async fn create_session(&self) -> Answer<Reply> {
        let body = SessionBody::parse(&self.asked.body(MAX_SESSION_BODY).await?)?;
        self.record_logins().await?;
        // That two keys of 128 random bits are the same will not be seen; that it is tried again costs nothing.
        for _ in 0..3 {
            let key: String = random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
            let digest = SessionKey::parse(key.as_str())?.digest();
            let call = LoginCall::SaveSession(digest, body.clone(), Precondition::Absent);
            if self.login(digest, &call).await? {
                return Ok(json(201, body::created(&key, clock::now().plus(body.ttl))));
            }
        }
        Err(Problem::Internal)
    }

    async fn session(&self, verb: Verb, key: &SessionKey) -> Answer<Reply> {
        let digest = key.digest();
        match verb {
            Verb::Load => {
                let session: Option<Session> = self.login(digest, &LoginCall::LoadSession(digest)).await?;
                let session = session.ok_or_else(not_there)?;
                // Whoever stored it may have done so before that was recorded.
                self.record_logins().await?;
                let tag = format!("\"{}\"", session.tag);
                Ok(json(200, body::session(key.as_str(), &session)).with("etag", tag))
            }
            Verb::Save => {
                let body = SessionBody::parse(&self.asked.body(MAX_SESSION_BODY).await?)?;
                let call = LoginCall::SaveSession(digest, body, Precondition::of(self.asked)?);
                self.record_logins().await?;
                let saved: bool = self.login(digest, &call).await?;
                logins::forget(&self.site, digest);
                if saved { Ok(Reply::no_content()) } else { Err(Problem::PreconditionFailed) }
            }
            Verb::Delete => self.end(digest, &LoginCall::DeleteSession(digest)).await,
        }
    }

    async fn sign_on(&self, verb: Verb, digest: Digest) -> Answer<Reply> {
        match verb {
            Verb::Load => {
                let sign_on: Option<SignOn> = self.login(digest, &LoginCall::LoadSignOn(digest)).await?;
                Ok(json(200, body::sign_on(&sign_on.ok_or_else(not_there)?)))
            }
            Verb::Save => {
                let SignOnBody { user, ttl } = SignOnBody::parse(&self.asked.body(MAX_BODY).await?)?;
                self.record_logins().await?;
                self.end(digest, &LoginCall::SaveSignOn(digest, user, ttl)).await
            }
            Verb::Delete => self.end(digest, &LoginCall::DeleteSignOn(digest)).await,
        }
    }

    /// Changes a login, of which nothing is remembered any more then.
    async fn end(&self, digest: Digest, call: &LoginCall) -> Answer<Reply> {
        self.login::<()>(digest, call).await?;
        logins::forget(&self.site, digest);
        Ok(Reply::no_content())
    }

    /// Has it remembered that the site has logins: one without any is not asked for them.
    async fn record_logins(&self) -> Answer<()> {
        logins::record_any(&self.site, self.env).await.map_err(|error| self.failed(&error))
    }

    async fn create_app_password(&self) -> Answer<Reply> {
        let body = AppPasswordBody::parse(&self.asked.body(MAX_BODY).await?)?;
        let password = Base64UrlUnpadded::encode_string(&random::<20>()?);
        let digest = Digest::of(&password);
        let id = AppPasswordId::parse(digest.to_hex().chars().take(16).collect::<String>())?;
        self.account::<()>(&AccountCall::AddPassword(digest, body)).await?;
        Ok(json(201, body::new_password(&id, &password)))
    }

    async fn revoke(&self, call: &AccountCall) -> Answer<Reply> {
        let any: bool = self.account(call).await?;
        logins::forget_all();
        if any { Ok(Reply::no_content()) } else { Err(not_there()) }
    }

    async fn change_rights(&self, user: UserId, call: &AccountCall, config: &Config) -> Answer<Reply> {
        self.account::<()>(call).await?;
        who::forget_account(&self.site, &user);
        self.have_rechecked(user, config).await;
        Ok(Reply::no_content())
    }

    /// Has what somebody may do looked up again at once where they watch. Where that fails it is in half a minute.
    async fn have_rechecked(&self, user: UserId, config: &Config) {
        let told = match config.shards {
            Shards::ONE => {
                let call = Call::Recheck(user);
                calls::ask::<()>(self.env, Object::Presence(&self.site, 0), &call, calls::PATIENCE_FOR_ONE).await
            }
            _ => {
                let call = RelayCall::Recheck(user);
                calls::ask::<()>(self.env, Object::Relay(&self.site, 0), &call, calls::PATIENCE_FOR_ONE).await
            }
        };
        told.unwrap_or_else(|error| console_error!("it is not looked up again at once: {error}"));
    }

    /// Signs a user out, on all devices or on the one that is named: what they were issued until now is worth nothing. Who asks
    /// again after a failure loses nothing.
    async fn sign_out(&self, user: &UserId, config: &Config) -> Answer<Reply> {
        let device = match SignOutBody::parse(&self.asked.body(MAX_BODY).await?)? {
            SignOutBody::Everywhere => {
                self.logins_of_all(&LoginCall::SignOut(user.clone()), calls::PATIENCE).await?;
                None
            }
            SignOutBody::Session(key) => {
                self.end(key.digest(), &LoginCall::DeleteSession(key.digest())).await?;
                Some(key.digest().device())
            }
            SignOutBody::Token(token) => {
                let keys = keys::get(config, &self.site, self.env, calls::PATIENCE).await;
                let keys = keys.map_err(|_| Problem::Unavailable)?;
                let claims = keys.verify(&token, &self.site, clock::now()).filter(|claims| claims.user.id == *user);
                claims.ok_or_else(|| Problem::BadRequest("the token must be one of this user's".into()))?.device
            }
        };
        let (now, change) = (clock::now(), Change::SignOut(user.clone(), device));
        let signal = Signal::SignOut { user: user.clone(), device };
        let home = config.shards.home(MemberKey::User(user));
        let call = Call::Apply(vec![Report { age: Millis(0), signal }].into(), Counted::default());
        let (changed, gone) = join(
            who::change_account(&change, now, &self.site, self.env),
            self.ask::<Attention>(Object::Presence(&self.site, home), &call, calls::PATIENCE),
        )
        .await;
        changed.map_err(|error| {
            console_error!("a user was not signed out: {error}");
            Problem::Unavailable
        })?;
        gone?;
        recording::forget(&self.site, user, device);
        who::forget_user(&self.site, user);
        answers::forget(&self.site);
        Ok(Reply::no_content())
    }

    /// Asks each of the objects that keep the site's logins.
    async fn logins_of_all(&self, call: &LoginCall, patience: Duration) -> Answer<()> {
        let all = (0..LOGIN_OBJECTS).map(|number| self.ask::<()>(Object::Logins(&self.site, number), call, patience));
        join_all(all).await.into_iter().collect()
    }

    /// Has every object forget a user. Who asks again after a failure loses nothing.
    async fn erase(&self, user: &UserId, by_themselves: bool) -> Answer<()> {
        // All objects write everything anew for it, so nobody may have that done over and over, be it as another user each time.
        let (key, now) = ((self.site.clone(), user.clone()), clock::now());
        if by_themselves {
            if ERASED.with_borrow(|erased| erased.recall(&key, now)).is_some() {
                return Err(Problem::TooManyAttempts(ERASE_AGAIN));
            }
            let wait = ERASING.with_borrow_mut(|sites| sites.spend(self.site.clone(), now, &ERASURES));
            wait.map_or(Ok(()), |wait| Err(Problem::TooManyAttempts(wait)))?;
        }
        // The one of which there is one knows how many have asked for it elsewhere.
        let call = AccountCall::Erase { user: user.clone(), by_themselves };
        let wait: Option<Seconds> = self.ask(Object::Accounts(&self.site), &call, ERASING_PATIENCE).await?;
        wait.map_or(Ok(()), |wait| Err(Problem::TooManyAttempts(wait)))?;
        ERASED.with_borrow_mut(|erased| erased.keep(key, now.plus(ERASE_AGAIN), None));
        recording::forget(&self.site, user, None);
        self.logins_of_all(&LoginCall::Erase(user.clone()), ERASING_PATIENCE).await?;
        // Those too that keep nothing any more: what was deleted there may still be legible.
        let most: u32 = self.ask(Object::Presence(&self.site, 0), &Call::Most, calls::PATIENCE).await?;
        self.presence::<()>(most, &Call::Erase(user.clone()), ERASING_PATIENCE).await?;
        who::forget_user(&self.site, user);
        answers::forget(&self.site);
        Ok(())
    }

    /// Asks each of so many objects that keep the site's presence.
    async fn presence<T: for<'a> Deserialize<'a>>(
        &self,
        count: u32,
        call: &Call,
        patience: Duration,
    ) -> Answer<Vec<T>> {
        let all = (0..count).map(|number| self.ask(Object::Presence(&self.site, number), call, patience));
        join_all(all).await.into_iter().collect()
    }

    async fn login<T: for<'a> Deserialize<'a>>(&self, digest: Digest, call: &LoginCall) -> Answer<T> {
        self.ask(Object::of_login(&self.site, digest), call, calls::PATIENCE).await
    }

    async fn account<T: for<'a> Deserialize<'a>>(&self, call: &AccountCall) -> Answer<T> {
        self.ask(Object::Accounts(&self.site), call, calls::PATIENCE).await
    }

    async fn ask<T>(&self, object: Object<'_>, call: &impl Serialize, patience: Duration) -> Answer<T>
    where
        T: for<'a> Deserialize<'a>,
    {
        calls::ask(self.env, object, call, patience).await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &Error) -> Problem {
        console_error!("what a server asked for was not done: {error}");
        if calls::is_unreadable(error) {
            recording::count_unreadable(&self.site, self.env);
        }
        calls::problem(error, "What is asked for")
    }
}

fn json(status: u16, body: Vec<u8>) -> Reply {
    Reply::new(status, "application/json", body)
}

fn not_there() -> Problem {
    Problem::NotFound("There is none, or it has expired.".into())
}

fn random<const N: usize>() -> Answer<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| Problem::Internal)?;
    Ok(bytes)
}

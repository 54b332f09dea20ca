//! A Durable Object that keeps a part of a site's logins: sessions and sign-ons, by the digest of what stands for them.
//!
//! They have objects of their own, many of them by digest: no one object holds all sessions, to clear presence logs
//! nobody out, and to clear these forgets nobody's last visit.

use super::clock;
use super::object::{Answer, Failure, Store, Table, answered, call, columns};
use crate::http::admin::SessionBody;
use crate::http::conditions::Precondition;
use crate::identity::User;
use crate::identity::login::{Digest, Login};
use crate::presence::columns::Columns;
use crate::presence::id::UserId;
use crate::presence::time::Timestamp;
use crate::protocol::call::{LoginCall, Session, SignOn, write};
use crate::protocol::stored;
use worker::{DurableObject, Env, Request, Response, Result, SqlStorageValue, State, durable_object};

// Each column is a plain value and stays what it is: a release may add tables, and change none (rows are copied whole). What
// `sign_ons.data` holds has a number of its form in its first byte: see `protocol::stored`.
const TABLES: [Table; 3] = [
    (
        "sessions",
        "(digest BLOB PRIMARY KEY, expires INTEGER NOT NULL, user TEXT, revision INTEGER NOT NULL, value TEXT NOT NULL) WITHOUT ROWID",
    ),
    (
        "sign_ons",
        "(digest BLOB PRIMARY KEY, expires INTEGER NOT NULL, user TEXT NOT NULL, data BLOB NOT NULL) WITHOUT ROWID",
    ),
    super::kept::TABLE,
];

/// Those of them that hold logins.
const LOGINS: [&str; 2] = ["sessions", "sign_ons"];

/// A part of a site's logins.
#[durable_object(alarm)]
pub struct LoginObject {
    store: Store,
}

impl DurableObject for LoginObject {
    fn new(state: State, _: Env) -> Self {
        Self { store: Store::new(state, &TABLES) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        #[cfg(feature = "test-hooks")]
        if super::object::heed(&request, "logins").await? {
            self.alarm().await?;
        }
        let call = call(request).await?;
        let stores = matches!(call, LoginCall::SaveSession(..) | LoginCall::SaveSignOn(..));
        let answer = self.answer(call);
        if stores && answer.is_ok() {
            self.store.see_to_sweeping().await;
        }
        answered(answer)
    }

    async fn alarm(&self) -> Result<Response> {
        self.store.woken();
        let mut more = false;
        for table in LOGINS {
            let now = clock::now().as_millis();
            self.store.run(&format!("DELETE FROM {table} WHERE expires <= ?"), vec![now.into()])?;
            more |= self.store.first(&format!("SELECT 1 FROM {table} LIMIT 1"), Vec::new())?.is_some();
        }
        self.store.swept(more).await;
        self.store.scrub_if_due().await?;
        Response::empty()
    }
}

impl LoginObject {
    fn answer(&self, call: LoginCall) -> Answer<Vec<u8>> {
        Ok(match call {
            LoginCall::LookUp(login) => write(&self.look_up(login)?),
            LoginCall::LoadSession(digest) => write(&self.load_session(digest)?),
            LoginCall::SaveSession(digest, body, precondition) => {
                write(&self.save_session(digest, body, &precondition)?)
            }
            LoginCall::DeleteSession(digest) => {
                write(&self.store.run("DELETE FROM sessions WHERE digest = ?", vec![key(digest)])?)
            }
            LoginCall::SaveSignOn(digest, user, ttl) => {
                let (expires, data) = (clock::now().plus(ttl).as_millis(), stored::write_sign_on(&user));
                write(&self.store.run(
                    "INSERT OR REPLACE INTO sign_ons VALUES (?, ?, ?, ?)",
                    vec![key(digest), expires.into(), user.id.as_str().into(), data.into()],
                )?)
            }
            LoginCall::LoadSignOn(digest) => {
                let found = self.sign_on(digest)?;
                write(&found.map(|(user, expires_at)| SignOn { user: user.id, expires_at }))
            }
            LoginCall::DeleteSignOn(digest) => {
                write(&self.store.run("DELETE FROM sign_ons WHERE digest = ?", vec![key(digest)])?)
            }
            LoginCall::SignOut(user) => write(&self.sign_out(&user)?),
            LoginCall::Erase(user) => write(&self.erase(&user)?),
        })
    }

    fn look_up(&self, login: Login) -> Answer<Option<User>> {
        match login {
            Login::SignOn(digest) => Ok(self.sign_on(digest)?.map(|(user, _)| user)),
            Login::Session(digest) => {
                let row = self.good("SELECT user FROM sessions WHERE digest = ? AND expires > ?", digest)?;
                let id = row.map(stored::session_user).transpose()?.flatten();
                Ok(id.map(|id| User { id, profile: None, perms: Vec::new() }))
            }
        }
    }

    fn load_session(&self, digest: Digest) -> Answer<Option<Session>> {
        let query = "SELECT expires, revision, value, user FROM sessions WHERE digest = ? AND expires > ?";
        Ok(self.good(query, digest)?.map(stored::session).transpose()?)
    }

    fn save_session(&self, digest: Digest, body: SessionBody, precondition: &Precondition) -> Answer<bool> {
        let before = match self.load_session(digest) {
            // Whatever is there is to be replaced.
            Err(Failure::Unreadable(_)) if *precondition == Precondition::None => None,
            before => before?,
        };
        let tag = before.as_ref().map(|session| session.tag.as_str());
        if !precondition.holds(tag) {
            return Ok(false);
        }
        let now = clock::now();
        // Grows with every save, also where the clock stands still; a session that comes again is another one.
        let last = tag.and_then(|tag| i64::from_str_radix(tag, 16).ok()).unwrap_or_default();
        let revision = now.as_millis().max(last + 1);
        self.store.run(
            "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?)",
            vec![
                key(digest),
                now.plus(body.ttl).as_millis().into(),
                body.user.map(String::from).into(),
                revision.into(),
                body.value.into(),
            ],
        )?;
        Ok(true)
    }

    fn sign_on(&self, digest: Digest) -> Answer<Option<(User, Timestamp)>> {
        let row = self.good("SELECT data, expires FROM sign_ons WHERE digest = ? AND expires > ?", digest)?;
        Ok(row.map(stored::sign_on).transpose()?)
    }

    /// The row that a query finds for a digest, of those that have not expired.
    fn good(&self, query: &str, digest: Digest) -> Result<Option<Columns>> {
        let row = self.store.first(query, vec![key(digest), clock::now().as_millis().into()])?;
        Ok(row.map(columns))
    }

    /// Ends all logins of a user.
    fn sign_out(&self, user: &UserId) -> Result<()> {
        for table in LOGINS {
            self.store.run(&format!("DELETE FROM {table} WHERE user = ?"), vec![user.as_str().into()])?;
        }
        Ok(())
    }

    fn erase(&self, user: &UserId) -> Result<()> {
        self.sign_out(user)?;
        // Also where there was none: one that ended a year ago may still be legible.
        self.store.scrub_soon()
    }
}

fn key(digest: Digest) -> SqlStorageValue {
    digest.0.to_vec().into()
}

//! A Durable Object that keeps a part of a site's logins: sessions and sign-ons, by the digest of what stands for them.
//!
//! They have objects of their own, many of them by digest: no one object holds all sessions, to clear presence logs
//! nobody out, and to clear these forgets nobody's last visit.

use super::clock;
use super::object::{Store, Table, blob, call, integer, text};
use crate::http::admin::SessionBody;
use crate::http::conditions::Precondition;
use crate::identity::User;
use crate::identity::login::{Digest, Login};
use crate::presence::id::UserId;
use crate::presence::time::Timestamp;
use crate::protocol::call::{LoginCall, Session, SignOn, read, write};
use worker::{DurableObject, Env, Request, Response, Result, SqlStorageValue, State, durable_object};

const TABLES: [Table; 2] = [
    (
        "sessions",
        "(digest BLOB PRIMARY KEY, expires INTEGER NOT NULL, user TEXT, revision INTEGER NOT NULL, value TEXT NOT NULL) WITHOUT ROWID",
    ),
    (
        "sign_ons",
        "(digest BLOB PRIMARY KEY, expires INTEGER NOT NULL, user TEXT NOT NULL, data BLOB NOT NULL) WITHOUT ROWID",
    ),
];

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
        let answer = match call(request).await? {
            LoginCall::LookUp(login) => write(&self.look_up(login)?),
            LoginCall::LoadSession(digest) => write(&self.load_session(digest)?),
            LoginCall::SaveSession(digest, body, precondition) => {
                let saved = self.save_session(digest, body, &precondition)?;
                self.store.see_to_sweeping().await;
                write(&saved)
            }
            LoginCall::DeleteSession(digest) => {
                write(&self.store.run("DELETE FROM sessions WHERE digest = ?", vec![key(digest)])?)
            }
            LoginCall::SaveSignOn(digest, user, ttl) => {
                let expires = clock::now().plus(ttl).as_millis();
                self.store.run(
                    "INSERT OR REPLACE INTO sign_ons VALUES (?, ?, ?, ?)",
                    vec![key(digest), expires.into(), user.id.as_str().into(), write(&user).into()],
                )?;
                self.store.see_to_sweeping().await;
                write(&())
            }
            LoginCall::LoadSignOn(digest) => {
                let found = self.sign_on(digest)?;
                write(&found.map(|(user, expires_at)| SignOn { user: user.id, expires_at }))
            }
            LoginCall::DeleteSignOn(digest) => {
                write(&self.store.run("DELETE FROM sign_ons WHERE digest = ?", vec![key(digest)])?)
            }
            LoginCall::SignOut(user) => write(&self.sign_out(&user)?),
            LoginCall::Erase(user) => write(&self.erase(&user).await?),
        };
        Response::from_bytes(answer)
    }

    async fn alarm(&self) -> Result<Response> {
        self.store.woken();
        let mut more = false;
        for (table, _) in TABLES {
            let now = clock::now().as_millis();
            self.store.run(&format!("DELETE FROM {table} WHERE expires <= ?"), vec![now.into()])?;
            more |= self.store.first(&format!("SELECT 1 FROM {table} LIMIT 1"), Vec::new())?.is_some();
        }
        self.store.swept(more).await;
        Response::empty()
    }
}

impl LoginObject {
    fn look_up(&self, login: Login) -> Result<Option<User>> {
        match login {
            Login::SignOn(digest) => Ok(self.sign_on(digest)?.map(|(user, _)| user)),
            Login::Session(digest) => {
                let query = "SELECT user FROM sessions WHERE digest = ? AND expires > ?";
                let row = self.store.first(query, vec![key(digest), clock::now().as_millis().into()])?;
                let id = row.and_then(|row| text(row.into_iter().next())).and_then(|id| UserId::parse(id).ok());
                Ok(id.map(|id| User { id, profile: None, perms: Vec::new() }))
            }
        }
    }

    fn load_session(&self, digest: Digest) -> Result<Option<Session>> {
        let query = "SELECT expires, user, revision, value FROM sessions WHERE digest = ? AND expires > ?";
        let Some(row) = self.store.first(query, vec![key(digest), clock::now().as_millis().into()])? else {
            return Ok(None);
        };
        let mut row = row.into_iter();
        let expires_at = Timestamp::from_millis(integer(row.next()).unwrap_or_default());
        let user = text(row.next()).and_then(|id| UserId::parse(id).ok());
        let tag = format!("{:x}", integer(row.next()).unwrap_or_default());
        Ok(Some(Session { value: text(row.next()).unwrap_or_default(), user, expires_at, tag }))
    }

    fn save_session(&self, digest: Digest, body: SessionBody, precondition: &Precondition) -> Result<bool> {
        let before = self.load_session(digest)?;
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

    fn sign_on(&self, digest: Digest) -> Result<Option<(User, Timestamp)>> {
        let query = "SELECT data, expires FROM sign_ons WHERE digest = ? AND expires > ?";
        let row = self.store.first(query, vec![key(digest), clock::now().as_millis().into()])?;
        let mut row = row.into_iter().flatten();
        let user = blob(row.next()).and_then(|data| read::<User>(&data).ok());
        Ok(user.zip(integer(row.next()).map(Timestamp::from_millis)))
    }

    /// Ends all logins of a user.
    fn sign_out(&self, user: &UserId) -> Result<()> {
        for (table, _) in TABLES {
            self.store.run(&format!("DELETE FROM {table} WHERE user = ?"), vec![user.as_str().into()])?;
        }
        Ok(())
    }

    async fn erase(&self, user: &UserId) -> Result<()> {
        self.sign_out(user)?;
        // Also where there was none: one that ended a year ago may still be legible.
        self.store.scrub().await
    }
}

fn key(digest: Digest) -> SqlStorageValue {
    digest.0.to_vec().into()
}

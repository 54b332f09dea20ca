//! The Durable Object that keeps what is known of a site's users for good: their app passwords and what they may do.
//!
//! It is one object a site: both are few, and are asked for once in a while by each isolate.

use super::clock;
use super::object::{Row, Store, Table, blob, call, integer, text};
use crate::http::admin::{AppPasswordBody, AppPasswordId};
use crate::identity::User;
use crate::identity::login::{Basic, Digest};
use crate::identity::permission::{Object, Permission, Right};
use crate::identity::throttle::Throttle;
use crate::presence::id::{SiteName, UserId};
use crate::presence::time::{Seconds, Timestamp};
use crate::protocol::call::{AccountCall, AppPassword, Verified, read, write};
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use worker::{DurableObject, Env, Request, Response, Result, SqlStorageValue, State, durable_object};

const TABLES: [Table; 3] = [
    // The id is the beginning of the digest.
    (
        "app_passwords",
        "(id TEXT PRIMARY KEY, digest BLOB NOT NULL, user TEXT NOT NULL, label TEXT NOT NULL, created INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID",
    ),
    ("grants", "(user TEXT, permission TEXT, object TEXT, PRIMARY KEY (user, permission, object)) WITHOUT ROWID"),
    // Which hosts visitors were recorded for, and since when; in one object of a deployment.
    ("sites", "(name TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID"),
];

/// So many hosts are known without further ado, and then so many more in an hour: a client can name more of them than there are.
const FREE_SITES: i64 = 1000;
const NEW_SITES_AN_HOUR: i64 = 60;

/// What failed attempts are counted by.
#[derive(PartialEq, Eq, Hash)]
enum Tried {
    Client(u64),
    Name(String),
}

/// What is known of a site's users.
#[durable_object(fetch)]
pub struct AccountObject {
    store: Store,
    throttle: AssertUnwindSafe<RefCell<Throttle<Tried>>>,
}

impl DurableObject for AccountObject {
    fn new(state: State, _: Env) -> Self {
        Self { store: Store::new(state, &TABLES), throttle: AssertUnwindSafe(RefCell::new(Throttle::default())) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        #[cfg(feature = "test-hooks")]
        super::object::heed(&request, "accounts").await?;
        let store = &self.store;
        let answer = match call(request).await? {
            AccountCall::Verify { basic, client } => write(&self.verify(basic, client)?),
            AccountCall::AddPassword(digest, body) => {
                let id = id_of(digest);
                store.run(
                    "INSERT INTO app_passwords VALUES (?, ?, ?, ?, ?, ?)",
                    vec![
                        id.into(),
                        digest.0.to_vec().into(),
                        body.user.as_str().into(),
                        body.label.as_str().into(),
                        clock::now().as_millis().into(),
                        write(&body).into(),
                    ],
                )?;
                write(&())
            }
            AccountCall::ListPasswords { user, after, limit } => write(&self.list(user, after, limit)?),
            AccountCall::RevokePassword(id) => write(&self.revoke("id = ?", vec![id.as_str().into()])?),
            AccountCall::RevokeByLabel(user, label) => {
                write(&self.revoke("user = ? AND label = ?", vec![user.as_str().into(), label.as_str().into()])?)
            }
            AccountCall::Grant(user, right) => {
                write(&store.run("INSERT OR IGNORE INTO grants VALUES (?, ?, ?)", grant(user, right))?)
            }
            AccountCall::Revoke(user, right) => write(
                &store
                    .run("DELETE FROM grants WHERE user = ? AND permission = ? AND object = ?", grant(user, right))?,
            ),
            AccountCall::Rights(user) => write(&self.rights(&user)?),
            AccountCall::AddSite(site) => write(&self.add_site(&site)?),
            AccountCall::HasSite(site) => write(&self.has_site(&site)?),
            AccountCall::Erase(user) => write(&self.erase(&user).await?),
        };
        Response::from_bytes(answer)
    }
}

impl AccountObject {
    fn verify(&self, basic: Basic, client: Option<u64>) -> Result<Verified> {
        let now = clock::now();
        let owner = self.owner(&basic)?;
        let mut throttle = self.throttle.borrow_mut();
        let name = Tried::Name(basic.name.into());
        let client = match (client.map(Tried::Client), owner) {
            (Some(client), None) => client,
            (None, None) => return Ok(Verified::Nobody),
            (client, Some(user)) => {
                client.iter().for_each(|client| throttle.succeeded(client));
                return Ok(Verified::User(user));
            }
        };
        let wait = throttle.wait(&client, now).max(throttle.wait(&name, now));
        if wait > Seconds(0) {
            return Ok(Verified::SlowDown(wait));
        }
        throttle.failed(client, now);
        throttle.failed(name, now);
        Ok(Verified::Nobody)
    }

    /// Whose the password is, if it goes with that name. It is found by its digest: that of another password is as
    /// unlike it as any, so that nothing is to be learnt from how long it takes.
    fn owner(&self, basic: &Basic) -> Result<Option<User>> {
        let query = "SELECT data FROM app_passwords WHERE id = ? AND digest = ?";
        let bindings = vec![id_of(basic.password).into(), basic.password.0.to_vec().into()];
        let data = self.store.blob(query, bindings)?;
        let Some(body) = data.and_then(|data| read::<AppPasswordBody>(&data).ok()) else { return Ok(None) };
        let named = body.user.as_str() == basic.name.as_str() || body.email.as_ref() == Some(&basic.name);
        Ok(named.then_some(User { id: body.user, profile: None, perms: body.perms }))
    }

    fn list(&self, user: Option<UserId>, after: Option<AppPasswordId>, limit: usize) -> Result<Vec<AppPassword>> {
        let after = after.map(String::from).unwrap_or_default();
        let (user, limit) = (user.map(String::from), SqlStorageValue::Integer(limit as i64));
        let query = "SELECT id, created, data FROM app_passwords WHERE id > ? AND (?2 IS NULL OR user = ?2) ORDER BY id LIMIT ?";
        let rows = self.store.rows(query, vec![after.into(), user.into(), limit])?;
        let password = |row: Row| {
            let mut row = row.into_iter();
            let id = AppPasswordId::parse(text(row.next())?).ok()?;
            let created_at = Timestamp::from_millis(integer(row.next())?);
            Some(AppPassword { id, created_at, body: read(&blob(row.next())?).ok()? })
        };
        Ok(rows.into_iter().filter_map(password).collect())
    }

    fn revoke(&self, which: &str, bindings: Row) -> Result<bool> {
        let revoked = self.store.rows(&format!("DELETE FROM app_passwords WHERE {which} RETURNING 1"), bindings)?;
        Ok(!revoked.is_empty())
    }

    fn rights(&self, user: &UserId) -> Result<Vec<Right>> {
        let query = "SELECT permission, object FROM grants WHERE user = ? LIMIT 1000";
        let right = |row: Row| {
            let mut row = row.into_iter();
            let permission = Permission::parse(text(row.next())?).ok()?;
            // None is kept as an empty text: a key has no room for nothing.
            let object = text(row.next()).filter(|object| !object.is_empty()).map(Object::parse).transpose().ok()?;
            Some(Right { permission, object })
        };
        Ok(self.store.rows(query, vec![user.as_str().into()])?.into_iter().filter_map(right).collect())
    }

    fn has_site(&self, site: &SiteName) -> Result<bool> {
        let query = "SELECT 1 FROM sites WHERE name = ?";
        Ok(self.store.first(query, vec![site.as_str().into()])?.is_some())
    }

    fn add_site(&self, site: &SiteName) -> Result<bool> {
        if self.has_site(site)? {
            return Ok(true);
        }
        let now = clock::now();
        let an_hour_ago = now.minus(Seconds(3600)).as_millis();
        let query = "SELECT count(*) < ? OR count(*) FILTER (WHERE since > ?) < ? FROM sites";
        let bindings = vec![FREE_SITES.into(), an_hour_ago.into(), NEW_SITES_AN_HOUR.into()];
        let has_room = self.store.first(query, bindings)?.and_then(|row| integer(row.into_iter().next())) == Some(1);
        if has_room {
            self.store.run("INSERT INTO sites VALUES (?, ?)", vec![site.as_str().into(), now.as_millis().into()])?;
        }
        Ok(has_room)
    }

    async fn erase(&self, user: &UserId) -> Result<()> {
        for table in ["app_passwords", "grants"] {
            self.store.run(&format!("DELETE FROM {table} WHERE user = ?"), vec![user.as_str().into()])?;
        }
        self.store.scrub().await
    }
}

fn id_of(digest: Digest) -> String {
    digest.to_hex().chars().take(16).collect()
}

fn grant(user: UserId, right: Right) -> Row {
    let object = right.object.map(String::from).unwrap_or_default();
    vec![user.as_str().into(), right.permission.as_str().into(), object.into()]
}

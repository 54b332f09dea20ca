//! The Durable Object that keeps what is known of a site's users for good: their app passwords and what they may do.
//!
//! It is one object a site: both are few, and are asked for once in a while by each isolate.

use super::clock;
use super::object::{Row, Store, Table, blob, call, integer, text};
use crate::http::admin::{AppPasswordBody, AppPasswordId};
use crate::identity::User;
use crate::identity::login::{Basic, Digest};
use crate::identity::permission::{Object, Permission, Right};
use crate::identity::revocation::{Account, Change, NotBefore};
use crate::identity::throttle::Throttle;
use crate::presence::id::{DeviceId, UserId};
use crate::presence::revoked::{KEPT_FOR_DEVICE, KEPT_FOR_USER, Revocation};
use crate::presence::time::{Seconds, Timestamp};
use crate::protocol::call::{AccountCall, AppPassword, Verified, read, write};
use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use worker::{DurableObject, Env, Request, Response, Result, SqlStorageValue, State, durable_object};

const TABLES: [Table; 4] = [
    // The id is the beginning of the digest.
    (
        "app_passwords",
        "(id TEXT PRIMARY KEY, digest BLOB NOT NULL, user TEXT NOT NULL, label TEXT NOT NULL, created INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID",
    ),
    ("grants", "(user TEXT, permission TEXT, object TEXT, PRIMARY KEY (user, permission, object)) WITHOUT ROWID"),
    // Since when a user's tokens are worth nothing, on a device or (where it is empty) on all of them. Users are told by a
    // digest here, as it is kept of who was erased too.
    ("not_before", "(user TEXT, device TEXT, at INTEGER NOT NULL, PRIMARY KEY (user, device)) WITHOUT ROWID"),
    // With which permissions the site names users (a digest of them), and since when.
    ("named", "(user TEXT PRIMARY KEY, permissions TEXT NOT NULL, since INTEGER NOT NULL) WITHOUT ROWID"),
];

/// How often it is looked which of those can matter no more.
const PRUNED_EACH: Seconds = Seconds(3600);

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
    pruned: AssertUnwindSafe<Cell<Timestamp>>,
}

impl DurableObject for AccountObject {
    fn new(state: State, _: Env) -> Self {
        let (throttle, pruned) =
            (AssertUnwindSafe(RefCell::new(Throttle::default())), AssertUnwindSafe(Cell::default()));
        Self { store: Store::new(state, &TABLES), throttle, pruned }
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
            AccountCall::Accounts(users) => {
                write(&users.iter().map(|user| self.account(user)).collect::<Result<Vec<_>>>()?)
            }
            AccountCall::Change(change, at) => write(&self.change(change, at.min(clock::now()))?),
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

    fn account(&self, user: &UserId) -> Result<Account> {
        let key = user_key(user);
        let mut not_before = NotBefore::default();
        let query = "SELECT device, at FROM not_before WHERE user = ? ORDER BY at DESC LIMIT 1000";
        for row in self.store.rows(query, vec![key.as_str().into()])? {
            let mut row = row.into_iter();
            let (device, at) = (text(row.next()), integer(row.next()).map(Timestamp::from_millis));
            match device.filter(|device| !device.is_empty()) {
                Some(device) => {
                    let device = u64::from_str_radix(&device, 16).ok().map(DeviceId);
                    not_before.devices.extend(device.zip(at));
                }
                None => not_before.everywhere = at,
            }
        }
        let since = self.store.first("SELECT since FROM named WHERE user = ?", vec![key.into()])?;
        not_before.permissions = integer(since.into_iter().flatten().next()).map(Timestamp::from_millis);
        Ok(Account { granted: self.rights(user)?, not_before })
    }

    fn change(&self, change: Change, at: Timestamp) -> Result<()> {
        match change {
            Change::SignOut(user, device) => self.revoke_tokens(&user, device, at),
            Change::Permissions(user, perms) => self.name(&user, &perms, at),
        }
    }

    fn revoke_tokens(&self, user: &UserId, device: Option<DeviceId>, at: Timestamp) -> Result<()> {
        let device = device.map_or_else(String::new, |device| format!("{:016x}", device.0));
        self.store.run(
            "INSERT INTO not_before VALUES (?, ?, ?) ON CONFLICT (user, device) DO UPDATE SET at = MAX(at, excluded.at)",
            vec![user_key(user).into(), device.into(), at.as_millis().into()],
        )?;
        let now = clock::now();
        if self.pruned.get().plus(PRUNED_EACH) <= now {
            self.pruned.set(now);
            let before = |kept| SqlStorageValue::from(now.minus(kept).as_millis());
            self.store.run(
                "DELETE FROM not_before WHERE at < ? OR (device <> '' AND at < ?)",
                vec![before(KEPT_FOR_USER), before(KEPT_FOR_DEVICE)],
            )?;
        }
        Ok(())
    }

    /// Notes with which permissions the site names a user. Where they were others before, what was issued until then says of
    /// them what is no longer so.
    fn name(&self, user: &UserId, perms: &[Right], at: Timestamp) -> Result<()> {
        let mut texts: Vec<_> = perms.iter().map(Right::to_string).collect();
        texts.sort_unstable();
        texts.dedup();
        let (key, digest) = (user_key(user), Digest::of(texts.join(",")).to_hex());
        let known =
            self.store.first("SELECT permissions, since FROM named WHERE user = ?", vec![key.as_str().into()])?;
        let mut known = known.into_iter().flatten();
        let since = match (text(known.next()), integer(known.next())) {
            (None, _) if perms.is_empty() => return Ok(()),
            // What they were before nobody knows; it is not said that they have changed.
            (None, _) => Timestamp::default(),
            (Some(before), Some(since)) if before == digest || since > at.as_millis() => return Ok(()),
            (Some(_), _) => at,
        };
        let row = vec![key.into(), digest.into(), since.as_millis().into()];
        self.store.run("INSERT OR REPLACE INTO named VALUES (?, ?, ?)", row)
    }

    async fn erase(&self, user: &UserId) -> Result<()> {
        self.revoke_tokens(user, None, clock::now())?;
        self.store.run("DELETE FROM named WHERE user = ?", vec![user_key(user).into()])?;
        for (table, _) in TABLES {
            self.store.run(&format!("DELETE FROM {table} WHERE user = ?"), vec![user.as_str().into()])?;
        }
        self.store.scrub().await
    }
}

/// By what the tables know a user that hold no ids.
fn user_key(user: &UserId) -> String {
    format!("{:016x}", Revocation::of(user, None, Timestamp::default()).user)
}

fn id_of(digest: Digest) -> String {
    digest.to_hex().chars().take(16).collect()
}

fn grant(user: UserId, right: Right) -> Row {
    let object = right.object.map(String::from).unwrap_or_default();
    vec![user.as_str().into(), right.permission.as_str().into(), object.into()]
}

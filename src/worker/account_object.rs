//! The Durable Object that keeps what is known of a site's users for good: their app passwords and what they may do.
//!
//! It is one object a site: both are few, and are asked for once in a while by each isolate.

use super::clock;
use super::object::{Answer, Row, Store, Table, answered, call, columns, readable};
use crate::http::admin::AppPasswordId;
use crate::identity::User;
use crate::identity::login::{Basic, Digest};
use crate::identity::permission::Right;
use crate::identity::revocation::{Account, Change, MAX_DEVICES, NotBefore};
use crate::identity::throttle::Throttle;
use crate::presence::allowance::{ERASURES, TokenBucket};
use crate::presence::columns::Read;
use crate::presence::id::{DeviceId, SiteName, UserId};
use crate::presence::revoked::{KEPT_FOR_DEVICE, KEPT_FOR_USER, Revocation};
use crate::presence::time::{Seconds, Timestamp};
use crate::protocol::call::{AccountCall, AppPassword, Verified, write};
use crate::protocol::stored;
use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use worker::{DurableObject, Env, Request, Response, Result, SqlStorageValue, State, durable_object};

// Each column is a plain value and stays what it is: a release may add tables, and change none (rows are copied whole). What
// `app_passwords.data` holds has a number of its form in its first byte: see `protocol::stored`.
const TABLES: [Table; 6] = [
    // The id is the beginning of the digest.
    (
        "app_passwords",
        "(id TEXT PRIMARY KEY, digest BLOB NOT NULL, user TEXT NOT NULL, label TEXT NOT NULL, created INTEGER NOT NULL, data BLOB NOT NULL) WITHOUT ROWID",
    ),
    ("grants", "(user TEXT, permission TEXT, object TEXT, PRIMARY KEY (user, permission, object)) WITHOUT ROWID"),
    // Which hosts visitors were recorded for, and since when; in one object of a deployment.
    ("sites", "(name TEXT PRIMARY KEY, since INTEGER NOT NULL) WITHOUT ROWID"),
    super::kept::TABLE,
    // Since when a user's tokens are worth nothing, on a device or (where it is empty) on all of them. Users are told by a
    // digest here, as it is kept of who was erased too.
    ("not_before", "(user TEXT, device TEXT, at INTEGER NOT NULL, PRIMARY KEY (user, device)) WITHOUT ROWID"),
    // With which permissions the site names users (a digest of them), and since when.
    ("named", "(user TEXT PRIMARY KEY, permissions TEXT NOT NULL, since INTEGER NOT NULL) WITHOUT ROWID"),
];

/// So many hosts are known without further ado, and then so many more in an hour: a client can name more of them than there are.
const FREE_SITES: i64 = 1000;
const NEW_SITES_AN_HOUR: i64 = 60;

/// How often it is looked which tokens were revoked so long ago that it can matter no more.
const PRUNED_EACH: Seconds = Seconds(3600);

/// What failed attempts are counted by.
#[derive(PartialEq, Eq, Hash)]
enum Tried {
    Client(u64),
    Name(String),
}

/// What is known of a site's users.
#[durable_object(alarm)]
pub struct AccountObject {
    store: Store,
    throttle: AssertUnwindSafe<RefCell<Throttle<Tried>>>,
    erasing: AssertUnwindSafe<RefCell<TokenBucket>>,
    pruned: AssertUnwindSafe<Cell<Timestamp>>,
}

impl DurableObject for AccountObject {
    fn new(state: State, _: Env) -> Self {
        Self {
            store: Store::new(state, &TABLES),
            throttle: AssertUnwindSafe(RefCell::default()),
            erasing: AssertUnwindSafe(RefCell::new(TokenBucket::full(&ERASURES, clock::now()))),
            pruned: AssertUnwindSafe(Cell::default()),
        }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        #[cfg(feature = "test-hooks")]
        if super::object::heed(&request, "accounts").await? {
            self.alarm().await?;
        }
        answered(self.answer(call(request).await?))
    }

    async fn alarm(&self) -> Result<Response> {
        self.store.woken();
        self.store.scrub_if_due().await?;
        Response::empty()
    }
}

impl AccountObject {
    fn answer(&self, call: AccountCall) -> Answer<Vec<u8>> {
        let store = &self.store;
        Ok(match call {
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
                        stored::write_app_password(&body).into(),
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
                let accounts = users.iter().map(|user| readable(self.account(user)));
                write(&accounts.collect::<Result<Vec<_>>>()?)
            }
            AccountCall::Change(change, at) => write(&self.change(change, at.min(clock::now()))?),
            AccountCall::AddSite(site) => write(&self.add_site(&site)?),
            AccountCall::HasSite(site) => write(&self.has_site(&site)?),
            AccountCall::Erase { user, by_themselves } => write(&self.erase(&user, by_themselves)?),
        })
    }

    fn verify(&self, basic: Basic, client: Option<u64>) -> Answer<Verified> {
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
    fn owner(&self, basic: &Basic) -> Answer<Option<User>> {
        let query = "SELECT data FROM app_passwords WHERE id = ? AND digest = ?";
        let bindings = vec![id_of(basic.password).into(), basic.password.0.to_vec().into()];
        let Some(row) = self.store.first(query, bindings)? else { return Ok(None) };
        let body = stored::app_password(&columns(row).blob()?)?;
        let named = body.user.as_str() == basic.name.as_str() || body.email.as_ref() == Some(&basic.name);
        Ok(named.then_some(User { id: body.user, profile: None, perms: body.perms }))
    }

    fn list(&self, user: Option<UserId>, after: Option<AppPasswordId>, limit: usize) -> Answer<Vec<AppPassword>> {
        let after = after.map(String::from).unwrap_or_default();
        let (user, limit) = (user.map(String::from), SqlStorageValue::Integer(limit as i64));
        let query = "SELECT id, created, user, label, data FROM app_passwords WHERE id > ? AND (?2 IS NULL OR user = ?2) ORDER BY id LIMIT ?";
        let rows = self.store.rows(query, vec![after.into(), user.into(), limit])?.into_iter();
        Ok(rows.map(|row| stored::listed_password(columns(row))).collect::<std::result::Result<_, _>>()?)
    }

    fn revoke(&self, which: &str, bindings: Row) -> Result<bool> {
        let revoked = self.store.rows(&format!("DELETE FROM app_passwords WHERE {which} RETURNING 1"), bindings)?;
        Ok(!revoked.is_empty())
    }

    /// What is granted to a user. Where any of it cannot be read, nobody knows what else they may.
    fn rights(&self, user: &UserId) -> Answer<Vec<Right>> {
        let query = "SELECT permission, object FROM grants WHERE user = ? LIMIT 1000";
        let rows = self.store.rows(query, vec![user.as_str().into()])?.into_iter();
        Ok(rows.map(|row| stored::grant(columns(row))).collect::<std::result::Result<_, _>>()?)
    }

    /// What is known of a user's account. Where any of it cannot be read, nobody knows what was revoked.
    fn account(&self, user: &UserId) -> Answer<Account> {
        let key = user_key(user);
        let query = "SELECT device, at FROM not_before WHERE user = ? ORDER BY device <> '', at DESC LIMIT ?";
        let most = SqlStorageValue::Integer(MAX_DEVICES as i64 + 2);
        let rows = self.store.rows(query, vec![key.as_str().into(), most])?.into_iter();
        let rows = rows.map(|row| stored::not_before(columns(row))).collect::<std::result::Result<Vec<_>, _>>()?;
        let named = self.named(&key)?.transpose()?;
        let not_before = NotBefore::of(rows, named.map(|(_, since)| since));
        Ok(Account { granted: self.rights(user)?, not_before })
    }

    /// With which permissions the site names a user (a digest of them), and since when.
    fn named(&self, key: &str) -> Result<Option<Read<(String, Timestamp)>>> {
        let row = self.store.first("SELECT permissions, since FROM named WHERE user = ?", vec![key.into()])?;
        Ok(row.map(|row| stored::named(columns(row))))
    }

    fn change(&self, change: Change, at: Timestamp) -> Result<()> {
        match change {
            Change::SignOut(user, device) => self.revoke_tokens(&user, device, at),
            Change::Permissions(user, perms) => self.name(&user, &perms, at),
        }
    }

    fn revoke_tokens(&self, user: &UserId, device: Option<DeviceId>, at: Timestamp) -> Result<()> {
        self.store.run(
            "INSERT INTO not_before VALUES (?, ?, ?) ON CONFLICT (user, device) DO UPDATE SET at = MAX(at, excluded.at)",
            vec![user_key(user).into(), stored::write_device(device).into(), at.as_millis().into()],
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
    /// them what is no longer so; and where they cannot be read they may have been others.
    fn name(&self, user: &UserId, perms: &[Right], at: Timestamp) -> Result<()> {
        let mut texts: Vec<_> = perms.iter().map(Right::to_string).collect();
        texts.sort_unstable();
        texts.dedup();
        let (key, digest) = (user_key(user), Digest::of(texts.join(",")).to_hex());
        let since = match self.named(&key)? {
            None if perms.is_empty() => return Ok(()),
            // What they were before nobody knows; it is not said that they have changed.
            None => Timestamp::default(),
            Some(Ok((before, since))) if before == digest || since > at => return Ok(()),
            Some(_) => at,
        };
        let row = vec![key.into(), digest.into(), since.as_millis().into()];
        self.store.run("INSERT OR REPLACE INTO named VALUES (?, ?, ?)", row)
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
        let row = self.store.first(query, bindings)?;
        let has_room = matches!(row.as_deref(), Some([SqlStorageValue::Integer(1)]));
        if has_room {
            self.store.run("INSERT INTO sites VALUES (?, ?)", vec![site.as_str().into(), now.as_millis().into()])?;
        }
        Ok(has_room)
    }

    /// Erases a user, whose tokens are worth nothing from then on; gives how long one has to wait who asks for that of
    /// themselves, where too many did.
    fn erase(&self, user: &UserId, by_themselves: bool) -> Result<Option<Seconds>> {
        let now = clock::now();
        if by_themselves && let Some(wait) = self.erasing.borrow_mut().spend(now, &ERASURES) {
            return Ok(Some(wait));
        }
        self.revoke_tokens(user, None, now)?;
        self.store.run("DELETE FROM named WHERE user = ?", vec![user_key(user).into()])?;
        for table in ["app_passwords", "grants"] {
            self.store.run(&format!("DELETE FROM {table} WHERE user = ?"), vec![user.as_str().into()])?;
        }
        self.store.scrub_soon()?;
        Ok(None)
    }
}

/// By what the tables know a user that hold no ids.
fn user_key(user: &UserId) -> String {
    stored::write_key(Revocation::of(user, None, Timestamp::default()).user)
}

fn id_of(digest: Digest) -> String {
    digest.to_hex().chars().take(16).collect()
}

fn grant(user: UserId, right: Right) -> Row {
    let object = right.object.map(String::from).unwrap_or_default();
    vec![user.as_str().into(), right.permission.as_str().into(), object.into()]
}

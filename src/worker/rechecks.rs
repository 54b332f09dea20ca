//! What those may do who watch is looked up again, before anything more is told that depends on it.

use super::calls::{self, Object};
use super::object::Store;
use crate::identity::revocation::Account;
use crate::presence::id::{SiteName, UserId};
use crate::protocol::call::AccountCall;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use worker::{Env, console_error};

/// Nothing is told while that is looked up, so it is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The look-up of an object's watchers: one at a time.
#[derive(Default)]
pub struct Rechecks {
    under_way: Rc<Cell<bool>>,
}

impl Rechecks {
    /// Looks up the accounts of a site's users and hands them to `apply`. Does nothing while another look-up is under way: what
    /// is due then is due still when that has come to its end.
    pub fn start(
        &self,
        store: &Store,
        env: &Env,
        site: Option<SiteName>,
        users: Vec<UserId>,
        apply: impl FnOnce(Vec<(UserId, Option<Account>)>) + 'static,
    ) {
        if self.under_way.replace(true) {
            return;
        }
        let (under_way, env) = (self.under_way.clone(), env.clone());
        store.wait_until(async move {
            let accounts = look_up(users, site, &env).await;
            under_way.set(false);
            apply(accounts);
        });
    }
}

/// What is known of these users' accounts; none where that cannot be looked up or read.
async fn look_up(users: Vec<UserId>, site: Option<SiteName>, env: &Env) -> Vec<(UserId, Option<Account>)> {
    let call = AccountCall::Accounts(users.clone());
    let found = match &site {
        Some(site) => calls::ask::<Vec<Option<Account>>>(env, Object::Accounts(site), &call, PATIENCE).await,
        None => Err("it does not know its name".into()),
    };
    let found = found.unwrap_or_else(|error| {
        console_error!("what those may see who watch could not be looked up: {error}");
        Vec::new()
    });
    let mut found = found.into_iter();
    users.into_iter().map(|user| (user, found.next().flatten())).collect()
}

//! What those may do who watch is looked up again, before anything more is told that depends on it.

use super::calls::{self, Object};
use crate::identity::revocation::Account;
use crate::presence::id::{SiteName, UserId};
use crate::protocol::call::AccountCall;
use std::time::Duration;
use worker::{Env, console_error};

/// Nothing is told while that is looked up, so it is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of these users' accounts; none where that cannot be looked up or read.
pub async fn look_up(users: Vec<UserId>, site: Option<SiteName>, env: &Env) -> Vec<(UserId, Option<Account>)> {
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

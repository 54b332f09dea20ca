//! Which hosts are sites. Where no `SITE` is set a client may name any host: only those have objects for which visitors were
//! recorded, so that a made-up host costs nothing but the answer.

use super::calls::{self, Object, PATIENCE_FOR_ONE};
use super::setup::Setup;
use super::{clock, recording};
use crate::config::Config;
use crate::identity::memory::{MISSED, Memory};
use crate::presence::id::SiteName;
use crate::protocol::call::AccountCall;
use std::cell::RefCell;
use std::collections::HashSet;
use worker::{Env, console_error};

/// The most sites that an isolate knows at a time. With more it asks again.
const MAX_KNOWN: usize = 1000;

thread_local! {
    static KNOWN: RefCell<HashSet<SiteName>> = RefCell::default();
    static UNKNOWN: RefCell<Memory<SiteName, ()>> = RefCell::default();
}

/// Whether visitors were ever recorded for a site. Where that cannot be found out it is taken to be one.
pub async fn is_known(site: &SiteName, config: &Config, env: &Env) -> bool {
    let at_hand = || recording::has_recorder(site) || KNOWN.with_borrow(|known| known.contains(site));
    if config.site.is_some() || at_hand() {
        return true;
    }
    if UNKNOWN.with_borrow(|unknown| unknown.recall(site, clock::now())).is_some() {
        return false;
    }
    let call = AccountCall::HasSite(site.clone());
    let known = calls::ask::<bool>(env, Object::Sites, &call, PATIENCE_FOR_ONE).await.unwrap_or_else(|error| {
        console_error!("whether a host is known cannot be found out: {error}");
        true
    });
    if known {
        remember(site);
    } else {
        UNKNOWN.with_borrow_mut(|unknown| unknown.keep(site.clone(), clock::now().plus(MISSED), None));
    }
    known
}

/// The same by the settings of this isolate.
pub async fn is_known_by_settings(site: &SiteName, env: &Env) -> bool {
    match Setup::of(env).config() {
        Ok(config) => is_known(site, config, env).await,
        Err(_) => true,
    }
}

/// Registers a site for which visitors are recorded, once in the life of an isolate. Says whether it may be recorded for: not
/// where more new hosts come than a deployment has.
pub async fn register(site: &SiteName, config: &Config, env: &Env) -> bool {
    if config.site.is_some() || KNOWN.with_borrow(|known| known.contains(site)) {
        return true;
    }
    let call = AccountCall::AddSite(site.clone());
    match calls::ask::<bool>(env, Object::Sites, &call, PATIENCE_FOR_ONE).await {
        Ok(true) => {
            remember(site);
            true
        }
        Ok(false) => {
            console_error!("visitors of {} are not recorded: too many new hosts; set SITE", site.as_str());
            false
        }
        // The next batch tries again.
        Err(_) => true,
    }
}

fn remember(site: &SiteName) {
    UNKNOWN.with_borrow_mut(|unknown| unknown.forget(site));
    KNOWN.with_borrow_mut(|known| {
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(site.clone());
    });
}

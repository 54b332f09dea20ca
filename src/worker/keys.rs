//! The keys of a site: those that are configured, or the one that its object keeps.

use super::{calls, clock, sites};
use crate::config::{Config, Secret};
use crate::identity::Keys;
use crate::presence::id::SiteName;
use crate::presence::time::{Millis, Timestamp};
use crate::protocol::call::Call;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use worker::{Env, Result};

/// The most sites that one isolate remembers anything of. A deployment serves a handful; a client may make up more.
pub const MAX_SITES: usize = 32;

/// After the object failed to tell its secret it is left alone for this long, however many visitors come.
const RESPITE: Millis = Millis(1000);

thread_local! {
    static KEPT: RefCell<HashMap<SiteName, Rc<Keys>>> = RefCell::new(HashMap::new());
    /// When, and whether the secret cannot be read.
    static FAILED: RefCell<HashMap<SiteName, (Timestamp, bool)>> = RefCell::new(HashMap::new());
}

/// The keys, if they are at hand.
pub fn at_hand(config: &Config, site: &SiteName) -> Option<Rc<Keys>> {
    if let Some(keys) = KEPT.with_borrow(|kept| kept.get(site).cloned()) {
        return Some(keys);
    }
    Keys::new(config.secrets.clone()).map(|keys| keep(site, keys))
}

/// The keys; the site's object is asked for them if need be.
pub async fn get(config: &Config, site: &SiteName, env: &Env, patience: Duration) -> Result<Rc<Keys>> {
    if let Some(keys) = at_hand(config, site) {
        return Ok(keys);
    }
    let now = clock::now();
    let failed = FAILED.with_borrow(|failed| failed.get(site).copied());
    if let Some((_, unreadable)) = failed.filter(|(failed, _)| *failed <= now && now.since(*failed) < RESPITE) {
        return Err(if unreadable { calls::cannot_read() } else { "the presence object failed a moment ago".into() });
    }
    if !sites::register(site, config, env).await {
        return Err("the host is not known, and too many new ones come".into());
    }
    let secret: Vec<u8> = match calls::ask(env, calls::Object::Presence(site, 0), &Call::Secret, patience).await {
        Ok(secret) => secret,
        Err(error) => {
            // Who had less patience than others does not speak for them.
            if patience >= calls::PATIENCE {
                let failed = (clock::now(), calls::is_unreadable(&error));
                FAILED.with_borrow_mut(|known| remember(known, site, failed));
            }
            return Err(error);
        }
    };
    let keys = Keys::new(vec![Secret::new(secret)]);
    keys.map(|keys| keep(site, keys)).ok_or_else(|| "the presence object has no secret".into())
}

fn keep(site: &SiteName, keys: Keys) -> Rc<Keys> {
    let keys = Rc::new(keys);
    KEPT.with_borrow_mut(|kept| remember(kept, site, keys.clone()));
    keys
}

fn remember<T>(known: &mut HashMap<SiteName, T>, site: &SiteName, what: T) {
    if known.len() >= MAX_SITES {
        known.clear();
    }
    known.insert(site.clone(), what);
}

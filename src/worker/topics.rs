//! Whether a topic that a page reports of itself is taken: one about a user only if there is such a user.

use super::calls::{self, Object, PATIENCE_FOR_ONE};
use super::clock;
use crate::config::Config;
use crate::http::report::ReportedTopic;
use crate::identity::memory::{MISSED, Memory, VERIFIED};
use crate::presence::id::{SiteName, Topic, UserId};
use crate::presence::member::{MemberKey, Place, Signal};
use crate::protocol::call::Call;
use std::cell::RefCell;
use worker::{Env, console_error};

thread_local! {
    /// Users who are known, and some who are not.
    static KNOWN: RefCell<Memory<(SiteName, UserId), ()>> = RefCell::new(Memory::default());
}

/// The topic that a signal names, if any.
pub fn named(signal: &Signal) -> Option<&Topic> {
    match signal {
        Signal::Touch(touch) => touch.place.as_ref()?.topic.as_ref(),
        Signal::Leave { .. } | Signal::SignOut { .. } => None,
    }
}

/// Leaves out the topic that a signal names.
pub fn leave_out(signal: &mut Signal) {
    if let Signal::Touch(touch) = signal {
        touch.place.iter_mut().for_each(|place| place.topic = None);
    }
}

/// Whether a topic is taken, if that is known without asking anybody.
pub fn at_hand(topic: &Topic, site: &SiteName, config: &Config) -> Option<bool> {
    match ReportedTopic::of(topic, &config.topics) {
        ReportedTopic::Taken => Some(true),
        ReportedTopic::LeftOut => Some(false),
        ReportedTopic::IfKnown(user) => {
            let known = KNOWN.with_borrow(|known| known.recall(&(site.clone(), user), clock::now()));
            known.map(|known| known.is_some())
        }
    }
}

/// Whether a topic is taken.
pub async fn is_taken(topic: &Topic, site: &SiteName, config: &Config, env: &Env) -> bool {
    let user = match (at_hand(topic, site, config), ReportedTopic::of(topic, &config.topics)) {
        (Some(taken), _) => return taken,
        (None, ReportedTopic::IfKnown(user)) => user,
        (None, _) => return false,
    };
    let object = Object::Presence(site, config.shards.home(MemberKey::User(&user)));
    match calls::ask::<bool>(env, object, &Call::Knows(user.clone()), PATIENCE_FOR_ONE).await {
        Ok(known) => {
            let until = clock::now().plus(if known { VERIFIED } else { MISSED });
            KNOWN.with_borrow_mut(|all| all.keep((site.clone(), user), until, known.then_some(())));
            known
        }
        Err(error) => {
            console_error!("it is not known whether there is such a user: {error}");
            false
        }
    }
}

/// Leaves the topic of a place out that is not taken. One that has to be asked for is only where `may_ask` says so.
pub async fn check(place: &mut Place, site: &SiteName, config: &Config, env: &Env, may_ask: impl FnOnce() -> bool) {
    let Some(topic) = &place.topic else { return };
    let taken = match at_hand(topic, site, config) {
        Some(taken) => taken,
        None => may_ask() && is_taken(topic, site, config, env).await,
    };
    if !taken {
        place.topic = None;
    }
}

//! What whoever asks has asked of late that this isolate could not answer from memory.

use super::request::Asked;
use super::{calls, clock, keys, who};
use crate::config::{Config, Secret};
use crate::http::Headers;
use crate::http::problem::Problem;
use crate::identity::guest::{self, GuestSecret};
use crate::presence::budget::{Payer, QUESTIONS, Spending};
use crate::presence::id::SiteName;
use crate::presence::member::MemberKey;
use crate::presence::time::Millis;
use std::cell::RefCell;
use std::rc::Rc;
use worker::Env;

thread_local! {
    static ASKED: RefCell<Spending> = RefCell::default();
    /// It tells clients apart here and nowhere else, so that no site's keys have to be there.
    static SECRET: Rc<GuestSecret> = {
        let mut random = [0; Secret::MIN];
        // Without randomness an address could be found back, but from nothing that leaves this memory.
        let _ = getrandom::fill(&mut random);
        Rc::new(GuestSecret::of(&Secret::new(random)))
    };
}

/// Has whoever asks pay for a question; a user pays for themselves where guests behind their address have spent all.
///
/// # Errors
/// 429 where they have to wait.
pub async fn pay(asked: &Asked, site: &SiteName, config: &Config, env: &Env) -> Result<(), Problem> {
    let Err(wait) = pay_as_client(asked, site) else { return Ok(()) };
    let asker = asked.asker(site.clone(), config);
    if asker.is_admin(config.admin_token.as_ref()) {
        return Ok(());
    }
    if asker.has_credentials()
        && let Ok(keys) = keys::get(config, site, env, calls::PATIENCE).await
        && let Ok(Some(known)) = who::look_up(&asker, &keys, &config.access, false, env).await
        && spend(Payer::of(MemberKey::User(&known.user().id))).is_ok()
    {
        return Ok(());
    }
    Err(Problem::TooManyAttempts(wait.into()))
}

/// The same where only the client is known.
///
/// # Errors
/// How long to wait.
pub fn pay_as_client(asked: &Asked, site: &SiteName) -> Result<(), Millis> {
    let address = asked.get("cf-connecting-ip").unwrap_or_default();
    spend(Payer::Client(SECRET.with(|secret| guest::client(secret, 0, site, &address))))
}

fn spend(payer: Payer) -> Result<(), Millis> {
    ASKED.with_borrow_mut(|asked| asked.spend(payer, QUESTIONS, clock::now()))
}

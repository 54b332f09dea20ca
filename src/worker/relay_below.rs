//! What a relay passes on to those below it.

use super::calls::{self, Object, PATIENCE};
use super::relay_object::Relay;
use crate::presence::copies::Progress;
use crate::presence::id::UserId;
use crate::protocol::relay::{Ended, RelayCall};
use std::time::Duration;
use worker::{Delay, console_error};

impl Relay {
    /// Notes whether others watch by another relay.
    pub(super) fn note_company(&self) {
        let below_another = self.share.as_ref().is_some_and(|share| share.number > 0);
        self.room.borrow_mut().accompanied = below_another || !self.below.borrow().is_empty();
    }

    /// Passes on to these again what it is told, where it was started anew: they say so themselves only in a while, and who has
    /// signed out must not be seen there until then.
    pub(super) fn recall_below(&self, known: Vec<u32>) {
        if !self.recalled.replace(true) && self.share.as_ref().is_some_and(|share| share.number == 0) {
            self.below.borrow_mut().extend(known.into_iter().filter(|number| *number > 0));
            self.note_company();
        }
    }

    /// Passes on to the relays below what has become of a part. One that does not want it any more is told no more.
    pub(super) fn pass_on(&self, progress: &Progress, ended: &[Ended]) {
        let (Ok(share), Some(this)) = (self.share(), self.this.upgrade()) else { return };
        for number in self.below.borrow().iter().copied() {
            let (this, site, belows) = (this.clone(), share.site.clone(), self.belows.get());
            let (again, call) = (!ended.is_empty(), RelayCall::Progress(progress.clone(), ended.to_vec(), Vec::new()));
            self.store.wait_until(async move {
                let mut attempt = 0;
                let wanted = loop {
                    let wanted = calls::ask::<bool>(&this.env, Object::Relay(&site, number), &call, PATIENCE).await;
                    // What else has become of the part it asks for; who is known by their key no more it cannot.
                    if !again || wanted.is_ok() || attempt == 3 {
                        break wanted;
                    }
                    attempt += 1;
                    Delay::from(Duration::from_secs(attempt)).await;
                };
                if matches!(wanted, Ok(false)) && this.belows.get() == belows {
                    this.below.borrow_mut().remove(&number);
                    this.note_company();
                }
            });
        }
    }

    /// Passes on to the relays below that what a user may do has changed. They look it up again in a while in any case.
    pub(super) fn pass_on_recheck(&self, user: &UserId) {
        let (Ok(share), Some(this)) = (self.share(), self.this.upgrade()) else { return };
        for number in self.below.borrow().iter().copied() {
            let (this, site, call) = (this.clone(), share.site.clone(), RelayCall::Recheck(user.clone()));
            self.store.wait_until(async move {
                let told = calls::ask::<()>(&this.env, Object::Relay(&site, number), &call, PATIENCE).await;
                told.unwrap_or_else(|error| console_error!("it is not looked up again at once: {error}"));
            });
        }
    }
}

//! What several wait for, and is done once.

use super::clock;
use super::object::Store;
use crate::presence::time::{Millis, Seconds, Timestamp};
use futures_util::future::{FutureExt, LocalBoxFuture, Shared};
use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;
use worker::Delay;

/// Work that is under way once at the most, whoever waits for it.
#[derive(Default)]
pub struct Together(RefCell<Option<Shared<LocalBoxFuture<'static, ()>>>>);

impl Together {
    /// Waits until some work is done, which is begun if it is not under way. It ends with [`Self::done`].
    pub async fn wait<T: 'static, W: Future<Output = ()> + 'static>(
        &self,
        store: &Store,
        owner: &Weak<T>,
        work: impl FnOnce(Rc<T>) -> W,
    ) {
        let known = self.0.borrow().clone();
        let under_way = match (known, owner.upgrade()) {
            (Some(under_way), _) => under_way,
            (None, Some(owner)) => {
                let begun = work(owner).boxed_local().shared();
                *self.0.borrow_mut() = Some(begun.clone());
                // Should whoever has asked not wait any more, it goes on.
                store.wait_until(begun.clone());
                begun
            }
            (None, None) => return,
        };
        under_way.await;
    }

    /// Says that it is done: whoever waits from now on waits for it to be done again.
    pub fn done(&self) {
        self.0.borrow_mut().take();
    }
}

/// When something is to be done, for which somebody waits.
#[derive(Default)]
pub struct Timer(Cell<Option<Timestamp>>);

impl Timer {
    /// Has it done in that time, unless it is done sooner anyway. `timer` is where the owner has this one.
    pub fn set<T: 'static>(
        &self,
        store: &Store,
        wait: Millis,
        owner: &Weak<T>,
        timer: impl Fn(&T) -> &Self + 'static,
        work: impl Fn(&T) + 'static,
    ) {
        let now = clock::now();
        // Whoever was to wait may have been cut off.
        let waits = self.0.get().filter(|before| before.plus(Seconds(1)) >= now);
        let at = now.plus(wait);
        let Some(owner) = owner.upgrade().filter(|_| waits.is_none_or(|before| at < before)) else { return };
        self.0.set(Some(at));
        store.wait_until(async move {
            Delay::from(Duration::from_millis(u64::from(wait.0))).await;
            timer(&owner).0.set(None);
            work(&owner);
        });
    }
}

//! Pages that visitors were answered a moment ago and that are nobody's place, as the site has said: what such a page reports of
//! itself, by a picture or a call, brings the place in no more. Our own script does not report it, in whichever isolate.

use crate::identity::memory::{Memory, VERIFIED};
use crate::presence::id::{PagePath, SiteName};
use crate::presence::member::{MemberKey, Place, Signal};
use crate::presence::recent::digest;
use crate::presence::time::Timestamp;
use std::cell::{Cell, RefCell};

thread_local! {
    /// By a digest of whose page it is and where: neither is kept.
    static UNPLACED: RefCell<Memory<u64, ()>> = RefCell::default();
    /// Whether there are any: most sites have none.
    static ANY: Cell<bool> = const { Cell::new(false) };
}

/// Whether anything was noted at all.
pub fn any() -> bool {
    ANY.get()
}

/// Notes whether a visitor's page is nobody's place.
pub fn note(key: &MemberKey, path: &PagePath, nowhere: bool, site: &SiteName, now: Timestamp) {
    if nowhere {
        ANY.set(true);
        UNPLACED.with_borrow_mut(|unplaced| unplaced.keep(digest(&(site, key, path)), now.plus(VERIFIED), Some(())));
    } else {
        UNPLACED.with_borrow_mut(|unplaced| unplaced.forget(&digest(&(site, key, path))));
    }
}

/// Leaves out where a visitor reports to be, if their page there is nobody's place.
pub fn leave_out(signal: &mut Signal, site: &SiteName, now: Timestamp) {
    let Signal::Touch(touch) = signal else { return };
    let Some(place) = touch.place.as_mut().filter(|_| any()) else { return };
    let known = digest(&(site, &touch.key, &place.path));
    if UNPLACED.with_borrow(|unplaced| unplaced.recall(&known, now)).is_some() {
        *place = Place::nowhere();
    }
}

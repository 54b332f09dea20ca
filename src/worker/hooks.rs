//! What a test may do to a Worker that was built for it: move its clock, make it panic, hang or fail.
//!
//! The shipped build lacks this module: it is behind the feature `test-hooks`.

use super::request::Asked;
use crate::http::Headers;
use crate::presence::time::Timestamp;
use std::cell::{Cell, RefCell};

/// The header that sets the clock, in milliseconds since the epoch, from this request on.
pub const NOW: &str = "x-test-now";
/// The header that names what is to go wrong, from this request on; `none` ends it.
pub const FAULT: &str = "x-test-fault";

/// What the log says whenever the object that keeps a site's presence is built: at first, and when it wakes from sleep.
pub const BUILT: &str = "the presence object is built";

/// What the log says before how many bytes the wasm's memory has: its isolate may have 128 MB.
pub const MEMORY: &str = "bytes of memory: ";

thread_local! {
    static TIME: Cell<Option<Timestamp>> = const { Cell::new(None) };
    static FAULT_NOW: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Does as a request's headers say.
pub fn heed(request: &Asked) {
    set(request.get(NOW), request.get(FAULT));
}

/// Sets the clock and the fault.
pub fn set(now: Option<String>, fault: Option<String>) {
    if let Some(now) = now.and_then(|now| now.parse().ok()) {
        TIME.set(Some(Timestamp::from_millis(now)));
    }
    if let Some(fault) = fault {
        FAULT_NOW.with(|known| *known.borrow_mut() = fault);
    }
}

/// The time, if a test has set it.
pub fn time() -> Option<Timestamp> {
    TIME.get()
}

/// What is to go wrong.
pub fn fault() -> String {
    FAULT_NOW.with(|fault| fault.borrow().clone())
}

/// Tells the log how large the wasm's memory is.
pub fn tell_memory() {
    let bytes = core::arch::wasm32::memory_size::<0>() * 65_536;
    worker::console_error!("{MEMORY}{bytes}");
}

/// Panics if that is what is to go wrong here.
#[allow(clippy::panic)]
pub fn maybe_panic(place: &str) {
    if fault() == place {
        panic!("a panic that a test asked for: {place}");
    }
}

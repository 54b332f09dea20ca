//! Whole answers that are the same for whoever asks for an address, laid where the runtime calls: `entry.js` gives them again
//! without calling us. To hand a request over to wasm and an answer back takes a quarter of the time of a short answer.

use super::answer::head;
use super::answers::{FRESH, MAX_ANSWERS, MAX_BYTES};
use super::request::Asked;
use crate::http::reply::Reply;
use crate::presence::time::Timestamp;
use js_sys::{Array, JsString, Map, Reflect, Uint8Array};
use std::cell::Cell;
use wasm_bindgen::{JsCast, JsValue};

/// The most bytes that an address may have.
const MAX_ADDRESS: usize = 2048;

thread_local! {
    /// Where they are laid, by address: as of when, until when (in milliseconds since the epoch), the body, the head, and whether
    /// it is for those alone who show nothing of who they are. It is
    /// the runtime's, so that what a module laid there that is no more is found by the next one, which begins with nothing.
    static REPEATS: Map = {
        let known = Reflect::get(&js_sys::global(), &"presenceRepeats".into()).ok().and_then(|map| map.dyn_into().ok());
        let repeats: Map = known.unwrap_or_default();
        repeats.clear();
        repeats
    };
    /// Whether there are any: that is asked for each page.
    static ANY: Cell<bool> = const { Cell::new(true) };
}

/// Has a reply, which is what strangers get, given again to who asks the same without any conditions. Where it `varies` others may
/// see more: whoever shows a cookie or a credential is not given it again.
pub fn remember(asked: &Asked, reply: &Reply, at: Timestamp, varies: bool) {
    let wanted = asked.method == "GET" && reply.status == 200 && reply.body.len() <= MAX_BYTES;
    // A test's clock is not that of the runtime.
    if !wanted || cfg!(feature = "test-hooks") {
        return;
    }
    let address = asked.raw.url();
    if address.len() > MAX_ADDRESS {
        return;
    }
    let Ok(head) = head((reply.status, reply.headers.clone())) else { return };
    let millis = |at: Timestamp| JsValue::from_f64(at.as_millis() as f64);
    let body = Uint8Array::from(reply.body.as_slice());
    let answer = Array::of5(&millis(at), &millis(at.plus(FRESH)), &body, &head, &JsValue::from_bool(varies));
    REPEATS.with(|repeats| {
        if repeats.size() as usize >= MAX_ANSWERS {
            repeats.clear();
        }
        repeats.set(&JsString::from(address), &answer);
    });
    ANY.set(true);
}

/// Forgets all of them, as there is news.
pub fn forget() {
    if ANY.replace(false) {
        REPEATS.with(Map::clear);
    }
}

//! A reply becomes the platform's.

use super::headers::PlatformHeaders;
use super::request::Asked;
use crate::http::reply::Reply;
use js_sys::Uint8Array;
use std::cell::RefCell;
use std::collections::HashMap;
use wasm_bindgen::JsValue;
use web_sys::{Response, ResponseInit};
use worker::Result;

/// How many heads are kept.
const MAX_HEADS: usize = 64;

/// Status and headers.
type Head = (u16, Vec<(&'static str, String)>);

thread_local! {
    /// Most answers have the head of one before, and to make it anew took a twelfth of the time of a short answer.
    static HEADS: RefCell<HashMap<Head, ResponseInit>> = RefCell::default();
}

/// Writes a reply. A HEAD request gets its headers alone.
pub fn write(reply: Reply, asked: &Asked) -> Result<Response> {
    let Reply { status, headers, body } = reply;
    let empty = asked.method == "HEAD" || body.is_empty();
    let body = (!empty).then(|| Uint8Array::from(body.as_slice()));
    Ok(head((status, headers)).and_then(|head| match &body {
        Some(body) => Response::new_with_opt_js_u8_array_and_init(Some(body), &head),
        None => Response::new_with_opt_str_and_init(None, &head),
    })?)
}

/// Status and headers, as the platform takes them.
pub fn head(head: Head) -> std::result::Result<ResponseInit, JsValue> {
    // What is one visitor's is not kept.
    let kept = head.1.iter().all(|(name, _)| *name != "set-cookie");
    if let Some(known) = HEADS.with_borrow(|heads| heads.get(&head).cloned()) {
        return Ok(known);
    }
    let (init, headers) = (ResponseInit::new(), PlatformHeaders::of(web_sys::Headers::new()?));
    head.1.iter().try_for_each(|(name, value)| headers.set(name, value))?;
    init.set_status(head.0);
    init.set_headers(headers.native());
    if kept {
        HEADS.with_borrow_mut(|heads| {
            if heads.len() >= MAX_HEADS {
                heads.clear();
            }
            heads.insert(head, init.clone());
        });
    }
    Ok(init)
}

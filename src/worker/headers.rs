//! Headers, as the platform has them.
//!
//! A page takes some thirty look-ups. Names that cross over as text are decoded anew each time, which cost more than the
//! look-up: they are handed over once, and then named by what the platform made of them.

use crate::http::Change;
use crate::http::Headers;
use foldhash::fast::FixedState;
use js_sys::JsString;
use std::cell::RefCell;
use std::collections::HashMap;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = Headers)]
    #[derive(Clone)]
    type Native;
    #[wasm_bindgen(method, catch)]
    fn get(this: &Native, name: &JsString) -> Result<Option<JsString>, JsValue>;
    #[wasm_bindgen(method, catch)]
    fn set(this: &Native, name: &JsString, value: &str) -> Result<(), JsValue>;
    #[wasm_bindgen(method, catch)]
    fn delete(this: &Native, name: &JsString) -> Result<(), JsValue>;
}

thread_local! {
    static NAMES: RefCell<HashMap<&'static str, JsString, FixedState>> = RefCell::default();
}

/// The headers of a request or of an answer.
#[derive(Clone)]
pub struct PlatformHeaders(Native);

impl PlatformHeaders {
    /// These.
    pub fn of(headers: web_sys::Headers) -> Self {
        Self(headers.unchecked_into())
    }

    /// A copy, which may be changed.
    pub fn copy(&self) -> Result<Self, JsValue> {
        web_sys::Headers::new_with_headers(self.native()).map(Self::of)
    }

    /// As the platform takes them.
    pub fn native(&self) -> &web_sys::Headers {
        self.0.unchecked_ref()
    }

    /// Puts one in, in place of any other of that name.
    pub fn set(&self, name: &'static str, value: &str) -> Result<(), JsValue> {
        named(name, |name| self.0.set(name, value))
    }

    /// Takes one out.
    pub fn delete(&self, name: &'static str) -> Result<(), JsValue> {
        named(name, |name| self.0.delete(name))
    }

    /// Does what is to be changed, in this order.
    pub fn change(&self, changes: &[Change]) -> Result<(), JsValue> {
        changes.iter().try_for_each(|(name, value)| match value {
            Some(value) => self.set(name, value),
            None => self.delete(name),
        })
    }

    fn look_up(&self, name: &'static str) -> Option<JsString> {
        named(name, |name| self.0.get(name)).ok().flatten()
    }
}

impl Headers for PlatformHeaders {
    fn get(&self, name: &'static str) -> Option<String> {
        self.look_up(name).map(String::from)
    }

    fn has(&self, name: &'static str) -> bool {
        self.look_up(name).is_some()
    }
}

fn named<T>(name: &'static str, work: impl FnOnce(&JsString) -> T) -> T {
    NAMES.with_borrow_mut(|names| work(names.entry(name).or_insert_with(|| name.into())))
}

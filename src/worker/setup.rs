//! The settings of this isolate, read once.

use crate::config::{BlockKey, Config, DEFAULT_BASE_PATH, Origin};
use crate::http::problem::Problem;
use std::cell::OnceCell;
use std::rc::Rc;
use wasm_bindgen::JsValue;
use worker::Env;

/// What the environment says, each part as sound as it is.
pub struct Setup {
    origin: Result<Origin, String>,
    block_key: Result<Option<BlockKey>, String>,
    config: Result<Config, String>,
}

thread_local! {
    // The environment of an isolate never changes.
    static SETUP: OnceCell<Rc<Setup>> = const { OnceCell::new() };
}

impl Setup {
    /// The settings.
    pub fn of(env: &Env) -> Rc<Self> {
        SETUP.with(|setup| setup.get_or_init(|| Rc::new(Self::read(env))).clone())
    }

    fn read(env: &Env) -> Self {
        let lookup = |name: &str| variable(env, name);
        Self {
            origin: Origin::from(lookup("ORIGIN")).map_err(|error| error.to_string()),
            block_key: BlockKey::from(lookup("BLOCK_KEY")).map_err(|error| error.to_string()),
            config: Config::from(lookup).map_err(|error| error.to_string()),
        }
    }

    /// Where pages come from.
    pub fn origin(&self) -> Result<&Origin, Problem> {
        self.origin.as_ref().map_err(|error| Problem::Misconfigured(error.clone()))
    }

    /// The key of the blocks that any answer of the site's may hold. Without it no page may go out where one was meant to be.
    pub fn block_key(&self) -> Result<Option<&BlockKey>, Problem> {
        self.block_key.as_ref().map(Option::as_ref).map_err(|error| Problem::Misconfigured(error.clone()))
    }

    /// All settings.
    pub fn config(&self) -> Result<&Config, Problem> {
        self.config.as_ref().map_err(|error| Problem::Misconfigured(error.clone()))
    }

    /// Where everything of ours lives; the default where the settings are not sound.
    pub fn base_path(&self) -> &str {
        self.config.as_ref().map_or(DEFAULT_BASE_PATH, |config| &config.base_path)
    }
}

/// A variable as text, also where it was given as a number, a boolean or JSON.
fn variable(env: &Env, name: &str) -> Option<String> {
    let value = js_sys::Reflect::get(env, &JsValue::from(name)).ok()?;
    if value.is_undefined() || value.is_null() {
        return None;
    }
    value.as_string().or_else(|| js_sys::JSON::stringify(&value).ok()?.as_string())
}

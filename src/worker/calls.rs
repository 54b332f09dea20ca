//! Calls to our objects. None of them waits for ever.

use super::object::UNREADABLE;
use super::presence_object::{ENTRY, REFUSED};
use super::relay_object::ELSEWHERE;
use super::setup::Setup;
use crate::http::problem::Problem;
use crate::identity::login::Digest;
use crate::presence::id::SiteName;
use crate::protocol::call::{self, Entry, Refusal, Share};
use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use std::pin::pin;
use std::time::Duration;
use worker::{Delay, Env, Error, Request, Result};

/// An object that has not answered by then is not waited for.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// The same of one of several that keep a site: the others go on without it.
pub const PATIENCE_FOR_ONE: Duration = Duration::from_secs(1);

/// Over how many objects a site's logins are spread. Never to be changed: each would be looked for elsewhere.
pub const LOGIN_OBJECTS: u32 = 32;

/// Which object is meant.
#[derive(Clone, Copy)]
pub enum Object<'a> {
    /// The one that keeps a site's presence, or one of several.
    Presence(&'a SiteName, u32),
    /// One of those that relay it to who watches, where it is kept by several.
    Relay(&'a SiteName, u32),
    /// One of those that keep its logins.
    Logins(&'a SiteName, u32),
    /// The one that keeps what is known of its users.
    Accounts(&'a SiteName),
    /// The one that knows which sites there are, where no setting names one.
    Sites,
}

impl<'a> Object<'a> {
    /// The one that keeps a login.
    pub fn of_login(site: &'a SiteName, digest: Digest) -> Self {
        Self::Logins(site, digest.shard(LOGIN_OBJECTS))
    }

    fn address(self) -> (&'static str, String) {
        match self {
            Self::Presence(site, number) => ("PRESENCE", Share::name(site, number)),
            Self::Relay(site, number) => ("RELAYS", Share::name(site, number)),
            Self::Logins(site, number) => ("LOGINS", format!("{} {number}", site.as_str())),
            Self::Accounts(site) => ("ACCOUNTS", site.as_str().to_owned()),
            // No site's name has control characters.
            Self::Sites => ("ACCOUNTS", "\u{1f}sites".to_owned()),
        }
    }
}

/// Asks an object, and waits for it as long as `patience` lasts.
pub async fn ask<T>(env: &Env, object: Object<'_>, call: &impl Serialize, patience: Duration) -> Result<T>
where
    T: for<'a> Deserialize<'a>,
{
    let bytes = ask_in_bytes(env, object, call::write(call), patience).await?;
    call::read(&bytes).map_err(|error| Error::RustError(error.to_string()))
}

/// The same in bytes, from which an answer may borrow. What is not generic is compiled once, which saves a tenth of the
/// wasm.
pub async fn ask_in_bytes(env: &Env, object: Object<'_>, call: Vec<u8>, patience: Duration) -> Result<Vec<u8>> {
    // On the heap, as it would else be part of whatever waits for it.
    let answer = Box::pin(send(env, object, call));
    match select(answer, pin!(Delay::from(patience))).await {
        Either::Left((bytes, _)) => bytes,
        Either::Right(_) => Err(Error::RustError("the object did not answer in time".into())),
    }
}

/// What an error says of an object that cannot read a row.
const CANNOT_READ: &str = "the object cannot read what is stored";

/// Whether an object cannot read a row that it needs: it knows neither that there is something nor that there is nothing.
pub fn is_unreadable(error: &Error) -> bool {
    matches!(error, Error::RustError(text) if text == CANNOT_READ)
}

/// The error that says so.
pub fn cannot_read() -> Error {
    Error::RustError(CANNOT_READ.into())
}

/// What that is told as, and whatever else went wrong.
pub fn problem(error: &Error, what: &'static str) -> Problem {
    if is_unreadable(error) { Problem::Unreadable(what) } else { Problem::Unavailable }
}

/// Whether it was the platform that broke off a call: the object has neither been silent nor said anything.
pub fn has_broken_off(error: &Error) -> bool {
    !matches!(error, Error::RustError(_))
}

async fn send(env: &Env, object: Object<'_>, call: Vec<u8>) -> Result<Vec<u8>> {
    let init = web_sys::RequestInit::new();
    init.set_method("POST");
    init.set_body(&js_sys::Uint8Array::from(call.as_slice()));
    let request = web_sys::Request::new_with_str_and_init("http://object/", &init)?;
    let mut response = fetch(env, object, request).await?;
    match response.status_code() {
        200 => response.bytes().await,
        UNREADABLE => Err(cannot_read()),
        status => Err(Error::RustError(format!("the object answered {status}"))),
    }
}

/// What comes of wanting to watch.
pub enum Opened {
    /// An answer with a WebSocket.
    Socket(web_sys::Response),
    /// There is no room.
    Refused(Refusal),
    /// There is room elsewhere: the next relay is to be asked.
    Elsewhere,
}

/// Opens a WebSocket to an object.
pub async fn open(env: &Env, object: Object<'_>, entry: &Entry) -> Result<Opened> {
    let request = web_sys::Request::new_with_str("http://object/")?;
    request.headers().set("upgrade", "websocket")?;
    request.headers().set(ENTRY, &call::write_text(entry))?;
    let answer = Box::pin(fetch(env, object, request));
    match select(answer, pin!(Delay::from(PATIENCE))).await {
        Either::Left((Ok(response), _)) if response.status_code() == 101 => Ok(Opened::Socket(response.into())),
        Either::Left((Ok(mut response), _)) if response.status_code() == REFUSED => {
            let refusal = call::read(&response.bytes().await?);
            refusal.map(Opened::Refused).map_err(|error| Error::RustError(error.to_string()))
        }
        Either::Left((Ok(response), _)) if response.status_code() == ELSEWHERE => Ok(Opened::Elsewhere),
        Either::Left((Ok(response), _)) => {
            Err(Error::RustError(format!("the object answered {}", response.status_code())))
        }
        Either::Left((Err(error), _)) => Err(error),
        Either::Right(_) => Err(Error::RustError("the object did not answer in time".into())),
    }
}

async fn fetch(env: &Env, object: Object<'_>, request: web_sys::Request) -> Result<worker::Response> {
    let (binding, name) = object.address();
    let namespace = env.durable_object(binding)?;
    let setup = Setup::of(env);
    let stub = match setup.config().ok().and_then(|config| config.region) {
        // It counts when an object is made, and only then.
        Some(region) => namespace.get_by_name_with_location_hint(&name, region)?,
        None => namespace.get_by_name(&name)?,
    };
    #[cfg(feature = "test-hooks")]
    {
        use super::hooks;
        if let Some(now) = hooks::time() {
            request.headers().set(hooks::NOW, &now.as_millis().to_string())?;
        }
        request.headers().set(hooks::FAULT, &hooks::fault())?;
    }
    stub.fetch_with_request(Request::from(request)).await
}

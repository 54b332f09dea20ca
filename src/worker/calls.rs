//! Calls to the presence object of a site. None of them waits for ever.

use crate::presence::id::SiteName;
use crate::protocol::call;
use crate::protocol::call::Call;
use futures_util::future::{Either, select};
use serde::Deserialize;
use std::pin::pin;
use std::time::Duration;
use worker::{Delay, Env, Error, Request, Result};

/// The binding of the objects.
const BINDING: &str = "PRESENCE";

/// An object that has not answered by then is not waited for.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Asks the site's object, and waits for it as long as `patience` lasts.
pub async fn ask<T: for<'a> Deserialize<'a>>(env: &Env, site: &SiteName, call: &Call, patience: Duration) -> Result<T> {
    let answer = pin!(send(env, site, call));
    match select(answer, pin!(Delay::from(patience))).await {
        Either::Left((bytes, _)) => call::read(&bytes?).map_err(|error| Error::RustError(error.to_string())),
        Either::Right(_) => Err(Error::RustError("the presence object did not answer in time".into())),
    }
}

async fn send(env: &Env, site: &SiteName, call: &Call) -> Result<Vec<u8>> {
    let stub = env.durable_object(BINDING)?.get_by_name(site.as_str())?;
    let init = web_sys::RequestInit::new();
    init.set_method("POST");
    init.set_body(&js_sys::Uint8Array::from(call::write(call).as_slice()));
    let request = web_sys::Request::new_with_str_and_init("http://presence/", &init)?;
    #[cfg(feature = "test-hooks")]
    {
        use super::hooks;
        if let Some(now) = hooks::time() {
            request.headers().set(hooks::NOW, &now.as_millis().to_string())?;
        }
        request.headers().set(hooks::FAULT, &hooks::fault())?;
    }
    let mut response = stub.fetch_with_request(Request::from(request)).await?;
    match response.status_code() {
        200 => response.bytes().await,
        status => Err(Error::RustError(format!("the presence object answered {status}"))),
    }
}

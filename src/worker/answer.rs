//! A reply becomes the platform's.

use super::request::Asked;
use crate::http::reply::Reply;
use worker::{Response, Result};

/// Writes a reply. A HEAD request gets its headers alone.
pub fn write(reply: Reply, asked: &Asked) -> Result<web_sys::Response> {
    let mut builder = Response::builder().with_status(reply.status);
    for (name, value) in &reply.headers {
        builder = builder.with_header(name, value)?;
    }
    let empty = asked.method == "HEAD" || reply.body.is_empty();
    let response = if empty { builder.empty() } else { builder.fixed(reply.body) };
    Ok(response.into())
}

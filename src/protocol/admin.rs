//! The JSON of what the site's own servers are told, and of what somebody may do.

use super::call::{AppPassword, Session, SignOn};
use crate::http::admin::AppPasswordId;
use crate::identity::permission::Right;
use crate::presence::id::UserId;
use crate::presence::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct SessionBody<'a> {
    key: &'a str,
    value: &'a str,
    user: Option<&'a str>,
    expires_at: String,
}

#[derive(Serialize)]
struct CreatedBody<'a> {
    key: &'a str,
    expires_at: String,
}

#[derive(Serialize)]
struct SignOnBody<'a> {
    user: &'a str,
    expires_at: String,
}

#[derive(Serialize)]
struct NewPasswordBody<'a> {
    id: &'a str,
    password: &'a str,
}

#[derive(Serialize)]
struct PasswordsBody<'a> {
    app_passwords: Vec<PasswordBody<'a>>,
    next_cursor: Option<&'a str>,
}

#[derive(Serialize)]
struct PasswordBody<'a> {
    id: &'a str,
    user: &'a str,
    email: Option<&'a str>,
    label: &'a str,
    perms: Vec<String>,
    created_at: String,
    /// Told of one that is good for nothing, as what is stored of it cannot be read.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unreadable: bool,
}

/// A session, to whoever knows its key.
pub fn session(key: &str, session: &Session) -> Vec<u8> {
    let user = session.user.as_ref().map(UserId::as_str);
    written(&SessionBody { key, value: &session.value, user, expires_at: session.expires_at.to_rfc3339() })
}

/// A session that was created.
pub fn created(key: &str, expires_at: Timestamp) -> Vec<u8> {
    written(&CreatedBody { key, expires_at: expires_at.to_rfc3339() })
}

/// A sign-on.
pub fn sign_on(sign_on: &SignOn) -> Vec<u8> {
    written(&SignOnBody { user: sign_on.user.as_str(), expires_at: sign_on.expires_at.to_rfc3339() })
}

/// An app password, this once.
pub fn new_password(id: &AppPasswordId, password: &str) -> Vec<u8> {
    written(&NewPasswordBody { id: id.as_str(), password })
}

/// App passwords, without what they are. There are more if there are as many as were asked for.
pub fn passwords(list: &[AppPassword], limit: usize) -> Vec<u8> {
    let bodies = list.iter().map(|password| PasswordBody {
        id: password.id.as_str(),
        user: password.body.user.as_str(),
        email: password.body.email.as_ref().map(|email| email.as_str()),
        label: password.body.label.as_str(),
        perms: password.body.perms.iter().map(Right::to_string).collect(),
        created_at: password.created_at.to_rfc3339(),
        unreadable: password.unreadable,
    });
    let next_cursor = list.last().filter(|_| list.len() >= limit).map(|last| last.id.as_str());
    written(&PasswordsBody { app_passwords: bodies.collect(), next_cursor })
}

/// What somebody may do, by what was asked.
pub fn permissions(checks: &[Right], may: impl Fn(&Right) -> bool) -> Vec<u8> {
    let answers: BTreeMap<_, _> = checks.iter().map(|right| (right.to_string(), may(right))).collect();
    written(&answers)
}

fn written(body: &impl Serialize) -> Vec<u8> {
    // Writing these to memory has no way to fail.
    serde_json::to_vec(body).unwrap_or_default()
}

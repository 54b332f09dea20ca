//! What is stored of logins and accounts, and how it is read back: whoever is to stay signed in for a year must be readable
//! by every release of that year.
//!
//! Most columns are plain values: a text, a number. What has a form of its own begins with the number of that form
//! ([`record`]): a form, once released, is never changed. Forms are made of plain texts, so that a bound that a later release
//! tightens makes nothing unreadable: what is only shown is left out then, what permits something permits nothing.
//! The first number is 16: the calls between Worker and objects, in whose form both were stored at first, had come to 8.

use super::call::{AppPassword, Session};
use crate::http::admin::{AppPasswordBody, AppPasswordId, Label};
use crate::identity::User;
use crate::identity::login::LoginName;
use crate::identity::permission::{Object, Permission, Right};
use crate::presence::columns::{Columns, Read};
use crate::presence::id::{Avatar, DeviceId, Invalid, Name, UserId};
use crate::presence::member::Profile;
use crate::presence::record::{self, Stored};
use crate::presence::revoked::Revocation;
use crate::presence::time::Timestamp;
use serde::{Deserialize, Serialize};

/// In whose forms both were stored before they had numbers of their own: those of the calls then. Their layout is the
/// first one's.
const BEFORE: std::ops::RangeInclusive<u8> = 2..=8;

/// How many bytes a site's secret has.
pub const SECRET_BYTES: usize = 32;

/// Who signed on.
#[derive(Serialize, Deserialize)]
struct SignOnForm {
    id: String,
    profile: Option<ProfileForm>,
    perms: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct ProfileForm {
    name: Option<String>,
    avatar: Option<String>,
    invisible: bool,
}

/// Whose an app password is, and what it is for.
#[derive(Serialize, Deserialize)]
struct AppPasswordForm {
    user: String,
    email: Option<String>,
    label: String,
    perms: Vec<String>,
}

impl Stored for SignOnForm {
    const VERSION: u8 = 16;
}

impl record::Read for SignOnForm {
    fn older(version: u8, rest: &[u8]) -> Option<postcard::Result<Self>> {
        BEFORE.contains(&version).then(|| postcard::from_bytes(rest))
    }
}

impl Stored for AppPasswordForm {
    const VERSION: u8 = 16;
}

impl record::Read for AppPasswordForm {
    fn older(version: u8, rest: &[u8]) -> Option<postcard::Result<Self>> {
        BEFORE.contains(&version).then(|| postcard::from_bytes(rest))
    }
}

/// Writes who signed on.
pub fn write_sign_on(user: &User) -> Vec<u8> {
    let profile = user.profile.as_ref().map(|profile| ProfileForm {
        name: profile.name.as_ref().map(|name| name.as_str().to_owned()),
        avatar: profile.avatar.as_ref().map(|avatar| avatar.as_str().to_owned()),
        invisible: profile.invisible,
    });
    record::encode(&SignOnForm { id: user.id.as_str().to_owned(), profile, perms: written(&user.perms) })
}

/// Reads a row of `data, expires`: who signed on, and until when that is good.
///
/// # Errors
/// When it cannot be read.
pub fn sign_on(mut row: Columns) -> Read<(User, Timestamp)> {
    let SignOnForm { id, profile, perms } = record::decode(&row.blob()?)?;
    let profile = profile.map(|ProfileForm { name, avatar, invisible }| Profile {
        name: name.and_then(|name| Name::parse(name).ok()),
        avatar: avatar.and_then(|avatar| Avatar::parse(avatar).ok()),
        invisible,
    });
    Ok((User { id: UserId::parse(id)?, profile, perms: read_perms(&perms) }, row.time()?))
}

/// Writes whose an app password is.
pub fn write_app_password(body: &AppPasswordBody) -> Vec<u8> {
    record::encode(&AppPasswordForm {
        user: body.user.as_str().to_owned(),
        email: body.email.as_ref().map(|email| email.as_str().to_owned()),
        label: body.label.as_str().to_owned(),
        perms: written(&body.perms),
    })
}

/// Reads whose an app password is, as it was written.
///
/// # Errors
/// When it cannot be read.
pub fn app_password(data: &[u8]) -> Read<AppPasswordBody> {
    let AppPasswordForm { user, email, label, perms } = record::decode(data)?;
    Ok(AppPasswordBody {
        user: UserId::parse(user)?,
        email: email.and_then(|email| LoginName::parse(email).ok()),
        label: Label::parse(label)?,
        perms: read_perms(&perms),
    })
}

/// Reads a row of `id, created, user, label, data`. One whose data cannot be read is listed by its other columns, so that it
/// can be revoked.
///
/// # Errors
/// When these cannot be read either.
pub fn listed_password(mut row: Columns) -> Read<AppPassword> {
    let (id, created_at) = (AppPasswordId::parse(row.text()?)?, row.time()?);
    let (user, label) = (UserId::parse(row.text()?)?, Label::parse(row.text()?)?);
    let body = row.blob().and_then(|data| app_password(&data));
    let unreadable = body.is_err();
    let body = body.unwrap_or(AppPasswordBody { user, email: None, label, perms: Vec::new() });
    Ok(AppPassword { id, body, created_at, unreadable })
}

/// Reads a row of `user`: who is logged in by a session.
///
/// # Errors
/// When it cannot be read.
pub fn session_user(mut row: Columns) -> Read<Option<UserId>> {
    row.text_or_null()?.map(UserId::parse).transpose()
}

/// Reads a row of `expires, revision, value, user`.
///
/// # Errors
/// When it cannot be read.
pub fn session(mut row: Columns) -> Read<Session> {
    let (expires_at, revision, value) = (row.time()?, row.integer()?, row.text()?);
    Ok(Session { value, user: session_user(row)?, expires_at, tag: format!("{revision:x}") })
}

/// Reads a row of `permission, object`. No object is stored as an empty text: a key has no room for nothing.
///
/// # Errors
/// When it cannot be read.
pub fn grant(mut row: Columns) -> Read<Right> {
    let permission = Permission::parse(row.text()?)?;
    let object = row.text()?;
    Ok(Right { permission, object: if object.is_empty() { None } else { Some(Object::parse(object)?) } })
}

/// Writes a digest of a user's id or a device as rows have it that are found by it.
pub fn write_key(key: u64) -> String {
    format!("{key:016x}")
}

/// The same of a device, or of all of them: a key has no room for nothing.
pub fn write_device(device: Option<DeviceId>) -> String {
    device.map(|device| write_key(device.0)).unwrap_or_default()
}

/// Reads a row of `device, at`: since when tokens are worth nothing, on a device or on all of them.
///
/// # Errors
/// When it cannot be read.
pub fn not_before(mut row: Columns) -> Read<(Option<DeviceId>, Timestamp)> {
    Ok((read_device(&row.text()?)?, row.time()?))
}

/// Reads a row of `user, device, at`: the same with whose they are, by a digest. Since when that cannot be read it is since
/// `now`.
///
/// # Errors
/// When the others cannot be read.
pub fn revocation(mut row: Columns, now: Timestamp) -> Read<(Revocation, bool)> {
    let (user, device) = (read_key(&row.text()?)?, read_device(&row.text()?)?);
    let at = row.time();
    Ok((Revocation { user, device, at: at.as_ref().map_or(now, |at| *at) }, at.is_ok()))
}

/// Reads the same from the texts of its columns.
///
/// # Errors
/// When it cannot be read.
pub fn revocation_of(user: &str, device: &str, at: i64) -> Read<Revocation> {
    Ok(Revocation { user: read_key(user)?, device: read_device(device)?, at: Timestamp::from_millis(at) })
}

fn read_key(key: &str) -> Read<u64> {
    let key = Some(key).filter(|key| key.len() == 16).and_then(|key| u64::from_str_radix(key, 16).ok());
    key.ok_or_else(|| Invalid::new("the key of a stored row", "be 16 hexadecimal digits"))
}

fn read_device(device: &str) -> Read<Option<DeviceId>> {
    if device.is_empty() { Ok(None) } else { Ok(Some(DeviceId(read_key(device)?))) }
}

/// Reads a row of `permissions, since`: with which the site names a user, a digest of them.
///
/// # Errors
/// When it cannot be read.
pub fn named(mut row: Columns) -> Read<(String, Timestamp)> {
    Ok((row.text()?, row.time()?))
}

/// Reads a row of `value`: the secret of a site.
///
/// # Errors
/// When it is none that we made: keys that come of a part of one, or of nothing, could be guessed.
pub fn secret(mut row: Columns) -> Read<Vec<u8>> {
    let rule = || Invalid::new("the stored secret of the site", format!("be {SECRET_BYTES} bytes"));
    row.blob().ok().filter(|secret| secret.len() == SECRET_BYTES).ok_or_else(rule)
}

fn written(perms: &[Right]) -> Vec<String> {
    perms.iter().map(Right::to_string).collect()
}

fn read_perms(perms: &[String]) -> Vec<Right> {
    Right::parse_all(perms.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::columns::Column;
    use proptest::prelude::*;

    const CHANGED: &str = "a released form never changes: give the new one a new version";

    fn sally() -> User {
        let profile = Profile {
            name: Some(Name::parse("Sally 🏄").unwrap()),
            avatar: Some(Avatar::parse("/sally.png").unwrap()),
            invisible: true,
        };
        let perms = Right::parse_all(["can_edit@group:42", "can_read"]);
        User { id: UserId::parse("sally").unwrap(), profile: Some(profile), perms }
    }

    fn body() -> AppPasswordBody {
        AppPasswordBody {
            user: UserId::parse("sally").unwrap(),
            email: Some(LoginName::parse("sally@example.com").unwrap()),
            label: Label::parse("reader").unwrap(),
            perms: Right::parse_all(["can_edit@group:42"]),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(hex: &str) -> Vec<u8> {
        let digits: Vec<_> = hex.trim().chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn row(data: &[u8], more: impl IntoIterator<Item = Column>) -> Columns {
        Columns::of(std::iter::once(Column::Blob(data.to_vec())).chain(more).collect())
    }

    fn read_sign_on(data: &[u8]) -> Read<User> {
        sign_on(row(data, [Column::Integer(7)])).map(|(user, _)| user)
    }

    #[test]
    fn stored_sign_on_unchanged() {
        assert_eq!(
            hex(&write_sign_on(&sally())),
            include_str!("../../tests/golden/sign-on-v16.hex").trim(),
            "{CHANGED}"
        );
        assert_eq!(read_sign_on(&write_sign_on(&sally())), Ok(sally()));
        let mut before = unhex(include_str!("../../tests/golden/sign-on-v8.hex"));
        for version in 2..=8 {
            before[0] = version;
            assert_eq!(read_sign_on(&before), Ok(sally()), "what was stored by calls of version {version}");
        }
    }

    #[test]
    fn stored_app_password_unchanged() {
        let data = write_app_password(&body());
        assert_eq!(hex(&data), include_str!("../../tests/golden/app-password-v16.hex").trim(), "{CHANGED}");
        assert_eq!(app_password(&data), Ok(body()));
        let mut before = unhex(include_str!("../../tests/golden/app-password-v8.hex"));
        for version in 2..=8 {
            before[0] = version;
            assert_eq!(app_password(&before), Ok(body()), "what was stored by calls of version {version}");
        }
    }

    #[test]
    fn what_is_of_another_form_or_damaged_is_unreadable() {
        let good = write_sign_on(&sally());
        for version in (0..=255).filter(|version| *version != 16 && !BEFORE.contains(version)) {
            let mut other = good.clone();
            other[0] = version;
            assert!(read_sign_on(&other).is_err() && app_password(&other).is_err(), "{version}");
        }
        for cut in 0..good.len() {
            assert!(read_sign_on(&good[..cut]).is_err(), "{cut}");
        }
        assert!(sign_on(row(&good, [Column::Null])).is_err(), "without an end it is no sign-on");
    }

    #[test]
    fn a_bound_that_was_tightened_makes_nothing_unreadable_and_permits_nothing() {
        let long = "x".repeat(5000);
        let profile = ProfileForm { name: Some(long.clone()), avatar: Some(long.clone()), invisible: true };
        let form = SignOnForm { id: "sally".into(), profile: Some(profile), perms: vec![long, "can_read".into()] };
        let user = read_sign_on(&record::encode(&form)).unwrap();
        assert_eq!(user.profile, Some(Profile { invisible: true, ..Profile::default() }), "who hides, hides");
        assert_eq!(user.perms, Right::parse_all(["can_read"]));
        let nobody = SignOnForm { id: String::new(), profile: None, perms: vec![] };
        assert!(read_sign_on(&record::encode(&nobody)).is_err());
    }

    #[test]
    fn rows_of_plain_columns_are_read_as_they_were_stored() {
        let text = |text: &str| Column::Text(text.into());
        let row = |user| Columns::of(vec![Column::Integer(5), Column::Integer(255), text("v"), user]);
        let read = session(row(text("sally"))).unwrap();
        assert_eq!((read.value.as_str(), read.tag.as_str(), read.expires_at.as_millis()), ("v", "ff", 5));
        assert_eq!(session(row(Column::Null)).unwrap().user, None);
        for damaged in [text(""), Column::Blob(b"sally".to_vec()), Column::Integer(1)] {
            assert!(session(row(damaged)).is_err(), "whose it is cannot be read");
        }
        let right = |permission: Column, object: Column| grant(Columns::of(vec![permission, object]));
        assert_eq!(right(text("can_edit"), text("")).unwrap().to_string(), "can_edit");
        assert_eq!(right(text("can_edit"), text("group:42")).unwrap().to_string(), "can_edit@group:42");
        assert!(right(text("can edit"), text("")).is_err() && right(text("can_edit"), Column::Null).is_err());
    }

    #[test]
    fn since_when_tokens_are_worth_nothing_is_read_as_it_was_stored_or_is_unreadable() {
        let text = |text: &str| Column::Text(text.into());
        let at = Timestamp::from_millis(5);
        let read = |device: &str, at: Column| not_before(Columns::of(vec![text(device), at]));
        for device in [None, Some(DeviceId(0)), Some(DeviceId(u64::MAX))] {
            assert_eq!(read(&write_device(device), Column::Integer(5)), Ok((device, at)));
        }
        assert!(read("", text("5")).is_err() && read("", Column::Null).is_err());
        assert!(read("7", Column::Integer(5)).is_err() && read("000000000000000g", Column::Integer(5)).is_err());
        let user = write_key(7);
        let read =
            |user: &str, at: Column| revocation(Columns::of(vec![text(user), text(""), at]), Timestamp::from_millis(9));
        let revoked = |at| Revocation { user: 7, device: None, at: Timestamp::from_millis(at) };
        assert_eq!(read(&user, Column::Integer(5)), Ok((revoked(5), true)));
        assert_eq!(read(&user, text("a while ago")), Ok((revoked(9), false)));
        assert!(read("sally", Column::Integer(5)).is_err());
        assert_eq!(revocation_of(&user, "", 5), Ok(revoked(5)));
        assert_eq!(named(Columns::of(vec![text("ff"), Column::Integer(5)])), Ok(("ff".into(), at)));
        assert!(named(Columns::of(vec![text("ff"), Column::Null])).is_err());
    }

    #[test]
    fn an_app_password_that_cannot_be_read_is_listed_by_its_other_columns() {
        let text = |text: &str| Column::Text(text.into());
        let listed = |data: Vec<u8>| {
            let head = vec![text("0123456789abcdef"), Column::Integer(5), text("sally"), text("reader")];
            listed_password(Columns::of(head.into_iter().chain([Column::Blob(data)]).collect())).unwrap()
        };
        assert_eq!((listed(write_app_password(&body())).body, listed(vec![]).unreadable), (body(), true));
        let damaged = listed(vec![99, 1]).body;
        assert_eq!((damaged.user.as_str(), damaged.label.as_str(), damaged.perms.len()), ("sally", "reader", 0));
    }

    #[test]
    fn a_secret_is_32_bytes_or_unreadable() {
        let read = |column| secret(Columns::of(vec![column]));
        assert_eq!(read(Column::Blob(vec![7; 32])), Ok(vec![7; 32]));
        let text = Column::Text("7".repeat(32));
        for damaged in [Column::Blob(vec![]), Column::Blob(vec![7; 31]), Column::Blob(vec![7; 33]), text, Column::Null]
        {
            let error = read(damaged).unwrap_err().to_string();
            assert_eq!(error, "the stored secret of the site must be 32 bytes");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused_or_read_but_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), first in 0..20u8) {
            bytes.insert(0, first);
            let _ = (read_sign_on(&bytes), app_password(&bytes));
        }
    }
}

//! What the Worker asks of its objects, and what they answer. Between the two halves of one deployment; but while a new
//! version rolls out both may be about, so the first byte tells the version here too.

use super::live::View;
use super::moves::Wish;
use super::query::Query;
use super::relay::Follow;
use crate::http::admin::{AppPasswordBody, AppPasswordId, Label, SessionBody};
use crate::http::conditions::Precondition;
use crate::http::report::Seen;
use crate::identity::User;
use crate::identity::access::Scope;
use crate::identity::login::{Basic, Digest, Login};
use crate::identity::permission::Right;
use crate::identity::revocation::Change;
use crate::presence::id::{Invalid, SiteName, TabId, UserId};
use crate::presence::member::{Evidence, MemberKey, Profile, Signal, Touch};
use crate::presence::record::Peak;
use crate::presence::reports::Reports;
use crate::presence::shards::Claim;
use crate::presence::site::Lease;
use crate::presence::time::{Seconds, Timestamp};
use crate::presence::totals::Counted;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 11;

/// A call to the object that keeps a site's presence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Call {
    /// Apply these, durably, and add what was counted: an [`Attention`](crate::presence::attention::Attention).
    Apply(Reports, Counted),
    /// Tell what is known of the answer to this, as far as it is for whoever asks: a [`Part`](super::part::Part).
    Read(Query, Scope),
    /// The most that were ever seen online at once, in all of the site's objects; answered with nothing.
    Peak(Peak),
    /// What was done, and who is there: the [`Figures`](super::metrics::Figures).
    Metrics,
    /// Whether this user is online, or was of late.
    Knows(UserId),
    /// The secret that is kept for this site; one is made if there is none.
    Secret,
    /// Forget this user; answered with nothing.
    Erase(UserId),
    /// Apply these, which were sent to another object by who did not know better; answered with nothing.
    PassedOn(Reports),
    /// Hand over these members, who are known by other keys from now on: them, packed.
    Claim(Vec<Claim>),
    /// Hand over what is another object's now: a [`Load`](super::moves::Load).
    Release(Wish),
    /// Have this object hand over what is yours now; answered with nothing.
    Collect(u32),
    /// Tell where this part is, and from now on what becomes of it: a [`Followed`](super::relay::Followed).
    Follow(Follow),
    /// These pages, of members of this part, have just connected to the relay of this number; answered with nothing.
    Connected(u32, Vec<Lease>),
    /// Over how many objects the site has ever been spread: a number. The first of them knows.
    Most,
    /// Whether a session or a sign-on was ever stored for the site: whether it was. The first of them knows.
    HasLogins,
    /// Remember for good that one was; answered with nothing.
    RecordLogins,
    /// What this user may do has changed: what those see of them who watch here is looked up again. Answered with nothing.
    Recheck(UserId),
}

impl Call {
    /// Whether all must be there for it that is the object's.
    pub fn needs_all(&self) -> bool {
        match self {
            Self::Apply(..)
            | Self::Read(..)
            | Self::Knows(_)
            | Self::Metrics
            | Self::Erase(_)
            | Self::Claim(_)
            | Self::Follow(_) => true,
            // Of these, some are what it takes to have everything there.
            Self::Peak(_)
            | Self::Secret
            | Self::Connected(..)
            | Self::PassedOn(_)
            | Self::Release(_)
            | Self::Collect(_)
            | Self::Most
            | Self::HasLogins
            | Self::RecordLogins
            | Self::Recheck(_) => false,
        }
    }
}

/// Which share of a site's members an object keeps, as its name tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Whose members.
    pub site: SiteName,
    /// Which of the site's objects it is.
    pub number: u32,
}

/// What separates a site from a number: no site's name has control characters.
const SEPARATOR: char = '\u{1f}';

impl Share {
    /// The name of a site's object. The first is called as the site, which most often is kept by no other.
    pub fn name(site: &SiteName, number: u32) -> String {
        match number {
            0 => site.as_str().to_owned(),
            number => format!("{}{SEPARATOR}{number}", site.as_str()),
        }
    }

    /// Reads it back.
    pub fn of(name: &str) -> Option<Self> {
        let (site, number) = name.split_once(SEPARATOR).unwrap_or((name, "0"));
        Some(Self { site: SiteName::parse(site).ok()?, number: number.parse().ok()? })
    }
}

/// Somebody comes to watch. It goes along with a request for a WebSocket, which has no body, in a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What they see.
    pub view: View,
    /// The permissions that they brought along, where what they see depends on what they may do: that is looked up again.
    pub perms: Option<Vec<Right>>,
    /// The version that they know already.
    pub since: Option<u64>,
    /// Who they are.
    pub who: Watcher,
    /// Until when that is known to be so.
    pub good_until: Timestamp,
    /// The tab that it is; by that it can be told when it has been closed.
    pub tab: TabId,
    /// What their coming means.
    pub signals: Vec<Signal>,
}

/// Who watches, for as long as they do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watcher {
    /// Who they are. A guest has another key each day, and comes to watch again as that one.
    pub key: MemberKey,
    /// How they are shown.
    pub profile: Option<Profile>,
    /// What that rests on.
    pub said: Option<Evidence>,
}

impl Watcher {
    /// What it means that they say so.
    pub fn touch(&self, seen: Seen) -> Signal {
        let Seen { place, tab, state, arrives } = seen;
        Signal::Touch(Touch {
            key: self.key.clone(),
            was: None,
            profile: self.profile.clone(),
            said: self.said,
            place,
            tab,
            state,
            arrives,
        })
    }
}

/// Why somebody is not let watch who might.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// With which code their connection is closed.
    pub code: u16,
    /// In words.
    pub why: String,
}

/// A call to one of the objects that keep a site's logins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginCall {
    /// Who is it? An `Option<User>`.
    LookUp(Login),
    /// The session, if it is there: an `Option<Session>`.
    LoadSession(Digest),
    /// Save it if that holds: whether it did.
    SaveSession(Digest, SessionBody, Precondition),
    /// End it; answered with nothing.
    DeleteSession(Digest),
    /// Note a sign-on; answered with nothing.
    SaveSignOn(Digest, User, Seconds),
    /// The sign-on, if it is there: an `Option<SignOn>`.
    LoadSignOn(Digest),
    /// End it; answered with nothing.
    DeleteSignOn(Digest),
    /// End all of this user's; answered with nothing.
    SignOut(UserId),
    /// Forget this user; answered with nothing.
    Erase(UserId),
}

/// A session that is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What the application keeps in it.
    pub value: String,
    /// Who is logged in by it.
    pub user: Option<UserId>,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// What changes whenever it is saved.
    pub tag: String,
}

/// A sign-on that is good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOn {
    /// Who signed on.
    pub user: UserId,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// A call to the object that keeps what is known of a site's users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountCall {
    /// Is it right, and whose is it? A [`Verified`].
    Verify {
        /// The name and the password.
        basic: Basic,
        /// Who tries, if failures are to be counted.
        client: Option<u64>,
    },
    /// A new app password of this digest; answered with nothing.
    AddPassword(Digest, AppPasswordBody),
    /// Which app passwords there are, in the order of their ids: a `Vec<AppPassword>`.
    ListPasswords {
        /// Of this user alone.
        user: Option<UserId>,
        /// Those after this one.
        after: Option<AppPasswordId>,
        /// At most so many.
        limit: usize,
    },
    /// Good no more: whether there was one.
    RevokePassword(AppPasswordId),
    /// The same for those of a user with a label.
    RevokeByLabel(UserId, Label),
    /// May do this; answered with nothing.
    Grant(UserId, Right),
    /// May not do this any more; answered with nothing.
    Revoke(UserId, Right),
    /// What is known of these users' accounts, in this order: for each an
    /// [`Account`](crate::identity::revocation::Account), or none where it cannot be read.
    Accounts(Vec<UserId>),
    /// What the site has said of a user then; answered with nothing.
    Change(Change, Timestamp),
    /// Visitors are recorded for this site: whether it is known from now on. The object that knows all sites is asked.
    AddSite(SiteName),
    /// Whether visitors were ever recorded for this site. The object that knows all sites is asked.
    HasSite(SiteName),
    /// Forget this user, whose tokens until then are worth nothing: an `Option<Seconds>`, how long they have to wait where too
    /// many had themselves erased of late.
    Erase {
        /// Who.
        user: UserId,
        /// Whether they ask for it themselves.
        by_themselves: bool,
    },
}

/// What came of a name and a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verified {
    /// They are this user's.
    User(User),
    /// They are nobody's.
    Nobody,
    /// They are nobody's, and the next attempt has to wait.
    SlowDown(Seconds),
}

/// An app password, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPassword {
    /// What it is revoked by.
    pub id: AppPasswordId,
    /// Whose it is and what it is for.
    pub body: AppPasswordBody,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether what is stored of it cannot be read, so that it is good for nothing.
    pub unreadable: bool,
}

/// Writes a call or an answer.
pub fn write(message: &impl Serialize) -> Vec<u8> {
    // Writing to memory has no way to fail.
    postcard::to_extend(message, vec![VERSION]).unwrap_or_default()
}

/// Writes what goes along in a header.
pub fn write_text(message: &impl Serialize) -> String {
    Base64UrlUnpadded::encode_string(&write(message))
}

/// Reads what [`write_text`] wrote.
///
/// # Errors
/// As [`read`].
pub fn read_text<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, Invalid> {
    read(&Base64UrlUnpadded::decode_vec(text).unwrap_or_default())
}

/// Reads a call or an answer.
///
/// # Errors
/// When the bytes are of another version, or damaged.
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Invalid> {
    let wrong = || Invalid::new("a message between Worker and object", "be whole and of the same version");
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::part::Part;
    use proptest::prelude::*;

    #[test]
    fn an_object_knows_by_its_name_whose_members_it_keeps() {
        let site = SiteName::parse("my site 7").unwrap();
        for number in [0, 1, 63] {
            assert_eq!(Share::of(&Share::name(&site, number)), Some(Share { site: site.clone(), number }));
        }
        assert_eq!(Share::of("a\u{1f}b"), None);
    }

    #[test]
    fn what_was_written_is_read_back() {
        let scope = Scope { locations: true, last_seen: false, invisible: false };
        let call = Call::Read(Query::Counts, scope);
        assert_eq!(read::<Call>(&write(&call)).unwrap(), call);
        assert!(read::<Call>(&[]).is_err());
        assert!(read::<Call>(&[VERSION + 1, 0]).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_are_refused_or_read_but_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            bytes.insert(0, VERSION);
            let _ = (read::<Call>(&bytes), read::<Part>(&bytes));
            let _ = (read::<LoginCall>(&bytes), read::<AccountCall>(&bytes), read::<Session>(&bytes), read::<Verified>(&bytes));
        }
    }
}

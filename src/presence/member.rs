//! Who is online: a member, what is known of them, and what is reported of them.

use super::id::{Avatar, DeviceId, GuestKey, Name, PagePath, TabId, Title, Topic, UserId};
use super::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// What sort of visitor a member is. Each sort is counted apart; bots are in no total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Signed in.
    User,
    /// Not signed in.
    Guest,
    /// A crawler, a feed reader, a script.
    Bot,
}

/// Whether somebody is looking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Here, and looking.
    #[default]
    Online,
    /// Here, but the page is hidden or untouched.
    Away,
}

/// Which member is meant. One visitor has one key at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum MemberKey<U = UserId> {
    /// A user, by the site's own id.
    User(U),
    /// A guest, by a digest that changes every day.
    Guest(GuestKey),
    /// A bot, by the same digest.
    Bot(GuestKey),
}

/// The same of somebody whose id is kept elsewhere.
pub type KeyRef<'a> = MemberKey<&'a UserId>;

impl<U> MemberKey<U> {
    /// The sort of member it names.
    pub fn kind(&self) -> Kind {
        match self {
            Self::User(_) => Kind::User,
            Self::Guest(_) => Kind::Guest,
            Self::Bot(_) => Kind::Bot,
        }
    }
}

impl MemberKey {
    /// The same, to look at.
    pub fn borrow(&self) -> KeyRef<'_> {
        match self {
            Self::User(user) => MemberKey::User(user),
            Self::Guest(key) => MemberKey::Guest(*key),
            Self::Bot(key) => MemberKey::Bot(*key),
        }
    }
}

impl KeyRef<'_> {
    /// The same, to keep.
    pub fn owned(self) -> MemberKey {
        match self {
            Self::User(user) => MemberKey::User(user.clone()),
            Self::Guest(key) => MemberKey::Guest(key),
            Self::Bot(key) => MemberKey::Bot(key),
        }
    }
}

/// How a user wants to be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Profile {
    /// Shown in place of the id.
    pub name: Option<Name>,
    /// A picture.
    pub avatar: Option<Avatar>,
    /// Counted as a guest and named nowhere.
    pub invisible: bool,
}

/// A page and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The page's path.
    pub path: PagePath,
    /// Its title, where the page told it.
    pub title: Option<Title>,
    /// What it is about, where the page told it.
    pub topic: Option<Topic>,
}

impl Place {
    /// Here, but nowhere in particular: where somebody is whose page must not be told. It replaces the place where they were,
    /// and is shown, counted and kept as none.
    pub fn nowhere() -> Self {
        Self { path: PagePath::of_nowhere(), title: None, topic: None }
    }

    /// Whether it is that.
    pub fn is_nowhere(&self) -> bool {
        self.path.is_of_nowhere()
    }
}

/// One thing that happened, as it is reported; `P` is how a place is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal<P = Place> {
    /// Somebody was seen.
    Touch(Touch<P>),
    /// A page was closed: a hint, as the same visitor may be opening the next one.
    Leave {
        /// Whose page.
        key: MemberKey,
        /// Which of their tabs; all of them if it is not told.
        tab: Option<TabId>,
    },
    /// A user signed out and is gone at once.
    SignOut {
        /// Who.
        user: UserId,
        /// On which of their devices; on all of them if it is not told.
        device: Option<DeviceId>,
    },
}

/// What a touch rests on, where that is more than the site's word of this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// When it was said how the user wants to be shown, if that was not just now: who has hidden since stays hidden.
    pub said: Option<Timestamp>,
    /// When the token was issued by which the user is known: one that was revoked since is worth nothing. `None` where there
    /// is no token.
    pub issued: Option<Timestamp>,
    /// On which device the user is signed in, where that is known.
    pub device: Option<DeviceId>,
}

/// Somebody was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch<P = Place> {
    /// Who.
    pub key: MemberKey,
    /// Who this visitor was until now: the guest who signs in, whoever it was by yesterday's salt. That member is
    /// gone with this touch, so nobody counts twice.
    pub was: Option<MemberKey>,
    /// How they want to be shown; `None` leaves it as it is.
    pub profile: Option<Profile>,
    /// What that rests on; `None` for guests and bots, and where the site says so just now and names no device.
    pub said: Option<Evidence>,
    /// Where they are; `None` leaves it as it is.
    pub place: Option<P>,
    /// The tab that reports.
    pub tab: Option<TabId>,
    /// Whether they are looking. Told by what arrives alone.
    pub state: State,
    /// Whether it brings in somebody who is not here: a page that was shown does, and one that reports itself. Any other request
    /// refreshes whom it finds.
    pub arrives: bool,
}

impl<P> Touch<P> {
    /// Somebody who arrives, is looking, and tells nothing more.
    pub fn of(key: MemberKey) -> Self {
        let (was, profile, said, place, tab) = (None, None, None, None, None);
        Self { key, was, profile, said, place, tab, state: State::Online, arrives: true }
    }

    /// The device that it comes from, where that is known.
    pub fn device(&self) -> Option<DeviceId> {
        self.said?.device
    }

    /// The same with the place told otherwise.
    pub fn at<Q>(self, tell: impl FnOnce(P) -> Option<Q>) -> Touch<Q> {
        let Self { key, was, profile, said, place, tab, state, arrives } = self;
        Touch { key, was, profile, said, place: place.and_then(tell), tab, state, arrives }
    }
}

impl<P> Signal<P> {
    /// Of whom it is.
    pub fn key(&self) -> KeyRef<'_> {
        match self {
            Self::Touch(touch) => touch.key.borrow(),
            Self::Leave { key, .. } => key.borrow(),
            Self::SignOut { user, .. } => MemberKey::User(user),
        }
    }

    /// The same with the place told otherwise.
    pub fn at<Q>(self, tell: impl FnOnce(P) -> Option<Q>) -> Signal<Q> {
        match self {
            Self::Touch(touch) => Signal::Touch(touch.at(tell)),
            Self::Leave { key, tab } => Signal::Leave { key, tab },
            Self::SignOut { user, device } => Signal::SignOut { user, device },
        }
    }
}

/// A user who is no longer online: what `last_seen` keeps of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// Who.
    pub user: UserId,
    /// When they were last touched.
    pub last_seen: Timestamp,
    /// How they were shown.
    pub profile: Profile,
    /// Where they were.
    pub place: Option<Place>,
    /// When that visit began.
    pub since: Timestamp,
}

impl Departure {
    /// By what the last of a user's departures is told: who signs out and is back at once goes twice at the same time, and the
    /// later visit is the last. Where both began then as well it is whichever, but the same wherever it is looked for.
    pub fn by_time(&self, other: &Self) -> Ordering {
        let by = |gone: &Self| (gone.last_seen, gone.since);
        by(self).cmp(&by(other)).then_with(|| (&self.profile, &self.place).cmp(&(&other.profile, &other.place)))
    }
}

/// Somebody looked at a page about something, and does no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewed {
    /// What the page was about.
    pub topic: Topic,
    /// Who looked: a user or a guest.
    pub viewer: MemberKey,
    /// When they were last seen there.
    pub at: Timestamp,
    /// How they were shown.
    pub profile: Option<Profile>,
}

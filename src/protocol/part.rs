//! What one of a site's objects knows of an answer. Whoever has asked puts the parts together and writes the JSON: see
//! [`answer`](super::answer).
//!
//! Texts are borrowed on both ways: from the site where a part is written, from its bytes where it is read.

use super::call::write;
use super::query::Query;
use super::viewers::{self, Viewers};
use super::{Kept, feed};
use crate::identity::access::Scope;
use crate::presence::id::{Name, Title, UserId};
use crate::presence::member::{Departure, MemberKey, Place, Profile, State};
use crate::presence::pages::Page;
use crate::presence::record::Peak;
use crate::presence::site::{Counts, Filter, Order, Site, Tally, View};
use crate::presence::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What one object knows of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part<'a> {
    /// As of when.
    pub as_of: Timestamp,
    /// The version of what it keeps.
    pub version: u64,
    /// How many are online, to those who may not see the invisible.
    pub counts: Counts,
    /// Whether somebody is left out who is shown to those who may see the invisible.
    pub hidden: bool,
    /// What was asked.
    #[serde(borrow)]
    pub told: Told<'a>,
}

/// What was asked, by the question.
#[derive(Debug, Serialize, Deserialize)]
pub enum Told<'a> {
    /// Who is online.
    Online {
        /// How many of those whom the question lets through.
        counts: Counts,
        /// The most that were ever online at once.
        peak: Option<Peak>,
        /// Those who are on the page, newest first.
        #[serde(borrow)]
        members: Vec<Shown<'a>>,
        /// Whether there are more.
        more: bool,
    },
    /// How many are online, to whoever asks.
    Counts(Counts),
    /// Users, in the order of the question.
    Users(#[serde(borrow)] Vec<Known<'a>>),
    /// Where people are, most first.
    Pages(#[serde(borrow)] Vec<Page<'a>>),
    /// Who has looked at the topic.
    Viewers(#[serde(borrow)] Viewers<'a>),
    /// Who came when, newest first.
    Arrivals(Vec<feed::Arrival>),
}

/// A member as they are shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown<'a> {
    /// Who.
    #[serde(borrow)]
    pub key: MemberKey<&'a str>,
    /// Whether they are shown as a guest like any other: then nobody is told the key.
    pub masked: bool,
    /// Their place in the list, which tells when they were last seen.
    pub order: Order,
    /// What they are called.
    pub name: Option<&'a str>,
    /// Their picture.
    pub avatar: Option<&'a str>,
    /// Whether they are to be seen by few.
    pub invisible: bool,
    /// Whether they are looking.
    pub state: State,
    /// When this visit began.
    pub since: Timestamp,
    /// Where they are, to those who may know.
    pub location: Option<Location<'a>>,
    /// How many pages they have open.
    pub tabs: usize,
}

/// A page.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Location<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its title, where it was told.
    pub title: Option<&'a str>,
}

/// What is known of a user who was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Known<'a> {
    /// Who.
    pub id: &'a str,
    /// What they are called.
    pub name: Option<&'a str>,
    /// Whether they are looking; none if they are not online.
    pub state: Option<State>,
    /// When they were last seen, to those who may know.
    pub last_seen: Option<Timestamp>,
    /// When this visit began.
    pub since: Option<Timestamp>,
    /// Where they are or were last, to those who may know.
    #[serde(borrow)]
    pub location: Option<Location<'a>>,
}

/// Writes what an object knows of the answer to a question, as far as that is for whoever asks.
pub fn tell(query: &Query, scope: Scope, site: &Site, kept: &impl Kept) -> Vec<u8> {
    let invisible = scope.invisible;
    let part = |told| {
        let (as_of, version, counts) = (site.now(), site.version(), site.counts());
        write(&Part { as_of, version, counts, hidden: !invisible && site.invisible() > 0, told })
    };
    match query {
        Query::Online { limit, after, kind, path, topic } => {
            let path = path.as_ref().map(|path| path.as_str());
            let filter = Filter { path, topic: topic.as_ref().map(|topic| topic.as_str()), invisible };
            let (views, next, counts) = site.list_and_counts(*kind, &filter, *after, *limit);
            let members = views.iter().map(|view| shown(view, scope)).collect();
            part(Told::Online { counts, peak: site.peak(), members, more: next.is_some() })
        }
        Query::Counts => part(Told::Counts(Tally::of(site).counts(&Filter { invisible, ..Filter::default() }))),
        Query::User(id) => {
            let departure = departed(id, site, kept);
            part(Told::Users(vec![known(site, scope, id, departure.as_ref())]))
        }
        Query::Users(ids) => {
            let departures: Vec<_> = ids.iter().map(|id| departed(id, site, kept)).collect();
            let users = ids.iter().zip(&departures);
            part(Told::Users(users.map(|(id, departure)| known(site, scope, id, departure.as_ref())).collect()))
        }
        Query::Pages(limit) => part(Told::Pages(site.pages(*limit))),
        Query::Viewers(topic, limit) => {
            let latest = viewers::latest(topic, scope, site, kept.viewed(topic));
            part(Told::Viewers(Viewers::of(&latest, *limit)))
        }
        Query::Arrivals(limit) => part(Told::Arrivals(feed::arrivals(*limit, scope, site, kept.departures(*limit)))),
    }
}

/// What is to be told of a user who is not online: it may not be kept yet.
fn departed(id: &UserId, site: &Site, kept: &impl Kept) -> Option<Departure> {
    site.departed(id).cloned().into_iter().chain(kept.departed(id)).max_by(Departure::by_time)
}

/// A member as they are shown to whoever may see so much: who is invisible to them, as a guest.
pub fn shown<'a>(view: &View<'a>, scope: Scope) -> Shown<'a> {
    let key = match view.key {
        MemberKey::User(user) => MemberKey::User(user.as_str()),
        MemberKey::Guest(key) => MemberKey::Guest(key),
        MemberKey::Bot(key) => MemberKey::Bot(key),
    };
    let invisible = view.profile.is_some_and(|profile| profile.invisible);
    let masked = invisible && !scope.invisible;
    let profile = view.profile.filter(|_| !masked);
    Shown {
        key,
        masked,
        order: view.order(),
        name: profile.and_then(name),
        avatar: profile.and_then(avatar),
        invisible: invisible && !masked,
        state: view.state,
        since: view.since,
        location: view.place.filter(|_| scope.locations).map(location),
        tabs: view.tabs,
    }
}

fn known<'a>(site: &'a Site, scope: Scope, id: &'a UserId, departure: Option<&'a Departure>) -> Known<'a> {
    let (place, id_text) = (|place: Option<&'a Place>| place.filter(|_| scope.locations).map(location), id.as_str());
    match site.user(id, scope.invisible) {
        Some(view) => Known {
            id: id_text,
            name: view.profile.and_then(name),
            state: Some(view.state),
            last_seen: Some(view.last_seen),
            since: Some(view.since),
            location: place(view.place),
        },
        // To whom it is not told when somebody was here, it is not told that they ever were.
        None => match departure.filter(|_| scope.last_seen) {
            None => Known { id: id_text, ..Known::default() },
            Some(gone) => Known {
                id: id_text,
                name: name(&gone.profile),
                state: None,
                last_seen: Some(gone.last_seen),
                since: None,
                location: place(gone.place.as_ref()),
            },
        },
    }
}

/// What somebody is called.
pub fn name(profile: &Profile) -> Option<&str> {
    profile.name.as_ref().map(Name::as_str)
}

/// Their picture.
pub fn avatar(profile: &Profile) -> Option<&str> {
    profile.avatar.as_ref().map(|avatar| avatar.as_str())
}

fn location(place: &Place) -> Location<'_> {
    Location { path: place.path.as_str(), title: place.title.as_ref().map(Title::as_str) }
}

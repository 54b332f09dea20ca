//! The JSON of the public interface, and what goes between the Worker and its objects to make it. Field names are what
//! clients rely on; golden files pin them.

pub mod admin;
pub mod answer;
pub mod badge;
pub mod call;
pub mod feed;
pub mod live;
pub mod metrics;
pub mod moves;
pub mod part;
pub mod query;
pub mod relay;
pub mod repeat;
pub mod stored;
mod viewers;
pub mod widget;

use crate::identity::shown::ShownIds;
use crate::presence::id::{SiteName, Topic, UserId};
use crate::presence::member::{Departure, MemberKey, State, Viewed};
use crate::presence::time::{Seconds, Timestamp};
use part::{Location, Shown};
use serde::Serialize;

/// A member, in lists and in what those who watch are told.
#[derive(Serialize)]
struct Member<'a> {
    id: String,
    name: Option<&'a str>,
    avatar: Option<&'a str>,
    state: State,
    since: String,
    last_seen: String,
    location: Option<LocationBody<'a>>,
    tabs: usize,
    /// Told to those alone who may see it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invisible: bool,
}

#[derive(Serialize)]
struct LocationBody<'a> {
    path: &'a str,
    title: Option<&'a str>,
}

impl<'a> From<Location<'a>> for LocationBody<'a> {
    fn from(Location { path, title }: Location<'a>) -> Self {
        Self { path, title }
    }
}

impl<'a> Member<'a> {
    /// A user, as those see them who may see who they are; nobody else.
    fn user(shown: Shown<'a>) -> Option<Self> {
        match shown.key {
            MemberKey::User(id) if !shown.masked => Some(Self::called(id.to_owned(), shown)),
            _ => None,
        }
    }

    /// Anybody. Who is a guest, or looks like one, is called as `ids` say, and is not told where there are none.
    fn of(shown: Shown<'a>, site: &SiteName, ids: Option<&ShownIds>) -> Option<Self> {
        match shown.key {
            MemberKey::User(_) if !shown.masked => Self::user(shown),
            key => {
                let last_seen = shown.order.0;
                ids.map(|ids| Self::called(ids.id(site, key, last_seen), shown))
            }
        }
    }

    fn called(id: String, shown: Shown<'a>) -> Self {
        Self {
            id,
            name: shown.name,
            avatar: shown.avatar,
            state: shown.state,
            since: shown.since.to_rfc3339(),
            last_seen: shown.order.0.to_rfc3339(),
            location: shown.location.map(LocationBody::from),
            tabs: shown.tabs,
            invisible: shown.invisible,
        }
    }
}

/// What is kept of those who are not online.
pub trait Kept {
    /// What is kept of a user.
    fn departed(&self, user: &UserId) -> Option<Departure>;
    /// The users who went last, newest first.
    fn departures(&self, limit: usize) -> Vec<Departure>;
    /// Who looked at a topic, newest first.
    fn viewed(&self, topic: &Topic) -> Vec<Viewed>;
}

/// A site of which nothing is kept.
pub struct NothingKept;

impl Kept for NothingKept {
    fn departed(&self, _: &UserId) -> Option<Departure> {
        None
    }

    fn departures(&self, _: usize) -> Vec<Departure> {
        Vec::new()
    }

    fn viewed(&self, _: &Topic) -> Vec<Viewed> {
        Vec::new()
    }
}

/// Whether what was kept of a user is still to be told.
pub fn still_kept(last_seen: Timestamp, now: Timestamp, timeout: Seconds) -> bool {
    last_seen.plus(timeout) >= now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_user_is_told_until_its_time_is_over() {
        let at = Timestamp::from_millis;
        assert!(still_kept(at(0), at(604_800_000), Seconds(604_800)));
        assert!(!still_kept(at(0), at(604_800_001), Seconds(604_800)));
    }
}

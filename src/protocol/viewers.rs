//! Who has looked at a topic: those who look now, and those who did.

use super::part::{avatar, name};
use crate::identity::access::Scope;
use crate::presence::id::Topic;
use crate::presence::member::{MemberKey, Viewed};
use crate::presence::site::Site;
use crate::presence::site::erasing::topic_of;
use crate::presence::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Who has looked at a topic, as far as an object knows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Viewers<'a> {
    /// How many are guests, or to be seen by few.
    pub guests: usize,
    /// How many are users who may be named.
    pub users: usize,
    /// Those who looked last of them, the latest first.
    #[serde(borrow)]
    pub latest: Vec<Viewer<'a>>,
}

/// Somebody who has looked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Viewer<'a> {
    /// Who.
    pub id: &'a str,
    /// What they are called.
    pub name: Option<&'a str>,
    /// Their picture.
    pub avatar: Option<&'a str>,
    /// When they were last seen there.
    pub at: Timestamp,
}

/// When each viewer was last seen there, and whether they hide.
type Latest = HashMap<(MemberKey, bool), Viewed>;

#[derive(Serialize)]
pub struct Body<'a> {
    topic: &'a str,
    as_of: String,
    counts: Counts,
    viewers: Vec<ViewerBody<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

#[derive(Serialize)]
struct Counts {
    total: usize,
    users: usize,
    guests: usize,
}

#[derive(Serialize)]
struct ViewerBody<'a> {
    id: &'a str,
    name: Option<&'a str>,
    avatar: Option<&'a str>,
    last_seen: String,
}

/// Each viewer once, with the latest time; nobody looks at themselves. To whom it is not told when somebody was here who is not
/// online, no user is told who is not: guests and those who hide are only counted.
pub fn latest(topic: &Topic, scope: Scope, site: &Site, kept: Vec<Viewed>) -> Latest {
    // Apart from their visits in hiding: would these replace the others, those who know of them could tell who hides.
    let hides = |viewed: &Viewed| viewed.profile.as_ref().is_some_and(|profile| profile.invisible) && !scope.invisible;
    let is_told = |viewed: &Viewed| match &viewed.viewer {
        MemberKey::User(user) => scope.last_seen || hides(viewed) || site.user(user, scope.invisible).is_some(),
        MemberKey::Guest(_) | MemberKey::Bot(_) => true,
    };
    let mut latest = Latest::new();
    for viewed in kept.into_iter().chain(site.viewers(topic)).filter(is_told) {
        let own = matches!(&viewed.viewer, MemberKey::User(user) if topic_of(user).as_ref() == Some(topic));
        let key = (viewed.viewer.clone(), hides(&viewed));
        if !own && latest.get(&key).is_none_or(|known| known.at <= viewed.at) {
            latest.insert(key, viewed);
        }
    }
    latest
}

impl<'a> Viewers<'a> {
    /// What is told of them: guests and whoever is invisible are only counted.
    pub fn of(latest: &'a Latest, limit: usize) -> Self {
        let mut viewers = Self::default();
        for ((viewer, hidden), viewed) in latest {
            match viewer {
                MemberKey::User(user) if !hidden => viewers.latest.push(Viewer {
                    id: user.as_str(),
                    name: viewed.profile.as_ref().and_then(name),
                    avatar: viewed.profile.as_ref().and_then(avatar),
                    at: viewed.at,
                }),
                _ => viewers.guests += 1,
            }
        }
        viewers.users = viewers.latest.len();
        viewers.cut(limit);
        viewers
    }

    /// What several objects know, which each keep their own viewers.
    pub fn together(parts: impl IntoIterator<Item = Self>, limit: usize) -> Self {
        let mut all = Self::default();
        for Self { guests, users, latest } in parts {
            all.guests += guests;
            all.users += users;
            all.latest.extend(latest);
        }
        all.cut(limit);
        all
    }

    fn cut(&mut self, limit: usize) {
        self.latest.sort_unstable_by(|one, other| (other.at, one.id).cmp(&(one.at, other.id)));
        self.latest.truncate(limit);
    }

    /// The JSON; `partial` is whether what some object knows is missing.
    pub fn body(self, topic: &'a Topic, as_of: Timestamp, partial: bool) -> Body<'a> {
        let Self { guests, users, latest } = self;
        let viewer = |Viewer { id, name, avatar, at }| ViewerBody { id, name, avatar, last_seen: at.to_rfc3339() };
        Body {
            topic: topic.as_str(),
            as_of: as_of.to_rfc3339(),
            counts: Counts { total: users + guests, users, guests },
            viewers: latest.into_iter().map(viewer).collect(),
            partial,
        }
    }
}

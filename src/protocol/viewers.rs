//! Who has looked at a topic: those who look now, and those who did.

use super::{avatar, name};
use crate::identity::access::Scope;
use crate::presence::id::Topic;
use crate::presence::member::{MemberKey, Viewed};
use crate::presence::site::Site;
use crate::presence::site::erasing::topic_of;
use crate::presence::time::Timestamp;
use serde::Serialize;
use std::collections::HashMap;

#[derive(Serialize)]
struct Body<'a> {
    topic: &'a str,
    as_of: String,
    counts: Counts,
    viewers: Vec<Viewer<'a>>,
}

#[derive(Default, Serialize)]
struct Counts {
    total: usize,
    users: usize,
    guests: usize,
}

#[derive(Serialize)]
struct Viewer<'a> {
    id: &'a str,
    name: Option<&'a str>,
    avatar: Option<&'a str>,
    last_seen: String,
}

/// Writes the answer. Each viewer is told once, with the latest time; guests and whoever is invisible are only counted,
/// and nobody looks at themselves.
pub fn answer(topic: &Topic, limit: usize, scope: Scope, site: &Site, kept: Vec<Viewed>) -> Vec<u8> {
    // Apart from their visits in hiding: would these replace the others, those who know of them could tell who hides.
    let hides = |viewed: &Viewed| viewed.profile.as_ref().is_some_and(|profile| profile.invisible) && !scope.invisible;
    let mut latest: HashMap<(MemberKey, bool), Viewed> = HashMap::new();
    for viewed in kept.into_iter().chain(site.viewers(topic)) {
        let own = matches!(&viewed.viewer, MemberKey::User(user) if topic_of(user).as_ref() == Some(topic));
        let key = (viewed.viewer.clone(), hides(&viewed));
        if !own && latest.get(&key).is_none_or(|known| known.at <= viewed.at) {
            latest.insert(key, viewed);
        }
    }
    let mut counts = Counts { total: latest.len(), ..Counts::default() };
    let mut users: Vec<(Timestamp, &str, &Viewed)> = Vec::new();
    for ((viewer, hidden), viewed) in &latest {
        match viewer {
            MemberKey::User(user) if !hidden => users.push((viewed.at, user.as_str(), viewed)),
            _ => counts.guests += 1,
        }
    }
    counts.users = users.len();
    users.sort_unstable_by(|one, other| (other.0, one.1).cmp(&(one.0, other.1)));
    users.truncate(limit);
    let viewers = users.into_iter().map(|(at, id, viewed)| Viewer {
        id,
        name: viewed.profile.as_ref().and_then(name),
        avatar: viewed.profile.as_ref().and_then(avatar),
        last_seen: at.to_rfc3339(),
    });
    let body = Body { topic: topic.as_str(), as_of: site.now().to_rfc3339(), counts, viewers: viewers.collect() };
    serde_json::to_vec(&body).unwrap_or_default()
}

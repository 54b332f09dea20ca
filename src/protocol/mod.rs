//! The JSON of the public interface. Field names here are what clients rely on; golden files pin them.

pub mod badge;
pub mod call;
pub mod widget;

use crate::http::route::{Query, write_cursor};
use crate::presence::id::{SiteName, UserId};
use crate::presence::member::{Departure, Kind, MemberKey, Place, State};
use crate::presence::record::Peak;
use crate::presence::site::{Counts, Filter, Order, Site, View};
use crate::presence::time::{Seconds, Timestamp};
use serde::Serialize;

#[derive(Serialize)]
struct Online<'a> {
    site: &'a str,
    topic: Option<&'a str>,
    as_of: String,
    version: u64,
    online_timeout: u32,
    counts: Counts,
    peak: PeakBody,
    users: Vec<Member<'a>>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct PeakBody {
    total: u32,
    at: Option<String>,
}

#[derive(Serialize)]
struct Member<'a> {
    id: String,
    name: Option<&'a str>,
    avatar: Option<&'a str>,
    state: State,
    since: String,
    last_seen: String,
    location: Option<Location<'a>>,
    tabs: usize,
}

#[derive(Serialize, Clone, Copy)]
struct Location<'a> {
    path: &'a str,
    title: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Seen {
    Online,
    Away,
    Offline,
}

#[derive(Serialize)]
struct UserBody<'a> {
    id: &'a str,
    name: Option<&'a str>,
    online: bool,
    state: Seen,
    last_seen: Option<String>,
    since: Option<String>,
    location: Option<Location<'a>>,
}

#[derive(Serialize)]
struct UsersBody<'a> {
    users: Vec<UserBody<'a>>,
}

#[derive(Serialize)]
struct PagesBody<'a> {
    pages: Vec<PageBody<'a>>,
}

#[derive(Serialize)]
struct PageBody<'a> {
    path: &'a str,
    title: Option<&'a str>,
    total: usize,
}

#[derive(Serialize)]
struct CountBody {
    #[serde(flatten)]
    counts: Counts,
    as_of: String,
    /// How often a page has to touch at the least.
    online_timeout: u32,
}

/// What a site says of itself in every list.
pub struct About<'a> {
    /// Its name.
    pub site: &'a SiteName,
    /// For how long after a request somebody is online.
    pub online_timeout: Seconds,
}

/// Writes the answer to a question. `departed` looks up what is kept of a user who is not online.
pub fn answer(
    query: &Query,
    site: &Site,
    about: &About<'_>,
    departed: impl Fn(&UserId) -> Option<Departure>,
) -> Vec<u8> {
    let body = match query {
        Query::Online { limit, after, kind, path, topic } => {
            let filter = Filter {
                path: path.as_ref().map(|path| path.as_str()),
                topic: topic.as_ref().map(|topic| topic.as_str()),
            };
            serde_json::to_vec(&online(site, about, &filter, *kind, *after, *limit))
        }
        Query::Counts => serde_json::to_vec(&CountBody {
            counts: site.counts(),
            as_of: site.now().to_rfc3339(),
            online_timeout: about.online_timeout.0,
        }),
        Query::User(id) => {
            let departure = departed(id);
            serde_json::to_vec(&user(site, id, departure.as_ref()))
        }
        Query::Users(ids) => {
            let departures: Vec<_> = ids.iter().map(departed).collect();
            let users = ids.iter().zip(&departures).map(|(id, departure)| user(site, id, departure.as_ref())).collect();
            serde_json::to_vec(&UsersBody { users })
        }
        Query::Pages(limit) => {
            let pages = site.pages(*limit);
            let pages = pages.iter().map(|page| {
                let Location { path, title } = location(page.place);
                PageBody { path, title, total: page.total }
            });
            serde_json::to_vec(&PagesBody { pages: pages.collect() })
        }
    };
    // Writing these to memory has no way to fail.
    body.unwrap_or_default()
}

fn online<'a>(
    site: &'a Site,
    about: &'a About<'_>,
    filter: &Filter<'a>,
    kind: Kind,
    after: Option<Order>,
    limit: usize,
) -> Online<'a> {
    let (members, next) = site.list(kind, filter, after, limit);
    let everybody = filter.path.is_none() && filter.topic.is_none();
    Online {
        site: about.site.as_str(),
        topic: filter.topic,
        as_of: site.now().to_rfc3339(),
        version: site.version(),
        online_timeout: about.online_timeout.0,
        counts: if everybody { site.counts() } else { site.counts_of(filter) },
        peak: peak(site.peak()),
        users: members.iter().map(member).collect(),
        next_cursor: next.map(write_cursor),
    }
}

fn peak(peak: Option<Peak>) -> PeakBody {
    PeakBody { total: peak.map_or(0, |peak| peak.total), at: peak.map(|peak| peak.at.to_rfc3339()) }
}

fn member<'a>(view: &View<'a>) -> Member<'a> {
    let id = match view.key {
        MemberKey::User(id) => id.as_str().to_owned(),
        MemberKey::Guest(key) | MemberKey::Bot(key) => key.to_string(),
    };
    Member {
        id,
        name: view.profile.and_then(|profile| profile.name.as_ref()).map(|name| name.as_str()),
        avatar: view.profile.and_then(|profile| profile.avatar.as_ref()).map(|avatar| avatar.as_str()),
        state: view.state,
        since: view.since.to_rfc3339(),
        last_seen: view.last_seen.to_rfc3339(),
        location: view.place.map(location),
        tabs: view.tabs,
    }
}

fn location(place: &Place) -> Location<'_> {
    Location { path: place.path.as_str(), title: place.title.as_ref().map(|title| title.as_str()) }
}

fn user<'a>(site: &'a Site, id: &'a UserId, departure: Option<&'a Departure>) -> UserBody<'a> {
    let name = |profile: &'a crate::presence::member::Profile| profile.name.as_ref().map(|name| name.as_str());
    match site.user(id) {
        Some(view) => UserBody {
            id: id.as_str(),
            name: view.profile.and_then(name),
            online: true,
            state: if view.state == State::Away { Seen::Away } else { Seen::Online },
            last_seen: Some(view.last_seen.to_rfc3339()),
            since: Some(view.since.to_rfc3339()),
            location: view.place.map(location),
        },
        None => UserBody {
            id: id.as_str(),
            name: departure.map(|departure| &departure.profile).and_then(name),
            online: false,
            state: Seen::Offline,
            last_seen: departure.map(|departure| departure.last_seen.to_rfc3339()),
            since: None,
            location: departure.and_then(|departure| departure.place.as_ref()).map(location),
        },
    }
}

/// Whether what was kept of a user is still to be told.
pub fn still_kept(last_seen: Timestamp, now: Timestamp, timeout: Seconds) -> bool {
    last_seen.plus(timeout) >= now
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::{Avatar, GuestKey, Name, PagePath, TabId, Title};
    use crate::presence::member::{Profile, Signal, Touch};
    use crate::presence::site::Report;
    use crate::presence::time::Millis;

    const NOON: i64 = 1_795_176_000_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(NOON + millis)
    }

    fn touched(key: MemberKey, profile: Option<Profile>, path: &str) -> Vec<Report> {
        let title = Title::parse("Surf guitars").ok();
        let place = Some(Place { path: PagePath::parse(path).unwrap(), title, topic: None });
        let touch = Touch { key, was: None, profile, place, tab: Some(TabId(1)), state: State::Online };
        vec![Report { age: Millis(0), signal: Signal::Touch(touch) }]
    }

    fn site() -> Site {
        let mut site = Site::new(Seconds(330), at(0));
        let profile =
            Profile { name: Name::parse("Sally").ok(), avatar: Avatar::parse("/s.png").ok(), invisible: false };
        site.apply(at(0), touched(MemberKey::User(UserId::parse("sally").unwrap()), Some(profile), "/forum/42"));
        site.apply(at(1), touched(MemberKey::User(UserId::parse("__proto__").unwrap()), None, "/<script>"));
        site.apply(at(2), touched(MemberKey::Guest(GuestKey(255)), None, "/forum/42"));
        site.apply(at(3), touched(MemberKey::Bot(GuestKey(1)), None, "/"));
        site
    }

    fn told(query: Query) -> String {
        let (name, online_timeout) = (SiteName::parse("example.com").unwrap(), Seconds(300));
        let departed = |user: &UserId| {
            (user.as_str() == "bob").then(|| Departure {
                user: user.clone(),
                last_seen: at(-60_000),
                profile: Profile::default(),
                place: Some(Place { path: PagePath::parse("/a").unwrap(), title: None, topic: None }),
            })
        };
        String::from_utf8(answer(&query, &site(), &About { site: &name, online_timeout }, departed)).unwrap()
    }

    /// What clients rely on, word for word.
    #[test]
    fn answers_unchanged() {
        let user = |id: &str| UserId::parse(id).unwrap();
        let online = |kind, limit| Query::Online { limit, after: None, kind, path: None, topic: None };
        let answers = [
            told(online(Kind::User, 1)),
            told(online(Kind::Guest, 100)),
            told(Query::Counts),
            told(Query::User(user("sally"))),
            told(Query::Users(vec![user("bob"), user("nobody")])),
            told(Query::Pages(100)),
        ];
        assert_eq!(answers.join("\n"), include_str!("../../tests/golden/answers.jsonl").trim_end());
    }

    #[test]
    fn what_is_kept_of_a_user_is_told_until_its_time_is_over() {
        assert!(still_kept(at(0), at(604_800_000), Seconds(604_800)));
        assert!(!still_kept(at(0), at(604_800_001), Seconds(604_800)));
    }
}

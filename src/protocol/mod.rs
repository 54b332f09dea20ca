//! The JSON of the public interface. Field names here are what clients rely on; golden files pin them.

pub mod admin;
pub mod badge;
pub mod call;
pub mod feed;
pub mod live;
pub mod metrics;
pub mod query;
mod viewers;
pub mod widget;

use crate::config::Config;
use crate::http::route::write_cursor;
use crate::identity::access::Scope;
use crate::presence::id::{SiteName, Topic, UserId};
use crate::presence::member::{Departure, KeyRef, Kind, Place, Profile, State, Viewed};
use crate::presence::record::Peak;
use crate::presence::site::{Counts, Filter, Order, Site, Tally, View};
use crate::presence::time::{Seconds, Timestamp};
use query::Query;
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
    /// Told to those alone who may see it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invisible: bool,
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

impl<'a> About<'a> {
    /// What a site of this name and these settings says.
    pub fn of(site: &'a SiteName, config: &Config) -> Self {
        Self { site, online_timeout: config.online_timeout }
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

/// Writes the answer to a question, as far as it is for whoever asks.
pub fn answer(query: &Query, scope: Scope, site: &Site, about: &About<'_>, kept: &impl Kept) -> Vec<u8> {
    let body = match query {
        Query::Online { limit, after, kind, path, topic } => {
            let filter = Filter {
                path: path.as_ref().map(|path| path.as_str()),
                topic: topic.as_ref().map(|topic| topic.as_str()),
                invisible: scope.invisible,
            };
            serde_json::to_vec(&online(site, about, &filter, scope, *kind, *after, *limit))
        }
        Query::Counts => serde_json::to_vec(&CountBody {
            counts: Tally::of(site).counts(&Filter { invisible: scope.invisible, ..Filter::default() }),
            as_of: site.now().to_rfc3339(),
            online_timeout: about.online_timeout.0,
        }),
        Query::User(id) => {
            let departure = kept.departed(id);
            serde_json::to_vec(&user(site, scope, id, departure.as_ref()))
        }
        Query::Users(ids) => {
            let departures: Vec<_> = ids.iter().map(|id| kept.departed(id)).collect();
            let users = ids.iter().zip(&departures);
            let users = users.map(|(id, departure)| user(site, scope, id, departure.as_ref())).collect();
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
        Query::Viewers(topic, limit) => return viewers::answer(topic, *limit, scope, site, kept.viewed(topic)),
        Query::Arrivals(limit) => return feed::answer(*limit, scope, site, kept.departures(*limit)),
    };
    // Writing these to memory has no way to fail.
    body.unwrap_or_default()
}

fn online<'a>(
    site: &'a Site,
    about: &'a About<'_>,
    filter: &Filter<'a>,
    scope: Scope,
    kind: Kind,
    after: Option<Order>,
    limit: usize,
) -> Online<'a> {
    let (members, next) = site.list(kind, filter, after, limit);
    Online {
        site: about.site.as_str(),
        topic: filter.topic,
        as_of: site.now().to_rfc3339(),
        version: site.version(),
        online_timeout: about.online_timeout.0,
        counts: Tally::of(site).counts(filter),
        peak: peak(site.peak()),
        users: members.iter().map(|view| member(view, scope)).collect(),
        next_cursor: next.map(write_cursor),
    }
}

fn peak(peak: Option<Peak>) -> PeakBody {
    PeakBody { total: peak.map_or(0, |peak| peak.total), at: peak.map(|peak| peak.at.to_rfc3339()) }
}

fn member<'a>(view: &View<'a>, scope: Scope) -> Member<'a> {
    let id = match view.key {
        KeyRef::User(id) => id.as_str().to_owned(),
        KeyRef::Guest(key) | KeyRef::Bot(key) => key.to_string(),
    };
    Member {
        id,
        name: view.profile.and_then(name),
        avatar: view.profile.and_then(avatar),
        state: view.state,
        since: view.since.to_rfc3339(),
        last_seen: view.last_seen.to_rfc3339(),
        location: view.place.filter(|_| scope.locations).map(location),
        tabs: view.tabs,
        invisible: view.profile.is_some_and(|profile| profile.invisible),
    }
}

fn name(profile: &Profile) -> Option<&str> {
    profile.name.as_ref().map(|name| name.as_str())
}

fn avatar(profile: &Profile) -> Option<&str> {
    profile.avatar.as_ref().map(|avatar| avatar.as_str())
}

fn location(place: &Place) -> Location<'_> {
    Location { path: place.path.as_str(), title: place.title.as_ref().map(|title| title.as_str()) }
}

fn user<'a>(site: &'a Site, scope: Scope, id: &'a UserId, departure: Option<&'a Departure>) -> UserBody<'a> {
    let place = |place: Option<&'a Place>| place.filter(|_| scope.locations).map(location);
    match site.user(id, scope.invisible) {
        Some(view) => UserBody {
            id: id.as_str(),
            name: view.profile.and_then(name),
            online: true,
            state: if view.state == State::Away { Seen::Away } else { Seen::Online },
            last_seen: Some(view.last_seen.to_rfc3339()),
            since: Some(view.since.to_rfc3339()),
            location: place(view.place),
        },
        None => {
            let kept = departure.filter(|_| scope.last_seen);
            UserBody {
                id: id.as_str(),
                name: departure.map(|departure| &departure.profile).and_then(name),
                online: false,
                state: Seen::Offline,
                last_seen: kept.map(|departure| departure.last_seen.to_rfc3339()),
                since: None,
                location: place(kept.and_then(|departure| departure.place.as_ref())),
            }
        }
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
    use crate::presence::member::{MemberKey, Signal, Touch};
    use crate::presence::reports::Report;
    use crate::presence::time::Millis;

    const NOON: i64 = 1_795_176_000_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(NOON + millis)
    }

    fn touched(key: MemberKey, profile: Option<Profile>, path: &str) -> Vec<Report> {
        let title = Title::parse("Surf guitars").ok();
        let place = Some(Place { path: PagePath::parse(path).unwrap(), title, topic: None });
        let touch = Touch { key, was: None, profile, said: None, place, tab: Some(TabId(1)), state: State::Online };
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

    struct Past;

    impl Kept for Past {
        fn departed(&self, user: &UserId) -> Option<Departure> {
            self.departures(9).into_iter().find(|departure| departure.user == *user)
        }

        fn departures(&self, _: usize) -> Vec<Departure> {
            let place = Some(Place { path: PagePath::parse("/a").unwrap(), title: None, topic: None });
            let user = UserId::parse("bob").unwrap();
            vec![Departure { user, last_seen: at(-60_000), profile: Profile::default(), place, since: at(-90_000) }]
        }

        fn viewed(&self, topic: &Topic) -> Vec<Viewed> {
            let viewed = |viewer, invisible, ago: i64| Viewed {
                topic: topic.clone(),
                viewer,
                at: at(-ago),
                profile: Some(Profile { invisible, ..Profile::default() }),
            };
            let user = |id: &str| MemberKey::User(UserId::parse(id).unwrap());
            vec![
                viewed(user("sally"), false, 1000),
                viewed(MemberKey::Guest(GuestKey(255)), false, 2000),
                viewed(user("bob"), false, 3000),
                viewed(user("ghost"), true, 4000),
            ]
        }
    }

    const EVERYTHING: Scope = Scope { locations: true, last_seen: true, invisible: false };

    fn told(query: Query) -> String {
        told_to(EVERYTHING, query)
    }

    fn told_to(scope: Scope, query: Query) -> String {
        let (name, online_timeout) = (SiteName::parse("example.com").unwrap(), Seconds(300));
        let about = About { site: &name, online_timeout };
        String::from_utf8(answer(&query, scope, &site(), &about, &Past)).unwrap()
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
            told(Query::Viewers(Topic::parse("user:bob").unwrap(), 100)),
            told(Query::Viewers(Topic::parse("thread:7").unwrap(), 1)),
        ];
        assert_eq!(answers.join("\n"), include_str!("../../tests/golden/answers.jsonl").trim_end());
    }

    #[test]
    fn what_somebody_may_not_see_is_left_out() {
        let narrow = Scope { locations: false, last_seen: false, invisible: false };
        let user = |id: &str| Query::User(UserId::parse(id).unwrap());
        let all = Query::Online { limit: 10, after: None, kind: Kind::User, path: None, topic: None };
        for (query, kept_back) in [(all, "/forum/42"), (user("sally"), "/forum/42"), (user("bob"), "2026")] {
            assert!(told(query.clone()).contains(kept_back) && !told_to(narrow, query).contains(kept_back));
        }
    }

    #[test]
    fn what_is_kept_of_a_user_is_told_until_its_time_is_over() {
        assert!(still_kept(at(0), at(604_800_000), Seconds(604_800)));
        assert!(!still_kept(at(0), at(604_800_001), Seconds(604_800)));
    }
}

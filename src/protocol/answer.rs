//! The parts of an answer, put together and written as JSON.
//!
//! A site's members may be spread over several objects. Each tells what it knows ([`Part`]); whoever asked sees one site.

use super::part::{Known, Part, Shown, Told};
use super::query::Query;
use super::viewers::Viewers;
use super::{LocationBody, Member, feed};
use crate::config::Config;
use crate::http::conditions::tag_of;
use crate::http::route::write_cursor;
use crate::identity::access::Scope;
use crate::identity::shown::ShownIds;
use crate::presence::id::SiteName;
use crate::presence::member::{Kind, State};
use crate::presence::pages::fullest;
use crate::presence::record::Peak;
use crate::presence::site::{Counts, Order};
use crate::presence::time::{Seconds, Timestamp};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// What a site says of itself in every list.
pub struct About<'a> {
    /// Its name.
    pub site: &'a SiteName,
    /// For how long after a request somebody is online.
    pub online_timeout: Seconds,
    /// What its guests are called; nobody who is none is listed without.
    pub ids: Option<&'a ShownIds>,
}

impl<'a> About<'a> {
    /// What a site of this name and these settings says.
    pub fn of(site: &'a SiteName, config: &Config, ids: Option<&'a ShownIds>) -> Self {
        Self { site, online_timeout: config.online_timeout, ids }
    }
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What changes whenever the body says something else.
    pub tag: String,
    /// How many users and guests are online.
    pub total: usize,
    /// Whether somebody was left out who is shown to those who may see the invisible.
    pub hidden: bool,
    /// The peak, if it is now and none of several objects knows of it: the first of them is to be told.
    pub new_peak: Option<Peak>,
    /// JSON.
    pub body: Vec<u8>,
}

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
    /// Whether what some object knows is missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

#[derive(Serialize)]
struct PeakBody {
    total: u32,
    at: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Seen {
    Online,
    Away,
    Offline,
}

#[derive(Serialize)]
struct User<'a> {
    id: &'a str,
    name: Option<&'a str>,
    online: bool,
    state: Seen,
    last_seen: Option<String>,
    since: Option<String>,
    location: Option<LocationBody<'a>>,
}

#[derive(Serialize)]
struct Users<'a> {
    users: Vec<User<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

#[derive(Serialize)]
struct Pages<'a> {
    pages: Vec<PageBody<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
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
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

/// Puts together what objects know of the answer to a question, as far as it is for whoever asks. `partial` is whether
/// an object has not said what it knows.
pub fn answer(query: &Query, scope: Scope, about: &About<'_>, parts: Vec<Part<'_>>, partial: bool) -> Answer {
    let as_of = parts.iter().map(|part| part.as_of).min().unwrap_or_default();
    let versions: Vec<u64> = parts.iter().map(|part| part.version).collect();
    let total = parts.iter().map(|part| part.counts.total).sum();
    let hidden = parts.iter().any(|part| part.hidden);
    let mut new_peak = None;
    let told = parts.into_iter().map(|part| part.told);
    let (changes, body) = match query {
        Query::Online { limit, topic, kind, .. } => {
            let List { counts, peak, members, next } = list(told, *limit);
            let next = match (kind, about.ids) {
                (Kind::User, _) => next,
                (Kind::Guest | Kind::Bot, ids) => next.zip(ids).map(|(next, ids)| ids.seal(next)),
            };
            // Of several objects each knows a share of those who are online.
            let now = Peak { total: u32::try_from(total).unwrap_or(u32::MAX), at: as_of };
            new_peak =
                (versions.len() > 1 && !partial && peak.is_none_or(|peak| peak.total < now.total)).then_some(now);
            let peak = new_peak.filter(|now| now.total > 0).or(peak);
            let online = Online {
                site: about.site.as_str(),
                topic: topic.as_ref().map(|topic| topic.as_str()),
                as_of: as_of.to_rfc3339(),
                // Each grows whenever anything changes there, so their sum does.
                version: versions.iter().sum(),
                online_timeout: about.online_timeout.0,
                counts,
                peak: PeakBody { total: peak.map_or(0, |peak| peak.total), at: peak.map(|peak| peak.at.to_rfc3339()) },
                users: members.into_iter().filter_map(|shown| Member::of(shown, about.site, about.ids)).collect(),
                next_cursor: next.map(write_cursor),
                partial,
            };
            (Some(changed_with(&versions)), write(&online))
        }
        Query::Counts => {
            let counts =
                told.filter_map(|told| if let Told::Counts(counts) = told { Some(counts) } else { None }).sum();
            let Counts { users, guests, bots, .. } = counts;
            let (as_of, online_timeout) = (as_of.to_rfc3339(), about.online_timeout.0);
            let body = CountBody { counts, as_of, online_timeout, partial };
            (Some(format!("{users:x}-{guests:x}-{bots:x}")), write(&body))
        }
        Query::User(id) => {
            let unknown = || Known { id: id.as_str(), ..Known::default() };
            let known = users(told).remove(id.as_str()).unwrap_or_else(unknown);
            (None, write(&User::from(known)))
        }
        Query::Users(ids) => {
            let known = users(told);
            let users = ids.iter().filter_map(|id| known.get(id.as_str()).cloned()).map(User::from).collect();
            (None, write(&Users { users, partial }))
        }
        Query::Pages(limit) => {
            let pages = told.flat_map(|told| if let Told::Pages(pages) = told { pages } else { Vec::new() });
            let pages = fullest(pages, *limit);
            let pages = pages.iter().map(|page| PageBody { path: page.path, title: page.title(), total: page.total() });
            (None, write(&Pages { pages: pages.collect(), partial }))
        }
        Query::Viewers(topic, limit) => {
            let told = told.filter_map(|told| if let Told::Viewers(viewers) = told { Some(viewers) } else { None });
            (None, write(&Viewers::together(told, *limit).body(topic, as_of, partial)))
        }
        Query::Arrivals(limit) => {
            let told = told.flat_map(|told| if let Told::Arrivals(arrivals) = told { arrivals } else { Vec::new() });
            // It becomes a feed, which has no room for more.
            (None, write(&feed::latest(told, *limit)))
        }
    };
    let changes = changes.unwrap_or_else(|| tag_of(&body));
    let seen = format!("{}{}{}", u8::from(scope.locations), u8::from(scope.invisible), u8::from(partial));
    let tag = format!("{changes}-{:x}-{seen}", about.online_timeout.0);
    Answer { tag, total, hidden, new_peak, body }
}

/// A page of the list of those who are online.
struct List<'a> {
    counts: Counts,
    peak: Option<Peak>,
    members: Vec<Shown<'a>>,
    next: Option<Order>,
}

fn list<'a>(parts: impl Iterator<Item = Told<'a>>, limit: usize) -> List<'a> {
    let mut list = List { counts: Counts::default(), peak: None, members: Vec::new(), next: None };
    let mut any_more = false;
    for part in parts {
        let Told::Online { counts, peak, members, more } = part else { continue };
        list.counts = [list.counts, counts].into_iter().sum();
        list.peak = [list.peak, peak].into_iter().flatten().max_by_key(|peak| peak.total);
        list.members.extend(members);
        any_more |= more;
    }
    list.members.sort_by_key(|member| Reverse(member.order));
    // While members move from one object to another both know of them.
    let mut known = HashSet::new();
    list.members.retain(|member| known.insert(member.key));
    let more = any_more || list.members.len() > limit;
    list.members.truncate(limit);
    list.next = list.members.last().filter(|_| more).map(|last| last.order);
    list
}

/// What is known of users, by id. While users move from one object to another both know of them, one of them the latest.
fn users<'a>(parts: impl Iterator<Item = Told<'a>>) -> HashMap<&'a str, Known<'a>> {
    let mut all: HashMap<&str, Known<'_>> = HashMap::new();
    let users = parts.flat_map(|part| if let Told::Users(users) = part { users } else { Vec::new() });
    let latest = |known: &Known<'_>| (known.state.is_some(), known.last_seen);
    for known in users {
        if all.get(known.id).is_none_or(|other| latest(other) < latest(&known)) {
            all.insert(known.id, known);
        }
    }
    all
}

impl<'a> From<Known<'a>> for User<'a> {
    fn from(known: Known<'a>) -> Self {
        Self {
            id: known.id,
            name: known.name,
            online: known.state.is_some(),
            state: match known.state {
                Some(State::Online) => Seen::Online,
                Some(State::Away) => Seen::Away,
                None => Seen::Offline,
            },
            last_seen: known.last_seen.map(Timestamp::to_rfc3339),
            since: known.since.map(Timestamp::to_rfc3339),
            location: known.location.map(LocationBody::from),
        }
    }
}

/// What changes whenever one of the versions does. Their sum would not do: other changes elsewhere lead to the same.
fn changed_with(versions: &[u64]) -> String {
    match versions {
        [version] => format!("{version:x}"),
        versions => tag_of(&versions.iter().flat_map(|version| version.to_be_bytes()).collect::<Vec<_>>()),
    }
}

fn write(body: &impl Serialize) -> Vec<u8> {
    // Writing to memory has no way to fail.
    serde_json::to_vec(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::presence::id::{Avatar, GuestKey, Name, PagePath, TabId, Title, Topic, UserId};
    use crate::presence::member::{Departure, MemberKey, Place, Profile, Signal, Touch, Viewed};
    use crate::presence::reports::Report;
    use crate::presence::site::Site;
    use crate::presence::time::Millis;
    use crate::protocol::Kept;
    use crate::protocol::call::read;
    use crate::protocol::part::tell;

    const NOON: i64 = 1_795_176_000_000;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(NOON + millis)
    }

    fn touched(key: MemberKey, profile: Option<Profile>, path: &str) -> Vec<Report> {
        let title = Title::parse("Surf guitars").ok();
        let place = Some(Place { path: PagePath::parse(path).unwrap(), title, topic: None });
        let touch = Touch { profile, place, tab: Some(TabId(1)), ..Touch::of(key) };
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
        let ids = ShownIds::of(&Secret::new(*b"0123456789abcdef"));
        let about = About { site: &name, online_timeout, ids: Some(&ids) };
        let told = tell(&query, scope, &site(), &Past);
        String::from_utf8(answer(&query, scope, &about, vec![read(&told).unwrap()], false).body).unwrap()
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
}

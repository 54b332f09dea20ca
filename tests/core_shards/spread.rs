//! A site that is spread over several objects.

use crate::object::Object;
use crate::{WINDOW, id};
use serde_json::Value;
use whos_online::identity::access::Scope;
use whos_online::presence::id::{PagePath, SiteName, Topic, UserId};
use whos_online::presence::member::{Kind, MemberKey};
use whos_online::presence::reports::Reports;
use whos_online::presence::shards::Shards;
use whos_online::presence::site::Site;
use whos_online::presence::time::Timestamp;
use whos_online::protocol::answer::{About, answer};
use whos_online::protocol::call::read;
use whos_online::protocol::part::tell;
use whos_online::protocol::query::Query;

/// A site over several objects.
pub struct Spread {
    pub shards: Shards,
    pub objects: Vec<Object>,
}

impl Spread {
    pub fn over(count: u32, now: Timestamp) -> Self {
        let shards = Shards::try_from(count).unwrap();
        Self { shards, objects: shards.all().map(|_| Object::new(now)).collect() }
    }

    pub fn hear(&mut self, now: Timestamp, reports: Reports) {
        for (home, reports) in self.shards.split(reports).into_iter().flatten() {
            for (other, claims) in self.shards.claims(&reports) {
                self.carry(other as usize, home as usize, now, |site| site.give_claimed(&claims));
            }
            self.objects[home as usize].hear(now, reports);
        }
    }

    fn carry(&mut self, from: usize, to: usize, now: Timestamp, give: impl FnOnce(&mut Site) -> Vec<u8>) {
        [from, to].into_iter().for_each(|number| self.objects[number].site.hear(now, Vec::new()));
        let packed = give(&mut self.objects[from].site);
        self.objects[to].site.adopt(&packed).unwrap();
        self.objects[to].store();
        self.objects[from].store();
    }

    pub fn advance(&mut self, now: Timestamp) {
        self.hear_each(now);
        self.objects.iter_mut().for_each(Object::store);
    }

    fn hear_each(&mut self, now: Timestamp) {
        self.objects.iter_mut().for_each(|object| object.site.hear(now, Vec::new()));
    }

    pub fn restart(&mut self, now: Timestamp) {
        (0..self.objects.len()).for_each(|number| self.restart_one(number, now));
    }

    pub fn restart_one(&mut self, number: usize, now: Timestamp) {
        let shards = self.shards;
        self.objects[number].restart(now, |key| shards.home(key) as usize == number);
    }

    /// Spreads it over another number of objects, which are started anew for it.
    pub fn over_again(&mut self, count: u32, now: Timestamp) {
        self.shards = Shards::try_from(count).unwrap();
        while self.objects.len() < count as usize {
            self.objects.push(Object::new(now));
        }
        self.objects.iter_mut().for_each(|object| object.restart(now, |_| true));
        let (all, shards) = (0..self.objects.len(), self.shards);
        let ways = all.flat_map(|from| shards.all().map(move |to| (from, to as usize)));
        for (from, to) in ways.filter(|(from, to)| from != to) {
            loop {
                let keys = self.objects[from].site.strangers(self.shards, to as u32, 3);
                if keys.is_empty() {
                    break;
                }
                self.carry(from, to, now, |site| {
                    let packed = site.pack(&keys);
                    site.give(&keys);
                    packed
                });
            }
            let moves = |key: &MemberKey| shards.home(key.borrow()) as usize == to;
            let user = |user: &str| MemberKey::User(UserId::parse(user).unwrap());
            let outcome = self.objects[from].site.whole_outcome();
            self.objects[from].keep(outcome);
            let departures: Vec<_> = self.objects[from].departures.extract_if(.., |id, _| moves(&user(id))).collect();
            departures.into_iter().for_each(|(_, departure)| self.objects[to].keep_departure(departure));
            let views: Vec<_> = self.objects[from].views.extract_if(.., |(_, viewer, _), _| moves(viewer)).collect();
            views.into_iter().for_each(|(_, view)| self.objects[to].keep_view(view));
            let hidden: Vec<_> = self.objects[from].hidden.extract_if(.., |id, _| moves(&user(id))).collect();
            let known = hidden.iter().map(|(id, since)| (UserId::parse(id.as_str()).unwrap(), *since));
            self.objects[to].site.know_hidden(known.collect::<Vec<_>>());
            self.objects[to].hidden.extend(hidden);
            let revoked: Vec<_> = self.objects[from]
                .revoked
                .extract_if(.., |revocation| shards.home_of(revocation.user) as usize == to)
                .collect();
            self.objects[to].site.know_revoked(revoked.iter().copied());
            self.objects[to].revoked.extend(revoked);
        }
        self.objects.truncate(count as usize);
    }

    /// What is told of a question, but for what tells of the objects themselves.
    pub fn told(&self, query: &Query, invisible: bool) -> Value {
        let scope = Scope { locations: true, last_seen: true, invisible };
        let name = SiteName::parse("example.com").unwrap();
        let about = About { site: &name, online_timeout: WINDOW };
        let told: Vec<_> = self.objects.iter().map(|object| tell(query, scope, &object.site, object)).collect();
        let answer = answer(query, scope, &about, told.iter().map(|told| read(told).unwrap()).collect(), false);
        let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
        if let Some(body) = body.as_object_mut() {
            // Versions and the peak are of objects; the rest of the list is the site's.
            body.remove("version");
            body.remove("peak");
        }
        body
    }

    /// The whole list, page by page.
    pub fn listed(&self, kind: Kind, limit: usize) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let told = self.told(&Query::Online { limit, after, kind, path: None, topic: None }, false);
            all.extend(told["users"].as_array().unwrap().iter().cloned());
            let Some(cursor) = told["next_cursor"].as_str() else { return all };
            let (at, digest) = cursor.split_once('.').unwrap();
            let at = Timestamp::from_millis(i64::from_str_radix(at, 16).unwrap());
            after = Some((at, u64::from_str_radix(digest, 16).unwrap()));
        }
    }

    pub fn everything(&self) -> Vec<Value> {
        let path = PagePath::parse("/p1").ok();
        let topics = [Topic::parse("t1").unwrap(), Topic::parse("user:u2").unwrap()];
        let online = |kind, path, topic| Query::Online { limit: 1000, after: None, kind, path, topic };
        let mut queries = vec![
            online(Kind::User, None, None),
            online(Kind::Guest, None, None),
            online(Kind::Bot, None, None),
            online(Kind::User, path, None),
            Query::Counts,
            Query::Users((0..8).map(id).collect()),
            Query::Pages(3),
            Query::Arrivals(50),
        ];
        queries.extend((0..8).map(|number| Query::User(id(number))));
        queries.extend(topics.iter().map(|topic| online(Kind::User, None, Some(topic.clone()))));
        queries.extend(topics.into_iter().map(|topic| Query::Viewers(topic, 2)));
        queries.iter().flat_map(|query| [false, true].map(|invisible| self.told(query, invisible))).collect()
    }
}

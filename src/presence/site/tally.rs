//! How many are where.
//!
//! Those who watch a page each want to know of theirs. However many pages are watched, the members are gone through
//! once for all of them.

use super::{Counts, Filter, Site};
use crate::presence::member::Kind;
use crate::presence::roster::Member;
use std::cell::OnceCell;
use std::collections::HashMap;

/// What was counted of a site; each thing when it is first asked for.
pub struct Tally<'a> {
    /// The site.
    pub site: &'a Site,
    by_path: OnceCell<HashMap<&'a str, Numbers>>,
    by_topic: OnceCell<HashMap<&'a str, Numbers>>,
}

/// How many of each sort.
#[derive(Clone, Copy, Default)]
struct Numbers {
    users: usize,
    invisible: usize,
    guests: usize,
    bots: usize,
}

impl<'a> Tally<'a> {
    /// Of a site of which nothing was counted yet.
    pub fn of(site: &'a Site) -> Self {
        Self { site, by_path: OnceCell::new(), by_topic: OnceCell::new() }
    }

    /// Counts of those whom a filter lets through.
    pub fn counts(&self, filter: &Filter<'_>) -> Counts {
        let site = self.site;
        let numbers = match (filter.path, filter.topic) {
            (None, None) => Numbers {
                users: site.users.len().saturating_sub(site.invisible),
                invisible: site.invisible,
                guests: site.guests.len(),
                bots: site.bots.len(),
            },
            (Some(path), None) => *self.by_path().get(path).unwrap_or(&Numbers::default()),
            (None, Some(topic)) => *self.by_topic().get(topic).unwrap_or(&Numbers::default()),
            (Some(_), Some(_)) => {
                let mut numbers = Numbers::default();
                site.members().filter(|member| site.matches(member, filter)).for_each(|member| numbers.add(member));
                numbers
            }
        };
        numbers.counts(filter.invisible)
    }

    fn by_path(&self) -> &HashMap<&'a str, Numbers> {
        self.by_path.get_or_init(|| {
            let mut all: HashMap<&str, Numbers> = HashMap::new();
            for member in self.site.members() {
                let place = member.place.and_then(|id| self.site.places.get(id));
                place.into_iter().for_each(|place| all.entry(place.path.as_str()).or_default().add(member));
            }
            all
        })
    }

    fn by_topic(&self) -> &HashMap<&'a str, Numbers> {
        self.by_topic.get_or_init(|| {
            let mut all: HashMap<&str, Numbers> = HashMap::new();
            for member in self.site.members() {
                let mut topics: Vec<_> = self.site.looks(member).map(|(topic, _)| topic.as_str()).collect();
                topics.sort_unstable();
                topics.dedup();
                topics.into_iter().for_each(|topic| all.entry(topic).or_default().add(member));
            }
            all
        })
    }
}

impl Numbers {
    fn add(&mut self, member: &Member) {
        let of_its_sort = match member.key.kind() {
            Kind::User if member.invisible() => &mut self.invisible,
            Kind::User => &mut self.users,
            Kind::Guest => &mut self.guests,
            Kind::Bot => &mut self.bots,
        };
        *of_its_sort += 1;
    }

    /// As they are told: invisible users are guests, but to those who may see them.
    fn counts(self, see_invisible: bool) -> Counts {
        let Self { users, invisible, guests, bots } = self;
        let (users, guests) = if see_invisible { (users + invisible, guests) } else { (users, guests + invisible) };
        Counts { total: users + guests, users, guests, bots }
    }
}

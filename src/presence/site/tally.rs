//! How many are where.
//!
//! Those who watch a page each want to know of theirs. However many pages are watched, the members are gone through
//! once for all of them.

use super::{Counts, Filter, Site};
use crate::presence::places::Numbers;
use std::cell::OnceCell;
use std::collections::HashMap;

/// What was counted of a site; each thing when it is first asked for.
pub struct Tally<'a> {
    /// The site.
    pub site: &'a Site,
    by_path: OnceCell<HashMap<&'a str, Numbers>>,
    by_topic: OnceCell<HashMap<&'a str, Numbers>>,
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
            (None, None) => site.numbers(),
            (Some(path), None) => *self.by_path().get(path).unwrap_or(&Numbers::default()),
            (None, Some(topic)) => *self.by_topic().get(topic).unwrap_or(&Numbers::default()),
            (Some(_), Some(_)) => {
                let mut numbers = Numbers::default();
                let here = site.members().filter(|member| site.matches(member, filter));
                here.for_each(|member| *numbers.of(member.sort()) += 1);
                numbers
            }
        };
        // Invisible users are guests, but to those who may see them.
        let Numbers { users, invisible, guests, bots } = numbers;
        let (users, guests) = if filter.invisible { (users + invisible, guests) } else { (users, guests + invisible) };
        Counts { total: users + guests, users, guests, bots }
    }

    fn by_path(&self) -> &HashMap<&'a str, Numbers> {
        self.by_path.get_or_init(|| self.site.places.by_path())
    }

    fn by_topic(&self) -> &HashMap<&'a str, Numbers> {
        self.by_topic.get_or_init(|| {
            let mut all: HashMap<&str, Numbers> = HashMap::new();
            // Where no place is about anything, nobody has to be looked at.
            for member in self.site.members().filter(|_| self.site.places.have_topics()) {
                let mut topics: Vec<_> = self.site.looks(member).map(|(topic, _)| topic.as_str()).collect();
                topics.sort_unstable();
                topics.dedup();
                topics.into_iter().for_each(|topic| *all.entry(topic).or_default().of(member.sort()) += 1);
            }
            all
        })
    }
}

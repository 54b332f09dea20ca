//! How many people are on which page, and what it is called.

use super::id::ClientId;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A page with people on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<'a> {
    /// Its path.
    pub path: &'a str,
    /// How many users and guests are there.
    pub people: usize,
    /// What it was called, in no order.
    #[serde(borrow)]
    pub titles: Vec<Titled<'a>>,
}

/// A title that a page was given by somebody who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Titled<'a> {
    /// The title.
    pub title: &'a str,
    /// How many users and guests say so.
    pub total: usize,
    /// Whose word that is.
    pub word: Word,
}

/// Whose word a title is. Anybody may make up a title, so that of one guest is not told to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Word {
    /// That of the guests of one client.
    Client(u32),
    /// That of guests of several clients.
    Clients,
    /// A user's.
    User,
}

impl Word {
    /// That of a guest of a client.
    pub fn of(client: ClientId) -> Self {
        Self::Client(client.0)
    }

    /// What two say together.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Client(one), Self::Client(other)) if one != other => Self::Clients,
            (one, other) => one.max(other),
        }
    }
}

impl<'a> Page<'a> {
    /// How many users and guests are there.
    pub fn total(&self) -> usize {
        self.people
    }

    /// What it is called to others: as most of its users say, else as most guests of several clients do.
    pub fn title(&self) -> Option<&'a str> {
        let good = self.titles.iter().filter(|titled| titled.word >= Word::Clients);
        good.max_by_key(|titled| (titled.word, titled.total, Reverse(titled.title))).map(|titled| titled.title)
    }
}

/// Each title once.
pub fn together<'a>(titles: impl IntoIterator<Item = Titled<'a>>) -> Vec<Titled<'a>> {
    let mut all: BTreeMap<&str, Titled<'_>> = BTreeMap::new();
    for titled in titles {
        let known = all.entry(titled.title).or_insert(Titled { total: 0, ..titled });
        known.total += titled.total;
        known.word = known.word.and(titled.word);
    }
    all.into_values().collect()
}

/// The pages with the most people on them, then by path, at most `limit`. What several tell of a page is added up.
pub fn fullest<'a>(told: impl IntoIterator<Item = Page<'a>>, limit: usize) -> Vec<Page<'a>> {
    let mut all: BTreeMap<&str, Page<'_>> = BTreeMap::new();
    for page in told {
        let known = all.entry(page.path).or_insert(Page { path: page.path, people: 0, titles: Vec::new() });
        known.people += page.people;
        known.titles.extend(page.titles);
    }
    let mut pages: Vec<_> = all.into_values().collect();
    pages.sort_by_key(|page| Reverse(page.people));
    pages.truncate(limit);
    pages.iter_mut().for_each(|page| page.titles = together(std::mem::take(&mut page.titles)));
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titled(title: &str, total: usize, word: Word) -> Titled<'_> {
        Titled { title, total, word }
    }

    #[test]
    fn a_page_is_told_once_with_all_who_are_there() {
        let page = |path, people, titles: &[Titled<'static>]| Page { path, people, titles: titles.to_vec() };
        let told = [
            page("/a", 3, &[]),
            page("/b", 2, &[titled("New B", 2, Word::User)]),
            page("/a", 1, &[titled("A", 1, Word::User)]),
            page("/b", 3, &[titled("B", 2, Word::User), titled("New B", 1, Word::Client(1))]),
            page("/c", 1, &[]),
        ];
        let a = page("/a", 4, &[titled("A", 1, Word::User)]);
        let b = page("/b", 5, &[titled("B", 2, Word::User), titled("New B", 3, Word::User)]);
        assert_eq!((a.title(), b.title()), (Some("A"), Some("New B")));
        assert_eq!(fullest(told.clone(), 2), [b, a]);
        let (some, rest) = told.split_at(3);
        let apart = [some, rest].map(|part| fullest(part.iter().cloned(), 9)).into_iter().flatten();
        assert_eq!(fullest(apart, 9), fullest(told, 9), "wherever they are counted");
    }

    #[test]
    fn a_guest_alone_calls_a_page_nothing_and_several_clients_agree_wherever_they_are_counted() {
        let page = |titles: &[Titled<'static>]| Page { path: "/", people: 99, titles: titles.to_vec() };
        let title = |pages: Vec<Page<'static>>| fullest(pages, 9)[0].title();
        let (one, other) = (titled("Free beer", 60, Word::Client(1)), titled("Free beer", 1, Word::Client(2)));
        assert_eq!(title(vec![page(&[one]), page(&[one])]), None);
        assert_eq!(title(vec![page(&[one]), page(&[other])]), Some("Free beer"));
        let (users, several) = (titled("Forum", 1, Word::User), titled("Free beer", 61, Word::Clients));
        assert_eq!(title(vec![page(&[users]), page(&[several])]), Some("Forum"), "a user's word counts for more");
    }
}

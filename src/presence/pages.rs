//! How many people are on which page.

use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A page with people on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<'a> {
    /// Its path.
    pub path: &'a str,
    /// How many users and guests see which title, where one was told; most of them first.
    #[serde(borrow)]
    pub titles: Vec<(Option<&'a str>, usize)>,
}

impl<'a> Page<'a> {
    /// How many users and guests are there.
    pub fn total(&self) -> usize {
        self.titles.iter().map(|(_, here)| here).sum()
    }

    /// The title that most of them see; any tells more than none.
    pub fn title(&self) -> Option<&'a str> {
        self.titles.iter().find_map(|(title, _)| *title)
    }
}

/// The pages with the most people on them, then by path, at most `limit`. What is told of a page several times, as people
/// see another title there or are counted elsewhere, is added up.
pub fn fullest<'a>(told: impl IntoIterator<Item = Page<'a>>, limit: usize) -> Vec<Page<'a>> {
    let mut all: BTreeMap<&str, BTreeMap<Option<&str>, usize>> = BTreeMap::new();
    for page in told {
        let titles = all.entry(page.path).or_default();
        page.titles.into_iter().for_each(|(title, here)| *titles.entry(title).or_default() += here);
    }
    let pages = all.into_iter().map(|(path, titles)| {
        let mut titles: Vec<_> = titles.into_iter().collect();
        titles.sort_by_key(|(_, here)| Reverse(*here));
        Page { path, titles }
    });
    let mut pages: Vec<_> = pages.collect();
    pages.sort_by_key(|page| Reverse(page.total()));
    pages.truncate(limit);
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_once_with_all_who_are_there() {
        let page = |path, titles: &[(Option<&'static str>, usize)]| Page { path, titles: titles.to_vec() };
        let told = [
            page("/a", &[(None, 3)]),
            page("/b", &[(Some("New B"), 2)]),
            page("/a", &[(Some("A"), 1)]),
            page("/b", &[(Some("B"), 2), (Some("New B"), 1)]),
            page("/c", &[(None, 1)]),
        ];
        let (a, b) = (page("/a", &[(None, 3), (Some("A"), 1)]), page("/b", &[(Some("New B"), 3), (Some("B"), 2)]));
        assert_eq!((a.total(), a.title(), b.title()), (4, Some("A"), Some("New B")));
        assert_eq!(fullest(told.clone(), 2), [b, a]);
        let (some, rest) = told.split_at(3);
        let apart = [some, rest].map(|part| fullest(part.iter().cloned(), 9)).into_iter().flatten();
        assert_eq!(fullest(apart, 9), fullest(told, 9), "wherever they are counted");
    }
}

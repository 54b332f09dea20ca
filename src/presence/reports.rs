//! What happened, as it goes from the recorders to the site.

use super::member::{Place, Signal};
use super::time::Millis;
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// A signal, with how long ago it happened. Ages cross between machines rather than times, so that it does not
/// matter whose clock is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report<P = Place> {
    /// How long before the report was sent.
    pub age: Millis,
    /// What happened.
    pub signal: Signal<P>,
}

/// Several of them, each place told once: many people are on the same page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    /// The places.
    pub places: Vec<Place>,
    /// The reports, in the order they were made, which name places by number. One that names a place that there is not
    /// tells no place.
    pub list: Vec<Report<u32>>,
}

impl From<Vec<Report>> for Reports {
    fn from(reports: Vec<Report>) -> Self {
        reports.into_iter().collect()
    }
}

impl FromIterator<Report> for Reports {
    fn from_iter<I: IntoIterator<Item = Report>>(reports: I) -> Self {
        let reports = reports.into_iter();
        let mut numbers: HashMap<Place, u32, FixedState> = HashMap::default();
        let mut list = Vec::with_capacity(reports.size_hint().0);
        for Report { age, signal } in reports {
            let next = numbers.len() as u32;
            list.push(Report { age, signal: signal.at(|place| Some(*numbers.entry(place).or_insert(next))) });
        }
        let mut places: Vec<_> = numbers.into_iter().collect();
        places.sort_unstable_by_key(|(_, number)| *number);
        Self { places: places.into_iter().map(|(place, _)| place).collect(), list }
    }
}

impl From<Reports> for Vec<Report> {
    fn from(Reports { places, list }: Reports) -> Self {
        let place = |number: u32| places.get(number as usize).cloned();
        list.into_iter().map(|Report { age, signal }| Report { age, signal: signal.at(place) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::{GuestKey, PagePath, UserId};
    use crate::presence::member::{MemberKey, Touch};

    #[test]
    fn each_place_is_told_once_and_nothing_is_lost() {
        let touch = |guest, path: Option<&str>| {
            let key = MemberKey::Guest(GuestKey(guest));
            let place = path.map(|path| Place { path: PagePath::parse(path).unwrap(), title: None, topic: None });
            let touch = Touch { place, ..Touch::of(key) };
            Report { age: Millis(guest as u32), signal: Signal::Touch(touch) }
        };
        let out =
            Report { age: Millis(0), signal: Signal::SignOut { user: UserId::parse("sally").unwrap(), device: None } };
        let told = vec![touch(1, Some("/b")), touch(2, Some("/a")), touch(3, None), out, touch(4, Some("/b"))];
        let mut reports = Reports::from(told.clone());
        let paths: Vec<_> = reports.places.iter().map(|place| place.path.as_str()).collect();
        assert_eq!((paths, reports.list.len()), (vec!["/b", "/a"], 5));
        assert_eq!(Vec::from(reports.clone()), told);
        reports.places.truncate(1);
        let cut = Vec::from(reports);
        assert_eq!(cut[1], touch(2, None), "a place that there is not is none");
    }
}

//! Which versions of a site's parts it was that somebody was told of as one.

use std::collections::VecDeque;

/// How many are remembered: at four tellings a second, four minutes. Who was told of an earlier one is told everything.
const MAX: usize = 1000;

/// The moments of which anybody was told, as the versions that the parts had.
#[derive(Debug, Default)]
pub struct Moments(VecDeque<(u64, Vec<u64>)>);

impl Moments {
    /// Notes that somebody is told of these versions of the parts, as their sum.
    pub fn note(&mut self, versions: Vec<u64>) {
        let sum = versions.iter().sum();
        // Where a part was lost and found again, its versions may start over: what was told before then is no more.
        while self.0.back().is_some_and(|(last, known)| *last >= sum && *known != versions) {
            self.0.pop_back();
        }
        if self.0.back().is_none_or(|(last, _)| *last < sum) {
            self.0.push_back((sum, versions));
        }
        if self.0.len() > MAX {
            self.0.pop_front();
        }
    }

    /// The versions that the parts had when somebody was told of this one.
    pub fn at(&self, version: u64) -> Option<&[u64]> {
        let index = self.0.partition_point(|(sum, _)| *sum < version);
        self.0.get(index).filter(|(sum, _)| *sum == version).map(|(_, versions)| versions.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_that_was_told_and_no_other() {
        let mut moments = Moments::default();
        for versions in [[1, 2], [1, 2], [2, 2], [2, 5]] {
            moments.note(versions.to_vec());
        }
        let all = [3, 4, 5, 7].map(|version| moments.at(version));
        assert_eq!(all, [Some([1, 2].as_slice()), Some(&[2, 2]), None, Some(&[2, 5])]);
        moments.note(vec![2, 3]);
        assert_eq!(
            [5, 7].map(|version| moments.at(version)),
            [Some([2, 3].as_slice()), None],
            "a part has started over"
        );
        (0..2000).for_each(|version| moments.note(vec![10, version]));
        assert_eq!((moments.0.len(), moments.at(5)), (MAX, None));
    }
}

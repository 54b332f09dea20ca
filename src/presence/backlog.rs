//! What those who watch have not read yet, and who of them is to go where it is too much together.

use super::budget::{OBJECT_UNREAD, Payer, VISITOR_UNREAD};
use super::watchers::WatcherId;
use std::cmp::Reverse;
use std::collections::HashMap;

/// What is unread by each.
#[derive(Debug, Default)]
pub struct Backlog {
    list: Vec<(usize, Payer, WatcherId)>,
    unread: usize,
}

impl Backlog {
    /// Notes how many bytes wait to be read by somebody.
    pub fn note(&mut self, payer: Payer, id: WatcherId, unread: usize) {
        self.unread = self.unread.saturating_add(unread);
        self.list.push((unread, payer, id));
    }

    /// How many bytes wait to be read by all of them.
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// Who is to go, those first for whom most waits, until no client and no user has more unread than they may, nor all of them
    /// together.
    pub fn too_slow(mut self) -> Vec<WatcherId> {
        let mut left: HashMap<Payer, usize> = HashMap::new();
        // Most often nobody has anything to speak of unread.
        if self.unread <= VISITOR_UNREAD {
            return Vec::new();
        }
        self.list.iter().for_each(|(unread, payer, _)| *left.entry(*payer).or_default() += unread);
        self.list.sort_unstable_by_key(|(unread, ..)| Reverse(*unread));
        let mut gone = Vec::new();
        for (unread, payer, id) in self.list {
            let theirs = left.entry(payer).or_default();
            if *theirs > VISITOR_UNREAD || self.unread > OBJECT_UNREAD {
                *theirs = theirs.saturating_sub(unread);
                self.unread = self.unread.saturating_sub(unread);
                gone.push(id);
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::ClientId;

    const MB: usize = 1 << 20;

    fn backlog(list: &[(u32, usize)]) -> Backlog {
        let mut backlog = Backlog::default();
        (1..).zip(list).for_each(|(id, (client, unread))| backlog.note(Payer::Client(ClientId(*client)), id, *unread));
        backlog
    }

    #[test]
    fn who_has_least_unread_of_those_who_have_too_much_together_stays() {
        assert_eq!(backlog(&[(1, MB), (1, 2 * MB), (2, MB)]).too_slow(), Vec::<WatcherId>::new());
        assert_eq!(backlog(&[(1, MB), (1, 4 * MB), (2, 3 * MB), (1, 2 * MB)]).too_slow(), [2]);
        assert_eq!(backlog(&[(1, MB), (1, 4 * MB), (1, 5 * MB)]).too_slow(), [3, 2]);
    }

    #[test]
    fn of_all_the_slowest_go_until_the_object_has_room() {
        let many: Vec<_> = (0..20).map(|client| (client, MB + client as usize)).collect();
        assert_eq!(backlog(&many).unread(), 20 * MB + 190);
        assert_eq!(backlog(&many).too_slow(), [20, 19, 18, 17, 16]);
        let fast: Vec<_> = (0..30_000).map(|client| (client, 200)).collect();
        assert!(backlog(&fast).too_slow().is_empty(), "a little each is not yet much");
    }
}

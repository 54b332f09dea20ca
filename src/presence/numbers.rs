//! How many members of each sort are somewhere.

use super::compact::Sort;

/// How many of each sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    pub users: usize,
    pub invisible: usize,
    pub guests: usize,
    pub bots: usize,
}

impl Numbers {
    pub fn of(&mut self, sort: Sort) -> &mut usize {
        match sort {
            Sort::User => &mut self.users,
            Sort::Invisible => &mut self.invisible,
            Sort::Guest => &mut self.guests,
            Sort::Bot => &mut self.bots,
        }
    }

    /// Users and guests.
    pub fn people(&self) -> usize {
        self.users + self.invisible + self.guests
    }

    pub fn add(&mut self, other: Self) {
        let Self { users, invisible, guests, bots } = other;
        self.users += users;
        self.invisible += invisible;
        self.guests += guests;
        self.bots += bots;
    }
}

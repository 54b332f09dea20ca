//! What one of a site's objects hands over to another, when there are more of them than before, or fewer.
//!
//! The one whose they are now takes them in, a load at a time, and with the next one says what it has: only then the other
//! lets go of it. So nobody and nothing is lost, whichever of them is killed.

use crate::presence::id::UserId;
use crate::presence::member::{Departure, MemberKey};
use crate::presence::shards::Shards;
use serde::{Deserialize, Serialize};

/// How many members make a load, and how many rows are looked through for one.
pub const LOAD: usize = 1000;

/// A wish for the next load.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Over how many objects the site is spread from now on.
    pub shards: Shards,
    /// Who wishes for what is theirs.
    pub home: u32,
    /// What was taken in and is stored.
    pub taken: Taken,
    /// From where on to look.
    pub from: Place,
}

/// From where on to look for what is somebody else's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Among those who are online.
    Online,
    /// In the register of those who went, from this place on.
    Register(i64),
    /// In a table, after the row of this key.
    Table(Table, String),
    /// That was all.
    #[default]
    Nowhere,
}

/// What else is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Table {
    /// Who has looked at what, by topic and viewer.
    Viewers,
    /// Who hides, by their ids.
    Hidden,
    /// Since when users' tokens are worth nothing, by digests of their ids and by devices.
    Revoked,
}

impl Table {
    /// The one to look through when this one was.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Viewers => Some(Self::Hidden),
            Self::Hidden => Some(Self::Revoked),
            Self::Revoked => None,
        }
    }
}

/// A row of one of these tables, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Of which.
    pub table: Table,
    /// By what it is known.
    pub key: String,
    /// What it says.
    pub data: Vec<u8>,
}

/// By what is known what was taken in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Members.
    pub members: Vec<MemberKey>,
    /// Users who went.
    pub gone: Vec<UserId>,
    /// Rows.
    pub rows: Vec<(Table, String)>,
}

/// A load.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Members, packed; nothing, if there are none.
    pub packed: Vec<u8>,
    /// Who they are.
    pub members: Vec<MemberKey>,
    /// Users who went.
    pub gone: Vec<Departure>,
    /// Rows.
    pub rows: Vec<Row>,
    /// Where to look next.
    pub next: Place,
}

impl Taken {
    /// Whether it is nothing.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.gone.is_empty() && self.rows.is_empty()
    }
}

impl Load {
    /// What is to be told when it was taken in.
    pub fn taken(self) -> Taken {
        let gone = self.gone.into_iter().map(|gone| gone.user).collect();
        let rows = self.rows.into_iter().map(|row| (row.table, row.key)).collect();
        Taken { members: self.members, gone, rows }
    }
}

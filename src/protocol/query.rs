//! The questions about presence that can be asked.

use crate::identity::access::Subject;
use crate::presence::id::{PagePath, Topic, UserId};
use crate::presence::member::Kind;
use crate::presence::site::Order;
use serde::{Deserialize, Serialize};

/// A question about presence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Query {
    /// Who is online.
    Online {
        /// How many members at the most.
        limit: usize,
        /// Where the page begins.
        after: Option<Order>,
        /// Which members.
        kind: Kind,
        /// Only those on this page.
        path: Option<PagePath>,
        /// Only those on a page about this.
        topic: Option<Topic>,
    },
    /// How many are online.
    Counts,
    /// One user.
    User(UserId),
    /// Several users, in this order.
    Users(Vec<UserId>),
    /// Where people are, at most so many pages.
    Pages(usize),
    /// Who has looked at a topic, at most so many users.
    Viewers(Topic, usize),
    /// Who came when, at most so many users.
    Arrivals(usize),
}

impl Query {
    /// What the answer tells: all of this has to be allowed.
    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Online { limit, path, topic, .. } => {
                let mut subjects = vec![Subject::Count];
                subjects.extend((*limit > 0).then_some(Subject::Names));
                // Who asks who is on a page is told where they are.
                subjects.extend((path.is_some() || topic.is_some()).then_some(Subject::Locations));
                subjects
            }
            Self::Counts => vec![Subject::Count],
            Self::User(_) | Self::Users(_) | Self::Arrivals(_) => vec![Subject::Names],
            Self::Pages(_) => vec![Subject::Count, Subject::Locations],
            Self::Viewers(..) => Vec::new(),
        }
    }

    /// What the answer tells besides, where that is allowed.
    pub fn details(&self) -> &'static [Subject] {
        match self {
            Self::Online { .. } => &[Subject::Locations],
            Self::User(_) | Self::Users(_) => &[Subject::Locations, Subject::LastSeen],
            Self::Arrivals(_) => &[Subject::LastSeen],
            Self::Counts | Self::Pages(_) | Self::Viewers(..) => &[],
        }
    }
}

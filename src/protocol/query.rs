//! The questions about presence that can be asked.

use crate::identity::access::Subject;
use crate::identity::shown::ShownIds;
use crate::presence::id::{PagePath, Topic, UserId};
use crate::presence::member::{Kind, MemberKey};
use crate::presence::shards::Shards;
use crate::presence::site::Order;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most members on a page of a list.
pub const MAX_LIMIT: usize = 1000;
/// How many there are on one where nothing is said.
pub const DEFAULT_LIMIT: usize = 100;

/// A question about presence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Query {
    /// Who is online.
    Online {
        /// How many members at the most.
        limit: usize,
        /// Where the page begins; sealed by [`ShownIds`] where guests are listed, until it is [`opened`](Query::opened).
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

/// The most pages that one of several objects tells of: the fullest of all may be the fullest of none, so each tells all of
/// its own, up to so many.
const MAX_PAGES: usize = 8000;

impl Query {
    /// The question that is asked in the stead of this one: its answer is cut to what is wanted, so that questions that differ in
    /// how much they want cost no more than one.
    pub fn widened(&self) -> Self {
        // Most want no more than the usual number, which is a tenth of the work.
        let wider = |limit: usize| [0, DEFAULT_LIMIT].into_iter().find(|step| limit <= *step).unwrap_or(MAX_LIMIT);
        match self.clone() {
            Self::Online { limit, after, kind, path, topic } => {
                Self::Online { limit: wider(limit), after, kind, path, topic }
            }
            Self::Pages(_) => Self::Pages(MAX_LIMIT),
            Self::Viewers(topic, _) => Self::Viewers(topic, MAX_LIMIT),
            other @ (Self::Counts | Self::User(_) | Self::Users(_) | Self::Arrivals(_)) => other,
        }
    }

    /// Whether an object looks through its members or its rows to answer it.
    pub fn is_search(&self) -> bool {
        match self {
            Self::Online { after, path, topic, .. } => after.is_some() || path.is_some() || topic.is_some(),
            Self::Pages(_) | Self::Viewers(..) => true,
            Self::Counts | Self::User(_) | Self::Users(_) | Self::Arrivals(_) => false,
        }
    }

    /// What each of a site's objects is to be asked.
    pub fn parts(&self, shards: Shards) -> Vec<(u32, Self)> {
        let home = |user: &UserId| shards.home(MemberKey::User(user));
        match self {
            Self::User(user) => vec![(home(user), self.clone())],
            Self::Users(users) => {
                let mut parts: BTreeMap<u32, Vec<UserId>> = BTreeMap::new();
                users.iter().for_each(|user| parts.entry(home(user)).or_default().push(user.clone()));
                parts.into_iter().map(|(number, users)| (number, Self::Users(users))).collect()
            }
            Self::Pages(_) if shards > Shards::ONE => {
                shards.all().map(|number| (number, Self::Pages(MAX_PAGES))).collect()
            }
            Self::Online { .. } | Self::Counts | Self::Pages(_) | Self::Viewers(..) | Self::Arrivals(_) => {
                shards.all().map(|number| (number, self.clone())).collect()
            }
        }
    }

    /// Whether guests or bots are listed, whose keys are shown to nobody as they are.
    pub fn lists_guests(&self) -> bool {
        matches!(self, Self::Online { limit, kind, .. } if *limit > 0 && *kind != Kind::User)
    }

    /// The same with a cursor that clients cannot read, read.
    pub fn opened(self, ids: &ShownIds) -> Self {
        match self {
            Self::Online { limit, after, kind: kind @ (Kind::Guest | Kind::Bot), path, topic } => {
                Self::Online { limit, after: after.map(|sealed| ids.open(sealed)), kind, path, topic }
            }
            other => other,
        }
    }

    /// What the answer tells: all of this has to be allowed.
    pub fn subjects(&self) -> Vec<Subject> {
        match self {
            Self::Online { limit, path, topic, kind, .. } => {
                let mut subjects = vec![Subject::Count];
                let listed = if *kind == Kind::User { Subject::Names } else { Subject::Guests };
                subjects.extend((*limit > 0).then_some(listed));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_that_differ_in_how_much_they_want_are_one() {
        let online = |limit| Query::Online { limit, after: None, kind: Kind::User, path: None, topic: None };
        let wide: Vec<_> = [0, 1, 100, 101, 1000].map(|limit| online(limit).widened()).into_iter().collect();
        assert_eq!(wide, [0, 100, 100, 1000, 1000].map(online));
        assert_eq!((Query::Pages(0).widened(), Query::Pages(7).widened()), (Query::Pages(1000), Query::Pages(1000)));
        assert!(!online(100).is_search() && Query::Pages(1).is_search());
    }

    #[test]
    fn a_user_is_asked_for_where_they_are_kept_and_a_list_everywhere() {
        let four = Shards::try_from(4).unwrap_or(Shards::ONE);
        let users: Vec<_> = ["sally", "bob", "ann"].iter().filter_map(|id| UserId::parse(*id).ok()).collect();
        let asked = |query: Query| query.parts(four).into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(asked(Query::User(users[0].clone())), [1]);
        assert_eq!(Query::Users(users.clone()).parts(four).len(), 2, "two of them are kept by one");
        assert_eq!(asked(Query::Counts), [0, 1, 2, 3]);
        assert_eq!(Query::Pages(3).parts(four)[0].1, Query::Pages(MAX_PAGES), "the fullest of all may be so nowhere");
        assert_eq!(Query::Pages(3).parts(Shards::ONE), [(0, Query::Pages(3))]);
    }
}

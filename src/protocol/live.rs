//! What those who watch are told: everything at first, then what has changed.

use super::Member;
use super::part::shown;
use crate::identity::access::{Access, Scope, Standing, Subject};
use crate::presence::id::{PagePath, Topic};
use crate::presence::site::{self, Counts, Filter, Tally};
use serde::{Deserialize, Serialize};
use std::fmt::{self, Display, Formatter};

/// What somebody wants to watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Watch {
    /// Who they are, or the counts alone.
    pub names: bool,
    /// How many users the first message lists at the most.
    pub limit: usize,
    /// Only those on this page.
    pub path: Option<PagePath>,
    /// Only those on a page about this.
    pub topic: Option<Topic>,
}

/// What somebody sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct View {
    /// What they want to.
    pub watch: Watch,
    /// What they may.
    pub scope: Scope,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Message<'a> {
    State {
        version: u64,
        counts: Counts,
        #[serde(skip_serializing_if = "Option::is_none")]
        users: Option<Vec<Member<'a>>>,
    },
    /// What nobody did is left out: most often there is one join, or one leave.
    Diff {
        version: u64,
        counts: Counts,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        joins: Vec<Member<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        updates: Vec<Member<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        leaves: Vec<&'a str>,
    },
}

impl Watch {
    /// What it tells: all of this has to be allowed.
    pub fn subjects(&self) -> Vec<Subject> {
        let mut subjects = vec![Subject::Live, Subject::Count];
        subjects.extend(self.names.then_some(Subject::Names));
        subjects.extend((self.path.is_some() || self.topic.is_some()).then_some(Subject::Locations));
        subjects
    }
}

impl View {
    /// Whether all of that is for somebody to see.
    pub fn is_for(&self, who: &Standing, access: &Access) -> bool {
        access.scope(&self.watch.subjects(), who).is_ok_and(|scope| scope.covers(self.scope))
    }

    /// How many there are to be seen.
    pub fn counts(&self, tally: &Tally<'_>) -> Counts {
        tally.counts(&self.filter())
    }

    /// Everything.
    pub fn state(&self, tally: &Tally<'_>) -> String {
        let filter = self.filter();
        let users = self.watch.names.then(|| {
            let views = tally.users(&filter, self.watch.limit);
            views.iter().filter_map(|view| Member::user(shown(view, self.scope))).collect()
        });
        write(&Message::State { version: tally.version(), counts: tally.counts(&filter), users })
    }

    /// What has changed for somebody who was told of `version` with these counts; `None` if nothing has. Where it is
    /// not known which counts those were, they are told in any case.
    pub fn since<'a>(&self, tally: &Tally<'a>, version: u64, counts: Option<Counts>) -> Option<String> {
        let filter = self.filter();
        let now = tally.counts(&filter);
        let Some(changes) = tally.changes(version, &filter, self.scope.locations) else {
            return Some(self.state(tally));
        };
        if (changes.is_empty() || !self.watch.names) && counts == Some(now) {
            return None;
        }
        let members = |views: Vec<site::View<'a>>| -> Vec<Member<'a>> {
            let views = views.iter().filter(|_| self.watch.names);
            views.filter_map(|view| Member::user(shown(view, self.scope))).collect()
        };
        let (joins, updates) = (members(changes.joins), members(changes.updates));
        let leaves = changes.leaves.iter().filter(|_| self.watch.names).map(|user| user.as_str()).collect();
        Some(write(&Message::Diff { version: tally.version(), counts: now, joins, updates, leaves }))
    }

    fn filter(&self) -> Filter<'_> {
        Filter {
            path: self.watch.path.as_ref().map(PagePath::as_str),
            topic: self.watch.topic.as_ref().map(Topic::as_str),
            invisible: self.scope.invisible,
        }
    }
}

/// A message as a server-sent event: its type, its version and itself.
#[derive(Deserialize)]
pub struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    version: u64,
    #[serde(skip)]
    text: &'a str,
}

impl<'a> Event<'a> {
    /// The event of a message.
    pub fn of(text: &'a str) -> Option<Self> {
        let event: Self = serde_json::from_str(text).ok()?;
        Some(Self { text, ..event })
    }
}

impl Display for Event<'_> {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        // JSON in one line: a line feed in a text is written as `\n`.
        write!(to, "event: {}\nid: {}\ndata: {}\n\n", self.kind, self.version, self.text)
    }
}

fn write(message: &Message<'_>) -> String {
    // Writing to memory has no way to fail.
    serde_json::to_string(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::id::{Name, UserId};
    use crate::presence::member::{MemberKey, Place, Profile, Signal, Touch};
    use crate::presence::reports::Report;
    use crate::presence::site::Site;
    use crate::presence::time::{Millis, Seconds, Timestamp};

    const NOW: i64 = 1_795_203_180_250;

    fn view(names: bool, locations: bool) -> View {
        let scope = Scope { locations, last_seen: true, invisible: false };
        View { watch: Watch { names, limit: 100, path: None, topic: None }, scope }
    }

    fn touch(id: &str, path: &str) -> Report {
        let profile = Profile { name: Name::parse(id.to_uppercase()).ok(), ..Profile::default() };
        let place = Some(Place { path: PagePath::parse(path).unwrap(), title: None, topic: None });
        let key = MemberKey::User(UserId::parse(id).unwrap());
        let touch = Touch { profile: Some(profile), place, ..Touch::of(key) };
        Report { age: Millis(0), signal: Signal::Touch(touch) }
    }

    #[test]
    fn messages_are_as_the_golden_file_says() {
        let mut site = Site::new(Seconds(330), Timestamp::from_millis(NOW));
        site.watch();
        site.apply(Timestamp::from_millis(NOW), vec![touch("sally", "/forum/42"), touch("bob", "/")]);
        let (version, counts) = (site.version(), site.counts());
        let mut messages = vec![view(true, true).state(&Tally::of(&site)), view(false, true).state(&Tally::of(&site))];
        let gone =
            Report { age: Millis(0), signal: Signal::SignOut { user: UserId::parse("bob").unwrap(), device: None } };
        site.apply(Timestamp::from_millis(NOW + 9), vec![touch("sally", "/radio"), gone, touch("zoe", "/")]);
        for view in [view(true, true), view(true, false), view(false, true)] {
            messages.extend(view.since(&Tally::of(&site), version, Some(counts)));
        }
        messages.extend(view(true, true).since(&Tally::of(&site), 1, Some(counts)));
        assert_eq!(messages.join("\n") + "\n", include_str!("../../tests/golden/live.jsonl"));
    }

    #[test]
    fn a_join_costs_little_beyond_what_is_told_of_the_member() {
        let mut site = Site::new(Seconds(330), Timestamp::from_millis(NOW));
        site.watch();
        let (version, counts) = (site.version(), site.counts());
        site.apply(Timestamp::from_millis(NOW), vec![touch("sally", "/")]);
        let told = view(true, true).since(&Tally::of(&site), version, Some(counts)).unwrap();
        let (_, rest) = told.split_once(r#""joins":["#).unwrap();
        let member = rest.strip_suffix("]}").unwrap();
        assert!(told.len() - member.len() <= 120, "{told}");
    }
}

//! Topics: who looks at what, who has looked, and that somebody can be forgotten.

use proptest::prelude::*;
use std::collections::BTreeMap;
use whos_online::presence::id::{GuestKey, PagePath, TabId, Title, Topic, UserId};
use whos_online::presence::member::{Kind, MemberKey, Place, Profile, Signal, Touch};
use whos_online::presence::record::{decode, encode};
use whos_online::presence::reports::Report;
use whos_online::presence::site::{Filter, Outcome, Site};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

const WINDOW: Seconds = Seconds(300);

type Views = BTreeMap<(String, MemberKey), Timestamp>;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + seconds * 1000)
}

fn user(name: &str) -> MemberKey {
    MemberKey::User(UserId::parse(name).unwrap())
}

fn topic(text: &str) -> Topic {
    Topic::parse(text).unwrap()
}

fn about(path: &str, topic: Option<&str>) -> Option<Place> {
    let topic = topic.map(|topic| Topic::parse(topic).unwrap());
    Some(Place { path: PagePath::parse(path).unwrap(), title: None, topic })
}

fn touch(key: MemberKey, place: Option<Place>) -> Signal {
    Signal::Touch(Touch { place, ..Touch::of(key) })
}

/// A site with the storage that a shell would give it.
struct Kept {
    site: Site,
    rows: BTreeMap<i64, Vec<u8>>,
    views: Views,
}

impl Kept {
    fn new() -> Self {
        Self { site: Site::new(WINDOW, at(0)), rows: BTreeMap::new(), views: Views::new() }
    }

    fn apply(&mut self, time: Timestamp, signal: Signal) {
        let outcome = self.site.apply(time, vec![Report { age: Millis(0), signal }]);
        self.store(outcome);
    }

    fn advance(&mut self, time: Timestamp) {
        let outcome = self.site.advance(time);
        self.store(outcome);
    }

    fn store(&mut self, outcome: Outcome) {
        for write in outcome.writes {
            self.rows.insert(write.slot, write.data);
        }
        for view in outcome.views {
            assert_eq!(decode(&encode(&view)), Ok(view.clone()));
            let seen = self.views.entry((view.topic.into(), view.viewer)).or_insert(view.at);
            *seen = (*seen).max(view.at);
        }
    }

    fn restart(&mut self, time: Timestamp) {
        let (site, outcome, unreadable) = Site::restore(WINDOW, &self.rows, time, &[]);
        assert_eq!(unreadable, 0);
        self.site = site;
        self.store(outcome);
    }

    /// Whoever has looked or looks at a topic, with the latest time.
    fn viewers(&self, text: &str) -> BTreeMap<MemberKey, Timestamp> {
        let kept =
            self.views.iter().filter(|((topic, _), _)| topic == text).map(|((_, viewer), at)| (viewer.clone(), *at));
        let topic = topic(text);
        let mut all: BTreeMap<_, _> = kept.collect();
        for view in self.site.viewers(&topic) {
            let seen = all.entry(view.viewer).or_insert(view.at);
            *seen = (*seen).max(view.at);
        }
        all
    }
}

fn on_topic(site: &Site, topic: &str) -> Vec<MemberKey> {
    let filter = Filter { topic: Some(topic), ..Filter::default() };
    site.list(Kind::User, &filter, None, usize::MAX).0.iter().map(|view| view.key.owned()).collect()
}

#[test]
fn who_looks_is_told_now_and_who_looked_with_the_last_time() {
    let mut kept = Kept::new();
    kept.apply(at(0), touch(user("bob"), about("/u/sally", Some("user:sally"))));
    kept.apply(at(60), touch(user("bob"), None));
    assert_eq!(on_topic(&kept.site, "user:sally"), [user("bob")]);
    assert_eq!(kept.viewers("user:sally"), [(user("bob"), at(60))].into());
    assert!(kept.views.is_empty(), "as long as they look it costs nothing more");
    kept.apply(at(90), touch(user("bob"), about("/", None)));
    assert_eq!(on_topic(&kept.site, "user:sally"), []);
    assert_eq!(kept.views, [(("user:sally".into(), user("bob")), at(60))].into());
    kept.apply(at(100), touch(user("bob"), about("/u/sally", Some("user:sally"))));
    kept.advance(at(1000));
    assert_eq!(kept.views[&("user:sally".into(), user("bob"))], at(100), "who goes has looked to the end");
}

#[test]
fn each_tab_looks_at_its_own_page() {
    let mut kept = Kept::new();
    let tab = |tab, path, topic| {
        Signal::Touch(Touch { place: about(path, topic), tab: Some(TabId(tab)), ..Touch::of(user("bob")) })
    };
    kept.apply(at(0), tab(1, "/a", Some("thread:a")));
    kept.apply(at(10), tab(2, "/b", Some("thread:b")));
    for text in ["thread:a", "thread:b"] {
        assert_eq!(on_topic(&kept.site, text), [user("bob")], "{text}");
    }
    assert!(kept.views.is_empty());
    kept.apply(at(20), Signal::Leave { key: user("bob"), tab: Some(TabId(2)) });
    assert_eq!(kept.views, [(("thread:b".into(), user("bob")), at(10))].into());
    assert_eq!(on_topic(&kept.site, "thread:a"), [user("bob")]);
}

#[test]
fn a_page_keeps_the_topic_that_the_site_gave_it_when_the_page_tells_its_title() {
    let mut kept = Kept::new();
    kept.apply(at(0), touch(user("bob"), about("/u/sally", Some("user:sally"))));
    let title = Title::parse("Sally").ok();
    kept.apply(at(1), touch(user("bob"), Some(Place { title: title.clone(), ..about("/u/sally", None).unwrap() })));
    let view = kept.site.user(&UserId::parse("bob").unwrap(), false).unwrap();
    assert_eq!(view.place.unwrap(), &Place { title, ..about("/u/sally", Some("user:sally")).unwrap() });
}

#[test]
fn who_is_erased_was_never_here() {
    let mut kept = Kept::new();
    let hidden = Some(Profile { invisible: true, ..Profile::default() });
    for (number, name) in ["sally", "bob", "carol"].into_iter().enumerate() {
        kept.apply(at(number as i64), touch(user(name), about("/u/sally", Some("user:sally"))));
    }
    let ghost = Touch { profile: hidden, ..Touch::of(user("ghost")) };
    kept.apply(at(3), Signal::Touch(ghost));
    kept.apply(at(4), touch(MemberKey::Guest(GuestKey(1)), about("/", None)));
    for (name, users, guests) in [("sally", 2, 2), ("ghost", 2, 1), ("nobody", 2, 1)] {
        let outcome = kept.site.erase(&UserId::parse(name).unwrap());
        assert!(outcome.departures.is_empty() && outcome.views.is_empty());
        kept.rows.clear();
        kept.store(outcome);
        let told = kept.rows.values().any(|row| row.windows(name.len()).any(|bytes| bytes == name.as_bytes()));
        assert!(!told || name == "sally", "a path of somebody else's may hold it");
        assert_eq!((kept.site.counts().users, kept.site.counts().guests), (users, guests), "{name}");
        kept.restart(at(5));
        assert_eq!((kept.site.counts().users, kept.site.counts().guests), (users, guests), "{name}");
    }
    assert_eq!(on_topic(&kept.site, "user:sally"), []);
    kept.apply(at(6), touch(user("bob"), about("/", None)));
    kept.advance(at(1000));
    assert!(kept.views.keys().all(|(topic, _)| topic != "user:sally"), "{:?}", kept.views);
}

#[derive(Clone, Debug)]
enum Step {
    Touch { who: u8, tab: Option<u8>, topic: Option<u8> },
    Leave { who: u8, tab: u8 },
    SignOut { who: u8 },
    Pass { seconds: u32 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let tab = proptest::option::of(0..3u8);
    prop_oneof![
        8 => (0..4u8, tab, proptest::option::of(0..3u8)).prop_map(|(who, tab, topic)| Step::Touch { who, tab, topic }),
        2 => (0..4u8, 0..3u8).prop_map(|(who, tab)| Step::Leave { who, tab }),
        1 => (0..4u8).prop_map(|who| Step::SignOut { who }),
        3 => (0..400u32).prop_map(|seconds| Step::Pass { seconds }),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// The model is a plain map from topic and viewer to the time of their last touch there. With several tabs, a page
    /// that is open is looked at for as long as its viewer is about.
    #[test]
    fn whoever_looked_is_known_with_the_latest_time(steps in proptest::collection::vec(step(), 0..80)) {
        let who = |number: u8| if number < 2 { user(&format!("u{number}")) } else { MemberKey::Guest(GuestKey(number.into())) };
        let mut time = at(0);
        let mut kept = Kept::new();
        let mut model: BTreeMap<(String, MemberKey), Timestamp> = BTreeMap::new();
        let mut about_until: BTreeMap<MemberKey, Timestamp> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Touch { who: number, tab, topic } => {
                    let text = topic.map(|topic| format!("thread:{topic}"));
                    let place = about(&text.as_ref().map_or("/".into(), |text| format!("/{text}")), text.as_deref());
                    let tab = tab.map(|tab| TabId(tab.into()));
                    let key = who(number);
                    let touch = Touch { place, tab, ..Touch::of(key.clone()) };
                    kept.apply(time, Signal::Touch(touch));
                    about_until.insert(key.clone(), time);
                    if let Some(text) = text {
                        model.insert((text, key), time);
                    }
                }
                Step::Leave { who: number, tab } => kept.apply(time, Signal::Leave { key: who(number), tab: Some(TabId(tab.into())) }),
                Step::SignOut { who: number } => if let MemberKey::User(id) = who(number) {
                    kept.apply(time, Signal::SignOut { user: id, device: None });
                },
                Step::Pass { seconds } => time = time.plus(Seconds(seconds)),
                Step::Restart => kept.restart(time),
            }
            kept.advance(time);
            for topic in 0..3 {
                let text = format!("thread:{topic}");
                let expected: BTreeMap<_, _> = model.iter().filter(|((topic, _), _)| *topic == text)
                    .map(|((_, viewer), at)| (viewer.clone(), *at)).collect();
                let found = kept.viewers(&text);
                prop_assert!(found.keys().eq(expected.keys()), "{found:?} {expected:?}");
                for (viewer, seen) in found {
                    prop_assert!(expected[&viewer] <= seen && seen <= about_until[&viewer], "{viewer:?} {seen:?}");
                }
            }
        }
    }
}

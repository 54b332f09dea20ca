//! What happens to a site, step by step.

use crate::{PEOPLE, who};
use proptest::prelude::*;
use whos_online::presence::id::{DeviceId, Name, PagePath, TabId, Title, Topic};
use whos_online::presence::member::{Evidence, Kind, MemberKey, Place, Profile, Signal, State, Touch};
use whos_online::presence::reports::Report;
use whos_online::presence::time::Millis;

#[derive(Clone, Debug)]
pub enum Step {
    Say(Vec<Said>),
    Pass(u32),
    Restart,
    Spread(u32),
    /// One falls silent to those who copy it, or speaks again.
    Silence(u32),
}

#[derive(Clone, Debug)]
pub struct Said {
    who: u8,
    was: Option<u8>,
    age: u32,
    place: Option<(u8, bool, Option<u8>)>,
    tab: Option<u8>,
    away: bool,
    profile: Option<bool>,
    device: Option<u8>,
    what: u8,
}

fn said() -> impl Strategy<Value = Said> {
    let was = prop_oneof![3 => Just(None), 1 => (8..14u8).prop_map(Some)];
    let age = prop_oneof![4 => Just(0), 1 => 0..5_000u32];
    let place = proptest::option::of((0..3u8, any::<bool>(), proptest::option::of(0..3u8)));
    let (tab, profile) =
        (proptest::option::of(0..3u8), prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)]);
    let device = proptest::option::of(0..3u8);
    (0..PEOPLE, was, age, place, tab, any::<bool>(), profile, device, 0..10u8).prop_map(
        |(who, was, age, place, tab, away, profile, device, what)| Said {
            who,
            was,
            age,
            place,
            tab,
            away,
            profile,
            device,
            what,
        },
    )
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(said(), 1..6).prop_map(Step::Say),
        3 => (0..2_000u32).prop_map(Step::Pass),
        2 => (0..200_000u32).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => (1..6u32).prop_map(Step::Spread),
        2 => (0..4u32).prop_map(Step::Silence),
    ]
}

impl Said {
    pub fn report(&self) -> Report {
        let key = who(self.who);
        let tab = self.tab.map(|tab| TabId(u32::from(tab)));
        let place = self.place.map(|(path, titled, topic)| Place {
            path: PagePath::parse(format!("/p{path}")).unwrap(),
            title: titled.then(|| Title::parse("A page").unwrap()),
            topic: topic.map(|topic| Topic::parse(["t1", "t2", "user:u2"][usize::from(topic)]).unwrap()),
        });
        let device = self.device.map(|device| DeviceId(u64::from(device) + 1));
        let signal = match (self.what, &key) {
            (0, _) => Signal::Leave { key, tab },
            (1, MemberKey::User(user)) => Signal::SignOut { user: user.clone(), device },
            _ => {
                let of_user = key.kind() == Kind::User;
                let profile = self.profile.filter(|_| of_user);
                let profile = profile.map(|invisible| Profile { name: Name::parse("N").ok(), avatar: None, invisible });
                let was = self.was.map(who).filter(|was| *was != key && key.kind() != Kind::Bot);
                let state = if self.away { State::Away } else { State::Online };
                let said = device.filter(|_| of_user).map(|_| Evidence { device, ..Evidence::default() });
                // A request that is no page's tells neither place nor tab.
                let arrives = self.what > 3;
                let (place, tab) = (place.filter(|_| arrives), tab.filter(|_| arrives));
                Signal::Touch(Touch { key, was, profile, said, place, tab, state, arrives })
            }
        };
        Report { age: Millis(self.age), signal }
    }
}

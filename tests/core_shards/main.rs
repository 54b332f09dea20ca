//! A site that is spread over several objects answers as one that is kept by a single one.

mod copies;
mod object;
mod spread;
mod steps;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use spread::Spread;
use steps::{Said, Step, step};
use whos_online::presence::id::{GuestKey, UserId};
use whos_online::presence::member::{Kind, MemberKey, Signal, Touch};
use whos_online::presence::reports::{Report, Reports};
use whos_online::presence::time::{Millis, Seconds, Timestamp};
use whos_online::protocol::query::Query;

const WINDOW: Seconds = Seconds(300);
const PEOPLE: u8 = 16;

/// What failed once is kept beside the file whose property it is.
fn config() -> ProptestConfig {
    let beside = FileFailurePersistence::WithSource("proptest-regressions");
    ProptestConfig { failure_persistence: Some(Box::new(beside)), ..ProptestConfig::with_cases(64) }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_795_203_180_000 + millis)
}

/// Eight users, then six guests, then two bots.
fn who(number: u8) -> MemberKey {
    match number {
        0..8 => MemberKey::User(id(number)),
        8..14 => MemberKey::Guest(GuestKey(u64::from(number))),
        _ => MemberKey::Bot(GuestKey(u64::from(number))),
    }
}

fn id(number: u8) -> UserId {
    UserId::parse(format!("u{number}")).unwrap()
}

#[test]
fn a_guest_who_signs_in_is_one_member_wherever_they_are_kept_then() {
    let mut spread = Spread::over(8, at(0));
    let touch = |number| Touch::of(who(number));
    let reports = |touches: Vec<Touch>| -> Reports {
        touches.into_iter().map(|touch| Report { age: Millis(0), signal: Signal::Touch(touch) }).collect()
    };
    spread.hear(at(0), reports((8..14).map(touch).collect()));
    spread.hear(at(5000), reports((8..14).map(|guest| Touch { was: Some(who(guest)), ..touch(guest - 8) }).collect()));
    let told = spread.told(&Query::Online { limit: 9, after: None, kind: Kind::User, path: None, topic: None }, false);
    assert_eq!((&told["counts"]["total"], &told["counts"]["users"]), (&6.into(), &6.into()));
    assert!(told["users"].as_array().unwrap().iter().all(|user| user["since"] == at(5000).to_rfc3339()));
}

proptest! {
    #![proptest_config(config())]

    /// The model is the same history in a single object.
    #[test]
    fn several_objects_answer_as_one_does(count in 2..6u32, steps in proptest::collection::vec(step(), 0..40)) {
        let mut now = at(0);
        let (mut one, mut several) = (Spread::over(1, now), Spread::over(count, now));
        for step in steps {
            match step {
                Step::Say(said) => {
                    let reports: Reports = said.iter().map(Said::report).collect();
                    one.hear(now, reports.clone());
                    several.hear(now, reports);
                }
                Step::Pass(millis) => now = now.plus(Millis(millis)),
                Step::Restart => {
                    one.restart(now);
                    several.restart(now);
                }
                Step::Spread(count) => {
                    one.restart(now);
                    several.over_again(count, now);
                }
                // Whoever asks waits for none.
                Step::Silence(_) => {}
            }
            one.advance(now);
            several.advance(now);
            prop_assert_eq!(one.everything(), several.everything());
            for kind in [Kind::User, Kind::Guest] {
                prop_assert_eq!(one.listed(kind, 2), several.listed(kind, 3));
            }
        }
    }
}

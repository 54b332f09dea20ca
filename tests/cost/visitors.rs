//! Who comes to a site in a day, when, and what their page views mean to a recorder.

use fastrand::Rng;
use whos_online::presence::id::{GuestKey, PagePath, UserId};
use whos_online::presence::member::{MemberKey, Place, Signal, Touch};
use whos_online::presence::time::{Millis, Seconds, Timestamp};

pub const DAY: f64 = 86_400.0;
/// How many pages a visit has on average, and how long somebody stays on one: log-normal, with this median in seconds.
pub const PAGES: f64 = 4.0;
const DWELL: (f64, f64) = (40.0, 1.2);
/// One visitor in five is signed in.
const SIGNED_IN: f64 = 0.2;
/// Every other one of these comes with the Worker's cookie, of a visit within the last day. The others sign in by their
/// first page: who comes without it may have been a guest until then.
const REMEMBERED: f64 = 0.5;

/// Who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor {
    Guest,
    /// With the Worker's cookie.
    Known,
    /// The site names them, and they have the cookie from then on.
    Named,
}

/// A page view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct View {
    pub visitor: u64,
    pub page: u32,
    /// Whether it is the first one of the visit.
    pub first: bool,
}

impl Visitor {
    /// The one of this number.
    pub fn of(number: u64) -> Self {
        match (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / f64::from(1 << 24) {
            share if share < SIGNED_IN * REMEMBERED => Self::Known,
            share if share < SIGNED_IN => Self::Named,
            _ => Self::Guest,
        }
    }
}

/// The id of a visitor who is a user.
pub fn user_id(visitor: u64) -> UserId {
    UserId::parse(format!("user-{visitor}")).unwrap()
}

/// A page.
pub fn place(page: u32) -> Place {
    Place { path: PagePath::parse(format!("/page/{page}")).unwrap(), title: None, topic: None }
}

/// What a page view means, as `identity::visit` has it.
pub fn signals(view: &View, at: Timestamp, window: Seconds) -> Vec<Signal> {
    let place = Some(place(view.page));
    let touch = |key, was, place| Signal::Touch(Touch { was, place, ..Touch::of(key) });
    // A guest is another one each day, and by `was` still found as the one of the day before.
    let guest = |at: Timestamp| MemberKey::Guest(GuestKey(view.visitor << 20 | at.day() as u64));
    let before = at.minus(window);
    let was = (before.day() < at.day()).then(|| guest(before));
    let user = || MemberKey::User(user_id(view.visitor));
    match Visitor::of(view.visitor) {
        Visitor::Guest => vec![touch(guest(at), was, place)],
        Visitor::Named if view.first => {
            let guest_of_today = was.map(|was| touch(guest(at), Some(was), None));
            guest_of_today.into_iter().chain([touch(user(), Some(guest(at)), place)]).collect()
        }
        Visitor::Known | Visitor::Named => vec![touch(user(), None, place)],
    }
}

/// How many pages somebody sees after the first one.
pub fn more_pages(random: &mut Rng) -> u32 {
    (random.f64().ln() / (1.0 - 1.0 / PAGES).ln()) as u32
}

/// How long somebody stays on a page.
pub fn dwell(random: &mut Rng) -> Millis {
    let (median, spread) = DWELL;
    Millis((median * (spread * normal(random)).exp() * 1000.0) as u32)
}

/// When in the day somebody comes, in milliseconds: half a day after its beginning nine times as many as then.
pub fn time_of_day(random: &mut Rng) -> u32 {
    loop {
        let at = random.f64();
        if random.f64() * 1.8 < 1.0 - 0.8 * (std::f64::consts::TAU * at).cos() {
            return (at * DAY * 1000.0) as u32;
        }
    }
}

/// A standard normal figure (Box and Muller, 1958).
fn normal(random: &mut Rng) -> f64 {
    (-2.0 * (1.0 - random.f64()).ln()).sqrt() * (std::f64::consts::TAU * random.f64()).cos()
}

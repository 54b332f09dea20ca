//! How much one visitor may cost the site: every budget with its default and its bound, and how one is spent.
//!
//! A client (an address, an IPv6 /64) pays for its guests and bots, a user for themselves: so nobody who is signed in is hurt by
//! guests behind the same address. What is over budget is left out, or comes later; pages go on.

use super::id::ClientId;
use super::member::KeyRef;
use super::time::{Millis, Seconds, Timestamp};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};

/// The most guests of one client that are online at once, unless `CLIENT_GUESTS` says otherwise.
pub const CLIENT_GUESTS: u32 = 64;
/// The most that it may say.
pub const MAX_CLIENT_GUESTS: u32 = 1000;

/// How soon an isolate sends what a visitor does. Beyond that it waits for the next batch of refreshes, so that it costs no row
/// of its own.
pub const PROMPT: Budget = Budget { client: Limit::new(20, 3000), user: Limit::new(30, 2000) };

/// How often a visitor may be somewhere else, name another title or topic, or close a page. Beyond that they stay as they were.
pub const MOVES: Budget = Budget { client: Limit::new(240, 150), user: Limit::new(120, 1000) };

/// How many rows an object writes for one visitor: 720 an hour, or twice as many. One that is written for several visitors is
/// shared by them. Beyond that what is told of them is left out.
pub const ROWS: Budget = Budget { client: Limit::new(120, 5000), user: Limit::new(240, 2500) };

/// How many rows tell what a visitor has looked at. Beyond that it is not kept that they have.
pub const VIEWS: Budget = Budget { client: Limit::new(20, 60_000), user: Limit::new(120, 5000) };

/// How many questions an isolate passes on for one visitor that it cannot answer from memory. Beyond that they get 429.
pub const QUESTIONS: Budget = Budget { client: Limit::new(120, 50), user: Limit::new(120, 50) };

/// How many questions an object answers by looking through its members, for all who ask.
pub const SEARCHES: Limit = Limit::new(400, 5);

/// How many logins are looked up for a client that are nobody's. Beyond that its cookies and passwords are not looked at.
pub const MISSES: Budget = Budget { client: Limit::new(20, 3000), user: Limit::new(20, 3000) };

/// How many users of a site may have themselves erased: anybody can make up users, and erasing writes rows.
pub const ERASURES: Limit = Limit::new(10, 6000);

/// How many messages a connection may send: a page has far less to tell.
pub const MESSAGES: Limit = Limit::new(20, 200);

/// The most connections of one visitor to an object, one for each tab of several browsers.
pub const VISITOR_SOCKETS: usize = 32;
/// The most of all guests of a client.
pub const CLIENT_SOCKETS: usize = 64;

/// How many bytes may wait to be read by one connection, beyond the longest message that it was sent.
pub const SOCKET_UNREAD: usize = 256 * 1024;
/// How many by all of a client's guests, or of a user.
pub const VISITOR_UNREAD: usize = 4 << 20;
/// How many by all of an object, which has 128 MB for all that it does.
pub const OBJECT_UNREAD: usize = 16 << 20;

/// The most signals of a batch whose row is paid for: of more, each would pay next to nothing.
const PAID_SIGNALS: usize = 100;

/// The most visitors whose spending is remembered, of each kind of budget.
const MAX_PAYERS: usize = 10_000;

/// So much at once, and then one in each of these spans in the long run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    burst: u32,
    each: Millis,
}

impl Limit {
    /// At most `burst` at once, then one each `each` milliseconds.
    pub const fn new(burst: u32, each: u32) -> Self {
        Self { burst, each: Millis(each) }
    }

    /// How long it takes until all that may be spent at once was earned again.
    fn span(self) -> Millis {
        Millis(self.burst.saturating_mul(self.each.0))
    }
}

/// A limit for a client with all its guests, and one for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// For the guests and bots of a client together.
    pub client: Limit,
    /// For one user.
    pub user: Limit,
}

/// Who pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Payer {
    /// A client, for its guests and bots.
    Client(ClientId),
    /// A user, by a digest of their id.
    User(u64),
}

impl Payer {
    /// Who pays for a member.
    pub fn of(key: KeyRef<'_>) -> Self {
        match key {
            KeyRef::User(user) => Self::User(FixedState::default().hash_one(user)),
            KeyRef::Guest(key) | KeyRef::Bot(key) => Self::Client(key.client()),
        }
    }
}

impl Budget {
    fn limit(self, payer: Payer) -> Limit {
        match payer {
            Payer::Client(_) => self.client,
            Payer::User(_) => self.user,
        }
    }
}

/// What was spent of a limit, as the moment at which it will have been earned again: the virtual scheduling of ITU-T I.371.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent(Timestamp);

impl Spent {
    /// Spends one.
    ///
    /// # Errors
    /// How long it takes until one is there to be spent.
    pub fn spend(&mut self, limit: Limit, now: Timestamp) -> Result<(), Millis> {
        self.spend_for(limit, limit.each, now)
    }

    /// Gives back one that was not needed.
    pub fn refund(&mut self, limit: Limit) {
        self.0 = self.0.minus(limit.each);
    }

    fn spend_for(&mut self, limit: Limit, cost: Millis, now: Timestamp) -> Result<(), Millis> {
        let most = now.plus(limit.span());
        // A clock that was put back makes nobody wait for longer than a spent burst does.
        let next = self.0.clamp(now, most).plus(cost);
        if next > most {
            self.0 = self.0.min(most);
            return Err(next.since(most));
        }
        self.0 = next;
        Ok(())
    }

    fn is_earned_again(self, now: Timestamp) -> bool {
        self.0 <= now
    }
}

/// A clock that stands still while it is put back by less than a second, so that nobody earns by its jitter.
#[derive(Debug, Default)]
pub struct SteadyClock(Timestamp);

impl SteadyClock {
    /// Goes on to `now`, and says whether the clock was put back by more than that: whatever was spent before is forgiven, or
    /// whoever had spent a burst would wait until it has caught up.
    pub fn is_put_back(&mut self, now: Timestamp) -> bool {
        let put_back = now.plus(Seconds(1)) <= self.0;
        self.0 = if put_back { now } else { self.0.max(now) };
        put_back
    }

    /// The time that it stands at.
    pub fn now(&self) -> Timestamp {
        self.0
    }
}

/// What visitors have spent of a budget.
#[derive(Debug, Default)]
pub struct Spending {
    spent: HashMap<Payer, Spent, FixedState>,
    clock: SteadyClock,
}

impl Spending {
    /// Spends one for a visitor.
    ///
    /// # Errors
    /// How long it takes until one is there to be spent.
    pub fn spend(&mut self, payer: Payer, budget: Budget, now: Timestamp) -> Result<(), Millis> {
        let limit = budget.limit(payer);
        self.spend_for(payer, limit, limit.each, now)
    }

    fn spend_for(&mut self, payer: Payer, limit: Limit, cost: Millis, now: Timestamp) -> Result<(), Millis> {
        if self.clock.is_put_back(now) {
            self.spent.clear();
        }
        let now = self.clock.now();
        if self.spent.len() >= MAX_PAYERS && !self.spent.contains_key(&payer) {
            self.spent.retain(|_, spent| !spent.is_earned_again(now));
            if self.spent.len() >= MAX_PAYERS {
                // So many clients at once are no client's doing: to start over costs at most a burst of each.
                self.spent.clear();
            }
        }
        self.spent.entry(payer).or_default().spend_for(limit, cost, now)
    }

    /// Gives one back to a visitor that was not needed.
    pub fn refund(&mut self, payer: Payer, budget: Budget) {
        let limit = budget.limit(payer);
        self.spent.get_mut(&payer).into_iter().for_each(|spent| spent.refund(limit));
    }
}

/// What an isolate lets through of what visitors do.
#[derive(Debug)]
pub struct Inflow {
    arrivals: Budget,
    arrived: Spending,
    moved: Spending,
    prompt: Spending,
}

impl Inflow {
    /// Where so many guests of a client may be online at once, within `window` after each request.
    pub fn new(guests: u32, window: Seconds) -> Self {
        let limit = Limit::new(guests, window.0.saturating_mul(1000) / guests.max(1));
        Self {
            arrivals: Budget { client: limit, user: limit },
            arrived: Spending::default(),
            moved: Spending::default(),
            prompt: Spending::default(),
        }
    }

    /// Whether one more visitor may be told of. Users always may: the site names them.
    pub fn admits(&mut self, payer: Payer, now: Timestamp) -> bool {
        matches!(payer, Payer::User(_)) || self.arrived.spend(payer, self.arrivals, now).is_ok()
    }

    /// Whether it may be told that one of them leaves; another one may come for one who was known.
    pub fn leaves(&mut self, payer: Payer, known: bool, now: Timestamp) -> bool {
        let may = self.may_move(payer, now);
        if may && known {
            self.arrived.refund(payer, self.arrivals);
        }
        may
    }

    /// Whether they may be told to be somewhere else, or to look or not.
    pub fn may_move(&mut self, payer: Payer, now: Timestamp) -> bool {
        self.moved.spend(payer, MOVES, now).is_ok()
    }

    /// Whether what they do is told at once.
    pub fn is_prompt(&mut self, payer: Payer, now: Timestamp) -> bool {
        self.prompt.spend(payer, PROMPT, now).is_ok()
    }
}

/// What an object keeps of what visitors do: whoever gets around the budgets of one isolate by many ends here.
#[derive(Debug)]
pub struct Outlay {
    /// The most guests of one client that are online.
    guests: usize,
    moved: Spending,
    rows: Spending,
    views: Spending,
}

impl Outlay {
    /// Where so many guests of a client may be online at once.
    pub fn new(guests: u32) -> Self {
        Self {
            guests: guests as usize,
            moved: Spending::default(),
            rows: Spending::default(),
            views: Spending::default(),
        }
    }

    /// The most guests of one client that are online, and as many bots.
    pub fn guests(&self) -> usize {
        self.guests
    }

    /// Whether a visitor may be somewhere else.
    pub fn may_move(&mut self, payer: Payer, now: Timestamp) -> bool {
        self.moved.spend(payer, MOVES, now).is_ok()
    }

    /// Whether it is kept what a visitor has looked at.
    pub fn keeps_view(&mut self, payer: Payer, now: Timestamp) -> bool {
        self.views.spend(payer, VIEWS, now).is_ok()
    }

    /// Has those pay for a row whom the signals of a batch are of, and says who of them cannot.
    pub fn bill_row(&mut self, payers: impl ExactSizeIterator<Item = Payer>, now: Timestamp) -> Vec<Payer> {
        if payers.len() > PAID_SIGNALS {
            return Vec::new();
        }
        let mut payers: Vec<_> = payers.collect();
        payers.sort_unstable();
        payers.dedup();
        let sharing = (payers.len() as u32).max(1);
        payers.retain(|payer| {
            let limit = ROWS.limit(*payer);
            self.rows.spend_for(*payer, limit, Millis(limit.each.0 / sharing), now).is_err()
        });
        payers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_795_203_180_000 + millis)
    }

    fn client(number: u32) -> Payer {
        Payer::Client(ClientId(number))
    }

    #[test]
    fn a_burst_may_be_spent_at_once_and_then_as_it_is_earned() {
        let (limit, mut spent) = (Limit::new(3, 1000), Spent::default());
        assert!((0..3).all(|_| spent.spend(limit, at(0)).is_ok()));
        assert_eq!(spent.spend(limit, at(0)), Err(Millis(1000)), "and it is told how long to wait");
        assert_eq!(spent.spend(limit, at(999)), Err(Millis(1)));
        assert_eq!((spent.spend(limit, at(1000)), spent.spend(limit, at(1000))), (Ok(()), Err(Millis(1000))));
        assert!((0..3).all(|_| spent.spend(limit, at(60_000)).is_ok()));
        assert!(spent.spend(limit, at(60_000)).is_err(), "a minute of silence saves up no more than a burst");
        assert_eq!(
            spent.spend(limit, at(-3_600_000)),
            Err(Millis(1000)),
            "nor does a clock that was put back lock out"
        );
    }

    #[test]
    fn each_pays_for_themselves_and_what_is_remembered_stays_small() {
        let mut spending = Spending::default();
        let mut spend = |payer, millis| spending.spend(payer, VIEWS, at(millis)).is_ok();
        assert_eq!((0..30).filter(|_| spend(client(1), 0)).count(), 20);
        assert!(spend(client(2), 0) && spend(Payer::User(1), 0));
        assert!(!spend(client(1), -900), "one that jitters earns nothing");
        assert!(spend(client(1), -3_600_000), "a clock that was put back keeps nobody waiting");
        (0..3 * MAX_PAYERS as u32).for_each(|number| _ = spend(client(number), 1));
        assert!(spending.spent.len() <= MAX_PAYERS);
    }

    #[test]
    fn a_row_is_shared_by_those_for_whom_it_is_written() {
        let mut outlay = Outlay::new(1);
        let mut rows = |payers: &[u32], second: i64| {
            let payers: Vec<_> = payers.iter().copied().map(client).collect();
            (0..1000).take_while(|_| outlay.bill_row(payers.iter().copied(), at(second * 1000)).is_empty()).count()
        };
        assert_eq!(rows(&[1, 1, 1], 0), 120);
        assert_eq!(rows(&[2, 3, 4, 5], 0), 4 * 120);
        assert_eq!(rows(&(0..=PAID_SIGNALS as u32).collect::<Vec<_>>(), 0), 1000, "and of many it is nobody's");
        let left = outlay.bill_row([client(1), client(9)].into_iter(), at(0));
        assert_eq!(left, [client(1)], "who has spent all is left out, and no other");
    }

    #[test]
    fn guests_of_a_client_come_as_fast_as_others_go() {
        let mut inflow = Inflow::new(64, Seconds(330));
        assert_eq!((0..1000).filter(|_| inflow.admits(client(1), at(0))).count(), 64);
        assert!(inflow.leaves(client(1), false, at(0)) && !inflow.admits(client(1), at(0)), "who was not here");
        assert!(inflow.leaves(client(1), true, at(0)));
        assert!(inflow.admits(client(1), at(0)) && !inflow.admits(client(1), at(0)));
        assert_eq!((0..1000).filter(|_| inflow.admits(client(1), at(330_000))).count(), 64);
        assert!((0..1000).all(|_| inflow.admits(Payer::User(1), at(0))), "users are named by the site");
    }

    proptest! {
        /// The model counts what was spent within each span.
        #[test]
        fn never_more_than_a_burst_and_what_was_earned(burst in 1..20u32, each in 1..500u32, steps in proptest::collection::vec(0..2000i64, 1..200)) {
            let (limit, mut spent, mut now, mut taken) = (Limit::new(burst, each), Spent::default(), 0, Vec::new());
            for step in steps {
                now += step;
                let granted = spent.spend(limit, at(now)).is_ok();
                if granted {
                    taken.push(now);
                }
                for (index, from) in taken.iter().enumerate() {
                    let within = (taken.len() - index) as i64;
                    prop_assert!(within <= i64::from(burst) + (now - from) / i64::from(each) + 1);
                }
            }
        }
    }
}

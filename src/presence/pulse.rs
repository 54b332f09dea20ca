//! Which connections are still alive.
//!
//! A page that is closed says so. A laptop that is closed, or a phone in a tunnel, does not: what it was connected to
//! hears nothing any more, and that is all there is to know.

use super::time::{Millis, Seconds, Timestamp};

/// For how long a connection may be silent. Clients send a ping every 30 seconds, so by then two are missing.
pub const SILENCE: Millis = Millis(60_000);

/// How far apart two looks are at the least, so that many who fall silent one by one are not looked for one by one.
const APART: Millis = Millis(5000);

/// As of when the pages of a connection are known to be open that was heard then. Until it is taken for dead they are,
/// even where the online window is so short that it would close between two pings.
pub fn open_at(heard: Timestamp, window: Seconds, now: Timestamp) -> Timestamp {
    let window = Millis(window.0.saturating_mul(1000));
    heard.plus(Millis(SILENCE.0.saturating_sub(window.0))).min(now)
}

/// Whether a connection that was heard then is taken for dead.
pub fn is_dead(heard: Timestamp, now: Timestamp) -> bool {
    now.since(heard) >= SILENCE
}

/// Whether it is time to look, where that was to be then. A clock that was put back makes nobody wait.
pub fn look_is_due(at: Timestamp, now: Timestamp) -> bool {
    at <= now || at > now.plus(SILENCE).plus(SILENCE)
}

/// When to look next, where `oldest` is when the one was heard that has been silent longest.
pub fn next_look(oldest: Timestamp, now: Timestamp) -> Timestamp {
    oldest.plus(SILENCE).max(now.plus(APART))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(1_795_203_180_000 + seconds * 1000)
    }

    #[test]
    fn who_misses_one_ping_is_alive_and_who_misses_two_is_not() {
        assert!(!is_dead(at(0), at(59)));
        assert!(is_dead(at(0), at(60)));
        assert!(!is_dead(at(90), at(0)), "a clock that was put back kills nobody");
    }

    #[test]
    fn a_window_that_is_shorter_than_the_pings_are_apart_closes_nobodys_page() {
        let gone_at = |window| open_at(at(0), Seconds(window), at(600)).plus(Seconds(window));
        assert_eq!((gone_at(4), gone_at(60), gone_at(330)), (at(60), at(60), at(330)));
        assert_eq!(open_at(at(0), Seconds(4), at(1)), at(1), "nobody was seen in the future");
    }

    #[test]
    fn a_look_comes_in_its_time_and_at_once_where_the_clock_was_put_back() {
        assert!(look_is_due(at(60), at(60)) && !look_is_due(at(60), at(59)));
        assert!(!look_is_due(at(120), at(0)) && look_is_due(at(121), at(0)));
    }

    #[test]
    fn nobody_who_pings_is_looked_for_more_often_than_they_do() {
        // Pings of many, at all times of their half minute: the oldest is half a minute old whenever one looks.
        let mut looks = 0;
        let mut now = at(0);
        while now < at(600) {
            now = next_look(now.minus(Seconds(30)), now);
            looks += 1;
        }
        assert_eq!(looks, 20);
        assert_eq!(next_look(at(0), at(58)), at(63));
    }
}

//! Moments and spans. The core never reads a clock: a [`Timestamp`] is always an argument.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

/// A moment: milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

/// A span of whole milliseconds, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Millis(pub u32);

/// A span of whole seconds, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seconds(pub u32);

impl Timestamp {
    /// The earliest and the latest moment that can be written as RFC 3339: the years 0 to 9999.
    const RANGE: std::ops::RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

    /// From milliseconds since the epoch; moments outside the years 0 to 9999 are moved to the nearest inside.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(*Self::RANGE.start(), *Self::RANGE.end()))
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Whole days since the epoch, in UTC.
    pub fn day(self) -> i64 {
        self.0.div_euclid(86_400_000)
    }

    /// This moment and a span more.
    pub fn plus(self, span: impl Into<Millis64>) -> Self {
        Self::from_millis(self.0.saturating_add(span.into().0))
    }

    /// This moment less a span.
    pub fn minus(self, span: impl Into<Millis64>) -> Self {
        Self::from_millis(self.0.saturating_sub(span.into().0))
    }

    /// How long ago `earlier` was; nothing if it lies ahead. Spans beyond 49 days are cut to that.
    pub fn since(self, earlier: Timestamp) -> Millis {
        Millis(u32::try_from(self.0.saturating_sub(earlier.0).max(0)).unwrap_or(u32::MAX))
    }

    /// RFC 3339 in UTC with milliseconds, as in `2026-11-20T19:33:00.123Z`.
    pub fn to_rfc3339(self) -> String {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

/// Rounded up.
impl From<Millis> for Seconds {
    fn from(span: Millis) -> Self {
        Self(span.0.div_ceil(1000))
    }
}

/// A span in the width that timestamps are reckoned in.
pub struct Millis64(i64);

impl From<Millis> for Millis64 {
    fn from(span: Millis) -> Self {
        Self(i64::from(span.0))
    }
}

impl From<Seconds> for Millis64 {
    fn from(span: Seconds) -> Self {
        Self(i64::from(span.0) * 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_with_milliseconds_in_utc() {
        let at = Timestamp::from_millis(1_795_203_180_123);
        assert_eq!(at.to_rfc3339(), "2026-11-20T19:33:00.123Z");
        assert_eq!(Timestamp::from_millis(0).to_rfc3339(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn moments_beyond_the_calendar_are_moved_inside() {
        assert_eq!(Timestamp::from_millis(i64::MAX).to_rfc3339(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_millis(i64::MIN).to_rfc3339(), "0000-01-01T00:00:00.000Z");
        let last = Timestamp::from_millis(i64::MAX);
        assert_eq!(last.plus(Seconds(u32::MAX)), last);
    }

    #[test]
    fn seconds_round_down_before_the_epoch_too() {
        assert_eq!(Timestamp::from_millis(-1).as_secs(), -1);
        assert_eq!(Timestamp::from_millis(1999).as_secs(), 1);
    }
}

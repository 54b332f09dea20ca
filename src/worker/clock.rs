//! The one place where the time is asked for.

use crate::presence::time::Timestamp;
use worker::Date;

/// The time.
pub fn now() -> Timestamp {
    #[cfg(feature = "test-hooks")]
    if let Some(now) = super::hooks::time() {
        return now;
    }
    Timestamp::from_millis(i64::try_from(Date::now().as_millis()).unwrap_or(i64::MAX))
}

//! The one place where the time is asked for.

use crate::presence::time::Timestamp;
use js_sys::Date;

/// The time.
pub fn now() -> Timestamp {
    #[cfg(feature = "test-hooks")]
    if let Some(now) = super::hooks::time() {
        return now;
    }
    Timestamp::from_millis(Date::now() as i64)
}

//! Cloudflare's list: dollars, and what the free plan allows in a day.
//! <https://developers.cloudflare.com/workers/platform/pricing/>, <https://developers.cloudflare.com/durable-objects/platform/pricing/>

use crate::day::Used;

/// When it was so.
pub const AS_OF: &str = "2026-11-20";

/// Of a million each, beyond what a plan includes.
const WORKER_REQUESTS: f64 = 0.30;
const WORKER_CPU_MILLIS: f64 = 0.02;
const OBJECT_REQUESTS: f64 = 0.15;
const GB_SECONDS: f64 = 12.50;
const ROWS_WRITTEN: f64 = 1.00;
const ROWS_READ: f64 = 0.001;

/// What an object is billed for while it is active, whatever it needs: 128 MB.
pub const OBJECT_GB: f64 = 0.128;

/// How many incoming messages of a WebSocket are billed as one request.
const MESSAGES_PER_REQUEST: f64 = 20.0;

/// What a day cost.
pub struct Bill {
    /// For presence: the object, and the Worker's time for it.
    pub presence: f64,
    /// For the Worker's requests and the rest of its time, which any Worker in front of the site costs.
    pub worker: f64,
}

impl Bill {
    pub fn of(used: &Used) -> Self {
        let object = object_requests(used) * OBJECT_REQUESTS
            + used.active_seconds * OBJECT_GB * GB_SECONDS
            + used.rows_written * ROWS_WRITTEN
            + used.rows_read * ROWS_READ;
        Self {
            presence: (object + used.recording_millis * WORKER_CPU_MILLIS) / 1e6,
            worker: (used.worker_requests * WORKER_REQUESTS + used.passing_millis * WORKER_CPU_MILLIS) / 1e6,
        }
    }
}

/// Requests to the object, and what messages count for as such.
pub fn object_requests(used: &Used) -> f64 {
    used.object_requests + used.messages / MESSAGES_PER_REQUEST
}

/// How much of the free plan's day was used up, of what is used up first; and what that is.
pub fn of_free_plan(used: &Used) -> (f64, &'static str) {
    let parts = [
        (used.worker_requests / 100_000.0, "requests to the Worker"),
        (object_requests(used) / 100_000.0, "requests to the object"),
        (used.rows_written / 100_000.0, "rows written"),
        (used.rows_read / 5_000_000.0, "rows read"),
        (used.active_seconds * OBJECT_GB / 13_000.0, "GB-seconds"),
    ];
    parts.into_iter().max_by(|(one, _), (other, _)| one.total_cmp(other)).unwrap_or_default()
}

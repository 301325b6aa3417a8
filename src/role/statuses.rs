//! What roles' pages have in common: statuses of objects, and spans of time.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::control::project::Status;

/// A page lists at most this many: it is read by people, and built in memory.
const MAX_LISTED: usize = 10_000;

/// What is said of objects.
pub(super) fn page(statuses: &[Status]) -> Value {
    let one = |status: &Status| {
        json!({
            "kind": status.kind,
            "object": status.key.to_string(),
            "level": format!("{:?}", status.level),
            "reason": format!("{:?}", status.reason),
            "message": status.message,
        })
    };
    statuses.iter().take(MAX_LISTED).map(one).collect()
}

/// Negative when the moment has passed.
pub(super) fn seconds_until(at: SystemTime, now: SystemTime) -> i64 {
    let whole = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match at.duration_since(now) {
        Ok(left) => whole(left),
        Err(over) => -whole(over.duration()),
    }
}

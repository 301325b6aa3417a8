//! When what policies say could change by itself.

use std::sync::Arc;
use std::time::SystemTime;

use crate::mesh::Compiled;

/// The first moment after `now` at which a time condition of these policies may begin or cease to hold; nothing that
/// they say changes before it while the clock runs evenly. `None` without time conditions.
pub fn next_change<'a>(policies: impl IntoIterator<Item = &'a Arc<Compiled>>, now: SystemTime) -> Option<SystemTime> {
    let timed = policies.into_iter().filter(|policy| policy.is_timed());
    timed.filter_map(|policy| policy.zone.next(now, policy.edges().iter().copied())).min()
}

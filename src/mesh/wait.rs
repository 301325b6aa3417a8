//! Waiting for a policy that a workload names and that has not arrived.

use std::time::Duration;

use crate::model::name::NamespacedName;

use super::Reader;

/// How the wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Everything that the workload names is here; look it up again, on a new view.
    Arrived,
    /// The workload itself is not in the mesh (any more).
    Gone,
    /// Time is up, or nobody writes any more.
    Missing(Vec<NamespacedName>),
}

/// Waits, for at most `limit`, until every policy that a workload names is in the mesh. Workloads and
/// policies come on different streams, so that a name can be there a moment before what it names.
pub async fn policies_arrived(reader: &Reader, uid: &str, limit: Duration) -> Arrival {
    // Before the first look, so that no change falls between the two.
    let mut changes = reader.changes();
    let look = || {
        let view = reader.view();
        view.workload_by_uid(uid).map(|workload| view.policies_for(workload).missing)
    };
    let arrived = async {
        loop {
            match look() {
                None => return Arrival::Gone,
                Some(missing) if missing.is_empty() => return Arrival::Arrived,
                Some(missing) => {
                    if changes.changed().await.is_err() {
                        return Arrival::Missing(missing);
                    }
                }
            }
        }
    };
    match tokio::time::timeout(limit, arrived).await {
        Ok(arrival) => arrival,
        Err(_) => look().map_or(Arrival::Gone, Arrival::Missing),
    }
}

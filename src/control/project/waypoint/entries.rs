//! Workloads that are no pods, with the labels that count for them.

use std::collections::HashMap;

use crate::control::index::Index;
use crate::kube::types::ObjectMeta;
use crate::kube::types::meta::StringMap;
use crate::model::name::NamespacedName;

use super::super::Settings;
use super::super::notes::{SERVICE_ENTRY, WORKLOAD_ENTRY};

/// A WorkloadEntry, or one endpoint of a ServiceEntry.
pub(super) struct Entry<'a> {
    pub kind: &'static str,
    pub key: &'a NamespacedName,
    pub meta: ObjectMeta,
    /// Of the workload that it makes, unless something is wrong with it.
    pub uid: String,
}

/// A WorkloadEntry has its own labels and then those of its spec; an endpoint has its own and not its ServiceEntry's
/// (control-plane facts, B.3). A ServiceEntry whose hosts are called themselves has no waypoint for workloads.
pub(super) fn workloads<'a>(index: &'a Index, settings: &Settings) -> Vec<Entry<'a>> {
    let prefix = format!("{}/networking.istio.io", settings.cluster);
    let mut entries = Vec::new();
    for (key, object) in &index.workload_entries {
        let mut meta = object.metadata.clone();
        for (label, value) in &object.spec.labels {
            meta.labels.entry(label.clone()).or_insert_with(|| value.clone());
        }
        entries.push(Entry { kind: WORKLOAD_ENTRY, key, meta, uid: format!("{prefix}/WorkloadEntry/{key}") });
    }
    for (key, object) in &index.service_entries {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for endpoint in &object.spec.endpoints {
            let times = seen.entry(&endpoint.address).or_default();
            *times += 1;
            let again = if *times > 1 { format!("/{times}") } else { String::new() };
            let labels: StringMap = endpoint.labels.clone();
            entries.push(Entry {
                kind: SERVICE_ENTRY,
                key,
                meta: ObjectMeta { labels, ..ObjectMeta::default() },
                uid: format!("{prefix}/ServiceEntry/{key}/{}{again}", endpoint.address),
            });
        }
    }
    entries
}

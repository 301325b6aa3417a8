//! Where a workload runs.

use std::sync::Arc;

use crate::control::index::Index;
use crate::model::workload::Locality;

/// Of a node's labels; unknown for a node that nobody declared.
pub(super) fn of_node(index: &Index, node: &str) -> Locality {
    let Some(node) = index.nodes.get(node) else { return Locality::default() };
    let label = |key: &str| node.metadata.labels.get(key).map_or_else(Arc::default, |value| Arc::from(value.as_str()));
    Locality {
        region: label("topology.kubernetes.io/region"),
        zone: label("topology.kubernetes.io/zone"),
        subzone: label("topology.istio.io/subzone"),
    }
}

/// Of `region/zone/subzone`.
pub(super) fn of_text(text: &str) -> Locality {
    let mut parts = text.splitn(3, '/').map(Arc::from);
    let mut part = || parts.next().unwrap_or_default();
    Locality { region: part(), zone: part(), subzone: part() }
}

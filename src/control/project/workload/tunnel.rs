//! How a workload is reached.

use crate::kube::types::meta::StringMap;
use crate::model::workload::Tunnel;

/// A comma list; with `http` in it the workload speaks HBONE itself.
const TUNNEL: &str = "networking.istio.io/tunnel";
/// Written by whoever redirects a workload into its node's proxy.
const REDIRECTION: &str = "ambient.istio.io/redirection";

/// The tunnel, and whether the workload speaks it itself.
pub(super) fn of(labels: &StringMap, captured: bool) -> (Tunnel, bool) {
    let native = labels.get(TUNNEL).is_some_and(|list| list.split(',').any(|word| word.trim() == "http"));
    (if native || captured { Tunnel::Hbone } else { Tunnel::None }, native)
}

/// Whether somebody says that the workload, which is no pod of ours, is redirected.
pub(super) fn is_redirected(annotations: &StringMap) -> bool {
    annotations.get(REDIRECTION).is_some_and(|value| value == "enabled")
}

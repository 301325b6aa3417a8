//! How a service's endpoints are chosen.

use std::time::Duration;

use crate::control::project::notes::{Notes, SERVICE};
use crate::control::project::status::Reason;
use crate::kube::types::meta::{Namespace, StringMap};
use crate::kube::types::service::ServiceSpec;
use crate::model::name::NamespacedName;
use crate::model::service::{Affinity, Balancing, Mode, Scope};

/// The annotation form of `spec.trafficDistribution`, on a Service, a ServiceEntry or a Namespace.
pub(super) const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

/// Kubernetes' bounds and default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_SECONDS: std::ops::RangeInclusive<u32> = 1..=86_400;
const DEFAULT_AFFINITY_SECONDS: u32 = 10_800;

/// Of a Kubernetes Service.
pub(super) fn of_service(
    key: &NamespacedName,
    spec: &ServiceSpec,
    annotations: &StringMap,
    namespace: Option<&Namespace>,
    notes: &mut Notes,
) -> Balancing {
    let mut wrong = |message: String| notes.warn(SERVICE, key, Reason::Invalid, message);
    let (mode, preference) = match spec.internal_traffic_policy.as_deref() {
        Some("Local") => (Mode::Strict, vec![Scope::Node]),
        policy => {
            if let Some(other) = policy.filter(|text| !matches!(*text, "" | "Cluster")) {
                wrong(format!(
                    "spec.internalTrafficPolicy: `{other}` is not known and Cluster counts; write Cluster or Local"
                ));
            }
            match spec.traffic_distribution.as_deref().filter(|text| !text.is_empty()) {
                Some(text) => {
                    let parsed = distribution(text);
                    if parsed.is_none() {
                        wrong(format!(
                            "spec.trafficDistribution: `{text}` is not known and every endpoint is chosen; write \
                             PreferSameZone, PreferSameNode or PreferClose"
                        ));
                    }
                    parsed
                }
                None => annotated(annotations, namespace),
            }
            .unwrap_or_default()
        }
    };
    let affinity = match spec.session_affinity.as_deref() {
        None | Some("" | "None") => None,
        Some("ClientIP") => {
            let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
            let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(DEFAULT_AFFINITY_SECONDS);
            let sound = AFFINITY_SECONDS.contains(&seconds);
            if !sound {
                wrong(format!(
                    "spec.sessionAffinityConfig.clientIP.timeoutSeconds: {seconds} is out of bounds and \
                     {DEFAULT_AFFINITY_SECONDS} counts; write a number from 1 to 86400"
                ));
            }
            let seconds = if sound { seconds } else { DEFAULT_AFFINITY_SECONDS };
            Some(Affinity { timeout: Duration::from_secs(seconds.into()) })
        }
        Some(other) => {
            wrong(format!("spec.sessionAffinity: `{other}` is not known and None counts; write None or ClientIP"));
            None
        }
    };
    Balancing { mode, preference, accept_unhealthy: spec.publish_not_ready_addresses, affinity }
}

/// What the annotation says, the object's own first. An unknown value is as good as none: that is Istio's rule.
pub(super) fn annotated(annotations: &StringMap, namespace: Option<&Namespace>) -> Option<(Mode, Vec<Scope>)> {
    let own = annotations.get(TRAFFIC_DISTRIBUTION);
    let text = own.or_else(|| namespace?.metadata.annotations.get(TRAFFIC_DISTRIBUTION))?;
    ["PreferClose", "PreferSameZone", "PreferSameNode"]
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(text))
        .and_then(distribution)
}

fn distribution(text: &str) -> Option<(Mode, Vec<Scope>)> {
    let preference = match text {
        "PreferClose" | "PreferSameZone" => vec![Scope::Network, Scope::Region, Scope::Zone],
        "PreferSameNode" => vec![Scope::Network, Scope::Region, Scope::Zone, Scope::Subzone, Scope::Node],
        _ => return None,
    };
    Some((Mode::Failover, preference))
}

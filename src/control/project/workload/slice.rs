//! EndpointSlice endpoints that are no pods → workloads: the API server, what somebody entered by hand.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::control::project::notes::{ENDPOINT_SLICE, Notes};
use crate::control::project::service::ip;
use crate::control::project::status::Reason;
use crate::kube::types::service::{Endpoint, EndpointSlice};
use crate::model::name::NamespacedName;
use crate::model::workload::{Locality, Workload};

use super::{Context, locality};

/// One for each endpoint that does not stand for a pod. They are not found by address: somebody else may have it too.
pub(super) fn workloads(
    context: &Context<'_>,
    service: &NamespacedName,
    slice: &EndpointSlice,
    notes: &mut Notes,
) -> Vec<Workload> {
    let meta = &slice.metadata;
    let key = NamespacedName::new(Arc::clone(&meta.namespace), Arc::clone(&meta.name));
    let is_pod = |endpoint: &Endpoint| endpoint.target_ref.as_ref().is_some_and(|target| target.kind == "Pod");
    let mut others = slice.endpoints.iter().enumerate().filter(|(_, endpoint)| !is_pod(endpoint)).peekable();
    if others.peek().is_none() {
        return Vec::new();
    }
    if slice.address_type == "FQDN" {
        let message = "addressType FQDN is not carried; use a ServiceEntry with resolution DNS";
        notes.warn(ENDPOINT_SLICE, &key, Reason::Invalid, message);
        return Vec::new();
    }
    let settings = context.settings;
    let services = context.services.of_slice(service, slice);
    let mut workloads = Vec::new();
    let mut seen = HashSet::new();
    for (i, endpoint) in others {
        let addresses = match endpoint.addresses.iter().map(|text| ip(text)).collect::<Result<Vec<IpAddr>, _>>() {
            Ok(addresses) => addresses,
            Err(refusal) => {
                let message = format_args!("endpoints[{i}].addresses: {refusal}; until then the endpoint is left out");
                notes.warn(ENDPOINT_SLICE, &key, Reason::Invalid, message);
                continue;
            }
        };
        // Kubernetes says that whoever reads slices leaves out what stands twice.
        let Some(first) = addresses.first().copied().filter(|first| seen.insert(*first)) else { continue };
        let node = endpoint.node_name.clone().unwrap_or_default();
        let mut locality = locality::of_node(context.index, &node);
        if locality == Locality::default() {
            locality.zone = endpoint.zone.clone().unwrap_or_default();
        }
        workloads.push(Workload {
            uid: format!("{}/discovery.k8s.io/EndpointSlice/{key}/{first}", settings.cluster).into(),
            name: Arc::clone(&key.name),
            namespace: Arc::clone(&key.namespace),
            trust_domain: Arc::clone(&settings.trust_domain),
            addresses,
            network: Arc::clone(&settings.network),
            cluster: Arc::clone(&settings.cluster),
            node,
            owner: Arc::clone(&key.name),
            canonical_name: Arc::clone(&key.name),
            canonical_revision: "latest".into(),
            locality,
            healthy: endpoint.conditions.is_ready(),
            host_network: true,
            services: services.clone(),
            ..Workload::default()
        });
    }
    workloads
}

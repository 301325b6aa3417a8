//! The road to another network (pure): a tunnel to its gateway, and in it a tunnel to the destination.
//!
//! The gateway is asked for the service by name and forwards bytes that it cannot read; who answers at the far end
//! proves an identity of the service to the caller itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::balance::{At, Avoid, Caller, Picked};
use super::waypoint::{Purpose, Resolved, Unresolved, resolve};
use crate::mesh::{Held, View};
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::service::Service;
use crate::model::spiffe::Identity;

use super::outbound::Target;

/// Two tunnels, one in the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beyond {
    /// The gateway's listener, which is dialled.
    pub hop: SocketAddr,
    pub gateway: Arc<Held>,
    /// The identities of which the gateway must prove one.
    pub expected: Vec<Identity>,
    /// What both tunnels ask for: the service's host name and the port that was dialled.
    pub host: Arc<str>,
    pub port: u16,
    /// The identities of which the far end of the inner tunnel must prove one. Never empty.
    pub inner: Vec<Identity>,
    /// The record of what is behind the gateway: often one for all endpoints of a service there.
    pub target: Target,
    /// A waypoint answers at the far end, and not the destination's node proxy.
    pub is_waypoint: bool,
}

/// How many identities the inner tunnel may be answered by: a service has one service account, as a rule.
const MAX_INNER: usize = 64;

/// Finds a listener of the gateway that leads to `network`.
///
/// # Errors
/// As for a waypoint. A gateway behind another gateway is none.
pub(super) fn find(
    reference: &GatewayAddress,
    network: &str,
    view: &View,
    caller: &Caller<'_>,
    called: IpAddr,
    avoid: &Avoid<'_>,
    random: u64,
) -> Result<Resolved, Unresolved> {
    let within = |network: &str| {
        let caller = Caller { network, ..*caller };
        let found = resolve(reference, Purpose::NetworkGateway, view, &caller, called, avoid, random)?;
        if found.picked.at == At::Gateway { Err(Unresolved::Unknown) } else { Ok(found) }
    };
    match &reference.destination {
        GatewayDestination::Address { network, .. } => within(network),
        // It stands on the far network, with an address that can be called from here, or on this one.
        GatewayDestination::Hostname(_) => within(network).or_else(|_| within(caller.network)),
    }
}

/// Who may answer for `service` on the network of `picked`: those that the service names, or else its endpoints there.
pub(super) fn answering(service: &Service, view: &View, picked: &Picked) -> Vec<Identity> {
    if !service.subject_alt_names.is_empty() {
        return service.subject_alt_names.to_vec();
    }
    let mut all = Vec::new();
    for endpoint in view.endpoints(&service.key()).iter().filter(|e| e.workload().network == picked.workload.network) {
        let identity = endpoint.workload().identity();
        if !all.contains(&identity) && all.len() < MAX_INNER {
            all.push(identity);
        }
    }
    all
}

#[cfg(test)]
mod tests;

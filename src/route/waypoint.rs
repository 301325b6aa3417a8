//! Waypoints and network gateways: which one, where it is, and whether the caller is it (pure).

use std::net::IpAddr;
use std::sync::Arc;

use super::balance::{Avoid, Caller, Picked, Wanted, address, balance};
use super::hash;
use crate::mesh::demand::Sought;
use crate::mesh::{Held, View};
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::service::{IpFamilies, Service};
use crate::model::spiffe::Identity;

/// A waypoint or gateway that can be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    pub picked: Picked,
    /// Whom its server may prove to be.
    pub expected: Vec<Identity>,
}

/// What a reference is followed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Its port need not be one that the service lists.
    Waypoint,
    NetworkGateway,
}

/// Why a waypoint cannot be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// No service and no workload is where the reference says.
    Unknown,
    /// It is there, and none of its endpoints can take a connection.
    Empty,
}

/// What a reference means.
enum Referent<'a> {
    Service(&'a Arc<Service>),
    Workload(&'a Arc<Held>),
}

/// The waypoint of a call to the service: by weight where there are several, `None` where there is none.
pub fn choose(service: &Service, random: u64) -> Option<&GatewayAddress> {
    let weighted = &service.weighted_waypoints;
    let total = weighted.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let chosen = hash::weighted(random, total, weighted.iter(), |(_, weight)| u64::from(*weight));
    chosen.map(|(waypoint, _)| waypoint).or(service.waypoint.as_ref())
}

/// Finds an endpoint of the waypoint, or of the gateway, for a call to `called`.
///
/// # Errors
/// See [`Unresolved`]. A call whose waypoint cannot be called goes nowhere.
pub fn resolve(
    waypoint: &GatewayAddress,
    purpose: Purpose,
    view: &View,
    caller: &Caller<'_>,
    called: IpAddr,
    avoid: &Avoid<'_>,
    random: u64,
) -> Result<Resolved, Unresolved> {
    let called = match &waypoint.destination {
        GatewayDestination::Address { ip, .. } => *ip,
        GatewayDestination::Hostname(_) => called,
    };
    match referent(waypoint, view).ok_or(Unresolved::Unknown)? {
        Referent::Service(service) => {
            let of_waypoint = purpose == Purpose::Waypoint;
            let wanted = Wanted { port: waypoint.port, address: called, waypoint: of_waypoint };
            let picked = balance(service, view, caller, &wanted, avoid, random).map_err(|_| Unresolved::Empty)?;
            let expected = expected(&service.subject_alt_names, &picked.workload);
            Ok(Resolved { picked, expected })
        }
        Referent::Workload(workload) => {
            let at = address(workload, IpFamilies::Automatic, called, caller.network).ok_or(Unresolved::Empty)?;
            let expected = expected(&[], workload);
            let picked =
                Picked { workload: Arc::clone(workload), port: waypoint.port, at, others: false, further: false };
            // Tried once, a single one has nobody to stand in for it.
            if avoid.was_tried(workload, waypoint.port) {
                return Err(Unresolved::Empty);
            }
            Ok(Resolved { picked, expected })
        }
    }
}

/// Whether the pod with this identity and these addresses is the waypoint, or one of its endpoints, ready or not. What
/// it sends has been through it, and would come back to it for ever.
pub fn is_from(waypoint: &GatewayAddress, view: &View, identity: &Identity, own: &[IpAddr]) -> bool {
    is_endpoint(waypoint, view, |workload| {
        workload.identity() == *identity && workload.addresses.iter().any(|ip| own.contains(&ip.to_canonical()))
    })
}

/// Whether the waypoint is a workload, or has an endpoint, that `is` says yes to.
pub fn is_endpoint(waypoint: &GatewayAddress, view: &View, is: impl Fn(&Held) -> bool) -> bool {
    match referent(waypoint, view) {
        Some(Referent::Service(service)) => view.endpoints(&service.key()).iter().any(|e| is(e.workload())),
        Some(Referent::Workload(workload)) => is(workload),
        None => false,
    }
}

/// What to ask for where nothing is at the reference. `None` where something is, or nothing can be.
pub(super) fn sought(reference: &GatewayAddress, view: &View) -> Option<Sought> {
    if referent(reference, view).is_some() {
        return None;
    }
    match &reference.destination {
        GatewayDestination::Address { network, ip } => Sought::address(Arc::clone(network), *ip),
        GatewayDestination::Hostname(key) => Some(Sought::Service(key.clone())),
    }
}

/// The waypoint itself, or all of its endpoints.
pub(super) fn workloads<'a>(waypoint: &GatewayAddress, view: &'a View) -> impl Iterator<Item = &'a Held> {
    let (one, endpoints) = match referent(waypoint, view) {
        Some(Referent::Service(service)) => (None, view.endpoints(&service.key())),
        Some(Referent::Workload(workload)) => (Some(&**workload), &[][..]),
        None => (None, &[][..]),
    };
    one.into_iter().chain(endpoints.iter().map(|endpoint| &**endpoint.workload()))
}

/// The identities that the server at `workload` may prove: its own, and those that the service names.
pub(super) fn expected(named: &[Identity], workload: &Held) -> Vec<Identity> {
    let mut expected = vec![workload.identity()];
    expected.extend(named.iter().filter(|name| **name != expected[0]).cloned().collect::<Vec<_>>());
    expected
}

/// The reference is the mesh's own and no caller's: who may see the service does not matter.
fn referent<'a>(waypoint: &GatewayAddress, view: &'a View) -> Option<Referent<'a>> {
    match &waypoint.destination {
        GatewayDestination::Address { network, ip } => {
            let workload = view.workload_at(network, *ip).map(Referent::Workload);
            workload.or_else(|| view.service_at(network, *ip, None).map(Referent::Service))
        }
        GatewayDestination::Hostname(key) => {
            let service = view.service(key).map(Referent::Service);
            service.or_else(|| view.workload_named(&key.namespace, &key.name).map(Referent::Workload))
        }
    }
}

#[cfg(test)]
mod tests;

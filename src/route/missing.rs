//! What has to be asked for before a decision counts (pure): where the mesh holds only what was asked for, what it lacks
//! may be there all the same.
//!
//! Asked after the decision, so that a connection to what the mesh has looks nothing up twice.

use std::sync::Arc;

use super::inbound::{Arrival, Inbound};
use super::outbound::{Decision, Facts, Refusal, Route};
use super::waypoint;
use crate::hbone::authority::Authority;
use crate::mesh::demand::Sought;
use crate::mesh::{Held, View};
use crate::model::gateway::GatewayAddress;
use crate::model::name::NamespacedName;
use crate::model::service::Service;

/// Things that one look asks for. A service has a waypoint, or two while one takes over from another.
const MOST: usize = 8;

/// What `decision` was made without. Empty when it counts.
pub fn missing(facts: &Facts<'_>, decision: &Decision, view: &View) -> Vec<Sought> {
    let Facts { network, destination, .. } = *facts;
    let Decision { route, service } = decision;
    let mut all = Vec::new();
    let is_unsaid = match (route, service) {
        (Route::Passthrough, None) => true,
        // A pod within a service's block is called itself, once it is known.
        (_, Some(service)) => !service.is_at(network, destination.ip().to_canonical()),
        _ => false,
    };
    if is_unsaid {
        all.extend(Sought::address(network, destination.ip()));
    }
    let references = || references(view.workload_at(network, destination.ip()), service.as_ref());
    match route {
        Route::Refuse(Refusal::UnknownWaypoint) => unresolved(&mut all, references(), view),
        Route::Refuse(Refusal::UnknownGateway) => {
            let endpoints = service.iter().flat_map(|service| view.endpoints(&service.key()));
            let endpoints = endpoints.map(|endpoint| &**endpoint.workload());
            let behind = references().flat_map(|waypoint| waypoint::workloads(waypoint, view));
            unresolved(&mut all, endpoints.chain(behind).filter_map(|held| held.network_gateway.as_ref()), view);
        }
        _ => {}
    }
    all
}

/// What the judgement of an arriving tunnel's destination was made without. Empty when it counts.
pub fn missing_inbound(arrival: &Arrival<'_>, judged: &Inbound, view: &View) -> Vec<Sought> {
    let Arrival { authority, network, workload, .. } = *arrival;
    let mut all = Vec::new();
    match (judged, authority, workload) {
        // Only who is known to be a pod can be known to be a waypoint.
        (Inbound::NotOurs, Authority::Address(to), Some(_)) => {
            let (target, service) = (view.workload_at(network, to.ip()), view.service_at(network, to.ip(), None));
            if target.is_none() && !service.is_some_and(|service| service.is_at(network, to.ip().to_canonical())) {
                all.extend(Sought::address(network, to.ip()));
            }
            unresolved(&mut all, references(target, service), view);
        }
        (Inbound::Unknown, Authority::Host { host, .. }, Some(workload)) => match host_of(workload, host, view) {
            Err(key) => all.push(Sought::Service(key)),
            Ok(service) => unresolved(&mut all, references(None, Some(service)), view),
        },
        _ => {}
    }
    all
}

fn references<'a>(
    workload: Option<&'a Arc<Held>>,
    service: Option<&'a Arc<Service>>,
) -> impl Iterator<Item = &'a GatewayAddress> {
    let of_workload = workload.and_then(|workload| workload.waypoint.as_ref());
    let of_service =
        service.into_iter().flat_map(|of| of.weighted_waypoints.iter().map(|(at, _)| at).chain(of.waypoint.as_ref()));
    of_workload.into_iter().chain(of_service)
}

fn unresolved<'a>(all: &mut Vec<Sought>, references: impl Iterator<Item = &'a GatewayAddress>, view: &View) {
    for sought in references.filter_map(|reference| waypoint::sought(reference, view)) {
        if all.len() >= MOST {
            return;
        }
        if !all.contains(&sought) {
            all.push(sought);
        }
    }
}

/// The service that a workload is called as by a host name, or the key to ask for it by: one of its own services, or, for
/// a waypoint, the one that the name says. A name of a cluster has its namespace in it, any other is taken for one of
/// the workload's own namespace.
fn host_of<'a>(workload: &Held, host: &str, view: &'a View) -> Result<&'a Arc<Service>, NamespacedName> {
    if let Some(service) = view.service_named(host, &workload.namespace) {
        return Ok(service);
    }
    if let Some(own) = workload.services.iter().find(|of| *of.service.name == *host) {
        return Err(own.service.clone());
    }
    let of_cluster = host.split_once(".svc.").and_then(|(inner, _)| inner.rsplit_once('.'));
    let namespace = of_cluster.map(|(_, namespace)| Arc::from(namespace));
    Err(NamespacedName::new(namespace.unwrap_or_else(|| Arc::clone(&workload.namespace)), host))
}

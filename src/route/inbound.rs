//! Whether a connection that arrives at a pod is for that pod, and where in it it goes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::waypoint;
use crate::hbone::authority::Authority;
use crate::mesh::{Held, View};
use crate::model::gateway::GatewayAddress;
use crate::model::ports;
use crate::model::service::{Service, VirtualAddress};
use crate::model::workload::ApplicationTunnel;

/// The answer for an arriving connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    Here(Here),
    /// To a listener of ours: it would call itself. 503.
    Loop,
    /// Another address than the pod's. 400.
    NotOurs,
    /// A service that is not known, or without this port. 503.
    Unknown,
}

/// Where in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Here {
    /// The application, as policy sees it.
    pub to: SocketAddr,
    /// What is dialled.
    pub dial: SocketAddr,
    /// The destination that a PROXY header names, where the application wants one.
    pub proxy: Option<SocketAddr>,
}

/// A connection that came through a tunnel.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    /// What the CONNECT asks for.
    pub authority: &'a Authority,
    /// The address of the pod that the tunnel came to.
    pub local: IpAddr,
    /// The pod's addresses.
    pub addresses: &'a [IpAddr],
    /// The network that the node is on.
    pub network: &'a str,
    /// The pod's own record.
    pub workload: Option<&'a Held>,
}

/// Judges the destination `to` of a connection that arrived at the pod with `addresses` without a tunnel.
///
/// Redirection also catches what is merely routed through the pod, and the pod's policies and identity say nothing
/// about other destinations.
pub fn inbound(to: SocketAddr, addresses: &[IpAddr]) -> Inbound {
    if !addresses.contains(&to.ip()) {
        Inbound::NotOurs
    } else if ports::is_ours(to.port()) {
        Inbound::Loop
    } else {
        Inbound::Here(Here { to, dial: to, proxy: None })
    }
}

/// As [`inbound`], for what a tunnel asks for: the pod itself, a service that it is an endpoint of, or, where the pod is
/// a waypoint, what it stands before. A pod with an application tunnel is told in a PROXY header and takes everything.
pub fn tunnelled(arrival: &Arrival<'_>, view: &View) -> Inbound {
    let Arrival { authority, local, addresses, network, workload } = *arrival;
    let tunnel = workload.and_then(|workload| workload.application_tunnel);
    let (ip, port, named) = match authority {
        Authority::Address(to) if addresses.contains(&to.ip()) => (to.ip(), to.port(), *to),
        Authority::Address(to) => {
            let stands_before = workload.is_some_and(|workload| is_waypoint_of(workload, to.ip(), network, view));
            if tunnel.is_none() && !stands_before {
                return Inbound::NotOurs;
            }
            (local, to.port(), *to)
        }
        Authority::Host { host, port } => {
            let Some((service, target)) = workload.and_then(|workload| endpoint_of(workload, host, *port, view)) else {
                return Inbound::Unknown;
            };
            let wants_header = tunnel.is_some_and(|tunnel| tunnel.proxy);
            match virtual_address(service, network) {
                Some(ip) => (local, target, SocketAddr::new(ip, *port)),
                None if wants_header => return Inbound::Unknown,
                None => (local, target, SocketAddr::new(local, target)),
            }
        }
    };
    if ports::is_ours(port) {
        return Inbound::Loop;
    }
    let ApplicationTunnel { proxy, port: other } = tunnel.unwrap_or(ApplicationTunnel { proxy: false, port: 0 });
    let to = SocketAddr::new(ip, if other == 0 { port } else { other });
    if ports::is_ours(to.port()) {
        return Inbound::Loop;
    }
    // A program that takes PROXY headers believes them, so it listens where only its own pod can call.
    let loopback = if ip.is_ipv4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
    let dial = if proxy { SocketAddr::new(loopback, to.port()) } else { to };
    Inbound::Here(Here { to, dial, proxy: proxy.then_some(named) })
}

/// The service that an arriving connection counts for: the one whose name its sender gives, if the workload is an
/// endpoint of it, or else the first that leads to `port`. Good for labels and for nothing else.
pub fn service_of(workload: &Held, host: Option<&str>, port: u16, view: &View) -> Option<Arc<Service>> {
    let services = || workload.services.iter().filter_map(|of| Some((of, view.service(&of.service)?)));
    let named = host.and_then(|host| services().find(|(_, service)| *service.hostname == *host));
    let leads = || {
        services().find(|(of, service)| {
            service.ports.iter().any(|entry| entry.target == port) || of.ports.iter().any(|(_, target)| *target == port)
        })
    };
    named.or_else(leads).map(|(_, service)| Arc::clone(service))
}

/// Whether what is at `ip` has the workload as its waypoint.
fn is_waypoint_of(workload: &Held, ip: IpAddr, network: &str, view: &View) -> bool {
    let is = |waypoint: &GatewayAddress| waypoint::is_endpoint(waypoint, view, |one| one.uid == workload.uid);
    let target = view.workload_at(network, ip).and_then(|target| target.waypoint.as_ref());
    let service = view.service_at(network, ip, None);
    let of_service =
        service.into_iter().flat_map(|s| s.weighted_waypoints.iter().map(|(w, _)| w).chain(s.waypoint.as_ref()));
    target.into_iter().chain(of_service).any(is)
}

/// The service with this host name that the workload is an endpoint or the waypoint of, and the port that is meant.
fn endpoint_of<'a>(workload: &Held, host: &str, port: u16, view: &'a View) -> Option<(&'a Service, u16)> {
    let service = view.service_named(host, &workload.namespace)?;
    let key = service.key();
    let member = workload.services.iter().find(|of| of.service == key);
    let is = |waypoint: &GatewayAddress| waypoint::is_endpoint(waypoint, view, |one| one.uid == workload.uid);
    let mut waypoints = service.weighted_waypoints.iter().map(|(waypoint, _)| waypoint).chain(&service.waypoint);
    if member.is_none() && !waypoints.any(is) {
        return None;
    }
    let own = member.and_then(|of| of.ports.iter().find(|(from, _)| *from == port)).map(|(_, target)| *target);
    let target = own.or_else(|| service.port(port).map(|entry| entry.target)).filter(|target| *target != 0)?;
    Some((service, target))
}

/// The address that stands for the service: of the own network and IPv4, of it, or any.
fn virtual_address(service: &Service, network: &str) -> Option<IpAddr> {
    let rank = |address: &&VirtualAddress| {
        let of_ours = *address.network == *network;
        (!of_ours, of_ours && !address.net.addr().is_ipv4())
    };
    let single = service.addresses.iter().filter(|address| address.ip().is_some());
    single.min_by_key(rank).and_then(VirtualAddress::ip)
}

#[cfg(test)]
mod tests;

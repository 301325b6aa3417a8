//! Which endpoint of a service a connection goes to (pure).
//!
//! What is eligible, how endpoints are ranked and how ports and addresses follow are Istio's rules (node proxy facts,
//! 2.3). Ours: an endpoint that was tried for this connection is chosen again when there is no other, at its address of the other
//! family, once; one that is set aside is chosen when there is no other, and so is one of another network; affinity needs no memory, see [`hash`](super::hash).

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::hash;
use crate::mesh::{Endpoint, Held, View};
use crate::model::service::{IpFamilies, Mode, Scope, Service};

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The network of the caller's node.
    pub network: &'a str,
    /// The caller's own record; preferences of locality match nothing without it.
    pub workload: Option<&'a Held>,
    /// The address that affinity keeps to.
    pub client: IpAddr,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub port: u16,
    /// The address that was called: an endpoint that has it is called at it, or else at one of its family.
    pub address: IpAddr,
    /// A waypoint behind a node proxy is dialled at the port that was asked for, whether its service lists it or not.
    pub waypoint: bool,
}

/// One port of one endpoint: what fails and is set aside as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointId {
    pub uid: Arc<str>,
    pub port: u16,
}

/// What is better not chosen.
#[derive(Clone, Copy, Debug)]
pub struct Avoid<'a> {
    /// Tried for this connection, and failed; twice where both families were.
    pub tried: &'a [EndpointId],
    /// Failed of late; better than nothing.
    pub aside: &'a HashSet<EndpointId>,
}

/// A chosen endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    pub workload: Arc<Held>,
    pub port: u16,
    pub at: At,
    /// There are more endpoints that this connection could go to.
    pub others: bool,
    /// There is no more than another address of one that was tried by then.
    pub further: bool,
}

/// Where an endpoint is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    Ip(IpAddr),
    /// It has a host name and no address.
    Name(Arc<str>),
    /// It is on another network, and only a gateway leads there.
    Gateway,
}

/// Why no endpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// No endpoint is healthy, or fits what is strictly preferred, or all were tried.
    NoEndpoint,
    /// The service does not have the port.
    NoPort,
}

/// Higher is better; the first part is false for one that was tried.
type Tier = (bool, bool, bool, usize);

/// Chooses an endpoint of `service`. Equal arguments make equal choices: `random` is all the chance there is.
///
/// # Errors
/// See [`Nothing`].
pub fn balance(
    service: &Service,
    view: &View,
    caller: &Caller<'_>,
    wanted: &Wanted,
    avoid: &Avoid<'_>,
    random: u64,
) -> Result<Picked, Nothing> {
    let endpoints = view.endpoints(&service.key());
    let tunnelled = |e: &Endpoint| wanted.waypoint && e.workload().application_tunnel.is_some();
    if service.port(wanted.port).is_none() && !endpoints.iter().any(tunnelled) {
        return Err(Nothing::NoPort);
    }
    let choice = Choice { service, caller, wanted, avoid };
    let eligible = || endpoints.iter().filter_map(|endpoint| choice.eligible(endpoint));
    // Those that were not tried, and those that were.
    let (mut fresh, mut again) = (0, 0);
    let mut best: Option<(Tier, u64)> = None;
    for one in eligible() {
        *(if one.tier.0 { &mut fresh } else { &mut again }) += 1;
        let weight = u64::from(one.workload.capacity);
        match &mut best {
            Some((tier, total)) if *tier == one.tier => *total += weight,
            Some((tier, _)) if *tier > one.tier => {}
            _ => best = Some((one.tier, weight)),
        }
    }
    let (tier, total) = best.ok_or(Nothing::NoEndpoint)?;
    let among = eligible().filter(|one| one.tier == tier);
    let chosen = match service.balancing.affinity {
        Some(_) => hash::nearest(caller.client, among, |one| (&one.workload.uid, one.workload.capacity)),
        None => hash::weighted(random, total, among, |one| one.workload.capacity.into()),
    };
    let chosen = chosen.ok_or(Nothing::NoEndpoint)?;
    let (others, further) = if tier.0 {
        (fresh > 1, again > 0 || other_family(chosen.workload, service.families, &chosen.at).is_some())
    } else {
        (false, again > 1)
    };
    Ok(Picked { workload: Arc::clone(chosen.workload), port: chosen.port, at: chosen.at, others, further })
}

/// Where one workload is called when `called` was; `None` when there is no way.
pub fn address(workload: &Held, families: IpFamilies, called: IpAddr, network: &str) -> Option<At> {
    if *workload.network != *network {
        return workload.network_gateway.is_some().then_some(At::Gateway);
    }
    let all = || workload.addresses.iter().map(IpAddr::to_canonical);
    let fits = || all().filter(|ip| families.allows(ip));
    all()
        .find(|ip| *ip == called)
        .or_else(|| fits().find(|ip| ip.is_ipv4() == called.is_ipv4()))
        .or_else(|| fits().next())
        .map(At::Ip)
        .or_else(|| (!workload.hostname.is_empty()).then(|| At::Name(Arc::clone(&workload.hostname))))
}

/// Where a workload is called after a try at `at` has failed.
fn other_family(workload: &Held, families: IpFamilies, at: &At) -> Option<At> {
    let At::Ip(tried) = at else { return None };
    let mut fits = workload.addresses.iter().map(IpAddr::to_canonical).filter(|ip| families.allows(ip));
    fits.find(|ip| ip.is_ipv4() != tried.is_ipv4()).map(At::Ip)
}

// === impl EndpointId ===

impl EndpointId {
    pub fn new(workload: &Held, port: u16) -> Self {
        Self { uid: Arc::clone(&workload.uid), port }
    }
}

// === impl Avoid ===

impl Avoid<'_> {
    pub(super) fn was_tried(&self, workload: &Held, port: u16) -> bool {
        self.times_tried(workload, port) > 0
    }

    fn times_tried(&self, workload: &Held, port: u16) -> usize {
        self.tried.iter().filter(|tried| tried.port == port && tried.uid == workload.uid).count()
    }

    fn is_aside(&self, workload: &Held, port: u16) -> bool {
        !self.aside.is_empty() && self.aside.contains(&EndpointId::new(workload, port))
    }
}

struct Choice<'a> {
    service: &'a Service,
    caller: &'a Caller<'a>,
    wanted: &'a Wanted,
    avoid: &'a Avoid<'a>,
}

struct Eligible<'a> {
    workload: &'a Arc<Held>,
    port: u16,
    at: At,
    tier: Tier,
}

// === impl Choice ===

impl Choice<'_> {
    fn eligible<'a>(&self, endpoint: &'a Endpoint) -> Option<Eligible<'a>> {
        let balancing = &self.service.balancing;
        let workload = endpoint.workload();
        if workload.capacity == 0 || !(workload.healthy || balancing.accept_unhealthy) {
            return None;
        }
        let port = self.port(endpoint)?;
        let rank = match balancing.mode {
            Mode::Any | Mode::Passthrough => 0,
            Mode::Failover => self.rank(workload).1,
            Mode::Strict => {
                let (matches, rank) = self.rank(workload);
                (matches == balancing.preference.len()).then_some(rank)?
            }
        };
        let at = address(workload, self.service.families, self.wanted.address, self.caller.network)?;
        let times = self.avoid.times_tried(workload, port);
        let at = match times {
            0 => at,
            1 => other_family(workload, self.service.families, &at)?,
            _ => return None,
        };
        let tier = (times == 0, at != At::Gateway, !self.avoid.is_aside(workload, port), rank);
        Some(Eligible { workload, port, at, tier })
    }

    /// The endpoint's port for the one that is wanted.
    fn port(&self, endpoint: &Endpoint) -> Option<u16> {
        let tunnel = endpoint.workload().application_tunnel.is_some();
        let listed = self.service.port(self.wanted.port);
        if listed.is_none() && !(self.wanted.waypoint && tunnel) {
            return None;
        }
        endpoint
            .port(self.wanted.port)
            .or_else(|| listed.map(|port| port.target).filter(|target| *target != 0))
            .or_else(|| {
                let own = endpoint.workload().application_tunnel.is_some_and(|tunnel| tunnel.port != 0);
                (own || (self.wanted.waypoint && tunnel)).then_some(self.wanted.port)
            })
    }

    /// How many of the preferred scopes caller and endpoint share before the first that they do not, and the rank that
    /// follows. Where the network comes first it outranks all others together, and a mismatch of it ends nothing.
    fn rank(&self, workload: &Held) -> (usize, usize) {
        let scopes = &self.service.balancing.preference;
        let (mut matches, mut extra) = (0, 0);
        for (place, scope) in scopes.iter().enumerate() {
            let network_first = place == 0 && *scope == Scope::Network;
            if self.shares(*scope, workload) {
                matches += 1;
                extra += if network_first { scopes.len() - 1 } else { 0 };
            } else if !network_first {
                break;
            }
        }
        (matches, matches + extra)
    }

    fn shares(&self, scope: Scope, endpoint: &Held) -> bool {
        if scope == Scope::Network {
            return *endpoint.network == *self.caller.network;
        }
        let part = |of: &Held| match scope {
            Scope::Region => Arc::clone(&of.locality.region),
            Scope::Zone => Arc::clone(&of.locality.zone),
            Scope::Subzone => Arc::clone(&of.locality.subzone),
            Scope::Node => Arc::clone(&of.node),
            Scope::Cluster => Arc::clone(&of.cluster),
            Scope::Network => Arc::clone(&of.network),
        };
        self.caller.workload.is_some_and(|caller| part(caller) == part(endpoint))
    }
}

#[cfg(test)]
mod tests;

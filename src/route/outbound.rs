//! The road of a connection that a pod opens: one attempt, on the mesh as it is now.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::balance::{At, Avoid, Caller, EndpointId, Nothing, Picked, Wanted, address, balance};
use super::gateway::{self, Beyond};
use super::waypoint::{self, Purpose, Unresolved};
use super::{hash, waypoint::expected};
use crate::mesh::{Held, View};
use crate::model::gateway::GatewayAddress;
use crate::model::ports;
use crate::model::service::{IpFamilies, Mode, Service};
use crate::model::spiffe::Identity;
use crate::model::workload::Tunnel;

/// What is known of a captured connection.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The network that the pod's node is on.
    pub network: &'a str,
    /// The Kubernetes namespace of the pod.
    pub namespace: &'a str,
    /// Who the pod is, by its enrolment.
    pub identity: &'a Identity,
    /// The pod's own record.
    pub source: Option<&'a Held>,
    /// The address that the application's socket has. An application may bind any that its namespace has; a tunnel
    /// is dialled from the pod's own whatever it chose.
    pub client: IpAddr,
    /// What the application dialled.
    pub destination: SocketAddr,
    /// Where the captured connection was accepted.
    pub listener: SocketAddr,
    /// Whether a pod with this address and identity is enrolled on this node; never when the same-node lane is off.
    pub is_here: &'a dyn Fn(IpAddr, &Identity) -> bool,
    /// The addresses of the pod that opened the connection.
    pub own: &'a [IpAddr],
    /// Host names that were looked up for this attempt.
    pub resolved: &'a [(Arc<str>, IpAddr)],
}

/// The road, and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub route: Route,
    /// The service whose address was dialled.
    pub service: Option<Arc<Service>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Through the gateway of another network.
    Beyond(Box<Beyond>),
    /// Plain TCP to a workload that the mesh knows and that is outside of it.
    Direct(Target),
    /// Joined with the destination's own socket on this node.
    Express(Target),
    /// A tunnel to the workload's node proxy, or to a waypoint.
    Hbone(Hbone),
    /// Plain TCP to where it was addressed: the mesh knows nothing of it, or the service says so.
    Passthrough,
    Refuse(Refusal),
    /// The endpoint that was chosen has a host name and no address: look it up and ask again.
    Resolve(Target, Arc<str>),
}

/// The end that an attempt leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where the application, or the waypoint's listener, is. Port 0 and no address where only a name is known.
    pub at: SocketAddr,
    pub workload: Arc<Held>,
    pub id: EndpointId,
    /// There are more endpoints to try when this one fails.
    pub others: bool,
    /// There are none, but another address of this one, or of one that was tried before.
    pub further: bool,
}

/// Where a tunnel goes and whom it must find there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hbone {
    /// What is dialled: port 15008 of the workload, or the waypoint.
    pub hop: SocketAddr,
    /// `:authority` of the CONNECT: the endpoint, or through a waypoint what the application dialled.
    pub authority: SocketAddr,
    /// The identities of which the server must prove one.
    pub expected: Vec<Identity>,
    pub target: Target,
    /// A waypoint answers, and not the destination's node proxy.
    pub is_waypoint: bool,
}

/// Why a connection takes no road.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The destination is a listener of the proxy.
    #[error("attempted recursive call to ourselves")]
    Loop,
    /// The workload has no address that fits and no host name.
    #[error("no valid routing destination: the workload has no address that can be called")]
    NoAddress,
    /// The service is known and nobody serves it now.
    #[error("no healthy upstream: the service has no endpoint that can take the connection")]
    NoEndpoint,
    /// The service does not list the port.
    #[error("no such port: the service does not have it")]
    NoPort,
    /// The gateway of the other network is known and nobody serves it now.
    #[error("the gateway to the other network has no endpoint that can take the connection")]
    GatewayEmpty,
    /// The only endpoints are on another network, and nothing says who may answer for them.
    #[error("the destination is on another network, and neither the service nor its endpoints there have an identity")]
    Nameless,
    /// The destination is on another network, and no service was dialled.
    #[error("no service for target address: only calls to a service lead through the gateway of another network")]
    OtherNetwork,
    /// The reference to the other network's gateway leads nowhere.
    #[error("unknown network gateway: nothing is where the reference says")]
    UnknownGateway,
    /// The reference to the waypoint leads nowhere. It is never gone round.
    #[error("unknown waypoint: nothing is where the reference says")]
    UnknownWaypoint,
    /// The waypoint is known and nobody serves it now. It is never gone round.
    #[error("the waypoint has no endpoint that can take the connection")]
    WaypointEmpty,
    /// The waypoint that was found is the caller's own address under another identity.
    #[error("the waypoint is the calling pod itself, under another identity")]
    WaypointLoop,
}

/// Decides the road of one attempt. Equal arguments make equal decisions.
pub fn outbound(facts: &Facts<'_>, view: &View, avoid: &Avoid<'_>, random: u64) -> Decision {
    let Facts { network, destination, listener, .. } = *facts;
    // Connection tracking also answers for a connection that nobody redirected, with the address that it came to.
    // Dialled again, it would come back here: on whichever address of the namespace the listener was called.
    if destination == listener {
        return Decision { route: Route::Refuse(Refusal::Loop), service: None };
    }
    let attempt = Attempt { facts, view, avoid, random };
    // A workload's own address is never a service's: a block of addresses must not take its pods' calls.
    if let Some(workload) = view.workload_at(network, destination.ip()) {
        return Decision { route: attempt.to_workload(workload).unwrap_or_else(Route::Refuse), service: None };
    }
    let Some(service) = view.service_at(network, destination.ip(), Some(facts.namespace)) else {
        let ours = ports::is_ours(destination.port()) && destination.ip().is_loopback();
        let route = if ours { Route::Refuse(Refusal::Loop) } else { Route::Passthrough };
        return Decision { route, service: None };
    };
    let route = attempt.to_service(service).unwrap_or_else(Route::Refuse);
    Decision { route, service: Some(Arc::clone(service)) }
}

struct Attempt<'a> {
    facts: &'a Facts<'a>,
    view: &'a View,
    avoid: &'a Avoid<'a>,
    random: u64,
}

// === impl Attempt ===

impl Attempt<'_> {
    fn to_workload(&self, workload: &Arc<Held>) -> Result<Route, Refusal> {
        let Facts { destination, network, .. } = *self.facts;
        let at = address(workload, IpFamilies::Automatic, destination.ip(), network).ok_or(Refusal::NoAddress)?;
        let picked =
            Picked { workload: Arc::clone(workload), port: destination.port(), at, others: false, further: false };
        self.not_ours(workload, destination)?;
        match &workload.waypoint {
            Some(waypoint) if !self.is_from(waypoint) => self.through(waypoint, None),
            _ => self.to(picked, None),
        }
    }

    fn to_service(&self, service: &Service) -> Result<Route, Refusal> {
        let Facts { destination, .. } = *self.facts;
        let all = service.weighted_waypoints.iter().map(|(waypoint, _)| waypoint).chain(&service.waypoint);
        if let Some(waypoint) = waypoint::choose(service, self.random)
            // One of several may send what another would take: it is the same layer.
            && !all.into_iter().any(|waypoint| self.is_from(waypoint))
        {
            return self.through(waypoint, Some(service));
        }
        if service.balancing.mode == Mode::Passthrough {
            return Ok(Route::Passthrough);
        }
        let wanted = Wanted { port: destination.port(), address: destination.ip(), waypoint: false };
        let picked = balance(service, self.view, &self.caller(), &wanted, self.avoid, hash::mix(self.random)).map_err(
            |why| match why {
                Nothing::NoEndpoint => Refusal::NoEndpoint,
                Nothing::NoPort => Refusal::NoPort,
            },
        )?;
        // The waypoint of the endpoint itself is for calls to its own address.
        self.to(picked, Some(service))
    }

    /// Straight to an endpoint.
    fn to(&self, picked: Picked, service: Option<&Service>) -> Result<Route, Refusal> {
        if picked.at == At::Gateway {
            let inner = service.map(|service| gateway::answering(service, self.view, &picked));
            return self.beyond(picked, inner.unwrap_or_default(), service, false);
        }
        let target = match self.target(picked)? {
            Ok(target) => target,
            Err((target, name)) => return Ok(Route::Resolve(target, name)),
        };
        let workload = &target.workload;
        self.not_ours(workload, target.at)?;
        Ok(match workload.tunnel {
            Tunnel::None => Route::Direct(target),
            // The lane asks what the wire would: the identity that a handshake would have to prove, and a source
            // address that the destination would see. Who does not fit takes the tunnel, which finds out.
            Tunnel::Hbone
                if workload.application_tunnel.is_none()
                    && self.facts.own.contains(&self.facts.client)
                    && (self.facts.is_here)(target.at.ip(), &workload.identity()) =>
            {
                Route::Express(target)
            }
            Tunnel::Hbone => Route::Hbone(Hbone {
                hop: SocketAddr::new(target.at.ip(), ports::HBONE),
                authority: target.at,
                expected: expected(service.map_or(&[], |service| &service.subject_alt_names), workload),
                target,
                is_waypoint: false,
            }),
        })
    }

    /// To the waypoint, which is told what was dialled. A waypoint speaks HBONE, whoever captures it.
    fn through(&self, waypoint: &GatewayAddress, service: Option<&Service>) -> Result<Route, Refusal> {
        let Facts { destination, own, .. } = *self.facts;
        let random = hash::mix(self.random);
        let (view, caller) = (self.view, self.caller());
        let found = waypoint::resolve(waypoint, Purpose::Waypoint, view, &caller, destination.ip(), self.avoid, random);
        let found = found.map_err(|why| match why {
            Unresolved::Empty => Refusal::WaypointEmpty,
            Unresolved::Unknown => Refusal::UnknownWaypoint,
        })?;
        if found.picked.at == At::Gateway {
            return self.beyond(found.picked, found.expected, service, true);
        }
        let target = match self.target(found.picked)? {
            Ok(target) => target,
            Err((target, name)) => return Ok(Route::Resolve(target, name)),
        };
        if own.contains(&target.at.ip()) {
            return Err(Refusal::WaypointLoop);
        }
        Ok(Route::Hbone(Hbone {
            hop: target.at,
            authority: destination,
            expected: found.expected,
            target,
            is_waypoint: true,
        }))
    }

    /// To the gateway of the network that `picked` is on. Who answers behind it must prove to be one of `inner`.
    fn beyond(
        &self,
        picked: Picked,
        inner: Vec<Identity>,
        service: Option<&Service>,
        is_waypoint: bool,
    ) -> Result<Route, Refusal> {
        let service = service.ok_or(Refusal::OtherNetwork)?;
        let Picked { workload, port, others, .. } = picked;
        let reference = workload.network_gateway.as_ref().ok_or(Refusal::NoAddress)?;
        let Facts { destination, .. } = *self.facts;
        let (network, caller, random) = (&*workload.network, self.caller(), hash::mix(self.random));
        let found = gateway::find(reference, network, self.view, &caller, destination.ip(), self.avoid, random);
        let found = found.map_err(|why| match why {
            Unresolved::Empty => Refusal::GatewayEmpty,
            Unresolved::Unknown => Refusal::UnknownGateway,
        })?;
        if inner.is_empty() {
            return Err(Refusal::Nameless);
        }
        let gateway = Arc::clone(&found.picked.workload);
        let hop = match self.target(found.picked)? {
            Ok(hop) => hop,
            Err((target, name)) => return Ok(Route::Resolve(target, name)),
        };
        // A gateway that fails is one of several, or stands for everything behind it.
        let id = if hop.others || hop.further { hop.id } else { EndpointId::new(&workload, port) };
        Ok(Route::Beyond(Box::new(Beyond {
            hop: hop.at,
            gateway,
            expected: found.expected,
            host: Arc::clone(&service.hostname),
            port: destination.port(),
            inner,
            target: Target { at: hop.at, workload, id, others: hop.others || others, further: hop.further },
            is_waypoint,
        })))
    }

    /// Where the endpoint is; the name to look up where that is not known yet.
    fn target(&self, picked: Picked) -> Result<Result<Target, (Target, Arc<str>)>, Refusal> {
        let Picked { workload, port, at, others, further } = picked;
        let target = |ip: IpAddr, port: u16| {
            let id = EndpointId::new(&workload, port);
            Target { at: SocketAddr::new(ip, port), workload: Arc::clone(&workload), id, others, further }
        };
        match at {
            At::Ip(ip) => Ok(Ok(target(ip, port))),
            At::Gateway => Err(Refusal::OtherNetwork),
            At::Name(name) => match self.facts.resolved.iter().find(|(known, _)| *known == name) {
                Some((_, ip)) => Ok(Ok(target(*ip, port))),
                None => Ok(Err((target(IpAddr::from([0; 4]), port), name))),
            },
        }
    }

    /// A pod's own listeners are only ever called by proxies. A port of that number outside of the mesh belongs to
    /// somebody else and is none of our business.
    fn not_ours(&self, workload: &Held, at: SocketAddr) -> Result<(), Refusal> {
        let in_mesh = workload.tunnel == Tunnel::Hbone;
        let ours = ports::is_ours(at.port()) && (in_mesh || at.ip().is_loopback());
        if ours || at == self.facts.listener { Err(Refusal::Loop) } else { Ok(()) }
    }

    fn is_from(&self, waypoint: &GatewayAddress) -> bool {
        waypoint::is_from(waypoint, self.view, self.facts.identity, self.facts.own)
    }

    fn caller(&self) -> Caller<'_> {
        Caller { network: self.facts.network, workload: self.facts.source, client: self.facts.client }
    }
}

// === impl Route ===

impl Route {
    /// The end that it leads to, where that is one of the mesh.
    pub const fn target(&self) -> Option<&Target> {
        match self {
            Self::Direct(target) | Self::Express(target) | Self::Resolve(target, _) => Some(target),
            Self::Hbone(hbone) => Some(&hbone.target),
            Self::Beyond(beyond) => Some(&beyond.target),
            Self::Passthrough | Self::Refuse(_) => None,
        }
    }
}

// === impl Decision ===

impl Decision {
    /// Whether `view`, which came after the one that it was made on, still has what it was made of: the endpoint with
    /// its address and identity, the same waypoints, and the same way to choose: what passed through may have endpoints now. A connection that took its time must not go to a pod that was
    /// removed meanwhile, nor past a waypoint that was put in its way. `network`, `namespace` and `destination` are those of
    /// its [`Facts`]: what was outside of the mesh must still be.
    pub fn holds(&self, network: &str, namespace: &str, destination: IpAddr, view: &View) -> bool {
        let Some(target) = self.route.target() else {
            let is_none = || view.workload_at(network, destination).is_none();
            let none_at = || view.service_at(network, destination, Some(namespace)).is_none();
            return self.route != Route::Passthrough
                || (is_none() && if self.service.is_some() { self.holds_service(view) } else { none_at() });
        };
        let workload = view.workload_by_uid(&target.workload.uid).is_some_and(|now| {
            let then = &*target.workload;
            now.identity() == then.identity()
                && (now.addresses == then.addresses
                    || now.addresses.iter().any(|ip| ip.to_canonical() == target.at.ip()))
                && (now.tunnel, &now.waypoint, &now.network_gateway)
                    == (then.tunnel, &then.waypoint, &then.network_gateway)
        });
        workload && self.holds_service(view)
    }

    fn holds_service(&self, view: &View) -> bool {
        self.service.as_ref().is_none_or(|then| {
            view.service(&then.key()).is_some_and(|now| {
                (&now.waypoint, &now.weighted_waypoints, now.balancing.mode)
                    == (&then.waypoint, &then.weighted_waypoints, then.balancing.mode)
            })
        })
    }
}

#[cfg(test)]
mod tests;

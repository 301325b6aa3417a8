//! The road of a connection that a pod opens.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::mesh::View;
use crate::model::ports;
use crate::model::spiffe::Identity;
use crate::model::workload::{Tunnel, Workload};

/// What is known of a captured connection.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The network that the pod's node is on.
    pub network: &'a str,
    /// The address that the application's socket has. An application may bind any that its namespace has; a tunnel
    /// is dialled from the pod's own whatever it chose.
    pub client: IpAddr,
    /// What the application dialled.
    pub destination: SocketAddr,
    /// Where the captured connection was accepted.
    pub listener: SocketAddr,
    /// Who the pod is that is enrolled on this node with the destination's address; nobody when the same-node
    /// lane is off.
    pub neighbour: Option<&'a Identity>,
    /// The addresses of the pod that opened the connection.
    pub own: &'a [IpAddr],
}

/// The road.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Plain TCP to a workload that the mesh knows and that is outside of it.
    Direct {
        workload: Arc<Workload>,
    },
    /// Joined with the destination's own socket on this node.
    Express {
        workload: Arc<Workload>,
    },
    /// A tunnel to the workload's node proxy.
    Hbone(Hbone),
    /// Plain TCP to an address that the mesh knows nothing of.
    Passthrough,
    Refuse(Refusal),
}

/// Where a tunnel goes and whom it must find there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hbone {
    /// Port 15008 of the workload.
    pub hop: SocketAddr,
    /// `:authority` of the CONNECT.
    pub authority: SocketAddr,
    /// The identities of which the server must prove one.
    pub expected: Vec<Identity>,
    pub workload: Arc<Workload>,
}

/// Why a connection takes no road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The destination is a listener of the proxy.
    Loop,
}

/// Decides the road of one connection.
pub fn outbound(facts: &Facts<'_>, view: &View) -> Route {
    let Facts { network, client, destination, listener, neighbour, own } = *facts;
    let workload = view.workload_at(network, destination.ip());
    let in_mesh = workload.is_some_and(|workload| workload.tunnel == Tunnel::Hbone);
    // Connection tracking also answers for a connection that nobody redirected, with the address that it came to.
    // Dialled again, it would come back here: on whichever address of the namespace the listener was called.
    if destination == listener {
        return Route::Refuse(Refusal::Loop);
    }
    // A pod's own listeners are only ever called by proxies. A port of that number outside of the
    // mesh belongs to somebody else and is none of our business.
    if ports::is_ours(destination.port()) && (in_mesh || destination.ip().is_loopback()) {
        return Route::Refuse(Refusal::Loop);
    }
    let Some(workload) = workload.map(Arc::clone) else { return Route::Passthrough };
    match workload.tunnel {
        Tunnel::None => Route::Direct { workload },
        // The lane asks what the wire would: the identity that a handshake would have to prove, and a source
        // address that the destination would see. Who does not fit takes the tunnel, which finds out.
        Tunnel::Hbone if own.contains(&client) && neighbour.is_some_and(|pod| *pod == workload.identity()) => {
            Route::Express { workload }
        }
        Tunnel::Hbone => Route::Hbone(Hbone {
            hop: SocketAddr::new(destination.ip(), ports::HBONE),
            authority: destination,
            expected: vec![workload.identity()],
            workload,
        }),
    }
}

#[cfg(test)]
mod tests;

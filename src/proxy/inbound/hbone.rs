//! Tunnels that come to a pod: mutual TLS with the pod's certificate, then one CONNECT a connection.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::authz::Request;
use crate::hbone::authority::Authority;
use crate::hbone::headers::{Baggage, WorkloadKind};
use crate::hbone::server::{Connection, Incoming, Refusal};
use crate::model::spiffe::Identity;
use crate::model::workload::Workload;
use crate::proxy::connections::Facts;
use crate::proxy::outcome::{Failure, TunnelCause};
use crate::proxy::pod::{PodProxy, handshakes};
use crate::proxy::relay::tunnelled::{Resets, join};
use crate::proxy::relay::{Ended, Side, unless_ended};
use crate::proxy::report::Open;
use crate::route::inbound::{Inbound, inbound};
use crate::sys::socket;
use crate::telemetry::access::Road;
use crate::telemetry::metrics::Reporter;
use crate::tls::Acceptor;

/// A tunnel's two ends, both proven.
#[derive(Clone)]
struct Peers {
    client: SocketAddr,
    /// The pod's address that the tunnel came to.
    local: SocketAddr,
    identity: Identity,
}

/// Serves one tunnel to its end.
pub(in crate::proxy) async fn handle(pod: Arc<PodProxy>, stream: TcpStream, client: SocketAddr) {
    let Ok(local) = stream.local_addr().map(socket::canonical) else { return };
    if let Err(why) = serve(&pod, stream, client, local).await {
        pod.shared.report.refused(Reporter::Destination, &pod, client, &why);
    }
}

async fn serve(pod: &Arc<PodProxy>, stream: TcpStream, client: SocketAddr, local: SocketAddr) -> Result<(), Failure> {
    let tunnel = |cause, source: Box<dyn std::error::Error + Send + Sync>| Failure::Tunnel { to: local, cause, source };
    let Ok(handshaking) = pod.handshaking.try_acquire() else {
        socket::reset_on_close(&stream);
        return Err(Failure::Handshakes { limit: handshakes(pod.shared.config.connections_per_pod) });
    };
    let credentials = pod.certificate.wait(pod.shared.config.connect_timeout).await;
    let credentials = credentials.map_err(|error| Failure::Identity(Box::new(error)))?;
    let stream = Acceptor::new(&credentials).accept(stream).await;
    let stream = stream.map_err(|error| tunnel(TunnelCause::Tls, Box::new(error)))?;
    let peers = Peers { client, local, identity: stream.peer().clone() };
    let connection = Connection::open(stream, &pod.tunnels.budget).await;
    let connection = connection.map_err(|error| tunnel(TunnelCause::Http2, Box::new(error)))?;
    drop(handshaking);
    let on_stream = |incoming: Incoming| {
        let accepted = Instant::now();
        let work = carry(Arc::clone(pod), peers.clone(), incoming, accepted);
        // A stream that finds no room is dropped, which resets it.
        if let Err(full) = pod.tasks.spawn(work) {
            let why = Failure::Limit { limit: full.limit };
            pod.shared.report.refused(Reporter::Destination, pod, client, &why);
        }
    };
    match connection.run(pod.tasks.draining().clone(), on_stream).await {
        Ok(()) => {}
        // Its streams have reported what they saw; a tunnel that breaks without one is the network's noise.
        Err(error) => tracing::debug!(pod = %pod.pod.key, peer = %peers.identity, %client, %error, "a tunnel ended"),
    }
    Ok(())
}

/// Carries one connection of a tunnel.
async fn carry(pod: Arc<PodProxy>, peers: Peers, mut incoming: Incoming, accepted: Instant) {
    let view = pod.shared.mesh.view();
    let own = pod.workload(&view).cloned();
    // A host name needs the services of the mesh; without them nobody can say which pod it means.
    let destination = match &incoming.authority {
        Authority::Address(address) => *address,
        Authority::Host { .. } => {
            pod.shared.report.refused(
                Reporter::Destination,
                &pod,
                peers.client,
                &Failure::UnknownWorkload { to: peers.local },
            );
            return incoming.refuse(Refusal::Unavailable);
        }
    };
    let facts = Facts {
        reporter: Reporter::Destination,
        road: Road::Hbone,
        // The application sees the peer's address; the port is the tunnel's.
        client: peers.client,
        destination,
        hop: Some(peers.local),
        client_identity: Some(peers.identity.clone()),
        server_identity: Some(pod.identity.clone()),
        source: view.workload_at(&pod.shared.config.network, peers.client.ip()).cloned(),
        target: own.clone(),
        service: None,
    };
    drop(view);
    // Listed before it is judged, so that a policy that changes meanwhile finds it.
    let open = pod.shared.report.open_one(accepted, facts, &pod.arrived);
    let connection = Arc::clone(open.connection());
    let dialled = tokio::select! {
        dialled = dial(&pod, &peers, destination) => dialled,
        why = connection.ended() => {
            incoming.refuse(refusal(why));
            return open.close(Err(why), true);
        }
        // The client has given up: nobody waits for the application.
        _ = incoming.abandoned() => {
            return open.close(Err(&Failure::Abandoned), true);
        }
    };
    match dialled {
        Err(why) => {
            incoming.refuse(refusal(&why));
            open.close(Err(&why), true);
        }
        Ok(server) => relay(incoming, &server, own.as_deref(), open).await,
    }
}

fn refusal(why: &Failure) -> Refusal {
    match why.status() {
        400 => Refusal::BadRequest,
        401 => Refusal::Refused,
        _ => Refusal::Unavailable,
    }
}

async fn dial(pod: &PodProxy, peers: &Peers, destination: SocketAddr) -> Result<TcpStream, Failure> {
    let to = match inbound(destination, &pod.pod.addresses) {
        Inbound::Here(to) => to,
        Inbound::Loop => return Err(Failure::Loop),
        Inbound::NotOurs => return Err(Failure::NotOurs { to: destination }),
    };
    let request =
        Request { peer: Some(&peers.identity), source: peers.client.ip(), destination, now: SystemTime::now() };
    let permit = pod.admit(&request).await?;
    pod.dial_app(permit, to, peers.client.ip()).await
}

async fn relay(incoming: Incoming, server: &TcpStream, own: Option<&Workload>, open: Open) {
    let connection = Arc::clone(open.connection());
    let Ok(stream) = incoming.accept(own.map(baggage).as_ref()) else {
        return open.close(Err(&Failure::Abandoned), true);
    };
    let relay = pin!(join(server, Side::Server, stream, Resets::Tell, &connection.meter));
    let result = unless_ended(&[&connection], relay).await;
    if let Err(Ended::Cut(_)) = &result {
        socket::reset_on_close(server);
    }
    open.close(result.as_ref().map(drop).map_err(|why| why.as_ref()), false);
}

/// What a workload says of itself in `baggage`.
pub(in crate::proxy) fn baggage(workload: &Workload) -> Baggage {
    Baggage {
        cluster: Arc::clone(&workload.cluster),
        namespace: Arc::clone(&workload.namespace),
        workload: Some((WorkloadKind::Pod, Arc::clone(&workload.owner))),
        service: Arc::clone(&workload.canonical_name),
        revision: Arc::clone(&workload.canonical_revision),
        region: Arc::clone(&workload.locality.region),
        zone: Arc::clone(&workload.locality.zone),
    }
}

//! Tunnels that come to a pod: mutual TLS with the pod's certificate, then one CONNECT a connection.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::proxy_header;
use crate::authz::Request;
use crate::hbone::authority::Authority;
use crate::hbone::server::{Connection, Incoming, Refusal};
use crate::mesh::{Held, View};
use crate::model::spiffe::Identity;
use crate::proxy::asking::Asking;
use crate::proxy::baggage;
use crate::proxy::connections::Facts;
use crate::proxy::outcome::{Failure, TunnelCause};
use crate::proxy::pod::{PodProxy, handshakes};
use crate::proxy::relay::tunnelled::{Resets, join};
use crate::proxy::relay::{Broken, Ended, Side, unless_ended};
use crate::proxy::report::Open;
use crate::proxy::shared::Shared;
use crate::route::inbound::{Arrival, Here, Inbound, service_of, tunnelled};
use crate::route::missing::missing_inbound;
use crate::sys::socket;
use crate::telemetry::access::Road;
use crate::telemetry::metrics::Reporter;
use crate::tls::{Acceptor, TlsError};

/// A tunnel's two ends, both proven.
#[derive(Clone)]
struct Peers {
    client: SocketAddr,
    /// The pod's address that the tunnel came to.
    local: SocketAddr,
    identity: Identity,
    /// Cancelled when the client's certificate is revoked.
    revoked: CancellationToken,
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
    pod.may_handshake().await.inspect_err(|_| socket::reset_on_close(&stream))?;
    let credentials = pod.certificate.wait(pod.shared.config.connect_timeout).await;
    let credentials = credentials.map_err(|error| Failure::Identity(Box::new(error)))?;
    let stream = Acceptor::new(&credentials).accept(stream).await;
    // A tunnel lives longer than the certificate that it was accepted with.
    drop(credentials);
    let stream = stream.map_err(|error| match error {
        TlsError::Revoked => {
            pod.shared.report.revoked(Reporter::Destination);
            tunnel(TunnelCause::Revoked, Box::new(error))
        }
        error => tunnel(TunnelCause::Tls, Box::new(error)),
    })?;
    pod.shared.report.handshake(Reporter::Destination, stream.is_resumed());
    let proof = Arc::clone(stream.proof());
    let peers = Peers { client, local, identity: stream.peer().clone(), revoked: CancellationToken::new() };
    let connection = Connection::open(stream, &pod.tunnels.budget).await;
    let connection = connection.map_err(|error| tunnel(TunnelCause::Http2, Box::new(error)))?;
    drop(handshaking);
    let on_stream = |incoming: Incoming| {
        if pod.is_leaving() {
            return incoming.turn_away();
        }
        let accepted = Instant::now();
        let work = carry(Arc::clone(pod), peers.clone(), incoming, accepted);
        // A stream that finds no room is dropped, which resets it and counts against its peer.
        if let Err(why) = pod.spawn(work) {
            pod.shared.report.refused(Reporter::Destination, pod, client, &why);
        }
    };
    let drain = pod.tasks.draining().child_token();
    let mut served = pin!(connection.run(drain.clone(), on_stream));
    let trust = &pod.shared.trust;
    let (mut revoked, mut expired) = (pin!(trust.revoked(&proof)), pin!(trust.expired(&proof)));
    let ended = loop {
        tokio::select! {
            biased;
            () = &mut revoked => {
                tracing::warn!(pod = %pod.pod.key, peer = %peers.identity, %client, "a tunnel is closed: the peer's certificate was revoked");
                // First its streams, which then know why; the connection ends with this function.
                peers.revoked.cancel();
                return Ok(());
            }
            ended = &mut served => break ended,
            // Streams go on; new ones come by a connection that shows new certificates.
            () = &mut expired, if !drain.is_cancelled() => drain.cancel(),
        }
    };
    match ended {
        Ok(()) => {}
        // Its streams have reported what they saw; a tunnel that breaks without one is the network's noise.
        Err(error) => tracing::debug!(pod = %pod.pod.key, peer = %peers.identity, %client, %error, "a tunnel ended"),
    }
    Ok(())
}

/// Carries one connection of a tunnel.
async fn carry(pod: Arc<PodProxy>, peers: Peers, mut incoming: Incoming, accepted: Instant) {
    let Known { view, own, place, unsaid } = known(&pod, &incoming.authority, peers.local.ip()).await;
    let network = &pod.shared.config.network;
    let destination = match (&place, &incoming.authority) {
        (Inbound::Here(here), _) => here.to,
        (_, Authority::Address(address)) => *address,
        (_, Authority::Host { port, .. }) => SocketAddr::new(peers.local.ip(), *port),
    };
    let headers = &incoming.headers;
    // Behind a gateway of another network, an address means something else.
    let is_far = headers.network.as_ref().is_some_and(|of| !of.eq_ignore_ascii_case(network));
    let at_address = pod.shared.source(&view, peers.client.ip());
    let source = baggage::source(at_address, &peers.identity, is_far, headers.baggage.as_ref());
    let host = match &incoming.authority {
        Authority::Host { host, .. } => Some(host),
        Authority::Address(_) => headers.forwarded.host.as_ref(),
    };
    let service = own.as_deref().and_then(|own| service_of(own, host.map(|host| &**host), destination.port(), &view));
    let facts = Facts {
        reporter: Reporter::Destination,
        road: Road::Hbone,
        // The application sees the peer's address; the port is the tunnel's.
        client: peers.client,
        destination,
        host: None,
        hop: Some(peers.local),
        client_identity: Some(peers.identity.clone()),
        server_identity: Some(pod.identity.clone()),
        source,
        target: own.clone(),
        service,
        revoked: Some(peers.revoked.clone()),
    };
    drop(view);
    // Listed before it is judged, so that a policy that changes meanwhile finds it.
    let open = pod.shared.report.open_one(accepted, facts, &pod.arrived);
    let connection = Arc::clone(open.connection());
    let dialled = tokio::select! {
        dialled = dial(&pod, &peers, destination, place, unsaid) => dialled,
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
        Ok((server, here)) => {
            let header = here.proxy.map(|to| proxy_header::header(peers.client, to, &peers.identity));
            relay(incoming, server, header, own.as_deref(), open, pod.shared.config.half_open).await;
        }
    }
}

/// The mesh, and what it says of a tunnel's destination.
struct Known {
    view: Arc<View>,
    own: Option<Arc<Held>>,
    place: Inbound,
    /// The place does not count: the control plane has not said what it was judged by.
    unsaid: Option<Failure>,
}

/// Judges the destination. What is asked for by another address or by a name takes the pod's own record, which is waited
/// for, and in a mesh that holds only what was asked for, what is there.
async fn known(pod: &PodProxy, authority: &Authority, local: IpAddr) -> Known {
    let Shared { mesh, config, demand, .. } = &*pod.shared;
    let addresses = pod.addresses();
    let mut view = mesh.view();
    let is_plain = matches!(authority, Authority::Address(to) if addresses.contains(&to.ip()));
    if !is_plain && pod.workload(&view).is_none() {
        view = mesh.wait_for(config.policy_wait, |view| pod.workload(view).is_some()).await;
    }
    let mut asking = Asking::new(&pod.shared, &pod.arriving, config.policy_wait);
    loop {
        let own = pod.workload(&view).cloned();
        let workload = own.as_deref();
        let arrival = Arrival { authority, local, addresses: &addresses, network: &config.network, workload };
        let place = tunnelled(&arrival, &view);
        let missing = if demand.is_some() { missing_inbound(&arrival, &place, &view) } else { Vec::new() };
        let unsaid = match asking.about(missing, view.version()).await {
            Ok(true) => {
                view = mesh.view();
                continue;
            }
            Ok(false) => None,
            Err(why) => Some(why),
        };
        return Known { view, own, place, unsaid };
    }
}

fn refusal(why: &Failure) -> Refusal {
    match why.status() {
        400 => Refusal::BadRequest,
        401 => Refusal::Refused,
        _ => Refusal::Unavailable,
    }
}

async fn dial(
    pod: &PodProxy,
    peers: &Peers,
    destination: SocketAddr,
    place: Inbound,
    unsaid: Option<Failure>,
) -> Result<(TcpStream, Here), Failure> {
    if let Some(why) = unsaid {
        return Err(why);
    }
    let here = match place {
        Inbound::Here(here) => here,
        Inbound::Loop => return Err(Failure::Loop),
        Inbound::NotOurs => return Err(Failure::NotOurs { to: destination }),
        Inbound::Unknown => return Err(Failure::UnknownService { to: destination }),
    };
    let peer = Some(&peers.identity);
    let foreign = pod.shared.trust.is_foreign(&peers.identity);
    let request = Request { peer, foreign, source: peers.client.ip(), destination: here.to, now: SystemTime::now() };
    let permit = pod.admit(&request).await?;
    // A program that is told in a header sees the loopback's own address.
    let source = if here.proxy.is_some() { here.dial.ip() } else { peers.client.ip() };
    Ok((pod.dial_app(permit, here.dial, source).await?, here))
}

async fn relay(
    incoming: Incoming,
    mut server: TcpStream,
    header: Option<Vec<u8>>,
    own: Option<&Held>,
    open: Open,
    half_open: Option<Duration>,
) {
    let connection = Arc::clone(open.connection());
    let Ok(stream) = incoming.accept(own.map(baggage::of).as_ref()) else {
        return open.close(Err(&Failure::Abandoned), true);
    };
    if let Some(header) = header
        && let Err(source) = server.write_all(&header).await
    {
        // Dropped, the stream is reset.
        return open.close(Err(&Failure::Broken(Broken { side: Side::Server, source })), false);
    }
    let relay = pin!(join(&server, Side::Server, stream, Resets::Tell, &connection.meter, half_open));
    let result = unless_ended(&connection, relay).await;
    if let Err(Ended::Cut(_)) = &result {
        socket::reset_on_close(&server);
    }
    open.close(result.as_ref().map(drop).map_err(|why| why.as_ref()), false);
}

//! The connections of one pod: every fact of each in one plain struct, and the handle that ends it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use slab::Slab;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::outcome::Failure;
use super::relay::Meter;
use crate::mesh::Held;
use crate::model::service::Service;
use crate::model::spiffe::Identity;
use crate::telemetry::access::Road;
use crate::telemetry::metrics::Reporter;

/// What is known of a connection when it is opened.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Source: this node's pod opened it. Destination: it came to this node's pod.
    pub reporter: Reporter,
    pub road: Road,
    /// The client's address as the application sees it.
    pub client: SocketAddr,
    /// Where the application is, as policy sees it. Outbound, the endpoint behind a service, or what a waypoint is asked
    /// for; what the client dialled where there is neither.
    pub destination: SocketAddr,
    /// The name that stands in the destination's place: a gateway of another network is asked by name.
    pub host: Option<Arc<str>>,
    /// The tunnel's far end (source) or the address that the tunnel came to (destination).
    pub hop: Option<SocketAddr>,
    /// The client's identity where it is proven: by TLS, or because its pod is enrolled on this node.
    pub client_identity: Option<Identity>,
    /// The server's identity where it is proven.
    pub server_identity: Option<Identity>,
    pub source: Option<Arc<Held>>,
    pub target: Option<Arc<Held>>,
    /// The service that it counts for: outbound the one whose address was dialled, inbound see `route::inbound`.
    pub service: Option<Arc<Service>>,
    /// Cancelled when the tunnel that carries it may not go on, because a certificate of its peer is revoked.
    pub revoked: Option<CancellationToken>,
}

/// One connection as one reporter sees it.
#[derive(Debug)]
pub struct Connection {
    pub facts: Facts,
    pub opened: Instant,
    pub meter: Arc<Meter>,
    end: Arc<End>,
}

/// How a connection is told to end. One that both of its pods list, or that was listed before it was open, has one of them.
#[derive(Debug, Default)]
struct End {
    told: CancellationToken,
    why: OnceLock<Failure>,
}

/// The live connections of a pod.
#[derive(Debug, Default)]
pub struct Connections {
    live: Mutex<Slab<Arc<Connection>>>,
}

/// A connection's place in the list; it leaves when this is dropped.
#[derive(Debug)]
pub struct Registered {
    list: Arc<Connections>,
    key: usize,
    connection: Arc<Connection>,
}

// === impl Connection ===

impl Connection {
    pub fn new(facts: Facts, opened: Instant, meter: Arc<Meter>) -> Self {
        Self { facts, opened, meter, end: Arc::default() }
    }

    /// What was listed as `judged`, open. Who ends either ends both: the list may have been copied before this one was in it.
    pub fn opened(judged: &Self, facts: Facts, meter: Arc<Meter>) -> Self {
        Self { facts, opened: judged.opened, meter, end: Arc::clone(&judged.end) }
    }

    /// Ends the connection for `why`. The first reason counts.
    pub fn end(&self, why: Failure) {
        drop(self.end.why.set(why));
        self.end.told.cancel();
    }

    /// Why it was ended, when it was.
    pub fn why(&self) -> Option<&Failure> {
        self.end.why.get()
    }

    /// Waits until somebody ends the connection; answers why.
    pub async fn ended(&self) -> &Failure {
        let revoked = async {
            match &self.facts.revoked {
                Some(revoked) => revoked.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.end.told.cancelled() => {}
            () = revoked => self.end(Failure::PeerRevoked),
        }
        // The reason is set before the token is cancelled.
        self.end.why.get().unwrap_or(&Failure::Drained)
    }
}

// === impl Connections ===

impl Connections {
    pub fn register(self: &Arc<Self>, connection: Connection) -> Registered {
        let connection = Arc::new(connection);
        let key = self.lock().insert(Arc::clone(&connection));
        Registered { list: Arc::clone(self), key, connection }
    }

    /// All that live now. The list is copied: nobody waits while the caller looks at them.
    pub fn all(&self) -> Vec<Arc<Connection>> {
        self.lock().iter().map(|(_, connection)| Arc::clone(connection)).collect()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<Arc<Connection>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Registered ===

impl std::ops::Deref for Registered {
    type Target = Arc<Connection>;

    fn deref(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut live = self.list.lock();
        live.remove(self.key);
        if live.is_empty() && live.capacity() > 64 {
            // After a burst the list must not keep the burst's size.
            *live = Slab::new();
        }
    }
}

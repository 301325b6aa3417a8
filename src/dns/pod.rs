//! The DNS proxy of one enrolled pod: its listeners, its questions, what it remembers.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::{Client, answer};
use super::cache::{Cache, Key};
use super::counted::{Counted, Transport, reason, unanswered};
use super::demand::{self, Demand};
use super::listeners::Listeners;
use super::message::{Asked, Message, Query};
use super::origin::Origins;
use super::reply::{self, Code};
use super::servers::Servers;
use super::upstream::{Unanswered, Upstream};
use super::{connections, datagrams};
use crate::mesh;
use crate::mesh::demand::Share;
use crate::model::pod::Pod;
use crate::runtime::Panics;
use crate::runtime::tasks::{Full, Tasks};
use crate::sys::handover::Door;
use crate::sys::netns::Netns;
use crate::telemetry::metrics::{Metrics, table};
use crate::tls::random_bytes;

/// Questions of a pod that wait for a name server at once: each has a socket, its own bytes (64 KiB at most, mostly fifty),
/// and for a moment as many of the answer. At 5 ms an answer that is 50,000 a second.
pub(super) const QUESTIONS: usize = 256;
/// TCP connections of a pod; each may hold 128 KiB.
const CONNECTIONS: usize = 64;
/// Two listeners, and the same for IPv6.
const LISTENERS: usize = 4;

/// What answers that are on their way may still take when a pod closes.
const LAST: Duration = Duration::from_millis(200);

/// Settings of all pods' proxies.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network that this node is on.
    pub network: Arc<str>,
    /// The cluster's domain.
    pub cluster_domain: Arc<str>,
    /// Packet mark of the daemon's own sockets.
    pub mark: u32,
    /// Bytes that a pod's cache may hold; 0 keeps nothing.
    pub cache: usize,
}

/// What the proxies of all pods share.
pub struct Shared {
    pub config: Config,
    pub mesh: mesh::Reader,
    /// For what was not redirected, and where the kernel does not say whom a pod asked.
    pub servers: Servers,
    pub metrics: Metrics,
    /// Where the mesh holds only what was asked for.
    pub demand: Option<Arc<dyn Demand>>,
    pub panics: Panics,
    /// Cancelled when the process drains, and when it cuts.
    pub drain: CancellationToken,
    pub force: CancellationToken,
}

/// A pod's proxy. Dropping it ends its listeners; see [`PodDns::close`].
pub struct PodDns {
    inner: Arc<Inner>,
    /// What it takes questions from.
    doors: Vec<Door>,
}

/// What the tasks of a pod's proxy hold.
pub(super) struct Inner {
    pub shared: Arc<Shared>,
    pub pod: Arc<Pod>,
    ipv6: bool,
    pub origins: Origins,
    pub upstream: Upstream,
    cache: Mutex<Cache>,
    /// Of what the node may ask for, where the mesh holds only what was.
    share: Option<Share>,
    listening: Tasks,
    pub questions: Tasks,
    pub connections: Tasks,
}

/// What becomes of a message.
pub(super) enum Step {
    /// It is too short to be answered.
    Nothing,
    Reply(Vec<u8>),
    /// Its answer may take a while.
    Ask(Counted),
}

/// Where a message came from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whence {
    Datagram {
        local: SocketAddr,
        client: SocketAddr,
    },
    /// With the server that the client meant, where one was.
    Stream {
        server: Option<SocketAddr>,
    },
}

// === impl PodDns ===

impl PodDns {
    /// Serves the listeners on `thread`. `ipv6`: whether the pod is told of addresses of IPv6.
    ///
    /// # Errors
    /// A listener cannot be driven. Kernel, or us.
    pub fn start(
        shared: &Arc<Shared>,
        pod: Arc<Pod>,
        netns: Netns,
        listeners: Listeners,
        ipv6: bool,
        thread: &Handle,
    ) -> io::Result<Self> {
        let Shared { panics, drain, force, config, .. } = &**shared;
        let name = format!("DNS of {}", pod.key);
        let tasks = |limit| Tasks::new(&name, limit, thread.clone(), panics.clone(), drain, force);
        let inner = Arc::new(Inner {
            shared: Arc::clone(shared),
            ipv6,
            origins: Origins::new(netns.clone()),
            upstream: Upstream { netns, mark: config.mark },
            cache: Mutex::new(Cache::new(config.cache)),
            share: shared.demand.as_ref().map(|demand| demand.share()),
            listening: tasks(LISTENERS),
            questions: tasks(QUESTIONS),
            connections: tasks(CONNECTIONS),
            pod,
        });
        let mut dns = Self { inner, doors: Vec::new() };
        let _in_thread = thread.enter();
        let begin = listeners.begin;
        for socket in listeners.datagrams {
            let socket = Arc::new(tokio::net::UdpSocket::from_std(socket)?);
            dns.doors.push(Door::Datagrams(Arc::downgrade(&socket)));
            // Who asked by datagram and has no answer asks again.
            dns.listen(&begin, datagrams::serve(Arc::clone(&dns.inner), socket), || {})?;
        }
        for listener in listeners.streams {
            let listener = Arc::new(tokio::net::TcpListener::from_std(listener)?);
            dns.doors.push(Door::Stream(Arc::downgrade(&listener)));
            let (of, last) = (Arc::clone(&dns.inner), Arc::clone(&listener));
            let serve = connections::serve(Arc::clone(&dns.inner), listener);
            dns.listen(&begin, serve, move || connections::serve_queued(&of, &last))?;
        }
        Ok(dns)
    }

    fn listen(
        &self,
        begin: &CancellationToken,
        serve: impl Future<Output = ()> + Send + 'static,
        at_end: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        let (begin, stop) = (begin.clone(), self.inner.listening.draining().clone());
        let served = self.inner.listening.spawn(async move {
            let begun = async {
                begin.cancelled().await;
                serve.await;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = begun => {}
            }
            if begin.is_cancelled() {
                at_end();
            }
        });
        served.map_err(|full: Full| io::Error::other(full))
    }

    /// The name server that the pod asks, as far as it was seen.
    pub fn server(&self) -> Option<SocketAddr> {
        self.inner.origins.meant()
    }

    /// The listeners, for another process of ours.
    pub fn doors(&self) -> &[Door] {
        &self.doors
    }

    /// Another process has the listeners: nothing more is taken from them here. What was taken is answered.
    pub async fn retire(&self) {
        self.inner.listening.drain(LAST).await;
    }

    /// Takes no more questions, leaves those that wait a moment for their answers, and cuts the rest. When it returns, the
    /// pod's ports are free.
    pub async fn close(&self) {
        let Inner { listening, questions, connections, .. } = &*self.inner;
        for tasks in [listening, connections, questions] {
            tasks.drain(LAST).await;
        }
    }
}

impl Drop for PodDns {
    fn drop(&mut self) {
        self.inner.listening.draining().cancel();
    }
}

// === impl Inner ===

impl Inner {
    fn client(&self) -> Client<'_> {
        let Config { network, cluster_domain, .. } = &self.shared.config;
        Client { namespace: &self.pod.key.namespace, network, domain: cluster_domain, ipv6: self.ipv6 }
    }

    /// What can be said of a message without waiting for anybody. It is counted.
    pub(super) fn look(&self, bytes: &[u8], transport: Transport) -> Step {
        let asked = Asked::read(bytes);
        let metrics = &self.shared.metrics;
        let Some(message) = Message::new(bytes) else {
            unanswered(metrics, "malformed");
            return Step::Nothing;
        };
        let kind = message.question().map(|question| question.kind);
        let view = self.shared.mesh.view();
        let counted = Counted::request(metrics, kind, transport, (&view, &self.shared.config.network, &self.pod));
        match asked {
            Asked::Nothing | Asked::Malformed => {
                unanswered(metrics, "malformed");
                Step::Reply(reply::error(message, Code::FormErr))
            }
            Asked::Query(query) => {
                self.of_mesh(&query, &view, transport).map_or_else(|| Step::Ask(counted), Step::Reply)
            }
            Asked::Opaque => Step::Ask(counted),
        }
    }

    /// The mesh's answer, as the client takes it.
    fn of_mesh(&self, query: &Query<'_>, view: &mesh::View, transport: Transport) -> Option<Vec<u8>> {
        // Without entropy nobody is hurt: the order of addresses is no secret.
        let random = random_bytes().map_or(0, u64::from_le_bytes);
        let found = answer(&query.question, self.client(), view, random)?;
        tracing::debug!(
            target: "dns", pod = %self.pod.key, name = query.question.text(), addresses = found.addresses.len(),
            "answered from the mesh"
        );
        Some(reply::found(query, &found, largest(query, transport)))
    }

    /// The answer to what [`Self::look`] said to ask.
    pub(super) async fn ask(&self, bytes: &[u8], whence: Whence, counted: &Counted) -> Option<Vec<u8>> {
        let message = Message::new(bytes)?;
        let query = match Asked::read(bytes) {
            Asked::Query(query) => Some(query),
            _ => None,
        };
        if let (Some(demand), Some(share), Some(query)) = (&self.shared.demand, &self.share, &query)
            && let Some(answer) = self.demanded(&**demand, share, query, whence.transport()).await
        {
            return Some(answer);
        }
        let servers = self.servers(whence).await;
        let key = query.as_ref().and_then(|query| Key::of(query, &servers));
        if let (Some(key), Some(query)) = (&key, &query) {
            let limit = largest(query, whence.transport());
            let held = self.cache().get(key, query, limit, Instant::now());
            if let Some(answer) = held {
                self.shared.metrics.counter(table::DNS_CACHE_HITS, []).increment();
                return Some(answer);
            }
        }
        let started = Instant::now();
        let asked = match whence {
            Whence::Datagram { .. } => self.by_datagram(message, &servers, key.is_some(), query.is_none()).await,
            Whence::Stream { .. } => self.upstream.stream(message, &servers).await.map(|(answer, _)| answer),
        };
        counted.asked(&self.shared.metrics, started.elapsed(), asked.is_err());
        match asked {
            Ok(answer) => {
                if let Some(key) = key {
                    self.cache().put(key, &answer, Instant::now());
                }
                Some(answer)
            }
            Err(why) => Some(self.failed(message, &why)),
        }
    }

    /// SERVFAIL, counted and told by its reason.
    pub(super) fn failed(&self, message: Message<'_>, why: &Unanswered) -> Vec<u8> {
        unanswered(&self.shared.metrics, reason(why));
        let name = message.question().and_then(|question| question.text());
        tracing::debug!(target: "dns", pod = %self.pod.key, name, error = %why, "not answered");
        reply::error(message, Code::ServFail)
    }

    /// SERVFAIL for a question too many.
    pub(super) fn shed(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        unanswered(&self.shared.metrics, "limit");
        Message::new(bytes).map(|message| reply::error(message, Code::ServFail))
    }

    /// Waits for the mesh to learn the names, and looks again.
    async fn demanded(
        &self,
        demand: &dyn Demand,
        share: &Share,
        query: &Query<'_>,
        transport: Transport,
    ) -> Option<Vec<u8>> {
        let keys = demand::keys(&query.question, self.client());
        if keys.is_empty() {
            return None;
        }
        // Late is as good as nothing: the name server is asked.
        drop(tokio::time::timeout(demand::WAIT, demand.demand(share, keys)).await);
        self.of_mesh(query, &self.shared.mesh.view(), transport)
    }

    /// Whom the pod asked.
    pub(super) async fn servers(&self, whence: Whence) -> Arc<[SocketAddr]> {
        let server = match whence {
            Whence::Datagram { local, client } => self.origins.of_datagram(local, client).await,
            Whence::Stream { server } => server,
        };
        match server {
            Some(server) => Arc::from([server]),
            None => self.shared.servers.current().await,
        }
    }

    /// A question whose answer is kept goes under an id of ours: a client's may be guessed, and a lie would then outlive
    /// its question. Everything else goes as it came, its id too: a signature may cover it.
    async fn by_datagram(
        &self,
        message: Message<'_>,
        servers: &[SocketAddr],
        kept: bool,
        changes: bool,
    ) -> Result<Vec<u8>, Unanswered> {
        let id = if kept { random_bytes::<2>() } else { None };
        let Some(id) = id else { return self.upstream.datagram(message, servers, changes).await };
        let mut renamed = message.bytes().to_vec();
        renamed[..2].copy_from_slice(&id);
        let Some(renamed) = Message::new(&renamed) else { return Err(Unanswered::Timeout) };
        let mut answer = self.upstream.datagram(renamed, servers, changes).await?;
        answer[..2].copy_from_slice(&message.id().to_be_bytes());
        Ok(answer)
    }

    /// Held for a look or a change, never across a wait.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Whence ===

impl Whence {
    const fn transport(self) -> Transport {
        match self {
            Self::Datagram { .. } => Transport::Udp,
            Self::Stream { .. } => Transport::Tcp,
        }
    }
}

/// Bytes of the largest answer that the client takes.
fn largest(query: &Query<'_>, transport: Transport) -> usize {
    match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => query.largest(),
    }
}

#[cfg(test)]
mod tests;

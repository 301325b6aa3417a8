//! Addresses of workloads that have a host name and no address, by DNS.
//!
//! A pod calls them, so they are asked for in the pod's own namespace, by the name server that the pod itself asks: a name
//! means what it means to the pod. Where that server is not known, those of the daemon's own `/etc/resolv.conf` are asked, from
//! the same namespace. The resolver is made when the first of them is called, on the runtime of that call.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::sys::netns::Netns;
use crate::sys::socket;

/// The name server that a pod asks, where that can be told.
type Asked = Box<dyn Fn() -> Option<SocketAddr> + Send + Sync>;

/// Looks names up for one pod and remembers the answers.
pub struct Names {
    inside: Inside,
    asked: OnceLock<Asked>,
    made: Mutex<Option<Made>>,
}

/// A resolver, and the server that it asks; none where it asks those of the daemon.
struct Made {
    server: Option<SocketAddr>,
    resolver: Arc<Resolver<Inside>>,
}

/// Sockets in a pod's namespace, with the daemon's mark.
#[derive(Clone)]
struct Inside {
    netns: Netns,
    mark: u32,
    tokio: TokioRuntimeProvider,
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// No answer in time. The name server, or the way to it.
    #[error("no answer for {name} within {} s: look at the pod's name server, or those in /etc/resolv.conf of the daemon", limit.as_secs())]
    Timeout { name: String, limit: Duration },
    /// The name server says no, or cannot be asked.
    #[error("{name} cannot be looked up")]
    Lookup {
        name: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `/etc/resolv.conf` is not there or does not parse. Configuration.
    #[error("no name servers: /etc/resolv.conf cannot be read")]
    Configuration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An answer without an address that can be called: there is none, or it means this machine or a group.
    #[error("{name} has no address that can be called")]
    None { name: String },
}

/// Answers that are remembered for a pod for as long as their TTL says, at most a day: 512, a few hundred bytes each.
const CACHE: u64 = 512;
/// A whole look-up, 5 s: as long as a resolver's one try by default.
const LIMIT: Duration = Duration::from_secs(5);
/// One try of one server, so that a second one is asked within the limit.
const TRY: Duration = Duration::from_secs(2);

// === impl Names ===

impl Names {
    /// For a pod in `netns`; `mark` is that of the daemon's own sockets.
    pub(super) fn new(netns: Netns, mark: u32) -> Self {
        let inside = Inside { netns, mark, tokio: TokioRuntimeProvider::default() };
        Self { inside, asked: OnceLock::new(), made: Mutex::default() }
    }

    /// `asked` says which name server the pod asks. The first one counts.
    pub(super) fn follow(&self, asked: Asked) {
        drop(self.asked.set(asked));
    }

    /// One address of `name`, of the family that is preferred where there is one; of several, `random` decides.
    ///
    /// # Errors
    /// See [`NameError`]. No answer ever outlives its TTL.
    pub async fn lookup(&self, name: &str, ipv4: bool, random: u64) -> Result<IpAddr, NameError> {
        // Whole names alone: one that the search list completes would be another's.
        let whole = format!("{}.", name.trim_end_matches('.'));
        let answer = match timeout(LIMIT, self.resolver()?.lookup_ip(whole)).await {
            Ok(answer) => {
                answer.map_err(|error| NameError::Lookup { name: name.to_owned(), source: Box::new(error) })?
            }
            Err(_) => return Err(NameError::Timeout { name: name.to_owned(), limit: LIMIT }),
        };
        let mut found: Vec<_> = answer.iter().map(|ip| ip.to_canonical()).filter(can_be_called).collect();
        if found.iter().any(|ip| ip.is_ipv4() == ipv4) {
            found.retain(|ip| ip.is_ipv4() == ipv4);
        }
        let count = u64::try_from(found.len()).unwrap_or(u64::MAX).max(1);
        let chosen = usize::try_from(random % count).ok().and_then(|chosen| found.get(chosen).copied());
        chosen.ok_or_else(|| NameError::None { name: name.to_owned() })
    }

    fn resolver(&self) -> Result<Arc<Resolver<Inside>>, NameError> {
        let server = self.asked.get().and_then(|asked| asked());
        if let Some(made) = self.made().as_ref().filter(|made| made.server == server) {
            return Ok(Arc::clone(&made.resolver));
        }
        let inside = self.inside.clone();
        let builder = match server {
            Some(server) => Ok(Resolver::builder_with_config(only(server), inside)),
            None => Resolver::builder(inside),
        };
        let resolver = builder.and_then(|mut builder| {
            options(builder.options_mut());
            builder.build()
        });
        let resolver = Arc::new(resolver.map_err(|error| NameError::Configuration(Box::new(error)))?);
        // What another server has answered goes with it.
        *self.made() = Some(Made { server, resolver: Arc::clone(&resolver) });
        Ok(resolver)
    }

    /// Held for a look or a change, never while a resolver is made.
    fn made(&self) -> MutexGuard<'_, Option<Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inside ===

/// A server on loopback stands in the daemon's own resolv.conf (a stub resolver of the node), and is reached from there alone.
impl RuntimeProvider for Inside {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> TokioHandle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        bind: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        if server.ip().is_loopback() {
            return self.tokio.connect_tcp(server, bind, limit);
        }
        let (netns, mark) = (self.netns.clone(), self.mark);
        Box::pin(async move {
            let made = netns.run_async(move || socket::unconnected(server.is_ipv6(), mark)).await;
            let dial = made.map_err(io::Error::other)??.start(server, None)?.connected();
            Ok(AsyncIoTokioAsStd(timeout(limit.unwrap_or(TRY), dial).await??))
        })
    }

    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Udp>>>> {
        if server.ip().is_loopback() {
            return self.tokio.bind_udp(local, server);
        }
        let (netns, mark) = (self.netns.clone(), self.mark);
        Box::pin(async move {
            let made = netns.run_async(move || socket::datagrams_to(server, mark)).await;
            UdpSocket::from_std(made.map_err(io::Error::other)??)
        })
    }
}

fn only(server: SocketAddr) -> ResolverConfig {
    let mut named = NameServerConfig::udp_and_tcp(server.ip());
    named.connections.iter_mut().for_each(|connection| connection.port = server.port());
    ResolverConfig::from_parts(None, Vec::new(), vec![named])
}

fn options(options: &mut ResolverOpts) {
    options.cache_size = CACHE;
    options.timeout = TRY;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
}

/// A name must not lead into the calling pod itself.
fn can_be_called(ip: &IpAddr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests;

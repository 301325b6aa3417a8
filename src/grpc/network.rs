//! The way to a control plane's host: its addresses, and a TCP connection to one of them.
//!
//! From the daemon's own namespace and by its own `/etc/resolv.conf` and `/etc/hosts`, search list included:
//! `istiod.istio-system.svc` is whole only with it. Both files are read and the name is asked anew for every
//! connection, which is rare, so an address that has moved is found.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::sys::socket::unconnected;

/// One try of one name server, so that a second one is asked within the limit of a dial.
const TRY: Duration = Duration::from_secs(2);
/// Addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;
/// The next address is tried when the one before it has not answered for this long (RFC 8305 section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Bytes both ways.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// What a dial comes to.
pub type Dialled<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Transport>, DialError>> + Send + 'a>>;

/// Opens a connection to a host. The caller sets the deadline.
pub trait Dial: Send + Sync + 'static {
    /// `host` is a DNS name, or an address without brackets.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialled<'a>;
}

/// Name servers and TCP.
#[derive(Clone, Copy, Debug)]
pub struct Network;

/// Why a host was not reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No address of the host took a connection. Network, or the control plane.
    #[error("no connection to {to}: is the control plane running, and does a NetworkPolicy or firewall let us?")]
    Connect {
        to: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The name servers say no, or cannot be asked. Configuration, or the name servers.
    #[error("{host} cannot be looked up: compare the address, and the name servers in /etc/resolv.conf")]
    Lookup {
        host: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The name has no address. Configuration.
    #[error("{host} has no address")]
    None { host: String },
}

// === impl Network ===

impl Dial for Network {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> Dialled<'a> {
        Box::pin(async move {
            let ips = match host.parse::<IpAddr>() {
                Ok(ip) => vec![ip],
                Err(_) => lookup(host).await?,
            };
            let addresses = ips.into_iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, port)).collect();
            let stream = first(addresses).await.unwrap_or_else(|| Err(DialError::None { host: host.to_owned() }))?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

async fn lookup(host: &str) -> Result<Vec<IpAddr>, DialError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| DialError::Lookup { host: host.to_owned(), source };
    let resolver = TokioResolver::builder_tokio().and_then(|mut builder| {
        let options = builder.options_mut();
        options.cache_size = 0;
        options.timeout = TRY;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        builder.build()
    });
    let resolver = resolver.map_err(|error| failed(Box::new(error)))?;
    let answer = resolver.lookup_ip(host).await.map_err(|error| failed(Box::new(error)))?;
    Ok(answer.iter().map(|ip| ip.to_canonical()).collect())
}

/// The first connection that stands, of attempts that begin one after another; the last failure when none does, and
/// [`None`] without an address.
async fn first(addresses: Vec<SocketAddr>) -> Option<Result<TcpStream, DialError>> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = None;
    loop {
        match waiting.next() {
            Some(to) => drop(attempts.spawn(async move { attempt(to).await })),
            None if attempts.is_empty() => return failure,
            None => {}
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(done) = attempts.join_next() => match done {
                Ok(Ok(stream)) => return Some(Ok(stream)),
                Ok(Err(error)) => failure = Some(Err(error)),
                // An attempt does not panic, and nobody aborts one that is still asked.
                Err(error) => tracing::error!(%error, "an attempt to connect ended abnormally"),
            },
            () = tokio::time::sleep(STAGGER), if more => {}
        }
    }
}

async fn attempt(to: SocketAddr) -> Result<TcpStream, DialError> {
    let dial = async { unconnected(to.is_ipv6(), 0)?.start(to, None)?.connected().await };
    dial.await.map_err(|source| DialError::Connect { to, source })
}

#[cfg(test)]
mod tests;

//! One control plane: its settings, a connection to it, the headers of a request to it.

use std::fmt;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use http::Uri;
use hyper_util::rt::TokioIo;
use tonic::Status;
use tonic::metadata::MetadataMap;
pub use tonic::transport::Channel;

use super::address::{Address, AddressError};
use super::headers::{HeaderError, Headers};
use super::network::{Dial, DialError, Network};
use super::token::{Token, TokenError, TokenSource};
use super::trust::{RootSource, Roots, Trust, TrustError};
use crate::tls::{ControlConnector, ControlNameError, TlsError, TrustedRoots};

/// A PING on a connection with an open stream that is silent, 30 s, and how long its answer may take, 10 s: as Istio's
/// node proxy. A stream is silent for hours, and this is how a dead path under it is noticed. Without a stream there is
/// no PING: servers of gRPC end a connection that sends them (`too_many_pings`, gRFC A8) unless they were told otherwise.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

/// A control plane in plain values.
#[derive(Clone)]
pub struct Settings {
    /// `https://host:port`; the scheme may be left out.
    pub address: String,
    /// By which the server's certificate is judged.
    pub roots: RootSource,
    /// A name that the server's certificate may have instead of the address's host.
    pub server_name: Option<String>,
    pub token: TokenSource,
    /// Sent as `clusterid`, with a token only.
    pub cluster_id: Option<String>,
    /// More headers, name and value. Names are lower-cased.
    pub headers: Vec<(String, String)>,
    /// Name look-up and TCP together.
    pub connect_timeout: Duration,
}

/// A setting that cannot work. Configuration; known at start.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("the address of the control plane cannot be used")]
    Address(#[source] AddressError),
    #[error("a header for {address} cannot be used")]
    Header {
        address: Address,
        #[source]
        source: HeaderError,
    },
    #[error("the server name of {address} cannot be used")]
    Name {
        address: Address,
        #[source]
        source: ControlNameError,
    },
    #[error("the roots of {address} cannot be used")]
    Roots {
        address: Address,
        #[source]
        source: TrustError,
    },
    #[error("the token for {address} cannot be used")]
    Token {
        address: Address,
        #[source]
        source: TokenError,
    },
}

/// No connection to a control plane.
#[derive(Debug, thiserror::Error)]
#[error("no connection to {address}")]
pub struct ConnectError {
    pub address: Address,
    #[source]
    pub failure: ConnectFailure,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    /// Network, name servers, or the control plane.
    #[error("the host was not reached")]
    Dial(#[source] DialError),
    /// Bytes after the handshake were no HTTP/2. The control plane.
    #[error("the server does not speak HTTP/2")]
    Http2(#[source] Box<tonic::transport::Error>),
    /// Configuration, found out late: the roots changed to some that a name cannot be judged by.
    #[error("the server's name cannot be judged")]
    Name(#[source] ControlNameError),
    /// There is nothing to judge the server by. Configuration.
    #[error("nothing to know the control plane by")]
    Roots(#[source] TrustError),
    /// Network, or the control plane.
    #[error("the host did not answer within {} s: look at the route, and at firewalls and NetworkPolicies", limit.as_secs_f32())]
    Timeout { limit: Duration },
    /// The control plane's certificate, or our roots.
    #[error("the TLS handshake failed")]
    Tls(#[source] Box<TlsError>),
}

/// A way to one control plane. Cheap to clone; clones share the last token and the last roots.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    address: Address,
    connect_timeout: Duration,
    dial: Arc<dyn Dial>,
    headers: Headers,
    roots: Roots,
    server_name: Option<String>,
    token: Token,
    uri: Uri,
}

/// Gives one stream, once: a channel that has lost its connection says so instead of making another one with the
/// roots and the address of long ago.
struct Once<S>(Option<S>);

#[derive(Debug, thiserror::Error)]
#[error("the connection to the control plane is gone")]
struct Gone;

/// Whether a status was made on our side because the connection is gone, or the request's part of it. One that the
/// server sent has no source.
pub fn lost(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

// === impl Settings ===

impl Settings {
    /// No token, no headers, 5 s to connect.
    pub fn new(address: impl Into<String>, roots: RootSource) -> Self {
        Self {
            address: address.into(),
            roots,
            server_name: None,
            token: TokenSource::None,
            cluster_id: None,
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for Settings {
    /// Without the token and the headers' values. The address may hold a password until it has been judged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("address", &self.address.parse::<Address>())
            .field("roots", &self.roots)
            .field("server_name", &self.server_name)
            .field("token", &self.token)
            .field("cluster_id", &self.cluster_id)
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// Judges the settings. Nothing is dialled, and files need not be there yet.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn new(settings: &Settings) -> Result<Self, EndpointError> {
        Self::through(settings, Arc::new(Network))
    }

    /// The same over another network than the machine's.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn through(settings: &Settings, dial: Arc<dyn Dial>) -> Result<Self, EndpointError> {
        let address: Address = settings.address.parse().map_err(EndpointError::Address)?;
        let of = || address.clone();
        let uri = address.as_str().parse().map_err(|_| EndpointError::Address(AddressError::Form))?;
        let headers = Headers::new(settings.cluster_id.as_deref(), &settings.headers)
            .map_err(|source| EndpointError::Header { address: of(), source })?;
        for name in [Some(address.host()), settings.server_name.as_deref()].into_iter().flatten() {
            ControlConnector::check_name(name).map_err(|source| EndpointError::Name { address: of(), source })?;
        }
        let roots = Roots::new(settings.roots.clone(), SystemTime::now())
            .map_err(|source| EndpointError::Roots { address: of(), source })?;
        let token =
            Token::new(settings.token.clone()).map_err(|source| EndpointError::Token { address: of(), source })?;
        let (connect_timeout, server_name) = (settings.connect_timeout, settings.server_name.clone());
        Ok(Self(Arc::new(Inner { address, connect_timeout, dial, headers, roots, server_name, token, uri })))
    }

    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// A new connection: the roots are read, the name is looked up, the server is verified. It ends with the last
    /// clone of the channel. Once it is gone, each request on it fails at once; see [`lost`].
    ///
    /// # Errors
    /// See [`ConnectFailure`]. At most the connect timeout, and as long again as a handshake may take, have passed.
    pub async fn connect(&self) -> Result<Channel, ConnectError> {
        // Boxed: a handshake's state has several kilobytes, which each caller would carry.
        let attempt = Box::pin(self.attempt());
        attempt.await.map_err(|failure| ConnectError { address: self.0.address.clone(), failure })
    }

    async fn attempt(&self) -> Result<Channel, ConnectFailure> {
        let Inner { address, connect_timeout, dial, roots, server_name, uri, .. } = &*self.0;
        let trust = roots.read(SystemTime::now()).map_err(ConnectFailure::Roots)?;
        let connector = self.connector(trust.roots(), server_name.as_deref())?;
        let dial = dial.dial(address.host(), address.port());
        let stream = match tokio::time::timeout(*connect_timeout, dial).await {
            Ok(stream) => stream.map_err(ConnectFailure::Dial)?,
            Err(_) => return Err(ConnectFailure::Timeout { limit: *connect_timeout }),
        };
        let stream = connector.connect(stream).await.map_err(|error| ConnectFailure::Tls(Box::new(error)))?;
        let endpoint = Channel::builder(uri.clone())
            .user_agent(concat!("culvert/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| ConnectFailure::Http2(Box::new(error)))?
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(false);
        let once = Once(Some(TokioIo::new(stream)));
        // It waits for no answer of the server, so it needs no deadline.
        endpoint.connect_with_connector(once).await.map_err(|error| ConnectFailure::Http2(Box::new(error)))
    }

    fn connector(&self, roots: &TrustedRoots, also: Option<&str>) -> Result<ControlConnector, ConnectFailure> {
        ControlConnector::new(roots, self.0.address.host(), also).map_err(ConnectFailure::Name)
    }

    /// The headers of one request: `authorization`, `clusterid`, and what the settings add. The token is read now.
    ///
    /// # Errors
    /// There is no token to send, and there never was one or it was refused.
    pub fn metadata(&self) -> Result<MetadataMap, TokenError> {
        Ok(MetadataMap::from_headers(self.0.headers.of(self.0.token.read()?)))
    }

    /// To be told when the server answers `UNAUTHENTICATED`: a token whose file has vanished is then given up.
    pub fn token_refused(&self) {
        self.0.token.refused();
    }

    /// The roots as they are now. Another value than the last time means that connections should be made anew.
    ///
    /// # Errors
    /// There are none, and there never were.
    pub fn trust(&self) -> Result<Trust, TrustError> {
        self.0.roots.read(SystemTime::now())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("address", &self.0.address)
            .field("headers", &self.0.headers.names().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

// === impl Once ===

impl<S: Send + 'static> tower::Service<Uri> for Once<S> {
    type Response = S;
    type Error = Gone;
    type Future = Ready<Result<S, Gone>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(self.0.take().ok_or(Gone))
    }
}

#[cfg(test)]
mod tests;

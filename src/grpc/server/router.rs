//! From a request to the service that answers it, past its token.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::caller::{Authenticate, Caller, Unauthenticated};
use super::crowd;
use crate::telemetry::metrics::{Metrics, table};
use crate::telemetry::seldom::Seldom;

/// A request's or a response's body.
pub type Body = tonic::body::Body;
/// A response on its way.
pub type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// The largest token, 16 KiB: headers have no more room.
const LARGEST_TOKEN: usize = 16 << 10;

/// A gRPC service. A request's extensions hold its [`Caller`] and [`Closing`].
pub trait Service: Send + Sync + 'static {
    /// Its full name, as in the path: `package.Service`.
    fn name(&self) -> &'static str;

    fn call(&self, method: &str, request: Request<Body>) -> Answering;
}

/// Cancelled when a request's connection is to be made anew: long streams end cleanly then.
#[derive(Clone, Debug)]
pub struct Closing(pub CancellationToken);

/// The services of a server.
pub struct Router {
    services: Vec<Box<dyn Service>>,
    tokens: Arc<dyn Authenticate>,
    metrics: Metrics,
    strangers: Mutex<Seldom>,
    crowds: Mutex<Seldom>,
}

// === impl Router ===

impl Router {
    pub fn new(services: Vec<Box<dyn Service>>, tokens: Arc<dyn Authenticate>, metrics: Metrics) -> Self {
        Self { services, tokens, metrics, strangers: Mutex::default(), crowds: Mutex::default() }
    }

    /// Who asks.
    pub(super) fn caller(&self, headers: &HeaderMap, peer: SocketAddr) -> Result<Caller, Status> {
        let caller = token(headers).and_then(|token| self.tokens.authenticate(token));
        caller.map_err(|reason| {
            self.metrics.counter(table::GRPC_REFUSALS, ["token"]).increment();
            let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(others) = strangers.word(Instant::now()) {
                tracing::warn!(%peer, %reason, others, "a caller without a good token was refused");
            }
            Status::unauthenticated("authentication failed")
        })
    }

    /// What a caller hears on one connection too many.
    pub(super) fn crowded(&self, caller: &Caller, peer: SocketAddr) -> Status {
        self.metrics.counter(table::GRPC_REFUSALS, ["caller"]).increment();
        let word = self.crowds.lock().unwrap_or_else(PoisonError::into_inner).word(Instant::now());
        if let Some(others) = word {
            let caller = &*caller.name;
            tracing::warn!(%peer, caller, most = crowd::MOST, others, "a caller has too many connections: see who else has its token");
        }
        Status::resource_exhausted(format!(
            "this caller has {} connections: close one, or use one for all requests",
            crowd::MOST
        ))
    }

    /// The answer of the service that the path names.
    pub(super) fn answer(&self, request: Request<Body>) -> Answering {
        let path = request.uri().path().to_owned();
        let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
        match self.services.iter().find(|known| known.name() == service) {
            Some(service) => service.call(method, request),
            None => refuse(Status::unimplemented("no such service")),
        }
    }
}

/// A response that is a status alone.
pub(super) fn refuse(status: Status) -> Answering {
    Box::pin(std::future::ready(status.into_http()))
}

/// The one bearer token (RFC 6750 section 2.1) among the headers.
fn token(headers: &HeaderMap) -> Result<&str, Unauthenticated> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next().ok_or(Unauthenticated("no token"))?;
    if all.next().is_some() {
        return Err(Unauthenticated("several tokens"));
    }
    let text = value.to_str().map_err(|_| Unauthenticated("a token that is not ASCII"))?;
    let (scheme, token) = text.split_once(' ').ok_or(Unauthenticated("no bearer token"))?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > LARGEST_TOKEN {
        return Err(Unauthenticated("no bearer token"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_bearer_token_is_asked_for() {
        let check = |values: &[&[u8]], expected: Result<&str, &'static str>| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
            }
            assert_eq!(token(&headers), expected.map_err(Unauthenticated), "{values:?}");
        };
        check(&[b"Bearer abc"], Ok("abc"));
        check(&[b"bearer  abc "], Ok("abc"));
        check(&[], Err("no token"));
        check(&[b"Bearer abc", b"Bearer abc"], Err("several tokens"));
        check(&[b"Basic abc"], Err("no bearer token"));
        check(&[b"Bearer"], Err("no bearer token"));
        check(&[b"Bearer "], Err("no bearer token"));
        check(&[b"Bearer \xff"], Err("a token that is not ASCII"));
        check(&[format!("Bearer {}", "x".repeat(LARGEST_TOKEN + 1)).as_bytes()], Err("no bearer token"));
    }
}

//! One stream to a control plane.

use std::future::Future;
use std::pin::Pin;

use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::{Body, StdError};
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Status, Streaming};
use tonic_prost::ProstCodec;

use super::envelope::Envelope;
use super::observe::Termination;
use super::requests::Request;

/// Bytes of a response, 200 MiB: a first sync is one message. What Istio's own client takes.
const LARGEST_RESPONSE: usize = 200 << 20;
const PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

/// Why there is no connection; it says whose fault that is.
pub type ConnectError = StdError;

/// Makes connections. It is called for each stream, so that roots and tokens are read again.
pub trait Connect: Send + 'static {
    type Service: GrpcService<tonic::body::Body, Future: Send, ResponseBody: Body<Error: Into<StdError> + Send> + Send + 'static>
        + Send
        + 'static;

    /// A new connection, with the metadata of its stream (`authorization`, `clusterid`). It should find a peer that is
    /// gone by itself (HTTP/2 PINGs): a stream may be silent for long. Given up after 20 s.
    fn connect(&mut self) -> impl Future<Output = Result<Dialled<Self::Service>, ConnectError>> + Send;

    /// The control plane does not take us for who we say we are (`UNAUTHENTICATED`): what was shown is no good any more.
    fn refused(&mut self) {}
}

/// A connection that can take a stream.
pub struct Dialled<S> {
    pub service: S,
    pub metadata: MetadataMap,
}

/// The responses of a stream. A server may send nothing, not even headers, before its first response, so opening is a
/// part of reading.
pub(super) enum Inbound {
    Opening(Pin<Box<dyn Future<Output = Result<Streaming<Envelope>, Status>> + Send>>),
    Open(Box<Streaming<Envelope>>),
}

// === impl Inbound ===

impl Inbound {
    /// Sends what comes from `requests`, from when this is first polled.
    pub(super) fn new<S>(dialled: Dialled<S>, requests: mpsc::Receiver<Request>) -> Self
    where
        S: GrpcService<
                tonic::body::Body,
                Future: Send,
                ResponseBody: Body<Error: Into<StdError> + Send> + Send + 'static,
            > + Send
            + 'static,
    {
        let Dialled { service, metadata } = dialled;
        Self::Opening(Box::pin(async move {
            let mut grpc = Grpc::new(service).max_decoding_message_size(LARGEST_RESPONSE);
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let request = tonic::Request::from_parts(metadata, Extensions::default(), ReceiverStream::new(requests));
            let codec = ProstCodec::<Request, Envelope>::default();
            let response = grpc.streaming(request, PathAndQuery::from_static(PATH), codec).await?;
            Ok(response.into_inner())
        }))
    }

    /// The next response; `None` when the server has closed the stream. Nothing is lost when this is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Envelope>, Status> {
        loop {
            match self {
                Self::Opening(opening) => *self = Self::Open(Box::new(opening.await?)),
                Self::Open(open) => return open.message().await,
            }
        }
    }

    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }
}

/// What the end of a stream by a status means.
pub(super) fn termination(status: &Status, opened: bool) -> Termination {
    let message = status.message();
    match status.code() {
        // Also how the client names what its connection met before there was a response.
        Code::Unavailable | Code::Unknown if !opened => Termination::ConnectionError,
        Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => Termination::Reconnect,
        Code::Unavailable if message.contains("transport is closing") || message.contains("received prior goaway") => {
            Termination::Reconnect
        }
        _ => Termination::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_by_a_status() {
        let of = |code, message: &str, opened| termination(&Status::new(code, message), opened);
        assert_eq!(of(Code::Unavailable, "no route", false), Termination::ConnectionError);
        assert_eq!(of(Code::Unavailable, "no route", true), Termination::Error);
        assert_eq!(of(Code::Unavailable, "the transport is closing", true), Termination::Reconnect);
        assert_eq!(of(Code::Cancelled, "", true), Termination::Reconnect);
        assert_eq!(of(Code::Unauthenticated, "", false), Termination::Error);
        assert_eq!(of(Code::ResourceExhausted, "", true), Termination::Error);
    }
}

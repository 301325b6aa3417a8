//! `envoy.service.discovery.v3.AggregatedDiscoveryService`, its incremental method.

use std::future::{Ready, ready};
use std::sync::Arc;

use bytes::BufMut as _;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Status, Streaming};

use super::clients::{ClientReport, Clients};
use super::incoming::Bounded;
use super::publish::Store;
use super::response::Marshalled;
use super::session::Limits;
use super::stream::{self, Client};
use crate::grpc::server::{Answering, Body, Caller, Closing, Largest, Metered, Progress, Service};
use crate::proto::discovery::DeltaDiscoveryRequest;
use crate::runtime::tasks::Tasks;
use crate::telemetry::metrics::Metrics;

/// The largest requests. The first one of a stream, 32 MiB: the names and versions of some 250,000 resources that a client
/// says it has. Later ones, 4 MiB: what gRPC libraries take without being told.
const LARGEST: Largest = Largest { first: 32 << 20, later: 4 << 20 };
/// Streams of one caller: one, another while its process is replaced, and some that nobody has closed yet.
const STREAMS_OF_ONE: usize = 8;
/// First requests that are read at once: 32 × 32 MiB at the very most, and one caller has a quarter of it. A place is
/// taken when the request has begun to arrive.
const FIRST_REQUESTS: usize = 32;
/// Names that a client may subscribe to on demand; and some 2 MiB a response: half of what gRPC libraries take without
/// being told, and a first sync of 100,000 workloads in some 20 steps.
const LIMITS: Limits = Limits { names: 250_000, name_bytes: 32 << 20, response: 2 << 20 };

/// What may be adjusted.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Streams at once.
    pub clients: usize,
}

/// The service. Clones are the same.
#[derive(Clone, Debug)]
pub struct Discovery {
    store: Store,
    tasks: Tasks,
    clients: Clients,
    first_requests: Arc<Semaphore>,
    metrics: Metrics,
}

/// Requests are messages; responses are bytes already.
#[derive(Clone, Copy, Debug, Default)]
struct Marshalling;

// === impl Discovery ===

impl Discovery {
    /// `tasks` runs the streams, and is large enough for all of them.
    pub fn new(store: Store, tasks: Tasks, config: Config, metrics: Metrics) -> Self {
        let clients = Clients::new(config.clients, STREAMS_OF_ONE);
        Self { store, tasks, clients, first_requests: Arc::new(Semaphore::new(FIRST_REQUESTS)), metrics }
    }

    /// Who is connected, the longest first.
    pub fn clients(&self) -> Vec<ClientReport> {
        self.clients.report()
    }

    fn open(&self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Result<tonic::Response<Responding>, Status> {
        let extensions = request.extensions();
        let caller =
            extensions.get::<Caller>().ok_or_else(|| Status::unauthenticated("authentication failed"))?.clone();
        let closing = extensions.get::<Closing>().map(|closing| closing.0.clone()).unwrap_or_default();
        // There is one whenever the request came by `call`.
        let progress = extensions.get::<Progress>().map_or_else(|| watch::channel(()).1, |progress| progress.0.clone());
        let place = self.clients.join(&caller).map_err(|full| {
            tracing::warn!(client = %caller.name, reason = %full, "xDS: a client was sent away");
            Status::resource_exhausted(full.to_string())
        })?;
        let (responses, receive) = mpsc::channel(1);
        let client = Client {
            caller,
            place,
            limits: LIMITS,
            snapshots: self.store.reader(),
            first_requests: Arc::clone(&self.first_requests),
            progress,
            metrics: self.metrics.clone(),
            closing,
        };
        let requests = Box::pin(request.into_inner());
        let full = |_| Status::resource_exhausted("too many streams");
        self.tasks.spawn(stream::serve(client, requests, responses)).map_err(full)?;
        Ok(tonic::Response::new(ReceiverStream::new(receive)))
    }
}

type Responding = ReceiverStream<Result<Marshalled, Status>>;

impl Service for Discovery {
    fn name(&self) -> &'static str {
        "envoy.service.discovery.v3.AggregatedDiscoveryService"
    }

    fn call(&self, method: &str, request: http::Request<Body>) -> Answering {
        if method != "DeltaAggregatedResources" {
            let status = Status::unimplemented("only DeltaAggregatedResources is served");
            return Box::pin(ready(status.into_http()));
        }
        let this = self.clone();
        Box::pin(async move {
            let request = Metered::wrap(request, LARGEST);
            Grpc::new(Marshalling).max_decoding_message_size(LARGEST.first).streaming(this, request).await
        })
    }
}

impl StreamingService<DeltaDiscoveryRequest> for Discovery {
    type Response = Marshalled;
    type ResponseStream = Responding;
    type Future = Ready<Result<tonic::Response<Responding>, Status>>;

    fn call(&mut self, request: Request<Streaming<DeltaDiscoveryRequest>>) -> Self::Future {
        ready(self.open(request))
    }
}

// === impl Marshalling ===

impl Codec for Marshalling {
    type Encode = Marshalled;
    type Decode = DeltaDiscoveryRequest;
    type Encoder = Self;
    type Decoder = Bounded;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        Bounded
    }
}

impl Encoder for Marshalling {
    type Item = Marshalled;
    type Error = Status;

    fn encode(&mut self, item: Marshalled, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

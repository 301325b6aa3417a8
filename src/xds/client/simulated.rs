//! A control plane, played by a test: its answers are what the test says, over tonic's own framing and no network.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use prost::Message;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::server::StreamingService;
use tonic::{Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::envelope::Envelope;
use super::kind::Kind;
use super::observe::{Observer, Termination};
use super::requests::Request;
use super::stream::{Connect, ConnectError, Dialled};
use super::update::{Removed, Sink, Update};
use crate::model::name::NamespacedName;
use crate::model::policy::{Action, Policy, Scope};
use crate::model::service::{Service, VirtualAddress};
use crate::model::workload::Workload;
use crate::proto::discovery::{DeltaDiscoveryResponse, Resource};
use crate::proto::google::Any;
use crate::xds::convert::{encode_policy, encode_service, encode_workload};

pub(super) fn workload(uid: &str, ip: &str) -> Workload {
    Workload {
        uid: uid.into(),
        name: uid.into(),
        namespace: "shop".into(),
        service_account: "default".into(),
        trust_domain: "cluster.local".into(),
        cluster: "Kubernetes".into(),
        network: "net".into(),
        addresses: vec![ip.parse().unwrap()],
        ..Workload::default()
    }
}

pub(super) fn service(host: &str, ip: &str) -> Service {
    let ip: IpAddr = ip.parse().unwrap();
    Service {
        name: host.into(),
        namespace: "shop".into(),
        hostname: host.into(),
        addresses: vec![VirtualAddress::single("net".into(), ip)],
        ..Service::default()
    }
}

pub(super) fn policy(name: &str) -> Policy {
    Policy::new(NamespacedName::new("shop", name), Scope::Namespace, Action::Deny, Vec::new())
}

pub(super) fn resource(kind: Kind, name: &str, version: &str, value: Vec<u8>) -> Resource {
    let resource = Some(Any { type_url: kind.url().into(), value });
    Resource { name: name.into(), version: version.into(), resource, aliases: Vec::new() }
}

pub(super) fn of_workload(workload: &Workload, version: &str) -> Resource {
    resource(Kind::Address, &workload.uid, version, encode_workload(workload).encode_to_vec())
}

pub(super) fn of_service(service: &Service, version: &str) -> Resource {
    resource(Kind::Address, &service.key().to_string(), version, encode_service(service).encode_to_vec())
}

pub(super) fn of_policy(policy: &Policy) -> Resource {
    resource(Kind::Authorization, &policy.key.to_string(), "", encode_policy(policy).encode_to_vec())
}

/// Under a name, something that is no resource of its type.
pub(super) fn broken(kind: Kind, name: &str) -> Resource {
    resource(kind, name, "v", vec![0xff])
}

pub(super) fn response(kind: Kind, nonce: &str, resources: Vec<Resource>, removed: &[&str]) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        system_version_info: "1".into(),
        resources,
        type_url: kind.url().into(),
        nonce: nonce.into(),
        removed_resources: removed.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn envelope(response: &DeltaDiscoveryResponse) -> Envelope {
    Envelope::decode(response.encode_to_vec().as_slice()).unwrap()
}

/// What the client brought to the mesh.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct World {
    pub(super) workloads: BTreeMap<String, Workload>,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) policies: BTreeMap<String, Policy>,
    pub(super) updates: usize,
    pub(super) staged: Vec<Update>,
}

/// A world that the client writes and a test reads.
#[derive(Clone, Default)]
pub(super) struct Mesh(pub(super) Arc<Mutex<World>>);

impl World {
    pub(super) fn take(&mut self, update: Update) {
        let Update { workloads, services, policies, removed } = update;
        self.updates += 1;
        self.workloads.extend(workloads.into_iter().map(|workload| (workload.uid.to_string(), workload)));
        self.services.extend(services.into_iter().map(|service| (service.key().to_string(), service)));
        self.policies.extend(policies.into_iter().map(|policy| (policy.key.to_string(), policy)));
        for removed in removed {
            match removed {
                Removed::Workload(uid) => drop(self.workloads.remove(&*uid)),
                Removed::Service(key) => drop(self.services.remove(&key.to_string())),
                Removed::Policy(key) => drop(self.policies.remove(&key.to_string())),
            }
        }
    }

    /// The names of everything, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.workloads.keys().chain(self.services.keys()).chain(self.policies.keys());
        names.cloned().collect()
    }
}

impl Mesh {
    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().names()
    }
}

impl Sink for Mesh {
    fn stage(&mut self, part: Update) {
        self.0.lock().unwrap().staged.push(part);
    }

    fn show(&mut self) {
        let mut world = self.0.lock().unwrap();
        std::mem::take(&mut world.staged).into_iter().for_each(|part| world.take(part));
    }

    fn discard(&mut self) {
        self.0.lock().unwrap().staged.clear();
    }
}

/// Counts what happens.
#[derive(Clone, Default)]
pub(super) struct Counts(pub(super) Arc<Mutex<Vec<String>>>);

impl Observer for Counts {
    fn terminated(&self, why: Termination) {
        self.0.lock().unwrap().push(why.as_str().into());
    }

    fn message(&self, type_url: &'static str, bytes: usize) {
        assert!(bytes > 0);
        self.0.lock().unwrap().push(type_url.rsplit('.').next().unwrap().into());
    }

    fn refused(&self, _: Kind, count: usize) {
        if count > 0 {
            self.0.lock().unwrap().push(format!("refused {count}"));
        }
    }
}

/// Where connections go.
#[derive(Clone)]
pub(super) struct Plane {
    streams: mpsc::UnboundedSender<Stream>,
    pub(super) down: Arc<AtomicBool>,
    pub(super) attempts: Arc<Mutex<Vec<Instant>>>,
}

/// The server's end of a stream. Dropping it closes it.
pub(super) struct Stream {
    requests: Streaming<Request>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    pub(super) metadata: MetadataMap,
}

impl Plane {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Stream>) {
        let (streams, receiver) = mpsc::unbounded_channel();
        (Self { streams, down: Arc::default(), attempts: Arc::default() }, receiver)
    }
}

impl Connect for Plane {
    type Service = Self;

    async fn connect(&mut self) -> Result<Dialled<Self>, ConnectError> {
        self.attempts.lock().unwrap().push(Instant::now());
        if self.down.load(Ordering::Relaxed) {
            return Err("the control plane is down".into());
        }
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", "Bearer token".parse().unwrap());
        Ok(Dialled { service: self.clone(), metadata })
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<tonic::body::Body>, Infallible>> + Send>>;

impl tower::Service<http::Request<tonic::body::Body>> for Plane {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Answer {
        let plane = self.clone();
        assert_eq!(
            request.uri().path(),
            "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
        );
        let codec = ProstCodec::<DeltaDiscoveryResponse, Request>::default();
        Box::pin(async move { Ok(tonic::server::Grpc::new(codec).streaming(plane, request).await) })
    }
}

impl StreamingService<Request> for Plane {
    type Response = DeltaDiscoveryResponse;
    type ResponseStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Request>>) -> Self::Future {
        let (responses, receiver) = mpsc::channel(64);
        let metadata = request.metadata().clone();
        let stream = Stream { requests: request.into_inner(), responses, metadata };
        let opened = self.streams.send(stream).map_err(|_| Status::unavailable("the test has ended"));
        std::future::ready(opened.map(|()| Response::new(ReceiverStream::new(receiver))))
    }
}

impl Stream {
    /// The next request; a test that waits for one that does not come fails.
    pub(super) async fn request(&mut self) -> Request {
        timeout(Duration::from_secs(3600), self.requests.message()).await.expect("in time").unwrap().expect("a request")
    }

    /// The next request, unless none comes for a time.
    pub(super) async fn request_within(&mut self, limit: Duration) -> Option<Request> {
        timeout(limit, self.requests.message()).await.ok()?.ok()?
    }

    pub(super) async fn send(&self, response: DeltaDiscoveryResponse) {
        self.responses.send(Ok(response)).await.expect("a client");
    }

    /// [`None`] when the client is gone.
    pub(super) async fn send_until_gone(&self, response: DeltaDiscoveryResponse) -> Option<()> {
        self.responses.send(Ok(response)).await.ok()
    }

    pub(super) async fn fail(self, status: Status) {
        self.responses.send(Err(status)).await.expect("a client");
    }
}

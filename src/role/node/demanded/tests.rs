//! The client, the server, and what is asked between them, in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;

use super::*;
use crate::grpc::server::{Body, Caller, Service as _, Who};
use crate::mesh::{self, Changes, Writer};
use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::service::{Service, VirtualAddress};
use crate::model::workload::{ServiceMembership, Workload};
use crate::runtime::Panics;
use crate::runtime::tasks::Tasks;
use crate::telemetry::metrics::{self, Metrics};
use crate::xds::client::{self, Client, Connect, ConnectError, Dialled, Removed, Sink, Unobserved, Update};
use crate::xds::server::{Config, Discovery, Resources, Store};

const LIMIT: Duration = Duration::from_secs(5);

/// What the client brings, in the mesh.
struct Into(Writer);

impl Sink for Into {
    fn stage(&mut self, update: Update) {
        let Update { workloads, services, policies, removed } = update;
        let removed = removed.into_iter().map(|removed| match removed {
            Removed::Workload(uid) => mesh::Removed::Workload(uid),
            Removed::Service(key) => mesh::Removed::Service(key),
            Removed::Policy(key) => mesh::Removed::Policy(key),
        });
        self.0.stage(Changes { workloads, services, policies, removed: removed.collect() });
    }

    fn show(&mut self) {
        self.0.apply(Changes::default());
    }

    fn discard(&mut self) {
        self.0.discard();
    }
}

/// A way to the server; none while it is away.
#[derive(Clone)]
struct Wire(Option<Discovery>);

impl Connect for Wire {
    type Service = Self;

    async fn connect(&mut self) -> Result<Dialled<Self>, ConnectError> {
        if self.0.is_none() {
            return Err("away".into());
        }
        Ok(Dialled { service: self.clone(), metadata: MetadataMap::new() })
    }
}

impl tower::Service<http::Request<Body>> for Wire {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let who = Who::Node("z".into());
        let caller = Caller { name: "z".into(), who, withdrawn: CancellationToken::new() };
        request.extensions_mut().insert(caller);
        let answering = self.0.as_ref().map(|server| server.call("DeltaAggregatedResources", request));
        Box::pin(async move { Ok(answering.expect("it is there").await) })
    }
}

fn key(name: &str) -> NamespacedName {
    NamespacedName::new("shop", format!("{name}.shop.svc.cluster.local"))
}

fn service(name: &str, ip: &str, waypoint: Option<&str>) -> Service {
    let destination = |name| GatewayDestination::Hostname(key(name));
    Service {
        name: name.into(),
        namespace: "shop".into(),
        hostname: key(name).name,
        addresses: vec![VirtualAddress::single("net".into(), ip.parse().unwrap())],
        waypoint: waypoint.map(|name| GatewayAddress { destination: destination(name), port: 15008 }),
        ..Service::default()
    }
}

fn workload(of: &str, ip: &str) -> Workload {
    Workload {
        uid: format!("Kubernetes//Pod/shop/{of}-0").into(),
        name: format!("{of}-0").into(),
        namespace: "shop".into(),
        service_account: "default".into(),
        trust_domain: "cluster.local".into(),
        cluster: "Kubernetes".into(),
        network: "net".into(),
        addresses: vec![ip.parse().unwrap()],
        services: vec![ServiceMembership { service: key(of), ports: vec![(80, 8080)] }],
        ..Workload::default()
    }
}

struct Bed {
    demand: Arc<OnDemand>,
    mesh: Reader,
    server: Discovery,
    stop: CancellationToken,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn bed(away: bool) -> Bed {
    let resources = Resources {
        workloads: vec![workload("web", "10.0.0.1"), workload("gate", "10.0.0.2")],
        services: vec![service("web", "10.96.0.1", Some("gate")), service("gate", "10.96.0.2", None)],
        policies: Vec::new(),
    };
    let stop = CancellationToken::new();
    let (pool, panics) = (tokio::runtime::Handle::current(), Panics::default());
    let tasks = Tasks::new("xds", 16, pool.clone(), panics.clone(), &stop, &stop);
    let metrics = Metrics::new(metrics::Config { series_budget: 100 }, "test");
    let server = Discovery::new(Store::new(&resources), tasks, Config { clients: 4 }, metrics);
    let (writer, mesh) = mesh::channel();
    let node_id = "ztunnel~10.0.0.9~z.istio-system~istio-system.svc.cluster.local".to_owned();
    let settings = client::Settings { node_id, metadata: BTreeMap::new(), on_demand: true, random: || 0.5 };
    let wire = Wire((!away).then(|| server.clone()));
    let client = Client::new(settings, wire, Into(writer), Unobserved, None);
    let demand = on_demand(client.demander().unwrap(), mesh.clone());
    let tasks = Tasks::new("client", 1, pool, panics, &stop, &stop);
    tasks.spawn(client.run(stop.clone())).unwrap();
    Bed { demand, mesh, server, stop }
}

fn at(ip: &str) -> Sought {
    Sought::address("net", ip.parse::<IpAddr>().unwrap()).unwrap()
}

fn names(mesh: &Reader) -> Vec<String> {
    let view = mesh.view();
    let workloads = view.workloads().map(|workload| workload.name.to_string());
    let mut names: Vec<_> = workloads.chain(view.services().map(|service| service.name.to_string())).collect();
    names.sort();
    names
}

#[tokio::test(start_paused = true)]
async fn what_is_called_comes_into_the_mesh_and_is_asked_for_once() {
    let bed = bed(false);
    let share = Share::new(128);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(names(&bed.mesh), [""; 0]);
    let responses = || bed.server.clients().first().map(|client| client.responses);
    let before = responses().unwrap();
    let mut all: Vec<_> = (0..100).map(|_| Box::pin(bed.demand.ask(&share, vec![at("10.96.0.1")], LIMIT))).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| match one.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(answer) => {
                answer.unwrap();
                assert!(at("10.96.0.1").is_held(&bed.mesh.view()), "before the answer");
                false
            }
        });
        if all.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    assert_eq!(names(&bed.mesh), ["web", "web-0"]);
    assert_eq!(responses(), Some(before + 1));
    // Its waypoint, by name; a pod, by address; and what is not there.
    bed.demand.ask(&share, vec![Sought::Service(key("gate")), at("10.0.0.2"), at("192.168.0.9")], LIMIT).await.unwrap();
    assert_eq!(names(&bed.mesh), ["gate", "gate-0", "web", "web-0"]);
    assert!(!at("192.168.0.9").is_held(&bed.mesh.view()));
}

#[tokio::test(start_paused = true)]
async fn what_is_only_good_to_know_comes_without_a_wait() {
    let bed = bed(false);
    bed.demand.hint(at("10.0.0.1"));
    assert_eq!(names(&bed.mesh), [""; 0]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(names(&bed.mesh), ["web-0"]);
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_is_away_lets_nothing_through() {
    let bed = bed(true);
    let began = Instant::now();
    let refused = bed.demand.ask(&Share::new(1), vec![at("10.0.0.1")], LIMIT).await.unwrap_err();
    assert_eq!((refused.why, began.elapsed()), (Silence::Deadline, LIMIT));
}

#[tokio::test(start_paused = true)]
async fn dns_asks_for_names_and_does_not_wait_for_who_is_silent() {
    let bed = bed(false);
    let dns = super::names(&bed.demand);
    dns.demand(&dns.share(), vec![key("web"), key("none")]).await;
    assert_eq!(names(&bed.mesh), ["web", "web-0"]);
    let bed = self::bed(true);
    let dns = super::names(&bed.demand);
    let began = Instant::now();
    dns.demand(&dns.share(), vec![key("web")]).await;
    assert_eq!(began.elapsed(), WAIT);
    for _ in 0..100 {
        dns.demand(&dns.share(), vec![key("gate")]).await;
    }
    assert_eq!(began.elapsed(), WAIT);
    tokio::time::sleep(LIMIT).await;
    dns.demand(&dns.share(), vec![key("web")]).await;
    assert_eq!(began.elapsed(), WAIT + LIMIT + WAIT, "one finds out whether it is there again");
}

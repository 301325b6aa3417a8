//! A control plane written out by hand, which sends what ours would not: policies that cannot be read, that never come, and
//! that ask for nothing at all.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::{Buf, Bytes, BytesMut};
use culvert::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use culvert::proto::google::Any;
use culvert::proto::security::StringMatchMatchType;
use culvert::proto::security::{self, Action, Authorization, Group, Match, Rules, Scope, StringMatch};
use culvert::proto::workload::{self, AddressType, TunnelProtocol, Workload};
use culvert::role::demo::app::{self, HTTP_PORT, STREAM_PORT, Trickle, Way};
use culvert::sys::plain_tcp;
use h2::server::SendResponse;
use http::{Request, Response};
use prost::Message;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::bed::{Bed, Family, NODES, PATIENCE, SOME, demo, ends, until};
use crate::certificates::authority;
use crate::remote::{Control, HOST, Issuer, launch};

const ADDRESS: &str = "type.googleapis.com/istio.workload.Address";
const AUTHORIZATION: &str = "type.googleapis.com/istio.security.Authorization";
/// What the server's record names.
const POLICY: &str = "demo/wanted";
const ALLOW: i32 = Action::Allow as i32;
/// New connections wait so long for it.
const POLICY_WAIT: Duration = Duration::from_secs(2);

/// What is served: each change is a step that every stream takes once.
type Steps = Arc<Vec<DeltaDiscoveryResponse>>;

/// Dropped, it is away.
struct ByHand {
    steps: watch::Sender<Steps>,
    refused: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

// === impl ByHand ===

impl ByHand {
    /// Serves these pods, and no policy, where a control plane would be.
    async fn start(bed: &Bed) -> Self {
        let issued = authority(bed).issue_server(&[HOST.to_owned()], Duration::from_secs(3600), SystemTime::now());
        let issued = issued.unwrap();
        let chain = issued.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivatePkcs8KeyDer::from(issued.key.pkcs8().to_vec());
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key.into()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let at = (HOST.parse::<IpAddr>().unwrap(), 15012).into();
        let listener = plain_tcp::listen(bed.lab().fabric(), at).await.unwrap();
        let pods = ["client", "near", "server", "intruder"].map(|pod| record(bed, pod, &[]));
        let (steps, seen) =
            watch::channel(Arc::new(vec![changed(ADDRESS, pods.to_vec()), changed(AUTHORIZATION, vec![])]));
        let (refused, mut serving) = (Arc::<Mutex<Vec<String>>>::default(), JoinSet::new());
        serving.spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), seen, Arc::clone(&refused)));
        Self { steps, refused, _serving: serving }
    }

    fn send(&self, kind: &str, resources: Vec<Resource>) {
        self.steps.send_modify(|steps| Arc::make_mut(steps).push(changed(kind, resources)));
    }

    /// What nodes did not take.
    fn refused(&self) -> Vec<String> {
        self.refused.lock().unwrap().clone()
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    steps: watch::Receiver<Steps>,
    refused: Arc<Mutex<Vec<String>>>,
) {
    let mut open = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        open.spawn(serve(stream, acceptor.clone(), steps.clone(), Arc::clone(&refused)));
    }
}

async fn serve(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    steps: watch::Receiver<Steps>,
    refused: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut connection = h2::server::handshake(acceptor.accept(stream).await.ok()?).await.ok()?;
    let mut streams = JoinSet::new();
    while let Some(Ok((request, answer))) = connection.accept().await {
        streams.spawn(stream_of(request, answer, steps.clone(), Arc::clone(&refused)));
    }
    Some(())
}

/// One stream of delta ADS: each step of the types that were asked for, and what is refused is written down.
async fn stream_of(
    request: Request<h2::RecvStream>,
    mut answer: SendResponse<Bytes>,
    mut steps: watch::Receiver<Steps>,
    refused: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut out = answer.send_response(head, false).ok()?;
    let (mut body, mut bytes, mut asked) = (request.into_body(), BytesMut::new(), Vec::<String>::new());
    let mut sent = Vec::<usize>::new();
    loop {
        let all = Arc::clone(&steps.borrow_and_update());
        for (number, step) in all.iter().enumerate() {
            if asked.contains(&step.type_url) && !sent.contains(&number) {
                sent.push(number);
                let message = DeltaDiscoveryResponse { nonce: number.to_string(), ..step.clone() }.encode_to_vec();
                let length = u32::try_from(message.len()).unwrap().to_be_bytes();
                out.send_data([&[0][..], &length, &message].concat().into(), false).ok()?;
            }
        }
        tokio::select! {
            changed = steps.changed() => changed.ok()?,
            data = body.data() => {
                let data = data?.ok()?;
                drop(body.flow_control().release_capacity(data.len()));
                bytes.extend_from_slice(&data);
            }
        }
        // gRPC: a byte for the coding, four for the length.
        while bytes.len() >= 5 && bytes.len() >= 5 + u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize {
            let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
            bytes.advance(5);
            let request = DeltaDiscoveryRequest::decode(bytes.split_to(length)).unwrap();
            if let Some(error) = request.error_detail {
                refused.lock().unwrap().push(error.message);
            }
            asked.push(request.type_url);
        }
    }
}

fn changed(kind: &str, resources: Vec<Resource>) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse { type_url: kind.to_owned(), resources, ..DeltaDiscoveryResponse::default() }
}

fn resource(kind: &str, name: &str, value: Vec<u8>) -> Resource {
    let resource = Some(Any { type_url: kind.to_owned(), value });
    Resource { name: name.to_owned(), version: "1".to_owned(), resource, aliases: Vec::new() }
}

/// A pod's record, with the policies that it names.
fn record(bed: &Bed, pod: &str, policies: &[&str]) -> Resource {
    let octets = |family| match bed.at(pod, family, 0).ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let uid = format!("Kubernetes//Pod/demo/{pod}");
    let workload = Workload {
        uid: uid.clone(),
        name: pod.to_owned(),
        namespace: "demo".to_owned(),
        addresses: [Family::V4, Family::V6].map(octets).to_vec(),
        tunnel_protocol: TunnelProtocol::Hbone.into(),
        service_account: pod.to_owned(),
        node: bed.node_of(pod),
        authorization_policies: policies.iter().map(|name| (*name).to_owned()).collect(),
        ..Workload::default()
    };
    let address = workload::Address { r#type: Some(AddressType::Workload(workload)) };
    resource(ADDRESS, &uid, address.encode_to_vec())
}

/// [`POLICY`], which allows what matches, or does with it whatever the number says.
fn allows(action: i32, what: Match) -> Resource {
    let (namespace, name) = POLICY.split_once('/').unwrap();
    let policy = Authorization {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        scope: Scope::WorkloadSelector.into(),
        action,
        groups: vec![Group { rules: vec![Rules { matches: vec![what] }] }],
        ..Authorization::default()
    };
    resource(AUTHORIZATION, POLICY, policy.encode_to_vec())
}

fn from_namespace(name: &str) -> Match {
    let exact = StringMatch { match_type: Some(StringMatchMatchType::Exact(name.to_owned())) };
    Match { namespaces: vec![exact], ..Match::default() }
}

/// Refused after the wait for a policy, on the server's node, for a reason in which `why` stands.
async fn is_refused(bed: &Bed, from: &str, why: &str, wait: Duration) {
    let mark = bed.mark("node-b");
    let refused = bed.get(from, "server").await.expect_err(why);
    assert!(refused.after >= wait && refused.after < PATIENCE, "{from}: {refused}");
    let source = format!("{}:", bed.at(from, Family::V4, 0).ip());
    let is_its = |line: &Value| line["src.addr"].as_str().is_some_and(|from| from.starts_with(&source));
    // Lines of connections that were served before may come late.
    let of = |line: &Value| line["direction"] == "inbound" && line["road"] == "refused" && is_its(line);
    let line = bed.line_after("node-b", mark, PATIENCE, of).await.expect("the refusal is told");
    assert_eq!((&line["reason"], &line["dst.workload"]), (&"policy".into(), &"server".into()), "{line}");
    assert!(line["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{why}: {line}");
}

#[test]
fn policies_that_never_come_and_that_cannot_be_read_let_nobody_in() {
    demo("byhand", async |bed| {
        // Its files alone: it never runs.
        drop(Control::prepare(bed, &[]));
        let control = ByHand::start(bed).await;
        for node in NODES {
            launch(bed, node, Issuer::Node, &[]);
        }
        for node in NODES {
            bed.ready(node, Duration::from_secs(20)).await.unwrap();
        }
        let to = bed.at("server", Family::V4, STREAM_PORT);
        let mut held = Trickle::start(bed.netns("client"), to, Way::Echo, PATIENCE).await.unwrap();
        bed.get("client", "server").await.unwrap();
        bed.get("outsider", "server").await.unwrap();

        // The record names it, and nobody sends it. What is live goes on.
        control.send(ADDRESS, vec![record(bed, "server", &[POLICY])]);
        let named = async || {
            let all = bed.admin("node-b", "/workloads").await.unwrap_or_default();
            let server = all.as_array().and_then(|all| all.iter().find(|one| one["name"] == "server").cloned());
            server.is_some_and(|server| server.to_string().contains(POLICY))
        };
        until("the record names a policy", named).await;
        is_refused(bed, "client", "has not arrived", POLICY_WAIT).await;
        held.advance(SOME, PATIENCE).await.unwrap();

        // It comes while a connection waits for it.
        let waits =
            async { app::get(bed.netns("client"), bed.at("server", Family::V4, HTTP_PORT), "-", PATIENCE).await };
        let comes = async {
            tokio::time::sleep(POLICY_WAIT / 4).await;
            control.send(AUTHORIZATION, vec![allows(ALLOW, from_namespace("demo"))]);
        };
        let (reply, ()) = tokio::join!(waits, comes);
        let reply = reply.expect("a policy that comes in time admits");
        assert!(reply.took >= POLICY_WAIT / 5, "it was waited for: {:?}", reply.took);
        is_refused(bed, "outsider", "no ALLOW policy", Duration::ZERO).await;

        held.advance(SOME, PATIENCE).await.unwrap();

        // One whose action nobody knows is not taken, and what was good is in force.
        control.send(AUTHORIZATION, vec![allows(7, from_namespace("demo"))]);
        until("both nodes refuse it", async || control.refused().len() >= 2).await;
        assert!(control.refused().iter().all(|why| why.contains(POLICY)), "{:?}", control.refused());
        bed.get("client", "server").await.unwrap();
        is_refused(bed, "outsider", "no ALLOW policy", Duration::ZERO).await;
        held.advance(SOME, PATIENCE).await.unwrap();

        // No namespace is nobody's namespace: whoever has no identity is not in it.
        control.send(AUTHORIZATION, vec![allows(ALLOW, from_namespace(""))]);
        ends(&mut held, PATIENCE, "nobody is let in").await;
        for from in ["client", "outsider"] {
            is_refused(bed, from, "no ALLOW policy", Duration::ZERO).await;
        }

        // What stands beside an address of three bytes allows nobody, and the node says what it left out.
        let torn = security::Address { address: vec![10, 88, 1], length: 24 };
        let mark = bed.mark("node-b");
        control.send(AUTHORIZATION, vec![allows(ALLOW, Match { source_ips: vec![torn], ..from_namespace("demo") })]);
        bed.says("node-b", mark, "source_ips[0].address is [10, 88, 1]").await;
        let refused = async || {
            let mark = bed.mark("node-b");
            let refused = bed.get("client", "server").await.is_err();
            refused && bed.lines_after("node-b", mark).iter().any(|line| line.to_string().contains("allows nothing"))
        };
        until("it allows nothing", refused).await;
    });
}

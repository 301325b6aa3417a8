//! A whole control plane over the loopback: TLS, tokens, both services, and every file that changes.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, SanType};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::parts::{Parts, placement};
use crate::ca::Root;
use crate::config::control::ControlSettings;
use crate::control::index::Index;
use crate::control::manifests;
use crate::grpc::server::calling::{ask, channel, converse};
use crate::model::spiffe::Identity;
use crate::proto::ca::{IstioCertificateRequest, IstioCertificateResponse};
use crate::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use crate::proto::google::{Struct, Value};
use crate::runtime::pools::Pools;
use crate::runtime::ready::Readiness;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::supervise::Supervisor;
use crate::runtime::{Panics, tasks::Drained};
use crate::telemetry::log;
use crate::tls::{Credentials, Issued, PrivateKey, pem_certificates};
use crate::xds::convert::name;

const TOKEN_A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const TOKEN_B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const DISCOVER: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const CREATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

fn pod(name: &str, node: &str, ip: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{istio.io/dataplane-mode: ambient}}}}\n\
         spec: {{nodeName: {node}, serviceAccountName: {name}{more}}}\nstatus: {{phase: Running, podIPs: [{{ip: {ip}}}]}}\n"
    )
}

fn put(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&beside).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    fs::rename(beside, path).unwrap();
}

fn settings(dir: &Path) -> ControlSettings {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    ControlSettings {
        manifests: dir.join("manifests"),
        tokens: dir.join("tokens"),
        server_names: vec!["control.example".to_owned(), "127.0.0.1".to_owned()],
        listen_address: any,
        ca_dir: dir.join("ca"),
        trust_domain: "cluster.local".to_owned(),
        trust_domain_aliases: Vec::new(),
        cluster: "Kubernetes".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        network: String::new(),
        root_namespace: "istio-system".to_owned(),
        leaf_ttl: Duration::from_secs(3600),
        clients: 20.try_into().unwrap(),
        connection_age: Duration::from_secs(1800),
        drain_deadline: Duration::from_secs(5),
        metrics_series: 100,
        log_level: "info".to_owned(),
        log_format: log::Format::Text,
        admin_address: any,
        metrics_address: any,
        ready_address: any,
    }
}

fn request(kind: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: kind.to_owned(), ..DeltaDiscoveryRequest::default() }
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

async fn hear(stream: &mut Streaming<DeltaDiscoveryResponse>) -> Result<Option<DeltaDiscoveryResponse>, Status> {
    tokio::time::timeout(Duration::from_secs(60), stream.message()).await.expect("something is heard within a minute")
}

/// A certificate for `account`, by the token's bearer; checked as a node would.
async fn certificate(channel: &Channel, token: &str, account: &str) -> Result<Vec<Vec<u8>>, Status> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    // Whatever the request says of names is not looked at.
    params.subject_alt_names = vec![SanType::URI("spiffe://cluster.local/ns/kube-system/sa/root".try_into().unwrap())];
    let csr = params.serialize_request(&key).unwrap().pem().unwrap();
    let identity = Identity::new("cluster.local", "shop", account);
    let answer = create(channel, token, csr, &identity.to_string(), 600).await?;
    let ders = |text: &String| pem_certificates(text.as_bytes()).unwrap();
    let (roots, chain) = answer.cert_chain.split_last().unwrap();
    let (chain, roots) = (chain.iter().flat_map(ders).collect(), ders(roots));
    let now = std::time::SystemTime::now();
    let issued = Issued {
        chain,
        key: PrivateKey::from_pkcs8(key.serialize_der()),
        roots: roots.clone(),
        not_before: now,
        not_after: now + Duration::from_secs(600),
    };
    Credentials::build(&issued, &identity, now).unwrap();
    Ok(roots)
}

async fn create(
    channel: &Channel,
    token: &str,
    csr: String,
    identity: &str,
    seconds: i64,
) -> Result<IstioCertificateResponse, Status> {
    let fields = [("ImpersonatedIdentity".to_owned(), Value::from(identity.to_owned()))].into();
    let request = IstioCertificateRequest { csr, validity_duration: seconds, metadata: Some(Struct { fields }) };
    ask(channel, Some(token), CREATE, request).await
}

#[test]
fn a_mesh_and_its_certificates_over_the_network() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("manifests")).unwrap();
    let mesh = dir.path().join("manifests/mesh.yaml");
    let tokens = dir.path().join("tokens");
    let first = pod("cart", "a", "10.0.0.1", "") + &pod("till", "b", "10.0.0.2", "");
    put(&mesh, &first);
    put(&tokens, &format!("{TOKEN_A} a\n{TOKEN_B} b\n"));

    let pools = Pools::of_server().unwrap();
    let (shutdown, panics, readiness) = (Shutdown::new(), Panics::default(), Readiness::default());
    let (supervisor, _ends) = Supervisor::new(shutdown.clone(), panics.clone());
    let stop = CancellationToken::new();
    pools.block_on(async {
        let settings = settings(dir.path());
        let dropped = log::Dropped::default();
        let parts = Parts::build(&settings, &pools, &shutdown, &panics, &readiness, dropped).unwrap();
        assert!(readiness.is_ready());
        let (address, connections) = (parts.address().unwrap(), parts.connections());
        parts.spawn(&supervisor, &pools, &stop);
        let root = fs::read(dir.path().join("ca/root-cert.pem")).unwrap();
        let roots = pem_certificates(&root).unwrap();
        assert!(channel(address, &roots, "other.example").await.is_err());
        let by_address = channel(address, &roots, "127.0.0.1").await.unwrap();
        let calls = channel(address, &roots, "control.example").await.unwrap();

        both_services(&calls, &by_address).await;
        hostile(&calls).await;
        let (say, mut stream) = converse(&calls, Some(TOKEN_A), DISCOVER, request(name::ADDRESS)).await.unwrap();
        let response = hear(&mut stream).await.unwrap().unwrap();
        assert_eq!(names(&response), ["Kubernetes//Pod/shop/cart", "Kubernetes//Pod/shop/till"]);
        say.send(DeltaDiscoveryRequest { response_nonce: response.nonce, ..request(name::ADDRESS) }).await.unwrap();

        // A pod moves: the mesh says so, and who may speak for it.
        put(&mesh, &(pod("cart", "b", "10.0.0.1", "") + &pod("new", "a", "10.0.0.3", "")));
        let push = hear(&mut stream).await.unwrap().unwrap();
        assert_eq!(names(&push), ["Kubernetes//Pod/shop/cart", "Kubernetes//Pod/shop/new"]);
        assert_eq!(push.removed_resources, ["Kubernetes//Pod/shop/till"]);
        certificate(&calls, TOKEN_B, "cart").await.unwrap();
        assert_eq!(certificate(&calls, TOKEN_A, "cart").await.unwrap_err().code(), Code::Unauthenticated);

        // A second root comes in: every answer has both.
        let other = tempfile::tempdir().unwrap();
        Root::load_or_create(other.path(), "cluster.local").unwrap();
        let second = fs::read_to_string(other.path().join("root-cert.pem")).unwrap();
        put(&dir.path().join("ca/root-cert.pem"), &(String::from_utf8(root).unwrap() + &second));
        while certificate(&calls, TOKEN_B, "cart").await.unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }

        // A token is withdrawn: its streams end and it opens nothing.
        put(&tokens, &format!("{TOKEN_B} b\n"));
        let end = loop {
            match hear(&mut stream).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a clean end says nothing of the token"),
                Err(status) => break status.code(),
            }
        };
        assert_eq!(end, Code::Unauthenticated);
        assert_eq!(certificate(&calls, TOKEN_A, "new").await.unwrap_err().code(), Code::Unauthenticated);

        // The drain ends streams cleanly.
        let (_say, mut stream) =
            converse::<_, DeltaDiscoveryResponse>(&calls, Some(TOKEN_B), DISCOVER, request(name::ADDRESS))
                .await
                .unwrap();
        hear(&mut stream).await.unwrap().unwrap();
        let drained = connections.drain(Duration::from_secs(30));
        let (drained, end) = tokio::join!(drained, hear(&mut stream));
        assert_eq!((drained, end.unwrap()), (Drained::Clean, None));
        stop.cancel();
    });
    assert_eq!(panics.count(), 0);
    pools.shutdown(Duration::from_secs(1));
}

async fn both_services(calls: &Channel, by_address: &Channel) {
    let roots = certificate(calls, TOKEN_A, "cart").await.unwrap();
    assert_eq!(roots.len(), 1);
    certificate(by_address, TOKEN_B, "till").await.unwrap();
    for (token, account) in [(TOKEN_B, "cart"), (TOKEN_A, "none"), ("no-token", "cart")] {
        assert_eq!(certificate(calls, token, account).await.unwrap_err().code(), Code::Unauthenticated);
    }
    let nobody = converse::<_, DeltaDiscoveryResponse>(calls, None, DISCOVER, request(name::ADDRESS)).await;
    assert_eq!(nobody.unwrap_err().code(), Code::Unauthenticated);
    // On demand: the node's own pods, and what is asked for.
    let mut first = request(name::ADDRESS);
    first.resource_names_subscribe = vec!["*".to_owned()];
    first.resource_names_unsubscribe = vec!["*".to_owned()];
    let (say, mut stream) = converse(calls, Some(TOKEN_B), DISCOVER, first).await.unwrap();
    let own: DeltaDiscoveryResponse = hear(&mut stream).await.unwrap().unwrap();
    assert_eq!(names(&own), ["Kubernetes//Pod/shop/till"]);
    let mut asked = request(name::ADDRESS);
    asked.resource_names_subscribe = vec!["/10.0.0.1".to_owned(), "/10.9.9.9".to_owned()];
    say.send(asked).await.unwrap();
    let answer = hear(&mut stream).await.unwrap().unwrap();
    assert_eq!(names(&answer), ["Kubernetes//Pod/shop/cart"]);
    assert_eq!(
        (answer.resources[0].aliases.as_slice(), answer.removed_resources),
        (&["/10.0.0.1".to_owned()][..], vec!["/10.9.9.9".to_owned()])
    );
}

async fn hostile(calls: &Channel) {
    let cart = "spiffe://cluster.local/ns/shop/sa/cart";
    for csr in ["", "garbage", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"] {
        let refused = create(calls, TOKEN_A, csr.to_owned(), cart, 600).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{csr}");
    }
    let huge = create(calls, TOKEN_A, "x".repeat(65 << 10), cart, 600).await.unwrap_err();
    assert_eq!(huge.code(), Code::OutOfRange);
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let long = create(calls, TOKEN_A, csr.clone(), cart, i64::MAX).await.unwrap_err();
    assert_eq!(long.code(), Code::InvalidArgument);
    let name = create(calls, TOKEN_A, csr, &"x".repeat(8000), 600).await.unwrap_err();
    assert_eq!(name.code(), Code::Unauthenticated);

    // Streams of one caller are bounded, and places come back.
    let mut streams = Vec::new();
    let full = loop {
        match converse::<_, DeltaDiscoveryResponse>(calls, Some(TOKEN_A), DISCOVER, request(name::ADDRESS)).await {
            Ok(stream) => streams.push(stream),
            Err(status) => break status.code(),
        }
    };
    assert_eq!((full, streams.len()), (Code::ResourceExhausted, 8));
    // Another caller is served all the same.
    let (_say, mut other) =
        converse::<_, DeltaDiscoveryResponse>(calls, Some(TOKEN_B), DISCOVER, request(name::AUTHORIZATION))
            .await
            .unwrap();
    assert!(hear(&mut other).await.unwrap().is_some());
    drop(streams);
    let back = async {
        while converse::<_, DeltaDiscoveryResponse>(calls, Some(TOKEN_A), DISCOVER, request(name::ADDRESS))
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), back).await.unwrap();
}

#[test]
fn who_speaks_for_whom_is_what_the_manifests_place() {
    let text = pod("cart", "a", "10.0.0.1", "")
        + &pod("host", "a", "10.0.0.9", ", hostNetwork: true")
        + &pod("done", "a", "10.0.0.3", "").replace("Running", "Succeeded")
        + &pod("lost", "\"\"", "10.0.0.4", "")
        // It claims what cart has, and is refused.
        + &pod("thief", "b", "10.0.0.1", "");
    let objects = manifests::parse(&[("mesh.yaml".into(), text.into_bytes())]).unwrap();
    let placed = placement(&Index::build(objects));
    let runs = |node: &str, account: &str| placed.runs(node, &Identity::new("cluster.local", "shop", account));
    assert!(runs("a", "cart"));
    for (node, account) in [("a", "host"), ("a", "done"), ("", "lost"), ("b", "thief"), ("b", "cart")] {
        assert!(!runs(node, account), "{node} {account}");
    }
}

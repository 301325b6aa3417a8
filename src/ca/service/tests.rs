use std::sync::Arc;
use std::time::Duration;

use super::grant::ttl;
use super::*;
use crate::grpc::server::Caller;
use crate::model::spiffe::Identity;
use crate::proto::google::{Struct, Value};

const TD: &str = "cluster.local";

fn placement() -> Placement {
    let place = |node: &str, namespace: &str, account: &str| (node.into(), (namespace.into(), account.into()));
    [place("a", "shop", "cart"), place("a", "shop", "till"), place("b", "shop", "till")].into_iter().collect()
}

fn metadata(pairs: &[(&str, serde_json::Value)]) -> Struct {
    Struct { fields: pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::from(value))).collect() }
}

fn identity(account: &str) -> Identity {
    Identity::new(TD, "shop", account)
}

/// Whom the caller gets, or the label of the refusal.
fn granted(caller: &Caller, pairs: &[(&str, serde_json::Value)]) -> Result<String, &'static str> {
    let metadata = metadata(pairs);
    let granted = grant(caller, Some(&metadata), TD, &placement());
    granted.map(|identity| identity.to_string()).map_err(|denied| denied.label())
}

#[test]
fn a_node_speaks_for_the_pods_that_it_runs_and_for_nobody_else() {
    let whom = |uri: &str| [("ImpersonatedIdentity", uri.into())];
    for (node, uri, expected) in [
        ("a", "spiffe://cluster.local/ns/shop/sa/cart", Ok(())),
        ("a", "spiffe://cluster.local/ns/shop/sa/till", Ok(())),
        ("b", "spiffe://cluster.local/ns/shop/sa/till", Ok(())),
        ("b", "spiffe://cluster.local/ns/shop/sa/cart", Err("not_on_node")),
        ("c", "spiffe://cluster.local/ns/shop/sa/cart", Err("not_on_node")),
        ("a", "spiffe://cluster.local/ns/shop/sa/none", Err("not_on_node")),
        ("a", "spiffe://cluster.local/ns/other/sa/cart", Err("not_on_node")),
        ("a", "spiffe://other.domain/ns/shop/sa/cart", Err("trust_domain")),
        ("a", "", Err("identity")),
        ("a", "cluster.local/ns/shop/sa/cart", Err("identity")),
        ("a", "spiffe://cluster.local/ns/shop/sa/cart/", Err("identity")),
        ("a", "spiffe://cluster.local/ns/shop/sa/cart\0", Err("identity")),
    ] {
        let found = granted(&Caller::node(node), &whom(uri));
        assert_eq!(found, expected.map(|()| uri.to_owned()), "{node} {uri}");
    }
    let node = Caller::node("a");
    assert_eq!(granted(&node, &[]), Err("identity"), "a node has no identity of its own");
    assert!(matches!(grant(&node, None, TD, &placement()), Err(Denied::NobodyNamed)));
    for odd in
        [serde_json::Value::Null, true.into(), 7.into(), serde_json::json!(["spiffe://cluster.local/ns/shop/sa/cart"])]
    {
        assert_eq!(granted(&node, &[("ImpersonatedIdentity", odd)]), Err("identity"));
    }
}

#[test]
fn a_workload_speaks_for_itself() {
    let own = Caller::workload(identity("backup"));
    let uri = identity("backup").to_string();
    assert_eq!(granted(&own, &[]), Ok(uri.clone()));
    assert_eq!(granted(&own, &[("ImpersonatedIdentity", uri.clone().into())]), Ok(uri));
    let other = identity("cart").to_string();
    assert_eq!(granted(&own, &[("ImpersonatedIdentity", other.into())]), Err("not_own"));
    let foreign = Caller::workload(Identity::new("other.domain", "shop", "backup"));
    assert_eq!(granted(&foreign, &[]), Err("trust_domain"));
}

#[test]
fn another_signer_is_refused() {
    let own = Caller::workload(identity("backup"));
    assert_eq!(granted(&own, &[("CertSigner", "clusterissuers.example/x".into())]), Err("cert_signer"));
    assert_eq!(granted(&own, &[("CertSigner", 7.into())]), Err("cert_signer"));
    assert!(granted(&own, &[("CertSigner", "".into()), ("Other", "x".into())]).is_ok());
}

#[test]
fn a_life_is_the_one_asked_for_within_bounds() {
    let default = Duration::from_secs(86_400);
    for (asked, expected) in [
        (0, Some(86_400)),
        (-1, Some(86_400)),
        (i64::MIN, Some(86_400)),
        (1, Some(1)),
        (7_776_000, Some(7_776_000)),
        (7_776_001, None),
        (i64::MAX, None),
    ] {
        assert_eq!(ttl(asked, default).ok(), expected.map(Duration::from_secs), "{asked}");
    }
}

#[test]
fn a_peer_is_told_the_kind_of_a_refusal_alone() {
    let all = [
        Denied::AtOnce { most: 1 },
        Denied::CertSigner { signer: "secret".into() },
        Denied::Csr(None),
        Denied::Identity,
        Denied::Late { within: Duration::from_secs(1) },
        Denied::NotOnNode { node: "secret".into(), identity: identity("secret") },
        Denied::NotOwn { own: identity("secret") },
        Denied::NobodyNamed,
        Denied::Rate,
        Denied::Sign(crate::ca::CaError::Sign("secret")),
        Denied::TrustDomain { identity: identity("secret"), expected: "secret".into() },
        Denied::Ttl { seconds: 1 },
    ];
    let codes: Vec<_> = all
        .iter()
        .map(|denied| {
            assert!(!denied.status().message().contains("secret"), "{denied}");
            denied.status().code()
        })
        .collect();
    use tonic::Code::{DeadlineExceeded, InvalidArgument, ResourceExhausted, Unauthenticated, Unavailable};
    assert_eq!(
        codes,
        [
            ResourceExhausted,
            InvalidArgument,
            InvalidArgument,
            Unauthenticated,
            DeadlineExceeded,
            Unauthenticated,
            Unauthenticated,
            Unauthenticated,
            ResourceExhausted,
            Unavailable,
            Unauthenticated,
            InvalidArgument
        ]
    );
}

#[test]
fn a_pod_that_moves_takes_its_identity_along() {
    let before = placement();
    let after: Placement = [(Arc::from("b"), (Arc::from("shop"), Arc::from("cart")))].into_iter().collect();
    assert!(before.runs("a", &identity("cart")) && !before.runs("b", &identity("cart")));
    assert!(!after.runs("a", &identity("cart")) && after.runs("b", &identity("cart")));
}

/// A body of which nothing ever comes.
#[derive(Default)]
struct Never;

impl hyper::body::Body for Never {
    type Data = bytes::Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, tonic::Status>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_is_not_waited_for() {
    use crate::grpc::server::{Body, Service as _};
    use crate::telemetry::metrics::{self, Metrics, table};
    let dir = tempfile::tempdir().unwrap();
    let (_reloader, authority) = crate::ca::reload::Reloader::open(dir.path(), TD).unwrap();
    let (_sender, places) = tokio::sync::watch::channel(Arc::new(placement()));
    let metrics = Metrics::new(metrics::Config { series_budget: 100 }, "test");
    let service = Certificates::new(authority, places, Duration::from_secs(60), metrics.clone());
    let counted = |result| metrics.counter(table::CA_REQUESTS, [result]).value();
    let request = || {
        let mut request = http::Request::new(Body::new(Never));
        request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        request.extensions_mut().insert(Caller::node("a"));
        request
    };
    let began = tokio::time::Instant::now();
    let response = service.call("CreateCertificate", request()).await;
    assert_eq!(response.headers()["grpc-status"], "4", "deadline exceeded");
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert_eq!(counted("late"), 1);
    // One caller has 512 of them at a time.
    let open: Vec<_> = (0..512).map(|_| service.call("CreateCertificate", request())).collect();
    assert_eq!(service.call("CreateCertificate", request()).await.headers()["grpc-status"], "8");
    assert_eq!(counted("at_once"), 1, "who floods is seen");
    drop(open);
}

use super::*;

use http::uri::PathAndQuery;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use crate::grpc::simulated::{Door, Plane};
use crate::telemetry::cause::chain;
use crate::tls::fixture::TestCa;

/// Answers every request with a status that repeats one of its headers.
fn plane(ca: &TestCa, names: &[&str]) -> Plane {
    Plane::new(ca.server(names), |request| {
        let said = request.headers().get("x-say").map(|value| value.to_str().unwrap().to_owned());
        Box::pin(async move { Status::already_exists(said.unwrap_or_default()).into_http() })
    })
}

fn pem(ca: &TestCa) -> RootSource {
    RootSource::Pem(ca.pem())
}

async fn ask(channel: &Channel) -> Status {
    let mut request = tonic::Request::new(());
    request.metadata_mut().insert("x-say", "hello".parse().unwrap());
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let answer = grpc.unary::<_, (), _>(request, PathAndQuery::from_static("/a.B/C"), ProstCodec::default());
    answer.await.unwrap_err()
}

async fn refused(endpoint: &Endpoint) -> String {
    chain(&endpoint.connect().await.unwrap_err())
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_there_and_back() {
    let ca = TestCa::new();
    let plane = plane(&ca, &["istiod.test"]);
    let channel = plane.endpoint(&Plane::settings(pem(&ca))).connect().await.unwrap();
    let status = ask(&channel).await;
    assert_eq!((status.code(), status.message(), lost(&status)), (Code::AlreadyExists, "hello", false));
}

#[tokio::test(start_paused = true)]
async fn the_server_is_known_by_its_name_or_by_the_extra_one() {
    let ca = TestCa::new();
    let plane = plane(&ca, &["istiod.other"]);
    let mut settings = Plane::settings(pem(&ca));
    let error = refused(&plane.endpoint(&settings)).await;
    assert!(error.contains("https://istiod.test:15012") && error.contains("for none of: istiod.test"), "{error}");
    settings.server_name = Some("istiod.other".into());
    assert!(plane.endpoint(&settings).connect().await.is_ok());
    settings.server_name = Some("istiod.third".into());
    let error = refused(&plane.endpoint(&settings)).await;
    assert!(error.contains("for none of: istiod.test, istiod.third"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn roots_are_read_for_each_connection() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("root-cert.pem");
    let plane = plane(&ca, &["istiod.test"]);
    let endpoint = plane.endpoint(&Plane::settings(RootSource::File(path.clone())));
    let error = refused(&endpoint).await;
    assert!(error.contains("root-cert.pem") && error.contains("cannot be read"), "{error}");
    std::fs::write(&path, other.pem()).unwrap();
    let error = refused(&endpoint).await;
    assert!(error.contains("not signed by a root"), "{error}");
    std::fs::write(&path, other.pem() + &ca.pem()).unwrap();
    endpoint.connect().await.unwrap();
    let trust = endpoint.trust().unwrap();
    for broken in ["", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&path, broken).unwrap();
        endpoint.connect().await.unwrap();
        assert!(endpoint.trust().unwrap() == trust, "what was read last");
    }
    std::fs::write(&path, other.pem()).unwrap();
    assert!(endpoint.trust().unwrap() != trust);
    assert!(refused(&endpoint).await.contains("not signed by a root"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_waited_for_without_a_deadline() {
    let ca = TestCa::new();
    let plane = plane(&ca, &["istiod.test"]);
    let endpoint = plane.endpoint(&Plane::settings(pem(&ca)));
    for (door, seconds, text) in [
        (Door::Shut, 0, "is the control plane running"),
        (Door::Dead, 5, "did not answer within 5 s"),
        (Door::Silent, 10, "no TLS handshake within 10 s"),
        (Door::Noise, 0, "does not speak TLS"),
    ] {
        plane.door(door);
        let begun = Instant::now();
        let error = refused(&endpoint).await;
        assert!(error.starts_with("no connection to https://istiod.test:15012: ") && error.contains(text), "{error}");
        assert_eq!(begun.elapsed().as_secs(), seconds, "{door:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_channel_says_so_and_never_dials_again() {
    let ca = TestCa::new();
    let plane = plane(&ca, &["istiod.test"]);
    let channel = plane.endpoint(&Plane::settings(pem(&ca))).connect().await.unwrap();
    ask(&channel).await;
    plane.cut();
    for _ in 0..3 {
        let status = ask(&channel).await;
        assert!(lost(&status), "{status:?}");
    }
    assert_eq!(ask(&channel).await.code(), Code::Unavailable);
    assert_eq!(plane.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_path_that_dies_under_a_request_is_found_out_and_a_slow_answer_is_not_cut() {
    let ca = TestCa::new();
    let plane = Plane::new(ca.server(&["istiod.test"]), |_| Box::pin(std::future::pending()));
    let channel = plane.endpoint(&Plane::settings(pem(&ca))).connect().await.unwrap();
    // A server that lives answers a PING, however long it thinks.
    assert!(tokio::time::timeout(Duration::from_secs(600), ask(&channel)).await.is_err());
    plane.freeze();
    let begun = Instant::now();
    assert!(lost(&ask(&channel).await));
    assert!(begun.elapsed() <= Duration::from_secs(41), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn the_machines_own_network_leads_there_too() {
    let ca = TestCa::new();
    let plane = plane(&ca, &["127.0.0.1"]);
    let listener = crate::sys::socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let endpoint = Endpoint::new(&Settings::new(address.to_string(), pem(&ca))).unwrap();
    let serve = async { plane.serve(listener.accept().await.unwrap().0) };
    let (channel, ()) = tokio::join!(endpoint.connect(), serve);
    assert_eq!(ask(&channel.unwrap()).await.message(), "hello");
}

#[test]
fn settings_are_judged_at_start_and_secrets_are_not_shown() {
    let ca = TestCa::new();
    let good = Settings {
        token: TokenSource::Literal("t0ken".into()),
        cluster_id: Some("Kubernetes".into()),
        headers: vec![("X-Key".into(), "s3cret".into())],
        ..Settings::new("istiod:15012", pem(&ca))
    };
    let endpoint = Endpoint::new(&good).unwrap();
    let metadata = endpoint.metadata().unwrap();
    assert_eq!(metadata.get("authorization").unwrap().to_str().unwrap(), "Bearer t0ken");
    assert_eq!(metadata.get("clusterid").unwrap().to_str().unwrap(), "Kubernetes");
    assert_eq!(metadata.get("x-key").unwrap().to_str().unwrap(), "s3cret");
    for shown in [format!("{good:?}"), format!("{endpoint:?}"), format!("{metadata:?}")] {
        assert!(!shown.contains("t0ken") && !shown.contains("s3cret"), "{shown}");
    }
    assert!(!format!("{:?}", Settings::new("https://me:s3cret@host", pem(&ca))).contains("s3cret"));

    let cases: [(Settings, &str); 6] = [
        (Settings { address: "http://istiod:15010".into(), ..good.clone() }, "http is not spoken"),
        (Settings { address: "https://a_b:1/x".into(), ..good.clone() }, "nothing else"),
        (Settings { headers: vec![("a b".into(), "s3cret".into())], ..good.clone() }, "\"a b\" is no name"),
        (Settings { server_name: Some("no name".into()), ..good.clone() }, "\"no name\""),
        (Settings { roots: RootSource::Pem("none".into()), ..good.clone() }, "no usable root"),
        (Settings { token: TokenSource::Literal("a b".into()), ..good.clone() }, "the token has bytes"),
    ];
    for (settings, text) in cases {
        let error = chain(&Endpoint::new(&settings).unwrap_err());
        assert!(error.contains(text) && !error.contains("s3cret") && !error.contains("t0ken"), "{error}");
    }
}

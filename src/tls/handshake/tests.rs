use super::*;
use std::time::SystemTime;

use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use crate::tls::Fault;
use crate::tls::fixture::{TestCa, id};
use crate::tls::provider::provider;

fn pair() -> (DuplexStream, DuplexStream) {
    duplex(64 << 10)
}

fn set(accounts: &[&str]) -> Arc<[Identity]> {
    accounts.iter().map(|account| id(account)).collect()
}

type Outcome = Result<TlsStream<DuplexStream>, TlsError>;

async fn meet(server: &Credentials, client: &Credentials, expected: &Arc<[Identity]>) -> (Outcome, Outcome) {
    let (near, far) = pair();
    let (acceptor, connector) = (Acceptor::new(server), Connector::new(client, expected));
    // A side that fails drops its end, so the other sees the alert and then the end.
    let connect = async {
        let mut connected = connector.connect(near).await?;
        // The client is done before the server has seen its certificate: only reading tells.
        connected.read_u8().await.map_err(TlsError::from_io)?;
        Ok(connected)
    };
    let accept = async {
        let mut accepted = acceptor.accept(far).await?;
        accepted.write_all(b"!").await.map_err(TlsError::Io)?;
        accepted.flush().await.map_err(TlsError::Io)?;
        Ok(accepted)
    };
    tokio::join!(accept, connect)
}

#[tokio::test(start_paused = true)]
async fn both_sides_know_each_other_and_agree_on_the_hybrid_group() {
    let ca = TestCa::new();
    let (server, client) = (ca.credentials(&id("server")), ca.credentials(&id("client")));
    let (accepted, connected) = meet(&server, &client, &set(&["other", "server"])).await;
    let (mut accepted, mut connected) = (accepted.unwrap(), connected.unwrap());
    assert_eq!(accepted.peer(), &id("client"));
    assert_eq!(connected.peer(), &id("server"));
    assert_eq!((accepted.group(), connected.group()), ("X25519MLKEM768", "X25519MLKEM768"));
    connected.write_all(b"hello").await.unwrap();
    connected.flush().await.unwrap();
    let mut bytes = [0; 5];
    accepted.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_peer_is_named() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let (server, client) = (ca.credentials(&id("server")), ca.credentials(&id("client")));

    let (accepted, connected) = meet(&server, &client, &set(&["till"])).await;
    assert!(
        matches!(connected, Err(TlsError::WrongIdentity { got, expected }) if got == id("server") && expected == [id("till")])
    );
    assert!(matches!(accepted, Err(TlsError::RefusedByPeer { .. })));

    let (_, connected) = meet(&server, &client, &set(&[])).await;
    assert!(matches!(connected, Err(TlsError::WrongIdentity { .. })), "an empty set accepts nobody");

    let (accepted, connected) = meet(&server, &other.credentials(&id("client")), &set(&["server"])).await;
    assert!(matches!(connected, Err(TlsError::UnknownRoot)), "{connected:?}");
    assert!(matches!(&accepted, Err(e @ TlsError::RefusedByPeer { .. }) if e.fault() == Fault::Us));

    let foreign = ca.credentials(&Identity::new("other.domain", "shop", "client"));
    let (accepted, connected) = meet(&server, &foreign, &set(&["server"])).await;
    assert!(
        matches!(&accepted, Err(TlsError::WrongTrustDomain { expected, .. }) if expected == "cluster.local"),
        "{accepted:?}"
    );
    assert!(matches!(connected, Err(TlsError::RefusedByPeer { .. })));
}

#[tokio::test(start_paused = true)]
async fn an_expired_peer_is_refused() {
    let ca = TestCa::new();
    let hour = Duration::from_secs(3600);
    let past = SystemTime::now() - 3 * hour;
    let old = ca.issue(&id("client"), past, hour);
    // It was good when it was taken into use.
    let old = Credentials::build(&old, &id("client"), past + hour / 2).unwrap();
    let server = ca.credentials(&id("server"));
    let (accepted, _) = meet(&server, &old, &set(&["server"])).await;
    assert!(matches!(accepted, Err(TlsError::Expired)), "{accepted:?}");
    let (_, connected) = meet(&old, &server, &set(&["client"])).await;
    assert!(matches!(connected, Err(TlsError::Expired)), "{connected:?}");
}

/// A client with the library's own settings, as a stranger would have it.
fn stranger(ca: &TestCa, alpn: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root.clone().into()).unwrap();
    let verifier = ca.credentials(&id("x")).client_config(&set(&["server"]));
    drop(roots);
    let mut config = ClientConfig::clone(&verifier);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

#[tokio::test(start_paused = true)]
async fn alpn_is_required() {
    let ca = TestCa::new();
    for (alpn, expected_by_server) in [(&[][..], "NoAlpn"), (&[&b"http/1.1"[..]][..], "NoAlpn")] {
        let (near, far) = pair();
        let config = Arc::new(stranger(&ca, alpn));
        let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
        let connect = tokio_rustls::TlsConnector::from(config).connect(name, near);
        let acceptor = Acceptor::new(&ca.credentials(&id("server")));
        let (accepted, _) = tokio::join!(acceptor.accept(far), connect);
        assert!(format!("{accepted:?}").contains(expected_by_server), "{alpn:?}: {accepted:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_certificate_is_refused() {
    let ca = TestCa::new();
    let (near, far) = pair();
    let mut config = stranger(&ca, &[b"h2"]);
    let anonymous = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.client_auth_cert_resolver = anonymous.client_auth_cert_resolver;
    let name = ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into());
    let connect = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, near);
    let acceptor = Acceptor::new(&ca.credentials(&id("server")));
    let (accepted, _) = tokio::join!(acceptor.accept(far), connect);
    assert!(matches!(accepted, Err(TlsError::NoCertificate)), "{accepted:?}");
}

#[tokio::test(start_paused = true)]
async fn garbage_and_silence_end_the_handshake() {
    let credentials = TestCa::new().credentials(&id("server"));
    let (mut near, far) = pair();
    near.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let accepted = Acceptor::new(&credentials).accept(far).await;
    assert!(matches!(accepted, Err(TlsError::NotTls)), "{accepted:?}");

    let (near, far) = pair();
    let before = tokio::time::Instant::now();
    let accepted = Acceptor::new(&credentials).accept(far).await;
    assert!(matches!(accepted, Err(TlsError::Timeout { .. })), "{accepted:?}");
    assert_eq!(before.elapsed(), HANDSHAKE_LIMIT);
    drop(near);

    let (near, far) = pair();
    let before = tokio::time::Instant::now();
    let connected = Connector::new(&credentials, &set(&["server"])).connect(near).await;
    assert!(matches!(connected, Err(TlsError::Timeout { .. })), "{connected:?}");
    assert_eq!(before.elapsed(), HANDSHAKE_LIMIT);
    drop(far);

    let (near, far) = pair();
    drop(near);
    assert!(matches!(Acceptor::new(&credentials).accept(far).await, Err(TlsError::Io(_))));
}

/// Roots are rotated: peers with the old, with both, and with the new one alone.
#[tokio::test(start_paused = true)]
async fn while_roots_overlap_old_and_new_certificates_meet() {
    let (old, new) = (TestCa::new(), TestCa::new());
    let now = SystemTime::now();
    let with = |ca: &TestCa, account: &str, roots: &[&TestCa]| {
        let mut issued = ca.issue(&id(account), now - Duration::from_secs(60), Duration::from_secs(3600));
        issued.roots = roots.iter().map(|ca| ca.root.clone()).collect();
        issued
    };
    let made = |ca: &TestCa, account: &str, roots: &[&TestCa]| {
        Credentials::build(&with(ca, account, roots), &id(account), now).unwrap()
    };
    let (before, both) = (made(&old, "a", &[&old]), made(&old, "a", &[&old, &new]));
    let (moved, after) = (made(&new, "b", &[&old, &new]), made(&new, "b", &[&new]));
    let met = async |server: &Credentials, client: &Credentials| {
        let (accepted, connected) = meet(server, client, &set(&["a", "b"])).await;
        accepted.is_ok() && connected.is_ok()
    };
    for (one, other, good) in
        [(&both, &moved, true), (&before, &both, true), (&moved, &after, true), (&before, &after, false)]
    {
        assert_eq!(met(one, other).await, good);
        assert_eq!(met(other, one).await, good);
    }
    // The new root has not been laid out before its certificates: the one who has the old root alone refuses.
    assert!(!met(&before, &moved).await);
}

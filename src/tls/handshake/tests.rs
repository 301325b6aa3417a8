use super::*;
use std::time::SystemTime;

use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use crate::tls::fixture::{TestCa, id, serial};
use crate::tls::provider::provider;
use crate::tls::{Domains, Fault, Lists, Revocation, Trust};

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
    let mut config = ClientConfig::clone(&ca.credentials(&id("x")).client(&set(&["server"])).config);
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

/// A trust domain with another name of its own, and a partner with roots of its own.
fn domains(partner: &TestCa) -> Trust {
    let partner_domain: Arc<str> = "partner.example".into();
    let domains = Domains { aliases: vec!["old.example".into()], federated: vec![Arc::clone(&partner_domain)] };
    let trust = Trust::new(domains, Arc::new(SystemTime::now));
    trust.set_bundle(&partner_domain, std::slice::from_ref(&partner.root)).unwrap();
    trust
}

fn of(domain: &str, account: &str) -> Identity {
    Identity::new(domain, "shop", account)
}

#[tokio::test(start_paused = true)]
async fn an_alias_is_accepted_under_the_same_roots_and_as_the_same_identity() {
    let (ca, partner) = (TestCa::new(), TestCa::new());
    let trust = domains(&partner);
    let new = ca.credentials_within(&trust, &of("cluster.local", "new"));
    // Its node has the names the other way round.
    let turned = Domains { aliases: vec!["cluster.local".into()], ..Domains::default() };
    let turned = Trust::new(turned, Arc::new(SystemTime::now));
    let old = ca.credentials_within(&turned, &of("old.example", "old"));
    let expect = |domain, account| -> Arc<[Identity]> { [of(domain, account)].into() };
    // Each as the server of the other; what is expected is written with the name that the certificate does not have.
    let (accepted, connected) = meet(&old, &new, &expect("cluster.local", "old")).await;
    assert_eq!((accepted.unwrap().peer(), connected.unwrap().peer()), (new.identity(), old.identity()));
    let (accepted, connected) = meet(&new, &old, &expect("old.example", "new")).await;
    assert_eq!((accepted.unwrap().peer(), connected.unwrap().peer()), (old.identity(), new.identity()));
    let foreign = partner.credentials_within(&trust, &of("old.example", "old"));
    let (accepted, _) = meet(&new, &foreign, &expect("cluster.local", "new")).await;
    assert!(accepted.is_err(), "the partner's roots do not speak for our names");
}

#[tokio::test(start_paused = true)]
async fn a_federated_domain_chains_to_its_own_bundle_and_to_nothing_else() {
    let (ca, partner, other) = (TestCa::new(), TestCa::new(), TestCa::new());
    let trust = domains(&partner);
    let server = ca.credentials_within(&trust, &id("server"));
    // The partner has federated with us as well.
    let theirs = Trust::new(
        Domains { federated: vec!["cluster.local".into()], ..Domains::default() },
        Arc::new(SystemTime::now),
    );
    theirs.set_bundle(&"cluster.local".into(), std::slice::from_ref(&ca.root)).unwrap();
    let client = partner.credentials_within(&theirs, &of("partner.example", "client"));
    let (accepted, connected) = meet(&server, &client, &set(&["server"])).await;
    assert_eq!(accepted.unwrap().peer(), client.identity());
    assert_eq!(connected.unwrap().peer(), server.identity());

    // Our own CA, and any other, may not speak for the partner.
    for ca in [&ca, &other] {
        let impostor = ca.credentials_within(&theirs, &of("partner.example", "client"));
        let (accepted, _) = meet(&server, &impostor, &set(&["server"])).await;
        assert!(matches!(accepted, Err(TlsError::UnknownRoot)), "{accepted:?}");
    }
    // Nor the partner for us, as a client or as a server.
    let mut impostor = partner.issue(&id("client"), SystemTime::now(), Duration::from_secs(60));
    impostor.roots.push(ca.root.clone());
    let impostor = Credentials::build(&impostor, &id("client"), SystemTime::now()).unwrap();
    let (accepted, _) = meet(&server, &impostor, &set(&["server"])).await;
    assert!(matches!(accepted, Err(TlsError::UnknownRoot)), "{accepted:?}");
    let (_, connected) = meet(&impostor, &server, &set(&["client"])).await;
    assert!(matches!(connected, Err(TlsError::UnknownRoot)), "{connected:?}");
    // A domain that nothing was said of.
    let stranger = ca.credentials_within(&theirs, &of("else.example", "client"));
    let (accepted, _) = meet(&server, &stranger, &set(&["server"])).await;
    assert!(matches!(accepted, Err(TlsError::WrongTrustDomain { .. })), "{accepted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_revoked_peer_is_refused_on_both_sides_and_an_unreadable_list_refuses_everybody() {
    let ca = TestCa::new();
    let trust = Trust::default();
    let (server, client) = (ca.credentials_within(&trust, &id("server")), ca.credentials(&id("client")));
    let (accepted, _) = meet(&server, &client, &set(&["server"])).await;
    let client_leaf = serial(&accepted.unwrap().inner.get_ref().1.peer_certificates().unwrap()[0]);
    let list = |serials: &[Vec<u8>]| Revocation::Lists(Arc::new(Lists::parse(&ca.crl(serials)).unwrap()));

    trust.set_revocation(&list(&[vec![9, 9]]));
    let (accepted, connected) = meet(&server, &client, &set(&["server"])).await;
    assert!(accepted.is_ok() && connected.is_ok(), "a list that names others");
    trust.set_revocation(&list(std::slice::from_ref(&client_leaf)));
    let (accepted, connected) = meet(&server, &client, &set(&["server"])).await;
    assert!(matches!(accepted, Err(TlsError::Revoked)), "{accepted:?}");
    // The other side is told why, by the alert of RFC 8446 section 6.2.
    assert!(
        matches!(&connected, Err(TlsError::RefusedByPeer { alert }) if alert == "CertificateRevoked"),
        "{connected:?}"
    );
    // The same certificate as a server's, of a client that has the list.
    let (_, connected) = meet(&client, &server, &set(&["client"])).await;
    assert!(matches!(connected, Err(TlsError::Revoked)), "{connected:?}");

    trust.set_revocation(&Revocation::Unknown);
    let (accepted, _) = meet(&server, &client, &set(&["server"])).await;
    assert!(matches!(accepted, Err(TlsError::RevocationUnknown)), "{accepted:?}");
    let (_, connected) = meet(&client, &server, &set(&["client"])).await;
    assert!(matches!(&connected, Err(e @ TlsError::RevocationUnknown) if e.fault() == Fault::Us), "{connected:?}");
    trust.set_revocation(&list(&[]));
    let (accepted, _) = meet(&server, &client, &set(&["server"])).await;
    assert!(accepted.is_ok(), "mended");
}

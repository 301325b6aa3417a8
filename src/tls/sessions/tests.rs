use super::*;
use std::net::IpAddr;
use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use crate::tls::fixture::{TestCa, clock, id, serial};
use crate::tls::{
    Acceptor, Connector, Credentials, Domains, Lists, Revocation, TlsError, TlsStream, Trust, identity_of,
};

fn set(accounts: &[&str]) -> Arc<[Identity]> {
    accounts.iter().map(|account| id(account)).collect()
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

type Outcome = Result<TlsStream<DuplexStream>, TlsError>;

/// A handshake, and a byte each way, so that tickets arrive and each side knows what became of it.
async fn meet_at(
    at: IpAddr,
    server: &Credentials,
    client: &Credentials,
    expected: &Arc<[Identity]>,
) -> (Outcome, Outcome) {
    let (near, far) = duplex(64 << 10);
    let (acceptor, connector) = (Acceptor::new(server), Connector::new(client, expected).at(at));
    let connect = async {
        let mut stream = connector.connect(near).await?;
        stream.read_u8().await.map_err(TlsError::from_io)?;
        Ok(stream)
    };
    let accept = async {
        let mut stream = acceptor.accept(far).await?;
        stream.write_all(b"!").await.map_err(TlsError::Io)?;
        stream.flush().await.map_err(TlsError::Io)?;
        Ok(stream)
    };
    tokio::join!(accept, connect)
}

async fn meet(server: &Credentials, client: &Credentials, expected: &Arc<[Identity]>) -> (Outcome, Outcome) {
    meet_at(HERE, server, client, expected).await
}

/// Whether both sides resumed.
async fn resumes(server: &Credentials, client: &Credentials, expected: &Arc<[Identity]>) -> bool {
    let (accepted, connected) = meet(server, client, expected).await;
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    assert_eq!((accepted.peer(), connected.peer()), (client.identity(), server.identity()));
    assert_eq!(accepted.is_resumed(), connected.is_resumed());
    connected.is_resumed()
}

fn revoking(ca: &TestCa, stream: &TlsStream<DuplexStream>) -> Revocation {
    let leaf = &stream.inner.get_ref().1.peer_certificates().unwrap()[0];
    Revocation::Lists(Arc::new(Lists::parse(&ca.crl(&[serial(leaf)])).unwrap()))
}

#[tokio::test(start_paused = true)]
async fn the_second_handshake_resumes_and_both_know_who_the_other_is() {
    let ca = TestCa::new();
    let (server, client) = (ca.credentials(&id("server")), ca.credentials(&id("client")));
    let expected = set(&["server"]);
    assert!(!resumes(&server, &client, &expected).await);
    for _ in 0..3 {
        // Each connection brings the ticket for the next.
        assert!(resumes(&server, &client, &expected).await);
    }
    let (accepted, connected) = meet(&server, &client, &expected).await;
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    for (stream, who) in [(&accepted, "client"), (&connected, "server")] {
        let leaf = stream.inner.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        assert_eq!(identity_of(&leaf), Ok(id(who)), "a resumed session has the certificates of the one before");
        assert_eq!(stream.group(), "X25519MLKEM768", "with a key exchange of its own");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_for_one_set_one_address_and_one_pair_of_certificates() {
    let ca = TestCa::new();
    let (server, client) = (ca.credentials(&id("server")), ca.credentials(&id("client")));
    let expected = set(&["server"]);
    assert!(!resumes(&server, &client, &expected).await);
    // Another expected set, whether the server is in it or not.
    assert!(!resumes(&server, &client, &set(&["other", "server"])).await);
    let (_, connected) = meet(&server, &client, &set(&["other"])).await;
    assert!(matches!(connected, Err(TlsError::WrongIdentity { .. })), "{connected:?}");
    // Another address.
    let there = "10.0.0.2".parse().unwrap();
    let (_, connected) = meet_at(there, &server, &client, &expected).await;
    assert!(!connected.unwrap().is_resumed());
    // A renewed certificate of ours takes its sessions with it, of either side.
    assert!(!resumes(&server, &ca.credentials(&id("client")), &expected).await);
    assert!(!resumes(&ca.credentials(&id("server")), &client, &expected).await);
    // Other roots of ours.
    let other = TestCa::new();
    let (_, connected) = meet(&server, &other.credentials(&id("client")), &expected).await;
    assert!(matches!(connected, Err(TlsError::UnknownRoot)), "{connected:?}");
}

/// A client's certificate ends while the server's does not, and the other way round.
#[tokio::test(start_paused = true)]
async fn a_ticket_lives_no_longer_than_either_certificate() {
    let hour = Duration::from_secs(3600);
    for short in ["client", "server"] {
        let ca = TestCa::new();
        let (later, clock) = clock();
        let trust = Trust::new(Domains::default(), clock);
        let build = |who: &str, trust: &Trust| {
            let life = if who == short { hour } else { 24 * hour };
            let issued = ca.issue(&id(who), trust.now() - Duration::from_secs(60), life);
            Credentials::build_within(trust, &issued, &id(who), trust.now()).unwrap()
        };
        let (server, client) = (build("server", &trust), build("client", &trust));
        let expected = set(&["server"]);
        assert!(!resumes(&server, &client, &expected).await);
        assert!(resumes(&server, &client, &expected).await);
        later.store(3600, Ordering::Relaxed);
        let (accepted, connected) = meet(&server, &client, &expected).await;
        let refused = if short == "client" { accepted } else { connected };
        assert!(matches!(refused, Err(TlsError::Expired)), "{short}: {refused:?}");
        // Refused by the full handshake: the ticket was not even offered.
        assert!(client.client(&expected).tickets.take_tls13_ticket(&ServerName::IpAddress(HERE.into())).is_none());
    }
}

/// What is trusted changes after the server has taken the ticket and before either side is done, so that nothing but
/// the check after the handshake is left: the library has no verifier in a resumed one.
async fn change_underway(
    server: &Credentials,
    client: &Credentials,
    expected: &Arc<[Identity]>,
    change: impl FnOnce(),
) -> (Outcome, Outcome) {
    let (near, mut relay) = duplex(64 << 10);
    let (mut onward, far) = duplex(64 << 10);
    let (acceptor, connector) = (Acceptor::new(server), Connector::new(client, expected).at(HERE));
    let wire = async {
        let mut flight = vec![0; 16 << 10];
        let read = relay.read(&mut flight).await.unwrap();
        onward.write_all(&flight[..read]).await.unwrap();
        // The server answers: it has accepted the ticket.
        let read = onward.read(&mut flight).await.unwrap();
        change();
        relay.write_all(&flight[..read]).await.unwrap();
        tokio::io::copy_bidirectional(&mut relay, &mut onward).await.ok();
    };
    let ends = async { tokio::join!(acceptor.accept(far), connector.connect(near)) };
    tokio::select! {
        () = wire => panic!("the ends are not done"),
        ends = ends => ends,
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_revoked_since_is_refused_on_both_sides() {
    for revoked in ["client", "server"] {
        let ca = TestCa::new();
        let (trust, expected) = (Trust::default(), set(&["server"]));
        let of = |who: &str| {
            // Only the side that judges has the list.
            if who == revoked { ca.credentials(&id(who)) } else { ca.credentials_within(&trust, &id(who)) }
        };
        let (server, client) = (of("server"), of("client"));
        let (accepted, connected) = meet(&server, &client, &expected).await;
        let list = revoking(&ca, &if revoked == "client" { accepted } else { connected }.unwrap());
        assert!(resumes(&server, &client, &expected).await);
        let (accepted, connected) = change_underway(&server, &client, &expected, || trust.set_revocation(&list)).await;
        let judged = if revoked == "client" { accepted } else { connected };
        assert!(matches!(judged, Err(TlsError::Revoked)), "{revoked}: {judged:?}");
        // Whoever learns of it before offers no ticket, or opens none.
        let (accepted, connected) = meet(&server, &client, &expected).await;
        let judged = if revoked == "client" { accepted } else { connected };
        assert!(matches!(judged, Err(TlsError::Revoked)), "{revoked}: {judged:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_chains_to_a_root_that_was_replaced_since_is_refused_on_both_sides() {
    for federated in ["client", "server"] {
        let (ca, partner, next) = (TestCa::new(), TestCa::new(), TestCa::new());
        let domain: Arc<str> = "partner.example".into();
        let trust = |of: &str, roots: &TestCa| {
            let domains = Domains { federated: vec![of.into()], ..Domains::default() };
            let trust = Trust::new(domains, Arc::new(SystemTime::now));
            trust.set_bundle(&of.into(), std::slice::from_ref(&roots.root)).unwrap();
            trust
        };
        let (ours, theirs) = (trust(&domain, &partner), trust("cluster.local", &ca));
        let far = Identity::new("partner.example", "shop", federated);
        let theirs = partner.credentials_within(&theirs, &far);
        let near = ca.credentials_within(&ours, &id("near"));
        let (server, client) = if federated == "client" { (&near, &theirs) } else { (&theirs, &near) };
        let expected: Arc<[Identity]> = [server.identity().clone()].into();
        assert!(!resumes(server, client, &expected).await);
        assert!(resumes(server, client, &expected).await);
        let replace = || ours.set_bundle(&domain, std::slice::from_ref(&next.root)).unwrap();
        let (accepted, connected) = change_underway(server, client, &expected, replace).await;
        let judged = if federated == "client" { accepted } else { connected };
        assert!(matches!(judged, Err(TlsError::UnknownRoot)), "{federated}: {judged:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_expires_underway_is_refused_on_both_sides() {
    let hour = Duration::from_secs(3600);
    for short in ["client", "server"] {
        let ca = TestCa::new();
        let (later, clock) = clock();
        let judging = Trust::new(Domains::default(), clock);
        let build = |who: &str| {
            let (life, trust) = if who == short { (hour, Trust::default()) } else { (24 * hour, judging.clone()) };
            let issued = ca.issue(&id(who), trust.now() - Duration::from_secs(60), life);
            Credentials::build_within(&trust, &issued, &id(who), trust.now()).unwrap()
        };
        let (server, client) = (build("server"), build("client"));
        let expected = set(&["server"]);
        assert!(!resumes(&server, &client, &expected).await);
        assert!(resumes(&server, &client, &expected).await);
        let expire = || later.store(3600, Ordering::Relaxed);
        let (accepted, connected) = change_underway(&server, &client, &expected, expire).await;
        let judged = if short == "client" { accepted } else { connected };
        assert!(matches!(judged, Err(TlsError::Expired)), "{short}: {judged:?}");
    }
}

/// The tickets of one certificate's server, given to another of ours that trusts another domain: it cannot open them, so
/// its verifier judges. And what was resumed is held against the expected set and the domain once more.
#[tokio::test(start_paused = true)]
async fn another_set_and_another_domain_are_refused_after_a_resumption() {
    let ca = TestCa::new();
    let (server, client) = (ca.credentials(&id("server")), ca.credentials(&id("client")));
    let expected = set(&["server"]);
    assert!(!resumes(&server, &client, &expected).await);
    let (accepted, connected) = meet(&server, &client, &expected).await;
    let (accepted, connected) = (accepted.unwrap(), connected.unwrap());
    assert!(accepted.is_resumed() && connected.is_resumed());
    let refused = |error: rustls::Error| TlsError::from_io(std::io::Error::other(error));

    let shown = connected.inner.get_ref().1.peer_certificates().unwrap();
    let judge = |expected| client.own().server_after(&expected, &shown[0], &shown[1..], true).map_err(refused);
    assert!(judge(set(&["server"])).is_ok());
    assert!(matches!(judge(set(&["other"])), Err(TlsError::WrongIdentity { .. })));

    let shown = accepted.inner.get_ref().1.peer_certificates().unwrap();
    let elsewhere = ca.credentials(&Identity::new("other.example", "shop", "server"));
    let judge = |of: &Credentials| of.own().client_after(&shown[0], &shown[1..], true).map_err(refused);
    assert!(judge(&server).is_ok());
    assert!(matches!(judge(&elsewhere), Err(TlsError::WrongTrustDomain { .. })));
}

#[tokio::test(start_paused = true)]
async fn every_change_of_what_is_trusted_takes_the_clients_sessions_away() {
    let ca = TestCa::new();
    let trust = Trust::default();
    let (server, client) = (ca.credentials(&id("server")), ca.credentials_within(&trust, &id("client")));
    let expected = set(&["server"]);
    assert!(!resumes(&server, &client, &expected).await);
    assert!(resumes(&server, &client, &expected).await);
    trust.set_revocation(&Revocation::Lists(Arc::new(Lists::parse(&ca.crl(&[])).unwrap())));
    assert!(!resumes(&server, &client, &expected).await);
    assert!(resumes(&server, &client, &expected).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_bounded() {
    let ca = TestCa::new();
    let (server, client) = (ca.credentials(&id("server")), ca.credentials(&id("client")));
    let expected = set(&["server"]);
    for last in 0..u8::try_from(2 * MAX_TICKETS).unwrap() {
        let (_, connected) = meet_at([10, 0, 1, last].into(), &server, &client, &expected).await;
        assert!(!connected.unwrap().is_resumed());
    }
    assert_eq!(client.client(&expected).tickets.lock().tickets.len(), MAX_TICKETS);

    let first = client.client(&expected);
    for number in 0..MAX_SETS {
        client.client(&set(&[&format!("account-{number}")]));
    }
    assert!(!Arc::ptr_eq(&first.config, &client.client(&expected).config), "the oldest set has gone");
    let again = client.client(&expected);
    assert!(Arc::ptr_eq(&again.config, &client.client(&expected).config), "one configuration for each set");
    client.client(&expected).tickets.forget();
    assert_eq!(client.client(&expected).tickets.lock().tickets.len(), 0);
}

#[test]
fn a_ticket_is_good_for_the_life_that_the_certificate_has_left() {
    let trust = Trust::default();
    let seconds = |left: u64| ticketer(&trust, Duration::from_secs(left)).map(|ticketer| ticketer.lifetime());
    assert_eq!(seconds(24 * 3600), Some(7200));
    assert_eq!(seconds(600), Some(600));
    assert_eq!(seconds(20), Some(20));
    assert_eq!(seconds(1), None);
    assert_eq!(seconds(0), None);
    let ticketer = ticketer(&trust, Duration::from_secs(600)).unwrap();
    let sealed = ticketer.encrypt(b"chain").unwrap();
    assert_eq!(ticketer.decrypt(&sealed).as_deref(), Some(&b"chain"[..]));
    assert_eq!(ticketer.decrypt(b"chain"), None);
    trust.set_revocation(&Revocation::None);
    assert_eq!(ticketer.decrypt(&sealed), None, "what is trusted has changed");
}

/// Makes no tickets, as the library's own default.
#[derive(Debug)]
struct Never;

impl ProducesTickets for Never {
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// A peer that makes its configuration anew for each connection sends tickets that it can never take back.
#[tokio::test(start_paused = true)]
async fn tickets_that_lead_nowhere_harm_nothing() {
    let ca = TestCa::new();
    let (server, client) = (ca.credentials(&id("server")), ca.credentials(&id("client")));
    let expected = set(&["server"]);
    for _ in 0..2 * MAX_TICKETS {
        let mut config = rustls::ServerConfig::clone(&server.server_config());
        config.ticketer = Arc::new(Never);
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(32);
        config.send_tls13_tickets = 2;
        let (near, far) = duplex(64 << 10);
        let accept = async {
            let mut stream = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(far).await.unwrap();
            stream.write_all(b"!").await.unwrap();
            stream.flush().await.unwrap();
            stream
        };
        let connect = async {
            let mut stream = Connector::new(&client, &expected).at(HERE).connect(near).await.unwrap();
            stream.read_u8().await.unwrap();
            stream
        };
        let (_accepted, connected) = tokio::join!(accept, connect);
        assert!(!connected.is_resumed());
    }
    assert!(client.client(&expected).tickets.lock().tickets.len() <= MAX_TICKETS);
}

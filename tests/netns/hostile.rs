//! Peers that misbehave at a real pod's ports: each loses its own connection, and a normal request beside it works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use culvert::ca::Authority;
use culvert::model::ports;
use culvert::model::spiffe::Identity;
use culvert::role::demo::app::{self, HTTP_PORT};
use culvert::tls::{Connector, Credentials, Issued, PrivateKey, TlsStream};
use h2::client::SendRequest;
use http::{HeaderValue, Method, Request, StatusCode, Version};
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::bed::{Bed, Family, PATIENCE, demo, sh, until};
use crate::certificates::{account, authority, credentials};
use crate::roads::{HBONE, SAME_NODE, takes};
use crate::{unbelieving, wire};

/// An attacker with a good certificate, outside of the mesh's daemons.
struct Attacker {
    credentials: Credentials,
}

type Tls = TlsStream<TcpStream>;

// === impl Attacker ===

impl Attacker {
    fn new(bed: &Bed) -> Self {
        Self { credentials: credentials(&authority(bed), &account("client")) }
    }

    /// Mutual TLS with the server's proxy, from a pod that is outside of the mesh.
    async fn tls(&self, bed: &Bed) -> Tls {
        let stream = wire::connect(bed.netns("outsider"), hbone(bed)).await.unwrap();
        let expected = Arc::from([account("server")]);
        Connector::new(&self.credentials, &expected).connect(stream).await.unwrap()
    }

    /// HTTP/2 on it, driven in the background.
    async fn http2(&self, bed: &Bed, driving: &mut JoinSet<()>) -> SendRequest<Bytes> {
        let (requests, connection) = h2::client::handshake(self.tls(bed).await).await.unwrap();
        driving.spawn(async move { drop(connection.await) });
        requests.ready().await.unwrap()
    }
}

fn hbone(bed: &Bed) -> SocketAddr {
    bed.at("server", Family::V4, ports::HBONE)
}

fn request(method: Method, authority: &str) -> Request<()> {
    Request::builder().method(method).uri(authority).version(Version::HTTP_2).body(()).unwrap()
}

/// What a proxy answers to one request on a tunnel of its own.
async fn answer(attacker: &Attacker, bed: &Bed, request: Request<()>) -> Result<StatusCode, h2::Error> {
    let mut driving = JoinSet::new();
    let mut requests = attacker.http2(bed, &mut driving).await;
    let (response, _body) = requests.send_request(request, false)?;
    timeout(PATIENCE, response).await.expect("it is answered").map(|response| response.status())
}

async fn memory(bed: &Bed) -> f64 {
    bed.metric("node-b", "process_resident_memory_bytes", &[]).await
}

/// The mesh works as if nothing were.
async fn unharmed(bed: &Bed) {
    takes(bed, &HBONE, Family::V4).await;
    takes(bed, &SAME_NODE, Family::V6).await;
    assert_eq!(bed.metric("node-b", "culvert_task_panics_total", &[]).await, 0.0);
}

#[test]
fn bytes_that_are_no_tls_are_cut_off() {
    demo("garbage", async |bed| {
        bed.start(&[]).await;
        let hello = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00";
        for bytes in
            [&b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"[..], &[0xff; 4096], &hello[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        {
            let mut stream = wire::connect(bed.netns("outsider"), hbone(bed)).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let started = Instant::now();
            let mut all = Vec::new();
            drop(timeout(PATIENCE, stream.read_to_end(&mut all)).await.expect("it is cut off"));
            assert!(started.elapsed() < PATIENCE, "{bytes:?}");
            // An alert at most: nothing of the mesh's.
            assert!(all.len() <= 64, "{bytes:?}: {all:?}");
        }
        let tls = [("reason", "tls"), ("reporter", "destination")];
        until("each is counted", async || bed.metric("node-b", "culvert_refusals_total", &tls).await == 4.0).await;
        unharmed(bed).await;
    });
}

/// A certificate of the mesh's CA with two identities.
fn of_two(bed: &Bed, authority: &Authority, accounts: [&str; 2]) -> Issued {
    let read = |name: &str| std::fs::read_to_string(bed.path().join("ca").join(name)).unwrap();
    let signer = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca-cert.pem"), signer).unwrap();
    // In everything else as the CA makes them.
    let (now, life) = (std::time::SystemTime::now(), Duration::from_secs(3600));
    let usual = authority.issue(&account("client"), life, now).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    (params.not_before, params.not_after) = (usual.not_before.into(), usual.not_after.into());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params.subject_alt_names =
        accounts.map(|name| SanType::URI(account(name).to_string().try_into().unwrap())).to_vec();
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let chain = std::iter::once(leaf.der().to_vec()).chain(usual.chain.into_iter().skip(1)).collect();
    Issued { chain, key: PrivateKey::from_pkcs8(key.serialize_der()), ..usual }
}

#[test]
fn a_client_that_cannot_prove_itself_gets_no_tunnel() {
    demo("noproof", async |bed| {
        bed.start(&[]).await;
        let here = authority(bed);
        let elsewhere = culvert::ca::Root::load_or_create(&bed.path().join("elsewhere"), "cluster.local").unwrap();
        let (now, life) = (std::time::SystemTime::now(), Duration::from_secs(3600));
        let issue = |authority: &Authority, identity| Some(authority.issue(&identity, life, now).unwrap());
        let spent = now - Duration::from_secs(7200);
        for (at, (what, certificate, admitted)) in [
            ("none", None, false),
            ("another root's", issue(&elsewhere, account("client")), false),
            ("another trust domain's", issue(&here, Identity::new("other.example", "demo", "client")), false),
            ("an expired one", Some(here.issue(&account("client"), life, spent).unwrap()), false),
            ("one of two accounts", Some(of_two(bed, &here, ["near", "client"])), false),
            ("one of two accounts, ours first", Some(of_two(bed, &here, ["client", "near"])), false),
            ("a good one", issue(&here, account("client")), true),
        ]
        .into_iter()
        .enumerate()
        {
            let mut stream = unbelieving::connect(certificate.as_ref(), bed.netns("outsider"), hbone(bed)).await;
            // In TLS 1.3 the client is done before the server has looked at its certificate: what comes then tells.
            drop(stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await);
            let mut first = [0; 9];
            let settings = timeout(PATIENCE, stream.read_exact(&mut first)).await.expect("an answer or an end");
            assert_eq!(settings.is_ok(), admitted, "{what}: {settings:?}");
            if !admitted {
                let tls = [("reason", "tls"), ("reporter", "destination")];
                let counted = async || bed.metric("node-b", "culvert_refusals_total", &tls).await == (at + 1) as f64;
                until(&format!("{what} is counted"), counted).await;
            }
        }
        unharmed(bed).await;
    });
}

#[test]
fn those_who_stall_are_let_go() {
    demo("stall", async |bed| {
        bed.start(&[]).await;
        let attacker = Attacker::new(bed);
        let started = Instant::now();
        // In the handshake, before the preface, and after the preface without a request.
        let mut silent = wire::connect(bed.netns("outsider"), hbone(bed)).await.unwrap();
        let mut quiet = attacker.tls(bed).await;
        let mut idle = attacker.tls(bed).await;
        idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        let limit = Duration::from_secs(16);
        let mut sink = Vec::new();
        drop(timeout(limit, silent.read_to_end(&mut sink)).await.expect("the handshake has a limit"));
        drop(timeout(limit, quiet.read_to_end(&mut sink)).await.expect("the preface has a limit"));
        drop(timeout(limit, idle.read_to_end(&mut sink)).await.expect("the first request has a limit"));
        let took = started.elapsed();
        assert!(took > Duration::from_secs(5) && took < limit, "{took:?}");
        unharmed(bed).await;
    });
}

#[test]
fn requests_that_are_not_ours_are_answered_and_not_carried() {
    demo("requests", async |bed| {
        bed.start(&[]).await;
        let attacker = Attacker::new(bed);
        let at = |pod, port| bed.at(pod, Family::V4, port).to_string();
        for (authority, expected) in [
            (at("intruder", HTTP_PORT), 400),
            (at("outsider", HTTP_PORT), 400),
            ("127.0.0.1:8080".to_owned(), 400),
            ("[::1]:8080".to_owned(), 400),
            (at("server", ports::OUTBOUND), 503),
            (at("server", ports::INBOUND_PLAINTEXT), 503),
            (at("server", ports::HBONE), 503),
            // Nobody listens.
            (at("server", 9), 503),
            ("server.demo.svc.cluster.local:8080".to_owned(), 503),
            (at("server", HTTP_PORT), 200),
        ] {
            let status = answer(&attacker, bed, request(Method::CONNECT, &authority)).await.unwrap();
            assert_eq!(status.as_u16(), expected, "CONNECT {authority}");
        }
        let get = Request::builder().uri(format!("https://{}/", at("server", HTTP_PORT))).body(()).unwrap();
        assert_eq!(answer(&attacker, bed, get).await.unwrap(), StatusCode::BAD_REQUEST, "GET");
        // What no header should be: it is not read, and the request is carried.
        let mut odd = request(Method::CONNECT, &at("server", HTTP_PORT));
        let traceparent = format!("00-{}-{}", "a".repeat(32), "b".repeat(19));
        assert_eq!(traceparent.len(), 55, "as long as a good one, with a field less");
        odd.headers_mut().insert("traceparent", traceparent.parse().unwrap());
        odd.headers_mut().insert("baggage", HeaderValue::from_bytes(b"k8s.deployment.name=\x80,k8s.\xff=%zz").unwrap());
        assert_eq!(answer(&attacker, bed, odd).await.unwrap(), StatusCode::OK, "headers that are none");
        for reason in ["not_this_pod", "loop", "app_refused"] {
            let labels = [("reason", reason), ("reporter", "destination")];
            assert!(bed.metric("node-b", "culvert_refusals_total", &labels).await >= 1.0, "{reason} is counted");
        }
        unharmed(bed).await;
    });
}

#[test]
fn garbage_after_a_good_handshake_ends_that_tunnel_alone() {
    demo("frames", async |bed| {
        bed.start(&[]).await;
        let attacker = Attacker::new(bed);
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        let mut flood = Vec::new();
        // CONTINUATION without end (CVE-2024-27316): HEADERS without END_HEADERS, then frames of 16 KiB.
        flood.extend_from_slice(b"\0\0\x01\x01\0\0\0\0\x01\x82");
        for _ in 0..400 {
            flood.extend_from_slice(&[0, 0x3f, 0xff, 0x09, 0, 0, 0, 0, 1]);
            flood.extend(std::iter::repeat_n(0x82, 0x3fff));
        }
        for (what, bytes) in [
            ("no preface", vec![0u8; 1000]),
            ("unknown frames of the largest size", [&preface[..], settings, &[0xff; 64]].concat()),
            ("DATA on stream 0", [&preface[..], settings, b"\0\0\x01\0\0\0\0\0\0x"].concat()),
            ("header flood", [&preface[..], settings, &flood].concat()),
        ] {
            let before = memory(bed).await;
            let mut stream = attacker.tls(bed).await;
            let work = async {
                // It may be cut off in the middle.
                drop(stream.write_all(&bytes).await);
                drop(stream.flush().await);
                drop(stream.read_to_end(&mut Vec::new()).await);
            };
            timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what}: it is cut off"));
            let grown = memory(bed).await - before;
            assert!(grown < 32e6, "{what}: {grown} bytes more");
            unharmed(bed).await;
        }
    });
}

#[test]
fn a_thousand_streams_and_rapid_resets_are_bounded() {
    demo("streams", async |bed| {
        bed.start(&[]).await;
        let attacker = Attacker::new(bed);
        let before = memory(bed).await;
        let authority = bed.at("server", Family::V4, 8081).to_string();
        let mut driving = JoinSet::new();
        // At once, whatever the server has said of its limit: those above it are refused, one by one.
        let builder =
            h2::client::Builder::new().initial_max_send_streams(1000).handshake::<_, Bytes>(attacker.tls(bed).await);
        let (mut requests, connection) = builder.await.unwrap();
        driving.spawn(async move { drop(connection.await) });
        let mut pending = Vec::new();
        for _ in 0..1000 {
            match requests.send_request(request(Method::CONNECT, &authority), false) {
                Ok(pair) => pending.push(pair),
                Err(_) => break,
            }
        }
        unharmed(bed).await;
        let live = bed.metric("node-b", "istio_tcp_sockets_open", &[("reporter", "destination")]).await;
        assert!(live <= 200.0, "{live} streams of one tunnel are live");
        drop((pending, requests));
        driving.shutdown().await;
        until("all are gone", async || {
            bed.metric("node-b", "istio_tcp_sockets_open", &[("reporter", "destination")]).await == 0.0
        })
        .await;
        // Rapid reset (CVE-2023-44487): each stream is cancelled as soon as it is opened, for as long as we are let.
        let mut driving = JoinSet::new();
        let mut requests = attacker.http2(bed, &mut driving).await;
        let nobody = bed.at("server", Family::V4, HTTP_PORT).to_string();
        let (started, mut sent) = (Instant::now(), 0u32);
        while started.elapsed() < PATIENCE {
            match timeout(PATIENCE, requests.ready()).await {
                Ok(Ok(ready)) => requests = ready,
                _ => break,
            }
            let Ok((_, mut stream)) = requests.send_request(request(Method::CONNECT, &nobody), false) else { break };
            stream.send_reset(h2::Reason::CANCEL);
            sent += 1;
            requests = match timeout(PATIENCE, requests.ready()).await {
                Ok(Ok(ready)) => ready,
                _ => break,
            };
            tokio::task::yield_now().await;
            if driving.try_join_next().is_some() {
                break;
            }
        }
        assert!(started.elapsed() < PATIENCE, "the tunnel is ended: {sent} resets were taken");
        unharmed(bed).await;
        let grown = memory(bed).await - before;
        assert!(grown < 64e6, "{grown} bytes more");
    });
}

/// In plaintext to an address that the pod has and the mesh does not know of, by a route of the node's.
async fn an_address_of_nobody_leads_nowhere(bed: &Bed) {
    let own = bed.at("server", Family::V4, 0).ip();
    sh(bed.netns("server"), "ip address add 10.99.7.7/32 dev eth0");
    sh(&bed.lab().node("node-b").unwrap().netns, &format!("ip route add 10.99.7.7/32 via {own}"));
    let mark = bed.mark("node-b");
    let to = SocketAddr::from(([10, 99, 7, 7], HTTP_PORT));
    let refused = app::get(bed.netns("outsider"), to, "-", PATIENCE).await.expect_err("it is nobody's");
    assert!(refused.after < PATIENCE, "{refused}");
    let line = bed.line_after("node-b", mark, PATIENCE, |line| line["dst.addr"] == to.to_string()).await;
    let line = line.expect("the refusal is told");
    assert_eq!((&line["road"], &line["reason"]), (&"refused".into(), &"not_this_pod".into()), "{line}");
    let reply = bed.get("outsider", "server").await.expect("the pod's own address is served");
    assert_eq!(reply.answer.pod, "server");
}

#[test]
fn the_proxys_own_ports_lead_nowhere() {
    demo("own", async |bed| {
        bed.start(&[]).await;
        an_address_of_nobody_leads_nowhere(bed).await;
        for port in [ports::OUTBOUND, ports::INBOUND_PLAINTEXT] {
            for family in [Family::V4, Family::V6] {
                let to = bed.at("server", family, port);
                let loopback = match family {
                    Family::V4 => SocketAddr::from(([127, 0, 0, 1], port)),
                    Family::V6 => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
                };
                // From outside of the mesh, from inside of it, from the pod itself by both of its names.
                for (from, to) in
                    [("outsider", to), ("client", to), ("intruder", to), ("server", to), ("server", loopback)]
                {
                    let refused = app::get(bed.netns(from), to, "-", PATIENCE).await.expect_err("it leads nowhere");
                    assert!(refused.after < PATIENCE, "{from} → {to}: {refused}");
                }
            }
        }
        for reporter in ["source", "destination"] {
            assert_eq!(bed.metric("node-b", "istio_tcp_sockets_open", &[("reporter", reporter)]).await, 0.0);
        }
        unharmed(bed).await;
    });
}

/// User and system time of a process, s.
fn processor(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let rest: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // Fields 14 and 15 of proc(5), in the kernel's 100 a second.
    (rest[11].parse::<f64>().unwrap() + rest[12].parse::<f64>().unwrap()) / 100.0
}

/// accept(2) fails while a connection waits, so whoever tries again at once takes a processor.
#[test]
fn a_node_out_of_descriptors_waits_and_goes_on_when_there_are_some() {
    demo("nofile", async |bed| {
        bed.start(&[]).await;
        unharmed(bed).await;
        let (pid, mark) = (bed.pid_of("node-b").unwrap(), bed.mark("node-b"));
        let limit = |text: &str| sh(bed.netns("outsider"), &format!("prlimit --pid {pid} --nofile{text}"));
        let before = limit(" --output SOFT --noheadings --raw");
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        limit(&format!("={}:", open + 4));
        let mut held = Vec::new();
        for _ in 0..32 {
            held.push(wire::connect(bed.netns("outsider"), hbone(bed)).await.unwrap());
        }
        bed.says("node-b", mark, "cannot accept: raise the limit of open files of this process").await;
        let (began, spent) = (Instant::now(), processor(pid));
        tokio::time::sleep(Duration::from_secs(3)).await;
        let share = (processor(pid) - spent) / began.elapsed().as_secs_f64();
        assert!(share < 0.4, "{share} of a processor");
        limit(&format!("={}:", before.trim()));
        drop(held);
        until("new connections pass", async || bed.get("client", "server").await.is_ok()).await;
        unharmed(bed).await;
    });
}

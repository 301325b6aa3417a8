//! DNS of pods: names of the mesh, names of others, and pods that want none of it.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use culvert::role::demo::lab::{KubeNamespace, PodSpec, Topology};
use culvert::sys::netns::Netns;
use culvert::sys::plain_tcp;
use culvert::sys::socket;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::bed::{Bed, Family, PATIENCE, run, until};

/// What the name server in another namespace says of every name, by its last byte.
const ELSEWHERE: [u8; 3] = [192, 0, 2];

/// `client`, `quiet` and `db-0` on node-a, `db-1` on node-b; on `vm` and `vm2`, outside of the mesh, are name servers.
fn topology() -> Topology {
    let mut pods = vec![
        PodSpec::new("demo", "client", "node-a"),
        PodSpec::new("demo", "quiet", "node-a"),
        PodSpec::new("outside", "vm", "node-b"),
        PodSpec::new("outside", "vm2", "node-b"),
    ];
    for (name, node) in [("db-0", "node-a"), ("db-1", "node-b")] {
        let mut pod = PodSpec::new("demo", name, node);
        pod.labels.insert("app".into(), "db".into());
        pods.push(pod);
    }
    Topology {
        namespaces: vec![KubeNamespace::ambient("demo"), KubeNamespace::plain("outside")],
        pods,
        ..Topology::demo()
    }
}

const OBJECTS: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec: {clusterIP: 10.96.0.30, clusterIPs: [10.96.0.30, \"fd96::30\"], selector: {app: client}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: demo}
spec: {clusterIP: None, selector: {app: db}, ports: [{name: http, port: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: demo}
spec:
  hosts: [api.example.com]
  addresses: [240.240.0.9]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.88.1.200}]
";

/// Messages, each with its sender.
pub(crate) type Heard = Vec<(SocketAddr, Vec<u8>)>;

/// A name server at an address; it answers until it is dropped, and keeps what it heard and from whom.
pub(crate) struct Server {
    heard: Arc<Mutex<Heard>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(netns: &Netns, at: SocketAddr, last: u8) -> Self {
        let (heard, stop) = (Arc::<Mutex<Heard>>::default(), Arc::<AtomicBool>::default());
        let (udp, tcp) = netns.run(move || (UdpSocket::bind(at).unwrap(), socket::listen(at).unwrap())).unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (of, ends) = (Arc::clone(&heard), Arc::clone(&stop));
        let datagrams = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while !ends.load(Ordering::Relaxed) {
                let Ok((length, from)) = udp.recv_from(&mut bytes) else { continue };
                of.lock().unwrap().push((from, bytes[..length].to_vec()));
                udp.send_to(&answer(&bytes[..length], last), from).unwrap();
            }
        });
        let (of, ends) = (Arc::clone(&heard), Arc::clone(&stop));
        let streams = std::thread::spawn(move || {
            use std::io::{Read, Write};
            while !ends.load(Ordering::Relaxed) {
                let Ok((mut stream, from)) = tcp.accept() else {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut bytes = vec![0; u16::from_be_bytes(length).into()];
                stream.read_exact(&mut bytes).unwrap();
                of.lock().unwrap().push((from, bytes.clone()));
                let answer = answer(&bytes, last);
                stream.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat()).unwrap();
            }
        });
        Self { heard, stop, threads: vec![datagrams, streams] }
    }

    pub(crate) fn heard(&self) -> Heard {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// The question back, as a response with one address, or as it came where it is no question.
fn answer(query: &[u8], last: u8) -> Vec<u8> {
    let mut bytes = query.to_vec();
    bytes[2] |= 0x80;
    if query[2] & 0x78 == 0 {
        bytes[7] = 1;
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        bytes.extend(ELSEWHERE);
        bytes.push(last);
    }
    bytes
}

pub(crate) fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(format!("{name}.")).unwrap(), kind));
    message.to_vec().unwrap()
}

/// A datagram's answer, or the error: the socket is connected, so it takes nothing that does not come from `server`.
pub(crate) fn by_udp(
    netns: &Netns,
    server: SocketAddr,
    message: &[u8],
    patience: Duration,
) -> std::io::Result<Vec<u8>> {
    let socket = netns.run(move || {
        let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        UdpSocket::bind((any, 0)).unwrap()
    });
    let socket = socket.unwrap();
    socket.connect(server)?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(message)?;
    let mut bytes = vec![0; 4096];
    let length = socket.recv(&mut bytes)?;
    bytes.truncate(length);
    Ok(bytes)
}

pub(crate) async fn by_tcp(netns: &Netns, server: SocketAddr, message: &[u8]) -> Vec<u8> {
    let socket = plain_tcp::unconnected(netns, server).await.unwrap();
    let mut stream = tokio::time::timeout(PATIENCE, socket.connect(server)).await.unwrap().unwrap();
    stream.write_all(&[&(message.len() as u16).to_be_bytes()[..], message].concat()).await.unwrap();
    let length = tokio::time::timeout(PATIENCE, stream.read_u16()).await.unwrap().unwrap();
    let mut bytes = vec![0; length.into()];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// The addresses in an answer, sorted.
pub(crate) fn addresses(bytes: &[u8]) -> Vec<String> {
    let message = Message::from_vec(bytes).unwrap();
    let mut found: Vec<_> = message.answers.iter().filter_map(|r| r.data.ip_addr()).map(|ip| ip.to_string()).collect();
    found.sort();
    found
}

async fn resolves(bed: &mut Bed, backend: &str) {
    bed.put("objects.yaml", OBJECTS);
    let quiet = bed.pod("quiet").unwrap();
    bed.put(
        "pod-demo-quiet.yaml",
        &format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: quiet\n  namespace: demo\n  annotations:\n    \
             culvert.dev/netns: {}\n    ambient.istio.io/dns-capture: \"false\"\nspec: {{nodeName: node-a, \
             serviceAccountName: quiet}}\nstatus: {{phase: Running, podIP: {v4}, podIPs: [{{ip: {v4}}}, {{ip: \"{v6}\"}}]}}\n",
            quiet.netns.path().display(),
            v4 = quiet.plan.v4,
            v6 = quiet.plan.v6,
        ),
    );
    bed.start(&[("redirect-backend", backend)]).await;
    bed.states(&["client", "quiet"], "enrolled").await;
    let client = bed.netns("client");
    let pods = |family| ["db-0", "db-1"].map(|pod| bed.at(pod, family, 0).ip().to_string()).to_vec();
    for (family, of) in [(Family::V4, "192.0.2.4"), (Family::V6, "192.0.2.6")] {
        let at = bed.at("vm", family, 53);
        let server = Server::start(bed.netns("vm"), at, if family == Family::V4 { 4 } else { 6 });
        for (name, v4, v6) in [
            ("web", vec!["10.96.0.30".to_owned()], vec!["fd96::30".to_owned()]),
            ("web.demo.svc.cluster.local", vec!["10.96.0.30".to_owned()], vec!["fd96::30".to_owned()]),
            ("api.example.com", vec!["240.240.0.9".to_owned()], vec![]),
            ("api.example.com.demo.svc.cluster.local", vec!["240.240.0.9".to_owned()], vec![]),
            ("db.demo", pods(Family::V4), pods(Family::V6)),
        ] {
            for (kind, expect) in [(RecordType::A, v4), (RecordType::AAAA, v6)] {
                let asked = question(name, kind);
                let answer = by_udp(client, at, &asked, PATIENCE).unwrap();
                assert_eq!(addresses(&answer), expect, "{name} {kind} of {at}");
                assert_eq!(by_tcp(client, at, &asked).await.len(), answer.len(), "{name} {kind} by TCP");
            }
        }
        assert_eq!(server.heard(), [], "what is the mesh's goes nowhere");

        // What is not goes to the server that was asked, from the pod's own address, and comes back from there.
        let asked = question("elsewhere.test", RecordType::A);
        assert_eq!(addresses(&by_udp(client, at, &asked, PATIENCE).unwrap()), [of]);
        let update = [&[7, 7, 0x28, 0][..], &asked[4..]].concat();
        assert_eq!(by_udp(client, at, &update, PATIENCE).unwrap(), answer(&update, 0));
        assert_eq!(by_tcp(client, at, &update).await, answer(&update, 0));
        let heard = server.heard();
        assert_eq!(heard.len(), 3);
        assert!(heard.iter().all(|(from, _)| from.ip() == bed.at("client", family, 0).ip()), "{heard:?}");
        assert_eq!((heard[0].1[2..].to_vec(), &heard[1].1, &heard[2].1), (asked[2..].to_vec(), &update, &update));
        by_udp(client, at, &asked, PATIENCE).unwrap();
        assert_eq!(server.heard(), [], "it is remembered for its minute");

        // A pod that wants none of it asks for itself.
        let own = question("web.demo.svc.cluster.local", RecordType::A);
        assert_eq!(addresses(&by_udp(bed.netns("quiet"), at, &own, PATIENCE).unwrap()), [of]);
        assert_eq!(server.heard().len(), 1);
    }
    two_servers_from_one_port(bed);

    let labels = [("request_query_type", "A"), ("source_canonical_service", "client")];
    let counted = async |name| bed.metric("node-a", name, &labels).await;
    assert!(counted("istio_dns_requests_total").await >= 20.0);
    assert_eq!(counted("istio_dns_upstream_request_duration_seconds_count").await, 8.0);
    assert_eq!(counted("istio_dns_upstream_failures_total").await, 0.0);

    // Closed without the daemon.
    let at = bed.at("vm", Family::V4, 53);
    let server = Server::start(bed.netns("vm"), at, 4);
    bed.kill_node("node-a").unwrap();
    let refused = by_udp(bed.netns("client"), at, &question("other.test", RecordType::A), Duration::from_millis(500));
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(server.heard(), []);
    bed.launch("node-a", &[("redirect-backend", backend)]);
    let again = async || {
        let asked = question("web", RecordType::A);
        by_udp(bed.netns("client"), at, &asked, Duration::from_millis(500)).is_ok_and(|a| !addresses(&a).is_empty())
    };
    until("the next daemon answers", again).await;
}

/// As a resolver that asks all its servers at once from one socket: each question has its own server's answer.
fn two_servers_from_one_port(bed: &Bed) {
    let [first, second] = ["vm", "vm2"].map(|pod| bed.at(pod, Family::V4, 53));
    let _servers = [Server::start(bed.netns("vm"), first, 1), Server::start(bed.netns("vm2"), second, 2)];
    let socket = bed.netns("client").run(|| UdpSocket::bind("0.0.0.0:0").unwrap()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    for at in [first, second] {
        socket.send_to(&question("both.test", RecordType::A), at).unwrap();
    }
    let mut found: Vec<_> = (0..2)
        .map(|_| {
            let mut bytes = [0; 512];
            let (length, from) = socket.recv_from(&mut bytes).unwrap();
            (from, addresses(&bytes[..length]))
        })
        .collect();
    found.sort();
    let mut expect = vec![(first, vec!["192.0.2.1".to_owned()]), (second, vec!["192.0.2.2".to_owned()])];
    expect.sort();
    assert_eq!(found, expect);
}

/// A service whose endpoint only the pod's own name server knows.
const BEHIND: &str = "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: behind, namespace: demo}
spec:
  hosts: [behind.example.com]
  addresses: [240.240.0.19]
  location: MESH_EXTERNAL
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: split.horizon.test}]
";

#[test]
fn an_endpoints_name_is_asked_for_by_the_pod_and_its_own_server() {
    run("dnsbehind", &topology(), async |bed| {
        bed.put("behind.yaml", BEHIND);
        bed.start(&[("connect-timeout", "2s")]).await;
        bed.states(&["client"], "enrolled").await;
        let at = bed.at("vm", Family::V4, 53);
        let server = Server::start(bed.netns("vm"), at, 4);
        let asked = question("behind.example.com", RecordType::A);
        let found = by_udp(bed.netns("client"), at, &asked, PATIENCE).unwrap();
        assert_eq!((addresses(&found), server.heard()), (vec!["240.240.0.19".to_owned()], Vec::new()));
        let own = bed.at("client", Family::V4, 0).ip();
        let dialled = async || {
            let (client, to) = (bed.netns("client").clone(), "240.240.0.19:80".parse().unwrap());
            let dial = move || {
                let stream = std::net::TcpStream::connect_timeout(&to, PATIENCE)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                std::io::Read::read(&mut &stream, &mut [0])
            };
            drop(tokio::task::spawn_blocking(move || client.run(dial)).await.unwrap());
            let name = question("split.horizon.test", RecordType::A)[12..].to_ascii_lowercase();
            let is_it = |(from, message): &(SocketAddr, Vec<u8>)| {
                from.ip() == own && message.to_ascii_lowercase().windows(name.len()).any(|part| part == name)
            };
            server.heard().iter().any(is_it)
        };
        until("its server hears the endpoint's name from the pod", dialled).await;
    });
}

#[test]
fn names_are_resolved() {
    run("dns", &topology(), async |bed| resolves(bed, "nftables").await);
}

#[test]
fn names_are_resolved_with_iptables() {
    run("dnsipt", &topology(), async |bed| resolves(bed, "iptables").await);
}

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpStream, UdpSocket};

use super::*;
use crate::dns::answer::tests::{mesh, service};
use crate::dns::message::tests::{query, read, reply};
use crate::dns::message::{A, AXFR, Section};
use crate::dns::upstream::{read_frame, write_frame};
use crate::model::name::NamespacedName;
use crate::sys::handover::Handed;
use crate::sys::socket;
use crate::telemetry::metrics;

const IP: &[u8] = &[192, 0, 2, 1];
/// What should take microseconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the fake name server says to a message, and to how many.
type Says = Arc<dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync>;

/// A pod's proxy in a namespace of its own, and a name server at 127.0.0.1:53 of it.
struct Bed {
    netns: Netns,
    dns: PodDns,
    shared: Arc<Shared>,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
    _directory: tempfile::TempDir,
}

fn pod() -> Arc<Pod> {
    Arc::new(Pod {
        key: NamespacedName::new("shop", "client"),
        uid: "u".into(),
        service_account: "client".into(),
        node: "a".into(),
        addresses: vec!["10.0.0.9".parse().unwrap()],
        host_network: false,
        finished: false,
        dataplane_mode: None,
        has_sidecar: false,
        dns_capture: None,
        netns: None,
    })
}

/// Where the name server listens.
const AT: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15053), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 15053)];

async fn bed(demand: Option<Arc<dyn Demand>>, reader: mesh::Reader, says: Says) -> Option<Bed> {
    if !crate::sys::kernel_tests::may_run("a pod's DNS") {
        return None;
    }
    let netns = Netns::fresh().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.1\n").unwrap();
    let shared = Arc::new(Shared {
        config: Config { network: "".into(), cluster_domain: "cluster.local".into(), mark: 0, cache: 100_000 },
        mesh: reader,
        servers: Servers::new(path),
        metrics: Metrics::new(metrics::Config { series_budget: 100 }, "test"),
        demand,
        panics: Panics::default(),
        drain: CancellationToken::new(),
        force: CancellationToken::new(),
    });
    let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    serve(&netns, &heard, says);
    let listeners =
        netns.run_async(|| Listeners::open(&AT, true, &mut Handed::default(), false)).await.unwrap().unwrap();
    let dns = PodDns::start(&shared, pod(), netns.clone(), listeners, true, &Handle::current()).unwrap();
    Some(Bed { netns, dns, shared, heard, _directory: directory })
}

/// The mesh that the tests ask for `web`.
fn web() -> mesh::Reader {
    mesh(vec![service("shop/web.shop.svc.cluster.local", &["/10.96.0.1"])], Vec::new())
}

#[expect(clippy::disallowed_methods, reason = "a test's own server")]
fn serve(netns: &Netns, heard: &Arc<Mutex<Vec<Vec<u8>>>>, says: Says) {
    let at: SocketAddr = "127.0.0.1:53".parse().unwrap();
    let (udp, tcp) = netns.run(move || (socket::listen_datagrams(at).unwrap(), socket::listen(at).unwrap())).unwrap();
    let udp = UdpSocket::from_std(udp).unwrap();
    let (of, speak) = (Arc::clone(heard), Arc::clone(&says));
    tokio::spawn(async move {
        let mut bytes = vec![0; 65_535];
        while let Ok((length, from)) = udp.recv_from(&mut bytes).await {
            of.lock().unwrap().push(bytes[..length].to_vec());
            for answer in speak(&bytes[..length]) {
                udp.send_to(&answer, from).await.unwrap();
            }
        }
    });
    let tcp = tokio::net::TcpListener::from_std(tcp).unwrap();
    let of = Arc::clone(heard);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            while let Ok(Some(message)) = read_frame(&mut stream).await {
                of.lock().unwrap().push(message.clone());
                for answer in says(&message) {
                    write_frame(&mut stream, &answer).await.unwrap();
                }
            }
        }
    });
}

impl Bed {
    async fn udp(&self) -> UdpSocket {
        let to: SocketAddr = "127.0.0.1:15053".parse().unwrap();
        let made = self.netns.run_async(move || socket::datagrams_to(to, 0)).await.unwrap().unwrap();
        UdpSocket::from_std(made).unwrap()
    }

    async fn tcp(&self) -> TcpStream {
        let made = self.netns.run_async(|| socket::unconnected(false, 0)).await.unwrap().unwrap();
        made.start("127.0.0.1:15053".parse().unwrap(), None).unwrap().connected().await.unwrap()
    }

    async fn by_udp(&self, message: &[u8]) -> Vec<u8> {
        let socket = self.udp().await;
        socket.send(message).await.unwrap();
        receive(&socket).await
    }

    async fn by_tcp(&self, message: &[u8]) -> Vec<u8> {
        let mut stream = self.tcp().await;
        write_frame(&mut stream, message).await.unwrap();
        tokio::time::timeout(PATIENCE, read_frame(&mut stream)).await.unwrap().unwrap().unwrap()
    }

    fn heard(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }

    fn unanswered(&self, reason: &str) -> u64 {
        self.shared.metrics.counter(table::DNS_UNANSWERED, [reason]).value()
    }
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut bytes = vec![0; 65_535];
    let length = tokio::time::timeout(PATIENCE, socket.recv(&mut bytes)).await.expect("an answer").unwrap();
    bytes.truncate(length);
    bytes
}

/// As a server would, of a lifetime of a minute.
fn plain(message: &[u8]) -> Vec<Vec<u8>> {
    vec![reply(message, 0, &[(Section::Answer, A, 60, IP)])]
}

/// The message as a response with the bytes of everything else as they are.
fn echoed(message: &[u8]) -> Vec<Vec<u8>> {
    let mut bytes = message.to_vec();
    bytes[2] |= 0x80;
    vec![bytes]
}

#[tokio::test]
async fn names_of_the_mesh_are_answered_here() {
    let Some(bed) = bed(None, web(), Arc::new(plain)).await else { return };
    let asked = query("web.shop", A, None);
    let answer = bed.by_udp(&asked).await;
    assert!(answer.ends_with(&[10, 96, 0, 1]), "{answer:x?}");
    assert_eq!(bed.by_tcp(&asked).await, answer);
    let none = bed.by_udp(&query("web.shop", crate::dns::message::AAAA, None)).await;
    assert_eq!(Message::new(&none).map(|m| (m.rcode(), m.counts())), Some((0, [1, 0, 0, 0])));
    assert!(bed.heard().is_empty(), "nothing of it goes upstream");
    let counted = |transport, kind| {
        bed.shared.metrics.counter(table::DNS_REQUESTS, [kind, transport, "unknown", "unknown"]).value()
    };
    assert_eq!((counted("udp", "A"), counted("tcp", "A"), counted("udp", "AAAA")), (1, 1, 1));
}

#[tokio::test]
async fn what_is_not_the_meshs_goes_on_byte_for_byte() {
    let Some(bed) = bed(None, web(), Arc::new(echoed)).await else { return };
    let update = {
        // Zone example.com, and one record to add, of a type and with data that nobody knows.
        let mut bytes = query("example.com", 6, None);
        (bytes[2], bytes[9]) = (0x28, 1);
        bytes.extend([0xc0, 12, 0xff, 0x10, 0, 1, 0, 0, 0, 60, 0, 5, 1, 2, 3, 4, 5]);
        bytes
    };
    let notify = {
        let mut bytes = query("example.com", 6, None);
        bytes[2] = 0x24;
        bytes
    };
    let signed = {
        let mut bytes = query("web.example.com", A, None);
        bytes[11] = 1;
        // A TSIG record's frame: its signature covers the id.
        bytes.extend([3, b'k', b'e', b'y', 0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 3, 9, 9, 9]);
        bytes
    };
    let mut nothing_asked = query("x", A, None);
    nothing_asked.truncate(12);
    nothing_asked[5] = 0;
    let mut two_questions = query("x.test", A, None);
    two_questions[5] = 2;
    two_questions.extend([1, b'y', 0, 0, 1, 0, 1]);
    let cookie = query("example.com", A, Some((1400, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0xfd, 0xe8, 0, 1, 9])));
    let mut trailing = query("example.com", A, None);
    trailing.extend([1, 2, 3]);
    for (what, message) in [
        ("UPDATE", update),
        ("NOTIFY", notify),
        ("TSIG", signed),
        ("no question", nothing_asked),
        ("two questions", two_questions),
        ("EDNS options", cookie),
        ("bytes behind", trailing),
    ] {
        assert_eq!(vec![bed.by_udp(&message).await], echoed(&message), "{what}");
        assert_eq!(bed.heard(), std::slice::from_ref(&message), "{what}");
        assert_eq!(vec![bed.by_tcp(&message).await], echoed(&message), "{what} by TCP");
        assert_eq!(bed.heard(), [message], "{what} by TCP");
    }
    for (what, kind) in [("SRV", 33), ("TXT", 16), ("HTTPS", 65), ("nobody's type", 65_280), ("any", 255)] {
        let message = query("web.shop.svc.cluster.local", kind, Some((1232, &[])));
        assert_eq!(vec![bed.by_udp(&message).await], echoed(&message), "{what}");
        let heard = bed.heard().remove(0);
        assert_eq!(heard[2..], message[2..], "{what}: all but the id, which is ours");
    }
}

#[tokio::test]
async fn a_lie_is_not_believed() {
    let says = |message: &[u8]| {
        let good = reply(message, 0, &[(Section::Answer, A, 60, IP)]);
        let (mut id, mut name) = (good.clone(), good.clone());
        id[0] ^= 1;
        name[13] = b'x';
        vec![vec![1, 2, 3], id, name, message.to_vec(), good]
    };
    let Some(bed) = bed(None, web(), Arc::new(says)).await else { return };
    let asked = query("example.com", A, None);
    let answer = bed.by_udp(&asked).await;
    assert_eq!(answer, reply(&asked, 0, &[(Section::Answer, A, 60, IP)]));
    assert_ne!(bed.heard()[0][..2], asked[..2], "the id is not the client's, which may be guessed");
}

#[tokio::test]
async fn an_answer_is_remembered_by_this_pod_alone() {
    let Some(bed) = bed(None, web(), Arc::new(plain)).await else { return };
    let asked = query("example.com", A, None);
    let first = bed.by_udp(&asked).await;
    assert_eq!(bed.heard().len(), 1);
    assert_eq!(bed.by_udp(&asked).await, first);
    assert_eq!(bed.by_tcp(&asked).await, first);
    assert!(bed.heard().is_empty());
    assert_eq!(bed.shared.metrics.counter(table::DNS_CACHE_HITS, []).value(), 2);
    let neighbour = PodDns::start(
        &bed.shared,
        pod(),
        bed.netns.clone(),
        Listeners { datagrams: Vec::new(), streams: Vec::new(), begin: CancellationToken::new() },
        true,
        &Handle::current(),
    );
    let (query, servers) = (read(&asked), bed.shared.servers.current().await);
    let key = Key::of(&query, &servers).unwrap();
    let held = |dns: &PodDns| dns.inner.cache().get(&key, &query, 512, Instant::now()).is_some();
    assert_eq!((held(&bed.dns), held(&neighbour.unwrap())), (true, false));
    let labels = ["A", "udp", "unknown", "unknown"];
    assert_eq!(bed.shared.metrics.counter(table::DNS_UPSTREAM_REQUESTS, labels).value(), 1);
    assert_eq!(bed.shared.metrics.counter(table::DNS_UPSTREAM_FAILURES, labels).value(), 0);
}

#[tokio::test]
async fn large_answers_go_by_tcp_when_the_client_says_so() {
    // What a server cuts for UDP it says in full by TCP; it does not know by which it is asked, so the size tells.
    let says = |message: &[u8]| {
        let mut whole = reply(message, 0, &vec![(Section::Answer, A, 60, IP); 200]);
        whole[7] = 200;
        let mut cut = reply(message, 0, &[(Section::Answer, A, 60, IP)]);
        cut[2] |= 2;
        vec![if message[11] == 0 { cut } else { whole }]
    };
    let Some(bed) = bed(None, web(), Arc::new(says)).await else { return };
    let small = query("example.com", A, None);
    for _ in 0..2 {
        let cut = bed.by_udp(&small).await;
        assert!(Message::new(&cut).unwrap().is_truncated(), "passed on as it is: the client asks again by TCP");
        assert_eq!(bed.heard().len(), 1, "and never remembered");
    }
    let large = query("example.com", A, Some((4096, &[])));
    assert_eq!(bed.by_udp(&large).await.len(), bed.by_tcp(&large).await.len());
    assert!(bed.by_tcp(&large).await.len() > 3000);
}

#[tokio::test]
async fn a_zone_is_transferred_whole() {
    let says = |message: &[u8]| (1..=5).map(|n| reply(message, 0, &[(Section::Answer, 6, n, IP)])).collect();
    let Some(bed) = bed(None, web(), Arc::new(says)).await else { return };
    let asked = query("example.com", AXFR, None);
    let mut stream = bed.tcp().await;
    write_frame(&mut stream, &asked).await.unwrap();
    for n in 1..=5 {
        let message = tokio::time::timeout(PATIENCE, read_frame(&mut stream)).await.unwrap().unwrap();
        assert_eq!(message, Some(reply(&asked, 0, &[(Section::Answer, 6, n, IP)])));
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_what_is_too_short_dropped() {
    let Some(bed) = bed(None, web(), Arc::new(plain)).await else { return };
    let socket = bed.udp().await;
    socket.send(&[1, 2, 3]).await.unwrap();
    socket.send(&query("example.com", A, None)[..20]).await.unwrap();
    let answer = receive(&socket).await;
    assert_eq!(Message::new(&answer).map(|m| (m.id(), m.rcode())), Some((0xabcd, 1)), "FORMERR");
    socket.send(&plain(&query("example.com", A, None))[0]).await.unwrap();
    assert_eq!(Message::new(&receive(&socket).await).map(Message::rcode), Some(1), "a response is no question");
    assert!(bed.heard().is_empty());
    assert_eq!(bed.unanswered("malformed"), 3);
}

#[tokio::test]
async fn a_flood_is_shed_and_told() {
    let Some(bed) = bed(None, web(), Arc::new(plain)).await else { return };
    for _ in 0..QUESTIONS {
        bed.dns.inner.questions.spawn(std::future::pending()).unwrap();
    }
    let shed = bed.by_udp(&query("example.com", A, None)).await;
    assert_eq!(Message::new(&shed).map(Message::rcode), Some(2), "SERVFAIL, at once");
    assert_eq!(bed.unanswered("limit"), 1);
    let mesh = bed.by_udp(&query("web", A, None)).await;
    assert!(mesh.ends_with(&[10, 96, 0, 1]), "names of the mesh are answered all the same");
    assert!(bed.heard().is_empty());
    for _ in 0..CONNECTIONS {
        bed.dns.inner.connections.spawn(std::future::pending()).unwrap();
    }
    let mut stream = bed.tcp().await;
    let closed = tokio::time::timeout(PATIENCE, read_frame(&mut stream)).await.unwrap();
    assert!(!matches!(closed, Ok(Some(_))), "a connection too many is closed");
    assert_eq!(bed.unanswered("limit"), 2);
    bed.dns.close().await;
    let again = bed.netns.run_async(|| Listeners::open(&AT, true, &mut Handed::default(), false)).await.unwrap();
    assert!(again.is_ok(), "the ports are free: {again:?}");
}

#[tokio::test]
async fn listens_where_it_is_told_and_nowhere_else() {
    let Some(bed) = bed(None, web(), Arc::new(|_: &[u8]| Vec::new())).await else { return };
    let open = async |at: &'static [&'static str], ipv6| {
        let at: Vec<SocketAddr> = at.iter().map(|at| at.parse().unwrap()).collect();
        let opened =
            bed.netns.run_async(move || Listeners::open(&at, ipv6, &mut Handed::default(), false)).await.unwrap();
        let listeners = opened.map_err(|error| error.to_string())?;
        let addresses: Vec<_> =
            listeners.datagrams.iter().map(|socket| socket.local_addr().unwrap().to_string()).collect();
        assert_eq!(
            addresses,
            listeners.streams.iter().map(|s| s.local_addr().unwrap().to_string()).collect::<Vec<_>>()
        );
        Ok::<_, String>(addresses)
    };
    const BOTH: &[&str] = &["127.0.0.1:5353", "[::1]:5353"];
    assert_eq!(open(BOTH, true).await.unwrap(), BOTH);
    assert_eq!(open(BOTH, false).await.unwrap(), &BOTH[..1], "IPv6 is off");
    assert_eq!(open(&["[::1]:5353"], false).await.unwrap(), ["[::1]:5353"], "somebody asked for it");
    let foreign = open(&["192.0.2.1:5353"], true).await.unwrap_err();
    assert!(foreign.contains("cannot listen for DNS on 192.0.2.1:5353"), "{foreign}");
}

/// Brings `late` into the mesh.
struct Late(Mutex<Option<mesh::Writer>>, AtomicUsize);

impl Demand for Late {
    fn share(&self) -> Share {
        Share::new(8)
    }

    fn demand<'a>(
        &'a self,
        _: &'a Share,
        names: Vec<NamespacedName>,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            self.1.fetch_add(1, Ordering::Relaxed);
            let key = NamespacedName::new("shop", "late.shop.svc.cluster.local");
            if names.contains(&key)
                && let Some(mut writer) = self.0.lock().unwrap().take()
            {
                let services = vec![service("shop/late.shop.svc.cluster.local", &["/10.96.0.7"])];
                writer.replace(mesh::State { services, ..mesh::State::default() });
            }
        })
    }
}

#[tokio::test]
async fn what_the_mesh_does_not_hold_yet_is_demanded() {
    let (writer, reader) = mesh::channel();
    let late = Arc::new(Late(Mutex::new(Some(writer)), AtomicUsize::new(0)));
    let Some(bed) = bed(Some(Arc::clone(&late) as Arc<dyn Demand>), reader, Arc::new(plain)).await else { return };
    let answer = bed.by_udp(&query("late", A, None)).await;
    assert!(answer.ends_with(&[10, 96, 0, 7]), "{answer:x?}");
    assert!(bed.by_udp(&query("late", A, None)).await.ends_with(&[10, 96, 0, 7]));
    assert_eq!(late.1.load(Ordering::Relaxed), 1, "what is there is not demanded");
    assert!(bed.by_tcp(&query("example.com", A, None)).await.ends_with(IP));
    assert_eq!(bed.heard().len(), 1);
}

//! The frames that a peer sees when a tunnel to a pod ends: an HTTP/2 client written out by hand, so that what is
//! asserted is on the wire and not in a library.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use culvert::model::ports;
use culvert::role::demo::app::{self, ECHO_PORT};
use culvert::role::demo::lab::{PodSpec, Topology};
use culvert::sys::netns::Netns;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use crate::bed::{APPLIES, Bed, Family, NODES, PATIENCE, demo, run};
use crate::certificates::{account, authority};
use crate::remote::knows;
use crate::unbelieving;

// RFC 9113: types and flags of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The last stream that a first GOAWAY names: all that are on their way count.
const ANY_STREAM: u32 = (1 << 31) - 1;
const NO_ERROR: u32 = 0;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A tunnel by hand. Settings and PINGs are answered, as every client must.
struct Peer {
    stream: TlsStream<TcpStream>,
    /// Leaves PINGs without an answer, as if they were still on their way.
    mute: bool,
}

// === impl Peer ===

impl Peer {
    /// A tunnel to `server` with a certificate of `client`, from a pod that no daemon serves.
    async fn open(bed: &Bed) -> Self {
        let life = Duration::from_secs(3600);
        let issued = authority(bed).issue(&account("client"), life, SystemTime::now()).unwrap();
        let hbone = bed.at("server", Family::V4, ports::HBONE);
        let mut stream = unbelieving::connect(Some(&issued), bed.netns("outsider"), hbone).await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let mut peer = Self { stream, mute: false };
        peer.send(SETTINGS, 0, 0, &[]).await;
        peer
    }

    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.stream.write_all(&frame).await.unwrap();
    }

    /// The next frame that is no SETTINGS and no PING, or `None` at the end of the connection.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            let (kind, flags) = (head[3], head[4]);
            match kind {
                PING if self.mute => {}
                SETTINGS | PING if flags & ACK == 0 => {
                    let echoed = if kind == PING { payload } else { Vec::new() };
                    self.send(kind, ACK, 0, &echoed).await;
                }
                SETTINGS | PING => {}
                _ => {
                    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    return Some(Frame { kind, flags, stream, payload });
                }
            }
        }
    }

    /// The next frame of a kind.
    async fn wait(&mut self, kind: u8, patience: Duration) -> Option<Frame> {
        let next = async {
            loop {
                let frame = self.next().await?;
                if frame.kind == kind {
                    return Some(frame);
                }
                assert_ne!(frame.kind, RST_STREAM, "stream {} is reset", frame.stream);
            }
        };
        timeout(patience, next).await.unwrap_or_else(|_| panic!("no frame of kind {kind} within {patience:?}"))
    }

    /// CONNECT to the server's echo on stream 1.
    async fn connect(&mut self, bed: &Bed) {
        self.connect_on(1, bed).await;
    }

    async fn connect_on(&mut self, stream: u32, bed: &Bed) {
        let authority = bed.at("server", Family::V4, ECHO_PORT).to_string();
        // RFC 7541: literals without indexing, with names 2 (`:method`) and 1 (`:authority`) of the static table.
        let mut block = vec![2, 7];
        block.extend(b"CONNECT");
        block.extend([1, u8::try_from(authority.len()).unwrap()]);
        block.extend(authority.bytes());
        self.send(HEADERS, END_HEADERS, stream, &block).await;
        let answer = self.wait(HEADERS, PATIENCE).await.expect("CONNECT is answered");
        // 8 of the static table: `:status: 200`.
        assert_eq!((answer.stream, answer.payload.first()), (stream, Some(&0x88)), "{:?}", answer.payload);
    }

    /// Bytes of stream 1 come back.
    async fn echoes(&mut self, bytes: &[u8]) {
        self.send(DATA, 0, 1, bytes).await;
        let mut back = Vec::new();
        while back.len() < bytes.len() {
            back.extend(self.wait(DATA, PATIENCE).await.expect("the stream lives").payload);
        }
        assert_eq!(back, bytes);
    }
}

/// Last stream and code of a GOAWAY.
fn goaway(frame: &Frame) -> (u32, u32) {
    assert_eq!((frame.stream, frame.flags), (0, 0), "GOAWAY is of the connection");
    let number = |at: usize| u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap());
    (number(0), number(4))
}

#[test]
fn a_drain_says_goaway_and_lets_the_stream_go_on() {
    demo("goaway", async |bed| {
        bed.start(&[("drain-deadline", "20s")]).await;
        let mut peer = Peer::open(bed).await;
        peer.connect(bed).await;
        peer.echoes(b"before").await;
        bed.signal_node("node-b", Signal::SIGTERM).unwrap();
        let first = peer.wait(GOAWAY, PATIENCE).await.expect("GOAWAY before the end");
        assert_eq!(goaway(&first), (ANY_STREAM, NO_ERROR));
        // Once the peer has answered the PING behind it, the streams that will be served are named.
        let last = peer.wait(GOAWAY, PATIENCE).await.expect("a second GOAWAY");
        assert_eq!(goaway(&last), (1, NO_ERROR));
        peer.echoes(b"after").await;
        peer.send(DATA, END_STREAM, 1, &[]).await;
        // With its last stream the connection ends, and with that the drain.
        while let Some(frame) = timeout(PATIENCE, peer.next()).await.expect("the connection ends") {
            assert_ne!(frame.kind, RST_STREAM, "the stream ended well");
        }
        assert_eq!(bed.node_ended("node-b", PATIENCE).unwrap(), Some(0));
    });
}

#[test]
fn a_stream_that_crosses_the_goaway_is_served() {
    demo("goawaycross", async |bed| {
        bed.start(&[("drain-deadline", "20s")]).await;
        let mut peer = Peer::open(bed).await;
        peer.connect(bed).await;
        peer.mute = true;
        bed.signal_node("node-b", Signal::SIGTERM).unwrap();
        let first = peer.wait(GOAWAY, PATIENCE).await.expect("GOAWAY before the end");
        assert_eq!(goaway(&first), (ANY_STREAM, NO_ERROR));
        // As far as the node knows this was sent before the GOAWAY came.
        peer.connect_on(3, bed).await;
        peer.echoes(b"after").await;
    });
}

#[test]
fn a_withdrawn_pods_tunnels_say_goaway() {
    demo("goawayout", async |bed| {
        bed.start(&[]).await;
        let mut peer = Peer::open(bed).await;
        peer.connect(bed).await;
        peer.echoes(b"before").await;
        peer.send(DATA, END_STREAM, 1, &[]).await;
        let server = bed.pod("server").unwrap();
        let mut plan = server.plan.clone();
        plan.spec.labels.insert("istio.io/dataplane-mode".into(), "none".into());
        bed.manifests().pod(&plan, server.netns.path()).unwrap();
        let first = peer.wait(GOAWAY, APPLIES).await.expect("GOAWAY before the end");
        assert_eq!(goaway(&first), (ANY_STREAM, NO_ERROR));
        let last = peer.wait(GOAWAY, PATIENCE).await.expect("a second GOAWAY");
        assert_eq!(goaway(&last), (1, NO_ERROR));
        assert!(timeout(PATIENCE, peer.next()).await.expect("the connection ends").is_none());
        bed.states(&["server"], "out").await;
    });
}

/// Requests to a Service one after the other, until it is told to stop; which pods answered them. Any that fails is the
/// test's failure.
async fn buys(client: Netns, shop: SocketAddr, stop: Arc<AtomicBool>) -> BTreeMap<String, u32> {
    let mut answered = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let reply = app::get(&client, shop, "-", PATIENCE).await;
        let reply = reply.unwrap_or_else(|refused| panic!("after {answered:?}: {refused}"));
        *answered.entry(reply.answer.pod).or_default() += 1;
    }
    answered
}

/// Its callers have not heard of it when the pod goes: only the GOAWAY and the refused dial tell them.
#[test]
fn a_removed_pods_tunnels_say_goaway_and_its_callers_go_elsewhere() {
    let mut topology = Topology::demo();
    let mut twin = PodSpec::new("demo", "twin", "node-b");
    twin.labels.insert("app".into(), "server".into());
    topology.pods.push(twin);
    run("goawaygone", &topology, async |bed| {
        let shop = "apiVersion: v1\nkind: Service\nmetadata: {name: shop, namespace: demo}\nspec: {clusterIP: \
                    10.96.0.10, selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}\n";
        let of_callers = bed.path().join("callers");
        bed.lab().manifests(&of_callers).unwrap().put("shop.yaml", shop).unwrap();
        bed.put("shop.yaml", shop);
        bed.launch("node-a", &[("manifests", &of_callers.display().to_string())]);
        bed.launch("node-b", &[]);
        for node in NODES {
            bed.ready(node, Duration::from_secs(20)).await.unwrap();
        }
        let mut peer = Peer::open(bed).await;
        peer.connect(bed).await;
        peer.echoes(b"before").await;
        peer.send(DATA, END_STREAM, 1, &[]).await;
        let shop: SocketAddr = "10.96.0.10:80".parse().unwrap();
        let (mut clients, client) = (JoinSet::new(), bed.netns("client").clone());
        let mut load = |stop: &Arc<AtomicBool>| {
            for _ in 0..4 {
                clients.spawn(buys(client.clone(), shop, Arc::clone(stop)));
            }
        };
        let (before, after) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        load(&before);
        sleep(Duration::from_millis(500)).await;

        bed.remove("pod-demo-server.yaml");
        let first = peer.wait(GOAWAY, APPLIES).await.expect("GOAWAY before the end");
        assert_eq!(goaway(&first), (ANY_STREAM, NO_ERROR));
        let last = peer.wait(GOAWAY, PATIENCE).await.expect("a second GOAWAY");
        assert_eq!(goaway(&last), (1, NO_ERROR));
        assert!(timeout(PATIENCE, peer.next()).await.expect("the connection ends").is_none());
        before.store(true, Ordering::Relaxed);
        load(&after);
        sleep(Duration::from_secs(1)).await;
        after.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(answered) = clients.join_next().await {
            all.push(answered.unwrap());
        }
        assert_eq!(all.len(), 8);
        assert!(all.iter().any(|answered| answered.contains_key("server")), "it was called before: {all:?}");
        assert!(all.iter().filter(|answered| !answered.contains_key("server")).count() >= 4, "and not after: {all:?}");
        assert!(knows(bed, "node-a", "server").await, "its callers believe that it is there");
        assert!(bed.metric("node-a", "culvert_connection_retries_total", &[]).await >= 1.0);
    });
}

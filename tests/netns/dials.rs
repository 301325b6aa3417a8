//! Tunnels to a peer that does not answer, to one that never says a word, and to one that takes few streams.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use culvert::model::ports;
use culvert::role::demo::app::HTTP_PORT;
use culvert::sys::plain_tcp;
use culvert::tls::Acceptor;
use http::Response;
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::bed::{Bed, Family, PATIENCE, demo, sh, until};
use crate::certificates::{account, authority, credentials};
use crate::roads::{HBONE, takes};
use crate::wire;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// What a server of HTTP/2 has to say the first of it.
const SETTINGS: Duration = Duration::from_secs(5);
/// Callers of one address at once.
const CALLERS: usize = 8;
/// Streams that the small peer takes on a connection.
const STREAMS: u32 = 2;

/// Live streams of each connection that came, in the order in which they came.
type Streams = Arc<Mutex<Vec<u32>>>;

/// A listener where the server's proxy has its own.
async fn in_its_place(bed: &Bed) -> TcpListener {
    plain_tcp::listen(bed.netns("server"), bed.at("server", Family::V4, ports::HBONE)).await.unwrap()
}

/// Nothing that is sent to the server's port comes to it, as behind a NetworkPolicy that forgets 15008. All callers are told
/// within the limit of one dial, which they share.
async fn a_dial_that_hangs_is_shared(bed: &Bed) {
    let server = bed.netns("server");
    sh(server, "nft add table inet forgets");
    sh(server, "nft add chain inet forgets in { type filter hook input priority 0 ; }");
    sh(server, "nft add rule inet forgets in tcp dport 15008 drop");
    let (started, marks) = (Instant::now(), bed.marks());
    let looked = async {
        sleep(CONNECT_TIMEOUT / 2).await;
        sh(bed.netns("client"), "ss -tnH state syn-sent dport = :15008").lines().count()
    };
    let (refused, dials) = tokio::join!(refused_at_once(bed), looked);
    let took = started.elapsed();
    assert_eq!(refused, CALLERS, "nobody is served");
    assert!(took >= CONNECT_TIMEOUT && took < CONNECT_TIMEOUT * 2, "{took:?}");
    assert_eq!(dials, 1, "of {CALLERS} callers");
    let told = || bed.access_lines(marks).into_iter().filter(|line| line["reason"] == "connect_timeout").count();
    until("each is told why", async || told() == CALLERS).await;
    sh(server, "nft delete table inet forgets");
    bed.get("client", "server").await.expect("what hung is forgotten at once");
}

/// A peer that makes the handshake and never says a word of HTTP/2. All callers are told once it had its five seconds.
async fn a_peer_that_says_nothing_is_left(bed: &Bed) {
    let listener = in_its_place(bed).await;
    let acceptor = Acceptor::new(&credentials(&authority(bed), &account("server")));
    let taken = Mutex::new(Vec::new());
    let silent = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            taken.lock().unwrap().push(stream);
        }
    };
    let (started, marks) = (Instant::now(), bed.marks());
    let refused = tokio::select! {
        () = silent => unreachable!("it accepts without end"),
        refused = refused_at_once(bed) => refused,
    };
    let took = started.elapsed();
    assert_eq!(refused, CALLERS, "nobody is served");
    assert!(took >= SETTINGS && took < SETTINGS + PATIENCE, "{took:?}");
    let dials = taken.lock().unwrap().len();
    assert!(dials < CALLERS / 2, "{dials} connections for {CALLERS} callers");
    // The one whose CONNECT was sent on it is told of that, the others of the connection.
    let why = |line: &Value| ["http2", "status"].map(Value::from).contains(&line["reason"]);
    let told = || bed.access_lines(marks).iter().filter(|line| why(line)).count();
    until("each is told why", async || told() == CALLERS).await;
}

/// How many of [`CALLERS`] requests at once were refused.
async fn refused_at_once(bed: &Bed) -> usize {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (from, to) = (bed.netns("client").clone(), bed.at("server", Family::V4, HTTP_PORT));
        callers.spawn(async move { culvert::role::demo::app::get(&from, to, "-", SETTINGS + PATIENCE).await.is_err() });
    }
    callers.join_all().await.into_iter().filter(|refused| *refused).count()
}

/// Serves one connection: each CONNECT is answered, and its stream lives for as long as the client holds it.
async fn serve(stream: TcpStream, acceptor: Acceptor, streams: Streams) {
    let stream = acceptor.accept(stream).await.unwrap();
    let mut builder = h2::server::Builder::new();
    let mut connection = builder.max_concurrent_streams(STREAMS).handshake::<_, bytes::Bytes>(stream).await.unwrap();
    let at = {
        let mut streams = streams.lock().unwrap();
        streams.push(0);
        streams.len() - 1
    };
    let mut live = JoinSet::new();
    while let Some(Ok((request, mut answer))) = connection.accept().await {
        streams.lock().unwrap()[at] += 1;
        let streams = Arc::clone(&streams);
        live.spawn(async move {
            let mut body = request.into_body();
            let mut out = answer.send_response(Response::new(()), false).unwrap();
            while let Some(Ok(_)) = body.data().await {}
            drop(out.send_data(bytes::Bytes::new(), true));
            streams.lock().unwrap()[at] -= 1;
        });
    }
}

/// A peer's limit is kept, its connections are filled before another is opened, and a place that is free is used again.
async fn a_peers_limit_is_kept(bed: &Bed) {
    let (listener, streams) = (in_its_place(bed).await, Streams::default());
    let acceptor = Acceptor::new(&credentials(&authority(bed), &account("server")));
    let mut serving = JoinSet::new();
    let kept = Arc::clone(&streams);
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            connections.spawn(serve(stream, acceptor.clone(), Arc::clone(&kept)));
        }
    });
    let (from, to) = (bed.netns("client"), bed.at("server", Family::V4, HTTP_PORT));
    let open = async || wire::connect(from, to).await.unwrap();
    let are = async |what: &str, expected: &[u32]| {
        let now = || {
            let mut now = streams.lock().unwrap().clone();
            now.sort_unstable();
            now
        };
        let begun = Instant::now();
        while now() != expected {
            assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", now());
            sleep(Duration::from_millis(20)).await;
        }
    };
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(open().await);
    }
    are("five streams are on three connections", &[1, 2, 2]).await;
    // One of a full connection, which has a place then; the next two fill what there is.
    drop(held.remove(0));
    // The node's word counts: its peer knows of the end before its place is free.
    let live = async || bed.metric("node-a", "istio_tcp_sockets_open", &[("reporter", "source")]).await;
    until("its stream ends", async || live().await == 4.0).await;
    held.extend([open().await, open().await]);
    are("six streams are on three connections", &[2, 2, 2]).await;
    held.push(open().await);
    are("the seventh has a fourth", &[1, 2, 2, 2]).await;
}

#[test]
fn peers_that_hang_and_one_with_few_streams_are_dialled_as_little_as_can_be() {
    demo("dials", async |bed| {
        let settings = [("connect-timeout", "2s"), ("drain-deadline", "1s")];
        bed.start(&settings).await;
        a_dial_that_hangs_is_shared(bed).await;
        takes(bed, &HBONE, Family::V4).await;
        bed.kill_node("node-b").unwrap();
        a_peer_that_says_nothing_is_left(bed).await;
        a_peers_limit_is_kept(bed).await;
        bed.launch("node-b", &settings);
        bed.ready("node-b", PATIENCE * 2).await.unwrap();
        until("it is served again", async || bed.get("client", "server").await.is_ok()).await;
        takes(bed, &HBONE, Family::V4).await;
        a_handshake_does_not_outlive_the_drain(bed).await;
        assert_eq!(bed.metric("node-a", "culvert_task_panics_total", &[]).await, 0.0);
    });
}

/// A stranger that connects and says nothing has ten seconds for its handshake, and not when the node goes.
async fn a_handshake_does_not_outlive_the_drain(bed: &mut Bed) {
    let silent = wire::connect(bed.netns("outsider"), bed.at("server", Family::V4, ports::HBONE)).await.unwrap();
    let mut quiet = Vec::from([silent]);
    quiet.push(wire::connect(bed.netns("outsider"), bed.at("intruder", Family::V4, ports::HBONE)).await.unwrap());
    bed.signal_node("node-b", Signal::SIGTERM).unwrap();
    assert_eq!(bed.node_ended("node-b", Duration::from_secs(4)).unwrap(), Some(0), "it ends without them");
    for mut stream in quiet {
        drop(timeout(PATIENCE, wire::rest(&mut stream)).await.expect("they are cut off"));
    }
}

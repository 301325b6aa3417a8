//! Listeners of others in a pod: they share ours where another node proxy had the ports first, and nowhere else.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as Bound};
use std::time::Duration;

use culvert::model::ports;
use culvert::role::demo::app::HTTP_PORT;
use culvert::sys::netns::Netns;
use culvert::sys::socket;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::bed::{Bed, Family, PATIENCE, demo, run, until};
use crate::istio::{Agent, SEATS, Ztunnel, topology};
use crate::remote::{Control, Issuer, answers_pods, launch};
use crate::wire;

const CAPTURE: [u16; 3] = [ports::OUTBOUND, ports::INBOUND_PLAINTEXT, ports::HBONE];
const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
/// What the other proxy answers to whoever comes.
const OTHER: &[u8] = b"HTTP/1.1 200 OK\r\nserver: another-proxy\r\ncontent-length: 0\r\n\r\n";
/// Into the pod and out of it, both in plaintext.
const WAYS: [(&str, &str); 2] = [("outsider", "near"), ("near", "outsider")];
/// Connections in each direction that are under way when the process is told to end; half of them are ours, which is more
/// than the 128 that listen(2) is usually asked for.
const QUEUED: usize = 400;

/// Who has served a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    App,
    Other,
}

/// Root in the pod cannot take a part of what comes to our listeners.
pub(crate) fn nobody_joins(bed: &Bed, pod: &str) {
    let own = [Family::V4, Family::V6].map(|family| bed.at(pod, family, 0).ip());
    for port in CAPTURE {
        for ip in ANY.into_iter().chain(own).chain([Ipv4Addr::LOCALHOST.into()]) {
            let at = SocketAddr::new(ip, port);
            let joined = bed.netns(pod).run(move || socket::listen_beside(at, 0)).unwrap();
            let error = joined.expect_err("SO_REUSEPORT is off");
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{at} in {pod}: {error}");
        }
    }
}

/// The other node proxy's listeners in a pod; every connection is answered at once. Dropped, they are closed.
struct Other {
    _serving: JoinSet<()>,
}

// === impl Other ===

impl Other {
    fn start(pod: &Netns) -> Self {
        let addresses = || CAPTURE.iter().flat_map(|port| ANY.map(|ip| SocketAddr::new(ip, *port)));
        let bind = move || addresses().map(|at| socket::listen_beside(at, 0)).collect::<Result<Vec<Bound>, _>>();
        let mut serving = JoinSet::new();
        for listener in pod.run(bind).unwrap().unwrap() {
            serving.spawn(answer_all(TcpListener::from_std(listener).unwrap()));
        }
        Self { _serving: serving }
    }
}

async fn answer_all(listener: TcpListener) {
    let mut open = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        open.spawn(async move {
            let mut request = [0; 256];
            if stream.read(&mut request).await.is_ok() {
                drop(stream.write_all(OTHER).await);
            }
        });
        while open.try_join_next().is_some() {}
    }
}

/// A request on a connection that is there, and who answered it.
async fn ask(mut stream: TcpStream) -> std::io::Result<By> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    timeout(PATIENCE * 3, stream.read_to_end(&mut answer)).await??;
    let text = String::from_utf8_lossy(&answer);
    match (text.contains("another-proxy"), text.contains("200 OK")) {
        (true, _) => Ok(By::Other),
        (false, true) => Ok(By::App),
        (false, false) => Err(std::io::Error::other(format!("cut off: {text:?}"))),
    }
}

/// `count` requests one after the other; how many of them each has served. Any that fails is the test's failure.
async fn share(bed: &Bed, (from, to): (&str, &str), count: usize) -> (usize, usize) {
    let (mut app, mut other) = (0, 0);
    for number in 0..count {
        let stream = wire::connect(bed.netns(from), bed.at(to, Family::V4, HTTP_PORT)).await.unwrap();
        match ask(stream).await.unwrap_or_else(|error| panic!("{from} → {to}, number {number}: {error}")) {
            By::App => app += 1,
            By::Other => other += 1,
        }
    }
    (app, other)
}

/// Connections that the kernel has taken for a process that stands still are served after it was told to end.
async fn is_drained(bed: &Bed, ours: &mut Ztunnel) {
    ours.pause().await;
    let mut asked = JoinSet::new();
    for (from, to) in WAYS {
        for _ in 0..QUEUED {
            // Established: the kernel has answered, whoever serves it.
            let stream = wire::connect(bed.netns(from), bed.at(to, Family::V4, HTTP_PORT)).await.unwrap();
            asked.spawn(async move { (from, ask(stream).await) });
        }
    }
    let (mut others, stood) = (0, Instant::now());
    while stood.elapsed() < Duration::from_secs(1) {
        while let Some(answered) = asked.try_join_next() {
            let (from, answer) = answered.unwrap();
            assert_eq!(answer.unwrap(), By::Other, "from {from}");
            others += 1;
        }
        sleep(Duration::from_millis(20)).await;
    }
    let queued = asked.len();
    assert!(queued > QUEUED / 2 && others > QUEUED / 2, "{queued} are queued, {others} were answered");
    ours.signal(Signal::SIGTERM);
    ours.signal(Signal::SIGCONT);
    while let Some(answered) = asked.join_next().await {
        let (from, answer) = answered.unwrap();
        let answer = answer.unwrap_or_else(|error| panic!("one of {queued} that were queued, from {from}: {error}"));
        assert_eq!(answer, By::App, "from {from}");
    }
}

#[test]
fn beside_another_proxy_ports_are_shared_from_ready_to_the_last_queued_connection() {
    run("beside", &topology(), async |bed| {
        let mut control = Control::prepare(bed, &[]);
        answers_pods(bed);
        let agent = Agent::start(bed);
        let other = Other::start(bed.netns("near"));
        // Without a control plane it has neither certificates nor a mesh.
        let mut ours = Ztunnel::start(bed, SEATS[0]);
        until("the agent is told that the pod waits", async || agent.answers().len() >= 3).await;
        let refused = &agent.answers()[1];
        assert!(!refused.is_empty(), "the pod is not served");
        for way in WAYS {
            assert_eq!(share(bed, way, 40).await, (0, 40), "nothing is bound before it can be served: {way:?}");
        }
        nobody_joins(bed, "client");

        control.start().await;
        launch(bed, "node-b", Issuer::Control, &[]);
        ours.ready().await;
        for way in WAYS {
            let (app, other) = share(bed, way, 60).await;
            assert!(app >= 10 && other >= 10, "{way:?}: {app} and {other} are not shared");
        }

        is_drained(bed, &mut ours).await;
        assert_eq!(ours.ended(Duration::from_secs(15)).await, Some(0));
        for way in WAYS {
            assert_eq!(share(bed, way, 40).await, (0, 40), "all is the other's again: {way:?}");
        }
        drop(other);
    });
}

#[test]
fn nobody_in_a_pod_joins_a_listener() {
    demo("joins", async |bed| {
        bed.start(&[]).await;
        let old = bed.part_with_node("node-a").unwrap();
        for pod in ["client", "near", "server"] {
            nobody_joins(bed, pod);
        }
        // Nor one that was handed over.
        let mark = bed.mark("node-a");
        bed.launch("node-a", &[]);
        bed.says("node-a", mark, "took over").await;
        nobody_joins(bed, "client");
        drop(old);
        nobody_joins(bed, "client");
        bed.get("client", "server").await.unwrap();
    });
}

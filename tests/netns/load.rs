//! A pod that asks for more than its budget, and what a burst leaves behind. How fast the others are beside it is for the bench.

use std::time::Duration;

use culvert::model::ports;
use culvert::role::demo::app::{self, ECHO_PORT, HTTP_PORT};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::bed::{Bed, Family, NODES, PATIENCE, demo, until};
use crate::wire;

/// After a burst, its memory is to be gone.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Resident memory of a node, bytes.
fn resident(bed: &Bed, node: &str) -> u64 {
    let pid = bed.pid_of(node).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// So many connections from `client` to an echo of `server` whose answers nobody reads, until every buffer is full.
async fn stuffed(bed: &Bed, count: usize) -> Vec<TcpStream> {
    let (from, to) = (bed.netns("client"), bed.at("server", Family::V4, ECHO_PORT));
    let mut tasks = JoinSet::new();
    let mut streams = Vec::new();
    for _ in 0..count {
        let from = from.clone();
        tasks.spawn(async move {
            let mut stream = wire::connect(&from, to).await.unwrap();
            let piece = vec![7; 64 << 10];
            while let Ok(written) = timeout(Duration::from_millis(500), stream.write(&piece)).await {
                written.unwrap();
            }
            stream
        });
        if tasks.len() >= 64 {
            streams.push(tasks.join_next().await.unwrap().unwrap());
        }
    }
    streams.extend(tasks.join_all().await);
    streams
}

async fn refused(bed: &Bed, node: &str, reporter: &str, reason: &str) {
    let labels = [("reason", reason), ("reporter", reporter)];
    let counted = async || bed.metric(node, "culvert_refusals_total", &labels).await >= 1.0;
    until(&format!("{node} counts what it refused for {reason}"), counted).await;
}

#[test]
fn a_pod_that_floods_is_refused_and_its_neighbour_is_served() {
    demo("flooding", async |bed| {
        bed.start(&[("max-connections-per-pod", "40"), ("log-access", "false")]).await;
        bed.get("client", "server").await.unwrap();
        let bed = &*bed;
        // Before the flood, which takes every place there is: strangers begin handshakes and say nothing.
        let mut stalled = Vec::new();
        for _ in 0..30 {
            stalled
                .extend(wire::connect(bed.netns("outsider"), bed.at("intruder", Family::V4, ports::HBONE)).await.ok());
        }
        refused(bed, "node-b", "destination", "handshakes").await;
        // `near` is on the node of `client`, `intruder` on that of `server`.
        let noisy = async {
            loop {
                app::flood(bed.netns("near"), bed.at("intruder", Family::V4, HTTP_PORT), 300, 3, PATIENCE).await;
            }
        };
        let quiet = async {
            for number in 0..50 {
                let reply = bed.get("client", "server").await;
                let reply = reply.unwrap_or_else(|refused| panic!("request {number} beside a flood: {refused}"));
                assert!(reply.took < PATIENCE, "request {number} took {:?}", reply.took);
            }
        };
        tokio::select! {
            () = noisy => unreachable!("it floods without end"),
            () = quiet => {}
        }
        refused(bed, "node-a", "source", "limit").await;
        drop(stalled);
        // When the flood is over, its pod is a pod as any other.
        until("the pod that flooded is served", async || bed.get("near", "intruder").await.is_ok()).await;
        for node in NODES {
            assert_eq!(bed.metric(node, "culvert_task_panics_total", &[]).await, 0.0);
        }
    });
}

/// Budgets that make others wait, and those that refuse at last: each is told by its name.
#[test]
fn a_budget_that_bites_says_so() {
    demo("bites", async |bed| {
        bed.start(&[("max-handshakes-per-pod", "1"), ("window-budget", "1MiB"), ("log-access", "false")]).await;
        let held = stuffed(bed, 8).await;
        // Bytes of the app that nobody takes wait in it, and no more are taken from it than the budget has room for.
        let held_back = async |(node, pod)| bed.metric(node, "culvert_pod_held_back_total", &[("pod", pod)]).await;
        let either = async || held_back(("node-a", "client")).await + held_back(("node-b", "server")).await >= 1.0;
        until("bytes are held back, and that is counted", either).await;
        drop(held);
        // One is served at once, two wait for their turn, and for the rest it would be too long.
        let mut strangers = Vec::new();
        for _ in 0..6 {
            strangers.extend(wire::connect(bed.netns("outsider"), bed.at("intruder", Family::V4, ports::HBONE)).await);
        }
        refused(bed, "node-b", "destination", "handshake_rate").await;
    });
}

#[test]
fn what_a_burst_took_goes_back() {
    demo("burst", async |bed| {
        bed.start(&[("log-access", "false")]).await;
        let warm = app::hold(bed.netns("client"), bed.at("server", Family::V4, ECHO_PORT), 20, PATIENCE).await.unwrap();
        drop(warm);
        sleep(Duration::from_secs(2)).await;
        let idle = NODES.map(|node| resident(bed, node));
        let burst = stuffed(bed, 300).await;
        let height = NODES.map(|node| resident(bed, node));
        drop(burst);
        let ended = Instant::now();
        let mut least = height;
        while (0..2).any(|at| least[at] * 10 > idle[at] * 11) {
            let after = ended.elapsed();
            assert!(after < FORGOTTEN, "{idle:?} bytes when idle, {height:?} in the burst, {least:?} after {after:?}");
            sleep(Duration::from_millis(500)).await;
            let now = NODES.map(|node| resident(bed, node));
            least = [0, 1].map(|at| least[at].min(now[at]));
        }
        assert!(height[0] > idle[0] * 3 / 2, "the burst was one: {idle:?}, {height:?}");
        bed.get("client", "server").await.unwrap();
    });
}

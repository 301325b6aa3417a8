//! Nodes in ztunnel's place: `culvert proxy ztunnel` with the environment of Istio's DaemonSet, each in a pod of its own,
//! beside a node agent that is not ours and that lays istio-cni's rules.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use culvert::model::ports;
use culvert::proto::zds::{
    AddWorkload, SnapshotSent, Version, WorkloadInfo, WorkloadRequest, WorkloadRequestPayload, WorkloadResponse,
    WorkloadResponsePayload, ZdsHello,
};
use culvert::role::demo::app::{STREAM_PORT, Trickle, Way as Bytes, page};
use culvert::role::demo::lab::{KubeNamespace, PodSpec, Topology};
use culvert::sys::child::{Bond, Child, Output, Program};
use culvert::sys::exec;
use culvert::sys::netns::Netns;
use culvert::sys::seqpacket::{Listener, SeqPacket};
use nix::sys::signal::Signal;
use prost::Message;
use tokio::task::JoinSet;

use crate::bed::{BINARY, Bed, Family, PATIENCE, SOME, run, until};
use crate::beside::nobody_joins;
use crate::remote::{Control, Issuer, SERVED, answers_pods, launch, within};
use crate::takeover::Flood;

/// The pods of two node proxies, an old and a new one.
pub(crate) const SEATS: [&str; 2] = ["ztunnel-1", "ztunnel-2"];
/// The pods of node-a that the agent names.
pub(crate) const CARRIED: [&str; 2] = ["client", "near"];
/// What istio-cni lays, with DNS capture as its chart has it. `P` and `LO` stand for the address of probes and the loopback.
const RULES: &str = include_str!("istio-cni.rules");
/// What ztunnel's readiness can be waiting for.
const TASKS: [&str; 4] = ["dns proxy", "proxy", "state manager", "workload proxy manager"];
const STARTS: Duration = Duration::from_secs(20);

/// The demonstration's, with the pods of [`SEATS`] on node-a.
pub(crate) fn topology() -> Topology {
    let mut topology = Topology::demo();
    topology.namespaces.push(KubeNamespace::plain("istio-system"));
    topology.pods.extend(SEATS.map(|seat| PodSpec::new("istio-system", seat, "node-a")));
    topology
}

/// A node agent: tells each proxy that comes of [`CARRIED`], and keeps what it was answered. Dropped, it hangs up.
pub(crate) struct Agent {
    answers: Arc<Mutex<Vec<String>>>,
    _lines: JoinSet<()>,
}

/// A node proxy in a pod of its own. Shows its log when a test fails.
pub(crate) struct Ztunnel {
    process: Child,
    log: PathBuf,
    seat: Netns,
}

fn socket(bed: &Bed) -> PathBuf {
    bed.path().join("ztunnel.sock")
}

/// As istio-cni does: routes, rules, then iptables, for both families.
fn redirect(pod: &Netns) {
    let run = |program: exec::Program| {
        let ran = pod.run(move || program.run()).unwrap();
        ran.unwrap_or_else(|error| panic!("istio-cni's rules: {error}"));
    };
    for (ip, all, restore, probes, loopback) in [
        ("-4", "0.0.0.0/0", "iptables-restore", "169.254.7.127/32", "127.0.0.1/32"),
        ("-6", "::/0", "ip6tables-restore", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128", "::1/128"),
    ] {
        run(exec::Program::new("ip", &[ip, "route", "add", "local", all, "dev", "lo", "table", "100"]));
        run(exec::Program::new("ip", &[ip, "rule", "add", "fwmark", "0x111/0xfff", "pref", "32764", "lookup", "100"]));
        let rules = RULES.replace(" P ", &format!(" {probes} ")).replace(" LO ", &format!(" {loopback} "));
        run(exec::Program::new(restore, &["--wait"]).stdin(rules));
    }
}

// === impl Agent ===

impl Agent {
    /// Lays the rules and listens.
    pub(crate) fn start(bed: &Bed) -> Self {
        let pods = CARRIED.map(|name| {
            let netns = bed.netns(name).clone();
            redirect(&netns);
            let info = WorkloadInfo { name: name.into(), namespace: "demo".into(), service_account: name.into() };
            let add = AddWorkload { uid: format!("uid-of-{name}"), workload_info: Some(info) };
            (packet(WorkloadRequestPayload::Add(add)), netns)
        });
        let (answers, listener) = (Arc::<Mutex<Vec<String>>>::default(), Listener::bind(&socket(bed)).unwrap());
        let (mut lines, kept) = (JoinSet::new(), Arc::clone(&answers));
        lines.spawn(async move {
            let mut proxies = JoinSet::new();
            while let Ok(line) = listener.accept().await {
                let (pods, kept) = (pods.clone(), Arc::clone(&kept));
                proxies.spawn(async move { tell(line, &pods, &kept).await });
            }
        });
        Self { answers, _lines: lines }
    }

    /// What was answered until now: empty texts are consent.
    pub(crate) fn answers(&self) -> Vec<String> {
        self.answers.lock().unwrap().clone()
    }
}

fn packet(payload: WorkloadRequestPayload) -> Vec<u8> {
    WorkloadRequest { payload: Some(payload) }.encode_to_vec()
}

/// The greeting, every pod, the end of the snapshot, and then nothing until the proxy leaves.
async fn tell(line: SeqPacket, pods: &[(Vec<u8>, Netns)], answers: &Mutex<Vec<String>>) -> Option<()> {
    let hello = line.receive().await.ok()??;
    assert_eq!(ZdsHello::decode(&*hello.bytes).unwrap().version, Version::V1 as i32);
    let answer = async || {
        let packet = line.receive().await.ok()??;
        let Some(WorkloadResponsePayload::Ack(ack)) = WorkloadResponse::decode(&*packet.bytes).ok()?.payload else {
            return None;
        };
        answers.lock().unwrap().push(ack.error);
        Some(())
    };
    for (add, netns) in pods {
        line.send_with(add, &[netns.as_fd()]).await.ok()?;
        answer().await?;
    }
    line.send(&packet(WorkloadRequestPayload::SnapshotSent(SnapshotSent {}))).await.ok()?;
    answer().await?;
    while line.receive().await.ok()?.is_some() {}
    Some(())
}

// === impl Ztunnel ===

impl Ztunnel {
    /// Starts one in the pod `seat`, with the environment of Istio's DaemonSet, under the bed's control plane.
    pub(crate) fn start(bed: &Bed, seat: &str) -> Self {
        Self::start_by(&[], bed, seat, &[])
    }

    /// As [`Ztunnel::start`], by a shell or the like, with these variables in place of its own; an empty value leaves one out.
    pub(crate) fn start_by(by: &[&str], bed: &Bed, seat: &str, more: &[(&str, &str)]) -> Self {
        let path = |name: &str| bed.path().join(name).display().to_string();
        let pod = bed.pod(seat).unwrap();
        let environment = [
            ("AUTH_TOKEN", path("node-a.token")),
            ("CA_ADDRESS", SERVED.to_owned()),
            ("CA_ROOT_CA", path("root-cert.pem")),
            ("CULVERT_STATE_DIR", path(&format!("state-{seat}"))),
            ("INPOD_UDS", socket(bed).display().to_string()),
            ("INSTANCE_IP", pod.plan.v4.to_string()),
            ("LOG_FORMAT", "json".to_owned()),
            ("NODE_NAME", "node-a".to_owned()),
            ("POD_NAME", seat.to_owned()),
            ("POD_NAMESPACE", "istio-system".to_owned()),
            ("RUST_LOG", "info".to_owned()),
            ("SERVICE_ACCOUNT", "ztunnel".to_owned()),
            ("XDS_ADDRESS", SERVED.to_owned()),
            ("XDS_ROOT_CA", path("root-cert.pem")),
        ];
        let mut environment = BTreeMap::from(environment.map(|(key, value)| (key.to_owned(), value)));
        environment.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        environment.retain(|_, value| !value.is_empty());
        let mut words = by.iter().copied().chain([BINARY, "proxy", "ztunnel"]).map(str::to_owned);
        let log = bed.path().join(format!("{seat}.daemon.log"));
        let process = Child::start(&Program {
            name: format!("the node proxy {seat}"),
            path: words.next().unwrap().into(),
            arguments: words.collect(),
            environment: environment.into_iter().collect(),
            netns: pod.netns.clone(),
            output: Output::File(log.clone()),
            bond: Bond::Ours,
        });
        Self { process: process.unwrap(), log, seat: pod.netns.clone() }
    }

    pub(crate) async fn page(&self, port: u16, path: &str) -> Option<(u16, String)> {
        page::page(&self.seat, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), path, PATIENCE).await.ok()
    }

    /// Waits until the kubelet would say so. Until then it is told in ztunnel's words.
    pub(crate) async fn ready(&self) {
        let ready = async || match self.page(ports::READY, "/healthz/ready").await {
            Some((200, _)) => true,
            Some((500, why)) => {
                let names = why.trim_end().strip_prefix("not ready, pending: ").unwrap_or_default();
                assert!(names.split(", ").all(|name| TASKS.contains(&name)), "{why}");
                false
            }
            _ => false,
        };
        within(STARTS, "the node proxy is ready", ready).await;
    }

    /// The namespace of the pod that it runs in.
    pub(crate) fn seat(&self) -> &Netns {
        &self.seat
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// Stops it where it stands: it does nothing more when this comes back.
    pub(crate) async fn pause(&mut self) {
        self.signal(Signal::SIGSTOP);
        let of = format!("/proc/{}/status", self.process.pid());
        let stands = async || std::fs::read_to_string(&of).is_ok_and(|status| status.contains("\nState:\tT"));
        until("it stands still", stands).await;
    }

    /// Waits for its end; the exit code.
    pub(crate) async fn ended(&mut self, patience: Duration) -> Option<i32> {
        let started = tokio::time::Instant::now();
        while started.elapsed() < patience {
            if let Some(status) = self.process.ended().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

impl Drop for Ztunnel {
    fn drop(&mut self) {
        drop(self.process.kill());
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            println!(
                "--- last lines of {}\n{}",
                self.log.display(),
                lines[lines.len().saturating_sub(25)..].join("\n")
            );
        }
    }
}

/// The control plane, the other node and the agent run; no node proxy on node-a yet.
pub(crate) async fn beside_an_agent(bed: &mut Bed) -> (Control, Agent) {
    let mut control = Control::prepare(bed, &[]);
    answers_pods(bed);
    control.start().await;
    launch(bed, "node-b", Issuer::Control, &[]);
    bed.ready("node-b", STARTS).await.unwrap();
    let agent = Agent::start(bed);
    (control, agent)
}

async fn live(bed: &Bed, from: &str, to: &str) -> Trickle {
    Trickle::start(bed.netns(from), bed.at(to, Family::V4, STREAM_PORT), Bytes::Echo, PATIENCE).await.unwrap()
}

/// As an upgrade of the DaemonSet goes: the second is ready, then the first has SIGTERM.
#[test]
fn in_ztunnels_place_no_connection_fails_while_the_next_process_takes_over() {
    run("istiotakeover", &topology(), async |bed| {
        let (_control, agent) = beside_an_agent(bed).await;
        let mut first = Ztunnel::start(bed, SEATS[0]);
        first.ready().await;
        let flood = Flood::start(bed);
        let mut lives = [live(bed, "client", "server").await, live(bed, "outsider", "near").await];
        let second = Ztunnel::start(bed, SEATS[1]);
        second.ready().await;
        until("it took over", async || second.log().contains("took over")).await;
        for live in &mut lives {
            live.advance(SOME, PATIENCE).await.unwrap();
        }
        // What is live ends where it began, within the drain's deadline.
        first.signal(Signal::SIGTERM);
        for mut live in lives {
            live.advance(SOME, PATIENCE).await.unwrap();
            live.finish(PATIENCE).await.unwrap();
        }
        assert_eq!(first.ended(Duration::from_secs(15)).await, Some(0), "the old process drains");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let answered = flood.end().await;
        assert!(answered > 100, "{answered} requests are no load");
        assert_eq!(agent.answers(), [""; 6], "two pods and the end, twice");
        for (from, to) in [("server", "near"), ("outsider", "near"), ("client", "near"), ("client", "server")] {
            bed.get(from, to).await.unwrap_or_else(|refused| panic!("{from} → {to}: {refused}"));
        }
        let log = second.log();
        assert!(log.contains("mutual_tls") && !log.contains("node_local"), "HBONE between neighbours as well");
        for pod in CARRIED {
            nobody_joins(bed, pod);
        }
    });
}

//! Two pods behind one router, with the rules that istio-cni lays, and a node that serves them.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ca::Root;
use crate::config::drop_in::DnsAddress;
use crate::config::node::Ipv6;
use crate::enroll::announced::Announced;
use crate::enroll::manager::{Manager, PodStatus, State};
use crate::hbone::pool;
use crate::identity::certs;
use crate::mesh;
use crate::model::workload::{Tunnel, Workload};
use crate::proxy::flows::{self, Flows};
use crate::proxy::outbound::TunnelConfig;
use crate::proxy::pod::PodProxy;
use crate::proxy::report::Report;
use crate::proxy::shared::{Config, LocalPods, Shared};
use crate::redirect::DAEMON_MARK;
use crate::role::node::plane::{self, Plane};
use crate::role::node::redirection::Redirection;
use crate::role::node::sources::agent::admits;
use crate::runtime::Panics;
use crate::runtime::ready::Readiness;
use crate::sys::exec::Program;
use crate::sys::netns::Netns;
use crate::sys::plain_tcp;
use crate::sys::splice::PipePool;
use crate::telemetry::metrics::{self, Metrics};
use crate::zds::client;

/// What a busy machine may take for what should happen at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// What istio-cni lays into a pod without DNS capture. `P` and `LO` stand for the address of probes and the loopback.
const RULES: &str = include_str!("../../../../tests/netns/istio-cni.rules");

/// The two pods, by number, and the router between them.
pub(super) struct Lab {
    pub(super) router: Netns,
    pub(super) pods: [Netns; 2],
}

/// A node process without its process.
pub(super) struct Node {
    pub(super) shared: Arc<Shared>,
    pub(super) writer: mesh::Writer,
    pub(super) readiness: Readiness,
    pub(super) statuses: watch::Receiver<Arc<Vec<PodStatus>>>,
    pub(super) metrics: Metrics,
    stop: CancellationToken,
    _ca: tempfile::TempDir,
}

pub(super) fn address(pod: usize, v6: bool) -> IpAddr {
    let text = if v6 { format!("fd78:{pod}::2") } else { format!("10.78.{pod}.2") };
    text.parse().unwrap()
}

pub(super) fn run(netns: &Netns, line: &str) {
    let words: Vec<_> = line.split(' ').collect();
    let program = Program::new(words[0], &words[1..]);
    netns.run(move || program.run()).unwrap().unwrap_or_else(|error| panic!("{line}: {error}"));
}

/// Waits until `holds`; false when it does not in good time.
pub(super) async fn until(mut holds: impl FnMut() -> bool) -> bool {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waited).await.is_ok()
}

// === impl Lab ===

impl Lab {
    pub(super) fn build(what: &str) -> Option<Self> {
        if !crate::sys::kernel_tests::may_run(what) {
            return None;
        }
        let fresh = || Netns::fresh().unwrap();
        let lab = Self { router: fresh(), pods: [fresh(), fresh()] };
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            crate::sys::sysctl::set(&lab.router, setting, "1").unwrap();
        }
        for (n, pod) in lab.pods.iter().enumerate() {
            let other = format!("/proc/{}/fd/{}", std::process::id(), pod.as_fd().as_raw_fd());
            run(&lab.router, &format!("ip link add p{n} type veth peer name eth0 netns {other}"));
            run(&lab.router, &format!("ip addr add 10.78.{n}.1/24 dev p{n}"));
            run(&lab.router, &format!("ip addr add fd78:{n}::1/64 dev p{n} nodad"));
            run(&lab.router, &format!("ip link set p{n} up"));
            run(pod, &format!("ip addr add {}/24 dev eth0", address(n, false)));
            run(pod, &format!("ip addr add {}/64 dev eth0 nodad", address(n, true)));
            run(pod, "ip link set eth0 up");
            run(pod, &format!("ip route add default via 10.78.{n}.1"));
            run(pod, &format!("ip -6 route add default via fd78:{n}::1"));
            redirect(pod);
        }
        Some(lab)
    }
}

/// As istio-cni does: routes, rules, then iptables, for both families.
fn redirect(pod: &Netns) {
    for (ip, all, restore, probes, loopback) in [
        ("ip", "0.0.0.0/0", "iptables-restore", "169.254.7.127/32", "127.0.0.1/32"),
        ("ip -6", "::/0", "ip6tables-restore", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff/128", "::1/128"),
    ] {
        run(pod, &format!("{ip} route add local {all} dev lo table 100"));
        run(pod, &format!("{ip} rule add fwmark 0x111/0xfff pref 32764 lookup 100"));
        let rules = RULES.replace(" P ", &format!(" {probes} ")).replace(" LO ", &format!(" {loopback} "));
        let program = Program::new(restore, &["--wait"]).stdin(rules);
        pod.run(move || program.run()).unwrap().unwrap_or_else(|error| panic!("{restore}: {error}"));
    }
}

/// The mesh's record of a pod of the node `node-a`.
pub(super) fn workload(name: &str, addresses: &[IpAddr]) -> Workload {
    Workload {
        uid: format!("c//Pod/shop/{name}").into(),
        name: name.into(),
        namespace: "shop".into(),
        service_account: name.into(),
        trust_domain: "cluster.local".into(),
        addresses: addresses.to_vec(),
        node: "node-a".into(),
        cluster: "c".into(),
        tunnel: Tunnel::Hbone,
        ..Workload::default()
    }
}

/// Nothing asks it: no pod has a DNS proxy here.
fn dns(shared: &Shared) -> Arc<crate::dns::Shared> {
    let Shared { config, mesh, report, panics, drain, force, .. } = shared;
    Arc::new(crate::dns::Shared {
        config: crate::dns::Config {
            network: Arc::clone(&config.network),
            cluster_domain: "cluster.local".into(),
            mark: config.mark,
            cache: 1024,
        },
        mesh: mesh.clone(),
        servers: crate::dns::Servers::new("/etc/resolv.conf"),
        metrics: report.metrics.clone(),
        demand: None,
        panics: panics.clone(),
        drain: drain.clone(),
        force: force.clone(),
    })
}

// === impl Node ===

impl Node {
    /// Talks to the agent at `agent`.
    pub(super) fn start(agent: &Path) -> Self {
        Self::start_as(agent, false)
    }

    /// With `beside` it shares pods' ports with another proxy.
    pub(super) fn start_as(agent: &Path, beside: bool) -> Self {
        let (stop, readiness) = (CancellationToken::new(), Readiness::default());
        let ca = tempfile::tempdir().unwrap();
        let authority = Root::load_or_create(&ca.path().join("ca"), "cluster.local").unwrap();
        let (handle, certs) = certs::Manager::build(certs::Config::system(), authority);
        let (writer, reader) = mesh::channel();
        let metrics = Metrics::new(metrics::Config { series_budget: 100 }, "test");
        let shared = Arc::new(Shared {
            config: Config {
                network: "".into(),
                same_node_lane: false,
                policy_wait: Duration::from_secs(2),
                connect_timeout: Duration::from_secs(10),
                half_open: None,
                mark: DAEMON_MARK,
                connections_per_pod: 64,
                handshakes_per_second: 500,
                tunnels: TunnelConfig {
                    pool: pool::Config::default(),
                    window_budget: 1 << 20,
                    sizes: Default::default(),
                },
            },
            mesh: reader,
            demand: None,
            local: LocalPods::default(),
            pipes: PipePool::new(),
            descriptors: crate::proxy::budgets::Descriptors::new(10_000),
            trust: crate::tls::Trust::default(),
            report: Report { metrics: metrics.clone(), access_log: false },
            flows: Flows::new(
                flows::Config { window: Duration::from_secs(60), limit: 10 },
                tokio::time::Instant::now(),
            ),
            threads: crate::runtime::threads::Threads::within(tokio::runtime::Handle::current()),
            panics: Panics::default(),
            drain: stop.child_token(),
            force: stop.child_token(),
        });
        let config = plane::Config {
            trust_domain: "cluster.local".into(),
            node: "node-a".into(),
            cluster: "c".into(),
            ipv6: Ipv6::Auto,
            dns_capture: false,
            dns_addresses: DnsAddress::default().addresses().into(),
            cgroup: None,
            reset_older: false,
            withdraw_deadline: Duration::from_secs(60),
            beside,
        };
        let redirection = Redirection::agent(DAEMON_MARK).unwrap();
        let warden = *redirection.warden();
        let plane = Arc::new(Plane::new(config, redirection, handle, Arc::clone(&shared), dns(&shared)));
        let (wanted, receive) = watch::channel(Arc::default());
        let every = Duration::from_millis(500);
        let (manager, statuses) = Manager::build(Arc::clone(&plane), receive, every, Box::new(|_, _| {}));
        let named = readiness.condition("pods announced");
        let admits = admits(warden, metrics.clone());
        let announced = Announced::new("node-a".into(), wanted, statuses.clone(), admits, named);
        let client = client::run(client::Config { path: agent.into() }, Arc::new(announced), || 0.5, stop.clone());
        let retired = plane.stands().retired().clone();
        let (certs, watch) = (certs.run(stop.clone()), plane.watch(stop.clone()));
        let manager = manager.run(stop.clone(), retired);
        #[expect(clippy::disallowed_methods, reason = "a test owns its tasks")]
        {
            tokio::spawn(certs);
            tokio::spawn(watch);
            tokio::spawn(manager);
            tokio::spawn(client);
        }
        Self { shared, writer, readiness, statuses, metrics, stop, _ca: ca }
    }

    pub(super) fn mesh(&mut self, workloads: Vec<Workload>) {
        self.writer.replace(mesh::State { workloads, ..mesh::State::default() });
    }

    /// The proxy of a pod that is served.
    pub(super) fn proxy(&self, name: &str) -> Option<Arc<PodProxy>> {
        self.shared.local.all().into_iter().find(|proxy| &*proxy.pod().key.name == name && !proxy.is_closing())
    }

    pub(super) fn state(&self, uid: &str) -> Option<State> {
        self.statuses.borrow().iter().find(|status| &*status.pod.uid == uid).map(|status| status.state.clone())
    }

    /// As a process that ends: everything closed.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        for proxy in self.shared.local.all() {
            proxy.close(Duration::ZERO).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A connection from `netns`, and what the application on the other side sees of it.
pub(super) async fn connect(netns: &Netns, to: SocketAddr, app: &TcpListener) -> (TcpStream, TcpStream, IpAddr) {
    let made = async {
        let mut client = plain_tcp::unconnected(netns, to).await.unwrap().connect(to).await.unwrap();
        client.write_all(b"ping").await.unwrap();
        let (mut server, from) = app.accept().await.unwrap();
        let mut word = [0; 4];
        server.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"ping");
        server.write_all(b"pong").await.unwrap();
        client.read_exact(&mut word).await.unwrap();
        assert_eq!(&word, b"pong");
        (client, server, from.ip())
    };
    tokio::time::timeout(PATIENCE, made).await.unwrap_or_else(|_| panic!("no connection to {to}"))
}

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use super::*;
use crate::identity::certs;
use crate::identity::source::{CertSource, Issued, SourceError};
use crate::mesh;
use crate::model::policy::{Action, Clause, Group, Match, Policy, Scope};
use crate::model::schedule::TimeRange;
use crate::model::workload::Workload;
use crate::proxy::connections::{Connection, Facts};
use crate::proxy::flows::{self, Flows};
use crate::proxy::outbound::TunnelConfig;
use crate::proxy::relay::Meter;
use crate::proxy::report::Report;
use crate::proxy::revoke;
use crate::proxy::shared::{Config, LocalPods};
use crate::runtime::Panics;
use crate::sys::socket;
use crate::sys::splice::PipePool;
use crate::telemetry::access::Road;
use crate::telemetry::metrics::{self, Metrics};

/// A certificate source that has none.
struct Away;

impl CertSource for Away {
    async fn fetch(&self, _: &Identity) -> Result<Issued, SourceError> {
        Err(SourceError::Unavailable("away".into()))
    }
}

fn shared() -> Arc<Shared> {
    let (_, mesh) = mesh::channel();
    shared_with(mesh)
}

pub(in crate::proxy) fn shared_with(mesh: mesh::Reader) -> Arc<Shared> {
    let force = CancellationToken::new();
    Arc::new(Shared {
        config: Config {
            network: "".into(),
            same_node_lane: true,
            policy_wait: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(10),
            half_open: None,
            mark: 0,
            connections_per_pod: 64,
            handshakes_per_second: 500,
            tunnels: TunnelConfig {
                pool: crate::hbone::pool::Config::default(),
                window_budget: 1 << 20,
                sizes: Default::default(),
            },
        },
        mesh,
        demand: None,
        local: LocalPods::default(),
        pipes: PipePool::new(),
        descriptors: crate::proxy::budgets::Descriptors::new(100_000),
        report: Report { metrics: Metrics::new(metrics::Config { series_budget: 100 }, "test"), access_log: false },
        flows: Flows::new(flows::Config { window: Duration::from_secs(60), limit: 10 }, Instant::now()),
        trust: crate::tls::Trust::default(),
        threads: crate::runtime::threads::Threads::within(tokio::runtime::Handle::current()),
        panics: Panics::default(),
        drain: force.child_token(),
        force,
    })
}

/// Dials and says nothing. An error when the other side has reset it already.
pub(in crate::proxy) async fn stall(to: SocketAddr) -> std::io::Result<TcpStream> {
    socket::unconnected(to.is_ipv6(), 0)?.start(to, None)?.connected().await
}

fn pod(name: &str) -> Arc<Pod> {
    Arc::new(Pod {
        key: NamespacedName::new("shop", name),
        uid: name.into(),
        service_account: name.into(),
        node: "a".into(),
        addresses: vec![address().ip()],
        host_network: false,
        finished: false,
        dataplane_mode: None,
        has_sidecar: false,
        dns_capture: None,
        netns: None,
    })
}

fn address() -> SocketAddr {
    "10.0.0.1:80".parse().unwrap()
}

/// A pod in this process's own namespace, and the address of its HBONE listener.
pub(in crate::proxy) fn start(shared: &Arc<Shared>, name: &str) -> (Arc<PodProxy>, SocketAddr) {
    start_of(shared, name, Of::Pod)
}

fn start_of(shared: &Arc<Shared>, name: &str, of: Of) -> (Arc<PodProxy>, SocketAddr) {
    let listen = || vec![socket::listen("127.0.0.1:0".parse().unwrap()).unwrap()];
    let begin = CancellationToken::new();
    begin.cancel();
    let listeners = Listeners { outbound: listen(), plaintext: listen(), hbone: listen(), of, begin };
    let hbone = listeners.hbone[0].local_addr().unwrap();
    let (certs, _) = certs::Manager::build(certs::Config::system(), Away);
    let certificate = certs.acquire(&Identity::new("cluster.local", "shop", name));
    let proxy = PodProxy::start(shared, pod(name), Netns::own().unwrap(), certificate, listeners).unwrap();
    (proxy, hbone)
}

/// A connection as a neighbour's task lists it here.
pub(in crate::proxy) fn facts() -> Facts {
    Facts {
        reporter: Reporter::Destination,
        road: Road::SameNode,
        client: "10.0.0.2:40000".parse().unwrap(),
        destination: address(),
        host: None,
        hop: None,
        client_identity: None,
        server_identity: None,
        source: None,
        target: None,
        service: None,
        revoked: None,
    }
}

#[tokio::test]
async fn a_pod_that_closes_takes_its_neighbours_connections_with_it() {
    let shared = shared();
    let (pod, _) = start(&shared, "cart");
    let arrived = pod.arrived().register(Connection::new(facts(), Instant::now(), Arc::new(Meter::default())));
    let why = Arc::new(Mutex::new(None));
    let (told, connection) = (Arc::clone(&why), Arc::clone(&arrived));
    // What the pod that opened it does when it is told.
    #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
    let relay = tokio::spawn(async move {
        *told.lock().unwrap() = Some(connection.ended().await.reason());
        drop(arrived);
    });

    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, pod.close(Duration::ZERO)).await.unwrap();
    tokio::time::timeout(limit, relay).await.unwrap().unwrap();
    assert_eq!(*why.lock().unwrap(), Some("drained"));
    assert!(pod.is_idle());
}

#[tokio::test]
async fn a_pod_that_closes_is_no_neighbour_and_is_judged_until_it_is_gone() {
    let shared = shared();
    let (pod, hbone) = start(&shared, "cart");
    assert!(shared.local.at(address().ip()).is_some_and(|found| Arc::ptr_eq(&found, &pod)));
    let arrived = pod.arrived().register(Connection::new(facts(), Instant::now(), Arc::new(Meter::default())));

    let mut closing = std::pin::pin!(pod.close(Duration::from_secs(60)));
    tokio::select! {
        () = &mut closing => panic!("a connection lives"),
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    assert!(shared.local.at(address().ip()).is_none());
    assert_eq!(shared.local.all().len(), 1, "revocation finds it");
    // The port is free for whoever comes next in the same namespace.
    socket::listen(hbone).unwrap();

    drop(arrived);
    tokio::time::timeout(Duration::from_secs(20), closing).await.unwrap();
    assert_eq!(shared.local.all().len(), 0);
}

#[tokio::test]
async fn a_successor_at_the_same_address_hides_nobody_from_revocation() {
    let shared = shared();
    let ((old, _), (new, _)) = (start(&shared, "old"), start(&shared, "new"));
    assert!(shared.local.at(address().ip()).is_some_and(|found| Arc::ptr_eq(&found, &new)));
    assert_eq!(shared.local.all().len(), 2);
    old.close(Duration::ZERO).await;
    assert!(shared.local.at(address().ip()).is_some_and(|found| Arc::ptr_eq(&found, &new)));
    assert_eq!(shared.local.all().len(), 1);
}

#[tokio::test]
async fn the_daemon_is_nobodys_neighbour_and_its_loopback_nobodys_to_call() {
    let (mut writer, reader) = mesh::channel();
    let shared = shared_with(reader);
    let open = socket::listen("127.0.0.1:0".parse().unwrap()).unwrap().local_addr().unwrap();
    let (daemon, listener) = start_of(&shared, "cart", Of::Daemon { pages: [open.port(), 80] });
    daemon.readdress(vec!["10.0.0.9".parse().unwrap()]);
    assert!([address().ip(), "10.0.0.9".parse().unwrap()].into_iter().all(|ip| shared.local.at(ip).is_none()));
    assert_eq!(shared.local.all().len(), 1, "revocation and the drain find it");
    // In the host's network its record is at no address.
    let record = Workload {
        uid: "cart".into(),
        name: "cart".into(),
        namespace: "shop".into(),
        host_network: true,
        ..Workload::default()
    };
    writer.replace(mesh::State { workloads: vec![record], ..mesh::State::default() });
    let source = "10.0.0.2".parse().unwrap();
    let request = Request { peer: None, foreign: false, source, destination: address(), now: SystemTime::now() };
    let permit = async || daemon.admit(&request).await.unwrap_or_else(|why| panic!("{}", why.reason()));
    // Its loopback's, also where the port is a page's; and a port that is none's.
    for to in [listener, open, "10.0.0.9:22".parse().unwrap()] {
        let refused = daemon.dial_app(permit().await, to, source).await.unwrap_err();
        assert_eq!(refused.reason(), "not_this_pod", "{to}");
    }
    let (pod, _) = start(&shared, "cart");
    let refused = pod.admit(&request).await.err().map(|why| why.reason());
    assert_eq!(refused, Some("unknown_workload"), "a pod is found by its addresses alone");
}

/// Begins a minute before 18:00 with a policy that allows from 08:00 to 18:00; after ten seconds the clock is set
/// forward by `skew`. How long a connection lives.
async fn life(action: Action, skew: Duration) -> Duration {
    let (mut writer, reader) = mesh::channel();
    let shared = shared_with(reader);
    let (cart, _) = start(&shared, "cart");
    let workload = Workload {
        uid: "w".into(),
        name: "cart".into(),
        namespace: "shop".into(),
        addresses: vec![address().ip()],
        ..Workload::default()
    };
    let times = vec![TimeRange::new(8 * 60, 18 * 60).unwrap()];
    // An ALLOW of the window, or a DENY of what is without it.
    let fields = match action {
        Action::Allow => Match { times, ..Match::default() },
        _ => Match { not_times: times, ..Match::default() },
    };
    let groups = vec![Group { rule: 0, clauses: vec![Clause { matches: vec![fields] }] }];
    let key = NamespacedName::new("shop", "office");
    let policies = vec![Policy::new(key, Scope::Namespace, action, groups)];
    writer.replace(mesh::State { workloads: vec![workload], policies, ..mesh::State::default() });

    let (opened, set) = (Instant::now(), AtomicU64::new(0));
    let clock =
        || UNIX_EPOCH + Duration::from_secs(17 * 3600 + 59 * 60 + set.load(Ordering::Relaxed)) + opened.elapsed();
    let arrived = cart.arrived().register(Connection::new(facts(), opened, Arc::new(Meter::default())));
    let stop = CancellationToken::new();
    let hand = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        set.store(skew.as_secs(), Ordering::Relaxed);
        arrived.ended().await.reason()
    };
    tokio::select! {
        () = revoke::follow(&shared, stop.clone(), clock) => panic!("nobody stopped it"),
        reason = hand => assert_eq!(reason, "policy_changed"),
        () = tokio::time::sleep(Duration::from_secs(3600)) => panic!("it lives on"),
    }
    opened.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_window_that_closes_ends_what_it_allowed() {
    for action in [Action::Allow, Action::Deny] {
        let lived = life(action, Duration::ZERO).await;
        assert!((Duration::from_secs(60)..Duration::from_millis(60_100)).contains(&lived), "{lived:?}");
        // Somebody set the clock to the evening: seen when the sleep ends.
        let lived = life(action, Duration::from_secs(4 * 3600)).await;
        assert!((Duration::from_secs(10)..Duration::from_millis(60_100)).contains(&lived), "{lived:?}");
        // Set forward to eleven minutes before the next day's end: the window is open then, too, and closes by that clock.
        let lived = life(action, Duration::from_secs(23 * 3600 + 3000)).await;
        assert!((Duration::from_secs(600)..Duration::from_millis(660_100)).contains(&lived), "{lived:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_name_ends_nothing_that_lives_and_a_policy_does() {
    let (mut writer, reader) = mesh::channel();
    let shared = shared_with(reader);
    let (cart, _) = start(&shared, "cart");
    writer.apply(cart_with(&[]));
    let arrived = cart.arrived().register(Connection::new(facts(), Instant::now(), Arc::new(Meter::default())));
    let hand = async {
        let breath = || tokio::time::sleep(Duration::from_secs(1));
        for names in [&["late"][..], &["converted_peer_authentication_x"], &["late", "deny"]] {
            breath().await;
            writer.apply(cart_with(names));
        }
        breath().await;
        writer.policies_synced();
        breath().await;
        assert!(arrived.why().is_none(), "the answer was never known");
        // It says no, whatever else has not arrived.
        let always = Group { rule: 0, clauses: Vec::new() };
        let deny = Policy::new(NamespacedName::new("shop", "deny"), Scope::Workload, Action::Deny, vec![always]);
        writer.apply(mesh::Changes { policies: vec![deny], ..mesh::Changes::default() });
        arrived.ended().await.reason()
    };
    tokio::select! {
        () = revoke::follow(&shared, CancellationToken::new(), SystemTime::now) => panic!("nobody stopped it"),
        reason = hand => assert_eq!(reason, "policy_changed"),
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("it lives on"),
    }
}

/// The record of the pod `cart`, which names these policies.
fn cart_with(policies: &[&str]) -> mesh::Changes {
    let record = Workload {
        uid: "w".into(),
        name: "cart".into(),
        namespace: "shop".into(),
        addresses: vec![address().ip()],
        policies: policies.iter().map(|name| NamespacedName::new("shop", *name)).collect(),
        ..Workload::default()
    };
    mesh::Changes { workloads: vec![record], ..mesh::Changes::default() }
}

/// A DENY of its namespace that fires, or never does.
fn deny(name: &str, fires: bool) -> mesh::Changes {
    let groups = fires.then(|| Group { rule: 0, clauses: Vec::new() }).into_iter().collect();
    let policy = Policy::new(NamespacedName::new("shop", name), Scope::Namespace, Action::Deny, groups);
    mesh::Changes { policies: vec![policy], ..mesh::Changes::default() }
}

/// Whether a peer is let in, or why not, and after how many seconds.
async fn judged(pod: &PodProxy, peer: Option<&Identity>) -> (Result<(), Failure>, u64) {
    let (began, source) = (Instant::now(), "10.0.0.2".parse().unwrap());
    let request = Request { peer, foreign: false, source, destination: address(), now: SystemTime::now() };
    let judged = pod.admit(&request).await.map(drop);
    (judged, began.elapsed().as_secs())
}

/// The reason, in place of the failure.
fn why((judged, after): (Result<(), Failure>, u64)) -> (Option<&'static str>, u64) {
    (judged.err().map(|failure| failure.reason()), after)
}

#[tokio::test(start_paused = true)]
async fn nobody_is_let_in_before_the_policies_are_known() {
    let till = Identity::new("cluster.local", "shop", "till");
    for peer in [None, Some(&till)] {
        for denied in [false, true] {
            let (mut writer, reader) = mesh::channel();
            let shared = shared_with(reader);
            let (cart, _) = start(&shared, "cart");
            assert_eq!(why(judged(&cart, peer).await), (Some("unknown_workload"), 2));
            // The pod is known, and what applies by its scope may be on its way: nobody names it.
            writer.apply(cart_with(&[]));
            let (refused, after) = judged(&cart, peer).await;
            let refused = refused.unwrap_err();
            assert_eq!((refused.reason(), refused.status(), after), ("no_policies", 503, 2));
            // Some of them are not all of them.
            writer.apply(deny("other", false));
            assert_eq!(why(judged(&cart, peer).await), (Some("no_policies"), 2));
            let rest = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                writer.apply(deny("late", denied));
                writer.policies_synced();
            };
            let (found, ()) = tokio::join!(judged(&cart, peer), rest);
            assert_eq!(why(found), (denied.then_some("policy"), 1), "who waits is woken");
            assert_eq!(why(judged(&cart, peer).await), (denied.then_some("policy"), 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_the_pod_names_is_waited_for_and_then_missing() {
    let till = Identity::new("cluster.local", "shop", "till");
    let (mut writer, reader) = mesh::channel();
    let shared = shared_with(reader);
    let (cart, _) = start(&shared, "cart");
    writer.policies_synced();
    writer.apply(cart_with(&["late"]));
    for peer in [None, Some(&till)] {
        let (refused, after) = judged(&cart, peer).await;
        let refused = refused.unwrap_err();
        assert_eq!((refused.reason(), refused.status(), after), ("policy", 401, 2));
        assert_eq!(refused.policy().as_deref(), Some("shop/late"));
        let Failure::Denied(denial) = &refused else { panic!("{refused}") };
        assert_eq!(denial.reason(), authz::Reason::MissingPolicy);
    }
    let comes = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        writer.apply(deny("late", false));
    };
    let (found, ()) = tokio::join!(judged(&cart, None), comes);
    assert_eq!(why(found), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn a_converted_peer_authentication_that_never_comes_refuses_peers_without_identity_alone() {
    let till = Identity::new("cluster.local", "shop", "till");
    let (mut writer, reader) = mesh::channel();
    let shared = shared_with(reader);
    let (cart, _) = start(&shared, "cart");
    writer.apply(cart_with(&["converted_peer_authentication_x"]));
    assert_eq!(why(judged(&cart, Some(&till)).await), (Some("no_policies"), 2), "the first sync is on its way");
    writer.policies_synced();
    assert_eq!(why(judged(&cart, Some(&till)).await), (None, 0));
    let (refused, after) = judged(&cart, None).await;
    let refused = refused.unwrap_err();
    assert_eq!((refused.reason(), after), ("policy", 2));
    assert_eq!(refused.policy().as_deref(), Some("shop/converted_peer_authentication_x"));
}

#[tokio::test]
async fn peers_that_never_finish_their_handshake_leave_room_for_the_pods_own_connections() {
    use tokio::io::AsyncReadExt;
    let shared = shared();
    let (pod, hbone) = start(&shared, "cart");
    let limit = shared.config.connections_per_pod;
    // Nobody has a certificate here, so every one that has a place waits.
    let mut stalled = Vec::new();
    for _ in 0..2 * limit {
        stalled.push(stall(hbone).await);
    }
    // Those without a place are reset at once.
    let refused = match stalled.pop().unwrap() {
        Ok(mut last) => tokio::time::timeout(Duration::from_secs(5), last.read(&mut [0; 1])).await.unwrap().map(drop),
        Err(error) => Err(error),
    };
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    let settled = async {
        while pod.tasks.len() > handshakes(limit) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), settled).await.unwrap();
    assert_eq!(pod.tasks.len(), handshakes(limit));
}

#[tokio::test]
async fn a_connection_whose_tunnel_is_revoked_ends_with_that_reason() {
    let revoked = CancellationToken::new();
    let facts = Facts { revoked: Some(revoked.clone()), ..facts() };
    let connection = Connection::new(facts, Instant::now(), Arc::new(Meter::default()));
    revoked.cancel();
    let why = connection.ended().await;
    assert_eq!((why.reason(), why.flags().as_str()), ("certificate_revoked", "CERT_REVOKED"));
    assert_eq!(why.of_ended().reason(), "certificate_revoked");
    // What ended it first counts.
    let first = Connection::new(Facts { revoked: Some(revoked), ..self::facts() }, Instant::now(), Arc::default());
    first.end(Failure::Drained);
    assert_eq!(first.ended().await.reason(), "drained");
}

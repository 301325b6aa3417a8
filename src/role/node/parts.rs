//! The parts of a node, built in order and handed to their tasks.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::counted;
use super::demanded;
use super::own_listener::OwnListener;
use super::pages::{Pages, Ports};
use super::plane::{self, Plane};
use super::redirection::redirection;
use super::seen::{self, Seen};
use super::sources::{Agent, Certificates, ControlPlane, Meshed, Sources};
use super::takeover::{Predecessor, Relay};
use super::trim;
use crate::config::drop_in::DnsAddress;
use crate::config::node::{NodeSettings, RedirectBackend};
use crate::config::source::PodSource;
use crate::dns;
use crate::enroll::manager::{Manager, PodStatus, Wanted};
use crate::hbone::pool;
use crate::hbone::settings::Sizes;
use crate::identity::certs;
use crate::mesh;
use crate::proxy::budgets::Descriptors;
use crate::proxy::flows::{self, Flows};
use crate::proxy::outbound::TunnelConfig;
use crate::proxy::own;
use crate::proxy::report::Report;
use crate::proxy::revoke;
use crate::proxy::shared::{Config, LocalPods, Shared};
use crate::redirect::DAEMON_MARK;
use crate::role::strict_report::MeshSettings;
use crate::runtime::Panics;
use crate::runtime::pools::Pools;
use crate::runtime::ready::{Condition, Readiness};
use crate::runtime::shutdown::Shutdown;
use crate::runtime::supervise::{Need, Supervisor};
use crate::runtime::threads::Threads;
use crate::sys::limits;
use crate::sys::splice::PipePool;
use crate::telemetry::log::{Dropped, Levels};
use crate::telemetry::metrics::{self, Metrics};
use crate::tls::{Domains, Files, Follower, Trust};

/// Everything that a node runs.
pub(super) struct Parts {
    pub(super) shared: Arc<Shared>,
    sources: Sources,
    manager: Manager<Plane>,
    statuses: watch::Receiver<Arc<Vec<PodStatus>>>,
    certs: certs::Manager<Certificates>,
    plane: Arc<Plane>,
    trusted: Follower,
    pages: Pages,
    enrolled: Condition,
    relay: Relay,
    own: Option<OwnListener>,
}

/// Readiness while the node agent has named its pods, in Istio's words.
const AGENT: &str = "workload proxy manager";
/// Bytes of a pod's DNS cache: some 300 answers. A full node of 250 pods holds 32 MiB at most, and only what is asked for.
const DNS_CACHE: usize = 128 * 1024;

// === impl Parts ===

impl Parts {
    /// Builds everything and binds the daemon's own ports. Nothing serves yet and no pod is touched.
    pub(super) fn build(
        settings: &NodeSettings,
        pools: &Pools<Threads>,
        shutdown: &Shutdown,
        panics: &Panics,
        readiness: &Readiness,
        (dropped, levels): (Dropped, Levels),
        predecessor: Option<Predecessor>,
    ) -> anyhow::Result<Self> {
        let enrolled = readiness.condition("pods enrolled");
        let component = if settings.drop_in.is_some() { "ztunnel" } else { "culvert" };
        let budget = metrics::Config { series_budget: settings.metrics_series };
        let metrics = Metrics::of_component(budget, component, env!("CARGO_PKG_VERSION"));
        let ports = Ports::bind(settings, predecessor.is_some())?;
        let (source, signer) = Certificates::build(settings, &metrics)?;
        let on_attempt = counted::renewals(&metrics);
        let (trust, trusted) = trust(settings);
        let on_revoked = counted::revoked(&metrics);
        let config = certs::Config { on_attempt, on_revoked, trust: trust.clone(), ..certs::Config::system() };
        let (handle, certs) = certs::Manager::build(config, source);

        let (writer, reader) = mesh::channel();
        let meshed = Meshed::build(settings, writer, &metrics, readiness)?;
        let Meshed { feed, control_plane, held, wanted, policies: policy_statuses } = meshed;
        let demander = control_plane.as_ref().and_then(ControlPlane::demander);
        let demand = demander.map(|demander| demanded::on_demand(demander, reader.clone()));
        let known = control_plane.as_ref().map(ControlPlane::status);

        let (redirection, cgroup) = redirection(settings, mark(settings))?;
        let shared = Arc::new(Shared {
            config: data_path(settings),
            mesh: reader,
            demand,
            local: LocalPods::default(),
            pipes: PipePool::new(),
            descriptors: Descriptors::new(usize::try_from(limits::usage().max_files).unwrap_or(usize::MAX)),
            flows: Flows::new(
                flows::Config { window: settings.flow_window, limit: settings.flow_limit },
                tokio::time::Instant::now(),
            ),
            trust,
            report: Report { metrics: metrics.clone(), access_log: settings.log_access },
            threads: pools.threads().clone(),
            panics: panics.clone(),
            drain: shutdown.drain().clone(),
            force: shutdown.force().clone(),
        });
        let config = plane::Config {
            trust_domain: settings.trust_domain.as_str().into(),
            node: settings.node.as_str().into(),
            cluster: settings.cluster.as_str().into(),
            ipv6: settings.ipv6,
            dns_capture: settings.dns_capture,
            dns_addresses: dns_addresses(settings).into(),
            cgroup,
            reset_older: settings.reset_older_connections,
            withdraw_deadline: settings.withdraw_deadline,
            beside: settings.drop_in.as_ref().is_some_and(|drop_in| drop_in.port_reuse),
        };
        let dns = dns(settings, &shared);
        let plane = Plane::new(config, redirection.clone(), handle.clone(), Arc::clone(&shared), dns);
        let plane = Arc::new(plane.after(predecessor.as_ref().map(Predecessor::taker)));
        let on_verified = counted::verifications(&metrics);
        let (announced, asked) = watch::channel(Arc::new(Wanted::new()));
        let socket = match settings.pod_source() {
            PodSource::Agent(socket) => Some(socket),
            PodSource::Manifests(_) => None,
        };
        let wanted = if socket.is_some() { asked } else { wanted };
        let (manager, statuses) = Manager::build(Arc::clone(&plane), wanted, settings.verify_interval, on_verified);
        let agent = socket.map(|socket| {
            let named = readiness.condition(AGENT);
            let warden = *redirection.warden();
            Agent::build(socket, &settings.node, announced, statuses.clone(), warden, &metrics, named)
        });

        let own = OwnListener::build(settings, &handle, &shared, *redirection.warden(), predecessor.as_ref(), &plane);
        let seen = Seen {
            certs: handle,
            metrics: metrics.clone(),
            panics: panics.clone(),
            dropped,
            policies: policy_statuses,
            pods: statuses.clone(),
            redirection,
            shared: Arc::clone(&shared),
            node: settings.node.as_str().into(),
            control_plane: known,
            face: seen::Face::of(settings),
            mesh: MeshSettings {
                manifests: settings.manifests.clone().unwrap_or_default(),
                cluster: settings.cluster.clone(),
                trust_domain: settings.trust_domain.clone(),
                trust_domain_aliases: settings.trust_domain_aliases.clone(),
                federated: settings.trust_bundles.iter().map(|(domain, _)| domain.clone()).collect(),
                network: settings.network.clone(),
                cluster_domain: settings.cluster_domain.clone(),
                root_namespace: settings.root_namespace.clone(),
            },
        };
        let relay = Relay::new(settings, predecessor, &plane, ports.are_awaited());
        let sites = seen::sites(&Arc::new(seen), readiness, shutdown, levels);
        let sources = Sources { agent, control_plane, feed, held, signer };
        let pages = Pages::new(ports, sites, pools, panics, shutdown);
        Ok(Self { shared, sources, manager, statuses, certs, plane, trusted, pages, enrolled, relay, own })
    }

    /// Cancelled when the next process has taken over.
    pub(super) fn retired(&self) -> CancellationToken {
        self.plane.stands().retired().clone()
    }

    /// Starts the tasks. Certificates first: pods wait for them.
    pub(super) fn spawn(
        self,
        supervisor: &Supervisor,
        pools: &Pools<Threads>,
        shutdown: &Shutdown,
        readiness: &Readiness,
        stop: &CancellationToken,
    ) {
        let control = pools.control();
        let Self { shared, sources, manager, statuses, certs, plane, trusted, pages, enrolled, relay, own } = self;
        let token = stop.clone();
        supervisor.spawn(control, "trust", Need::Essential, async move {
            trusted.run(token).await;
            Ok(())
        });
        let token = stop.clone();
        supervisor.spawn(control, "certificates", Need::Essential, async move {
            certs.run(token).await;
            Ok(())
        });
        // Policy counts until the last connection has ended, so these two outlive the drain.
        let (token, mesh) = (stop.clone(), stop.clone());
        let (threads, watched) = (pools.threads().clone(), stop.clone());
        supervisor.spawn(control, "threads", Need::Useful, async move {
            threads.watch(watched).await;
            Ok(())
        });
        let (tide, of) = (stop.clone(), Arc::clone(&shared));
        supervisor.spawn(control, "memory", Need::Useful, async move {
            trim::run(of, tide).await;
            Ok(())
        });
        sources.spawn(supervisor, control, &token, shutdown.drain());
        let (asks, of) = (stop.clone(), Arc::clone(&shared));
        supervisor.spawn(control, "own records", Need::Useful, async move {
            own::run(of, asks).await;
            Ok(())
        });
        supervisor.spawn(control, "revocation", Need::Essential, async move {
            revoke::run(shared, mesh).await;
            Ok(())
        });
        pages.spawn(supervisor, control, &relay, shutdown);
        if let Some(own) = own {
            let (drain, stop) = (shutdown.drain().clone(), stop.clone());
            supervisor.spawn(control, "own listener", Need::Useful, async move {
                own.run(drain, stop).await;
                Ok(())
            });
        }
        let (token, followed) = (shutdown.drain().clone(), statuses.clone());
        supervisor.spawn(control, "take-over", Need::Useful, relay.run(followed, readiness.clone(), token));
        let (token, retired) = (shutdown.drain().clone(), plane.stands().retired().clone());
        let ended = stop.clone();
        supervisor.spawn(control, "enrolment", Need::Essential, async move {
            let held = manager.run(token.clone(), retired).await;
            // The pods outlive the drain: a pod that is dropped closes its listeners, and with them what is queued there.
            if token.is_cancelled() {
                ended.cancelled().await;
            }
            drop(held);
            Ok(())
        });
        let token = shutdown.drain().clone();
        supervisor.spawn(control, "pairing", Need::Essential, async move {
            plane.watch(token).await;
            Ok(())
        });
        let token = stop.clone();
        supervisor.spawn(control, "readiness", Need::Useful, async move {
            seen::follow(statuses, enrolled, token).await;
            Ok(())
        });
    }
}

/// Who is trusted beside the pods' own roots, and what reads it from its files.
fn trust(settings: &NodeSettings) -> (Trust, Follower) {
    let bundles = settings.trust_bundles.iter();
    let bundles: Vec<(Arc<str>, _)> = bundles.map(|(domain, path)| (domain.as_str().into(), path.clone())).collect();
    let domains = Domains {
        aliases: settings.trust_domain_aliases.iter().map(|alias| alias.as_str().into()).collect(),
        federated: bundles.iter().map(|(domain, _)| Arc::clone(domain)).collect(),
    };
    let trust = Trust::new(domains, Arc::new(std::time::SystemTime::now));
    let follower = Follower::build(&Files { crl: settings.crl_file.clone(), bundles }, &trust);
    (trust, follower)
}

fn mark(settings: &NodeSettings) -> u32 {
    settings.drop_in.as_ref().and_then(|drop_in| drop_in.packet_mark).unwrap_or(DAEMON_MARK)
}

/// Where a pod's name server listens. Rules of ours lead questions of both families to loopback.
fn dns_addresses(settings: &NodeSettings) -> Vec<SocketAddr> {
    let told = settings.drop_in.as_ref().map_or_else(DnsAddress::default, |drop_in| drop_in.dns_address);
    match settings.redirect_backend {
        RedirectBackend::Agent => told.addresses(),
        _ => DnsAddress::Loopback(told.port()).addresses(),
    }
}

fn data_path(settings: &NodeSettings) -> Config {
    let pool =
        pool::Config { idle: settings.pool_idle, max_streams: settings.pool_streams.get(), ..pool::Config::default() };
    Config {
        network: settings.network.as_str().into(),
        same_node_lane: settings.same_node_lane,
        policy_wait: settings.policy_wait,
        connect_timeout: settings.connect_timeout,
        half_open: Some(settings.half_open_timeout).filter(|limit| !limit.is_zero()),
        mark: mark(settings),
        connections_per_pod: settings.max_connections_per_pod.get(),
        handshakes_per_second: u32::try_from(settings.max_handshakes_per_pod.get()).unwrap_or(u32::MAX),
        tunnels: TunnelConfig {
            pool,
            window_budget: usize::try_from(settings.window_budget).unwrap_or(usize::MAX),
            sizes: settings.drop_in.as_ref().map_or_else(Sizes::default, |drop_in| drop_in.http2),
        },
    }
}

/// What the DNS proxies of all pods share, made of what the data path has.
fn dns(settings: &NodeSettings, shared: &Shared) -> Arc<dns::Shared> {
    let Shared { config, mesh, report, panics, drain, force, .. } = shared;
    Arc::new(dns::Shared {
        config: dns::Config {
            network: Arc::clone(&config.network),
            cluster_domain: settings.cluster_domain.as_str().into(),
            mark: config.mark,
            cache: DNS_CACHE,
        },
        mesh: mesh.clone(),
        servers: dns::Servers::new("/etc/resolv.conf"),
        metrics: report.metrics.clone(),
        demand: shared.demand.as_ref().map(demanded::names),
        panics: panics.clone(),
        drain: drain.clone(),
        force: force.clone(),
    })
}

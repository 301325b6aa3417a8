//! The parts of a control plane, built in order and handed to their tasks.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::files::Files;
use super::seen::{self, Seen};
use super::server_certificate::ServerCertificate;
use crate::admin;
use crate::ca::authenticate::TokenFile;
use crate::ca::reload::Reloader;
use crate::ca::service::{Certificates, Placement};
use crate::config::control::ControlSettings;
use crate::control::index::Index;
use crate::control::project;
use crate::grpc::server::{Config, Router, Server, Service};
use crate::role::manifests::{Loaded, Manifests};
use crate::role::signer::Signer;
use crate::runtime::Panics;
use crate::runtime::pools::{Pools, Workers};
use crate::runtime::ready::Readiness;
use crate::runtime::shutdown::Shutdown;
use crate::runtime::supervise::{Need, Supervisor};
use crate::runtime::tasks::Tasks;
use crate::sys::socket;
use crate::telemetry::log::Dropped;
use crate::telemetry::metrics::{self, Metrics};
use crate::xds::server::{self as xds, Discovery, Inbox, Resources, Store};

/// Connections beside those that clients keep open: certificates are asked for on their own ones.
const SHORT_CONNECTIONS: usize = 2_000;
/// Tasks of one stream: what the library runs, and ours.
const TASKS_A_CLIENT: usize = 4;

/// Everything that a control plane runs.
pub(super) struct Parts {
    manifests: Manifests,
    inbox: Inbox,
    placement: watch::Sender<Arc<Placement>>,
    store: Store,
    files: Files,
    certificate: ServerCertificate,
    server: Server,
    pages: [(&'static str, TcpListener, Arc<dyn admin::Site>, admin::Places); 3],
}

// === impl Parts ===

impl Parts {
    /// Builds everything, loads everything and binds every port. Nothing serves yet.
    pub(super) fn build(
        settings: &ControlSettings,
        pools: &Pools<Workers>,
        shutdown: &Shutdown,
        panics: &Panics,
        readiness: &Readiness,
        dropped: Dropped,
    ) -> anyhow::Result<Self> {
        let metrics =
            Metrics::new(metrics::Config { series_budget: settings.metrics_series }, env!("CARGO_PKG_VERSION"));
        let listener = bind("listen-address", settings.listen_address)?;
        let listeners = [
            ("admin", bind("admin-address", settings.admin_address)?),
            ("metrics", bind("metrics-address", settings.metrics_address)?),
            ("readiness", bind("ready-address", settings.ready_address)?),
        ];
        let (reloader, authority) = Reloader::open(&settings.ca_dir, &settings.trust_domain)?;
        let (token_file, tokens) = TokenFile::open(&settings.tokens)?;
        let (certificate, acceptor) = ServerCertificate::issue(
            settings.server_names.clone(),
            settings.leaf_ttl,
            authority.clone(),
            SystemTime::now(),
        )?;

        let (manifests, loaded) = Manifests::start(&settings.manifests, projection(settings), metrics.clone())?;
        let statuses = manifests.statuses();
        let (placement, placed) = watch::channel(Arc::new(placement(&loaded.index)));
        let store = Store::new(&resources(loaded));

        let limit = settings.clients.get();
        let tasks = |name: &str, limit: usize| {
            Tasks::new(name, limit, pools.workers().clone(), panics.clone(), shutdown.drain(), shutdown.force())
        };
        let streams = tasks("streams", (limit + SHORT_CONNECTIONS) * TASKS_A_CLIENT);
        let discovery = Discovery::new(store.clone(), streams.clone(), xds::Config { clients: limit }, metrics.clone());
        let certificates = Certificates::new(authority.clone(), placed, settings.leaf_ttl, metrics.clone());
        let services: Vec<Box<dyn Service>> = vec![Box::new(discovery.clone()), Box::new(certificates)];
        let server = Server {
            listener,
            acceptor,
            router: Arc::new(Router::new(services, Arc::new(tokens), metrics.clone())),
            connections: tasks("connections", limit + SHORT_CONNECTIONS),
            streams,
            config: Config { age: settings.connection_age },
            metrics: metrics.clone(),
        };

        let seen = Arc::new(Seen {
            authority,
            certificate: certificate.reader(),
            discovery,
            dropped,
            metrics: metrics.clone(),
            panics: panics.clone(),
            statuses,
            store: store.clone(),
        });
        readiness.condition("manifests loaded").meet();
        let sites = seen::sites(&seen, readiness, shutdown);
        let mut pages = listeners.into_iter().zip(sites).map(|((name, listener), site)| {
            // Clients of one site must not take the places of another's: a probe has to be answered.
            let places = admin::places(pools.control().clone(), panics.clone(), shutdown.force(), shutdown.force());
            (name, listener, site, places)
        });
        let mut page = || pages.next().context("there is a site for each listener");
        let pages = [page()?, page()?, page()?];
        let files = Files { signer: Signer { reloader, metrics }, tokens: token_file };
        Ok(Self { manifests, inbox: Inbox::default(), placement, store, files, certificate, server, pages })
    }

    /// Where clients are served.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.server.listener.local_addr()
    }

    /// The clients' connections, to be drained.
    pub(super) fn connections(&self) -> Tasks {
        self.server.connections.clone()
    }

    /// Starts the tasks.
    pub(super) fn spawn(self, supervisor: &Supervisor, pools: &Pools<Workers>, stop: &CancellationToken) {
        let control = pools.control();
        let Self { manifests, inbox, placement: placed, store, files, certificate, server, pages } = self;
        let (token, put) = (stop.clone(), inbox.clone());
        supervisor.spawn(control, "manifests", Need::Essential, async move {
            let apply = |loaded: Loaded| {
                // The CA first: a node that is told of a pod asks for its certificate at once.
                placed.send_replace(Arc::new(placement(&loaded.index)));
                put.put(resources(loaded));
            };
            manifests.run(token, apply).await;
            Ok(())
        });
        let token = stop.clone();
        supervisor.spawn(control, "publish", Need::Essential, async move {
            store.follow(inbox, token).await;
            Ok(())
        });
        let token = stop.clone();
        supervisor.spawn(control, "files", Need::Essential, async move {
            files.run(token).await;
            Ok(())
        });
        let token = stop.clone();
        supervisor.spawn(control, "server certificate", Need::Essential, async move {
            certificate.run(token).await;
            Ok(())
        });
        supervisor.spawn(pools.workers(), "server", Need::Essential, async move { Ok(server.run().await?) });
        for (name, listener, site, places) in pages {
            supervisor.spawn(
                control,
                name,
                Need::Essential,
                async move { Ok(admin::serve(listener, site, places).await?) },
            );
        }
    }
}

fn bind(setting: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    socket::listen_both(address).with_context(|| {
        format!("cannot listen on {address}: end what holds the port, or choose another with --{setting}")
    })
}

fn projection(settings: &ControlSettings) -> project::Settings {
    project::Settings {
        cluster: settings.cluster.as_str().into(),
        trust_domain: settings.trust_domain.as_str().into(),
        federated: Vec::new(),
        trust_domain_aliases: settings.trust_domain_aliases.iter().map(|alias| alias.as_str().into()).collect(),
        network: settings.network.as_str().into(),
        cluster_domain: settings.cluster_domain.as_str().into(),
        root_namespace: settings.root_namespace.as_str().into(),
    }
}

/// Who runs where, as far as a node may ask for certificates.
pub(super) fn placement(index: &Index) -> Placement {
    let counts = index.pods().filter(|pod| !pod.finished && !pod.host_network && !pod.node.is_empty());
    counts
        .map(|pod| (Arc::clone(&pod.node), (Arc::clone(&pod.key.namespace), Arc::clone(&pod.service_account))))
        .collect()
}

fn resources(Loaded { projection, .. }: Loaded) -> Resources {
    let (workloads, services, policies) = (projection.workloads, projection.services, projection.policies);
    Resources { workloads, services, policies }
}

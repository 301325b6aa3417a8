//! What a control plane shows of itself: pages, gauges, readiness.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::admin::{MetricsSite, Page, Pages, ReadySite, ReadyWords, Site};
use crate::ca::Authority;
use crate::control::project::Status;
use crate::identity::rotate::Lifetime;
use crate::role::statuses;
use crate::runtime::Panics;
use crate::runtime::ready::Readiness;
use crate::runtime::shutdown::Shutdown;
use crate::telemetry::log::Dropped;
use crate::telemetry::metrics::{Metrics, table};
use crate::xds::server::{ClientReport, Discovery, Store, Type};

/// The parts that are looked at. Nothing is copied until somebody asks.
pub(super) struct Seen {
    pub(super) authority: watch::Receiver<Authority>,
    /// The server's own.
    pub(super) certificate: watch::Receiver<Lifetime>,
    pub(super) discovery: Discovery,
    pub(super) dropped: Dropped,
    pub(super) metrics: Metrics,
    pub(super) panics: Panics,
    pub(super) statuses: watch::Receiver<Arc<Vec<Status>>>,
    pub(super) store: Store,
}

/// The sites in the order admin, metrics, readiness.
pub(super) fn sites(seen: &Arc<Seen>, readiness: &Readiness, shutdown: &Shutdown) -> [Arc<dyn Site>; 3] {
    let page = |name, about, dump: fn(&Seen) -> Value| {
        let seen = Arc::clone(seen);
        Page::new(name, about, move || dump(&seen))
    };
    let pages = vec![
        page("ca", "the signer, the roots and the server's own certificate, with their ends", Seen::ca),
        page("clients", "who is connected, and what each was sent", Seen::clients),
        page("mesh", "how many resources are served, and their version", Seen::mesh),
        page("statuses", "what is enforced of each policy object, and what is not", |seen| {
            statuses::page(&seen.statuses.borrow())
        }),
    ];
    let scraped = Arc::clone(seen);
    seen.metrics.on_scrape(move |metrics| scraped.gauges(metrics));
    [
        Arc::new(Pages::new(env!("CARGO_PKG_VERSION"), pages, Vec::new())),
        Arc::new(MetricsSite::new(seen.metrics.clone())),
        Arc::new(ReadySite { readiness: readiness.clone(), shutdown: shutdown.clone(), words: ReadyWords::Own }),
    ]
}

// === impl Seen ===

impl Seen {
    fn gauges(&self, metrics: &Metrics) {
        let now = SystemTime::now();
        for (kind, at) in self.ends() {
            metrics.gauge(table::CERTIFICATE_EXPIRY, [kind, ""]).set(statuses::seconds_until(at, now));
        }
        let snapshot = self.store.snapshot();
        for kind in Type::ALL {
            let count = i64::try_from(snapshot.len(kind)).unwrap_or(i64::MAX);
            metrics.gauge(table::XDS_RESOURCES, [kind.as_str()]).set(count);
        }
        metrics.counter(table::TASK_PANICS, []).raise_to(self.panics.count());
        metrics.counter(table::LOG_LINES_DROPPED, []).raise_to(self.dropped.count());
        metrics.sweep(tokio::time::Instant::now());
    }

    /// When what ends.
    fn ends(&self) -> [(&'static str, SystemTime); 3] {
        let authority = self.authority.borrow();
        [
            ("root", authority.roots_not_after()),
            ("signer", authority.not_after()),
            ("server", self.certificate.borrow().not_after),
        ]
    }

    fn ca(&self) -> Value {
        let now = SystemTime::now();
        let ends: serde_json::Map<_, _> = self
            .ends()
            .map(|(kind, at)| (kind.to_owned(), json!(statuses::seconds_until(at, now))))
            .into_iter()
            .collect();
        let authority = self.authority.borrow();
        json!({
            "trustDomain": &**authority.trust_domain(),
            "roots": authority.roots().len(),
            "intermediates": authority.intermediates().len(),
            "secondsToExpiry": ends,
        })
    }

    fn clients(&self) -> Value {
        let one = |client: &ClientReport| {
            json!({
                "caller": &*client.caller.name,
                "node": client.caller.on_node().map(|node| node.to_string()),
                "connectedSeconds": client.seconds,
                "responses": client.responses,
                "refused": client.refused,
            })
        };
        self.discovery.clients().iter().map(one).collect()
    }

    fn mesh(&self) -> Value {
        let snapshot = self.store.snapshot();
        json!({
            "version": snapshot.number(),
            "addresses": snapshot.len(Type::Address),
            "workloads": snapshot.len(Type::Workload),
            "policies": snapshot.len(Type::Authorization),
        })
    }
}

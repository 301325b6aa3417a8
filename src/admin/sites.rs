//! What a scraper and a probe read.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::request::Parts;
use tokio::time::Instant;

use super::body::Body;
use super::coding::{Spending, choose};
use super::server::{Answer, Site};
use crate::runtime::ready::Readiness;
use crate::runtime::shutdown::{Phase, Shutdown};
use crate::telemetry::metrics::{Exposition, Metrics};

/// `/metrics` and `/stats/prometheus`, at `metrics-address`.
#[derive(Clone, Debug)]
pub struct MetricsSite {
    metrics: Metrics,
    spending: Arc<Spending>,
}

/// What ztunnel's readiness names: its data path, the mesh, and the pods of its node, each of which may be ours by another
/// name. (`dns proxy`, its fourth, is pending here at no moment at which the data path is not.)
const PROXY: &str = "proxy";
const STATE: &str = "state manager";
const PODS: &str = "workload proxy manager";

/// How `/healthz/ready` speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadyWords {
    /// As ztunnel: 500 `not ready, pending: a, b`, with its names alone.
    Istio,
    /// 503 with the phase, and each reason.
    #[default]
    Own,
}

/// `/healthz/ready`, at `ready-address`: 200 when every condition is met and the process serves, else 503 with
/// the phase and what is pending. `/ready` is the same page, and always in our own words.
#[derive(Clone, Debug)]
pub struct ReadySite {
    pub readiness: Readiness,
    pub shutdown: Shutdown,
    pub words: ReadyWords,
}

// === impl MetricsSite ===

impl MetricsSite {
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, spending: Arc::new(Spending::new(Instant::now())) }
    }
}

impl Site for MetricsSite {
    fn answer(&self, request: &Parts) -> Option<Answer> {
        if !matches!(request.uri.path(), "/metrics" | "/stats/prometheus") {
            return None;
        }
        let accept = request.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let exposition = Exposition::from_accept(accept);
        let accepted = request.headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let text = self.metrics.render(exposition);
        let started = Instant::now();
        let coding = choose(accepted).filter(|_| self.spending.allows(started));
        let packed = coding.and_then(|coding| Some((coding.pack(text.as_bytes()).ok()?, coding.name())));
        let answer = |body: Body| Answer::new(StatusCode::OK, exposition.content_type(), body);
        Some(match packed {
            Some((packed, name)) => {
                let now = Instant::now();
                self.spending.spend(now - started, now);
                Answer { encoding: Some(name), ..answer(packed.into()) }
            }
            None => answer(text.into()),
        })
    }
}

// === impl ReadySite ===

impl Site for ReadySite {
    fn answer(&self, request: &Parts) -> Option<Answer> {
        if !matches!(request.uri.path(), "/healthz/ready" | "/ready") {
            return None;
        }
        let phase = self.shutdown.phase();
        if self.words == ReadyWords::Istio && request.uri.path() == "/healthz/ready" {
            return Some(self.as_istio(phase));
        }
        let pending = self.readiness.pending();
        Some(match (phase, pending.as_slice()) {
            (Phase::Ready, []) => Answer::text(StatusCode::OK, "ready\n"),
            (_, []) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {phase}\n")),
            (_, names) => {
                let names = names.join(", ");
                Answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {phase}, pending: {names}\n"))
            }
        })
    }
}

impl ReadySite {
    /// Only with names that ztunnel's own page can have. Starting and draining are the data path's.
    fn as_istio(&self, phase: Phase) -> Answer {
        let pending = self.readiness.pending_names().into_iter();
        let mut names: BTreeSet<_> = pending.map(|name| if name == STATE { STATE } else { PODS }).collect();
        if phase != Phase::Ready {
            names.insert(PROXY);
        }
        if names.is_empty() {
            return Answer::text(StatusCode::OK, "ready\n");
        }
        let names: Vec<_> = names.into_iter().collect();
        Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("not ready, pending: {}\n", names.join(", ")))
    }
}

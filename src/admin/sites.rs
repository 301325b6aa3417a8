//! What a scraper and a probe read.

use http::StatusCode;
use http::header::ACCEPT;
use http::request::Parts;

use super::server::{Answer, Site};
use crate::runtime::ready::Readiness;
use crate::runtime::shutdown::{Phase, Shutdown};
use crate::telemetry::metrics::{Exposition, Metrics};

/// `/metrics` and `/stats/prometheus`, at `metrics-address`.
#[derive(Clone, Debug)]
pub struct MetricsSite(pub Metrics);

/// `/healthz/ready`, at `ready-address`: 200 when every condition is met and the process serves, else 503 with
/// the phase and what is pending. `/ready` is the same page.
#[derive(Clone, Debug)]
pub struct ReadySite {
    pub readiness: Readiness,
    pub shutdown: Shutdown,
}

// === impl MetricsSite ===

impl Site for MetricsSite {
    fn answer(&self, request: &Parts) -> Option<Answer> {
        if !matches!(request.uri.path(), "/metrics" | "/stats/prometheus") {
            return None;
        }
        let accept = request.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let exposition = Exposition::from_accept(accept);
        let body = self.0.render(exposition);
        Some(Answer { status: StatusCode::OK, content_type: exposition.content_type(), body })
    }
}

// === impl ReadySite ===

impl Site for ReadySite {
    fn answer(&self, request: &Parts) -> Option<Answer> {
        if !matches!(request.uri.path(), "/healthz/ready" | "/ready") {
            return None;
        }
        let phase = self.shutdown.phase();
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

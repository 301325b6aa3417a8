//! What a scraper and a probe read.

use std::io::Write as _;

use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http::request::Parts;

use super::body::Body;
use super::server::{Answer, Site};
use crate::runtime::ready::Readiness;
use crate::runtime::shutdown::{Phase, Shutdown};
use crate::telemetry::metrics::{Exposition, Metrics};

/// `/metrics` and `/stats/prometheus`, at `metrics-address`.
#[derive(Clone, Debug)]
pub struct MetricsSite(pub Metrics);

/// How `/healthz/ready` speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadyWords {
    /// As ztunnel: 500 `not ready, pending: a, b`, with names alone.
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

impl Site for MetricsSite {
    fn answer(&self, request: &Parts) -> Option<Answer> {
        if !matches!(request.uri.path(), "/metrics" | "/stats/prometheus") {
            return None;
        }
        let accept = request.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let exposition = Exposition::from_accept(accept);
        let accepted = request.headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        let gzipped = accepted.flat_map(|list| list.split(',')).any(takes_gzip);
        let text = self.0.render(exposition);
        let packed = if gzipped { gzip(text.as_bytes()).ok() } else { None };
        let answer = |body: Body| Answer::new(StatusCode::OK, exposition.content_type(), body);
        Some(match packed {
            Some(packed) => Answer { encoding: Some("gzip"), ..answer(packed.into()) },
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
    /// Starting and draining are no task's: they have names of their own.
    fn as_istio(&self, phase: Phase) -> Answer {
        let mut names: Vec<_> = self.readiness.pending_names();
        match phase {
            Phase::Starting => names.push("start"),
            Phase::Ready => {}
            Phase::Draining | Phase::Forcing | Phase::Ended => names.push("shutdown"),
        }
        match names.as_slice() {
            [] => Answer::text(StatusCode::OK, "ready\n"),
            names => {
                let text = format!("not ready, pending: {}\n", names.join(", "));
                Answer::text(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
        }
    }
}

/// One entry of `accept-encoding` (RFC 9110 section 12.5.3): gzip, and not with a weight of 0.
fn takes_gzip(entry: &str) -> bool {
    let mut parts = entry.split(';').map(str::trim);
    let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
    let refused = parts.any(|part| part.strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0)));
    named && !refused
}

/// A scrape is repetitive: the fastest level takes nine tenths off.
fn gzip(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text)?;
    packed.finish()
}

//! The reference page of the metrics.

use std::fmt::Write as _;

use super::table::{self, Kind};

/// The text of docs/reference/metrics.md.
pub fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\nWritten from `src/telemetry/metrics/table.rs`; `make docs` writes it again.\n\n\
         Scraped from `metrics-address` at `/metrics` and `/stats/prometheus`, as OpenMetrics when `Accept` asks \
         for it and as Prometheus text otherwise. A family without series is left out. A metric has at most \
         `metrics-series` series: what goes beyond is counted in one series whose labels are all `overflow`. A \
         series that nobody uses and that has not changed for an hour is forgotten; the sums of a pair of workloads stay as \
         long as it has a live connection.\n\n\
         `connection_security_policy` is `mutual_tls`, `node_local` (both pods on this node: identities known, \
         nothing encrypted because nothing left the kernel) or `unknown` (plaintext). `response_flags` is `-`, \
         `CERT_REVOKED`, `CONNECT`, `DENY`, `H2_HANDSHAKE_FAILURE`, `IDENTITY_ERROR`, `NETWORK_POLICY` or \
         `TLS_FAILURE`.\n\n| metric | type | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for metric in table::ALL {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let labels = match metric.labels {
            [] => "none".to_owned(),
            labels if labels == table::TRAFFIC => "the traffic labels".to_owned(),
            labels => labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
        };
        // Writing to a String does not fail.
        writeln!(page, "| `{}` | {kind} | {labels} | {} |", metric.name, metric.help).ok();
    }
    page.push_str("\n## The traffic labels\n\nIn this order; what is not known is `unknown`.\n\n");
    for label in table::TRAFFIC {
        writeln!(page, "- `{label}`").ok();
    }
    page
}

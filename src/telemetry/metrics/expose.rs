//! The text that a scraper reads.

use std::fmt::{self, Write as _};
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::family::Series;
use super::registry::Metrics;
use super::table::{self, Description, Kind};

/// The two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    OpenMetrics,
    Prometheus,
}

#[derive(Debug)]
struct All(Metrics);

/// Names and values side by side.
struct Labels<'a>(&'static Description, &'a Series);

// === impl Exposition ===

impl Exposition {
    /// What the `Accept` header asks for.
    pub fn from_accept(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text;charset=utf-8;version=1.0.0",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

// === impl Metrics ===

impl Metrics {
    /// Every family that has a series, in the table's order.
    pub fn render(&self, exposition: Exposition) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(All(self.clone())));
        let mut text = String::new();
        // Writing to a String does not fail, and nothing of ours does.
        encode(&mut text, &registry).ok();
        match exposition {
            Exposition::OpenMetrics => text,
            Exposition::Prometheus => prometheus(&text),
        }
    }
}

/// OpenMetrics names a counter without `_total` in its description; the older format names it as in its samples.
fn prometheus(openmetrics: &str) -> String {
    let counters: Vec<_> = openmetrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ").and_then(|rest| rest.strip_suffix(" counter")))
        .collect();
    let mut text = String::with_capacity(openmetrics.len() + 64 * counters.len());
    for line in openmetrics.lines().filter(|line| *line != "# EOF") {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|start| Some((start, line.strip_prefix(start)?)));
        let renamed = described.and_then(|(start, rest)| {
            let (name, rest) = rest.split_once(' ')?;
            counters.contains(&name).then(|| format!("{start}{name}_total {rest}"))
        });
        text.push_str(renamed.as_deref().unwrap_or(line));
        text.push('\n');
    }
    text
}

impl Collector for All {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (metric, family) in self.0.families() {
            let all = family.snapshot();
            if all.is_empty() {
                continue;
            }
            let name = metric.name.strip_suffix("_total").unwrap_or(metric.name);
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut encoder = encoder.encode_descriptor(name, &help(metric), None, kind)?;
            for series in all {
                let labels = Labels(metric, &series);
                if metric.labels.is_empty() {
                    // As a family without labels it would be written with empty braces.
                    sample(&mut encoder, metric.kind, &series)?;
                } else {
                    sample(&mut encoder.encode_family(&labels)?, metric.kind, &series)?;
                }
            }
        }
        Ok(())
    }
}

/// Families whose names and labels Istio promises to keep; every other says in its help that it is none.
fn help(metric: &Description) -> String {
    const STABLE: [&str; 5] = [
        "istio_build",
        "istio_tcp_connections_opened_total",
        "istio_tcp_connections_closed_total",
        "istio_tcp_received_bytes_total",
        "istio_tcp_sent_bytes_total",
    ];
    let stable = ["process_", "tokio_"].iter().any(|start| metric.name.starts_with(start));
    if stable || STABLE.contains(&metric.name) || metric.help.contains("unstable") {
        return format!("{}.", metric.help);
    }
    format!("{} (unstable).", metric.help)
}

fn sample(encoder: &mut MetricEncoder<'_>, kind: Kind, series: &Series) -> fmt::Result {
    let value = series.value.load(Ordering::Relaxed);
    match kind {
        Kind::Counter => encoder.encode_counter::<[(&str, &str); 0], _, u64>(&value, None),
        Kind::Gauge => encoder.encode_gauge(&value.cast_signed()),
        Kind::Histogram => {
            let Some(spread) = series.spread.get() else { return Ok(()) };
            let bounds = table::BUCKETS.into_iter().chain([f64::INFINITY]);
            let counts = spread.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
            let buckets: Vec<_> = bounds.zip(counts).collect();
            // Each is read by itself while others count: the total is what the buckets say, so that they agree.
            let count = buckets.iter().map(|(_, count)| count).sum();
            let sum = Duration::from_micros(spread.microseconds.load(Ordering::Relaxed)).as_secs_f64();
            encoder.encode_histogram::<[(&str, &str); 0]>(sum, count, &buckets, None)
        }
    }
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        let Self(metric, series) = self;
        for (name, value) in metric.labels.iter().zip(series.labels.iter()) {
            (*name, printable(value).as_ref()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// The library escapes the backslash, the quote and the line end. Other control characters have no escape in
/// either format, and a carriage return would end the line for some readers.
fn printable(value: &str) -> std::borrow::Cow<'_, str> {
    let bad = |character: char| character.is_control() && character != '\n';
    if !value.contains(bad) {
        return value.into();
    }
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        if bad(character) {
            write!(out, "%{:02X}", u32::from(character)).ok();
        } else {
            out.push(character);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Config, table};
    use super::*;

    #[test]
    fn a_histogram_is_cumulative_in_its_buckets() {
        let metrics = Metrics::new(Config { series_budget: 10 }, "test");
        let histogram = metrics.histogram(table::DNS_UPSTREAM_DURATION, ["A", "udp", "web", "v1"]);
        for milliseconds in [0, 1, 20, 20, 9000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let text = metrics.render(Exposition::Prometheus);
        let value = |start: &str| {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("istio_dns_upstream_request_duration_seconds{start}")));
            line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.to_owned()).unwrap_or_default()
        };
        assert_eq!((value("_count"), value("_sum")), ("5".into(), "9.041".into()), "{text}");
        for (bound, count) in
            [("0.0005", "1"), ("0.001", "2"), ("0.01", "2"), ("0.1", "4"), ("5.0", "4"), ("+Inf", "5")]
        {
            assert_eq!(value(&format!("_bucket{{le=\"{bound}\"")), count, "{bound}: {text}");
        }
        assert!(text.contains("# TYPE istio_dns_upstream_request_duration_seconds histogram"), "{text}");
    }

    proptest! {
        #[test]
        fn no_label_value_breaks_its_line(value in any::<String>()) {
            let metrics = Metrics::new(Config { series_budget: 10 }, "test");
            let before = metrics.render(Exposition::Prometheus).lines().count();
            metrics.counter(table::REFUSALS, ["source", &value, ""]).increment();
            let text = metrics.render(Exposition::Prometheus);
            // HELP, TYPE and the sample.
            prop_assert_eq!(text.lines().count(), before + 3, "{}", text);
            let sample = text.lines().find(|line| line.starts_with("culvert_refusals_total{")).unwrap();
            prop_assert!(!sample.chars().any(char::is_control));
            prop_assert!(sample.ends_with("\",policy=\"\"} 1"), "{}", sample);
        }
    }
}

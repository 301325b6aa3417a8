//! The text that a scraper reads.

use std::fmt::{self, Write as _};
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::family::Series;
use super::registry::Metrics;
use super::table::{Description, Kind};

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
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
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
            };
            let mut encoder = encoder.encode_descriptor(name, &format!("{}.", metric.help), None, kind)?;
            for series in all {
                let value = series.value.load(Ordering::Relaxed);
                let labels = Labels(metric, &series);
                if metric.labels.is_empty() {
                    // As a family without labels it would be written with empty braces.
                    sample(&mut encoder, metric.kind, value)?;
                } else {
                    sample(&mut encoder.encode_family(&labels)?, metric.kind, value)?;
                }
            }
        }
        Ok(())
    }
}

fn sample(encoder: &mut MetricEncoder<'_>, kind: Kind, value: u64) -> fmt::Result {
    match kind {
        Kind::Counter => encoder.encode_counter::<[(&str, &str); 0], _, u64>(&value, None),
        Kind::Gauge => encoder.encode_gauge(&value.cast_signed()),
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

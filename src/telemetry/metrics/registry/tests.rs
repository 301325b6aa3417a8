use std::collections::HashSet;
use std::time::Duration;

use super::super::{Exposition, table::Kind};
use super::*;

fn metrics() -> Metrics {
    Metrics::new(Config { series_budget: 100 }, "1.2.3")
}

#[test]
fn the_table_follows_the_naming_rules() {
    let names: HashSet<_> = table::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), table::ALL.len(), "a name is used twice");
    for metric in table::ALL {
        let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        assert!(plain(metric.name) && metric.labels.iter().all(|label| plain(label)), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        assert!(!metric.help.ends_with('.') && !metric.help.contains('\n'), "{}", metric.name);
    }
}

#[test]
fn openmetrics_text() {
    let metrics = metrics();
    metrics.counter(table::REFUSALS, ["destination", "policy_denied", "web/\"a\"\n"]).add(3);
    let state = metrics.gauge(table::PODS, ["enrolled"]);
    state.set(2);
    let text = metrics.render(Exposition::OpenMetrics);
    for line in [
        "# TYPE istio_build gauge",
        "istio_build{component=\"culvert\",tag=\"1.2.3\"} 1",
        "# HELP culvert_refusals Connections refused; policy is empty when none decided (unstable).",
        "# TYPE culvert_refusals counter",
        r#"culvert_refusals_total{reporter="destination",reason="policy_denied",policy="web/\"a\"\n"} 3"#,
        "culvert_pods{state=\"enrolled\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert!(!text.contains("culvert_certificate_renewals"), "families without series are left out");
}

#[test]
fn prometheus_text_names_counters_as_they_are_sampled() {
    let metrics = metrics();
    metrics.counter(table::CERTIFICATE_RENEWALS, ["ok"]).increment();
    let text = metrics.render(Exposition::Prometheus);
    assert!(text.contains("# TYPE culvert_certificate_renewals_total counter\n"), "{text}");
    assert!(text.contains("# HELP culvert_certificate_renewals_total Renewals"), "{text}");
    assert!(text.contains("culvert_certificate_renewals_total{result=\"ok\"} 1\n"), "{text}");
    assert!(!text.contains("# EOF"), "{text}");
}

#[test]
fn the_exposition_follows_accept() {
    let check = |accept: Option<&str>, expected| assert_eq!(Exposition::from_accept(accept), expected, "{accept:?}");
    check(None, Exposition::Prometheus);
    check(Some("*/*"), Exposition::Prometheus);
    check(Some("text/plain;version=0.0.4"), Exposition::Prometheus);
    check(Some("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), Exposition::OpenMetrics);
}

#[test]
fn sources_run_at_each_scrape_and_the_process_is_shown() {
    let metrics = metrics();
    metrics.on_scrape(|metrics| metrics.counter(table::TASK_PANICS, []).raise_to(4));
    let text = metrics.render(Exposition::Prometheus);
    assert!(text.contains("culvert_task_panics_total 4\n"), "{text}");
    let value = |name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("process_open_fds ") > 2 && value("process_max_fds ") > 2);
    assert!(value("process_resident_memory_bytes ") > 1 << 20);
}

#[test]
fn the_build_and_the_process_never_expire() {
    let metrics = metrics();
    metrics.counter(table::CERTIFICATE_RENEWALS, ["ok"]).increment();
    let start = Instant::now();
    for hours in 0..4 {
        metrics.sweep(start + Duration::from_secs(3600 * hours));
    }
    let text = metrics.render(Exposition::Prometheus);
    assert!(text.contains("istio_build{") && text.contains("process_open_fds "), "{text}");
    assert!(!text.contains("culvert_certificate_renewals"), "{text}");
}

/// The rule that Istio's own test of the node proxy's scrape has.
#[test]
fn help_says_what_is_unstable() {
    let metrics = Metrics::of_component(Config { series_budget: 10 }, "ztunnel", "1.2.3");
    metrics.counter(table::CERTIFICATE_RENEWALS, ["ok"]).increment();
    metrics.gauge(table::TCP_SOCKETS_OPEN, ["source"]).set(1);
    metrics.gauge(table::TOKIO_WORKERS, []).set(2);
    let text = metrics.render(Exposition::OpenMetrics);
    assert!(text.contains("istio_build{component=\"ztunnel\",tag=\"1.2.3\"} 1\n"), "{text}");
    for line in text.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let stable = ["istio_build ", "process_", "tokio_"].iter().any(|start| line.starts_with(start));
        assert_eq!(line.contains("unstable"), !stable, "{line}");
    }
    assert!(text.contains("# HELP tokio_num_workers ") && text.contains("# HELP istio_tcp_sockets_open "), "{text}");
}

use super::super::{Config, Exposition};
use super::*;

fn metrics() -> Metrics {
    Metrics::new(Config { series_budget: 100 }, "test")
}

fn labels() -> TrafficLabels {
    TrafficLabels {
        reporter: Reporter::Source,
        source: Peer { workload: Some("client".into()), ..Peer::default() },
        destination: Peer {
            principal: Some("spiffe://cluster.local/ns/web/sa/server".into()),
            zone: Some("z1".into()),
            ..Peer::default()
        },
        destination_service: Some("server.web.svc.cluster.local".into()),
        destination_service_namespace: Some("web".into()),
        destination_service_name: Some("server".into()),
        security: SecurityPolicy::MutualTls,
    }
}

/// The value of the only sample that begins with `name` and holds every one of `parts`.
fn sample(metrics: &Metrics, name: &str, parts: &[&str]) -> Option<i64> {
    let text = metrics.render(Exposition::Prometheus);
    let hit = |line: &&str| line.starts_with(name) && parts.iter().all(|part| line.contains(part));
    let found: Vec<_> = text.lines().filter(hit).collect();
    assert!(found.len() < 2, "{found:?}");
    found.first().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[test]
fn labels_stand_in_istios_order() {
    let metrics = metrics();
    drop(metrics.open(&labels()));
    let text = metrics.render(Exposition::OpenMetrics);
    let line = text.lines().find(|line| line.starts_with("istio_tcp_connections_opened_total{")).unwrap();
    assert_eq!(
        line,
        "istio_tcp_connections_opened_total{reporter=\"source\",source_workload=\"client\",\
         source_canonical_service=\"unknown\",source_canonical_revision=\"unknown\",\
         source_workload_namespace=\"unknown\",source_principal=\"unknown\",source_app=\"unknown\",\
         source_version=\"unknown\",source_cluster=\"unknown\",\
         destination_service=\"server.web.svc.cluster.local\",destination_service_namespace=\"web\",\
         destination_service_name=\"server\",destination_workload=\"unknown\",\
         destination_canonical_service=\"unknown\",destination_canonical_revision=\"unknown\",\
         destination_workload_namespace=\"unknown\",\
         destination_principal=\"spiffe://cluster.local/ns/web/sa/server\",destination_app=\"unknown\",\
         destination_version=\"unknown\",destination_cluster=\"unknown\",request_protocol=\"tcp\",\
         response_flags=\"-\",connection_security_policy=\"mutual_tls\",source_region=\"unknown\",\
         source_zone=\"unknown\",destination_region=\"unknown\",destination_zone=\"z1\"} 1"
    );
}

#[test]
fn bytes_are_counted_while_the_connection_lives() {
    let metrics = metrics();
    let traffic = metrics.open(&labels());
    traffic.add_received(10);
    traffic.counters().1.add(32);
    assert_eq!(sample(&metrics, "istio_tcp_received_bytes_total{", &[]), Some(10));
    assert_eq!(sample(&metrics, "istio_tcp_sent_bytes_total{", &[]), Some(32));
    assert_eq!(sample(&metrics, "istio_tcp_sockets_open{", &["source"]), Some(1));
    assert_eq!(sample(&metrics, "culvert_connections{", &["mutual_tls", "source"]), Some(1));
    assert_eq!(sample(&metrics, "istio_tcp_connections_closed_total{", &[]), Some(0));
    drop(traffic);
    assert_eq!(sample(&metrics, "istio_tcp_sockets_open{", &["source"]), Some(0));
    assert_eq!(sample(&metrics, "culvert_connections{", &["mutual_tls", "source"]), Some(0));
    assert_eq!(sample(&metrics, "istio_tcp_connections_closed_total{", &["flags=\"-\""]), Some(1));
    assert_eq!(sample(&metrics, "istio_tcp_connections_failed_total{", &[]), None);
}

#[test]
fn a_flag_counts_as_failed_and_leaves_opened_alone() {
    let metrics = metrics();
    metrics.open(&labels()).close(ResponseFlags::Deny);
    metrics.open(&labels()).close(ResponseFlags::None);
    assert_eq!(sample(&metrics, "istio_tcp_connections_opened_total{", &["flags=\"-\""]), Some(2));
    assert_eq!(sample(&metrics, "istio_tcp_connections_closed_total{", &["flags=\"DENY\""]), Some(1));
    assert_eq!(sample(&metrics, "istio_tcp_connections_closed_total{", &["flags=\"-\""]), Some(1));
    assert_eq!(sample(&metrics, "istio_tcp_connections_failed_total{", &["flags=\"DENY\""]), Some(1));
}

#[test]
fn the_flags_place_is_right() {
    assert_eq!(table::TRAFFIC[FLAGS], "response_flags");
}

#[test]
fn connections_of_the_same_pair_share_their_labels() {
    let metrics = metrics();
    let (first, second) = (metrics.open(&labels()), metrics.open(&labels()));
    assert!(Arc::ptr_eq(&first.labels, &second.labels));
    // A handle is held a connection for hours: it must stay a few pointers.
    assert!(size_of::<Traffic>() <= 80, "{}", size_of::<Traffic>());
}

#[test]
fn overflow_keeps_a_connections_own_labels() {
    let metrics = Metrics::new(Config { series_budget: 0 }, "test");
    let traffic = metrics.open(&labels());
    assert_eq!(&*traffic.labels[0], "source");
    assert_eq!(sample(&metrics, "istio_tcp_connections_opened_total{", &["reporter=\"overflow\""]), Some(1));
}

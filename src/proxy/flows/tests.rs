use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

fn key(pod: &str) -> NamespacedName {
    NamespacedName::new("demo", pod)
}

fn address(n: u16) -> Client {
    Client::Address(IpAddr::from([10, 1, (n >> 8) as u8, n as u8]))
}

/// Counts one arrival at `demo/server`.
fn come(flows: &Flows, now: Instant, port: u16, client: &Client, allowed: bool) {
    let peer = match client {
        Client::Identity(identity) => Some(identity),
        Client::Address(_) | Client::Pod(_) => None,
    };
    let source = "10.0.0.1".parse().unwrap();
    let destination = SocketAddr::new([10, 0, 0, 5].into(), port);
    let request = Request { peer, foreign: false, source, destination, now: std::time::UNIX_EPOCH };
    flows.record(now, &key("server"), &request, client.clone(), allowed);
}

fn flows(limit: usize) -> (Flows, Instant) {
    let now = Instant::now();
    (Flows::new(Config { window: DAY, limit }, now), now)
}

#[test]
fn clients_and_ports_are_told_apart_and_listed_in_order() {
    let (flows, start) = flows(10);
    let client = Client::Identity(Identity::new("td", "demo", "client"));
    for (port, who, allowed) in [
        (81, &address(1), true),
        (80, &Client::Pod(key("outsider")), true),
        (80, &client, true),
        (80, &address(1), false),
        (80, &client, true),
        (80, &client, false),
    ] {
        come(&flows, start + HOUR, port, who, allowed);
    }
    let seen = flows.seen(start + HOUR + Duration::from_secs(7));
    let line = |flow: &Flow| {
        let who = flow.identity.as_deref().or(flow.plaintext_client.as_deref()).unwrap_or_default();
        format!("{} {} {who} {} {}", flow.pod, flow.destination, flow.connections, flow.refused)
    };
    assert_eq!(
        seen.flows.iter().map(line).collect::<Vec<_>>(),
        [
            "demo/server 10.0.0.5:80 10.1.0.1 1 1",
            "demo/server 10.0.0.5:80 spiffe://td/ns/demo/sa/client 3 1",
            "demo/server 10.0.0.5:80 demo/outsider 1 0",
            "demo/server 10.0.0.5:81 10.1.0.1 1 0",
        ]
    );
    assert_eq!((seen.window_seconds, seen.watched_seconds), (86_400, 3607));
    assert!(seen.flows.iter().all(|flow| flow.last_seen_seconds == 7));
    let text = serde_json::to_string(&seen).unwrap();
    assert_eq!(serde_json::from_str::<Seen>(&text).unwrap(), seen);
}

#[test]
fn what_is_older_than_the_window_is_forgotten() {
    let (flows, start) = flows(10);
    let who = address(1);
    come(&flows, start, 80, &who, true);
    come(&flows, start + 12 * HOUR, 80, &who, false);
    let counted = |after: Duration| {
        let seen = flows.seen(start + after);
        seen.flows.first().map_or((0, 0), |flow| (flow.connections, flow.refused))
    };
    assert_eq!(counted(12 * HOUR), (2, 1));
    assert_eq!(counted(24 * HOUR), (2, 1), "a whole window is whole");
    assert_eq!(counted(25 * HOUR), (1, 1));
    assert_eq!(counted(36 * HOUR), (1, 1));
    assert_eq!(counted(37 * HOUR), (0, 0));
    assert_eq!(flows.seen(start + 40 * HOUR).watched_seconds, 86_400);
    // A flow that comes back after ages does not bring its past.
    come(&flows, start + 1000 * HOUR, 80, &who, true);
    assert_eq!(counted(1000 * HOUR), (1, 0));
}

#[test]
fn a_full_table_counts_the_rest_without_names() {
    let (flows, start) = flows(3);
    for n in 0..5 {
        come(&flows, start, 80, &address(n), true);
    }
    come(&flows, start, 80, &Client::Identity(Identity::new("td", "demo", "late")), false);
    come(&flows, start, 80, &address(0), true);
    let seen = flows.seen(start);
    assert_eq!(seen.flows.iter().map(|flow| flow.connections).sum::<u64>(), 4, "who is known is counted on");
    assert_eq!(seen.others, Others { plaintext: 2, with_identity: 1 });
    // Once the old ones have left the window there is room, and the rest is forgotten as well.
    come(&flows, start + 30 * HOUR, 80, &address(9), true);
    let seen = flows.seen(start + 30 * HOUR);
    assert_eq!((seen.flows.len(), seen.others), (1, Others::default()));
    assert_eq!(flows.lock().flows.len(), 1);
}

#[test]
fn a_limit_of_zero_counts_nothing() {
    let (flows, start) = flows(0);
    come(&flows, start, 80, &address(1), true);
    let seen = flows.seen(start);
    assert_eq!((seen.flows.len(), seen.others), (0, Others::default()));
}

#[test]
fn an_entry_is_as_small_as_it_is_said() {
    // A hash table doubles when it is seven eighths full.
    let entry = size_of::<(Key, Entry)>() + 1;
    assert!(entry * 16 / 7 <= FLOW_BYTES, "{entry}");
}

proptest! {
    /// Counted as by somebody who remembers everything.
    #[test]
    fn counts_are_those_of_the_buckets(steps in prop::collection::vec((0..40_u64, any::<bool>()), 1..60), later in 0..60_u64) {
        let (flows, start) = flows(1);
        let mut now = 0;
        let mut all = Vec::new();
        for (hours, allowed) in steps {
            now += hours / 4;
            all.push((now, allowed));
            come(&flows, start + HOUR * u32::try_from(now).unwrap(), 80, &address(1), allowed);
        }
        let end = now + later;
        let within: Vec<_> = all.iter().filter(|(at, _)| at + 24 >= end).collect();
        let expected = (within.len() as u64, within.iter().filter(|(_, allowed)| !allowed).count() as u64);
        let seen = flows.seen(start + HOUR * u32::try_from(end).unwrap());
        let found = seen.flows.first().map_or((0, 0), |flow| (flow.connections, flow.refused));
        prop_assert_eq!(found, expected);
    }
}

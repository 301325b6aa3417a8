//! The settings of a node in ztunnel's place, for its dump and for the log of its start: as they were read, without
//! secrets.

use humantime::format_duration;
use serde_json::{Map, Value, json};

use crate::config::drop_in::{DnsAddress, DropIn, Keepalive, OwnPod};
use crate::config::node::NodeSettings;
use crate::config::secret::Header;
use crate::hbone::settings::Sizes;

/// Bytes of settings in a line of the log, which cuts what is longer than 2 KiB.
const LINE: usize = 1800;

/// Every setting under its key as Istio writes keys. [`None`] where the node is not in ztunnel's place.
pub(in crate::role::node) fn dumped(settings: &NodeSettings) -> Option<Map<String, Value>> {
    let DropIn {
        arguments,
        own: OwnPod { name, namespace, service_account, addresses },
        // Never shown.
        token: _,
        xds_headers,
        ca_headers,
        metadata,
        // The dump has the mesh itself.
        local_mesh: _,
        dns_address,
        packet_mark,
        port_reuse,
        keepalive: Keepalive { enabled, idle, interval, probes, user_timeout },
        http2,
        access_log_by_level,
        istio_version,
        unused,
    } = settings.drop_in.as_ref()?;
    let mut all: Map<String, Value> = settings.values.iter().map(|(key, value)| (camel(key), value.clone())).collect();
    // Names alone: a value may be a secret.
    let names = |headers: &[Header]| -> Value { headers.iter().map(|header| header.name.as_str()).collect() };
    let more = json!({
        "accessLogByLevel": access_log_by_level,
        "caHeaders": names(ca_headers),
        "dnsAddress": listening(dns_address),
        "http2": sizes(http2),
        "istioVersion": istio_version,
        "keepalive": {
            "enabled": enabled,
            "idle": format_duration(*idle).to_string(),
            "interval": format_duration(*interval).to_string(),
            "probes": probes,
            "userTimeout": user_timeout,
        },
        "ownPod": {
            "name": name,
            "namespace": namespace,
            "serviceAccount": service_account,
            "addresses": addresses,
        },
        "packetMark": packet_mark,
        "portReuse": port_reuse,
        "proxyArgs": arguments.join(" "),
        "proxyMetadata": metadata,
        "unused": unused.iter().map(|unused| unused.variable.as_str()).collect::<Vec<_>>(),
        "xdsHeaders": names(xds_headers),
    });
    if let Value::Object(more) = more {
        all.extend(more);
    }
    Some(all)
}

fn listening(at: &DnsAddress) -> String {
    match at {
        DnsAddress::Loopback(port) => format!("localhost:{port}"),
        DnsAddress::At(at) => at.to_string(),
    }
}

/// In bytes.
fn sizes(of: &Sizes) -> Value {
    json!({ "streamWindow": of.stream_window, "connectionWindow": of.connection_window, "frame": of.frame })
}

/// The settings for the log: mappings in YAML's flow style, each short enough for a line, in the order of their keys.
pub(in crate::role::node) fn lines(all: &Map<String, Value>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (key, value) in all {
        let entry = format!("{key}: {value}");
        match lines.last_mut() {
            Some(line) if line.len() + entry.len() < LINE => {
                line.push_str(", ");
                line.push_str(&entry);
            }
            _ => lines.push(entry),
        }
    }
    lines.into_iter().map(|line| format!("{{{line}}}")).collect()
}

/// `leaf-ttl` is `leafTtl`.
fn camel(key: &str) -> String {
    let mut parts = key.split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut all, part| {
        let mut letters = part.chars();
        all.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        all.push_str(letters.as_str());
        all
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::config::env::Environment;
    use crate::config::raw::Effective;
    use crate::config::secret::Secret;
    use crate::config::table::NODE;

    fn settings(drop_in: Option<DropIn>) -> NodeSettings {
        let flags = [("manifests", "m"), ("node", "a"), ("network", ""), ("leaf-ttl", "90s"), ("metrics-series", "7")];
        let flags: BTreeMap<_, _> = flags.map(|(key, text)| (key, text.to_owned())).into();
        let all = Effective::resolve(NODE, &flags, &Environment::default(), None).unwrap();
        NodeSettings::build(&all, drop_in).unwrap()
    }

    fn drop_in() -> DropIn {
        let header = Header { name: "x-key".parse().unwrap(), value: Secret::new("hidden") };
        DropIn {
            own: OwnPod { name: Some("ztunnel-x".into()), ..OwnPod::default() },
            token: Some(Secret::new("hidden")),
            xds_headers: vec![header],
            metadata: [("FLAVOUR".to_owned(), "blue".into())].into(),
            packet_mark: Some(1337),
            port_reuse: true,
            keepalive: Keepalive { idle: Duration::from_secs(7), ..Keepalive::default() },
            ..DropIn::default()
        }
    }

    #[test]
    fn keys_are_written_as_istio_writes_them() {
        for (key, expected) in
            [("node", "node"), ("leaf-ttl", "leafTtl"), ("max-connections-per-pod", "maxConnectionsPerPod")]
        {
            assert_eq!(camel(key), expected);
        }
    }

    #[test]
    fn values_are_as_they_were_read_and_none_is_secret() {
        let plain = dumped(&settings(None));
        assert!(plain.is_none());
        let all = Value::Object(dumped(&settings(Some(drop_in()))).unwrap());
        assert_eq!((&all["network"], &all["leafTtl"]), (&"".into(), &"90s".into()));
        assert_eq!((&all["metricsSeries"], &all["sameNodeLane"]), (&7.into(), &true.into()));
        assert_eq!((&all["keepalive"]["idle"], &all["keepalive"]["probes"]), (&"7s".into(), &9.into()));
        assert_eq!((&all["packetMark"], &all["portReuse"]), (&1337.into(), &true.into()));
        assert_eq!(all["proxyMetadata"], json!({"FLAVOUR": "blue"}));
        assert_eq!((&all["ownPod"]["name"], &all["ownPod"]["addresses"]), (&"ztunnel-x".into(), &json!([])));
        assert_eq!((&all["xdsHeaders"], &all["dnsCapture"]), (&json!(["x-key"]), &true.into()));
        assert!(!all.to_string().contains("hidden"), "{all}");
    }

    #[test]
    fn the_log_has_every_setting_in_lines_that_are_not_cut() {
        let metadata = (0..9).map(|n| (format!("FLAVOUR_{n}"), "blue ".repeat(40).into()));
        let mut all = dumped(&settings(Some(drop_in()))).unwrap();
        all.extend(metadata);
        let lines = lines(&all);
        assert!(lines.len() > 1 && lines.iter().all(|line| line.len() < 2000), "{lines:?}");
        let mut read: BTreeMap<String, Value> = BTreeMap::new();
        for line in &lines {
            read.extend(serde_saphyr::from_str::<BTreeMap<String, Value>>(line).unwrap());
        }
        assert_eq!(read.into_iter().collect::<Map<_, _>>(), all);
    }
}

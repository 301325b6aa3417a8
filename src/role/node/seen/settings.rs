//! The settings of a node in ztunnel's place, for its dump and for the log of its start: as they were read, without
//! secrets.

use serde_json::{Map, Value};

use crate::config::node::NodeSettings;

/// Bytes of settings in a line of the log, which cuts what is longer than 2 KiB.
const LINE: usize = 1800;

/// Every setting under its key as Istio writes keys. [`None`] where the node is not in ztunnel's place.
pub(in crate::role::node) fn dumped(settings: &NodeSettings) -> Option<Map<String, Value>> {
    let drop_in = settings.drop_in.as_ref()?;
    let mut all: Map<String, Value> = settings.values.iter().map(|(key, value)| (camel(key), value.clone())).collect();
    all.extend(drop_in.facts());
    Some(all)
}

/// The settings for the log: mappings in YAML's flow style, each short enough for a line, in the order of their keys. A
/// value that is longer than a line (roots in PEM, metadata of others) is named by its length: cut, its line were no YAML.
pub(in crate::role::node) fn lines(all: &Map<String, Value>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (key, value) in all {
        let text = value.to_string();
        let entry = match text.len() {
            long if long + key.len() >= LINE => format!("{key}: \"{long} bytes, see the dump\""),
            _ => format!("{key}: {text}"),
        };
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

    use serde_json::json;

    use super::*;
    use crate::config::drop_in::{DropIn, Keepalive, OwnPod};
    use crate::config::env::Environment;
    use crate::config::raw::Effective;
    use crate::config::secret::{Header, Secret};
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

    #[test]
    fn a_value_that_no_line_holds_is_named_by_its_length() {
        let all: Map<String, Value> = [("a", "x".into()), ("pem", "y".repeat(3000).into()), ("z", 1.into())]
            .map(|(key, value): (_, Value)| (key.to_owned(), value))
            .into_iter()
            .collect();
        assert_eq!(lines(&all), ["{a: \"x\", pem: \"3002 bytes, see the dump\", z: 1}"]);
    }
}

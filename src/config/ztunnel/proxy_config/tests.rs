use proptest::prelude::*;

use super::*;

fn read(file: &str, variable: &str) -> Result<ProxyConfig, ZtunnelError> {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    ProxyConfig::read(some(file).as_deref(), some(variable).as_deref())
}

const FILE: &str = "
trustDomain: cluster.local
defaultConfig:
  discoveryAddress: istiod.mesh.svc:15012
  proxyAdminPort: 15100
  statsPort: 15120
  concurrency: 3
  tracing: {}
  proxyMetadata:
    DNS_CAPTURE: true
    COLOUR: blue
";

#[test]
fn the_file_alone() {
    let found = read(FILE, "").unwrap();
    let place = |key: &str| Origin::Foreign(format!("./etc/istio/config/mesh: {key}"));
    assert_eq!(found.discovery_address, Some(("istiod.mesh.svc:15012".into(), place("discoveryAddress"))));
    assert_eq!(found.admin_port, Some((15100, place("proxyAdminPort"))));
    assert_eq!(found.stats_port, Some((15120, place("statsPort"))));
    assert_eq!(found.concurrency, Some((3, place("concurrency"))));
    assert_eq!(found.metadata["DNS_CAPTURE"], "true");
}

#[test]
fn the_variable_outweighs_the_file_and_metadata_is_merged() {
    let found = read(FILE, "concurrency: 0\nproxyMetadata:\n  COLOUR: red\n  SIZE: 7\n").unwrap();
    assert_eq!(found.concurrency, Some((0, Origin::Foreign("PROXY_CONFIG: concurrency".into()))));
    assert_eq!(found.stats_port.map(|(port, _)| port), Some(15120));
    let metadata: Vec<_> = found.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(metadata, ["COLOUR=red", "DNS_CAPTURE=true", "SIZE=7"]);
}

#[test]
fn a_block_without_metadata_is_fine_and_so_is_nothing() {
    for (file, variable) in
        [("", ""), ("# nothing\n", ""), ("defaultConfig: {}", ""), ("defaultConfig:", ""), ("rootNamespace: x", "{}")]
    {
        assert_eq!(read(file, variable).unwrap(), ProxyConfig::default(), "{file:?}");
    }
    assert_eq!(read("", "statsPort: 1\nproxyMetadata:\n").unwrap().stats_port.unwrap().0, 1);
}

#[test]
fn what_is_wrong_is_named() {
    for (file, variable, place) in [
        ("defaultConfig: {statsPort: many}", "", "./etc/istio/config/mesh"),
        ("", "statsPort: 70000", "PROXY_CONFIG"),
        ("", "- a", "PROXY_CONFIG"),
        ("", "proxyMetadata: {A: [1]}", "PROXY_CONFIG"),
    ] {
        let error = read(file, variable).unwrap_err();
        assert!(error.to_string().starts_with(place), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        drop(read(&text, &text));
    }
}

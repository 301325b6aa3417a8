use super::*;
use crate::config::drop_in::Keepalive;
use crate::config::node::{Ipv6, NodeSettings, RedirectBackend};
use crate::config::raw::{ConfigError, File};
use crate::config::source::{LocalMesh, MeshSource, PodSource, Token};
use crate::config::ztunnel::resolve;
use crate::config::ztunnel::variables::{self, Variable};
use crate::telemetry::log;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let node = [("NODE_NAME", "node-1")];
    node.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn settings_of(all: &Environment, mesh_config: Option<&str>) -> Result<NodeSettings, ConfigError> {
    settings_over(all, mesh_config, None)
}

fn settings_over(
    all: &Environment,
    mesh_config: Option<&str>,
    file: Option<&File>,
) -> Result<NodeSettings, ConfigError> {
    let exists = |path: &Path| path.starts_with("there") || path == Path::new("./var/run/secrets/tokens/istio-token");
    let host = Host { processors: 16, mesh_config, exists: &exists };
    let found = read(all, host, vec!["ztunnel".into()])?;
    let (effective, drop_in) = resolve(all, file, found)?;
    NodeSettings::build(&effective, Some(drop_in))
}

fn settings(pairs: &[(&str, &str)]) -> NodeSettings {
    settings_of(&environment(pairs), None).unwrap()
}

/// The error with its causes, as a person reads it.
fn error(pairs: &[(&str, &str)]) -> String {
    crate::telemetry::cause::chain(&settings_of(&environment(pairs), None).unwrap_err())
}

fn unused(settings: &NodeSettings) -> Vec<String> {
    settings.drop_in.as_ref().unwrap().unused.iter().map(|unused| unused.variable.clone()).collect()
}

#[test]
fn the_defaults_are_those_of_istios_daemonset() {
    let settings = settings(&[]);
    assert_eq!(settings.xds_address.as_ref().unwrap().to_string(), "https://localhost:15012");
    assert_eq!(settings.pod_source(), PodSource::Agent(Path::new("/var/run/ztunnel/ztunnel.sock")));
    assert_eq!(settings.redirect_backend, RedirectBackend::Agent);
    assert!(!settings.same_node_lane && settings.drop_in.as_ref().unwrap().port_reuse);
    assert_eq!(settings.admin_address.to_string(), "127.0.0.1:15000");
    assert_eq!(settings.metrics_address.to_string(), "[::]:15020");
    assert_eq!(settings.ready_address.to_string(), "[::]:15021");
    assert_eq!(settings.token_file.as_deref(), Some(Path::new("./var/run/secrets/tokens/istio-token")));
    assert_eq!((settings.cluster.as_str(), settings.trust_domain.as_str()), ("Kubernetes", "cluster.local"));
    assert_eq!(settings.data_threads, None);
    assert_eq!((settings.drain_deadline, settings.pool_idle), (Duration::from_secs(5), Duration::from_secs(300)));
    assert_eq!(unused(&settings), [""; 0]);
    assert_eq!(settings.drop_in.unwrap().unused_line(), None);
}

/// What Istio's DaemonSet sets, every line of it.
#[test]
fn the_environment_of_istios_daemonset_is_understood_whole() {
    let settings = settings(&[
        ("CA_ADDRESS", "istiod.istio-system.svc:15012"),
        ("XDS_ADDRESS", "istiod.istio-system.svc:15012"),
        ("RUST_LOG", "info"),
        ("RUST_BACKTRACE", "1"),
        ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
        ("INPOD_ENABLED", "true"),
        ("TERMINATION_GRACE_PERIOD_SECONDS", "30"),
        ("POD_NAME", "ztunnel-abcde"),
        ("POD_NAMESPACE", "istio-system"),
        ("INSTANCE_IP", "10.0.0.9"),
        ("SERVICE_ACCOUNT", "ztunnel"),
        ("ZTUNNEL_CPU_LIMIT", "8"),
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
        ("NETWORK", ""),
    ]);
    assert_eq!(settings.drop_in.as_ref().unwrap().unused_line(), None);
    assert_eq!(settings.drain_deadline, Duration::from_secs(25));
    let node = settings.xds_node();
    assert_eq!(node.id, "ztunnel~10.0.0.9~ztunnel-abcde.istio-system~istio-system.svc.cluster.local");
    let metadata = serde_json::to_value(&node.metadata).unwrap();
    let expected = serde_json::json!({
        "CLUSTER_ID": "Kubernetes", "NAME": "ztunnel-abcde", "NAMESPACE": "istio-system", "INSTANCE_IPS": "10.0.0.9",
        "NODE_NAME": "node-1", "SERVICE_ACCOUNT": "ztunnel",
    });
    assert_eq!(metadata, expected);
}

#[test]
fn who_this_process_is_takes_three_variables() {
    let all = [("POD_NAME", "ztunnel-abcde"), ("POD_NAMESPACE", "istio-system"), ("SERVICE_ACCOUNT", "ztunnel")];
    let own = |more: &[(&str, &str)]| {
        settings(&[&[("CA_ADDRESS", "ca:1"), ("XDS_ADDRESS", "cp:1"), ("TRUST_DOMAIN", "td")], more].concat())
            .own_workload()
    };
    for absent in 0..8 {
        let some: Vec<_> = all.into_iter().enumerate().filter(|(bit, _)| absent >> bit & 1 == 0).collect();
        let some: Vec<_> = some.into_iter().map(|(_, variable)| variable).collect();
        assert_eq!(own(&some).is_some(), absent == 0, "{some:?}");
    }
    assert_eq!(own(&[all[0], all[1], ("SERVICE_ACCOUNT", "")]), None, "empty is not set");
    let own = own(&[&all[..], &[("INSTANCE_IP", "10.0.0.9"), ("CLUSTER_ID", "c")]].concat()).unwrap();
    assert_eq!(own.identity.to_string(), "spiffe://td/ns/istio-system/sa/ztunnel");
    assert_eq!(own.key.to_string(), "istio-system/ztunnel-abcde");
    assert_eq!((&*own.uid, own.addresses), ("c//Pod/istio-system/ztunnel-abcde", vec![[10, 0, 0, 9].into()]));
}

/// Every variable of the table changes something of the settings, or is named. None does neither.
#[test]
fn every_variable_is_heard_or_named() {
    let before = format!("{:?}", settings(&[("CA_ADDRESS", "ca:1"), ("XDS_ADDRESS", "cp:1")]));
    for Variable { name, fate, .. } in ALL {
        let value = match *name {
            "NODE_NAME" => "node-2",
            "NETWORK" | "CLUSTER_ID" | "CLUSTER_DOMAIN" | "TRUST_DOMAIN" | "POD_NAME" | "POD_NAMESPACE" => "other",
            "SERVICE_ACCOUNT" | "ALT_CA_HOSTNAME" | "ALT_XDS_HOSTNAME" | "PROXY_WORKLOAD_INFO" => "other",
            "PREFERED_SERVICE_NAMESPACE" | "XDS_HEADER_*" | "CA_HEADER_*" | "ISTIO_META_*" | "AUTH_TOKEN" => "other",
            "CA_ADDRESS" | "XDS_ADDRESS" => "other:15012",
            "CA_ROOT_CA" | "XDS_ROOT_CA" => "SYSTEM",
            "LOCAL_XDS" => "{}",
            "LOCAL_XDS_PATH" | "CRL_PATH" | "INPOD_UDS" => "there",
            "SECRET_TTL" | "CONNECTION_TERMINATION_DEADLINE" | "POOL_UNUSED_RELEASE_TIMEOUT" => "77s",
            "KEEPALIVE_TIME" | "KEEPALIVE_INTERVAL" => "77s",
            "KEEPALIVE_RETRIES" => "7",
            "TERMINATION_GRACE_PERIOD_SECONDS" | "PACKET_MARK" => "77",
            "HTTP2_CONNECTION_WINDOW_SIZE" | "HTTP2_FRAME_SIZE" | "HTTP2_STREAM_WINDOW_SIZE" => "77777",
            "POOL_MAX_STREAMS_PER_CONNECTION" | "ZTUNNEL_WORKER_THREADS" | "ZTUNNEL_RESOURCE_CPU_LIMIT" => "77",
            "ZTUNNEL_RESOURCE_CPU_REQUEST" => "77",
            // It counts where a part of the processors is asked for.
            "ZTUNNEL_CPU_LIMIT" => {
                let half = settings(&[("ZTUNNEL_CPU_LIMIT", "70"), ("ZTUNNEL_WORKER_THREADS", "50%")]);
                assert_eq!(half.data_threads.map(std::num::NonZero::get), Some(35));
                continue;
            }
            "INSTANCE_IP" => "10.9.9.9",
            "COMPLIANCE_POLICY" => "pqc",
            "RUST_LOG" => "trace",
            "LOG_FORMAT" => "json",
            "ISTIO_METAJSON_*" => "{\"a\": 1}",
            "PROXY_CONFIG" => "statsPort: 7777",
            // Default addresses follow it, and those are given here.
            "KUBERNETES_SERVICE_HOST" => continue,
            // A way of working that there is not: the start ends.
            "ENABLE_PROXY" | "PROXY_MODE" => continue,
            "ENABLE_ORIG_SRC" | "ENABLE_RESPONSE_BAGGAGE" | "INPOD_ENABLED" | "INPOD_PORT_REUSE" | "IPV6_ENABLED" => {
                "false"
            }
            "KEEPALIVE_ENABLED" | "LOCALHOST_APP_TUNNEL" => "false",
            _ => "true",
        };
        let name = name.replace('*', "X");
        let after = settings(&[("CA_ADDRESS", "ca:1"), ("XDS_ADDRESS", "cp:1"), (&name, value)]);
        let named = unused(&after).contains(&name);
        match fate {
            Fate::Always { .. } | Fate::Unused(_) => assert!(named, "{name} is not named"),
            Fate::Setting(key) => {
                assert!(find(NODE, key).is_some(), "{name}: there is no setting {key}");
                assert!(!named && format!("{after:?}") != before, "{name} changes nothing");
            }
            Fate::Heard(_) => assert!(!named && format!("{after:?}") != before, "{name} changes nothing"),
        }
    }
}

#[test]
fn the_line_says_why() {
    let usual = [("FAKE_CA", "false"), ("AUTHZ_POLICY_INFO_LOGGING", "false"), ("ENABLE_ORIG_SRC", "true")];
    let told = [("UNSTABLE_ENABLE_SOCKS5", "true"), ("TLS12_ENABLED", "true")];
    let settings = settings(&[usual.as_slice(), &told].concat());
    assert_eq!(
        settings.drop_in.unwrap().unused_line().unwrap(),
        "set for ztunnel and not applied here: TLS12_ENABLED (TLS 1.3 is the only one between proxies); \
         UNSTABLE_ENABLE_SOCKS5 (there is no SOCKS5 entry: pods' traffic is captured)"
    );
}

/// Words that change nothing, in variables whose other words do.
#[test]
fn a_word_that_is_not_understood_is_named() {
    let check = |name: &str, value: &str, expected: bool| {
        assert_eq!(unused(&settings(&[(name, value)])).contains(&name.to_owned()), expected, "{name}={value}");
    };
    for (name, words, others) in [
        ("COMPLIANCE_POLICY", ["", "pqc"], ["fips-140-2", "PQC"]),
        ("LOG_FORMAT", ["json", "plain"], ["jsn", "text"]),
        ("TRANSPARENT_NETWORK_POLICIES", ["false", "false"], ["true", "true"]),
    ] {
        words.iter().for_each(|word| check(name, word, false));
        others.iter().for_each(|word| check(name, word, true));
    }
}

#[test]
fn a_value_that_cannot_be_read_names_variable_value_and_mend() {
    let check = |name: &str, value: &str, part: &str| {
        let error = error(&[(name, value)]);
        assert!(error.contains(name) && error.contains(part), "{name}={value}: {error}");
    };
    check(
        "CONNECTION_TERMINATION_DEADLINE",
        "soon",
        "CONNECTION_TERMINATION_DEADLINE: \"soon\" is not a duration: write",
    );
    check("TERMINATION_GRACE_PERIOD_SECONDS", "-1", "\"-1\" is not a number of seconds");
    check("POOL_UNUSED_RELEASE_TIMEOUT", "x", "a duration");
    check("SECRET_TTL", "0s", "more than zero");
    check("XDS_ADDRESS", "http://istiod:15010", "an address of HTTPS");
    check("CA_ADDRESS", "istiod:port", "an address of HTTPS");
    check("XDS_ON_DEMAND", "yes", "true or false");
    check("IPV6_ENABLED", "1", "\"1\" is not true or false");
    check("KEEPALIVE_RETRIES", "128", "1 to 127");
    check("KEEPALIVE_TIME", "0s", "\"0s\" is not a duration from 1s");
    check("KEEPALIVE_INTERVAL", "1d", "a duration from 1s");
    check("PACKET_MARK", "0", "a packet mark");
    check("INSTANCE_IP", "here", "an IP address");
    check("ZTUNNEL_WORKER_THREADS", "half", "of at most 100%: 12.5% or 50%");
    check("ZTUNNEL_CPU_LIMIT", "one", "200m");
    check("RUST_LOG", "loud", "a list of levels");
    check("RUST_LOG", "info,hyper", "a list of levels");
    check("RUST_LOG", "ztunnel=loud", "RUST_LOG: \"ztunnel=loud\" is not a list of levels");
    check("SECRET_TTL", "0", "SECRET_TTL: \"0\" is not a duration of more than zero");
    check("PROXY_CONFIG", "proxyMetadata: {A: null}", "proxyMetadata.A has no value: write one");
    check("PROXY_CONFIG", "concurrency: -1", "concurrency is not a whole number from 0 to 65535");
    let cluster = error(&[("PROXY_CONFIG", "proxyMetadata: {CLUSTER_ID: \"a\\tb\"}")]);
    assert_eq!(cluster, "proxyMetadata: CLUSTER_ID: \"a\\tb\" is not printable text");
    check("NODE_NAME", "Node 1", "a name of lower-case");
    check("HTTP2_STREAM_WINDOW_SIZE", "0", "from 1 to 2147483647");
    check("HTTP2_STREAM_WINDOW_SIZE", "2147483648", "from 1 to 2147483647");
    check("HTTP2_CONNECTION_WINDOW_SIZE", "65534", "from 65535 to 2147483647");
    check("HTTP2_CONNECTION_WINDOW_SIZE", "16MiB", "a number of bytes");
    check("HTTP2_FRAME_SIZE", "16383", "from 16384 to 16777215");
    check("HTTP2_FRAME_SIZE", "16777216", "from 16384 to 16777215");
    check("ISTIO_META_DNS_PROXY_ADDR", "localhost", "127.0.0.1:15053");
    check("ISTIO_META_DNS_PROXY_ADDR", "127.0.0.1:15001", "a port of its own");
    let told = error(&[("PROXY_CONFIG", "proxyMetadata: {DNS_PROXY_ADDR: here}")]);
    assert!(told.contains("proxyMetadata: DNS_PROXY_ADDR") && told.contains("\"here\" is not an address"), "{told}");
    check("PROXY_CONFIG", "statsPort: many", "the YAML of a proxy's configuration");
    check("PROXY_MODE", "dedicated", "one process serves all pods of its node; write shared");
    check("PROXY_MODE", "both", "shared or dedicated");
    check("ENABLE_PROXY", "false", "not possible here: names are answered beside the proxy");
    // What changes nothing is read all the same.
    check("FAKE_CA", "maybe", "true or false");
    check("ENABLE_ORIG_SRC", "", "true or false");
    check("AUTHZ_POLICY_INFO_LOGGING", "1", "true or false");
    check("POD_NAME", "a\nb", "POD_NAME: \"a\\nb\" is not a name of lower-case");
    check("POD_NAMESPACE", "a b", "a name of lower-case");
    check("SERVICE_ACCOUNT", "y/z", "a name of lower-case");
    check("XDS_HEADER_A B", "x", "is not a header");
    assert_eq!(
        error(&[("LOCAL_XDS", "{}"), ("LOCAL_XDS_PATH", "f")]),
        "LOCAL_XDS and LOCAL_XDS_PATH are both set: take one of them away"
    );
    assert!(error(&[("XDS_ADDRESS", "")]).starts_with("there is no mesh: set XDS_ADDRESS"));
    let nobody = settings_of(&Environment::default(), None).unwrap_err().to_string();
    assert_eq!(nobody, "NODE_NAME is not set: take it from the downward API (spec.nodeName)");
}

/// A contradiction names what a person wrote, and no flag that this mode does not have.
#[test]
fn what_contradicts_is_named_as_it_was_said() {
    let check = |pairs: &[(&str, &str)], expected: &str| assert_eq!(error(pairs), expected, "{pairs:?}");
    check(
        &[("INPOD_UDS", "")],
        "redirect-backend agent needs INPOD_UDS (zds-socket): without a node agent nobody lays the rules",
    );
    check(
        &[("INPOD_UDS", ""), ("CULVERT_REDIRECT_BACKEND", "nftables")],
        "there are no pods: INPOD_UDS (zds-socket) is empty, set it or CULVERT_MANIFESTS",
    );
    check(
        &[("XDS_ON_DEMAND", "true"), ("XDS_ADDRESS", ""), ("LOCAL_XDS", "{}")],
        "XDS_ON_DEMAND (xds-on-demand) needs XDS_ADDRESS (xds-address): there is nobody to ask",
    );
    check(
        &[("PROXY_CONFIG", "statsPort: 15021")],
        "PROXY_CONFIG: statsPort (metrics-address) and ready-address must differ: both would listen on port 15021",
    );
    check(
        &[("CULVERT_XDS_SERVER_NAME", "x"), ("XDS_ADDRESS", ""), ("LOCAL_XDS", "{}")],
        "CULVERT_XDS_SERVER_NAME is of no use without XDS_ADDRESS (xds-address)",
    );
    // ztunnel reads such a name and goes on.
    let alone = settings(&[
        ("ALT_XDS_HOSTNAME", "x"),
        ("XDS_ADDRESS", ""),
        ("LOCAL_XDS", "{}"),
        ("ALT_CA_HOSTNAME", "y"),
        ("CA_ADDRESS", ""),
    ]);
    assert_eq!(unused(&alone), ["ALT_XDS_HOSTNAME", "ALT_CA_HOSTNAME"]);
    let file = File::parse(Path::new("culvert.yaml"), "leaf-ttl: 1h", NODE).unwrap();
    let nobody = [("CULVERT_CONFIG".to_owned(), "culvert.yaml".to_owned())].into_iter().collect();
    let nobody = settings_over(&nobody, None, Some(&file)).unwrap_err().to_string();
    assert!(nobody.starts_with("NODE_NAME is not set"), "{nobody}");
}

/// Both pods of an upgrade have that directory, and no other.
#[test]
fn sockets_are_handed_over_beside_the_agents() {
    let at = |pairs: &[(&str, &str)]| settings(pairs).takeover_socket.unwrap().display().to_string();
    assert_eq!(at(&[]), "/var/run/ztunnel/culvert-takeover.sock");
    assert_eq!(at(&[("INPOD_UDS", "/a/z.sock")]), "/a/culvert-takeover.sock");
    assert_eq!(at(&[("INPOD_UDS", "/a/z.sock"), ("CULVERT_ZDS_SOCKET", "/b/z.sock")]), "/b/culvert-takeover.sock");
    assert_eq!(at(&[("CULVERT_ZDS_SOCKET", "/b/z.sock"), ("CULVERT_TAKEOVER_SOCKET", "/c/t")]), "/c/t");
    let file = File::parse(Path::new("culvert.yaml"), "zds-socket: /d/z.sock", NODE).unwrap();
    let filed = settings_over(&environment(&[]), None, Some(&file)).unwrap();
    assert_eq!(filed.takeover_socket.as_deref(), Some(Path::new("/d/culvert-takeover.sock")));
}

#[test]
fn the_name_server_of_a_pod_listens_where_metadata_says() {
    let at = |pairs: &[(&str, &str)]| settings(pairs).drop_in.unwrap().dns_address;
    let told = |address: &str| at(&[("ISTIO_META_DNS_PROXY_ADDR", address)]);
    assert_eq!(at(&[]), DnsAddress::Loopback(15053));
    assert_eq!(told("localhost:5353"), DnsAddress::Loopback(5353));
    assert_eq!(told("127.0.0.1:5353"), DnsAddress::At("127.0.0.1:5353".parse().unwrap()));
    assert_eq!(told("[::]:15053"), DnsAddress::Loopback(15053), "nobody else is answered");
    assert_eq!(at(&[("PROXY_CONFIG", "proxyMetadata: {DNS_PROXY_ADDR: '[::1]:53'}")]).port(), 53);
    assert_eq!(DnsAddress::Loopback(9).addresses().len(), 2);
    let own = ("CULVERT_REDIRECT_BACKEND", "nftables");
    let elsewhere = error(&[("ISTIO_META_DNS_PROXY_ADDR", "192.0.2.1:53"), own]);
    assert!(elsewhere.contains("DNS_PROXY_ADDR 192.0.2.1:53 is not on loopback"), "{elsewhere}");
    assert_eq!(at(&[("ISTIO_META_DNS_PROXY_ADDR", "[::1]:5353"), own]).port(), 5353);
}

#[test]
fn secrets_are_sent_and_not_shown() {
    let pairs = [("XDS_HEADER_X_Api_Key", "hunter2"), ("CA_HEADER_X-Other", "hunter2"), ("AUTH_TOKEN", "hunter2")];
    let settings = settings(&pairs);
    let MeshSource::ControlPlane { remote, .. } = settings.mesh_source() else { panic!("not a control plane") };
    assert_eq!((remote.headers[0].name.as_str(), remote.headers[0].value.expose()), ("x_api_key", "hunter2"));
    assert!(matches!(remote.token, Token::Literal(token) if token.expose() == "hunter2"));
    let shown = format!(
        "{settings:?} {:?} {:?} {:?}",
        environment(&pairs),
        settings.mesh_source(),
        settings.certificate_source()
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    let bad = error(&[("CA_HEADER_A", "hunter2\u{7f}")]);
    assert!(bad.starts_with("CA_HEADER_A is not a header") && !bad.contains("hunter2"), "{bad}");
}

#[test]
fn tokens_are_files_or_themselves() {
    let check = |value: Option<&str>, file: Option<&str>, literal: bool| {
        let pairs: Vec<_> = value.map(|value| ("AUTH_TOKEN", value)).into_iter().collect();
        let settings = settings(&pairs);
        assert_eq!(settings.token_file.as_deref(), file.map(Path::new), "{value:?}");
        assert_eq!(settings.drop_in.unwrap().token.is_some(), literal, "{value:?}");
    };
    check(None, Some("./var/run/secrets/tokens/istio-token"), false);
    check(Some("there/token"), Some("there/token"), false);
    check(Some("eyJhbGciOi"), None, true);
    for path in ["/var/run/secrets/tokens/typo", "./typo", "../typo"] {
        let expected = format!("AUTH_TOKEN: {path} is not a file that is there: mount it, or give the token itself");
        assert_eq!(error(&[("AUTH_TOKEN", path)]), expected);
    }
}

#[test]
fn addresses_have_their_order_of_weight() {
    let file = Some("defaultConfig: {discoveryAddress: file.svc:15012, statsPort: 15120}");
    let check = |pairs: &[(&str, &str)], mesh_config, xds: &str, ca: &str| {
        let settings = settings_of(&environment(pairs), mesh_config).unwrap();
        let shown =
            |endpoint: &Option<value::Endpoint>| endpoint.as_ref().map_or_else(String::new, ToString::to_string);
        assert_eq!(
            (shown(&settings.xds_address).as_str(), shown(&settings.ca_address).as_str()),
            (xds, ca),
            "{pairs:?}"
        );
    };
    let (local, cluster) = ("https://localhost:15012", "https://istiod.istio-system.svc:15012");
    check(&[("KUBERNETES_SERVICE_HOST", "x")], None, cluster, cluster);
    check(&[], file, "https://file.svc:15012", local);
    check(&[("PROXY_CONFIG", "discoveryAddress: https://own.svc")], file, "https://own.svc:443", local);
    check(&[("XDS_ADDRESS", "var.svc:1"), ("CA_ADDRESS", "ca.svc:2")], file, "https://var.svc:1", "https://ca.svc:2");
    check(&[("XDS_ADDRESS", ""), ("LOCAL_XDS", "{}"), ("CA_ADDRESS", "")], file, "", "");
    let settings = settings_of(&environment(&[("PROXY_CONFIG", "proxyAdminPort: 15100")]), file).unwrap();
    assert_eq!((settings.admin_address.port(), settings.metrics_address.port()), (15100, 15120));
}

#[test]
fn metadata_is_merged_and_variables_win() {
    let file = Some("defaultConfig: {proxyMetadata: {ISTIO_META_DNS_CAPTURE: false, COLOUR: blue, SIZE: 7}}");
    let pairs = [
        ("ISTIO_META_COLOUR", "red"),
        ("ISTIO_METAJSON_LABELS", "{\"app\": \"x\"}"),
        ("ISTIO_METAJSON_BAD", "{"),
        ("ISTIO_META_CLUSTER_ID", "east"),
        ("CLUSTER_ID", "west"),
        ("ISTIO_META_ISTIO_VERSION", "1.30"),
        ("ISTIO_META_NAME", "forged"),
        ("POD_NAME", "z"),
    ];
    let settings = settings_of(&environment(&pairs), file).unwrap();
    assert_eq!(settings.cluster, "east");
    assert_eq!(unused(&settings), ["ISTIO_METAJSON_BAD"]);
    let metadata = settings.xds_node().metadata;
    let check = |name: &str, expected: Value| assert_eq!(metadata[name], expected, "{name}");
    check("COLOUR", "red".into());
    check("SIZE", "7".into());
    check("LABELS", serde_json::json!({"app": "x"}));
    check("NAME", "z".into());
    let drop_in = settings.drop_in.unwrap();
    assert_eq!((settings.dns_capture, drop_in.istio_version.as_deref()), (false, Some("1.30")));
}

#[test]
fn ours_win() {
    let pairs = [
        ("CULVERT_SAME_NODE_LANE", "true"),
        ("CULVERT_REDIRECT_BACKEND", "nftables"),
        ("CULVERT_LEAF_TTL", "1h"),
        ("SECRET_TTL", "2h"),
        ("CULVERT_ADMIN_ADDRESS", "127.0.0.1:9"),
    ];
    let settings = settings(&pairs);
    assert!(settings.same_node_lane);
    assert_eq!((settings.redirect_backend, settings.leaf_ttl), (RedirectBackend::Nftables, Duration::from_secs(3600)));
    assert_eq!(settings.admin_address.port(), 9);
    assert!(
        error(&[("CULVERT_REDIRECT_BACKEND", "nftables"), ("PACKET_MARK", "7")]).starts_with("PACKET_MARK is 1337")
    );
}

/// Each pair of ours and ztunnel's, where ztunnel's is no setting's text but stands beside it.
#[test]
fn ours_win_over_what_stands_beside_a_setting() {
    let token = |pairs: &[(&str, &str)]| {
        let settings = settings(&[pairs, &[("AUTH_TOKEN", "lit")]].concat());
        let MeshSource::ControlPlane { remote, .. } = settings.mesh_source() else { panic!("not a control plane") };
        format!("{:?}", remote.token)
    };
    assert_eq!(token(&[]), "Literal((secret))");
    assert_eq!(token(&[("CULVERT_TOKEN_FILE", "there/ours")]), "File(\"there/ours\")");
    assert_eq!(token(&[("CULVERT_TOKEN_FILE", "")]), "None");
    let captures = |pairs: &[(&str, &str)]| settings(pairs).dns_capture;
    assert!(captures(&[]) && captures(&[("ISTIO_META_DNS_CAPTURE", "true")]));
    assert!(!captures(&[("ISTIO_META_DNS_CAPTURE", "false")]) && captures(&[("ISTIO_META_DNS_CAPTURE", "True")]));
    // ztunnel takes another word for false; who wrote it hears so.
    let other = settings(&[("ISTIO_META_DNS_CAPTURE", "maybe")]);
    assert!(!other.dns_capture && settings(&[("ISTIO_META_DNS_CAPTURE", "")]).dns_capture);
    assert_eq!(unused(&other), ["ISTIO_META_DNS_CAPTURE"]);
    assert!(!captures(&[("CULVERT_DNS_CAPTURE", "false")]));
    assert!(!captures(&[("CULVERT_DNS_CAPTURE", "false"), ("ISTIO_META_DNS_CAPTURE", "true")]));
    assert!(captures(&[("CULVERT_DNS_CAPTURE", "true"), ("ISTIO_META_DNS_CAPTURE", "false")]));
    let told = settings(&[
        ("CULVERT_CLUSTER", "ours"),
        ("ISTIO_META_CLUSTER_ID", "theirs"),
        ("CULVERT_NETWORK", "n-ours"),
        ("ISTIO_META_NETWORK", "n-theirs"),
    ]);
    let metadata = told.xds_node().metadata;
    assert_eq!((&metadata["CLUSTER_ID"], &metadata["NETWORK"]), (&Value::from("ours"), &Value::from("n-ours")));
    let mesh = |own: &str| settings(&[("LOCAL_XDS", "workloads: []"), ("CULVERT_LOCAL_XDS", own)]);
    let local = |settings: &NodeSettings| match settings.mesh_source() {
        MeshSource::ControlPlane { local, .. } => format!("{local:?}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(local(&mesh("there/mesh")), "Some(File(\"there/mesh\"))");
    assert_eq!(local(&mesh("")), "None");
}

/// Every key of ours, over an environment that says all that ztunnel's can.
#[test]
fn every_key_of_ours_wins() {
    let theirs = [
        ("ISTIO_META_CLUSTER_ID", "theirs"),
        ("ISTIO_META_DNS_CAPTURE", "true"),
        ("AUTH_TOKEN", "lit"),
        ("LOCAL_XDS", "{}"),
        ("PROXY_CONFIG", "{statsPort: 15120, proxyAdminPort: 15100, concurrency: 3}"),
        ("RUST_LOG", "warn"),
        ("LOG_FORMAT", "plain"),
        ("XDS_ADDRESS", "cp:1"),
        ("CA_ADDRESS", "ca:1"),
        ("ALT_XDS_HOSTNAME", "cp"),
        ("ALT_CA_HOSTNAME", "ca"),
        ("TERMINATION_GRACE_PERIOD_SECONDS", "30"),
        ("IPV6_ENABLED", "true"),
    ];
    let plain = ALL.iter().filter(|variable| matches!(variable.fate, Fate::Setting(_)) && !variable.default.is_empty());
    let theirs: Vec<_> = plain.map(|variable| (variable.name, variable.default)).chain(theirs).collect();
    let before = format!("{:?}", settings(&theirs));
    for setting in NODE {
        let own = match (setting.key, setting.kind) {
            (_, Kind::Files) => "other=/roots.pem",
            ("data-busy-poll", _) => "77us",
            ("cgroup-exemption", _) => "off",
            ("redirect-backend", _) => "nftables",
            ("same-node-lane", _) => "true",
            (_, Kind::Choice(words)) => words.rsplit('|').next().unwrap(),
            (_, Kind::Bool) if setting.default == crate::config::table::Default::Value("true") => "false",
            (_, Kind::Bool) => "true",
            (_, Kind::Endpoint) => "other:15012",
            (_, Kind::Roots) => "SYSTEM",
            (_, Kind::Address) => "127.0.0.9:9",
            (_, Kind::Bytes) => "1MiB",
            (_, Kind::Count | Kind::Positive) => "77",
            (_, Kind::Duration | Kind::Period) => "77s",
            (_, Kind::Levels) => "trace",
            _ => "other",
        };
        let name = crate::config::env::variable(setting.key);
        let after = settings(&[&theirs[..], &[(&name, own)]].concat());
        let field = format!(" {}: ", setting.key.replace('-', "_"));
        let value = |text: &str| text.split(&field).nth(1).map(|rest| rest.chars().take(60).collect::<String>());
        assert_ne!(value(&before), value(&format!("{after:?}")), "{}", setting.key);
    }
}

#[test]
fn the_rest_of_what_is_heard() {
    let all = settings(&[
        ("TERMINATION_GRACE_PERIOD_SECONDS", "0"),
        ("IPV6_ENABLED", "false"),
        ("USER_TIMEOUT_ENABLED", "true"),
        ("KEEPALIVE_TIME", "1m"),
        ("RUST_LOG", "error,ztunnel::proxy=debug"),
        ("LOG_FORMAT", "json"),
        ("LOCAL_XDS", "workloads: []"),
        ("XDS_ADDRESS", ""),
        ("CRL_PATH", "crl.pem"),
    ]);
    assert_eq!(all.drain_deadline, Duration::from_secs(1));
    assert_eq!((all.ipv6, all.ready_address.to_string().as_str()), (Ipv6::Off, "0.0.0.0:15021"));
    assert_eq!((all.log_level.as_str(), all.log_format), ("error,culvert::proxy=debug", log::Format::Json));
    assert!(matches!(all.mesh_source(), MeshSource::Local(LocalMesh::Text("workloads: []"))));
    let drop_in = all.drop_in.as_ref().unwrap();
    assert_eq!(
        drop_in.keepalive,
        Keepalive { idle: Duration::from_secs(60), user_timeout: true, ..Keepalive::default() }
    );
    assert_eq!(all.crl_file.as_deref(), Some(Path::new("crl.pem")));
    let check = |grace: &str, expected: u64| {
        let settings = settings(&[("TERMINATION_GRACE_PERIOD_SECONDS", grace)]);
        assert_eq!(settings.drain_deadline, Duration::from_secs(expected), "{grace}");
    };
    check("1", 1);
    check("2", 1);
    check("10", 9);
    check("11", 6);
    check("30", 25);
}

#[test]
fn the_table_is_sound() {
    for (place, Variable { name, fate, .. }) in ALL.iter().enumerate() {
        assert!(place == 0 || ALL[place - 1].name < *name, "{name} is not in order");
        let text = match fate {
            Fate::Setting(key) => *key,
            Fate::Heard(text) | Fate::Unused(text) | Fate::Always { why: text, .. } => text,
        };
        assert!(!text.is_empty() && !text.ends_with('.') && !text.contains(['\n', '|']), "{name}: {text}");
    }
    assert!(variables::find("RUST_LOG").is_some() && variables::find("PATH").is_none());
}

/// Who the control plane is told we are: the id has one address, the metadata all of them as one text, and no variable of
/// another name says otherwise.
#[test]
fn the_addresses_of_the_node_are_one_text() {
    let check = |pairs: &[(&str, &str)], id: &str, all: &str| {
        let node = settings(pairs).xds_node();
        assert_eq!(node.id.split('~').nth(1), Some(id), "{pairs:?}");
        assert_eq!(node.metadata["INSTANCE_IPS"], Value::from(all), "{pairs:?}");
    };
    check(&[("INSTANCE_IP", "10.0.0.9")], "10.0.0.9", "10.0.0.9");
    check(&[("INSTANCE_IP", "10.0.0.9, fd00::9")], "10.0.0.9", "10.0.0.9,fd00::9");
    check(&[("INSTANCE_IP", "fd00::9")], "fd00::9", "fd00::9");
    check(&[("INSTANCE_IP", "10.0.0.9"), ("ISTIO_META_INSTANCE_IPS", "10.9.9.9")], "10.0.0.9", "10.0.0.9");
    check(&[], "1.1.1.1", "1.1.1.1");
    check(&[("INSTANCE_IP", "")], "1.1.1.1", "1.1.1.1");
}

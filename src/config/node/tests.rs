use std::collections::BTreeMap;

use super::super::env::Environment;
use super::super::table::NODE;
use super::*;

/// With all that the others need, so that each can be tried alone.
fn settings(pairs: &[(&'static str, &str)]) -> Result<NodeSettings, ConfigError> {
    let mut flags = BTreeMap::from([("manifests", "m".to_owned()), ("node", "a".to_owned())]);
    flags.extend(pairs.iter().map(|(key, value)| (*key, (*value).to_owned())));
    NodeSettings::try_from(&Effective::resolve(NODE, &flags, &Environment::default(), None)?)
}

#[test]
fn defaults() {
    let settings = settings(&[]).unwrap();
    assert_eq!(settings.leaf_ttl, Duration::from_secs(86_400));
    assert_eq!(settings.window_budget, 64 << 20);
    assert_eq!(settings.ipv6, Ipv6::Auto);
    assert_eq!(settings.data_threads, None);
    assert!(settings.admin_address.ip().is_loopback());
    assert_eq!((settings.state_max_age, settings.drop_in.is_none()), (Duration::from_secs(86_400), true));
    assert!(settings.same_node_lane && settings.log_access && !settings.reset_older_connections);
}

/// Every key changes something: a field that is read from another's key, or from none, shows here.
#[test]
fn every_setting_has_its_own_field() {
    let peers = [("xds-address", "cp:1"), ("ca-address", "ca:1")];
    let before = format!("{:?}", settings(&peers).unwrap());
    for setting in NODE {
        use value::Kind;
        let other = match (setting.key, setting.kind) {
            ("log-format", _) => "json",
            ("redirect-backend", _) => "iptables",
            ("ipv6", _) => "false",
            ("key-exchange", _) => "post-quantum",
            (_, Kind::Files) => "other=/roots.pem",
            (_, Kind::Endpoint) => "other:15012",
            (_, Kind::Roots) => "SYSTEM",
            ("data-busy-poll", _) => "77us",
            ("cgroup-exemption", _) => "off",
            ("same-node-lane" | "log-access" | "dns-capture", _) => "false",
            (_, Kind::Bool) => "true",
            (_, Kind::Address) => "127.0.0.9:9",
            (_, Kind::Bytes) => "1MiB",
            (_, Kind::Count | Kind::Positive) => "77",
            (_, Kind::Duration | Kind::Period) => "77s",
            (_, Kind::Levels) => "trace",
            _ => "other",
        };
        let after = format!("{:?}", settings(&[peers[0], peers[1], (setting.key, other)]).unwrap());
        assert_ne!(before, after, "{}", setting.key);
        // The field has the key's name, and it alone changed.
        let field = format!("{}: ", setting.key.replace('-', "_"));
        let value =
            |text: &str| text.split(&format!(" {field}")).nth(1).map(|rest| rest.chars().take(60).collect::<String>());
        assert_ne!(value(&before), value(&after), "{}", setting.key);
    }
}

#[test]
fn contradictions_are_refused() {
    let check = |pairs: &[(&'static str, &str)], part: &str| {
        let error = settings(pairs).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    check(&[("window-budget", "64KiB")], "at least 256KiB");
    check(&[("data-busy-poll", "2ms")], "at most 1ms");
    check(&[("metrics-address", "127.0.0.1:15000")], "admin-address and --metrics-address must differ");
    check(&[("metrics-address", "[::]:15000")], "both would listen on port 15000");
    check(&[("admin-address", "127.0.0.1:15020")], "--admin-address and metrics-address must differ");
    assert!(settings(&[("metrics-address", "127.0.0.1:0"), ("ready-address", "127.0.0.1:0")]).is_ok());
}

#[test]
fn what_is_required_is_asked_for() {
    let check = |pairs: &[(&'static str, &str)], expected: &str| {
        let flags = pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let all = Effective::resolve(NODE, &flags, &Environment::default(), None).unwrap();
        let error = NodeSettings::try_from(&all).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check(&[("manifests", "m")], "node is not set: give --node, the variable CULVERT_NODE");
    check(&[("node", "a")], "manifests is not set: give --manifests, the variable CULVERT_MANIFESTS");
}

#[test]
fn trust_domains_are_read_and_each_has_one_meaning() {
    let all = settings(&[
        ("trust-domain-aliases", "old.example, older.example"),
        ("trust-bundles", "partner.example=/a/roots.pem,other.example=b=c.pem"),
        ("crl-file", "/a/crl.pem"),
    ])
    .unwrap();
    assert_eq!(all.trust_domain_aliases, ["old.example", "older.example"]);
    let bundles = [("partner.example", "/a/roots.pem"), ("other.example", "b=c.pem")];
    assert_eq!(all.trust_bundles, bundles.map(|(domain, file)| (domain.to_owned(), PathBuf::from(file))));
    assert_eq!(all.crl_file, Some(PathBuf::from("/a/crl.pem")));
    assert_eq!(settings(&[]).unwrap().crl_file, None);
    for (key, text) in [
        ("trust-domain-aliases", "Old.Example"),
        ("trust-bundles", "partner.example"),
        ("trust-bundles", "=roots.pem"),
        ("trust-bundles", "partner.example="),
    ] {
        assert!(settings(&[(key, text)]).is_err(), "{key} {text}");
    }
    for pairs in [
        [("trust-domain-aliases", "cluster.local"), ("crl-file", "")],
        [("trust-domain-aliases", "a.example,a.example"), ("crl-file", "")],
        [("trust-bundles", "cluster.local=roots.pem"), ("crl-file", "")],
        [("trust-bundles", "a.example=roots.pem"), ("trust-domain-aliases", "a.example")],
    ] {
        let error = settings(&pairs).unwrap_err().to_string();
        assert!(error.contains("one meaning"), "{error}");
    }
}

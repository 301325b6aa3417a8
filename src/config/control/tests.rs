use std::collections::BTreeMap;

use super::super::env::Environment;
use super::super::table::CONTROL;
use super::*;

fn settings(pairs: &[(&'static str, &str)]) -> Result<ControlSettings, ConfigError> {
    let required = [("manifests", "m"), ("tokens", "t"), ("server-names", "localhost")];
    let mut flags: BTreeMap<_, _> = required.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    flags.extend(pairs.iter().map(|(key, value)| (*key, (*value).to_owned())));
    ControlSettings::try_from(&Effective::resolve(CONTROL, &flags, &Environment::default(), None)?)
}

#[test]
fn defaults_are_istios_ports_and_lives() {
    let settings = settings(&[]).unwrap();
    assert_eq!(settings.listen_address.port(), 15_012);
    assert_eq!(settings.leaf_ttl, Duration::from_secs(86_400));
    assert_eq!(settings.connection_age, Duration::from_secs(1_800));
    assert!(settings.admin_address.ip().is_loopback());
}

/// Every key changes its own field and no other.
#[test]
fn every_setting_has_its_own_field() {
    let before = settings(&[]).unwrap();
    for setting in CONTROL {
        use value::Kind;
        let other = match (setting.key, setting.kind) {
            ("log-format", _) => "json",
            (_, Kind::Address) => "127.0.0.9:9",
            (_, Kind::Count | Kind::Positive) => "77",
            (_, Kind::Duration | Kind::Period) => "77s",
            (_, Kind::Levels) => "trace",
            _ => "other",
        };
        let after = settings(&[(setting.key, other)]).unwrap();
        let field = format!("{}: ", setting.key.replace('-', "_"));
        let lines =
            |settings: &ControlSettings| format!("{settings:?}").split(", ").map(str::to_owned).collect::<Vec<_>>();
        let (before, after) = (lines(&before), lines(&after));
        let changed: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
        assert!(changed.len() == 1 && changed[0].contains(&field), "{}: {changed:?}", setting.key);
    }
}

#[test]
fn what_contradicts_or_is_no_host_is_refused() {
    let check = |pairs: &[(&'static str, &str)], part: &str| {
        let error = settings(pairs).unwrap_err();
        let text = crate::telemetry::cause::chain(&error);
        assert!(text.contains(part), "{text}");
    };
    check(&[("leaf-ttl", "2161h")], "at most 90 days");
    check(&[("metrics-address", "[::]:15012")], "must differ");
    check(&[("admin-address", "127.0.0.1:15012")], "listen-address and --admin-address must differ");
    for bad in ["", "a,,b", "a b", "https://a", ".a", "a:1"] {
        check(&[("server-names", bad)], "DNS names and addresses");
    }
    assert_eq!(settings(&[("server-names", "a.example, 192.0.2.7,::1")]).unwrap().server_names.len(), 3);
}

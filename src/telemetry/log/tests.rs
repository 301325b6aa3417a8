use std::io;
use std::sync::{Arc, Mutex};

use super::*;
use crate::telemetry::access::{AccessRecord, Asked, Direction, Failure, Party, Road};

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lines(config: &Config, work: impl FnOnce()) -> Vec<String> {
    let output = Output::default();
    let (subscriber, guard, _) = subscriber(config, output.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, work);
    drop(guard);
    let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn config(format: Format) -> Config {
    Config { format, level: "info".into(), access: Access::Always, colour: false }
}

fn record() -> AccessRecord {
    AccessRecord {
        direction: Direction::Inbound,
        source: Party {
            address: Some("10.0.0.1:4000".parse().unwrap()),
            identity: Some("spiffe://cluster.local/ns/web/sa/a\nerror forged line".into()),
            ..Party::default()
        },
        destination: Party { workload: Some("server".into()), ..Party::default() },
        hbone_address: Some(Asked::Address("10.0.0.2:15008".parse().unwrap())),
        service: None,
        road: Road::Hbone,
        connection_security_policy: "mutual_tls",
        bytes_sent: 5,
        bytes_received: 7,
        duration: std::time::Duration::from_micros(13_400),
        failure: None,
    }
}

#[test]
fn text_lines_have_time_level_target_message_and_fields() {
    let lines = lines(&config(Format::Text), || {
        tracing::info!(pod = "web/a", port = 80, "enrolled {}", "it");
        tracing::debug!("not at this level");
    });
    assert_eq!(lines.len(), 1);
    let (time, rest) = lines[0].split_once(' ').unwrap();
    assert!(time.len() == 27 && time.ends_with('Z'), "{time}");
    assert_eq!(rest, "info  telemetry::log::tests: enrolled it pod=web/a port=80");
}

#[test]
fn spans_give_their_fields() {
    let lines = lines(&config(Format::Text), || {
        let span = tracing::info_span!("pod", pod = "web/a", peer = tracing::field::Empty);
        span.record("peer", "10.0.0.9");
        span.in_scope(|| tracing::warn!(port = 80, "odd"));
    });
    assert!(lines[0].ends_with("warn  telemetry::log::tests: odd pod=web/a peer=10.0.0.9 port=80"), "{}", lines[0]);
}

#[test]
fn json_lines_parse_and_fields_cannot_forge_the_level() {
    let lines = lines(&config(Format::Json), || tracing::info!(level = "error", name = "a\"b\n", "hello"));
    let object: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(object["level"], "info");
    assert_eq!(object["name"], "a\"b\n");
    assert_eq!(object["message"], "hello");
}

#[test]
fn colour_is_for_text_alone() {
    let colour = |format| Config { colour: true, ..config(format) };
    assert!(lines(&colour(Format::Text), || tracing::error!("x"))[0].contains('\u{1b}'));
    assert!(!lines(&colour(Format::Json), || tracing::error!("x"))[0].contains("u001b"));
    assert!(!lines(&config(Format::Text), || tracing::error!("x"))[0].contains('\u{1b}'));
}

#[test]
fn an_access_line_is_one_line_with_its_fields_in_order() {
    let lines = lines(&config(Format::Text), || record().emit());
    assert_eq!(lines.len(), 1);
    let line = lines[0].split_once(" info  access: ").unwrap().1;
    assert_eq!(
        line,
        "connection complete src.addr=10.0.0.1:4000 \
         src.identity=\"spiffe://cluster.local/ns/web/sa/a\\nerror forged line\" \
         dst.hbone_addr=10.0.0.2:15008 dst.workload=server direction=inbound bytes_sent=5 bytes_recv=7 \
         duration=13ms road=hbone connection_security_policy=mutual_tls"
    );
}

/// The text form on every road, as it is documented; what is not known is not there.
#[test]
fn every_road_has_its_line_of_text() {
    let party = |address: &str, name: &str, identity: Option<&str>| Party {
        address: Some(address.parse().unwrap()),
        workload: Some(name.into()),
        namespace: Some("demo".into()),
        identity: identity.map(Into::into),
        cluster: None,
    };
    let (client, near) = (Some("spiffe://td/ns/demo/sa/client"), Some("spiffe://td/ns/demo/sa/near"));
    let hbone = AccessRecord {
        direction: Direction::Outbound,
        source: party("10.0.0.1:4000", "client", client),
        destination: party("10.0.0.2:15008", "near", near),
        hbone_address: Some(Asked::Address("10.0.0.2:80".parse().unwrap())),
        service: None,
        road: Road::Hbone,
        connection_security_policy: "mutual_tls",
        bytes_sent: 5,
        bytes_received: 7,
        duration: std::time::Duration::from_millis(13),
        failure: None,
    };
    let same_node = AccessRecord {
        destination: party("10.0.0.2:80", "near", near),
        hbone_address: None,
        road: Road::SameNode,
        connection_security_policy: "node_local",
        ..hbone.clone()
    };
    let plain = AccessRecord {
        direction: Direction::Inbound,
        source: Party { address: Some("192.0.2.1:4000".parse().unwrap()), ..Party::default() },
        destination: party("10.0.0.2:80", "near", None),
        hbone_address: None,
        service: Some("near.demo.svc".into()),
        road: Road::Plain,
        connection_security_policy: "unknown",
        ..hbone.clone()
    };
    let failure = |reason: &str| Failure {
        reason: reason.into(),
        policy: Some("demo/none".into()),
        detail: Some("denied by demo/none rule 0: it covers every connection".into()),
    };
    let refused = AccessRecord { road: Road::Refused, failure: Some(failure("policy")), ..plain.clone() };
    let cut = AccessRecord { failure: Some(failure("policy_changed")), ..same_node.clone() };
    let ends =
        "src.addr=10.0.0.1:4000 src.workload=client src.namespace=demo src.identity=spiffe://td/ns/demo/sa/client";
    let to = "dst.workload=near dst.namespace=demo dst.identity=spiffe://td/ns/demo/sa/near direction=outbound";
    let from_outside = "src.addr=192.0.2.1:4000 dst.addr=10.0.0.2:80 dst.service=near.demo.svc dst.workload=near \
                        dst.namespace=demo direction=inbound";
    let bytes = "bytes_sent=5 bytes_recv=7 duration=13ms";
    let why = "policy=demo/none detail=\"denied by demo/none rule 0: it covers every connection\"";
    for (record, expected) in [
        (
            hbone,
            format!(
                "info  access: connection complete {ends} dst.addr=10.0.0.2:15008 dst.hbone_addr=10.0.0.2:80 {to} {bytes} road=hbone connection_security_policy=mutual_tls"
            ),
        ),
        (
            same_node,
            format!(
                "info  access: connection complete {ends} dst.addr=10.0.0.2:80 {to} {bytes} road=same_node connection_security_policy=node_local"
            ),
        ),
        (
            plain,
            format!(
                "info  access: connection complete {from_outside} {bytes} road=plain connection_security_policy=unknown"
            ),
        ),
        (
            refused,
            format!(
                "warn  access: connection refused {from_outside} {bytes} road=refused connection_security_policy=unknown reason=policy {why}"
            ),
        ),
        (
            cut,
            format!(
                "warn  access: connection failed {ends} dst.addr=10.0.0.2:80 {to} {bytes} road=same_node connection_security_policy=node_local reason=policy_changed {why}"
            ),
        ),
    ] {
        let lines = lines(&config(Format::Text), || record.emit());
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0].split_once(' ').unwrap().1, expected);
    }
}

#[test]
fn clusters_stand_after_identities() {
    let mut record = record();
    (record.source.cluster, record.destination.cluster) = (Some("east".into()), Some("west".into()));
    record.destination.identity = Some("spiffe://td/ns/web/sa/server".into());
    let lines = lines(&config(Format::Json), || record.emit());
    let object: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((object["src.cluster"].as_str(), object["dst.cluster"].as_str()), (Some("east"), Some("west")));
    let lines = self::lines(&config(Format::Text), || record.emit());
    let names: Vec<_> = lines[0].split(' ').filter_map(|part| part.split_once('=')).map(|(name, _)| name).collect();
    let places = |wanted: &str| names.iter().position(|name| *name == wanted).unwrap();
    assert_eq!(places("src.identity") + 1, places("src.cluster"), "{names:?}");
    assert_eq!(places("src.cluster") + 1, places("dst.hbone_addr"), "{names:?}");
    assert_eq!(places("dst.identity") + 1, places("dst.cluster"), "{names:?}");
    assert_eq!(places("dst.cluster") + 1, places("direction"), "{names:?}");
}

/// A beginning is told only at `debug`, without what only an end has, and nobody makes a record for it before.
#[test]
fn a_connection_that_begins_has_its_line_at_debug() {
    let by_level = |level: &str| Config { access: Access::ByLevel, level: level.into(), ..config(Format::IstioJson) };
    let opened = |level: &str| {
        let mut wanted = false;
        let lines = lines(&by_level(level), || {
            wanted = AccessRecord::tells_opened();
            record().emit_opened();
        });
        (wanted, lines)
    };
    assert_eq!(opened("info"), (false, vec![]));
    for level in ["debug", "error,access=debug"] {
        let (wanted, lines) = opened(level);
        assert!(wanted && lines.len() == 1, "{lines:?}");
        let object: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        let text = |key: &str| object[key].as_str();
        assert_eq!((text("message"), text("level")), (Some("connection opened"), Some("debug")));
        assert_eq!((text("src.addr"), text("direction")), (Some("10.0.0.1:4000"), Some("inbound")));
        for key in ["bytes_sent", "bytes_recv", "duration", "error"] {
            assert!(object.get(key).is_none(), "{key} in {object}");
        }
    }
}

#[test]
fn a_failure_says_why_and_which_policy() {
    let failure = Failure { reason: "policy_denied".into(), policy: Some("web/only-a".into()), detail: None };
    let failed = AccessRecord { failure: Some(failure), road: Road::Refused, ..record() };
    let lines = lines(&config(Format::Json), || failed.emit());
    let object: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(object["level"], "warn");
    assert_eq!(object["message"], "connection refused");
    assert_eq!(object["reason"], "policy_denied");
    assert_eq!(object["policy"], "web/only-a");
    assert_eq!(object["road"], "refused");
    assert_eq!(object["bytes_sent"], 5);
    assert!(object.get("src.workload").is_none(), "absent fields are left out");
}

#[test]
fn the_access_log_has_its_own_switch() {
    let quiet = Config { level: "error".into(), ..config(Format::Text) };
    assert_eq!(lines(&quiet, || record().emit()).len(), 1);
    let off = Config { access: Access::Never, level: "trace".into(), ..config(Format::Text) };
    assert_eq!(lines(&off, || record().emit()).len(), 0);
    let by_level = |level: &str| Config { access: Access::ByLevel, level: level.into(), ..config(Format::Text) };
    assert_eq!(lines(&by_level("info"), || record().emit()).len(), 1);
    assert_eq!(lines(&by_level("error"), || record().emit()).len(), 0);
    assert_eq!(lines(&by_level("error,access=info"), || record().emit()).len(), 1);
}

#[test]
fn levels_change_while_the_process_runs() {
    let output = Output::default();
    let (subscriber, guard, levels) = subscriber(&config(Format::Text), output.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, || {
        let try_all = |name: &str| tracing::debug!(name, "detail");
        try_all("before");
        levels.change(false, Some("culvert::telemetry=debug")).unwrap();
        try_all("during");
        levels.change(true, None).unwrap();
        try_all("after");
    });
    drop(guard);
    let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
    assert!(text.lines().count() == 1 && text.contains("detail name=during"), "{text}");
}

/// As `istioctl` users and log collectors know the lines.
#[test]
fn istios_lines() {
    let text = lines(&config(Format::IstioText), || {
        record().emit();
        tracing::warn!(port = 80, why = "it is\nso", "odd thing");
    });
    let parts: Vec<_> = text[0].split('\t').collect();
    assert_eq!(parts[1..4], ["info", "access", "connection complete"]);
    assert_eq!(
        parts[4],
        "src.addr=10.0.0.1:4000 src.identity=\"spiffe://cluster.local/ns/web/sa/a\\nerror forged line\" \
         dst.hbone_addr=10.0.0.2:15008 dst.workload=\"server\" direction=\"inbound\" bytes_sent=5 bytes_recv=7 \
         duration=\"13ms\" road=\"hbone\" connection_security_policy=\"mutual_tls\""
    );
    assert!(text[1].ends_with("\twarn\ttelemetry::log::tests\todd thing\tport=80 why=\"it is\\nso\""), "{}", text[1]);
    let failure = Failure { reason: "policy".into(), policy: None, detail: Some("denied by web/a".into()) };
    let failed = AccessRecord { failure: Some(failure), ..record() };
    let json = lines(&config(Format::IstioJson), || failed.emit());
    let object: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
    assert_eq!((object["scope"].as_str(), object["error"].as_str()), (Some("access"), Some("denied by web/a")));
    assert_eq!((object["src.addr"].as_str(), object["duration"].as_str()), (Some("10.0.0.1:4000"), Some("13ms")));
    assert!(object.get("target").is_none() && object["time"].is_string() && object["level"] == "warn");
}

/// Only access lines have ztunnel's `error` beside our words.
#[test]
fn other_lines_say_their_reason_once() {
    for format in [Format::IstioText, Format::IstioJson] {
        let lines = lines(&config(format), || tracing::warn!(reason = "gone", detail = "it left", "not enrolled"));
        assert!(lines[0].contains("it left") && !lines[0].contains("error"), "{}", lines[0]);
    }
}

#[test]
fn a_bad_level_is_named() {
    let bad = Config { level: "info,culvert=loud".into(), ..config(Format::Text) };
    let error = subscriber(&bad, io::sink()).map(drop).unwrap_err();
    assert!(error.to_string().starts_with("log-level \"info,culvert=loud\" is not"), "{error}");
}

#[test]
fn no_value_makes_a_line_without_end() {
    for format in [Format::Json, Format::Text] {
        let long = "x".repeat(1 << 20);
        let lines = lines(&config(format), || tracing::info!(name = long, "{long}"));
        assert!(lines[0].len() < 5000 && lines[0].contains("x…"), "{}", lines[0].len());
    }
}

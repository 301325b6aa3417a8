use proptest::prelude::*;

use super::super::table::NODE;
use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn file(text: &str) -> Result<File, ConfigError> {
    File::parse(Path::new("culvert.yaml"), text, NODE)
}

/// The error with its causes, as a person reads it.
fn line(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|source| format!(": {}", line(source)));
    format!("{error}{}", cause.unwrap_or_default())
}

#[test]
fn flags_outweigh_the_environment_and_so_on() {
    let file =
        file("leaf-ttl: 3h\nlog-level: warn\nnetwork: three\nsame-node-lane: false\nmetrics-series: 7\n").unwrap();
    let environment = environment(&[("CULVERT_LEAF_TTL", "2h"), ("CULVERT_LOG_LEVEL", "debug")]);
    let flags = BTreeMap::from([("leaf-ttl", "1h".to_owned())]);
    let all = Effective::resolve(NODE, &flags, &environment, Some(&file)).unwrap();
    let check = |key: &str, text: &str, origin: &str| {
        let (found, from) = all.value(key).unwrap();
        assert_eq!((found, from.to_string().as_str()), (text, origin), "{key}");
    };
    check("leaf-ttl", "1h", "--leaf-ttl");
    check("log-level", "debug", "CULVERT_LOG_LEVEL");
    check("network", "three", "culvert.yaml: network");
    check("same-node-lane", "false", "culvert.yaml: same-node-lane");
    check("metrics-series", "7", "culvert.yaml: metrics-series");
    check("cluster", "Kubernetes", "default");
    assert_eq!(all.value("node"), None);
}

#[test]
fn errors_name_the_place_and_the_mend() {
    let check = |flags: &[(&'static str, &str)], pairs: &[(&str, &str)], text: &str, expected: &str| {
        let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let result = file(text).and_then(|file| Effective::resolve(NODE, &flags, &environment(pairs), Some(&file)));
        assert_eq!(line(&result.unwrap_err()), expected);
    };
    let duration = "is not a duration with its unit: write 500ms, 10s, 5m or 24h";
    check(&[("leaf-ttl", "5")], &[], "", &format!("--leaf-ttl: \"5\" {duration}"));
    check(&[], &[("CULVERT_LEAF_TTL", "5")], "", &format!("CULVERT_LEAF_TTL: \"5\" {duration}"));
    check(&[], &[], "leaf-ttl: 5", &format!("culvert.yaml: leaf-ttl: \"5\" {duration}"));
    // Outweighed by a flag, and still named.
    check(&[("leaf-ttl", "5s")], &[], "leaf-ttl: 5", &format!("culvert.yaml: leaf-ttl: \"5\" {duration}"));
    check(
        &[],
        &[],
        "leaf_ttl: 5h",
        "the settings file culvert.yaml has the unknown key \"leaf_ttl\": did you mean \"leaf-ttl\"?",
    );
    check(&[], &[], "colour: blue", "the settings file culvert.yaml has the unknown key \"colour\"");
}

#[test]
fn files_of_another_shape_are_refused() {
    for text in
        ["- a\n- b\n", "leaf-ttl: [1]", "leaf-ttl: {a: b}", "leaf-ttl: 1h\nleaf-ttl: 2h\n", "a: b: c", "\"", "text"]
    {
        let error = file(text).expect_err(text);
        assert!(matches!(error, ConfigError::FileShape { .. }), "{text}: {error}");
        assert!(line(&error).starts_with("the settings file culvert.yaml is not"), "{error}");
    }
    for text in ["", "# nothing\n\n", "{}"] {
        assert!(file(text).is_ok(), "{text:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = File::read(Path::new("nowhere/culvert.yaml"), NODE).unwrap_err();
    assert!(line(&error).starts_with("cannot read the settings file nowhere/culvert.yaml: "), "{error}");
}

#[test]
fn near_misses_in_the_environment_are_told() {
    let pairs =
        [("CULVERT_LEAFTTL", "1h"), ("CULVERT_SERVICE_HOST", "10.0.0.1"), ("CULVERT_CONFIG", "x"), ("OTHER", "")];
    let all = Effective::resolve(NODE, &BTreeMap::new(), &environment(&pairs), None).unwrap();
    assert_eq!(all.warnings(), ["the variable CULVERT_LEAFTTL is not a setting: did you mean CULVERT_LEAF_TTL?"]);
}

proptest! {
    #[test]
    fn no_file_panics(text in any::<String>()) {
        drop(file(&text));
    }

    #[test]
    fn no_mapping_panics(key in "[a-z-]{1,12}", value in "\\PC{0,40}") {
        drop(file(&format!("{key}: {value}")));
    }
}

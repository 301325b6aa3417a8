use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tempfile::TempDir;

use super::*;
use crate::config::mesh::MeshSettings;

const NAMESPACE: &str =
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}\n";
const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: till, namespace: shop, labels: {app: till}}\n\
                   spec: {nodeName: a, serviceAccountName: till}\nstatus: {podIP: 10.1.0.1}\n";

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn policy(rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: shop}}\n\
         spec: {{action: DENY, rules: {rules}}}\n"
    )
}

fn asked(directory: &Path) -> Lint {
    let mesh = MeshSettings {
        trust_domain: "cluster.local".to_owned(),
        trust_domain_aliases: Vec::new(),
        trust_bundles: Vec::new(),
        cluster_domain: "cluster.local".to_owned(),
        root_namespace: "istio-system".to_owned(),
    };
    Lint { directory: directory.to_owned(), output: Output::Text, strict: false, mesh }
}

fn is_success(code: ExitCode) -> bool {
    // An exit code has no other face than this one.
    format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
}

#[test]
fn the_exit_code_is_that_of_the_worst() {
    let check = |rules: &str, plain: bool, strict: bool| {
        let directory = directory(&[("a.yaml", NAMESPACE), ("b.yaml", POD), ("c.yaml", &policy(rules))]);
        let code = |strict| run(&Lint { strict, ..asked(directory.path()) }).unwrap().code;
        assert_eq!((is_success(code(false)), is_success(code(true))), (plain, strict), "{rules}");
    };
    check("[{from: [{source: {namespaces: [shop]}}]}]", true, true);
    check("[{from: [{source: {ipBlocks: [10.9.9.9]}}]}]", true, true);
    check("[{from: [{source: {namespaces: [shpo]}}]}]", true, false);
    check("[{to: [{operation: {methods: [GET]}}]}]", false, false);
    check("[{form: []}]", false, false);
}

#[test]
fn text_groups_by_object_and_counts() {
    let rules = "[{from: [{source: {namespaces: [shpo], ipBlocks: [10.9.9.9]}}]}]";
    let directory = directory(&[("a.yaml", NAMESPACE), ("b.yaml", POD), ("c.yaml", &policy(rules))]);
    let Report { text, .. } = run(&asked(directory.path())).unwrap();
    let text = anstream::adapter::strip_str(&text).to_string();
    let file = directory.path().join("c.yaml");
    let wanted = format!(
        "AuthorizationPolicy shop/p  {} document 1 (line 1)\n  \
           warning  unknown-namespace  spec.rules[0].from[0].source.namespaces[0]\n           \
             namespace shpo is not declared and has no pods; nobody is refused by it\n           \
             mend: did you mean `shop`?\n  \
           note     unknown-address    spec.rules[0].from[0].source.ipBlocks[0]\n           \
             no workload has the address 10.9.9.9; nobody is refused by it\n           \
             mend: check it; addresses of pods change with every restart\n\n\
         0 errors, 1 warning, 1 note in 3 documents\n",
        file.display()
    );
    assert_eq!(text, wanted);
}

#[test]
fn json_says_the_same() {
    let directory = directory(&[("a.yaml", NAMESPACE), ("b.yaml", POD), ("c.yaml", &policy("[{form: []}]"))]);
    let Report { text, .. } = run(&Lint { output: Output::Json, ..asked(directory.path()) }).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let counts = ["errors", "warnings", "notes", "documents"].map(|key| json[key].as_u64());
    assert_eq!(counts, [Some(1), Some(0), Some(1), Some(3)], "{text}");
    let finding = &json["findings"][1];
    let field = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let fields = ["level", "code", "kind", "name", "path"].map(field);
    assert_eq!(fields, ["error", "unknown-field", "AuthorizationPolicy", "shop/p", "spec.rules[0].form"]);
    assert_eq!(finding["at"]["line"], 1, "{text}");
}

#[test]
fn the_settings_of_the_mesh_count() {
    let rules = "[{from: [{source: {principals: [td.example/ns/shop/sa/till]}}]}]";
    let directory = directory(&[("a.yaml", NAMESPACE), ("b.yaml", POD), ("c.yaml", &policy(rules))]);
    let mut lint = asked(directory.path());
    assert!(run(&lint).unwrap().text.contains("other-trust-domain"));
    lint.mesh.trust_domain = "td.example".to_owned();
    assert!(run(&lint).unwrap().text.contains("0 errors, 0 warnings, 0 notes"));
    lint.mesh.trust_domain = "cluster.local".to_owned();
    lint.mesh.trust_domain_aliases = vec!["td.example".to_owned()];
    assert!(run(&lint).unwrap().text.contains("0 errors, 0 warnings, 0 notes"));
    lint.mesh.trust_domain_aliases.clear();
    lint.mesh.trust_bundles = vec![("td.example".to_owned(), "nowhere.pem".into())];
    assert!(run(&lint).unwrap().text.contains("0 errors, 0 warnings, 0 notes"));
    lint.mesh.root_namespace = "shop".to_owned();
    assert!(run(&lint).unwrap().text.contains("whole-mesh"));
}

/// Names are compared with the accounts there are under every name of the trust domain; who lives in another one is not
/// known here, so nothing is said of its patterns.
#[test]
fn principals_of_other_names_are_looked_up() {
    let found = |principal: &str, aliases: &[&str], federated: &[&str]| {
        let rules = format!("[{{from: [{{source: {{principals: ['{principal}']}}}}]}}]");
        let directory = directory(&[("a.yaml", NAMESPACE), ("b.yaml", POD), ("c.yaml", &policy(&rules))]);
        let mut lint = Lint { output: Output::Json, ..asked(directory.path()) };
        lint.mesh.trust_domain_aliases = aliases.iter().map(|name| (*name).to_owned()).collect();
        lint.mesh.trust_bundles = federated.iter().map(|name| ((*name).to_owned(), "r.pem".into())).collect();
        let json: serde_json::Value = serde_json::from_str(&run(&lint).unwrap().text).unwrap();
        let codes =
            json["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned());
        codes.collect::<Vec<_>>().join(" ")
    };
    for (principal, aliases, federated, codes) in [
        ("old.example/ns/shop/sa/till", &["old.example"][..], &[][..], ""),
        ("old.example/ns/shop/sa/tlil", &["old.example"], &[], "unknown-account"),
        ("old.example/ns/shop/*", &["old.example"], &[], ""),
        ("old.example/ns/shop/*", &[], &[], "matches-nobody"),
        ("partner.example/ns/any/sa/body", &[], &["partner.example"], ""),
        ("partner.example/*", &[], &["partner.example"], ""),
        ("part*", &[], &["partner.example"], ""),
        ("*/sa/body", &[], &["partner.example"], ""),
        ("*/sa/body", &[], &[], "matches-nobody"),
        ("partnership*", &[], &["partner.example"], "matches-nobody"),
    ] {
        assert_eq!(found(principal, aliases, federated), codes, "{principal} {aliases:?} {federated:?}");
    }
}

#[test]
fn what_cannot_be_looked_at_is_an_error() {
    let shown = |path: &Path| {
        let error = run(&asked(path)).unwrap_err();
        error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
    };
    let error = shown(&PathBuf::from("no/such/directory"));
    assert!(error.contains("no/such/directory: cannot be read") && error.contains("check the path"), "{error}");
    let empty = directory(&[("notes.txt", "x"), ("blank.yaml", "# nothing\n")]);
    let error = shown(empty.path());
    assert!(error.contains("there is no manifest in") && error.contains("subdirectories"), "{error}");
}

#[test]
fn text_of_manifests_cannot_move_the_cursor() {
    let directory =
        directory(&[("a.yaml", &policy("[{from: [{source: {namespaces: [\"a\\u001b[2J\"]}}]}]")), ("b.yaml", POD)]);
    let Report { text, .. } = run(&asked(directory.path())).unwrap();
    let text = anstream::adapter::strip_str(&text).to_string();
    assert!(text.contains("namespace a?[2J is not declared"), "{text:?}");
}

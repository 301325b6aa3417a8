use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

fn one(name: &str, text: &str) -> Vec<Source> {
    vec![(PathBuf::from(name), text.as_bytes().to_vec())]
}

fn yaml(text: &str) -> Result<Objects, LoadErrors> {
    parse(&one("a.yaml", text))
}

/// The one line that a broken manifest gives.
#[track_caller]
fn check_error(text: &str, line: &str) {
    let errors = yaml(text).expect_err("it was taken").to_string();
    assert_eq!(errors, line);
}

const PODS: &str = "\
# a comment before the first marker
---
apiVersion: v1
kind: Namespace
metadata: {name: demo, labels: {istio.io/dataplane-mode: ambient}}
---
# nothing here
---
apiVersion: v1
kind: Pod
metadata: {name: a, annotations: {culvert.dev/netns: /run/netns/a}}
spec: {nodeName: n}
status: {podIPs: [{ip: 10.0.0.1}]}
";

#[test]
fn documents_namespaces_and_defaults() {
    let objects = yaml(PODS).unwrap();
    assert_eq!(objects.namespaces[0].metadata.labels["istio.io/dataplane-mode"], "ambient");
    assert_eq!(&*objects.pods[0].metadata.namespace, "default");
    assert_eq!(objects.ignored_warning(), None);
}

#[test]
fn line_ends_marks_and_markers() {
    let text = format!("\u{feff}%YAML 1.2\r\n{}...\r\n", PODS.replace('\n', "\r\n"));
    assert_eq!(yaml(&text).unwrap().pods.len(), 1);
    let documents: Vec<_> = split::documents("--- # x\n\n---\na: |\n  ---\n  b\n----: 1\n--- {c: d}\n...\n")
        .into_iter()
        .map(|d| (d.number, d.line, d.first, d.text))
        .collect();
    assert_eq!(documents, [(1, 3, 4, "---\na: |\n  ---\n  b\n----: 1\n"), (2, 8, 8, "--- {c: d}\n...\n")]);
}

#[test]
fn errors_name_file_document_object_path_reason_and_mend() {
    let head = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: x, namespace: demo}\n";
    check_error(
        &format!("{PODS}---\n{head}spec: {{rules: [{{from: [{{source: {{principal: [a]}}}}]}}]}}\n"),
        "a.yaml document 3 (line 15), AuthorizationPolicy demo/x, spec.rules[0].from[0].source.principal: unknown field \
         `principal`, expected one of `principals`, `notPrincipals`, `requestPrincipals`, `notRequestPrincipals`, \
         `namespaces`, `notNamespaces`, `serviceAccounts`, `notServiceAccounts`, `ipBlocks`, `notIpBlocks`, \
         `remoteIpBlocks`, `notRemoteIpBlocks`; check the spelling; nothing is enforced with a field that is not understood",
    );
    check_error(
        &format!("{head}spec:\n  rules:\n  - from:\n    to: [{{operation: {{ports: ['80']}}}}]\n"),
        "a.yaml document 1 (line 1), AuthorizationPolicy demo/x, spec.rules[0].from: it is empty (null); check the \
         indentation of what belongs below it, or remove it",
    );
    check_error(
        &format!("{head}spec: {{rules: [{{from: [{{source: {{ipBlocks: [10.0.0.300]}}}}]}}]}}"),
        "a.yaml document 1 (line 1), AuthorizationPolicy demo/x, spec.rules[0].from[0].source.ipBlocks[0]: `10.0.0.300` \
         is neither an address nor a CIDR; write it as 10.0.0.0/8, 10.1.2.3, fd00::/8 or fd00::1",
    );
    check_error(
        &format!("{head}spec: {{rules: [{{to: [{{operation: {{ports: [80]}}}}]}}]}}"),
        "a.yaml document 1 (line 1), AuthorizationPolicy demo/x, spec.rules[0].to[0].operation.ports[0]: invalid type: \
         integer `80`, expected a string; put the value in quotes",
    );
    check_error(
        &format!("{head}specs: {{mtls: {{mode: STRICT}}}}").replace("AuthorizationPolicy", "PeerAuthentication"),
        "a.yaml document 1 (line 1), PeerAuthentication demo/x, specs: unknown field, expected one of apiVersion, kind, \
         metadata, spec, status; check the spelling; nothing is enforced with a field that is not understood",
    );
    let misspelt = yaml(&head.replace("namespace:", "namspace:")).unwrap_err().to_string();
    assert!(misspelt.contains("AuthorizationPolicy default/x, metadata.namspace: unknown field"), "{misspelt}");
    check_error(
        &format!("{head}spec: {{action: deny}}"),
        "a.yaml document 1 (line 1), AuthorizationPolicy demo/x, spec.action: unknown variant `deny`, expected one of \
         `ALLOW`, `AUDIT`, `CUSTOM`, `DENY`; write one of the names given, in capitals as shown",
    );
    check_error(
        &head.replace("demo}", "demo, annotations: {culvert.dev/timezone: Europe/Wien}}"),
        "a.yaml document 1 (line 1), AuthorizationPolicy demo/x, metadata.annotations[culvert.dev/timezone]: \
         `Europe/Wien` is not a time zone; write a name of the IANA database, such as Europe/Vienna",
    );
    check_error(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: A}}",
        "a.yaml document 1 (line 1), Pod default/A, items[0].metadata.name: `A` is not a Kubernetes name; use lower-case \
         letters, digits and `-`, beginning and ending with a letter or digit",
    );
    check_error(
        "a: b",
        "a.yaml document 1 (line 1): `kind` is missing or is not text; write one object a document, with apiVersion, kind and metadata",
    );
    check_error(
        "\n\n- a",
        "a.yaml document 1 (line 3): the document is not an object; write one object a document, with apiVersion, kind and metadata",
    );
    let syntax = yaml(&format!("{PODS}---\nkind: [\n")).unwrap_err().to_string();
    assert!(syntax.starts_with("a.yaml document 3 (line 15): ") && syntax.lines().count() == 1, "{syntax}");
    let twice = yaml("kind: a\nkind: b").unwrap_err().to_string();
    assert!(twice.contains("duplicate") && twice.contains("kind"), "{twice}");
}

#[test]
fn syntax_errors_count_lines_of_the_file() {
    let text = format!("{PODS}---\nkind: Pod\nspec:\n  a: b\n c: d\n");
    let line = text.lines().count();
    let error = yaml(&text).unwrap_err().to_string();
    assert!(error.contains(&format!("line {line}")), "{error}");
}

#[test]
fn bad_pods_and_services() {
    let pod = |extra: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a{extra}\n");
    for (text, part) in [
        (pod("}\nstatus: {podIPs: [{ip: 10.0.0.1}, {ip: x}]}"), "status.podIPs[1].ip: `x` is not an address"),
        (pod("}\nstatus: {podIP: 127.0.0.1}"), "status.podIP: `127.0.0.1` cannot be a pod's address"),
        (pod("}\nstatus: {podIPs: [{ip: '::'}]}"), "cannot be a pod's address"),
        (pod(", annotations: {culvert.dev/netns: run/x}}"), "`run/x` is not an absolute path"),
        (pod(", creationTimestamp: yesterday}"), "metadata.creationTimestamp: is not a time"),
        (pod(", namespace: a.b}"), "metadata.namespace: `a.b` is not a Kubernetes name"),
        (pod(", namespace: 'a/b'}"), "metadata.namespace"),
        (pod("}\nspec: {serviceAccountName: 'a/b'}"), "spec.serviceAccountName"),
        (pod("}\nspec: {nodeName: 'a b'}"), "spec.nodeName"),
        (pod("}\nspec: {hostNetwork: yes}"), "spec.hostNetwork: invalid type: string \"yes\", expected a boolean"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {}".to_owned(), "metadata.name: is missing"),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: x}".to_owned(),
            "`x` is not an address",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 70000}]}".to_owned(),
            "spec.ports[0].port",
        ),
    ] {
        let error = yaml(&text).unwrap_err().to_string();
        assert!(error.contains(part) && error.lines().count() == 1, "{part}: {error}");
    }
}

#[test]
fn the_same_object_twice_names_both_places() {
    let other = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a, namespace: d}\n";
    let sources = [("a.yaml", other.to_owned()), ("b.yaml", format!("# x\n\n{}", other.replace("/v1", "/v1beta1")))];
    let sources: Vec<Source> = sources.into_iter().map(|(n, t)| (n.into(), t.into_bytes())).collect();
    let errors = parse(&sources).unwrap_err().to_string();
    let wanted = "b.yaml document 1 (line 3), PeerAuthentication d/a: the same object is in a.yaml document 1 (line 1) \
                  already; remove one of the two";
    assert_eq!(errors, wanted);
}

#[test]
fn kinds_of_istios_networking_and_nodes() {
    let text: String = ["v1", "v1beta1", "v1alpha3"]
        .map(|v| {
            format!(
                "---\napiVersion: networking.istio.io/{v}\nkind: ServiceEntry\nmetadata: {{name: {v}}}\nspec: {{hosts: [a.com]}}\n\
                 ---\napiVersion: networking.istio.io/{v}\nkind: WorkloadEntry\nmetadata: {{name: {v}}}\nspec: {{address: 10.0.0.1}}\n"
            )
        })
        .concat();
    let objects =
        yaml(&format!("{text}---\napiVersion: v1\nkind: Node\nmetadata: {{name: n, namespace: x}}\n")).unwrap();
    assert_eq!(
        (objects.service_entries.len(), objects.workload_entries.len(), &*objects.nodes[0].metadata.namespace),
        (3, 3, "")
    );
    check_error(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: x}\nspec: {host: [a.com]}",
        "a.yaml document 1 (line 1), ServiceEntry default/x, spec.host: unknown field `host`, expected one of `hosts`, \
         `addresses`, `ports`, `location`, `resolution`, `endpoints`, `workloadSelector`, `exportTo`, `subjectAltNames`; \
         check the spelling; nothing is enforced with a field that is not understood",
    );
    check_error(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: x}\nspec: {address: 10.0.0.1, ports:}",
        "a.yaml document 1 (line 1), WorkloadEntry default/x, spec.ports: it is empty (null); check the indentation of \
         what belongs below it, or remove it",
    );
    check_error(
        "apiVersion: v1\nkind: Node\nmetadata: {name: N}",
        "a.yaml document 1 (line 1), Node N, metadata.name: `N` is not a Kubernetes name; use lower-case letters, digits \
         and `-`, beginning and ending with a letter or digit",
    );
}

#[test]
fn unknown_kinds_are_one_warning() {
    let text = "apiVersion: v1\nkind: Secret\n---\napiVersion: v1\nkind: Secret\n---\napiVersion: security.istio.io/v1alpha1\nkind: AuthorizationPolicy\n";
    let warning = yaml(text).unwrap().ignored_warning().unwrap();
    assert!(warning.ends_with("security.istio.io/v1alpha1 AuthorizationPolicy (1), v1 Secret (2)"), "{warning}");
    let many: String = (0..100).map(|i| format!("---\napiVersion: v1\nkind: K{i}\n")).collect();
    assert_eq!(yaml(&many).unwrap().ignored.len(), MAX_IGNORED);
}

#[test]
fn json_and_lists() {
    let text = "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"List\",\n\t\"items\": [{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n\
                {\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"x\"}}]}, {\"apiVersion\": \"v1\", \"kind\": \"Pod\",\
                \"metadata\": {\"name\": \"x\"}}]}";
    for name in ["a.json", "a.yaml"] {
        let objects = parse(&one(name, text)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((objects.namespaces.len(), objects.pods.len()), (1, 1), "{name}");
    }
    for (text, part) in [
        ("{\"kind\": \"a\", \"kind\": \"b\"}", "the key `kind` stands twice"),
        ("{", "EOF"),
        ("{} {}", "trailing"),
        ("{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": 1}", "items"),
    ] {
        let error = parse(&one("a.json", text)).unwrap_err().to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(parse(&one("a.json", " \n")).unwrap(), Objects::default());
}

#[test]
fn mistakes_are_bounded_and_none_is_hidden() {
    let text: String = (0..150).map(|i| format!("---\nx: {i}\n")).collect();
    let errors = yaml(&text).unwrap_err();
    assert_eq!((errors.errors.len(), errors.more), (100, 50));
    assert!(errors.to_string().ends_with("… and 50 more"));
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n";
    assert!(yaml(bomb).unwrap_err().to_string().contains("alias"));
    for deep in ["[".repeat(100_000), format!("{}1", "{a: ".repeat(100_000)), "- ".repeat(100_000)] {
        for name in ["a.yaml", "a.json"] {
            assert!(parse(&one(name, &deep)).is_err());
        }
    }
    let control = yaml("apiVersion: v1\nkind: Pod\nmetadata: {name: \"a\\e[31m\\nb\"}").unwrap_err().to_string();
    assert!(!control.contains('\u{1b}') && control.lines().count() == 1, "{control:?}");
    assert!(parse(&[("a.yaml".into(), vec![0xff, 0xfe])]).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn a_directory_is_read_in_order_of_names() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("b.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: second}\n");
    write("a.yml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: first}\n");
    write("c.json", r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "third"}}"#);
    write("notes.txt", "[");
    write(".hidden.yaml", "[");
    fs::create_dir(dir.path().join("d.yaml")).unwrap();
    let names: Vec<_> = load(dir.path()).unwrap().namespaces.iter().map(|n| n.metadata.name.to_string()).collect();
    assert_eq!(names, ["first", "second", "third"]);

    std::os::unix::fs::symlink("nowhere", dir.path().join("z.yaml")).unwrap();
    let error = load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("z.yaml: cannot be read") && error.contains("No such file"), "{error}");
    let error = load(&dir.path().join("missing")).unwrap_err().to_string();
    assert!(error.contains("missing: cannot be read"), "{error}");
}

/// How the kubelet mounts a ConfigMap: files are links into `..data`, itself a link that is swapped.
pub(super) fn config_map(dir: &Path, version: &str, text: &str) {
    fs::create_dir(dir.join(version)).unwrap();
    fs::write(dir.join(version).join("a.yaml"), text).unwrap();
    std::os::unix::fs::symlink(version, dir.join("..tmp")).unwrap();
    fs::rename(dir.join("..tmp"), dir.join("..data")).unwrap();
    if !dir.join("a.yaml").is_symlink() {
        std::os::unix::fs::symlink("..data/a.yaml", dir.join("a.yaml")).unwrap();
    }
}

#[test]
fn a_mounted_config_map_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    config_map(dir.path(), "..1", "apiVersion: v1\nkind: Namespace\nmetadata: {name: first}\n");
    assert_eq!(load(dir.path()).unwrap().namespaces.len(), 1);
    config_map(dir.path(), "..2", "apiVersion: v1\nkind: Namespace\nmetadata: {name: second}\n");
    assert_eq!(&*load(dir.path()).unwrap().namespaces[0].metadata.name, "second");
}

/// Text that looks like manifests more often than noise does.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "apiVersion: v1\n",
        "apiVersion: security.istio.io/v1\n",
        "kind: Pod\n",
        "kind: List\n",
        "items:\n- ",
        "kind: AuthorizationPolicy\n",
        "kind: PeerAuthentication\n",
        "apiVersion: networking.istio.io/v1\n",
        "kind: ServiceEntry\n",
        "kind: WorkloadEntry\n",
        "kind: Service\n",
        "kind: EndpointSlice\n",
        "kind: Node\n",
        "spec: {hosts: [a.com], addresses: [10.0.0.0/33], ports: [{number: 70000}]}\n",
        "endpoints: [{address: x, ports: {a: 0}}]\n",
        "metadata: {name: a}\n",
        "metadata: ",
        "spec: ",
        "---\n",
        "--- ",
        "...\n",
        "{",
        "}",
        "[",
        "]",
        "\n",
        "  ",
        "- ",
        ": ",
        "rules: [{}]\n",
        "&a ",
        "*a ",
        "!!str ",
        "<<: ",
        "? ",
        "|\n",
        ">-\n",
        "\"",
        "'",
        "#",
        "%YAML 1.2\n",
        "null",
        "portLevelMtls: {1: {mode: STRICT}}\n",
        "\u{feff}",
        "\t",
        "\r\n",
        "é",
        "1e999",
        "0x1",
        "\0",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

fn check_never_loses(text: &str) -> Result<(), TestCaseError> {
    let good = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kept}\n";
    for name in ["b.yaml", "b.json"] {
        let mut sources = one("a.yaml", good);
        sources.extend(one(name, text));
        // All or nothing: what is good is never taken without what is broken beside it.
        match parse(&sources) {
            Ok(objects) => prop_assert_eq!(&*objects.namespaces[0].metadata.name, "kept"),
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                prop_assert!(errors.errors.iter().all(|e| e.file == Path::new(name)), "{errors}");
                prop_assert_eq!(errors.to_string().lines().count(), errors.errors.len() + usize::from(errors.more > 0));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        check_never_loses(&text)?;
    }

    #[test]
    fn text_like_yaml_never_panics(text in nearly_yaml()) {
        check_never_loses(&text)?;
    }

    #[test]
    fn splitting_loses_no_line(text in nearly_yaml()) {
        let documents = split::documents(&text);
        let whole = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let lines: Vec<_> = whole.split_inclusive('\n').collect();
        for d in documents {
            let n = d.text.split_inclusive('\n').count();
            prop_assert_eq!(lines[d.line - 1..d.line - 1 + n].concat(), d.text);
            prop_assert!(d.first >= d.line && d.first < d.line + n);
        }
    }
}

#[test]
fn aliases_do_not_multiply_text() {
    for (length, aliases) in [(100_000, 2_000), (4 << 20, 90)] {
        let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(length), vec!["*a"; aliases].join(", "));
        let error = yaml(&text).unwrap_err().to_string();
        assert!(error.contains("budget"), "{error}");
    }
}

use super::*;

const TODAY: &str = "\
apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {istio.io/dataplane-mode: ambient}}\n---\n\
apiVersion: v1\nkind: Pod\nmetadata: {name: server, namespace: demo, labels: {app: server}}\nstatus: {podIP: 10.0.0.5}\n---\n\
apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ports, namespace: demo}\n\
spec: {action: DENY, rules: [{to: [{operation: {ports: [\"81\"]}}]}]}\n";

fn objects(text: &str) -> Objects {
    manifests::parse(&[("a.yaml".into(), text.as_bytes().to_vec())]).unwrap_or_else(|e| panic!("{e}"))
}

fn flow(pod: &str, port: u16, identity: Option<&str>) -> Flow {
    Flow {
        pod: pod.into(),
        destination: SocketAddr::new([10, 0, 0, 5].into(), port),
        plaintext_client: identity.is_none().then(|| "192.0.2.1".to_owned()),
        identity: identity.map(str::to_owned),
        source: "192.0.2.1".parse().unwrap(),
        connections: 2,
        refused: 0,
        last_seen_seconds: 1,
    }
}

fn page(flows: Vec<Flow>) -> FlowsPage {
    FlowsPage {
        seen: Seen { window_seconds: 86_400, watched_seconds: 60, flows, others: Others::default() },
        mesh: MeshSettings {
            trust_domain_aliases: Vec::new(),
            federated: Vec::new(),
            manifests: "nowhere".into(),
            cluster: "Kubernetes".into(),
            trust_domain: "cluster.local".into(),
            network: String::new(),
            cluster_domain: "cluster.local".into(),
            root_namespace: "roots".into(),
        },
    }
}

const CLIENT: Option<&str> = Some("spiffe://cluster.local/ns/demo/sa/client");

/// `STRICT, today, tried` of each flow.
fn judged(flows: Vec<Flow>, tried: Option<&str>) -> Vec<String> {
    let word = |verdict: &Option<Verdict>| match verdict {
        None => "-".to_owned(),
        Some(Verdict::Allow) => "allow".to_owned(),
        Some(Verdict::Gone) => "gone".to_owned(),
        Some(Verdict::Refuse { policy, rule, detail }) => {
            assert!(detail.contains(policy.as_deref().unwrap()), "{detail}");
            format!("{} {}", policy.as_deref().unwrap(), rule.unwrap())
        }
    };
    let tried = tried.map(|text| (objects(TODAY), objects(text)));
    let judged = judge(page(flows), tried).unwrap();
    let line = |flow: &JudgedFlow| format!("{}, {}, {}", flow.strict_refuses, word(&flow.today), word(&flow.tried));
    judged.flows.iter().map(line).collect()
}

#[test]
fn strict_refuses_whoever_has_no_identity() {
    let flows = vec![flow("demo/server", 80, None), flow("demo/server", 80, CLIENT)];
    assert_eq!(judged(flows, None), ["true, -, -", "false, -, -"]);
}

#[test]
fn a_policy_is_tried_on_what_was_seen() {
    let flows = || {
        vec![
            flow("demo/server", 80, None),
            flow("demo/server", 80, CLIENT),
            flow("demo/server", 81, CLIENT),
            flow("demo/gone", 80, None),
        ]
    };
    let strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: roots}\n\
                  spec: {mtls: {mode: STRICT}}\n";
    assert_eq!(
        judged(flows(), Some(strict)),
        [
            "true, allow, roots/istio_converted_static_strict 0",
            "false, allow, allow",
            "false, demo/ports 0, demo/ports 0",
            "true, gone, gone",
        ]
    );
    // The new form of a policy replaces the old one, and may refuse who has an identity.
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ports, namespace: demo}\n\
                  spec: {action: DENY, rules: [{to: [{operation: {ports: [\"80\"]}}], from: [{source: {serviceAccounts: [client]}}]}]}\n";
    assert_eq!(
        judged(flows(), Some(policy)),
        ["true, allow, allow", "false, allow, demo/ports 0", "false, demo/ports 0, allow", "true, gone, gone",]
    );
}

#[test]
fn files_that_are_no_policies_are_refused() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("p.yaml");
    for (text, part) in [
        (TODAY, "something else than AuthorizationPolicy"),
        ("", "holds no AuthorizationPolicy"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", "something else than"),
        (
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec: {actoin: DENY}\n",
            "actoin",
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = format!("{:#}", read(&file).unwrap_err());
        assert!(error.contains(part) && error.contains("p.yaml"), "{error}");
    }
    let error = format!("{:#}", read(Path::new("nowhere.yaml")).unwrap_err());
    assert!(error.contains("nowhere.yaml") && error.contains("No such file"), "{error}");
}

#[test]
fn the_page_survives_its_json() {
    let text = serde_json::to_string(&page(vec![flow("demo/server", 80, None)])).unwrap();
    let back: FlowsPage = serde_json::from_str(&text).unwrap();
    assert_eq!(back.seen, page(vec![flow("demo/server", 80, None)]).seen);
    // What no node of ours says is not believed.
    let mut forged = page(vec![flow("demo/server", 80, CLIENT)]);
    forged.seen.flows[0].identity = Some("nobody".into());
    judge(forged, None).unwrap_err();
}

/// What the node enforces of a federated peer and of one by another name of the trust domain is what is reported.
#[test]
fn peers_of_other_trust_domains_are_judged_as_the_node_does() {
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: ours, namespace: demo}\n\
                  spec: {action: DENY, rules: [{from: [{source: {notNamespaces: [demo]}}, {source: {principals: [cluster.local/ns/demo/sa/client]}}]}]}\n";
    let verdict = |identity: &str| {
        let mut page = page(vec![flow("demo/server", 80, Some(identity))]);
        page.mesh.trust_domain_aliases = vec!["old.example".to_owned()];
        page.mesh.federated = vec!["partner.example".to_owned()];
        let judged = judge(page, Some((objects(TODAY), objects(policy)))).unwrap();
        matches!(judged.flows[0].tried, Some(Verdict::Refuse { .. }))
    };
    assert!(!verdict("spiffe://cluster.local/ns/demo/sa/other"));
    assert!(!verdict("spiffe://old.example/ns/demo/sa/other"));
    assert!(verdict("spiffe://old.example/ns/demo/sa/client"), "the principal is meant for every name");
    assert!(verdict("spiffe://partner.example/ns/demo/sa/other"), "its namespace is another mesh's");
}

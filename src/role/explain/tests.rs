use super::*;

const MESH: &str = "\
apiVersion: v1\nkind: Namespace\nmetadata: {name: demo, labels: {istio.io/dataplane-mode: ambient}}\n---\n\
apiVersion: v1\nkind: Pod\nmetadata: {name: client, namespace: demo}\nspec: {serviceAccountName: client}\nstatus: {podIP: 10.0.0.1}\n---\n\
apiVersion: v1\nkind: Pod\nmetadata: {name: server, namespace: demo, labels: {app: server}}\nstatus: {podIP: 10.0.0.2}\n---\n\
apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: only-client, namespace: demo}\n\
spec: {selector: {matchLabels: {app: server}}, rules: [{from: [{source: {principals: [other.td/ns/demo/sa/client]}}]}]}\n---\n\
apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: roots}\nspec: {mtls: {mode: STRICT}}\n";

fn ask(query: &str, mesh: &Mesh) -> anyhow::Result<Answer> {
    run(&Question::from_query(query).unwrap(), mesh)
}

#[test]
fn manifests_answer_with_the_settings_that_are_given() {
    let directory = tempfile::TempDir::new().unwrap();
    std::fs::write(directory.path().join("mesh.yaml"), MESH).unwrap();
    let of = |trust_domain: &str, root_namespace: &str| Mesh::Manifests {
        directory: directory.path().to_owned(),
        mesh: MeshSettings {
            trust_domain: trust_domain.to_owned(),
            trust_domain_aliases: Vec::new(),
            trust_bundles: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            root_namespace: root_namespace.to_owned(),
        },
    };
    let decided = |query: &str, mesh: &Mesh| {
        let answer = ask(query, mesh).unwrap();
        (answer.report.allowed, answer.report.policy.unwrap_or_default())
    };
    let query = "from=demo/client&to=demo/server:80";
    assert_eq!(decided(query, &of("other.td", "roots")), (true, "demo/only-client".to_owned()));
    assert_eq!(decided(query, &of("cluster.local", "roots")), (false, "demo/only-client".to_owned()));
    let plain = "ip=10.0.0.1&to=demo/client:80";
    let strict = "roots/istio_converted_static_strict".to_owned();
    assert_eq!(decided(plain, &of("cluster.local", "roots")), (false, strict));
    assert_eq!(decided(plain, &of("cluster.local", "istio-system")), (true, String::new()));
    let error = ask("from=demo/clinet&to=demo/server:80", &of("x", "y")).unwrap_err().to_string();
    assert!(error.contains("the nearest pods are demo/client"), "{error}");
}

#[test]
fn what_cannot_be_asked_is_named() {
    let query = "from=a/b&to=c/d:80";
    let nowhere = Mesh::Manifests {
        directory: "nowhere/mesh".into(),
        mesh: MeshSettings {
            trust_domain: String::new(),
            trust_domain_aliases: Vec::new(),
            trust_bundles: Vec::new(),
            cluster_domain: String::new(),
            root_namespace: String::new(),
        },
    };
    let error = format!("{:#}", ask(query, &nowhere).unwrap_err());
    assert!(error.contains("nowhere/mesh") && error.contains("No such file"), "{error}");
    // A port that nobody listens on any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = format!("{:#}", ask(query, &Mesh::Node(gone)).unwrap_err());
    assert!(error.contains(&gone.to_string()) && error.contains("admin-address"), "{error}");
}

/// The answer is that of a node with the same names: [`crate::tls::Trust`] says there who is let in and who is foreign.
#[test]
fn peers_of_other_trust_domains_are_judged_as_the_node_does() {
    let directory = tempfile::TempDir::new().unwrap();
    let policy = |name: &str, source: &str| {
        format!(
            "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: demo}}\n\
             spec: {{rules: [{{from: [{{source: {{{source}}}}}]}}]}}\n"
        )
    };
    let text = MESH.split_inclusive("---\n").take(3).collect::<String>();
    let text = text
        + &policy("a", "namespaces: [demo]")
        + &policy("b", "principals: [cluster.local/ns/shop/sa/x, partner.td/ns/y/sa/z]");
    std::fs::write(directory.path().join("mesh.yaml"), text).unwrap();
    let mesh = Mesh::Manifests {
        directory: directory.path().to_owned(),
        mesh: MeshSettings {
            trust_domain: "cluster.local".to_owned(),
            trust_domain_aliases: vec!["old.td".to_owned()],
            trust_bundles: vec![("partner.td".to_owned(), "not-read.pem".into())],
            cluster_domain: "cluster.local".to_owned(),
            root_namespace: "roots".to_owned(),
        },
    };
    for (identity, reason) in [
        ("cluster.local/ns/demo/sa/any", "allowed"),
        ("old.td/ns/demo/sa/any", "allowed"),
        ("old.td/ns/shop/sa/x", "allowed"),
        ("partner.td/ns/demo/sa/any", "none_allowed"),
        ("partner.td/ns/y/sa/z", "allowed"),
        ("stranger.td/ns/demo/sa/any", "tls"),
    ] {
        let answer = ask(&format!("identity=spiffe://{identity}&ip=10.9.9.9&to=demo/server:80"), &mesh).unwrap();
        assert_eq!(answer.report.reason, reason, "{identity}: {}", answer.report.detail);
        assert_eq!(answer.report.allowed, reason == "allowed");
        let told = answer.report.detail.contains("the peer is of another mesh (partner.td/ns/demo/sa/any)");
        assert_eq!(told, identity == "partner.td/ns/demo/sa/any", "{}", answer.report.detail);
    }
}

use super::*;
use crate::mesh;
use crate::telemetry::metrics;

fn pod(namespace: &str, name: &str, ip: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n  labels: {{istio.io/dataplane-mode: ambient}}\n\
         ---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: {namespace}\n  \
         annotations: {{culvert.dev/netns: /run/netns/{name}}}\n\
         spec: {{nodeName: a}}\nstatus:\n  podIPs: [{{ip: {ip}}}]\n"
    )
}

/// Names of the pods that are wanted in.
fn names(published: &Published) -> Vec<String> {
    let wanted = published.wanted.borrow();
    wanted.iter().filter(|(_, membership)| membership.is_in()).map(|(pod, _)| pod.key.to_string()).collect()
}

/// What a change of the directory does.
fn reload(feed: &mut Feed) {
    let loaded = feed.manifests.load().unwrap();
    feed.publisher.publish(loaded);
}

#[test]
fn a_pod_that_is_in_is_not_opened_by_another_that_claims_its_address() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("shop.yaml", &pod("shop", "cart", "10.0.0.1"));
    let (writer, _reader) = mesh::channel();
    let metrics = Metrics::new(metrics::Config { series_budget: 100 }, "test");
    let (mut feed, published) = Feed::start(directory.path(), "a", Settings::default(), Some(writer), metrics).unwrap();
    assert_eq!(names(&published), ["shop/cart"]);

    // It comes first in order of keys, so it is the one that keeps the address.
    write("ads.yaml", &pod("ads", "thief", "10.0.0.1"));
    reload(&mut feed);
    assert_eq!(names(&published), ["ads/thief", "shop/cart"]);
    reload(&mut feed);
    assert_eq!(names(&published), ["ads/thief", "shop/cart"]);

    std::fs::remove_file(directory.path().join("ads.yaml")).unwrap();
    reload(&mut feed);
    assert_eq!(names(&published), ["shop/cart"]);
    std::fs::remove_file(directory.path().join("shop.yaml")).unwrap();
    reload(&mut feed);
    assert_eq!(names(&published), Vec::<String>::new());
}

//! What one end says arrives at the other; what it has not proven it does not count for.

use super::*;

fn record() -> Held {
    Held::apart(Workload {
        name: "web-7d4-x".into(),
        owner: "web".into(),
        namespace: "demo".into(),
        cluster: "east".into(),
        kind: Kind::Deployment,
        canonical_name: "shop".into(),
        canonical_revision: "v2".into(),
        locality: Locality { region: "r".into(), zone: "z".into(), subzone: "s".into() },
        ..Workload::default()
    })
}

#[test]
fn a_record_is_read_as_it_was_said() {
    let (record, header) = (record(), of(&record()).format());
    let read = read(&Baggage::parse([header.as_bytes()]), None);
    let labels = |of: &Held| {
        let texts = [&of.owner, &of.namespace, &of.cluster, &of.canonical_name, &of.canonical_revision];
        (texts.map(Arc::clone), of.kind, of.locality.region.clone(), of.locality.zone.clone())
    };
    assert_eq!(labels(&read), labels(&record));
    assert_eq!(&*read.name, "web", "a pod's own name is not said");
    for kind in [Kind::CronJob, Kind::Job, Kind::Pod] {
        let said = of(&Held::apart(Workload { kind, owner: "w".into(), ..Workload::default() }));
        assert_eq!(super::read(&said, None).kind, kind);
    }
}

#[test]
fn a_namespace_is_the_proven_one() {
    let proven = Identity::new("cluster.local", "other", "web");
    assert_eq!(&*read(&of(&record()), Some(&proven)).namespace, "other");
    assert_eq!(&*read(&Baggage::default(), Some(&proven)).namespace, "other");
    assert_eq!(&*read(&Baggage::default(), None).owner, "");
}

#[test]
fn a_peer_that_the_mesh_knows_does_not_choose_its_labels() {
    let known = Arc::new(Held::apart(Workload {
        name: "web-1".into(),
        owner: "web".into(),
        namespace: "demo".into(),
        service_account: "web".into(),
        trust_domain: "cluster.local".into(),
        ..Workload::default()
    }));
    let web = known.identity();
    let said = Baggage { workload: Some((WorkloadKind::Deployment, "payments".into())), ..Baggage::default() };
    let label = |at: Option<&Arc<Held>>, proven: &Identity, far| {
        source(at.cloned(), proven, far, Some(&said)).map(|held| held.owner.to_string())
    };
    for far in [false, true] {
        assert_eq!(label(Some(&known), &web, far).as_deref(), Some("web"), "far: {far}");
        assert_eq!(label(None, &web, far).as_deref(), Some("payments"), "far: {far}");
    }
    // The address is a gateway's, and who came through it has proven to be another.
    let other = Identity::new("cluster.local", "demo", "other");
    assert_eq!(label(Some(&known), &other, true).as_deref(), Some("payments"));
    assert_eq!(label(Some(&known), &other, false).as_deref(), Some("web"));
    assert!(source(None, &other, true, None).is_none());
}

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

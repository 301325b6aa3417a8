use proptest::prelude::*;

use super::*;

fn parse(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

fn judge(recorded: &[&str], inside: &[&str], proven_by: &[&str], departed: &[&str]) -> Pairing {
    let [recorded, inside, proven_by, departed] = [recorded, inside, proven_by, departed].map(parse);
    pairing(&Evidence { recorded: &recorded, inside: &inside, proven_by: &proven_by, departed: &departed })
}

#[test]
fn a_namespace_is_foreign_when_the_mesh_knows_the_pod_elsewhere() {
    let (a, b, v6) = ("10.0.0.1", "10.0.0.2", "fd00::1");
    for (recorded, inside, proven_by, departed, expected) in [
        (&[][..], &[a][..], &[][..], &[][..], Pairing::Unproven),
        (&[], &[], &[], &[], Pairing::Unproven),
        (&[a], &[a], &[], &[], Pairing::Proven),
        (&[a, v6], &[v6], &[], &[], Pairing::Proven),
        (&["::ffff:10.0.0.1"], &[a], &[], &[], Pairing::Proven),
        (&[a], &[b], &[], &[], Pairing::Foreign),
        (&[a, v6], &[b], &[], &[], Pairing::Foreign),
        // Its network is being taken down.
        (&[a], &[], &[], &[], Pairing::Unproven),
        (&[a], &[b], &[a], &[], Pairing::Proven),
        // Proven by an address that the mesh has taken back.
        (&[b], &[a], &[a], &[], Pairing::Foreign),
        // A StatefulSet's pod is new, and the mesh knows its predecessor.
        (&[a], &[b], &[], &[a], Pairing::Unproven),
        (&[a, v6], &[b], &[], &[a], Pairing::Foreign),
    ] {
        assert_eq!(judge(recorded, inside, proven_by, departed), expected, "{recorded:?} {inside:?} {proven_by:?}");
    }
}

#[test]
fn own_addresses_are_those_that_others_can_reach() {
    let inside = parse(&[
        "127.0.0.1",
        "::1",
        "fe80::1",
        "169.254.1.1",
        "10.0.0.2",
        "0.0.0.0",
        "fd00::2",
        "10.0.0.1",
        "10.0.0.2",
    ]);
    assert_eq!(own(&inside), parse(&["10.0.0.1", "10.0.0.2", "fd00::2"]));
}

#[test]
fn the_departed_are_remembered_by_name_and_bounded() {
    let mut departed = Departed::default();
    let key = NamespacedName::new("shop", "db-0");
    departed.note(&key, &"u1".into(), &parse(&["10.0.0.1"]));
    departed.note(&key, &"u1".into(), &parse(&["10.0.0.3"]));
    departed.note(&NamespacedName::new("shop", "db-1"), &"u2".into(), &parse(&["10.0.0.2"]));
    assert_eq!(departed.before(&key, "u3"), parse(&["10.0.0.3"]));
    assert_eq!(departed.before(&key, "u1"), parse(&[]), "its own past excuses nothing");
    for n in 0..MOST_DEPARTED {
        departed.note(&NamespacedName::new("x", "y"), &format!("o{n}").into(), &[]);
    }
    assert_eq!(departed.before(&key, "u3"), parse(&[]));
    assert_eq!(departed.newest_last.len(), MOST_DEPARTED);
}

fn addresses() -> impl Strategy<Value = Vec<IpAddr>> {
    proptest::collection::vec((0u8..4).prop_map(|n| IpAddr::from([10, 0, 0, n])), 0..3)
}

proptest! {
    /// Foreign only on evidence: both sides name addresses and share none.
    #[test]
    fn no_pod_is_refused_without_evidence(r in addresses(), i in addresses(), p in addresses(), d in addresses()) {
        let judged = pairing(&Evidence { recorded: &r, inside: &i, proven_by: &p, departed: &d });
        let disjoint = !r.is_empty() && !i.is_empty() && r.iter().all(|ip| !i.contains(ip));
        prop_assert!(judged != Pairing::Foreign || disjoint);
        let excused = r.iter().all(|ip| p.contains(ip)) || r.iter().all(|ip| d.contains(ip));
        prop_assert!(!disjoint || excused || judged == Pairing::Foreign);
    }
}

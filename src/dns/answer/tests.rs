use proptest::prelude::*;

use super::*;
use crate::dns::message::tests::{query, read};
use crate::mesh::{Reader, State, channel};
use crate::model::name::NamespacedName;
use crate::model::service::{IpFamilies, Service, VirtualAddress, Visibility};
use crate::model::workload::{ServiceMembership, Workload};

/// A service `namespace/hostname` with addresses `network/address`; `!` makes it canonical, `~` private.
pub(in crate::dns) fn service(key: &str, addresses: &[&str]) -> Service {
    let (marks, key) = key.split_at(key.find(|c: char| c.is_alphanumeric()).unwrap());
    let (namespace, hostname) = key.split_once('/').unwrap();
    let address = |text: &&str| {
        let (network, net) = text.split_once('/').unwrap();
        let net = net.parse().unwrap_or_else(|_| ipnet::IpNet::from(net.parse::<IpAddr>().unwrap()));
        VirtualAddress { network: network.into(), net }
    };
    Service {
        name: hostname.split('.').next().unwrap().into(),
        namespace: namespace.into(),
        hostname: hostname.into(),
        addresses: addresses.iter().map(address).collect(),
        canonical: marks.contains('!'),
        visibility: if marks.contains('~') { Visibility::Namespace } else { Visibility::Public },
        ..Service::default()
    }
}

/// An endpoint of the service at `key`.
fn endpoint(uid: &str, addresses: &[&str], key: &str) -> Workload {
    let (namespace, hostname) = key.split_once('/').unwrap();
    Workload {
        uid: uid.into(),
        name: uid.into(),
        namespace: namespace.into(),
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
        services: vec![ServiceMembership { service: NamespacedName::new(namespace, hostname), ports: Vec::new() }],
        ..Workload::default()
    }
}

pub(in crate::dns) fn mesh(services: Vec<Service>, workloads: Vec<Workload>) -> Reader {
    let (mut writer, reader) = channel();
    writer.replace(State { services, workloads, policies: Vec::new() });
    reader
}

fn world() -> Reader {
    let headless = "shop/db.shop.svc.cluster.local";
    let only_v6 = IpFamilies::Ipv6Only;
    let services = vec![
        service("shop/web.shop.svc.cluster.local", &["/10.96.0.1", "/fd00:96::1", "far/10.96.9.1"]),
        service("other/web.other.svc.cluster.local", &["/10.96.0.2"]),
        service("far/remote.far.svc.cluster.local", &["far/10.96.9.2"]),
        service(headless, &[]),
        service("shop/empty.shop.svc.cluster.local", &[]),
        Service { families: only_v6, ..service("shop/six.shop.svc.cluster.local", &["/10.96.0.6", "/fd00:96::6"]) },
        service("shop/api.example.com", &["/240.240.0.1", "/2001:2::1"]),
        service("shop/block.example.com", &["/10.97.0.0/16"]),
        service("shop/nowhere.example.com", &[]),
        service("shop/*.wild.example.com", &["/240.240.0.2"]),
        service("shop/*.b.wild.example.com", &["/240.240.0.3"]),
        service("shop/exact.b.wild.example.com", &["/240.240.0.4"]),
        service("~other/secret.example.com", &["/240.240.0.5"]),
        // One name, four owners.
        service("a/twice.example.com", &["/240.240.1.1"]),
        service("!b/twice.example.com", &["/240.240.1.2"]),
        service("shop/twice.example.com", &["/240.240.1.3"]),
        service("~c/twice.example.com", &["/240.240.1.4"]),
        // The first in rank has no address, and is passed over.
        service("shop/passed.example.com", &[]),
        service("a/passed.example.com", &["/240.240.2.1"]),
        service("shop/odd", &["/240.240.3.1"]),
    ];
    let workloads = vec![
        endpoint("w1", &["10.0.0.1", "fd00::1", "10.0.0.11"], headless),
        endpoint("w2", &["10.0.0.2"], headless),
        Workload { healthy: false, ..endpoint("w3", &["10.0.0.3"], headless) },
        Workload { network: "far".into(), ..endpoint("w4", &["10.0.0.4"], headless) },
        endpoint("w5", &[], headless),
    ];
    mesh(services, workloads)
}

const SHOP: Client<'_> = Client { namespace: "shop", network: "", domain: "cluster.local", ipv6: true };

/// `-` is not the mesh's; else the sorted addresses, behind the stripped name where there is one.
fn asked(client: Client<'_>, name: &str, kind: u16) -> String {
    let bytes = query(name, kind, None);
    let Some(mut found) = answer(&read(&bytes).question, client, &world().view(), 7) else { return "-".into() };
    found.addresses.sort();
    let addresses: Vec<_> = found.addresses.iter().map(ToString::to_string).collect();
    match found.stripped {
        Some(stripped) => format!("{stripped}: {}", addresses.join(" ")),
        None => addresses.join(" "),
    }
}

#[test]
fn every_name_has_its_answer() {
    for (name, v4, v6) in [
        // A service of Kubernetes by each of its names.
        ("web", "10.96.0.1", "fd00:96::1"),
        ("WEB", "10.96.0.1", "fd00:96::1"),
        ("web.shop", "10.96.0.1", "fd00:96::1"),
        ("web.shop.svc", "10.96.0.1", "fd00:96::1"),
        ("web.shop.svc.cluster.local", "10.96.0.1", "fd00:96::1"),
        ("web.other", "10.96.0.2", ""),
        ("web.other.svc.cluster.local", "10.96.0.2", ""),
        // What a search list made of them.
        ("web.other.shop.svc.cluster.local", "web.other: 10.96.0.2", "web.other: "),
        ("web.other.svc.svc.cluster.local", "web.other.svc: 10.96.0.2", "web.other.svc: "),
        (
            "web.shop.svc.cluster.local.shop.svc.cluster.local",
            "web.shop.svc.cluster.local: 10.96.0.1",
            "web.shop.svc.cluster.local: fd00:96::1",
        ),
        ("web.svc.cluster.local", "web: 10.96.0.1", "web: fd00:96::1"),
        ("web.cluster.local", "web: 10.96.0.1", "web: fd00:96::1"),
        // Only on another network: the mesh's, and no address to call from here.
        ("remote.far", "", ""),
        // Headless: the endpoints that take calls, one address each.
        ("db", "10.0.0.1 10.0.0.2", "fd00::1"),
        ("empty", "", ""),
        ("w1.db.shop.svc.cluster.local", "-", "-"),
        // Families.
        ("six", "", "fd00:96::6"),
        // What is outside of the cluster.
        ("api.example.com", "240.240.0.1", "2001:2::1"),
        ("api.example.com.shop.svc.cluster.local", "api.example.com: 240.240.0.1", "api.example.com: 2001:2::1"),
        ("api.example.com.cluster.local", "api.example.com: 240.240.0.1", "api.example.com: 2001:2::1"),
        ("block.example.com", "-", "-"),
        ("nowhere.example.com", "-", "-"),
        ("example.com", "-", "-"),
        ("x.api.example.com", "-", "-"),
        // Wildcards: the narrowest, and an exact name before them.
        ("x.wild.example.com", "240.240.0.2", ""),
        ("x.y.wild.example.com", "240.240.0.2", ""),
        ("x.b.wild.example.com", "240.240.0.3", ""),
        ("b.wild.example.com", "240.240.0.2", ""),
        ("exact.b.wild.example.com", "240.240.0.4", ""),
        ("wild.example.com", "-", "-"),
        ("x.wild.example.com.shop.svc.cluster.local", "240.240.0.2", ""),
        // Who sees what, and whose is meant.
        ("secret.example.com", "-", "-"),
        ("twice.example.com", "240.240.1.3", ""),
        ("passed.example.com", "240.240.2.1", ""),
        ("odd", "240.240.3.1", ""),
        // Nobody's.
        ("kubernetes", "-", "-"),
        ("missing.shop.svc.cluster.local", "-", "-"),
        ("cluster.local", "-", "-"),
        ("", "-", "-"),
        ("*.wild.example.com", "-", "-"),
    ] {
        assert_eq!((asked(SHOP, name, A), asked(SHOP, name, AAAA)), (v4.into(), v6.into()), "{name}");
    }
}

#[test]
fn the_client_matters() {
    for (namespace, network, name, expect) in [
        ("other", "", "web", "10.96.0.2"),
        ("other", "", "secret.example.com", "240.240.0.5"),
        ("c", "", "twice.example.com", "240.240.1.4"),
        ("z", "", "twice.example.com", "240.240.1.2"),
        ("b", "", "twice.example.com", "240.240.1.2"),
        ("shop", "far", "web", "10.96.9.1"),
        ("shop", "far", "db", "10.0.0.4"),
        ("shop", "far", "api.example.com", ""),
        ("shop", "far", "remote.far", "10.96.9.2"),
    ] {
        let client = Client { namespace, network, ..SHOP };
        assert_eq!(asked(client, name, A), expect, "{name} from {namespace} on {network:?}");
    }
    assert_eq!(asked(Client { ipv6: false, ..SHOP }, "web", AAAA), "", "the mesh's still: it does not go upstream");
    assert_eq!(asked(Client { domain: "corp.example", ..SHOP }, "web", A), "-", "another cluster's domain");
    for kind in [16, 33, 65, 255] {
        assert_eq!(asked(SHOP, "web", kind), "-", "type {kind} is the server's");
    }
    let mut chaos = query("web", A, None);
    let last = chaos.len() - 1;
    chaos[last] = 3;
    assert_eq!(answer(&read(&chaos).question, SHOP, &world().view(), 7), None, "class CH");
}

#[test]
fn addresses_come_in_any_order_and_in_bounds() {
    let key = "shop/many.shop.svc.cluster.local";
    let workloads = (0..3000u32).map(|n| {
        let ip = std::net::Ipv4Addr::from(0x0a00_0000 + n).to_string();
        endpoint(&format!("w{n}"), &[&ip], key)
    });
    let reader = mesh(vec![service(key, &[])], workloads.collect());
    let bytes = query("many", A, None);
    let of = |random| answer(&read(&bytes).question, SHOP, &reader.view(), random).unwrap().addresses;
    assert_eq!(of(1).len(), MOST);
    assert_ne!(of(1), of(2));
    assert_eq!(of(1), of(1));
}

proptest! {
    /// A name that the mesh has in one family never goes upstream in the other; and nothing panics.
    #[test]
    fn both_families_agree(name in "([a-z]{1,4}|web|shop|svc|db|other)(\\.(shop|svc|cluster|local|example|com|wild|b)){0,6}") {
        let (v4, v6) = (asked(SHOP, &name, A), asked(SHOP, &name, AAAA));
        prop_assert_eq!(v4 == "-", v6 == "-", "{}", name);
    }

    #[test]
    fn a_shuffle_loses_nothing(count in 0u8..50, random in any::<u64>()) {
        let mut all: Vec<IpAddr> = (0..count).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let before = all.clone();
        shuffle(&mut all, random);
        all.sort();
        prop_assert_eq!(all, before);
    }
}

#[test]
fn demanded_keys_have_the_namespace_of_their_name() {
    let bytes = query("web.other", A, None);
    let keys = crate::dns::demand::keys(&read(&bytes).question, SHOP);
    let words: Vec<_> = keys.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["shop/web.other", "other/web.other.svc.cluster.local", "shop/web.other.shop.svc.cluster.local"]);
    let other = query("web", 33, None);
    assert!(crate::dns::demand::keys(&read(&other).question, SHOP).is_empty());
}

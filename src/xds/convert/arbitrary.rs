//! Any value of the model, in the normal forms of `mod.rs`, for property tests.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use crate::model::gateway::{GatewayAddress, GatewayDestination};
use crate::model::name::NamespacedName;
use crate::model::policy::{self, Action, Clause, Group, Match, Policy, ServiceAccountMatch, StringMatch};
use crate::model::schedule::{DAY, TimeRange, WEEK};
use crate::model::service::{
    Affinity, AppProtocol, Balancing, IpFamilies, Mode, Scope, Service, ServicePort, VirtualAddress, Visibility,
};
use crate::model::spiffe::Identity;
use crate::model::timezone::Zone;
use crate::model::workload::{ApplicationTunnel, Kind, Locality, ServiceMembership, Tunnel, Workload};

/// Any text, also empty.
fn text() -> impl Strategy<Value = Arc<str>> {
    prop_oneof!["[a-z*./-]{0,6}", "\\PC{0,4}"].prop_map(Arc::from)
}

/// A part of a key.
fn part() -> impl Strategy<Value = Arc<str>> {
    "[a-z0-9.*-]{1,6}".prop_map(Arc::from)
}

fn key() -> impl Strategy<Value = NamespacedName> {
    (part(), part()).prop_map(|(namespace, name)| NamespacedName { namespace, name })
}

fn ip() -> impl Strategy<Value = IpAddr> {
    let v6 = any::<Ipv6Addr>().prop_filter("IPv4", |ip| ip.to_ipv4_mapped().is_none());
    prop_oneof![any::<Ipv4Addr>().prop_map(IpAddr::from), v6.prop_map(IpAddr::from)]
}

/// With whatever stands behind the prefix.
fn net() -> impl Strategy<Value = IpNet> {
    (ip(), any::<u8>()).prop_map(|(ip, length)| {
        let most = if ip.is_ipv4() { 32 } else { 128 };
        IpNet::new(ip, length % (most + 1)).unwrap()
    })
}

fn gateway() -> impl Strategy<Value = GatewayAddress> {
    let destination = prop_oneof![
        (text(), ip()).prop_map(|(network, ip)| GatewayDestination::Address { network, ip }),
        key().prop_map(GatewayDestination::Hostname),
    ];
    (destination, any::<u16>()).prop_map(|(destination, port)| GatewayAddress { destination, port })
}

pub(super) fn workload() -> impl Strategy<Value = Workload> {
    let names = (part(), text(), text(), part(), prop_oneof![part(), Just("cluster.local".into())], text(), text());
    let place = (part(), text(), vec(ip(), 0..3), text(), text(), text(), [text(), text(), text()]);
    let tunnel = prop_oneof![Just(Tunnel::Hbone), Just(Tunnel::None)];
    let application = (any::<bool>(), any::<u16>()).prop_map(|(proxy, port)| ApplicationTunnel { proxy, port });
    let kind = select(vec![Kind::Deployment, Kind::CronJob, Kind::Pod, Kind::Job]);
    let ways = (tunnel, any::<bool>(), proptest::option::of(application), kind);
    let gateways = (proptest::option::of(gateway()), proptest::option::of(gateway()));
    let state = (any::<bool>(), prop_oneof![0_u32..3, any::<u32>()], any::<bool>());
    let services = btree_map(key(), vec(any::<(u16, u16)>(), 0..3), 0..3);
    (names, place, ways, gateways, state, vec(key(), 0..3), services).prop_map(
        |(names, place, ways, gateways, state, policies, services)| {
            let (uid, name, namespace, service_account, trust_domain, canonical_name, canonical_revision) = names;
            let (cluster, node, addresses, hostname, network, owner, [region, zone, subzone]) = place;
            let (tunnel, native_tunnel, application_tunnel, kind) = ways;
            let (waypoint, network_gateway) = gateways;
            let (healthy, capacity, host_network) = state;
            let membership = |(service, ports)| ServiceMembership { service, ports };
            Workload {
                uid,
                name,
                namespace,
                service_account,
                trust_domain,
                addresses,
                hostname,
                network,
                cluster,
                node,
                tunnel,
                native_tunnel,
                application_tunnel,
                waypoint,
                network_gateway,
                kind,
                owner,
                canonical_name,
                canonical_revision,
                locality: Locality { region, zone, subzone },
                healthy,
                capacity,
                host_network,
                policies,
                services: by_written_key(services.into_iter().map(membership).collect()),
            }
        },
    )
}

/// In the order of what is written, where `a-b/c` is before `a/b`.
fn by_written_key(mut services: Vec<ServiceMembership>) -> Vec<ServiceMembership> {
    services.sort_by_key(|membership| membership.service.to_string());
    services
}

pub(super) fn service() -> impl Strategy<Value = Service> {
    use AppProtocol::{Grpc, Http2, Http11, Tcp, Tls, Unknown};
    let address = (text(), net()).prop_map(|(network, net)| VirtualAddress { network, net });
    let protocol = select(vec![Unknown, Http11, Http2, Grpc, Tcp, Tls]);
    let port = (any::<u16>(), any::<u16>(), protocol);
    let port = port.prop_map(|(port, target, protocol)| ServicePort { port, target, protocol });
    let identity = ("[a-z.]{1,5}", "[a-z-]{1,5}", "[A-Za-z_]{1,5}").prop_map(|(td, ns, sa)| Identity::new(td, ns, sa));
    let families = select(vec![IpFamilies::Automatic, IpFamilies::Ipv4Only, IpFamilies::Ipv6Only, IpFamilies::Dual]);
    let visibility = select(vec![Visibility::Public, Visibility::Namespace]);
    let names = (text(), part(), part());
    let behind = (vec(address, 0..3), vec(port, 0..3), vec(identity, 0..3));
    let waypoints = (proptest::option::of(gateway()), vec((gateway(), any::<u32>()), 0..3));
    (names, behind, waypoints, balancing(), families, any::<bool>(), visibility, any::<bool>()).prop_map(
        |(names, behind, waypoints, balancing, families, canonical, visibility, ingress_use_waypoint)| {
            let (name, namespace, hostname) = names;
            let (addresses, ports, subject_alt_names) = behind;
            let (waypoint, weighted_waypoints) = waypoints;
            Service {
                name,
                namespace,
                hostname,
                addresses,
                ports,
                subject_alt_names,
                waypoint,
                weighted_waypoints,
                balancing,
                families,
                canonical,
                visibility,
                ingress_use_waypoint,
            }
        },
    )
}

fn balancing() -> impl Strategy<Value = Balancing> {
    use Scope::{Cluster, Network, Node, Region, Subzone, Zone};
    let mode = select(vec![Mode::Any, Mode::Strict, Mode::Failover, Mode::Passthrough]);
    let scope = select(vec![Region, Zone, Subzone, Node, Cluster, Network]);
    let affinity = any::<Duration>().prop_map(|timeout| Affinity { timeout });
    (mode, vec(scope, 0..4), any::<bool>(), proptest::option::of(affinity)).prop_map(
        |(mode, preference, accept_unhealthy, affinity)| Balancing { mode, preference, accept_unhealthy, affinity },
    )
}

pub(super) fn policy() -> impl Strategy<Value = Policy> {
    let scope = select(vec![policy::Scope::Global, policy::Scope::Namespace, policy::Scope::Workload]);
    let action = select(vec![Action::Allow, Action::Audit, Action::Deny]);
    let clause = vec(matching(), 0..3).prop_map(|matches| Clause { matches });
    let rule = prop_oneof![0_u32..3, any::<u32>()];
    let group = (rule, vec(clause, 0..3)).prop_map(|(rule, clauses)| Group { rule, clauses });
    // Numbers in order, as most policies have them, and any others.
    let groups = (vec(group, 0..4), any::<bool>()).prop_map(|(mut groups, number)| {
        for (index, group) in (0_u32..).zip(&mut groups).filter(|_| number) {
            group.rule = index;
        }
        groups
    });
    let zone = select(vec!["UTC", "Asia/Kolkata", "Not/Known"]);
    (key(), scope, action, any::<bool>(), zone, groups).prop_map(|(key, scope, action, tried, zone, groups)| Policy {
        key,
        scope,
        action,
        dry_run: tried && action != Action::Audit,
        zone: Zone::named(zone),
        groups,
    })
}

/// With conditions of time in one of four.
fn matching() -> impl Strategy<Value = Match> {
    let range = || (0..DAY, 0..=DAY).prop_filter_map("two ends", |(from, to)| TimeRange::new(from, to));
    let days = || vec(select(WEEK.to_vec()), 0..2);
    let timed = (plain(), vec(range(), 0..2), vec(range(), 0..2), days(), days());
    let timed =
        timed.prop_map(|(plain, times, not_times, days, not_days)| Match { times, not_times, days, not_days, ..plain });
    prop_oneof![3 => plain(), 1 => timed]
}

fn plain() -> impl Strategy<Value = Match> {
    let string = || {
        let pattern = prop_oneof![
            text().prop_map(StringMatch::Exact),
            text().prop_map(StringMatch::Prefix),
            text().prop_map(StringMatch::Suffix),
            Just(StringMatch::Presence),
        ];
        vec(pattern, 0..3)
    };
    let account = || {
        let account = (text(), text());
        let account =
            account.prop_map(|(namespace, service_account)| ServiceAccountMatch { namespace, service_account });
        vec(account, 0..2)
    };
    let nets = || vec(net(), 0..2);
    let ports = || vec(any::<u16>(), 0..2);
    let strings = [string(), string(), string(), string()];
    (strings, [account(), account()], [nets(), nets(), nets(), nets()], [ports(), ports()]).prop_map(
        |(strings, accounts, nets, ports)| {
            let [namespaces, not_namespaces, principals, not_principals] = strings;
            let [service_accounts, not_service_accounts] = accounts;
            let [source_ips, not_source_ips, destination_ips, not_destination_ips] = nets;
            let [destination_ports, not_destination_ports] = ports;
            Match {
                namespaces,
                not_namespaces,
                principals,
                not_principals,
                service_accounts,
                not_service_accounts,
                source_ips,
                not_source_ips,
                destination_ips,
                not_destination_ips,
                destination_ports,
                not_destination_ports,
                ..Match::default()
            }
        },
    )
}

//! Addresses and ports that no workload has.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::workload::Workload;

use super::values::{Subject, Value, consequence, values};
use super::world::{Authored, Covered, World};
use super::{Code, Finding};

pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    let services = virtual_addresses(world);
    for policy in &world.policies {
        // Where a policy with targets is judged is the waypoint's and its Services' affair.
        let covered = if policy.has_targets() { Vec::new() } else { policy.covered(world) };
        let ports = Ports::of(&covered);
        for value in values(&policy.object.spec) {
            let found = match value.subject {
                Subject::Source => address(world, &services, policy, &value, None),
                Subject::Destination => address(world, &services, policy, &value, Some(&covered)),
                Subject::Port => port(&ports, policy, &value),
                Subject::Namespace | Subject::Principal | Subject::ServiceAccount => None,
            };
            findings.extend(found);
        }
    }
}

/// Virtual address → the Service's name.
fn virtual_addresses(world: &World<'_>) -> BTreeMap<IpAddr, String> {
    let all = world.index.services.iter();
    let addresses = all.flat_map(|(key, service)| service.spec.addresses().map(move |text| (text.parse(), key)));
    addresses.filter_map(|(address, key)| Some((IpAddr::to_canonical(&address.ok()?), key.to_string()))).collect()
}

fn address(
    world: &World<'_>,
    services: &BTreeMap<IpAddr, String>,
    policy: &Authored<'_>,
    value: &Value<'_>,
    covered: Option<&[Covered<'_>]>,
) -> Option<Finding> {
    let Value { path, negated, text, .. } = value;
    let why = consequence(policy.object.spec.action, *negated);
    let finding = |code, what: String| Some(Finding::new(code, policy.name(), path.clone(), what).why(why));
    let net =
        text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(|ip| IpNet::from(ip.to_canonical()))).ok()?;
    if net.addr() != net.network() {
        let trunc = net.trunc();
        let what = format!("`{text}` is all of {trunc}, and not the address {} alone", net.addr());
        let mend = format!("write `{trunc}`, or `{}` for the one address", net.addr());
        return finding(Code::HostBits, what).map(|finding| finding.why("it covers more than it reads").mend(mend));
    }
    let single = (net.prefix_len() == net.max_prefix_len()).then(|| net.addr());
    if let Some(service) = single.and_then(|ip| services.get(&ip)) {
        return finding(Code::ServiceAddress, format!("`{text}` is the address of the Service {service}"));
    }
    match (covered, single) {
        (None, Some(ip)) if !world.is_address(ip) => {
            finding(Code::UnknownAddress, format!("no workload has the address {ip}"))
        }
        (Some(covered), _) if !covered.is_empty() && !policy.has_targets() => {
            let mut addresses = covered.iter().flat_map(|c| &c.pod.pod.addresses);
            // A pod that has none yet may get one of these.
            let waits = covered.iter().any(|c| c.pod.pod.addresses.is_empty());
            if waits || addresses.any(|ip| net.contains(ip)) {
                return None;
            }
            let at = if single.is_some() { "the address" } else { "an address in" };
            finding(Code::MatchesNobody, format!("no pod that the policy covers has {at} {text}"))
        }
        _ => None,
    }
}

/// The ports that covered pods are known to have.
struct Ports {
    /// False when some pod declares none: it may listen on any.
    all_declare: bool,
    declared: Vec<u16>,
    /// Service port → the pod's own port, and the Service's name.
    services: BTreeMap<u16, (u16, String)>,
}

// === impl Ports ===

impl Ports {
    fn of(covered: &[Covered<'_>]) -> Self {
        let mut ports = Self { all_declare: !covered.is_empty(), declared: Vec::new(), services: BTreeMap::new() };
        for Covered { pod, workload, .. } in covered {
            let before = ports.declared.len();
            let spec = &pod.object.spec;
            let containers = spec.containers.iter().chain(&spec.init_containers);
            ports.declared.extend(containers.flat_map(|container| &container.ports).map(|port| port.container_port));
            ports.all_declare &= ports.declared.len() > before;
            for (service, (port, target)) in workload.iter().flat_map(|workload| memberships(workload)) {
                ports.services.entry(port).or_insert((target, service));
                ports.declared.push(target);
            }
        }
        ports
    }
}

fn memberships(workload: &Workload) -> impl Iterator<Item = (String, (u16, u16))> {
    workload.services.iter().flat_map(|m| m.ports.iter().map(|ports| (m.service.to_string(), *ports)))
}

fn port(ports: &Ports, policy: &Authored<'_>, value: &Value<'_>) -> Option<Finding> {
    let Value { path, negated, text, .. } = value;
    let port: u16 = text.parse().ok()?;
    if ports.declared.contains(&port) {
        return None;
    }
    let why = consequence(policy.object.spec.action, *negated);
    if let Some((target, service)) = ports.services.get(&port) {
        let what = format!("{port} is a port of the Service {service}, and arrives at the pod as {target}");
        let mend = format!("write \"{target}\"");
        return Some(Finding::new(Code::ServicePort, policy.name(), path.clone(), what).why(why).mend(mend));
    }
    let what = format!("no pod that the policy covers declares the port {port}");
    ports.all_declare.then(|| Finding::new(Code::UnknownPort, policy.name(), path.clone(), what).why(why))
}

//! Waypoints that can be gone round.

use std::collections::{BTreeMap, BTreeSet};

use crate::control::project::{Bypass, Why, bypassable};
use crate::model::name::NamespacedName;

use super::world::World;
use super::{Code, Finding, Object};

/// How many workloads, and how many ports, are named.
const MOST: usize = 3;

pub(super) fn check(world: &World<'_>, findings: &mut Vec<Finding>) {
    let all = bypassable(world.projection);
    let mut by_waypoint: BTreeMap<&NamespacedName, Vec<&Bypass>> = BTreeMap::new();
    for bypass in &all {
        for waypoint in &bypass.waypoints {
            by_waypoint.entry(waypoint).or_default().push(bypass);
        }
    }
    for (waypoint, bypasses) in by_waypoint {
        // `<cluster>//Pod/<namespace>/<name>`, and for others what follows the cluster.
        let name = |bypass: &&Bypass| {
            let rest = bypass.workload.split_once("//").map_or(&*bypass.workload, |(_, rest)| rest);
            rest.strip_prefix("Pod/").unwrap_or(rest).to_owned()
        };
        let names: Vec<_> = bypasses.iter().map(name).collect();
        let what = format!("it can be gone round: {} can be reached without it", list(&names));
        findings
            .push(Finding::new(Code::WaypointBypassed, Object::new("Gateway", waypoint), "", what).why(why(&bypasses)));
    }
}

fn why(bypasses: &[&Bypass]) -> String {
    let mut reasons = BTreeSet::new();
    for bypass in bypasses {
        reasons.insert(match &bypass.why {
            Why::Outside => "pods outside of the mesh take whatever arrives".to_owned(),
            Why::Open { others: true, .. } => "policy refuses other callers at none or few of their ports".to_owned(),
            Why::Open { ports, others: false } => {
                let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
                format!("policy admits other callers at port {}", list(&ports))
            }
        });
    }
    reasons.into_iter().collect::<Vec<_>>().join(", and ")
}

fn list(names: &[String]) -> String {
    let more = names.len().saturating_sub(MOST);
    let told = names[..names.len() - more].join(", ");
    if more > 0 { format!("{told} and {more} more") } else { told }
}

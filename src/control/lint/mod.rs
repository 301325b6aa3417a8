//! What will not do what its author thinks: findings about a set of manifests.
//!
//! Owns: the checks, their codes ([`Code`]) and words. Never: I/O, a decision about a connection, a
//! change of what is enforced. A check that claims something of rules (`subsume`) is sound: it may
//! miss, it is never wrong. Checks that compare with workloads are left out when the manifests
//! declare none, or when some could not be read: what is missing may be what they would complain of.

mod addresses;
mod alternatives;
mod code;
mod finding;
mod invented;
mod layer7;
mod membership;
mod names;
mod peers;
mod places;
mod refused;
mod rules;
mod selector;
mod statuses;
mod subsume;
mod values;
mod waypoints;
mod words;
mod world;

pub use code::{Code, reference};
pub use finding::{Finding, Level, Object, Place};

use super::index::Index;
use super::manifests::Survey;
use super::project::{Settings, project};
use world::World;

type Check = fn(&World<'_>, &mut Vec<Finding>);

/// Checks that ask nothing about workloads.
const ALWAYS: &[Check] = &[
    alternatives::check,
    invented::check,
    layer7::check,
    peers::check,
    rules::check,
    selector::empty,
    statuses::check,
];

/// Checks that compare with the workloads there are.
const WITH_WORKLOADS: &[Check] =
    &[addresses::check, membership::check, names::check, peers::check_workloads, selector::check, waypoints::check];

/// Everything that is to be said about a set of manifests, worst first within each object; objects
/// in the order of their files.
pub fn lint(survey: Survey, settings: &Settings) -> Vec<Finding> {
    let Survey { objects, errors, places, documents: _ } = survey;
    let mut findings = refused::errors(&errors);
    findings.extend(refused::ignored(&objects.ignored));
    let complete = errors.is_empty();
    let index = Index::build(objects);
    let projection = project(&index, settings);
    let world = World::of(&index, &projection, settings);
    for check in ALWAYS {
        check(&world, &mut findings);
    }
    if complete && world.has_workloads() {
        for check in WITH_WORKLOADS {
            check(&world, &mut findings);
        }
    } else {
        findings.push(refused::not_compared(complete));
    }
    places::locate(&mut findings, &places);
    findings
}

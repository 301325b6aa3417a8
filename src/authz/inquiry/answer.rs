//! The question answered: who, what, and the report.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::question::Question;
use super::report::{Report, report};
use super::resolve::{Called, Calling, Unanswered, both};
use crate::authz::Request;
use crate::mesh::{Held, View};
use crate::model::ports;
use crate::model::workload::Tunnel;
use crate::tls::Domains;

/// The answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub source: Source,
    pub destination: Destination,
    #[serde(flatten)]
    pub report: Report,
    /// What a person should know beside it.
    pub notes: Vec<String>,
}

/// Who calls, as policy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// `namespace/name`, where the mesh knows the address.
    pub pod: Option<String>,
    /// Nobody's for plaintext.
    pub identity: Option<String>,
    pub address: String,
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    pub pod: Option<String>,
    /// With the port.
    pub address: String,
    pub in_mesh: bool,
}

/// Where a question is asked.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The one that addresses are looked up in.
    pub network: &'a str,
    /// Whom the node that is called lets in beside its own trust domain.
    pub domains: &'a Domains,
}

/// Answers from one view of the mesh.
pub fn answer(question: &Question, place: Place<'_>, view: &View, now: SystemTime) -> Result<Answer, Unanswered> {
    let Place { network, domains } = place;
    let (Calling { workload: source, identity, address, mut notes }, called) =
        both(&question.caller, &question.callee, network, view)?;
    let Called { workload: target, address: to } = called;
    let in_mesh = target.as_ref().filter(|workload| workload.tunnel == Tunnel::Hbone);
    if let Some(workload) = target.as_ref().filter(|workload| workload.waypoint.is_some()) {
        notes.push(format!(
            "calls to {} go through its waypoint first, which arrives here with an identity of its own: ask for that with \
             --sa; this answer is for a call that comes past the waypoint",
            name(workload)
        ));
    }
    let report = match in_mesh {
        None => unjudged(true, "outside_the_mesh", "nobody judges it: the destination is outside of the mesh"),
        Some(_) if ports::is_ours(to.port()) => {
            unjudged(false, "loop", "the port is one of the mesh's own: no application is called there")
        }
        Some(workload) => match identity.as_ref().map(|peer| &*peer.trust_domain) {
            Some(domain) if !domains.is_ours(&workload.trust_domain, domain) && !domains.is_federated(domain) => {
                let detail = format!(
                    "nobody of the trust domain {domain} is let in: it is neither that of the destination, nor one of its \
                     aliases, nor one with a bundle of its own"
                );
                unjudged(false, "tls", &detail)
            }
            domain => {
                let ours = |domain: &str| domains.is_ours(&workload.trust_domain, domain);
                let foreign = domain.is_some_and(|domain| !ours(domain));
                let request = Request { peer: identity.as_ref(), foreign, source: address, destination: to, now };
                report(&request, &view.policies_for(workload))
            }
        },
    };
    Ok(Answer {
        source: Source {
            pod: source.as_deref().map(name),
            identity: identity.map(|identity| identity.to_string()),
            address: address.to_string(),
        },
        destination: Destination {
            pod: target.as_deref().map(name),
            address: to.to_string(),
            in_mesh: in_mesh.is_some(),
        },
        report,
        notes,
    })
}

fn name(workload: &Held) -> String {
    format!("{}/{}", workload.namespace, workload.name)
}

/// Where no policy is asked.
fn unjudged(allowed: bool, reason: &str, detail: &str) -> Report {
    Report {
        allowed,
        reason: reason.to_owned(),
        policy: None,
        rule: None,
        detail: detail.to_owned(),
        missing: Vec::new(),
        unsent: Vec::new(),
        policies: Vec::new(),
    }
}

#[cfg(test)]
mod tests;

//! Where each pod stands, in the shape that tools for Istio's node proxy read (`workloadState`).

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::enroll::manager::{PodStatus, State};
use crate::proxy::connections::{Connection, Facts};
use crate::proxy::pod::PodProxy;
use crate::proxy::shared::LocalPods;
use crate::telemetry::access::Road;

/// One pod. A pod that is not in is not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkloadState {
    /// `Pending` or `Up`.
    pub state: &'static str,
    pub info: Info,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<Live>,
}

/// Who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub service_account: Arc<str>,
}

/// Its live connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Live {
    pub inbound: Vec<One>,
    pub outbound: Vec<One>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct One {
    pub src: SocketAddr,
    /// Outbound what was dialled; inbound the host name of the service that was called, null when there is none.
    pub original_dst: Option<String>,
    pub actual_dst: SocketAddr,
    /// `HBONE` or `TCP`.
    pub protocol: &'static str,
}

/// The pods by uid, with at most `most` connections together.
pub fn report(pods: &[PodStatus], local: &LocalPods, most: usize) -> BTreeMap<Arc<str>, WorkloadState> {
    let proxies: HashMap<_, _> = local
        .all()
        .into_iter()
        .filter(|proxy| !proxy.is_closing())
        .map(|proxy| (Arc::clone(&proxy.pod().uid), proxy))
        .collect();
    let mut left = most;
    let mut states = BTreeMap::new();
    for PodStatus { pod, state, .. } in pods {
        let state = match state {
            State::Enrolled | State::Withdrawing => "Up",
            State::Enrolling | State::Failed(_) => "Pending",
            State::Out => continue,
        };
        let info = Info {
            name: Arc::clone(&pod.key.name),
            namespace: Arc::clone(&pod.key.namespace),
            service_account: Arc::clone(&pod.service_account),
        };
        let connections = proxies.get(&pod.uid).filter(|_| state == "Up").map(|proxy| live(proxy, &mut left));
        states.insert(Arc::clone(&pod.uid), WorkloadState { state, info, connections });
    }
    states
}

fn live(proxy: &PodProxy, left: &mut usize) -> Live {
    let mut some = |all: Vec<Arc<Connection>>, one: fn(&Facts) -> One| -> Vec<One> {
        let listed: Vec<_> = all.iter().take(*left).map(|connection| one(&connection.facts)).collect();
        *left -= listed.len();
        listed
    };
    Live { inbound: some(proxy.arrived().all(), inbound), outbound: some(proxy.opened().all(), outbound) }
}

fn inbound(facts: &Facts) -> One {
    One {
        src: facts.client,
        original_dst: facts.service.as_ref().map(|service| service.hostname.to_string()),
        actual_dst: facts.destination,
        protocol: protocol(facts.road),
    }
}

fn outbound(facts: &Facts) -> One {
    One {
        src: facts.client,
        original_dst: Some(facts.destination.to_string()),
        actual_dst: facts.hop.unwrap_or(facts.destination),
        protocol: protocol(facts.road),
    }
}

const fn protocol(road: Road) -> &'static str {
    match road {
        Road::Hbone => "HBONE",
        Road::Plain | Road::Refused | Road::SameNode => "TCP",
    }
}

#[cfg(test)]
mod tests;

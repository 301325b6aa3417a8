//! Who and what a question means in one view of the mesh.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::question::{Callee, Caller};
use crate::mesh::{Held, View};
use crate::model::name::NamespacedName;
use crate::model::nearest::near;
use crate::model::spiffe::Identity;
use crate::model::workload::Tunnel;

/// Why a question has no answer in this mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It names what is not there.
    Unknown,
    /// It leaves out what is needed.
    Vague,
}

/// A question without an answer. The fault of who asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unanswered {
    pub flaw: Flaw,
    message: String,
}

/// The caller as policy will see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Calling {
    pub workload: Option<Arc<Held>>,
    pub identity: Option<Identity>,
    pub address: IpAddr,
    /// What a person should know about how it was found.
    pub notes: Vec<String>,
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Called {
    /// `None` for an address that the mesh knows nothing of.
    pub workload: Option<Arc<Held>>,
    pub address: SocketAddr,
}

/// Names that are offered for one that is not known.
const OFFERED: usize = 5;

// === impl Unanswered ===

impl Unanswered {
    fn new(flaw: Flaw, message: impl Into<String>) -> Self {
        Self { flaw, message: message.into() }
    }
}

/// Finds both. A connection has one family: of several addresses the first pair of one family counts.
pub(super) fn both(
    caller: &Caller,
    callee: &Callee,
    network: &str,
    view: &View,
) -> Result<(Calling, Called), Unanswered> {
    let (called, to) = match callee {
        Callee::Address(address) => {
            let workload = view.workload_at(network, address.ip()).cloned();
            if workload.is_none()
                && let Some(service) = view.service_at(network, address.ip(), None)
            {
                let message = format!(
                    "{} is the address of the Service {}/{}: policy is judged at the pod that is chosen; name one of its pods and the pod's port with --to NAMESPACE/POD:PORT",
                    address.ip(),
                    service.namespace,
                    service.name
                );
                return Err(Unanswered::new(Flaw::Vague, message));
            }
            (workload, vec![SocketAddr::new(address.ip().to_canonical(), address.port())])
        }
        Callee::Pod { pod, port } => {
            let workload = named(pod, view)?;
            let to = workload.addresses.iter().map(|ip| SocketAddr::new(*ip, *port)).collect();
            (Some(workload), to)
        }
    };
    let (mut calling, from) = calling(caller, network, view, &to)?;
    let pair = from.iter().find_map(|from| Some((*from, *to.iter().find(|to| to.is_ipv4() == from.is_ipv4())?)));
    let Some((address, to)) = pair else {
        let families = "they have no address of one family, so neither can call the other";
        return Err(Unanswered::new(Flaw::Vague, format!("{callee} and its caller: {families}; give other addresses")));
    };
    calling.address = address;
    Ok((calling, Called { workload: called, address: to }))
}

/// The caller, and every address that it may call from.
fn calling(
    caller: &Caller,
    network: &str,
    view: &View,
    to: &[SocketAddr],
) -> Result<(Calling, Vec<IpAddr>), Unanswered> {
    let of = |workload: Option<Arc<Held>>, identity, notes| Calling {
        workload,
        identity,
        address: IpAddr::from([0, 0, 0, 0]),
        notes,
    };
    match caller {
        Caller::Pod(pod) => {
            let workload = named(pod, view)?;
            let (identity, notes) = match workload.tunnel {
                Tunnel::Hbone => (Some(workload.identity()), Vec::new()),
                Tunnel::None => (None, vec![format!("{pod} is outside of the mesh: it calls in plaintext")]),
            };
            let addresses = workload.addresses.to_vec();
            Ok((of(Some(workload), identity, notes), addresses))
        }
        Caller::Address(ip) => {
            let ip = ip.to_canonical();
            let workload = view.workload_at(network, ip).cloned();
            let in_mesh = workload.as_ref().filter(|workload| workload.tunnel == Tunnel::Hbone);
            let note = in_mesh.map(|workload| {
                let name = format!("{}/{}", workload.namespace, workload.name);
                format!("{ip} is {name}, which is in the mesh: its own calls have an identity; ask with --from {name}")
            });
            Ok((of(workload, None, note.into_iter().collect()), vec![ip]))
        }
        Caller::Identity { identity, address } => {
            let address = address.to_canonical();
            let workload = view.workload_at(network, address).cloned();
            Ok((of(workload, Some(identity.clone()), Vec::new()), vec![address]))
        }
        Caller::ServiceAccount { account, address } => {
            let has = |workload: &&Arc<Held>| {
                workload.tunnel == Tunnel::Hbone
                    && workload.namespace == account.namespace
                    && workload.service_account == account.name
            };
            let fits = |workload: &&Arc<Held>| {
                workload.addresses.iter().any(|ip| to.iter().any(|to| to.is_ipv4() == ip.is_ipv4()))
            };
            let mut pods: Vec<_> = view.workloads().filter(has).collect();
            pods.sort_by(|a, b| a.uid.cmp(&b.uid));
            // Of an account that no workload has, any workload tells the trust domain: this mesh has one.
            let some = pods.first().copied().or_else(|| view.workloads().min_by(|a, b| a.uid.cmp(&b.uid)));
            let Some(some) = some else {
                return Err(Unanswered::new(
                    Flaw::Unknown,
                    "the mesh has no workload yet: nobody knows its trust domain",
                ));
            };
            let identity = Identity::new(
                Arc::clone(&some.trust_domain),
                Arc::clone(&account.namespace),
                Arc::clone(&account.name),
            );
            if let Some(ip) = address {
                let workload = view.workload_at(network, *ip).cloned();
                return Ok((of(workload, Some(identity), Vec::new()), vec![ip.to_canonical()]));
            }
            let Some(pod) = pods.iter().copied().find(fits) else {
                let message = format!(
                    "no pod of the mesh has the service account {account}, so nobody knows its address: add --ip ADDRESS{}",
                    offer("service accounts", &account.to_string(), accounts(view))
                );
                return Err(Unanswered::new(Flaw::Unknown, message));
            };
            let mut notes = Vec::new();
            if pods.len() > 1 {
                let count = pods.len();
                notes.push(format!(
                    "{count} pods have this service account; the address is that of {}/{}",
                    pod.namespace, pod.name
                ));
            }
            let addresses = pod.addresses.to_vec();
            Ok((of(Some(Arc::clone(pod)), Some(identity), notes), addresses))
        }
    }
}

/// The pod of a name; of several clusters' the first.
fn named(pod: &NamespacedName, view: &View) -> Result<Arc<Held>, Unanswered> {
    let same = view.workloads().filter(|w| w.namespace == pod.namespace && w.name == pod.name);
    if let Some(found) = same.min_by(|a, b| a.uid.cmp(&b.uid)) {
        return Ok(Arc::clone(found));
    }
    let names = view.workloads().map(|w| format!("{}/{}", w.namespace, w.name)).collect();
    let message =
        format!("the mesh knows no pod {pod} that runs and has an address{}", offer("pods", &pod.to_string(), names));
    Err(Unanswered::new(Flaw::Unknown, message))
}

fn accounts(view: &View) -> Vec<String> {
    view.workloads().map(|w| format!("{}/{}", w.namespace, w.service_account)).collect()
}

/// `; near names are a, b`, or how to find some.
fn offer(what: &str, written: &str, names: Vec<String>) -> String {
    let offered = near(written, names.iter().map(String::as_str), OFFERED);
    match offered.as_slice() {
        [] => format!("; the page /workloads lists all {}", names.len()),
        near => format!("; the nearest {what} are {}", near.join(", ")),
    }
}

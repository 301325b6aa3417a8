//! Values of core objects that Kubernetes' API server would have refused.
//!
//! Names matter most: they become parts of identities, of policy references and of metric labels,
//! where a `/` or a space would let one object speak for another.

use std::net::IpAddr;
use std::path::Path;

use crate::control::names::{is_label, is_subdomain};
use crate::control::policy::Problem;
use crate::kube::types::{ObjectMeta, Pod, Service};

use super::NETNS;

/// A UID is a UUID in practice; this leaves room for people who write their own.
const MAX_UID: usize = 128;

/// Names, UID and the time that "the oldest wins" goes by.
pub(super) fn metadata(meta: &ObjectMeta, problems: &mut Vec<Problem>) {
    if !is_subdomain(&meta.name) {
        problems.push(name_problem("metadata.name", &meta.name));
    }
    if !meta.namespace.is_empty() && !is_label(&meta.namespace) {
        problems.push(name_problem("metadata.namespace", &meta.namespace));
    }
    if meta.uid.len() > MAX_UID || !meta.uid.bytes().all(|b| b.is_ascii_graphic()) {
        problems.push(problem("metadata.uid", "is not a UID", "remove it, or write a UUID"));
    }
    if meta.creation_timestamp.is_some() && meta.created().is_none() {
        let mend = "write it as 2026-01-31T12:00:00Z, or remove it";
        problems.push(problem("metadata.creationTimestamp", "is not a time (RFC 3339)", mend));
    }
}

/// Names, addresses and the namespace's path.
pub(super) fn pod(pod: &Pod, problems: &mut Vec<Problem>) {
    if let Some(name) = pod.spec.service_account_name.as_deref().filter(|name| !name.is_empty() && !is_subdomain(name))
    {
        problems.push(name_problem("spec.serviceAccountName", name));
    }
    if let Some(name) = pod.spec.node_name.as_deref().filter(|name| !name.is_empty() && !is_subdomain(name)) {
        problems.push(name_problem("spec.nodeName", name));
    }
    let many = !pod.status.pod_ips.is_empty();
    for (i, text) in pod.status.addresses().enumerate() {
        let path = if many { format!("status.podIPs[{i}].ip") } else { "status.podIP".to_owned() };
        match text.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
            Err(_) => {
                problems.push(problem(path, format!("`{text}` is not an address"), "write it as 10.1.2.3 or fd00::1"))
            }
            Ok(ip) if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() => {
                problems.push(problem(
                    path,
                    format!("`{text}` cannot be a pod's address"),
                    "write the address of its interface",
                ));
            }
            Ok(_) => {}
        }
    }
    if let Some(path) = pod.metadata.annotations.get(NETNS)
        && (!Path::new(path).is_absolute() || path.contains('\0'))
    {
        problems.push(problem(
            format!("metadata.annotations[{NETNS}]"),
            format!("`{path}` is not an absolute path"),
            "name a file such as /run/netns/NAME",
        ));
    }
}

/// Virtual addresses.
pub(super) fn service(service: &Service, problems: &mut Vec<Problem>) {
    for text in service.spec.addresses() {
        if text.parse::<IpAddr>().is_err() {
            problems.push(problem(
                "spec.clusterIPs",
                format!("`{text}` is not an address"),
                "write an address, or None",
            ));
        }
    }
}

fn problem(path: impl Into<String>, reason: impl Into<String>, mend: &str) -> Problem {
    Problem { path: path.into(), reason: reason.into(), mend: mend.to_owned() }
}

fn name_problem(path: &str, name: &str) -> Problem {
    problem(
        path,
        if name.is_empty() { "is missing".to_owned() } else { format!("`{name}` is not a Kubernetes name") },
        "use lower-case letters, digits and `-`, beginning and ending with a letter or digit",
    )
}

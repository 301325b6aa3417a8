//! WorkloadEntry, and endpoints of a ServiceEntry → workloads.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::control::names::is_subdomain;
use crate::control::project::notes::{Notes, SERVICE_ENTRY, WORKLOAD_ENTRY};
use crate::control::project::owner;
use crate::control::project::service::{self, Entry};
use crate::control::project::status::Reason;
use crate::kube::types::entry::{Resolution, WorkloadEntrySpec};
use crate::kube::types::{ObjectMeta, WorkloadEntry};
use crate::model::name::NamespacedName;
use crate::model::workload::Workload;

use super::{Context, locality, tunnel};

/// Set by Istio when a VM registers itself.
const GROUP: &str = "istio.io/autoRegistrationGroup";

/// Where it is: addresses or a host name, never both.
#[derive(Default)]
struct Place {
    addresses: Vec<IpAddr>,
    hostname: Arc<str>,
}

/// `None` when a value that says who or where it is is bad.
pub(super) fn of_workload_entry(
    context: &Context<'_>,
    key: &NamespacedName,
    object: &WorkloadEntry,
    notes: &mut Notes,
) -> Option<Workload> {
    let spec = &object.spec;
    // Labels of the object come before those of its spec, as in Istio.
    let mut meta = object.metadata.clone();
    for (label, value) in &spec.labels {
        meta.labels.entry(label.clone()).or_insert_with(|| value.clone());
    }
    let mut wrong = |message: String| notes.warn(WORKLOAD_ENTRY, key, Reason::Invalid, message);
    let place = match sound(spec).and_then(|()| place(spec)) {
        Ok(place) => place,
        Err(refusal) => {
            wrong(format!("spec.{refusal}; until then it is left out"));
            return None;
        }
    };
    let named = service::named_ports(&spec.ports, |message| wrong(format!("spec.{message}")));
    let group = object.metadata.annotations.get(GROUP).filter(|group| !group.is_empty());
    let workload_name = || meta.labels.get("service.istio.io/workload-name").filter(|name| !name.is_empty());
    let owner = group.or_else(workload_name).map_or_else(|| key.name.to_string(), Clone::clone);
    Some(Workload {
        uid: format!("{}/networking.istio.io/WorkloadEntry/{key}", context.settings.cluster).into(),
        policies: context.attachments.keys_for(&key.namespace, &meta.labels),
        services: context.services.of_workload_entry(&key.namespace, &meta.labels, &named),
        ..described(context, key, &meta, owner, Some(spec), place)
    })
}

/// One for each endpoint; where its hosts themselves are called, one for each host.
pub(super) fn of_service_entry(context: &Context<'_>, entry: &Entry<'_>, notes: &mut Notes) -> Vec<Workload> {
    let (key, meta) = (&entry.key, &entry.object.metadata);
    let prefix = format!("{}/networking.istio.io/ServiceEntry/{key}", context.settings.cluster);
    let base = |spec, place| Workload {
        policies: context.attachments.keys_for(&key.namespace, &meta.labels),
        ..described(context, key, meta, key.name.to_string(), spec, place)
    };
    let mut workloads = Vec::new();
    if entry.calls_hosts() {
        let services = context.services.of_endpoint(entry, &service::NamedPorts::new());
        for membership in services {
            let hostname = Arc::clone(&membership.service.name);
            if hostname.starts_with('*') {
                let message = format_args!("`{hostname}` cannot be looked up; name each host, or write spec.endpoints");
                notes.warn(SERVICE_ENTRY, key, Reason::Invalid, message);
                continue;
            }
            let place = Place { hostname: Arc::clone(&hostname), ..Place::default() };
            workloads.push(Workload {
                uid: format!("{prefix}/{hostname}").into(),
                services: vec![membership],
                ..base(None, place)
            });
        }
        return workloads;
    }
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (i, spec) in entry.endpoints.iter().enumerate() {
        let mut wrong = |message: String| {
            notes.warn(SERVICE_ENTRY, key, Reason::Invalid, format_args!("spec.endpoints[{i}].{message}"));
        };
        let place = sound(spec).and_then(|()| place(spec)).and_then(|place| {
            if !place.hostname.is_empty() && entry.object.spec.resolution == Resolution::Static {
                return Err(format!("address: `{}` is a host name; write an address, or resolution DNS", spec.address));
            }
            Ok(place)
        });
        let place = match place {
            Ok(place) => place,
            Err(refusal) => {
                wrong(format!("{refusal}; until then the endpoint is left out"));
                continue;
            }
        };
        let named = service::named_ports(&spec.ports, wrong);
        // One address may stand for several endpoints with other ports.
        let times = seen.entry(&spec.address).or_default();
        *times += 1;
        let uid = match *times {
            1 => format!("{prefix}/{}", spec.address),
            times => format!("{prefix}/{}/{times}", spec.address),
        };
        let services = context.services.of_endpoint(entry, &named);
        // Another object has all of its hosts.
        if services.is_empty() {
            continue;
        }
        workloads.push(Workload { uid: uid.into(), services, ..base(Some(spec), place) });
    }
    workloads
}

/// What both have in common. Who it is comes from `meta`, where it is from `spec` and `place`.
fn described(
    context: &Context<'_>,
    key: &NamespacedName,
    meta: &ObjectMeta,
    owner: String,
    spec: Option<&WorkloadEntrySpec>,
    place: Place,
) -> Workload {
    let settings = context.settings;
    let (tunnel, native_tunnel) = tunnel::of(&meta.labels, tunnel::is_redirected(&meta.annotations));
    let (canonical_name, canonical_revision) = owner::canonical(meta, &owner);
    let network = spec.map(|spec| &spec.network).filter(|network| !network.is_empty());
    Workload {
        name: Arc::clone(&key.name),
        namespace: Arc::clone(&key.namespace),
        service_account: spec.map(|spec| Arc::clone(&spec.service_account)).unwrap_or_default(),
        trust_domain: Arc::clone(&settings.trust_domain),
        addresses: place.addresses,
        hostname: place.hostname,
        network: Arc::clone(network.unwrap_or(&settings.network)),
        cluster: Arc::clone(&settings.cluster),
        tunnel,
        native_tunnel,
        owner: owner.into(),
        canonical_name: canonical_name.into(),
        canonical_revision: canonical_revision.into(),
        locality: spec.map(|spec| locality::of_text(&spec.locality)).unwrap_or_default(),
        capacity: spec.map_or(1, |spec| spec.weight.max(1)),
        ..Workload::default()
    }
}

/// Names that become parts of an identity.
fn sound(spec: &WorkloadEntrySpec) -> Result<(), String> {
    let name = &spec.service_account;
    if name.is_empty() || is_subdomain(name) {
        return Ok(());
    }
    Err(format!("serviceAccount: `{name}` is not a Kubernetes name; write the name of a service account"))
}

fn place(spec: &WorkloadEntrySpec) -> Result<Place, String> {
    let text = &*spec.address;
    if text.is_empty() {
        // A gateway of its network may know the way.
        return match spec.network.is_empty() {
            true => Err("address: is missing; write an address or a host name".to_owned()),
            false => Ok(Place::default()),
        };
    }
    if text.starts_with("unix:") {
        return Err(format!("address: `{text}` is a socket of one machine and is not carried; write an address"));
    }
    let shown = |refusal: String| format!("address: {refusal}");
    if text.parse::<IpAddr>().is_ok() {
        return Ok(Place { addresses: vec![service::ip(text).map_err(shown)?], ..Place::default() });
    }
    let hostname = service::host(text).map_err(shown)?;
    if hostname.starts_with('*') {
        return Err(format!("address: `{text}` cannot be looked up; write one host name"));
    }
    Ok(Place { hostname, ..Place::default() })
}

//! All services, arranged for the question "which of them is this workload an endpoint of".

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::control::index::{Index, IndexedPod};
use crate::control::project::Settings;
use crate::control::project::attach::selects;
use crate::control::project::notes::{Notes, SERVICE, SERVICE_ENTRY};
use crate::control::project::status::Status;
use crate::kube::types;
use crate::kube::types::meta::StringMap;
use crate::kube::types::service::{EndpointSlice, ServicePort};
use crate::model::name::NamespacedName;
use crate::model::service::Service;
use crate::model::workload::ServiceMembership;

use super::entry::Entry;
use super::membership::{Ports, entry_at_entry, entry_at_pod, service_at_entry, service_at_pod, service_at_slices};
use super::slices::{self, Slices};
use super::values::NamedPorts;
use super::{claims, kubernetes};

/// Services, and the objects that they come from.
pub(in crate::control::project) struct Services<'a> {
    /// Namespace → services, in order of host names.
    by_namespace: BTreeMap<Arc<str>, Vec<Declared<'a>>>,
    /// Kind and key of an object → its services' places in the list of its namespace.
    by_object: BTreeMap<(&'static str, NamespacedName), Vec<usize>>,
    entries: Vec<Arc<Entry<'a>>>,
    slices: Slices<'a>,
}

/// A service and what declares it.
pub(in crate::control::project) struct Declared<'a> {
    pub model: Service,
    pub source: Source<'a>,
    pub(super) created: Option<OffsetDateTime>,
    pub(super) network: Arc<str>,
}

/// What declares a service.
pub(in crate::control::project) enum Source<'a> {
    Kubernetes {
        key: &'a NamespacedName,
        object: &'a types::Service,
        /// Those that are carried.
        ports: Vec<&'a ServicePort>,
    },
    /// One of its hosts.
    Entry(Arc<Entry<'a>>),
}

// === impl Services ===

impl<'a> Services<'a> {
    pub(in crate::control::project) fn build(
        index: &'a Index,
        settings: &Settings,
        statuses: &mut Vec<Status>,
    ) -> Self {
        let mut notes = Notes::default();
        let mut all = Vec::new();
        let network = || Arc::clone(&settings.network);
        for (key, object) in index.services.iter().filter(|(_, object)| kubernetes::is_carried(object)) {
            let ports = kubernetes::ports(key, &object.spec, &mut notes);
            let model = kubernetes::model(key, object, &ports, (index, settings), &mut notes);
            let source = Source::Kubernetes { key, object, ports };
            all.push(Declared { model, source, created: object.metadata.created(), network: network() });
        }
        let mut entries = Vec::new();
        for (key, object) in &index.service_entries {
            let entry = Arc::new(Entry::check(key, object, index, &mut notes));
            for host in &entry.hosts {
                let (model, source) = (entry.model(host, settings), Source::Entry(Arc::clone(&entry)));
                all.push(Declared { model, source, created: object.metadata.created(), network: network() });
            }
            entries.push(entry);
        }
        let mut all = claims::names(all, &mut notes);
        claims::addresses(&mut all, &mut notes);
        claims::allocate(&mut all, &mut notes);
        statuses.extend(notes.into_statuses());
        let mut by_namespace: BTreeMap<_, Vec<Declared<'a>>> = BTreeMap::new();
        let mut by_object: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for declared in all {
            let list = by_namespace.entry(Arc::clone(&declared.model.namespace)).or_default();
            let (kind, key) = declared.object();
            by_object.entry((kind, key.clone())).or_default().push(list.len());
            list.push(declared);
        }
        Self { by_namespace, by_object, entries, slices: Slices::build(index) }
    }

    /// The services that a pod is an endpoint of, each once, in order of host names.
    pub(in crate::control::project) fn of_pod(&self, indexed: &IndexedPod) -> Vec<ServiceMembership> {
        let (key, labels, spec) = (&indexed.pod.key, &indexed.object.metadata.labels, &indexed.object.spec);
        self.of(&key.namespace, |source| match source {
            Source::Kubernetes { key: service, object, ports } => {
                let selector = &object.spec.selector;
                if !selector.is_empty() {
                    return selects(selector, labels).then(|| service_at_pod(ports, spec));
                }
                let mut slices = self.slices.of(key, service).peekable();
                slices.peek().is_some().then(|| service_at_slices(ports, slices))
            }
            Source::Entry(entry) => {
                entry.selector.is_some_and(|s| selects(s, labels)).then(|| entry_at_pod(&entry.ports, spec))
            }
        })
    }

    /// The services that select a WorkloadEntry.
    pub(in crate::control::project) fn of_workload_entry(
        &self,
        namespace: &str,
        labels: &StringMap,
        named: &NamedPorts<'_>,
    ) -> Vec<ServiceMembership> {
        self.of(namespace, |source| match source {
            Source::Kubernetes { object, ports, .. } => {
                let selector = &object.spec.selector;
                (!selector.is_empty() && selects(selector, labels)).then(|| service_at_entry(ports, named))
            }
            Source::Entry(entry) => {
                entry.selector.is_some_and(|s| selects(s, labels)).then(|| entry_at_entry(&entry.ports, named))
            }
        })
    }

    /// What an endpoint of a ServiceEntry's own belongs to: each host that the entry has kept.
    pub(in crate::control::project) fn of_endpoint(
        &self,
        of: &Entry<'_>,
        named: &NamedPorts<'_>,
    ) -> Vec<ServiceMembership> {
        self.of_object(SERVICE_ENTRY, &of.key, |source| match source {
            Source::Entry(entry) => Some(entry_at_entry(&entry.ports, named)),
            Source::Kubernetes { .. } => None,
        })
    }

    /// What a slice's endpoint belongs to that is no pod.
    pub(in crate::control::project) fn of_slice(
        &self,
        service: &NamespacedName,
        slice: &EndpointSlice,
    ) -> Vec<ServiceMembership> {
        self.of_object(SERVICE, service, |source| match source {
            Source::Kubernetes { ports, .. } => Some(service_at_slices(ports, [slice])),
            Source::Entry(_) => None,
        })
    }

    fn of(&self, namespace: &str, ports: impl Fn(&Source<'a>) -> Option<Ports>) -> Vec<ServiceMembership> {
        let candidates = self.by_namespace.get(namespace).into_iter().flatten();
        candidates.filter_map(|declared| declared.member(&ports)).collect()
    }

    fn of_object(
        &self,
        kind: &'static str,
        key: &NamespacedName,
        ports: impl Fn(&Source<'a>) -> Option<Ports>,
    ) -> Vec<ServiceMembership> {
        let places = self.by_object.get(&(kind, key.clone())).into_iter().flatten();
        let list = self.by_namespace.get(&key.namespace);
        places.filter_map(|place| list?.get(*place)?.member(&ports)).collect()
    }

    /// A slice names the pod as not ready.
    pub(in crate::control::project) fn is_unready(&self, pod: &NamespacedName) -> bool {
        self.slices.is_unready(pod)
    }

    /// All ServiceEntries, in order of keys.
    pub(in crate::control::project) fn entries(&self) -> &[Arc<Entry<'a>>] {
        &self.entries
    }

    /// Every slice of a Service that is there, with the Service's key.
    pub(in crate::control::project) fn slices(
        index: &Index,
    ) -> impl Iterator<Item = (&NamespacedName, &EndpointSlice)> {
        slices::carried(index)
    }

    pub(in crate::control::project) fn models(self) -> Vec<Service> {
        self.by_namespace.into_values().flatten().map(|declared| declared.model).collect()
    }
}

// === impl Declared ===

impl<'a> Declared<'a> {
    fn member(&self, ports: impl Fn(&Source<'a>) -> Option<Ports>) -> Option<ServiceMembership> {
        Some(ServiceMembership { ports: ports(&self.source)?, service: self.model.key() })
    }

    /// Smaller keeps what two claim: Services before ServiceEntries, then the oldest, then the first in order of keys.
    pub(super) fn age(&self) -> (bool, Option<OffsetDateTime>, &NamespacedName) {
        (matches!(self.source, Source::Entry(_)), self.created, self.object().1)
    }

    /// Kind and key of what declares it.
    pub(in crate::control::project) fn object(&self) -> (&'static str, &NamespacedName) {
        match &self.source {
            Source::Kubernetes { key, .. } => (SERVICE, key),
            Source::Entry(entry) => (SERVICE_ENTRY, &entry.key),
        }
    }
}

// === impl Source ===

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubernetes { key, .. } => write!(f, "{SERVICE} {key}"),
            Self::Entry(entry) => write!(f, "{SERVICE_ENTRY} {}", entry.key),
        }
    }
}

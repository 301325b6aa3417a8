//! All workloads, from everything that declares one.

use crate::control::index::Index;
use crate::control::project::Settings;
use crate::control::project::attach::Attachments;
use crate::control::project::notes::Notes;
use crate::control::project::service::Services;
use crate::control::project::status::Status;
use crate::model::workload::Workload;

use super::{entry, pod, slice};

/// What a workload is made with besides its own object.
#[derive(Clone, Copy)]
pub(in crate::control::project) struct Context<'a> {
    pub index: &'a Index,
    pub settings: &'a Settings,
    pub services: &'a Services<'a>,
    pub attachments: &'a Attachments,
}

/// Pods, WorkloadEntries, endpoints of ServiceEntries, endpoints of EndpointSlices; each in order of keys. Every UID is
/// there once.
pub(in crate::control::project) fn workloads(
    index: &Index,
    settings: &Settings,
    services: &Services<'_>,
    attachments: &Attachments,
    statuses: &mut Vec<Status>,
) -> Vec<Workload> {
    let context = Context { index, settings, services, attachments };
    let mut notes = Notes::default();
    let mut all: Vec<_> = index.pods.values().filter_map(|indexed| pod::workload(&context, indexed)).collect();
    for (key, object) in &index.workload_entries {
        all.extend(entry::of_workload_entry(&context, key, object, &mut notes));
    }
    for entry in services.entries() {
        all.extend(entry::of_service_entry(&context, entry, &mut notes));
    }
    for (service, slice) in Services::slices(index) {
        all.extend(slice::workloads(&context, service, slice, &mut notes));
    }
    statuses.extend(notes.into_statuses());
    all
}

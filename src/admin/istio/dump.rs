//! `/config_dump`, with the keys that `istioctl ztunnel-config` reads.

use std::io;
use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::facts::{Certificate, More, Pods, Version};
use super::mesh::{ServiceEntry, WorkloadEntry, staged};
use super::policy::PolicyEntry;
use crate::mesh::{Held, View};
use crate::model::policy::Policy;
use crate::model::service::Service;

/// Everything at one moment. Written entry by entry: what is in memory is the order of the entries and no document.
pub struct Dump {
    pub view: Arc<View>,
    /// In any order.
    pub certificates: Vec<Certificate>,
    /// This node's pods by UID.
    pub pods: Pods,
    /// The mesh that a file gave, `{}` where none did.
    pub static_config: Value,
    pub version: Version,
    /// The settings, without secrets.
    pub config: Value,
    /// Keys of ours beside those; they must not be one of them.
    pub more: More,
}

struct Workloads<'a>(&'a View);
struct Services<'a>(&'a View);
struct Policies<'a>(&'a View);

// === impl Dump ===

impl Dump {
    /// Writes the JSON, in lines for people.
    pub fn write(&self, out: &mut dyn io::Write) -> io::Result<()> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Whole<'a, S: Serialize> {
            certificates: Vec<&'a Certificate>,
            config: &'a Value,
            policies: Policies<'a>,
            services: Services<'a>,
            staged_services: S,
            static_config: &'a Value,
            version: &'a Version,
            workload_state: &'a Pods,
            workloads: Workloads<'a>,
            #[serde(flatten)]
            more: &'a More,
        }
        let view = &*self.view;
        let mut certificates: Vec<_> = self.certificates.iter().collect();
        certificates.sort_by(|a, b| a.identity.cmp(&b.identity));
        let whole = Whole {
            certificates,
            config: &self.config,
            policies: Policies(view),
            services: Services(view),
            staged_services: staged(view),
            static_config: &self.static_config,
            version: &self.version,
            workload_state: &self.pods,
            workloads: Workloads(view),
            more: &self.more,
        };
        serde_json::to_writer_pretty(&mut *out, &whole)?;
        out.write_all(b"\n")
    }
}

impl Serialize for Workloads<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut all: Vec<&Held> = self.0.workloads().map(|workload| &**workload).collect();
        all.sort_unstable_by(|a, b| a.uid.cmp(&b.uid));
        to.collect_seq(all.into_iter().map(WorkloadEntry::new))
    }
}

impl Serialize for Services<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut all: Vec<&Service> = self.0.services().map(|service| &**service).collect();
        all.sort_unstable_by(|a, b| (&a.hostname, &a.namespace).cmp(&(&b.hostname, &b.namespace)));
        to.collect_seq(all.into_iter().map(|service| ServiceEntry::new(service, self.0)))
    }
}

impl Serialize for Policies<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut all: Vec<&Policy> = self.0.policies().map(|policy| &**policy).collect();
        all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        to.collect_seq(all.into_iter().map(PolicyEntry::new))
    }
}

#[cfg(test)]
mod tests;

//! A directory of Kubernetes manifests: the input of a mesh without an API server.
//!
//! Owns: finding the files, splitting them into documents, typing and checking each object, and
//! noticing that the directory has changed. Never: what objects mean together (`index`), a task or
//! a timer. All of a directory is read or none of it: a caller keeps its last good state otherwise.

mod check;
mod error;
mod json;
mod kinds;
mod object;
mod read;
mod split;
pub mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::kube::types::{AuthorizationPolicy, EndpointSlice, Namespace, PeerAuthentication, Pod, Service};

pub use error::{DocumentPlace, Fault, LoadError, LoadErrors};

/// The annotation with which a static pod names its network namespace.
pub const NETNS: &str = "culvert.dev/netns";

/// Everything that a set of manifests declares. Every object is namespaced, named and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    pub namespaces: Vec<Namespace>,
    pub pods: Vec<Pod>,
    pub services: Vec<Service>,
    pub endpoint_slices: Vec<EndpointSlice>,
    pub authorization_policies: Vec<AuthorizationPolicy>,
    pub peer_authentications: Vec<PeerAuthentication>,
    /// `<apiVersion> <kind>` that nothing here reads → how many. At most [`MAX_IGNORED`] of them.
    pub ignored: BTreeMap<String, usize>,
}

/// How many unknown kinds are remembered for the warning.
pub const MAX_IGNORED: usize = 32;

/// A file's path, as it is shown, and its bytes.
pub type Source = (PathBuf, Vec<u8>);

/// Reads all `*.yaml`, `*.yml` and `*.json` of a directory, in order of their names.
///
/// # Errors
/// All that is wrong with all files, up to a bound. Nothing is taken over then.
pub fn load(directory: &Path) -> Result<Objects, LoadErrors> {
    parse(&read::files(directory)?)
}

/// Reads manifests that are in memory already.
///
/// # Errors
/// As [`load`].
pub fn parse(sources: &[Source]) -> Result<Objects, LoadErrors> {
    let mut collector = object::Collector::default();
    for (path, bytes) in sources {
        collector.file(path, bytes);
    }
    collector.finish()
}

// === impl Objects ===

impl Objects {
    /// One sentence about the kinds that were ignored, for one warning.
    pub fn ignored_warning(&self) -> Option<String> {
        let kinds: Vec<_> = self.ignored.iter().map(|(kind, count)| format!("{kind} ({count})")).collect();
        (!kinds.is_empty()).then(|| format!("ignored, because nothing here reads them: {}", kinds.join(", ")))
    }
}

#[cfg(test)]
mod tests;

//! PeerAuthentication, checked.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::kube::types::meta::StringMap;
use crate::model::name::NamespacedName;

use super::Problem;
use super::authorization::{check_selector, split_selector};
use super::values;

pub use crate::kube::types::peer::Mode;

/// A PeerAuthentication whose every value is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub key: NamespacedName,
    /// `None` also for a selector without labels.
    pub selector: Option<StringMap>,
    /// The oldest of a level wins, and one without a time counts as the oldest.
    pub created: Option<OffsetDateTime>,
    pub mode: Mode,
    /// Empty unless there is a selector.
    pub ports: BTreeMap<u16, Mode>,
}

/// Reads a PeerAuthentication.
///
/// # Errors
/// All problems that were found in it.
pub fn parse(peer: &crate::kube::types::PeerAuthentication) -> Result<Peer, Vec<Problem>> {
    let spec = &peer.spec;
    let (selector, _) = split_selector(spec.selector.as_ref());
    let mut problems = spec.selector.as_ref().map(check_selector).unwrap_or_default();
    let mut ports = BTreeMap::new();
    for (text, mtls) in &spec.port_level_mtls {
        match values::port(text) {
            Ok(port) => {
                ports.insert(port, mtls.mode);
            }
            Err(refusal) => problems.push(Problem {
                path: format!("spec.portLevelMtls[{text}]"),
                reason: refusal.reason,
                mend: refusal.mend,
            }),
        }
    }
    if selector.is_none() && !spec.port_level_mtls.is_empty() {
        problems.push(Problem {
            path: "spec.portLevelMtls".to_owned(),
            reason: "needs a selector with labels: ports belong to workloads".to_owned(),
            mend: "add `selector.matchLabels`, or remove it".to_owned(),
        });
    }
    let mode = spec.mtls.unwrap_or_default().mode;
    if problems.is_empty() { Ok(Peer { selector, mode, ports, ..closed(peer) }) } else { Err(problems) }
}

/// What a PeerAuthentication that does not parse is taken for: STRICT wherever it applies. A typing
/// mistake must not open a door.
pub fn closed(peer: &crate::kube::types::PeerAuthentication) -> Peer {
    let (selector, _) = split_selector(peer.spec.selector.as_ref());
    Peer {
        key: NamespacedName::new(Arc::clone(&peer.metadata.namespace), Arc::clone(&peer.metadata.name)),
        created: peer.metadata.created(),
        mode: Mode::Strict,
        ports: BTreeMap::new(),
        selector,
    }
}

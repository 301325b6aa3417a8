//! Whose objects a waypoint takes: `allowedRoutes` of its listener.

use std::borrow::Cow;

use crate::control::index::Index;
use crate::kube::types::gateway::{LabelSelector, Listener};
use crate::kube::types::meta::StringMap;

/// Kubernetes gives every namespace this label with its name. A manifest need not write it.
const NAME: &str = "kubernetes.io/metadata.name";

/// Namespaces whose objects may go through a waypoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    All,
    Nobody,
    /// Its own.
    Same,
    Selector(LabelSelector),
}

// === impl Admission ===

impl Admission {
    /// Reads a listener, or the word that nobody knows. Without one, or without a word, it is `Same`.
    pub(super) fn of(listener: Option<&Listener>) -> Result<Self, String> {
        let namespaces = listener.and_then(|l| l.allowed_routes.as_ref()).and_then(|routes| routes.namespaces.as_ref());
        let Some(namespaces) = namespaces else { return Ok(Self::Same) };
        match (namespaces.from.as_deref(), &namespaces.selector) {
            (None | Some("Same"), _) => Ok(Self::Same),
            (Some("All"), _) => Ok(Self::All),
            (Some("None"), _) => Ok(Self::Nobody),
            (Some("Selector"), Some(selector)) => Ok(Self::Selector(selector.clone())),
            (Some("Selector"), None) => Err("allowedRoutes.namespaces has no selector".to_owned()),
            (Some(word), _) => {
                Err(format!("allowedRoutes.namespaces.from is `{word}`, and not All, Same, Selector or None"))
            }
        }
    }

    /// Whether objects of `namespace` may go through a waypoint of namespace `own`.
    pub(super) fn admits(&self, own: &str, namespace: &str, index: &Index) -> bool {
        match self {
            Self::All => true,
            Self::Nobody => false,
            Self::Same => own == namespace,
            Self::Selector(selector) => selector.selects(&labels(namespace, index)),
        }
    }
}

fn labels<'a>(namespace: &str, index: &'a Index) -> Cow<'a, StringMap> {
    match index.namespaces.get(namespace).map(|object| &object.metadata.labels) {
        Some(labels) if labels.contains_key(NAME) => Cow::Borrowed(labels),
        labels => {
            let mut labels = labels.cloned().unwrap_or_default();
            labels.insert(NAME.to_owned(), namespace.to_owned());
            Cow::Owned(labels)
        }
    }
}

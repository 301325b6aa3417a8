//! The settings that say what a policy means, for commands that look at manifests without a node.

use super::raw::{ConfigError, Effective};

/// What the whole mesh has in common; each as the node's setting of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    pub trust_domain: String,
    pub cluster_domain: String,
    pub root_namespace: String,
}

// === impl MeshSettings ===

impl TryFrom<&Effective> for MeshSettings {
    type Error = ConfigError;

    fn try_from(all: &Effective) -> Result<Self, ConfigError> {
        let text = |key| all.read(key, |text| Ok(text.to_owned()));
        Ok(Self {
            trust_domain: text("trust-domain")?,
            cluster_domain: text("cluster-domain")?,
            root_namespace: text("root-namespace")?,
        })
    }
}

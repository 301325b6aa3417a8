//! The settings that say what a policy means, for commands that look at manifests without a node.

use std::path::PathBuf;

use super::raw::{ConfigError, Effective};
use super::value;

/// What the whole mesh has in common; each as the node's setting of that name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSettings {
    pub trust_domain: String,
    pub trust_domain_aliases: Vec<String>,
    /// Trust domain of others → its roots, which are not read here.
    pub trust_bundles: Vec<(String, PathBuf)>,
    pub cluster_domain: String,
    pub root_namespace: String,
}

/// No trust domain is two of: ours, another name of ours, somebody else's.
pub(super) fn one_meaning(
    trust_domain: &String,
    aliases: &[String],
    bundles: &[(String, PathBuf)],
) -> Result<(), ConfigError> {
    let mut told = vec![trust_domain];
    for domain in aliases.iter().chain(bundles.iter().map(|(domain, _)| domain)) {
        if told.contains(&domain) {
            return Err(ConfigError::Contradiction(format!(
                "{domain} is there twice in trust-domain, trust-domain-aliases and trust-bundles: a trust domain has one meaning"
            )));
        }
        told.push(domain);
    }
    Ok(())
}

// === impl MeshSettings ===

impl TryFrom<&Effective> for MeshSettings {
    type Error = ConfigError;

    fn try_from(all: &Effective) -> Result<Self, ConfigError> {
        let text = |key| all.read(key, |text| Ok(text.to_owned()));
        let trust_domain = text("trust-domain")?;
        let trust_domain_aliases = all.read("trust-domain-aliases", value::names)?;
        let trust_bundles = all.read("trust-bundles", value::files)?;
        one_meaning(&trust_domain, &trust_domain_aliases, &trust_bundles)?;
        Ok(Self {
            trust_domain,
            trust_domain_aliases,
            trust_bundles,
            cluster_domain: text("cluster-domain")?,
            root_namespace: text("root-namespace")?,
        })
    }
}

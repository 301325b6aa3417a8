//! The settings of the control plane as typed values.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::named::Named;
use super::raw::{ConfigError, Effective};
use super::value;
use crate::telemetry::log;

/// Every setting of `culvert control`. What each means and why its default is what it is stands in
/// [`super::table::CONTROL`].
#[derive(Clone, Debug)]
pub struct ControlSettings {
    pub manifests: PathBuf,
    pub tokens: PathBuf,
    pub server_names: Vec<String>,
    pub listen_address: SocketAddr,
    pub ca_dir: PathBuf,
    pub trust_domain: String,
    pub trust_domain_aliases: Vec<String>,
    pub cluster: String,
    pub cluster_domain: String,
    pub network: String,
    pub root_namespace: String,
    pub leaf_ttl: Duration,
    pub clients: NonZeroUsize,
    pub connection_age: Duration,
    pub drain_deadline: Duration,
    pub metrics_series: usize,
    pub log_level: String,
    pub log_format: log::Format,
    pub admin_address: SocketAddr,
    pub metrics_address: SocketAddr,
    pub ready_address: SocketAddr,
}

/// The longest life of a leaf, as the certificate service's.
const LONGEST_LEAF: Duration = Duration::from_secs(90 * 24 * 3600);

// === impl ControlSettings ===

impl TryFrom<&Effective> for ControlSettings {
    type Error = ConfigError;

    fn try_from(all: &Effective) -> Result<Self, ConfigError> {
        let path = |key| all.read(key, |text| Ok(PathBuf::from(text)));
        let text = |key| all.read(key, |text| Ok(text.to_owned()));
        let duration = |key| all.read(key, value::duration);
        let address = |key| all.read(key, value::address);
        let settings = Self {
            manifests: path("manifests")?,
            tokens: path("tokens")?,
            server_names: all.read("server-names", value::hosts)?,
            listen_address: address("listen-address")?,
            ca_dir: path("ca-dir")?,
            trust_domain: text("trust-domain")?,
            trust_domain_aliases: all.read("trust-domain-aliases", value::names)?,
            cluster: text("cluster")?,
            cluster_domain: text("cluster-domain")?,
            network: text("network")?,
            root_namespace: text("root-namespace")?,
            leaf_ttl: duration("leaf-ttl")?,
            clients: all.read("clients", value::positive)?,
            connection_age: duration("connection-age")?,
            drain_deadline: duration("drain-deadline")?,
            metrics_series: all.read("metrics-series", value::count)?,
            log_level: text("log-level")?,
            log_format: match text("log-format")?.as_str() {
                "json" => log::Format::Json,
                _ => log::Format::Text,
            },
            admin_address: address("admin-address")?,
            metrics_address: address("metrics-address")?,
            ready_address: address("ready-address")?,
        };
        settings.consistent(&Named::of(all, true))
    }
}

impl ControlSettings {
    fn consistent(self, named: &Named) -> Result<Self, ConfigError> {
        let contradiction = |text: &str| Err(ConfigError::Contradiction(text.to_owned()));
        if self.leaf_ttl > LONGEST_LEAF {
            return contradiction("leaf-ttl must be at most 90 days (2160h)");
        }
        named.apart(&[
            ("listen-address", self.listen_address),
            ("admin-address", self.admin_address),
            ("metrics-address", self.metrics_address),
            ("ready-address", self.ready_address),
        ])?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests;

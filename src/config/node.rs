//! The settings of the node as typed values.

mod consistent;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::drop_in::DropIn;
use super::named::Named;
use super::raw::{ConfigError, Effective};
use super::value;
use super::value::{Endpoint, Roots};
use super::ztunnel::ZtunnelError;
use crate::telemetry::log;

/// How a pod's traffic is redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectBackend {
    /// The node agent has laid the rules; nothing is laid and nothing is verified here.
    Agent,
    Auto,
    Iptables,
    Nftables,
}

/// Whether the redirect's exemption asks for the daemon's cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupExemption {
    Auto,
    Off,
}

/// Which groups TLS agrees on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExchange {
    Any,
    /// Peers without the hybrid group are refused.
    PostQuantum,
}

/// Whether IPv6 is redirected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv6 {
    Auto,
    Off,
    On,
}

/// Every setting of `culvert node`. What each means and why its default is what it is stands in
/// [`super::table::NODE`].
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// [`None`] when mesh and pods come from elsewhere, see [`super::source`].
    pub manifests: Option<PathBuf>,
    pub node: String,
    pub ca_dir: PathBuf,
    pub trust_domain: String,
    /// Other names of the trust domain.
    pub trust_domain_aliases: Vec<String>,
    /// Trust domains of others, each with the file of its roots.
    pub trust_bundles: Vec<(String, PathBuf)>,
    pub key_exchange: KeyExchange,
    pub crl_file: Option<PathBuf>,
    pub cluster: String,
    pub cluster_domain: String,
    pub network: String,
    pub root_namespace: String,
    pub same_node_lane: bool,
    pub reset_older_connections: bool,
    pub redirect_backend: RedirectBackend,
    pub cgroup_exemption: CgroupExemption,
    pub ipv6: Ipv6,
    /// Unless a pod says otherwise.
    pub dns_capture: bool,
    pub leaf_ttl: Duration,
    pub drain_deadline: Duration,
    pub withdraw_deadline: Duration,
    pub verify_interval: Duration,
    pub policy_wait: Duration,
    pub connect_timeout: Duration,
    /// Zero is for ever.
    pub half_open_timeout: Duration,
    /// Bytes a pod; at least one stream's first window.
    pub window_budget: u64,
    pub pool_idle: Duration,
    /// Counts as 100 when it is more.
    pub pool_streams: NonZeroUsize,
    pub max_connections_per_pod: NonZeroUsize,
    /// A second, in each direction.
    pub max_handshakes_per_pod: NonZeroUsize,
    pub metrics_series: usize,
    pub flow_window: Duration,
    /// Flows a node; 0 counts none.
    pub flow_limit: usize,
    pub log_level: String,
    pub log_format: log::Format,
    pub log_access: bool,
    pub admin_address: SocketAddr,
    pub metrics_address: SocketAddr,
    pub ready_address: SocketAddr,
    /// `None` takes half of the processors.
    pub data_threads: Option<NonZeroUsize>,
    pub data_busy_poll: Duration,
    pub xds_address: Option<Endpoint>,
    pub xds_roots: Roots,
    pub xds_server_name: Option<String>,
    pub xds_on_demand: bool,
    pub state_dir: Option<PathBuf>,
    pub state_max_age: Duration,
    pub ca_address: Option<Endpoint>,
    pub ca_roots: Roots,
    pub ca_server_name: Option<String>,
    pub token_file: Option<PathBuf>,
    pub zds_socket: Option<PathBuf>,
    /// Where the next process of this node takes over; [`None`]: nowhere.
    pub takeover_socket: Option<PathBuf>,
    pub local_xds: Option<PathBuf>,
    /// What ztunnel's environment says beyond settings; only in its place.
    pub drop_in: Option<DropIn>,
    /// What messages call each.
    pub named: Named,
    /// Every setting's key and value as it was read.
    pub values: Vec<(&'static str, serde_json::Value)>,
}

// === impl NodeSettings ===

impl TryFrom<&Effective> for NodeSettings {
    type Error = ConfigError;

    fn try_from(all: &Effective) -> Result<Self, ConfigError> {
        Self::build(all, None)
    }
}

impl NodeSettings {
    /// The settings with what only ztunnel's environment says.
    pub fn build(all: &Effective, drop_in: Option<DropIn>) -> Result<Self, ConfigError> {
        if drop_in.is_some() && all.value("node").is_none() {
            return Err(ZtunnelError::NoNode.into());
        }
        let named = Named::of(all, drop_in.is_none());
        let path = |key| all.read(key, |text| Ok(PathBuf::from(text)));
        let text = |key| all.read(key, |text| Ok(text.to_owned()));
        let duration = |key| all.read(key, value::duration);
        let yes = |key| all.read(key, value::bool);
        let address = |key| all.read(key, value::address);
        let some_path = |key| all.read(key, |text| Ok((!text.is_empty()).then(|| PathBuf::from(text))));
        let some_text = |key| all.read(key, |text| Ok((!text.is_empty()).then(|| text.to_owned())));
        let endpoint = |key| all.read(key, |text| (!text.is_empty()).then(|| value::endpoint(text)).transpose());
        let settings = Self {
            manifests: some_path("manifests")?,
            node: text("node")?,
            ca_dir: path("ca-dir")?,
            trust_domain: text("trust-domain")?,
            trust_domain_aliases: all.read("trust-domain-aliases", value::names)?,
            trust_bundles: all.read("trust-bundles", value::files)?,
            key_exchange: match text("key-exchange")?.as_str() {
                "post-quantum" => KeyExchange::PostQuantum,
                _ => KeyExchange::Any,
            },
            crl_file: Some(text("crl-file")?).filter(|path| !path.is_empty()).map(PathBuf::from),
            cluster: text("cluster")?,
            cluster_domain: text("cluster-domain")?,
            network: text("network")?,
            root_namespace: text("root-namespace")?,
            same_node_lane: yes("same-node-lane")?,
            reset_older_connections: yes("reset-older-connections")?,
            redirect_backend: match text("redirect-backend")?.as_str() {
                "nftables" => RedirectBackend::Nftables,
                "iptables" => RedirectBackend::Iptables,
                "agent" => RedirectBackend::Agent,
                _ => RedirectBackend::Auto,
            },
            cgroup_exemption: match text("cgroup-exemption")?.as_str() {
                "off" => CgroupExemption::Off,
                _ => CgroupExemption::Auto,
            },
            ipv6: match text("ipv6")?.as_str() {
                "true" => Ipv6::On,
                "false" => Ipv6::Off,
                _ => Ipv6::Auto,
            },
            dns_capture: yes("dns-capture")?,
            leaf_ttl: duration("leaf-ttl")?,
            drain_deadline: duration("drain-deadline")?,
            withdraw_deadline: duration("withdraw-deadline")?,
            verify_interval: duration("verify-interval")?,
            policy_wait: duration("policy-wait")?,
            connect_timeout: duration("connect-timeout")?,
            half_open_timeout: duration("half-open-timeout")?,
            window_budget: all.read("window-budget", value::bytes)?,
            pool_idle: duration("pool-idle")?,
            pool_streams: all.read("pool-streams", value::positive)?,
            max_connections_per_pod: all.read("max-connections-per-pod", value::positive)?,
            max_handshakes_per_pod: all.read("max-handshakes-per-pod", value::positive)?,
            metrics_series: all.read("metrics-series", value::count)?,
            flow_window: duration("flow-window")?,
            flow_limit: all.read("flow-limit", value::count)?,
            log_level: text("log-level")?,
            log_format: match text("log-format")?.as_str() {
                "json" => log::Format::Json,
                _ => log::Format::Text,
            },
            log_access: yes("log-access")?,
            admin_address: address("admin-address")?,
            metrics_address: address("metrics-address")?,
            ready_address: address("ready-address")?,
            data_threads: NonZeroUsize::new(all.read("data-threads", value::count)?),
            data_busy_poll: all.read("data-busy-poll", value::duration)?,
            xds_address: endpoint("xds-address")?,
            xds_roots: all.read("xds-roots", value::roots)?,
            xds_server_name: some_text("xds-server-name")?,
            xds_on_demand: yes("xds-on-demand")?,
            state_dir: some_path("state-dir")?,
            state_max_age: duration("state-max-age")?,
            ca_address: endpoint("ca-address")?,
            ca_roots: all.read("ca-roots", value::roots)?,
            ca_server_name: some_text("ca-server-name")?,
            token_file: some_path("token-file")?,
            zds_socket: some_path("zds-socket")?,
            takeover_socket: some_path("takeover-socket")?,
            local_xds: some_path("local-xds")?,
            drop_in,
            named,
            values: super::show::values(all),
        };
        settings.consistent()
    }
}

#[cfg(test)]
mod tests;

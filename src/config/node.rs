//! The settings of the node as typed values.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::drop_in::{DnsAddress, DropIn};
use super::raw::{ConfigError, Effective};
use super::value;
use super::value::{Endpoint, Roots};
use crate::hbone::settings::STREAM_WINDOW;
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
    /// Every setting's key and value as it was read.
    pub values: Vec<(&'static str, serde_json::Value)>,
}

/// The mark that the redirection's rules exempt, Istio's as well as ours.
const USUAL_MARK: u32 = 1337;

/// Beyond it a wake-up is no part worth saving.
const LONGEST_BUSY_POLL: Duration = Duration::from_millis(1);

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
            drop_in: drop_in.map(|drop_in| drop_in.outweighed(all)),
            values: super::show::values(all),
        };
        settings.consistent()
    }

    fn consistent(self) -> Result<Self, ConfigError> {
        let contradiction = |text: &str| Err(ConfigError::Contradiction(text.to_owned()));
        if self.window_budget < u64::from(STREAM_WINDOW) {
            return contradiction("window-budget must be at least 256KiB: the window of one stream");
        }
        if self.data_busy_poll > LONGEST_BUSY_POLL {
            return contradiction(
                "data-busy-poll must be at most 1ms: a thread that looks for longer keeps a processor from the pods",
            );
        }
        super::mesh::one_meaning(&self.trust_domain, &self.trust_domain_aliases, &self.trust_bundles)?;
        self.has_sources()?;
        let addresses = [self.admin_address, self.metrics_address, self.ready_address];
        for (place, address) in addresses.iter().enumerate() {
            if address.port() != 0 && addresses[..place].contains(address) {
                return contradiction("admin-address, metrics-address and ready-address must differ");
            }
        }
        Ok(self)
    }

    /// Mesh and pods come from somewhere, and nothing is said of what is not asked.
    fn has_sources(&self) -> Result<(), ConfigError> {
        let contradiction = |text: &str| Err(ConfigError::Contradiction(text.to_owned()));
        let inline = self.drop_in.as_ref().is_some_and(|drop_in| drop_in.local_mesh.is_some());
        let mesh = self.xds_address.is_some() || self.local_xds.is_some() || inline;
        if self.manifests.is_none() && !mesh && self.drop_in.is_some() {
            return contradiction("there is no mesh: set XDS_ADDRESS, LOCAL_XDS_PATH, LOCAL_XDS or CULVERT_MANIFESTS");
        }
        if self.manifests.is_none() && !(mesh && self.zds_socket.is_some()) {
            return Err(ConfigError::Missing { key: "manifests" });
        }
        if self.redirect_backend == RedirectBackend::Agent && self.zds_socket.is_none() {
            return contradiction(
                "redirect-backend agent needs zds-socket: without a node agent nobody lays the rules",
            );
        }
        let marked =
            self.drop_in.as_ref().is_some_and(|drop_in| drop_in.packet_mark.is_some_and(|mark| mark != USUAL_MARK));
        if marked && self.redirect_backend != RedirectBackend::Agent {
            return contradiction(
                "PACKET_MARK is 1337 in rules of ours: take it away, or leave redirect-backend to the agent",
            );
        }
        if self.redirect_backend != RedirectBackend::Agent
            && let Some(DnsAddress::At(address)) = self.drop_in.as_ref().map(|drop_in| drop_in.dns_address)
            && !DnsAddress::At(address).can_be_redirected_to()
        {
            return Err(ConfigError::Contradiction(format!(
                "DNS_PROXY_ADDR {address} is not on loopback, where rules of ours lead questions: write 127.0.0.1:{0}, or leave \
                 redirect-backend to the agent",
                address.port()
            )));
        }
        if self.xds_on_demand && self.xds_address.is_none() {
            return contradiction("xds-on-demand needs xds-address: there is nobody to ask");
        }
        if self.xds_server_name.is_some() && self.xds_address.is_none() {
            return contradiction("xds-server-name is of no use without xds-address");
        }
        if self.ca_server_name.is_some() && self.ca_address.is_none() {
            return contradiction("ca-server-name is of no use without ca-address");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

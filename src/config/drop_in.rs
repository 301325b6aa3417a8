//! What only ztunnel's environment says, beside the settings.

mod facts;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::raw::{Effective, Origin};
use super::secret::{Header, Secret};
use crate::hbone::settings::Sizes;
use crate::model::ports;

/// The node in ztunnel's place.
#[derive(Clone, Debug, Default)]
pub struct DropIn {
    /// The command's arguments after its name, for the dump.
    pub arguments: Vec<String>,
    /// This pod, as far as the environment says.
    pub own: OwnPod,
    /// Shown to control plane and CA instead of what `token_file` holds.
    pub token: Option<Secret>,
    pub xds_headers: Vec<Header>,
    pub ca_headers: Vec<Header>,
    /// What the control plane is told of this proxy, beside what it is told of every proxy.
    pub metadata: BTreeMap<String, Value>,
    /// `LOCAL_XDS`: the text that `local-xds` would name a file of.
    pub local_mesh: Option<String>,
    /// `ISTIO_META_DNS_PROXY_ADDR`: where, inside of each pod.
    pub dns_address: DnsAddress,
    /// SO_MARK of our sockets in pods, when it is not the usual one. Only with rules that another agent has laid.
    pub packet_mark: Option<u32>,
    /// Beside another proxy on the same pods, listen with SO_REUSEPORT once ready.
    pub port_reuse: bool,
    pub keepalive: Keepalive,
    /// `HTTP2_…`: what peers of tunnels are told.
    pub http2: Sizes,
    /// Lines of the access log are written only where the log's levels have `access` at `info`.
    pub access_log_by_level: bool,
    /// `ISTIO_META_ISTIO_VERSION`, for the dump.
    pub istio_version: Option<String>,
    /// What is set and does not apply, each with its reason.
    pub unused: Vec<Unused>,
}

/// Where a pod's name server listens, inside of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DnsAddress {
    /// On 127.0.0.1, and on ::1 where loopback has IPv6.
    Loopback(u16),
    /// There alone.
    At(SocketAddr),
}

/// The pod that this process runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPod {
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub service_account: Option<String>,
    /// The first is the one that the control plane knows it by.
    pub addresses: Vec<IpAddr>,
}

/// Probes of silent TCP connections, and when they are given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Without it no probe is sent.
    pub enabled: bool,
    /// Silence before the first probe.
    pub idle: Duration,
    pub interval: Duration,
    pub probes: u32,
    /// Unacknowledged data ends a connection after idle + probes × interval (TCP_USER_TIMEOUT).
    pub user_timeout: bool,
}

/// A variable that changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    pub variable: String,
    pub why: String,
}

/// Names of servers: the variable, its setting, and the setting without which it is of no use.
pub(super) const ALT_NAMES: [(&str, &str, &str); 2] =
    [("ALT_XDS_HOSTNAME", "xds-server-name", "xds-address"), ("ALT_CA_HOSTNAME", "ca-server-name", "ca-address")];

// === impl DropIn ===

impl DropIn {
    /// Without what a setting of ours outweighs: a text of the environment stands beside the setting that would name a
    /// file of it. What the settings leave without a use is named.
    pub(super) fn outweighed(self, all: &Effective) -> Self {
        let holds = |key, variable: &str| {
            all.value(key).is_some_and(|(_, origin)| *origin == Origin::Environment(variable.to_owned()))
        };
        let mut unused = self.unused;
        for (variable, key, address) in ALT_NAMES {
            if holds(key, variable) && all.value(address).is_some_and(|(text, _)| text.is_empty()) {
                let why = format!("{address} is empty: there is no server to know by it");
                unused.push(Unused { variable: variable.to_owned(), why });
            }
        }
        Self {
            unused,
            token: self.token.filter(|_| holds("token-file", "AUTH_TOKEN")),
            local_mesh: self.local_mesh.filter(|_| holds("local-xds", "LOCAL_XDS")),
            ..self
        }
    }

    /// One line for the start that names what is set and does not apply.
    pub fn unused_line(&self) -> Option<String> {
        let each = self.unused.iter().map(|Unused { variable, why }| format!("{variable} ({why})"));
        let all = each.collect::<Vec<_>>();
        (!all.is_empty()).then(|| format!("set for ztunnel and not applied here: {}", all.join("; ")))
    }
}

// === impl DnsAddress ===

impl DnsAddress {
    /// What [`Self::parse`] takes, for a message.
    pub const EXPECTED: &str = "an address with a port of its own: write 127.0.0.1:15053 or localhost:15053";

    /// `ADDRESS:PORT`, or `localhost:PORT` for both loopback addresses. Every address (`0.0.0.0`, `[::]`) is read as loopback: rules
    /// lead a pod's questions nowhere else, and nobody outside of the pod is answered. [`None`] for anything else, for port
    /// 0 and for a port that the mesh listens on in pods.
    pub fn parse(text: &str) -> Option<Self> {
        let told = match text.strip_prefix("localhost:") {
            Some(port) => Self::Loopback(port.parse().ok()?),
            None => match text.parse::<SocketAddr>().ok()? {
                every if every.ip().is_unspecified() => Self::Loopback(every.port()),
                one => Self::At(one),
            },
        };
        Some(told).filter(|told| told.port() != 0 && !ports::is_ours(told.port()))
    }

    pub const fn port(self) -> u16 {
        match self {
            Self::Loopback(port) => port,
            Self::At(address) => address.port(),
        }
    }

    /// Rules of a pod's own can lead there: REDIRECT of what a pod sends goes to loopback (nft(8), statement `redirect`).
    pub fn can_be_redirected_to(self) -> bool {
        match self {
            Self::Loopback(_) => true,
            Self::At(address) => address.ip() == Ipv4Addr::LOCALHOST || address.ip() == Ipv6Addr::LOCALHOST,
        }
    }

    /// Where to listen. Those of loopback are for the families that a pod has.
    pub fn addresses(self) -> Vec<SocketAddr> {
        match self {
            Self::Loopback(port) => vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()],
            Self::At(address) => vec![address],
        }
    }
}

impl Default for DnsAddress {
    fn default() -> Self {
        Self::Loopback(ports::DNS)
    }
}

// === impl Keepalive ===

impl Default for Keepalive {
    /// ztunnel's.
    fn default() -> Self {
        let period = Duration::from_secs(180);
        Self { enabled: true, idle: period, interval: period, probes: 9, user_timeout: false }
    }
}

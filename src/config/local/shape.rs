//! The file as it is written: camelCase keys, no key that is not known.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// Service port → port of the endpoint.
pub type Ports = BTreeMap<u16, u16>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Document {
    pub workloads: Vec<Workload>,
    pub policies: Vec<Policy>,
    pub services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    #[serde(default)]
    pub uid: String,
    pub workload_ips: Vec<IpAddr>,
    #[serde(default)]
    pub name: String,
    pub namespace: String,
    #[serde(default)]
    pub network: String,
    #[serde(default)]
    pub protocol: Protocol,
    pub trust_domain: Option<String>,
    pub service_account: Option<String>,
    pub waypoint: Option<Gateway>,
    pub network_gateway: Option<Gateway>,
    #[serde(default)]
    pub canonical_name: String,
    #[serde(default)]
    pub canonical_revision: String,
    #[serde(default)]
    pub workload_type: WorkloadType,
    #[serde(default)]
    pub workload_name: String,
    #[serde(default)]
    pub node: String,
    #[serde(default)]
    pub native_tunnel: bool,
    /// `namespace/name`.
    #[serde(default)]
    pub authorization_policies: Vec<String>,
    #[serde(default)]
    pub status: Status,
    pub cluster_id: Option<String>,
    #[serde(default)]
    pub hostname: String,
    #[serde(default)]
    pub network_mode: NetworkMode,
    pub application_tunnel: Option<ApplicationTunnel>,
    #[serde(default)]
    pub locality: Locality,
    pub capacity: Option<u32>,
    /// `namespace/hostname` → ports.
    #[serde(default)]
    pub services: BTreeMap<String, Ports>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub enum Protocol {
    #[serde(rename = "HBONE")]
    Hbone,
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub enum Status {
    #[default]
    Healthy,
    Unhealthy,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub enum NetworkMode {
    HostNetwork,
    #[default]
    Standard,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadType {
    #[serde(alias = "CronJob", alias = "CRONJOB")]
    CronJob,
    #[serde(alias = "Deployment", alias = "DEPLOYMENT")]
    Deployment,
    #[serde(alias = "Job", alias = "JOB")]
    Job,
    #[default]
    #[serde(alias = "Pod", alias = "POD")]
    Pod,
}

/// `destination` is `network/ip` or `namespace/hostname`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    pub destination: String,
    #[serde(default = "hbone")]
    pub hbone_mtls_port: u16,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WeightedGateway {
    pub destination: Gateway,
    pub weight: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationTunnel {
    pub protocol: TunnelProtocol,
    #[serde(default)]
    pub port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TunnelProtocol {
    None,
    Proxy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Locality {
    pub region: String,
    pub zone: String,
    pub subzone: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    pub name: String,
    pub namespace: String,
    pub scope: Scope,
    pub action: Action,
    /// Rules of clauses of matches.
    pub rules: Vec<Vec<Vec<Match>>>,
    #[serde(default)]
    pub dry_run: bool,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub enum Scope {
    Global,
    Namespace,
    WorkloadSelector,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub enum Action {
    Allow,
    Deny,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Match {
    pub namespaces: Vec<Text>,
    pub not_namespaces: Vec<Text>,
    pub principals: Vec<Text>,
    pub not_principals: Vec<Text>,
    pub service_accounts: Vec<ServiceAccount>,
    pub not_service_accounts: Vec<ServiceAccount>,
    pub source_ips: Vec<Net>,
    pub not_source_ips: Vec<Net>,
    pub destination_ips: Vec<Net>,
    pub not_destination_ips: Vec<Net>,
    pub destination_ports: Vec<u16>,
    pub not_destination_ports: Vec<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceAccount {
    pub namespace: String,
    pub service_account: String,
}

/// A network, or one address.
#[derive(Clone, Copy, Debug)]
pub struct Net(pub IpNet);

/// `Exact: x`, `Prefix: x`, `Suffix: x` or `Presence: []`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    Exact(String),
    Prefix(String),
    Presence,
    Suffix(String),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Service {
    pub name: String,
    pub namespace: String,
    pub hostname: String,
    /// `network/ip`.
    #[serde(default)]
    pub vips: Vec<String>,
    /// `network/cidr`.
    #[serde(default)]
    pub cidr_vips: Vec<String>,
    pub ports: Ports,
    /// Endpoints are the workloads that name the service; this is only what a dump has.
    #[serde(default)]
    pub endpoints: IgnoredAny,
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
    pub waypoint: Option<Gateway>,
    #[serde(default)]
    pub weighted_waypoints: Vec<WeightedGateway>,
    pub load_balancer: Option<LoadBalancer>,
    pub ip_families: Option<IpFamilies>,
    #[serde(default)]
    pub canonical: bool,
    #[serde(default)]
    pub visibility: Visibility,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LoadBalancer {
    #[serde(default)]
    pub routing_preferences: Vec<Locale>,
    #[serde(default)]
    pub mode: Mode,
    #[serde(default)]
    pub health_policy: HealthPolicy,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub enum Locale {
    Region,
    Zone,
    Subzone,
    Node,
    Cluster,
    Network,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub enum Mode {
    Failover,
    Passthrough,
    #[default]
    Standard,
    Strict,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub enum HealthPolicy {
    AllowAll,
    #[default]
    OnlyHealthy,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub enum IpFamilies {
    Dual,
    #[serde(alias = "IPv4Only")]
    IPv4,
    #[serde(alias = "IPv6Only")]
    IPv6,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub enum Visibility {
    Namespace,
    #[default]
    Public,
}

const fn hbone() -> u16 {
    crate::model::ports::HBONE
}

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(Self).map_err(|_| D::Error::custom(format!("{text:?} is not an address or a CIDR block")))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Kinds;
        const NAMES: &[&str] = &["Exact", "Prefix", "Suffix", "Presence"];
        impl<'de> Visitor<'de> for Kinds {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one of Exact, Prefix, Suffix with a text, or Presence")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
                (text == "Presence").then_some(Text::Presence).ok_or_else(|| E::unknown_variant(text, NAMES))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                let Some(kind) = map.next_key::<String>()? else {
                    return Err(A::Error::custom("a match of a text is empty"));
                };
                let found = match kind.as_str() {
                    "Exact" => Text::Exact(map.next_value()?),
                    "Prefix" => Text::Prefix(map.next_value()?),
                    "Suffix" => Text::Suffix(map.next_value()?),
                    "Presence" => {
                        map.next_value::<IgnoredAny>()?;
                        Text::Presence
                    }
                    other => return Err(A::Error::unknown_variant(other, NAMES)),
                };
                match map.next_key::<String>()? {
                    None => Ok(found),
                    Some(_) => Err(A::Error::custom("a match of a text is one of Exact, Prefix, Suffix, Presence")),
                }
            }
        }
        from.deserialize_any(Kinds)
    }
}

//! The environment as settings.

mod sockets;
mod who;

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::error::{bad, origin};
use super::proxy_config::{ProxyConfig, Told};
use super::quantity::{processors, threads, workers};
use super::variables::{ALL, Fate};
use super::{MODE, ZtunnelError, duration::duration, levels};
use crate::config::drop_in::{DnsAddress, DropIn, Unused};
use crate::config::env::Environment;
use crate::config::raw::{Origin, Underlay};
use crate::config::table::{NODE, find};
use crate::config::value::{self, Kind};
use crate::model::ports;

/// What is asked of the host.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// Processors that the process may use.
    pub processors: usize,
    /// The text of the mesh configuration's file, when it is there.
    pub mesh_config: Option<&'a str>,
    /// Whether a file is there.
    pub exists: &'a dyn Fn(&Path) -> bool,
}

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Found {
    /// For [`Effective::resolve_over`](crate::config::raw::Effective::resolve_over).
    pub underlay: Underlay,
    pub drop_in: DropIn,
}

/// Reads ztunnel's variables. `arguments` are the command's, for the dump.
pub fn read(all: &Environment, host: Host<'_>, arguments: Vec<String>) -> Result<Found, ZtunnelError> {
    let proxy_config = ProxyConfig::read(host.mesh_config, all.value("PROXY_CONFIG"))?;
    let mut reading = Reading { all, underlay: Underlay::new(), unused: Vec::new() };
    let metadata = reading.metadata(&proxy_config);
    reading.modes()?;
    reading.plain()?;
    reading.addresses(&proxy_config)?;
    reading.pages(&proxy_config)?;
    reading.threads(&proxy_config, host.processors)?;
    reading.log()?;
    reading.identity(&metadata)?;
    let token = reading.token(host.exists)?;
    reading.dns_capture(&metadata);
    let local_mesh = all.value("LOCAL_XDS").filter(|text| !text.trim().is_empty()).map(str::to_owned);
    if local_mesh.is_some() {
        if reading.underlay.contains_key("local-xds") {
            return Err(ZtunnelError::Both { one: "LOCAL_XDS", other: "LOCAL_XDS_PATH" });
        }
        reading.from("local-xds", "", "LOCAL_XDS");
    }
    let meta = |name: &str| metadata.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let dns_address = meta("DNS_PROXY_ADDR").map(|text| {
        let is_variable = all.value("ISTIO_META_DNS_PROXY_ADDR").is_some();
        let place = if is_variable { "ISTIO_META_DNS_PROXY_ADDR" } else { "proxyMetadata: DNS_PROXY_ADDR" };
        DnsAddress::parse(text).ok_or_else(|| bad(place, text, DnsAddress::EXPECTED))
    });
    let drop_in = DropIn {
        arguments,
        own: reading.own()?,
        token,
        xds_headers: reading.headers("XDS_HEADER_")?,
        ca_headers: reading.headers("CA_HEADER_")?,
        local_mesh,
        dns_address: dns_address.transpose()?.unwrap_or_default(),
        packet_mark: reading
            .parsed("PACKET_MARK", "a packet mark: write 1337", |text| text.parse().ok().filter(|mark| *mark != 0))?,
        port_reuse: reading.bool("INPOD_PORT_REUSE", true)?,
        keepalive: reading.keepalive()?,
        http2: reading.http2()?,
        access_log_by_level: true,
        istio_version: meta("ISTIO_VERSION").map(str::to_owned),
        unused: reading.unused,
        metadata,
    };
    Ok(Found { underlay: reading.underlay, drop_in })
}

struct Reading<'a> {
    all: &'a Environment,
    underlay: Underlay,
    unused: Vec<Unused>,
}

// === impl Reading ===

impl Reading<'_> {
    fn put(&mut self, key: &'static str, text: impl Display, origin: Origin) {
        self.underlay.insert(key, (text.to_string(), origin));
    }

    fn from(&mut self, key: &'static str, text: impl Display, variable: &str) {
        self.put(key, text, Origin::Environment(variable.to_owned()));
    }

    /// In the line of what is set and does not apply.
    fn name(&mut self, variable: &str, why: &str) {
        self.unused.push(Unused { variable: variable.to_owned(), why: why.to_owned() });
    }

    fn bool(&self, variable: &'static str, default: bool) -> Result<bool, ZtunnelError> {
        self.parsed(variable, "true or false", |text| text.parse().ok()).map(|value| value.unwrap_or(default))
    }

    fn duration(&self, variable: &'static str) -> Result<Option<Duration>, ZtunnelError> {
        let read = |text| duration(text).map_err(|source| ZtunnelError::BadValue { origin: origin(variable), source });
        self.all.value(variable).map(read).transpose()
    }

    fn parsed<T>(
        &self,
        variable: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ZtunnelError> {
        let read = |text: &str| parse(text).ok_or_else(|| bad(variable, text, expected));
        self.all.value(variable).map(read).transpose()
    }

    /// The modes that there are not, and what is named.
    fn modes(&mut self) -> Result<(), ZtunnelError> {
        let unable = |variable, value: &str, why| Err(ZtunnelError::Unable { variable, value: value.to_owned(), why });
        if !self.bool("ENABLE_PROXY", true)? {
            return unable("ENABLE_PROXY", "false", "names are answered beside the proxy and not without it");
        }
        match self.all.value("PROXY_MODE") {
            None | Some("" | "shared") => {}
            Some("dedicated") => {
                return unable("PROXY_MODE", "dedicated", "one process serves all pods of its node; write shared");
            }
            Some(other) => return Err(bad("PROXY_MODE", other, "shared or dedicated")),
        }
        for variable in ALL {
            let Some(text) = self.all.value(variable.name) else { continue };
            let (usual, why) = match variable.fate {
                Fate::Always { value, why } => (value, why),
                Fate::Unused(why) => (variable.default, why),
                Fate::Setting(_) | Fate::Heard(_) => continue,
            };
            if usual.parse::<bool>().is_ok() {
                self.bool(variable.name, false)?;
            }
            if text != usual && !(text.is_empty() && variable.default.is_empty()) {
                self.name(variable.name, why);
            }
        }
        Ok(())
    }

    /// Variables that are a setting's, each read by its own grammar.
    fn plain(&mut self) -> Result<(), ZtunnelError> {
        for variable in ALL {
            let (Fate::Setting(key), Some(text)) = (variable.fate, self.all.value(variable.name)) else { continue };
            let Some(setting) = find(NODE, key) else { continue };
            let text = match setting.kind {
                Kind::Duration | Kind::Period => {
                    let read = duration(text);
                    let read =
                        read.map_err(|source| ZtunnelError::BadValue { origin: origin(variable.name), source })?;
                    let ours = humantime::format_duration(read).to_string();
                    as_written(setting.kind, &ours, text, variable.name)?;
                    ours
                }
                // As with ztunnel, a variable that is set to nothing is as one that is not set.
                Kind::Name | Kind::Roots if text.is_empty() => continue,
                _ => text.to_owned(),
            };
            if text.is_empty() && key != "network" && key != "zds-socket" {
                continue;
            }
            self.from(setting.key, text, variable.name);
        }
        if self.all.value("CONNECTION_TERMINATION_DEADLINE").is_none() {
            let whole = |text: &str| text.parse::<u64>().ok();
            let grace = self.parsed("TERMINATION_GRACE_PERIOD_SECONDS", "a number of seconds", whole)?;
            if let Some(grace) = grace {
                let deadline = if grace > 10 { grace - 5 } else { grace.saturating_sub(1).max(1) };
                self.from("drain-deadline", format!("{deadline}s"), "TERMINATION_GRACE_PERIOD_SECONDS");
            }
        }
        let mode = |text: &str| (text.to_owned(), Origin::Mode(MODE));
        for (key, text) in [
            ("zds-socket", "/var/run/ztunnel/ztunnel.sock"),
            ("redirect-backend", "agent"),
            ("same-node-lane", "false"),
            ("xds-roots", "./var/run/secrets/istio/root-cert.pem"),
            ("ca-roots", "./var/run/secrets/istio/root-cert.pem"),
        ] {
            self.underlay.entry(key).or_insert_with(|| mode(text));
        }
        let node = self.all.value("CULVERT_NODE").is_some() || self.underlay.contains_key("node");
        // A file of settings may name it too.
        if !node && self.all.value("CULVERT_CONFIG").is_none_or(str::is_empty) {
            Err(ZtunnelError::NoNode)
        } else {
            Ok(())
        }
    }

    fn addresses(&mut self, proxy_config: &ProxyConfig) -> Result<(), ZtunnelError> {
        let kubernetes = self.all.value("KUBERNETES_SERVICE_HOST").is_some();
        let usual = if kubernetes { "https://istiod.istio-system.svc:15012" } else { "https://localhost:15012" };
        let discovery = proxy_config.discovery_address.clone();
        for (variable, key, told) in [("XDS_ADDRESS", "xds-address", discovery), ("CA_ADDRESS", "ca-address", None)] {
            let (text, origin) = match (self.all.value(variable), told) {
                (Some(text), _) => (text.to_owned(), origin(variable)),
                (None, Some((text, origin))) => (text, origin),
                (None, None) => (usual.to_owned(), Origin::Mode(MODE)),
            };
            if !text.is_empty() {
                value::endpoint(&text).map_err(|source| ZtunnelError::BadValue { origin: origin.clone(), source })?;
            }
            self.put(key, text, origin);
        }
        for (variable, key) in [("ALT_XDS_HOSTNAME", "xds-server-name"), ("ALT_CA_HOSTNAME", "ca-server-name")] {
            if let Some(name) = self.all.value(variable) {
                self.from(key, name.to_owned(), variable);
            }
        }
        Ok(())
    }

    fn pages(&mut self, proxy_config: &ProxyConfig) -> Result<(), ZtunnelError> {
        let ipv6 = self.bool("IPV6_ENABLED", true)?;
        let every = if ipv6 { "[::]" } else { "0.0.0.0" };
        let said = self.all.value("IPV6_ENABLED").map_or(Origin::Mode(MODE), |_| origin("IPV6_ENABLED"));
        self.put("ipv6", if ipv6 { "auto" } else { "false" }, said);
        let at = |told: &Told<u16>, port| told.clone().unwrap_or((port, Origin::Mode(MODE)));
        let (port, origin) = at(&proxy_config.admin_port, ports::ADMIN);
        self.put("admin-address", format!("127.0.0.1:{port}"), origin);
        let (port, origin) = at(&proxy_config.stats_port, ports::METRICS);
        self.put("metrics-address", format!("{every}:{port}"), origin);
        self.put("ready-address", format!("{every}:{}", ports::READY), Origin::Mode(MODE));
        Ok(())
    }

    fn threads(&mut self, proxy_config: &ProxyConfig, count: usize) -> Result<(), ZtunnelError> {
        let variable = "ZTUNNEL_CPU_LIMIT";
        let read =
            |text| processors(text).map_err(|source| ZtunnelError::BadValue { origin: origin(variable), source });
        let told = self.all.value(variable).filter(|text| !text.is_empty()).map(read).transpose()?;
        let count = told.filter(|count| *count > 0).unwrap_or(count);
        let variable = "ZTUNNEL_WORKER_THREADS";
        let read = |text| threads(text).map_err(|source| ZtunnelError::BadValue { origin: origin(variable), source });
        let asked = self.all.value(variable).filter(|text| !text.is_empty()).map(read).transpose()?;
        let concurrency = proxy_config.concurrency.as_ref();
        let from = match (asked, concurrency) {
            (Some(_), _) => origin(variable),
            (None, Some((_, origin))) => origin.clone(),
            (None, None) => Origin::Mode(MODE),
        };
        self.put("data-threads", workers(asked, concurrency.map(|(threads, _)| *threads), count), from);
        Ok(())
    }

    fn log(&mut self) -> Result<(), ZtunnelError> {
        if let Some(text) = self.all.value("RUST_LOG").filter(|text| !text.is_empty()) {
            let ours = levels::levels(text);
            as_written(Kind::Levels, &ours, text, "RUST_LOG")?;
            self.from("log-level", ours, "RUST_LOG");
        }
        match self.all.value("COMPLIANCE_POLICY") {
            None | Some("") => {}
            Some("pqc") => self.from("key-exchange", "post-quantum", "COMPLIANCE_POLICY"),
            Some(_) => self.name("COMPLIANCE_POLICY", "pqc is the one policy that there is; nothing is restricted"),
        }
        if let Some(format) = self.all.value("LOG_FORMAT") {
            self.from("log-format", if format == "json" { "json" } else { "text" }, "LOG_FORMAT");
            if !["", "json", "plain"].contains(&format) {
                self.name("LOG_FORMAT", "the formats are json and plain; lines are plain");
            }
        }
        Ok(())
    }
}

/// Refuses `ours`, and shows the text that it was made of: nobody wrote ours.
fn as_written(kind: Kind, ours: &str, text: &str, variable: &str) -> Result<(), ZtunnelError> {
    kind.check(ours).map_err(|source| bad(variable, text, &source.expected))
}

#[cfg(test)]
mod tests;

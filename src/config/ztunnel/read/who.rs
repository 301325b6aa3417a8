//! Who this process is to a control plane: its pod, token, headers and metadata.

use std::collections::BTreeMap;
use std::path::Path;

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::Reading;
use crate::config::drop_in::OwnPod;
use crate::config::raw::Origin;
use crate::config::secret::{Header, Secret};
use crate::config::value::Kind;
use crate::config::ztunnel::error::{bad, origin};
use crate::config::ztunnel::proxy_config::ProxyConfig;
use crate::config::ztunnel::{MODE, ZtunnelError};

const META: &str = "ISTIO_META_";
/// Over those of [`META`].
const JSON: &str = "ISTIO_METAJSON_";
const DEFAULT_TOKEN: &str = "./var/run/secrets/tokens/istio-token";

// === impl Reading ===

impl Reading<'_> {
    pub(super) fn identity(&mut self, metadata: &BTreeMap<String, Value>) -> Result<(), ZtunnelError> {
        let meta = metadata.get("CLUSTER_ID").and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(text) = meta {
            let origin = self.of_metadata("CLUSTER_ID");
            self.put("cluster", text, origin);
        } else if let Some(text) = self.all.value("CLUSTER_ID").filter(|text| !text.is_empty()) {
            self.from("cluster", text, "CLUSTER_ID");
        }
        Ok(())
    }

    /// In what the control plane is told stands what was said; here it is a setting as any other.
    pub(super) fn dns_capture(&mut self, metadata: &BTreeMap<String, Value>) {
        let Some(text) = metadata.get("DNS_CAPTURE").and_then(Value::as_str).filter(|text| !text.is_empty()) else {
            return;
        };
        let origin = self.of_metadata("DNS_CAPTURE");
        let captures = text.eq_ignore_ascii_case("true");
        if !captures && !text.eq_ignore_ascii_case("false") {
            self.name(&origin.to_string(), "it is neither true nor false, which is false");
        }
        self.put("dns-capture", captures, origin);
    }

    /// Where a name of the metadata was said.
    fn of_metadata(&self, name: &str) -> Origin {
        let variables = [JSON, META].map(|begin| format!("{begin}{name}"));
        let variable = variables.into_iter().find(|variable| self.all.value(variable).is_some());
        variable.map_or_else(|| Origin::Foreign(format!("proxyMetadata: {name}")), Origin::Environment)
    }

    pub(super) fn own(&self) -> Result<OwnPod, ZtunnelError> {
        let text = |variable| self.all.value(variable).filter(|text| !text.is_empty()).map(str::to_owned);
        // Names of Kubernetes; they become an identity and the node's id.
        let name = |variable| {
            let told = text(variable);
            told.as_deref()
                .map_or(Ok(()), |text| Kind::Name.check(text))
                .map_err(|source| ZtunnelError::BadValue { origin: origin(variable), source })?;
            Ok::<_, ZtunnelError>(told)
        };
        // Of a pod of two families the downward API joins both by a comma (`status.podIPs`).
        let told = text("INSTANCE_IP").unwrap_or_default();
        let each = told.split(',').map(str::trim).filter(|part| !part.is_empty());
        let addresses = each.map(str::parse).collect::<Result<_, _>>();
        let addresses =
            addresses.map_err(|_| bad("INSTANCE_IP", &told, "an IP address, or several joined by commas"))?;
        Ok(OwnPod {
            name: name("POD_NAME")?,
            namespace: name("POD_NAMESPACE")?,
            service_account: name("SERVICE_ACCOUNT")?,
            addresses,
        })
    }

    /// Answers a token that is no file; else sets where the file is. No token begins as a path does: one that is not
    /// there would be sent as the token, and be refused for ever.
    pub(super) fn token(&mut self, exists: &dyn Fn(&Path) -> bool) -> Result<Option<Secret>, ZtunnelError> {
        let told = self.all.value("AUTH_TOKEN").filter(|text| !text.is_empty());
        match told {
            Some(path) if exists(Path::new(path)) => self.from("token-file", path, "AUTH_TOKEN"),
            None if exists(Path::new(DEFAULT_TOKEN)) => self.put("token-file", DEFAULT_TOKEN, Origin::Mode(MODE)),
            None => self.put("token-file", "", Origin::Mode(MODE)),
            Some(path) if ["/", "./", "../"].iter().any(|begin| path.starts_with(begin)) => {
                return Err(ZtunnelError::TokenFile { path: path.into() });
            }
            Some(token) => {
                self.from("token-file", "", "AUTH_TOKEN");
                return Ok(Some(Secret::new(token)));
            }
        }
        Ok(None)
    }

    pub(super) fn headers(&self, prefix: &'static str) -> Result<Vec<Header>, ZtunnelError> {
        let header = |(rest, value): (&str, &str)| {
            let name: HeaderName = rest.to_ascii_lowercase().parse().ok()?;
            let printable =
                value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && HeaderValue::from_str(value).is_ok();
            printable.then(|| Header { name, value: Secret::new(value) })
        };
        let all = self.all.prefixed(prefix).map(|(rest, value)| {
            header((rest, value)).ok_or_else(|| ZtunnelError::Header { variable: format!("{prefix}{rest}") })
        });
        all.collect()
    }

    /// Metadata for the control plane: the mesh configuration's, and the variables over it.
    pub(super) fn metadata(&mut self, proxy_config: &ProxyConfig) -> BTreeMap<String, Value> {
        let own = |name: &String| name.strip_prefix(META).unwrap_or(name).to_owned();
        let told = proxy_config.metadata.iter().map(|(name, value)| (own(name), value.clone().into()));
        let mut all: BTreeMap<String, Value> = told.collect();
        all.extend(self.all.prefixed(META).map(|(name, value)| (name.to_owned(), value.into())));
        for (name, text) in self.all.prefixed(JSON) {
            match serde_json::from_str(text) {
                Ok(value) => drop(all.insert(name.to_owned(), value)),
                Err(_) => {
                    self.name(&format!("{JSON}{name}"), "it is not JSON and the control plane is not told of it");
                }
            }
        }
        all
    }
}

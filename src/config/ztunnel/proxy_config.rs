//! The mesh configuration's part for proxies: a file that Istio may mount, and the variable `PROXY_CONFIG` over it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ZtunnelError;
use crate::config::raw::Origin;
use crate::config::yaml;

/// Where the file is, from the directory that the process starts in.
pub const PATH: &str = "./etc/istio/config/mesh";
/// The largest document. A ConfigMap has at most 1 MiB.
pub const MAX: u64 = 1 << 20;

/// What a proxy is told there. Keys for proxies of other kinds are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    concurrency: Option<u16>,
    discovery_address: Option<String>,
    proxy_admin_port: Option<u16>,
    proxy_metadata: Option<BTreeMap<String, String>>,
    stats_port: Option<u16>,
}

/// The file's form around it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Mesh {
    default_config: Option<Document>,
}

/// A value and where it stands.
pub type Told<T> = Option<(T, Origin)>;

/// Both documents as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    pub concurrency: Told<u16>,
    pub discovery_address: Told<String>,
    pub admin_port: Told<u16>,
    pub stats_port: Told<u16>,
    /// As written: a name may still begin with `ISTIO_META_`.
    pub metadata: BTreeMap<String, String>,
}

// === impl ProxyConfig ===

impl ProxyConfig {
    /// Reads the file's text and the variable's. A value of the variable outweighs the file's, metadata name by name. A
    /// block without `proxyMetadata` has none.
    pub fn read(file: Option<&str>, variable: Option<&str>) -> Result<Self, ZtunnelError> {
        let mut all = Self::default();
        if let Some(text) = file {
            let mesh: Option<Mesh> = parse(PATH, text)?;
            all.overlay(PATH, mesh.unwrap_or_default().default_config.unwrap_or_default());
        }
        if let Some(text) = variable {
            let document: Option<Document> = parse("PROXY_CONFIG", text)?;
            all.overlay("PROXY_CONFIG", document.unwrap_or_default());
        }
        Ok(all)
    }

    fn overlay(&mut self, place: &str, over: Document) {
        fn put<T>(to: &mut Told<T>, value: Option<T>, place: &str, key: &str) {
            if let Some(value) = value {
                *to = Some((value, Origin::Foreign(format!("{place}: {key}"))));
            }
        }
        put(&mut self.concurrency, over.concurrency, place, "concurrency");
        put(&mut self.discovery_address, over.discovery_address, place, "discoveryAddress");
        put(&mut self.admin_port, over.proxy_admin_port, place, "proxyAdminPort");
        put(&mut self.stats_port, over.stats_port, place, "statsPort");
        let metadata = over.proxy_metadata.unwrap_or_default();
        self.metadata.extend(metadata);
    }
}

/// The text of the file at [`PATH`], when it is there.
pub fn file() -> Result<Option<String>, ZtunnelError> {
    let failed = |source| ZtunnelError::Read { path: PATH.into(), source };
    match std::fs::metadata(PATH) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(file) if file.len() > MAX => return Err(failed(std::io::Error::other("it is larger than 1 MiB"))),
        Ok(_) => {}
    }
    std::fs::read_to_string(PATH).map(Some).map_err(failed)
}

fn parse<T: serde::de::DeserializeOwned + Default>(place: &str, text: &str) -> Result<Option<T>, ZtunnelError> {
    if yaml::is_blank(text) {
        return Ok(None);
    }
    yaml::read(text).map_err(|source| ZtunnelError::MeshConfig { place: place.to_owned(), source: source.into() })
}

#[cfg(test)]
mod tests;

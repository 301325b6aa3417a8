//! PeerAuthentication of `security.istio.io`, v1 and v1beta1 (the same fields).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::authorization::Selector;
use super::meta::ObjectMeta;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PeerAuthentication {
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: PeerSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerSpec {
    pub selector: Option<Selector>,
    pub mtls: Option<Mtls>,
    /// Keys are port numbers, which JSON writes as text.
    #[serde(default)]
    pub port_level_mtls: BTreeMap<String, Mtls>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mtls {
    #[serde(default)]
    pub mode: Mode,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Mode {
    Disable,
    Permissive,
    Strict,
    /// Take the mode of the next wider level.
    #[default]
    Unset,
}

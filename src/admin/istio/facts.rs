//! What the dump is made of, beside the mesh: plain values with the dump's own names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Serialize, Serializer};
use serde_json::Value;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::telemetry::build_info;
use crate::tls::{Described, base64};

/// One identity's certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The SPIFFE URI.
    pub identity: String,
    pub state: CertificateState,
    /// The leaf first.
    pub chain: Vec<Described>,
    pub roots: Vec<Described>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateState {
    Available,
    /// The first attempt has not ended.
    Initializing,
    /// With the newest error.
    Unavailable(String),
}

/// A pod of this node, under its UID.
#[derive(Clone, Debug, Serialize)]
pub struct PodEntry {
    pub state: PodState,
    pub connections: Connections,
    pub info: Info,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PodState {
    Pending,
    Up,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    pub trust_domain: Arc<str>,
    pub service_account: Arc<str>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Connections {
    pub inbound: Vec<Connection>,
    pub outbound: Vec<Connection>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    pub src: String,
    /// Outbound an address; inbound the service's host name, if it is known.
    pub original_dst: Option<String>,
    pub actual_dst: String,
    pub protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    DoubleHbone,
    Hbone,
    Tcp,
}

/// Which build answers.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    pub version: String,
    pub git_revision: String,
    pub rust_version: String,
    pub build_profile: String,
    pub build_status: String,
    pub istio_version: String,
    pub crypto_provider: String,
}

/// The pods by UID.
pub(super) type Pods = BTreeMap<String, PodEntry>;
/// Further keys of the dump, which are ours.
pub(super) type More = BTreeMap<String, Value>;

// === impl Version ===

impl Version {
    /// This build. `istio_version` is what the environment says; ours is said otherwise.
    pub fn of_this_build(istio_version: Option<&str>) -> Self {
        let text = |text: &str| text.to_owned();
        Self {
            version: text(build_info::VERSION),
            git_revision: text(build_info::REVISION),
            rust_version: text(build_info::RUST),
            build_profile: text(build_info::PROFILE),
            build_status: text(build_info::STATUS),
            istio_version: text(istio_version.unwrap_or(build_info::VERSION)),
            crypto_provider: text("aws-lc"),
        }
    }
}

// === impl Certificate ===

impl Serialize for Certificate {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct One<'a> {
            identity: &'a str,
            state: String,
            cert_chain: Vec<Entry>,
            root_certs: Vec<Entry>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry {
            pem: String,
            serial_number: String,
            valid_from: String,
            expiration_time: String,
        }
        let entry = |of: &Described| Entry {
            pem: base64(of.pem.as_bytes()),
            serial_number: of.serial.clone(),
            valid_from: stamp(of.not_before),
            expiration_time: stamp(of.not_after),
        };
        let Self { identity, state, chain, roots } = self;
        let state = match state {
            CertificateState::Available => "Available".to_owned(),
            CertificateState::Initializing => "Initializing".to_owned(),
            CertificateState::Unavailable(error) => format!("Unavailable: {error}"),
        };
        let cert_chain = chain.iter().map(entry).collect();
        One { identity, state, cert_chain, root_certs: roots.iter().map(entry).collect() }.serialize(to)
    }
}

/// RFC 3339 in UTC, whole seconds.
fn stamp(at: SystemTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    // The format has only parts that every date has; a certificate's dates are before the year 10000.
    OffsetDateTime::from(at).format(format).unwrap_or_default()
}

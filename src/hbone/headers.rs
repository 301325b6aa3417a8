//! The headers of a CONNECT and of its answer: `baggage`, `forwarded`, `traceparent`.
//!
//! All of it is what a peer says about itself: good for labels and logs, never for a decision. Parsers take any bytes
//! and never fail: what cannot be read is as if it were not there.

use std::net::SocketAddr;
use std::sync::Arc;

use super::authority::Authority;

/// Longest value of one baggage entry that is kept, 253 bytes: a DNS name, the longest thing Kubernetes calls a name.
pub const MAX_VALUE: usize = 253;
/// Longest header value that is looked at, 8 KiB. Ours are below 2.
pub const MAX_HEADER: usize = 8 << 10;

/// Which field of baggage names the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    CronJob,
    Deployment,
    Job,
    Pod,
}

/// What one end says of its workload. Empty means not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baggage {
    pub cluster: Arc<str>,
    pub namespace: Arc<str>,
    pub workload: Option<(WorkloadKind, Arc<str>)>,
    /// Canonical name.
    pub service: Arc<str>,
    /// Canonical revision.
    pub revision: Arc<str>,
    pub region: Arc<str>,
    pub zone: Arc<str>,
}

/// RFC 7239 `for` and `host`, as HBONE uses them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// The client's address and port, as its own node saw them.
    pub client: Option<SocketAddr>,
    /// The service that the client asked for.
    pub host: Option<Arc<str>>,
}

/// W3C trace context, version 00.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace: [u8; 16],
    pub parent: [u8; 8],
    pub flags: u8,
}

// === impl WorkloadKind ===

impl WorkloadKind {
    const ALL: [Self; 4] = [Self::CronJob, Self::Deployment, Self::Job, Self::Pod];

    const fn key(self) -> &'static str {
        match self {
            Self::CronJob => "k8s.cronjob.name",
            Self::Deployment => "k8s.deployment.name",
            Self::Job => "k8s.job.name",
            Self::Pod => "k8s.pod.name",
        }
    }
}

// === impl Baggage ===

impl Baggage {
    /// The header's value: `key=value` joined by commas in Istio's fixed order, absent ones left out. Bytes of a name
    /// that would end its entry, or that a header may not hold, become `_`: a name never adds an entry of its own.
    pub fn format(&self) -> String {
        let (workload_key, workload) =
            self.workload.as_ref().map_or(("", ""), |(kind, name)| (kind.key(), name.as_ref()));
        let mut text = String::new();
        for (key, value) in [
            ("k8s.cluster.name", self.cluster.as_ref()),
            ("k8s.namespace.name", &self.namespace),
            (workload_key, workload),
            ("service.name", &self.service),
            ("service.version", &self.revision),
            ("cloud.region", &self.region),
            ("cloud.availability_zone", &self.zone),
        ] {
            if !value.is_empty() {
                let comma = if text.is_empty() { "" } else { "," };
                text.extend([comma, key, "="]);
                text.extend(value.bytes().take(MAX_VALUE).map(safe));
            }
        }
        text
    }

    /// Reads every instance of the header. Unknown keys, entries without a value, values that are too long and
    /// headers with bytes outside visible ASCII are left out; of a repeated key the first counts.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut baggage = Self::default();
        for entry in headers.into_iter().filter_map(visible).flat_map(|text| text.split(',')) {
            // Properties after `;` are W3C's; Istio writes none.
            let entry = entry.split_once(';').map_or(entry, |(entry, _)| entry);
            let Some((key, value)) = entry.split_once('=') else { continue };
            let (key, value) = (key.trim(), value.trim());
            if value.is_empty() || value.len() > MAX_VALUE {
                continue;
            }
            let field = match key {
                "cloud.availability_zone" => &mut baggage.zone,
                "cloud.region" => &mut baggage.region,
                "k8s.cluster.name" => &mut baggage.cluster,
                "k8s.namespace.name" => &mut baggage.namespace,
                "service.name" => &mut baggage.service,
                "service.version" => &mut baggage.revision,
                other => {
                    let kind = WorkloadKind::ALL.into_iter().find(|kind| kind.key() == other);
                    if let (Some(kind), None) = (kind, &baggage.workload) {
                        baggage.workload = Some((kind, value.into()));
                    }
                    continue;
                }
            };
            if field.is_empty() {
                *field = value.into();
            }
        }
        baggage
    }
}

/// A byte of a name that may stand in a baggage value, `_` for another.
fn safe(byte: u8) -> char {
    if byte.is_ascii_graphic() && !b",;=\"\\".contains(&byte) { byte as char } else { '_' }
}

/// The text of a header value of visible ASCII and spaces.
fn visible(value: &[u8]) -> Option<&str> {
    let fits = value.len() <= MAX_HEADER && value.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    if fits { std::str::from_utf8(value).ok() } else { None }
}

// === impl Forwarded ===

impl Forwarded {
    /// The header's value: `for="ip:port"` and, when known, `;host=name`. [`None`] when there is nothing to say.
    pub fn format(&self) -> Option<String> {
        let client = self.client.map(|client| format!("for=\"{client}\""));
        let host = self.host.as_ref().filter(|host| !host.is_empty() && host.len() <= MAX_VALUE);
        let host = host.map(|host| format!("host={}", host.bytes().map(safe).collect::<String>()));
        match (client, host) {
            (Some(client), Some(host)) => Some(format!("{client};{host}")),
            (client, host) => client.or(host),
        }
    }

    /// Reads the first element; an address or host that does not parse is left out.
    pub fn parse(value: &[u8]) -> Self {
        let mut forwarded = Self::default();
        let Some(text) = visible(value) else { return forwarded };
        let element = text.split(',').next().unwrap_or_default();
        for pair in element.split(';') {
            let Some((key, value)) = pair.split_once('=') else { continue };
            let value = value.trim();
            let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
            match key.trim().to_ascii_lowercase().as_str() {
                "for" if forwarded.client.is_none() => {
                    if let Ok(Authority::Address(client)) = value.parse() {
                        forwarded.client = Some(client);
                    }
                }
                "host"
                    if forwarded.host.is_none()
                        && (1..=MAX_VALUE).contains(&value.len())
                        && value.bytes().all(|b| safe(b) == b as char) =>
                {
                    forwarded.host = Some(value.into());
                }
                _ => {}
            }
        }
        forwarded
    }
}

// === impl TraceParent ===

impl TraceParent {
    /// A new trace from random bytes.
    pub const fn new(trace: [u8; 16], parent: [u8; 8]) -> Self {
        Self { trace, parent, flags: 0 }
    }

    pub fn format(&self) -> String {
        let mut text = String::with_capacity(55);
        text.push_str("00-");
        hex(&mut text, &self.trace);
        text.push('-');
        hex(&mut text, &self.parent);
        text.push('-');
        hex(&mut text, &[self.flags]);
        text
    }

    /// Reads version 00: `00-<32 hex>-<16 hex>-<2 hex>` in lower case, ids not all zero (W3C Trace Context 3.2.2).
    pub fn parse(value: &[u8]) -> Option<Self> {
        if value.len() != 55 || !value.starts_with(b"00-") || value[35] != b'-' || value[52] != b'-' {
            return None;
        }
        let trace: [u8; 16] = unhex(&value[3..35])?;
        let parent: [u8; 8] = unhex(&value[36..52])?;
        let [flags] = unhex(&value[53..])?;
        (trace != [0; 16] && parent != [0; 8]).then_some(Self { trace, parent, flags })
    }
}

fn hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
}

fn unhex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;

//! What only ztunnel's environment says, as a person or a program may see it: without secrets.

use humantime::format_duration;
use serde_json::{Map, Value, json};

use super::{DnsAddress, DropIn, Keepalive, OwnPod};
use crate::config::secret::Header;
use crate::hbone::settings::Sizes;

// === impl DropIn ===

impl DropIn {
    /// Each fact under a name as Istio writes keys.
    pub fn facts(&self) -> Map<String, Value> {
        let Self {
            arguments,
            own: OwnPod { name, namespace, service_account, addresses },
            // Never shown.
            token: _,
            xds_headers,
            ca_headers,
            metadata,
            // The dump has the mesh itself.
            local_mesh: _,
            dns_address,
            packet_mark,
            port_reuse,
            keepalive: Keepalive { enabled, idle, interval, probes, user_timeout },
            http2,
            access_log_by_level,
            istio_version,
            unused,
        } = self;
        // Names alone: a value may be a secret.
        let names = |headers: &[Header]| -> Value { headers.iter().map(|header| header.name.as_str()).collect() };
        let facts = json!({
            "accessLogByLevel": access_log_by_level,
            "caHeaders": names(ca_headers),
            "dnsAddress": listening(dns_address),
            "http2": sizes(http2),
            "istioVersion": istio_version,
            "keepalive": {
                "enabled": enabled,
                "idle": format_duration(*idle).to_string(),
                "interval": format_duration(*interval).to_string(),
                "probes": probes,
                "userTimeout": user_timeout,
            },
            "ownPod": {
                "name": name,
                "namespace": namespace,
                "serviceAccount": service_account,
                "addresses": addresses,
            },
            "packetMark": packet_mark,
            "portReuse": port_reuse,
            "proxyArgs": arguments.join(" "),
            "proxyMetadata": metadata,
            "unused": unused.iter().map(|unused| unused.variable.as_str()).collect::<Vec<_>>(),
            "xdsHeaders": names(xds_headers),
        });
        match facts {
            Value::Object(facts) => facts,
            _ => Map::new(),
        }
    }
}

fn listening(at: &DnsAddress) -> String {
    match at {
        DnsAddress::Loopback(port) => format!("localhost:{port}"),
        DnsAddress::At(at) => at.to_string(),
    }
}

/// In bytes.
fn sizes(of: &Sizes) -> Value {
    json!({ "streamWindow": of.stream_window, "connectionWindow": of.connection_window, "frame": of.frame })
}

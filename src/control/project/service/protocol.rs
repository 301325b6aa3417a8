//! What a port's name or `appProtocol` says is spoken there.

use crate::model::service::AppProtocol;

/// Ports whose server speaks first or is no HTTP, so that a port without a word on its protocol is TCP: SMTP, DNS,
/// MySQL, MongoDB. Istio's list.
const TCP_PORTS: [u16; 4] = [25, 53, 3306, 27017];

/// Of a Service's port. `appProtocol` decides; without it the name's part before the first `-`.
pub(super) fn of_port(app_protocol: Option<&str>, name: Option<&str>, port: u16) -> AppProtocol {
    let word = match app_protocol.filter(|text| !text.is_empty()) {
        Some("kubernetes.io/h2c") => "http2",
        Some("kubernetes.io/ws") => "http",
        Some("kubernetes.io/wss") => "https",
        Some(other) => other,
        None => {
            let name = name.unwrap_or_default();
            // gRPC-Web is HTTP/1.1 with another framing, and no gRPC.
            if name.to_ascii_lowercase().starts_with("grpc-web") {
                "grpc-web"
            } else {
                name.split('-').next().unwrap_or_default()
            }
        }
    };
    let unnamed = || if TCP_PORTS.contains(&port) { AppProtocol::Tcp } else { AppProtocol::Unknown };
    named(word).unwrap_or_else(unnamed)
}

/// Of a word. `None` when Istio does not know it either; what Istio knows and the model does not is `Unknown`.
pub(super) fn named(word: &str) -> Option<AppProtocol> {
    Some(match word.to_ascii_lowercase().as_str() {
        "grpc" => AppProtocol::Grpc,
        "http" => AppProtocol::Http11,
        "http2" => AppProtocol::Http2,
        "https" | "tls" => AppProtocol::Tls,
        "tcp" => AppProtocol::Tcp,
        "grpc-web" | "mongo" | "mysql" | "redis" | "udp" => AppProtocol::Unknown,
        _ => return None,
    })
}

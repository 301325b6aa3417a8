//! The door: mutual TLS and CONNECT end here, and what was asked for becomes the address of an
//! internal connection.

use serde_json::{Value, json};

use super::Waypoint;
use super::extension::{
    LOCAL_ADDRESS, PEER, REMOTE_ADDRESS, config, internal_transport, named, router, socket_address, state,
};

/// Name of the listener that the door hands everything to.
pub(super) const INNER: &str = "main_internal";
const NAME: &str = "connect_terminate";
/// Streams of one connection; Istio's waypoints have the same. A node proxy opens another connection then.
const STREAMS: u32 = 100;

pub(super) fn listener(waypoint: &Waypoint) -> Value {
    json!({
        "name": NAME,
        "address": socket_address(waypoint.listen),
        "filter_chains": [{
            "transport_socket": tls(waypoint),
            "filters": [connection_manager()],
        }],
    })
}

/// Every peer must prove an identity of the trust domain.
fn tls(waypoint: &Waypoint) -> Value {
    let mut common = common_tls(waypoint);
    common["validation_context"]["match_typed_subject_alt_names"] = waypoint.trusted_names();
    named(
        "envoy.transport_sockets.tls",
        "transport_sockets.tls.v3.DownstreamTlsContext",
        // No ticket: a session that goes on would not show its certificate again.
        json!({
            "require_client_certificate": true,
            "disable_stateless_session_resumption": true,
            "disable_stateful_session_resumption": true,
            "common_tls_context": common,
        }),
    )
}

/// What both directions have in common: TLS 1.3, HTTP/2, the waypoint's own certificate, the mesh's roots.
pub(super) fn common_tls(waypoint: &Waypoint) -> Value {
    let file = |path: &std::path::Path| json!({"filename": path.display().to_string()});
    let files = &waypoint.credentials;
    json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": ["h2"],
        "tls_certificates": [{"certificate_chain": file(&files.chain), "private_key": file(&files.key)}],
        "validation_context": {"trusted_ca": file(&files.root)},
    })
}

fn connection_manager() -> Value {
    let route = json!({
        "match": {"connect_matcher": {}},
        "route": {
            "cluster": INNER,
            "timeout": "0s",
            "upgrade_configs": [{"upgrade_type": "CONNECT", "connect_config": {}}],
        },
    });
    named(
        "envoy.filters.network.http_connection_manager",
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": NAME,
            "codec_type": "HTTP2",
            // A connection of an app may be silent for as long as it likes.
            "stream_idle_timeout": "0s",
            "http2_protocol_options": {
                "allow_connect": true,
                "max_concurrent_streams": STREAMS,
                "connection_keepalive": {"interval": "10s", "timeout": "20s"},
            },
            "upgrade_configs": [{"upgrade_type": "CONNECT"}],
            "route_config": {"virtual_hosts": [{"name": NAME, "domains": ["*"], "routes": [route]}]},
            "http_filters": [
                {"name": "caller", "typed_config": config("filters.http.set_filter_state.v3.Config", json!({
                    "on_request_headers": [
                        state(LOCAL_ADDRESS, "%REQ(:AUTHORITY)%", None),
                        // The connection's own address: what X-Forwarded-For says is the sender's choice.
                        state(REMOTE_ADDRESS, "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", None),
                        state(PEER, "%DOWNSTREAM_PEER_URI_SAN%", Some("envoy.hashable_string")),
                    ],
                }))},
                router(),
            ],
        }),
    )
}

/// The way to the inner listener.
pub(super) fn cluster() -> Value {
    json!({
        "name": INNER,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": INNER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {
                "address": {"envoy_internal_address": {"server_listener_name": INNER}},
            }}]}],
        },
        "transport_socket": internal_transport(&[]),
    })
}

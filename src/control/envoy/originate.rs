//! The way on: a CONNECT to the endpoint's node proxy, with the waypoint's own certificate.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::extension::{
    ENDPOINT, EXPECTED_NAMES, ORIGINAL_DST, config, internal_transport, named, socket_address, state,
};
use super::terminate::common_tls;
use super::{Endpoint, ServedPort, Waypoint};
use crate::model::ports;
use crate::model::spiffe::Identity;

/// The listener, and the cluster behind it.
const ORIGINATE: &str = "connect_originate";
/// Cluster of workloads that are called by their own addresses.
pub(super) const DIRECT: &str = "direct";
/// As [`DIRECT`], of those outside of the mesh.
pub(super) const DIRECT_PLAIN: &str = "direct_plain";
/// To an endpoint, as long as Istio's waypoints wait.
const CONNECT_TIMEOUT: &str = "10s";

/// Opens a CONNECT to the address that the connection was given, and takes nobody there but whom
/// the endpoint's metadata names. (A workload that is called directly was given its names before.)
pub(super) fn listener() -> Value {
    let names = format!("%DYNAMIC_METADATA({ENDPOINT}:identities)%");
    json!({
        "name": ORIGINATE,
        "internal_listener": {},
        "listener_filters": [original_dst()],
        "filter_chains": [{"filters": [
            {"name": "expected", "typed_config": config("filters.network.set_filter_state.v3.Config", json!({
                "on_new_connection": [state(EXPECTED_NAMES, &names, None)],
            }))},
            named("envoy.filters.network.tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy", json!({
                "stat_prefix": ORIGINATE,
                "cluster": ORIGINATE,
                "idle_timeout": "0s",
                "tunneling_config": {"hostname": "%DOWNSTREAM_LOCAL_ADDRESS%"},
            })),
        ]}],
    })
}

/// The listener filter that gives an internal connection the addresses of its filter state or metadata.
pub(super) fn original_dst() -> Value {
    named("envoy.filters.listener.original_dst", "filters.listener.original_dst.v3.OriginalDst", json!({}))
}

/// Clusters that do not depend on a service.
pub(super) fn clusters(waypoint: &Waypoint) -> [Value; 3] {
    let direct = json!({
        "name": DIRECT,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "typed_extension_protocol_options": as_the_caller_speaks(),
        "load_assignment": {
            "cluster_name": DIRECT,
            "endpoints": [{"lb_endpoints": [{"endpoint": {
                "address": {"envoy_internal_address": {"server_listener_name": ORIGINATE}},
            }}]}],
        },
        "transport_socket": internal_transport(&[]),
    });
    let plain = json!({
        "name": DIRECT_PLAIN,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": CONNECT_TIMEOUT,
        "typed_extension_protocol_options": as_the_caller_speaks(),
    });
    let mut tls = common_tls(waypoint);
    tls["validation_context"]["match_typed_subject_alt_names"] = waypoint.trusted_names();
    let tunnels = json!({
        "name": ORIGINATE,
        "type": "ORIGINAL_DST",
        "lb_policy": "CLUSTER_PROVIDED",
        "connect_timeout": CONNECT_TIMEOUT,
        "original_dst_lb_config": {"upstream_port_override": ports::HBONE},
        "typed_extension_protocol_options": protocols(json!({"explicit_http_config": {"http2_protocol_options": {
            "allow_connect": true,
            "connection_keepalive": {"interval": "10s", "timeout": "20s"},
        }}})),
        "transport_socket": named(
            "envoy.transport_sockets.tls",
            "transport_sockets.tls.v3.UpstreamTlsContext",
            json!({"common_tls_context": tls}),
        ),
    });
    [direct, plain, tunnels]
}

/// The endpoints of one port of a service.
pub(super) fn cluster(name: &str, port: &ServedPort) -> Value {
    let endpoints: Vec<_> = port.endpoints.iter().map(endpoint).collect();
    let inside = json!({"mesh": true});
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": CONNECT_TIMEOUT,
        "typed_extension_protocol_options": as_the_caller_speaks(),
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
        "transport_socket_matches": [
            {"name": "mesh", "match": inside, "transport_socket": internal_transport(&[ORIGINAL_DST, ENDPOINT])},
        ],
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    if endpoint.identities.is_empty() {
        return json!({"endpoint": {"address": socket_address(endpoint.address)}});
    }
    let address = endpoint.address.to_string();
    json!({
        "endpoint": {"address": {"envoy_internal_address": {
            "server_listener_name": ORIGINATE,
            "endpoint_id": address,
        }}},
        "metadata": {"filter_metadata": {
            (ORIGINAL_DST): {"local": address},
            (ENDPOINT): {"identities": joined(&endpoint.identities)},
            "envoy.transport_socket_match": {"mesh": true},
        }},
    })
}

/// Identities as Envoy's list of names.
pub(super) fn joined(identities: &[Identity]) -> String {
    identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// One address as a block.
pub(super) fn block(ip: IpAddr) -> Value {
    json!({"address_prefix": ip.to_string(), "prefix_len": if ip.is_ipv4() { 32 } else { 128 }})
}

/// HTTP/1.1 to the server when the caller speaks that, HTTP/2 when the caller does.
fn as_the_caller_speaks() -> Value {
    protocols(json!({"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}))
}

fn protocols(fields: Value) -> Value {
    json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": config("upstreams.http.v3.HttpProtocolOptions", fields)})
}

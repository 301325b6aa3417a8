//! Envoy's `TypedExtensionConfig`, and words that several parts of the configuration share.

use serde_json::{Value, json};

/// Filter state: the address that the caller dialled (of the CONNECT's authority).
pub(super) const LOCAL_ADDRESS: &str = "envoy.filters.listener.original_dst.local_ip";
/// Filter state: the caller's own address.
pub(super) const REMOTE_ADDRESS: &str = "envoy.filters.listener.original_dst.remote_ip";
/// Filter state: the caller's SPIFFE identity. Istio's name, so that filters written for its waypoints find it.
pub(super) const PEER: &str = "io.istio.peer_principal";
/// Filter state that Envoy knows: names of which the next server's certificate must prove one.
pub(super) const EXPECTED_NAMES: &str = "envoy.network.upstream_subject_alt_names";
/// Metadata of an endpoint, and the name of the listener filter that reads it: where to connect.
pub(super) const ORIGINAL_DST: &str = "envoy.filters.listener.original_dst";
/// Metadata of an endpoint: as [`EXPECTED_NAMES`].
pub(super) const ENDPOINT: &str = "culvert.endpoint";

/// A `typed_config` of `message` below `envoy.extensions`, with `fields` beside its type.
pub(super) fn config(message: &str, fields: Value) -> Value {
    of_type(&format!("envoy.extensions.{message}"), fields)
}

/// A `typed_config` of any message.
pub(super) fn of_type(message: &str, mut fields: Value) -> Value {
    if let Value::Object(map) = &mut fields {
        map.insert("@type".into(), format!("type.googleapis.com/{message}").into());
    }
    fields
}

/// An extension by name, with its configuration.
pub(super) fn named(name: &str, message: &str, fields: Value) -> Value {
    json!({"name": name, "typed_config": config(message, fields)})
}

/// One entry of a `set_filter_state` filter: `key` becomes what `format` gives, here and in the
/// internal connection that follows.
pub(super) fn state(key: &str, format: &str, factory: Option<&str>) -> Value {
    let mut entry = json!({
        "object_key": key,
        "format_string": {"text_format_source": {"inline_string": format}, "omit_empty_values": true},
        "shared_with_upstream": "ONCE",
        "skip_if_empty": true,
    });
    if let Some(factory) = factory {
        entry["factory_key"] = factory.into();
    }
    entry
}

/// The router, which is the last HTTP filter of every chain.
pub(super) fn router() -> Value {
    // No x-envoy-* headers: peers are not told what stands between them.
    named("envoy.filters.http.router", "filters.http.router.v3.Router", json!({"suppress_envoy_headers": true}))
}

/// The transport of a cluster whose endpoint is an internal listener: `passed` names metadata of
/// the endpoint that goes along.
pub(super) fn internal_transport(passed: &[&str]) -> Value {
    let passed: Vec<_> = passed.iter().map(|name| json!({"kind": {"host": {}}, "name": name})).collect();
    let raw = named("envoy.transport_sockets.raw_buffer", "transport_sockets.raw_buffer.v3.RawBuffer", json!({}));
    let fields = json!({"transport_socket": raw, "passthrough_metadata": passed});
    named(
        "envoy.transport_sockets.internal_upstream",
        "transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
        fields,
    )
}

/// `address` as Envoy's `SocketAddress`.
pub(super) fn socket_address(address: std::net::SocketAddr) -> Value {
    let mut fields = json!({"address": address.ip().to_string(), "port_value": address.port()});
    if address.is_ipv6() && address.ip().is_unspecified() {
        fields["ipv4_compat"] = true.into();
    }
    json!({"socket_address": fields})
}

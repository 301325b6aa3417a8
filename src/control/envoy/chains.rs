//! The inner listener: by address and port to a filter chain, where rules are enforced.

use serde_json::{Map, Value, json};

use super::extension::{EXPECTED_NAMES, LOCAL_ADDRESS, PEER, config, named, of_type, router, state};
use super::originate::{DIRECT, DIRECT_PLAIN, block, joined, original_dst};
use super::rbac::{self, Layer};
use super::rules::Policy;
use super::terminate::INNER;
use super::{Direct, Protocol, Served, Waypoint};

/// How long HTTP is looked for where nobody declared a protocol. A server that speaks first waits for it.
const SNIFF: &str = "1s";
/// The header that shows which waypoint an answer came through: `<namespace>/<name>`.
const MARK: &str = "x-culvert-waypoint";

/// The listener. What matches no chain is reset. None when there is no chain at all, which Envoy would
/// not take; without the listener everything is reset as well.
pub(super) fn listener(waypoint: &Waypoint) -> Option<Value> {
    let mut filters = vec![original_dst()];
    let sniffed = |served: &Served| served.ports.iter().any(|port| port.protocol == Protocol::Sniffed);
    if !waypoint.workloads.is_empty() || waypoint.services.iter().any(sniffed) {
        filters.push(named(
            "envoy.filters.listener.http_inspector",
            "filters.listener.http_inspector.v3.HttpInspector",
            json!({}),
        ));
    }
    let mut ways = Vec::new();
    let mut chains = Vec::new();
    for served in waypoint.services.iter().filter(|served| served.is_reachable()) {
        ways.push(service(waypoint, served, &mut chains));
    }
    for (number, direct) in waypoint.workloads.iter().enumerate().filter(|(_, direct)| !direct.addresses.is_empty()) {
        ways.push(workload(waypoint, number, direct, &mut chains));
    }
    if chains.is_empty() {
        return None;
    }
    Some(json!({
        "name": INNER,
        "internal_listener": {},
        "listener_filters": filters,
        "listener_filters_timeout": SNIFF,
        "continue_on_listener_filters_timeout": true,
        "filter_chain_matcher": {"matcher_tree": {
            "input": input("ip", "DestinationIPInput"),
            "custom_match": {
                "name": "ip",
                "typed_config": of_type("xds.type.matcher.v3.IPMatcher", json!({"range_matchers": ways})),
            },
        }},
        "filter_chains": chains,
    }))
}

/// Name of a service port's cluster; its chains have the protocol behind it.
pub(super) fn port_name(served: &Served, port: u16) -> String {
    format!("service/{}/{port}", served.hostname)
}

fn service(waypoint: &Waypoint, served: &Served, chains: &mut Vec<Value>) -> Value {
    let policies: Vec<_> = waypoint.policies.iter().chain(&served.policies).collect();
    let mut ports = Map::new();
    for port in &served.ports {
        let name = port_name(served, port.port);
        let chain = Chain { waypoint, name: &name, cluster: &name, before: Vec::new(), policies: &policies };
        ports.insert(port.port.to_string(), chain.way(port.protocol, chains));
    }
    let ranges: Vec<_> = served.addresses.iter().copied().map(block).collect();
    json!({"ranges": ranges, "on_match": {"matcher": {"matcher_tree": {
        "input": input("port", "DestinationPortInput"),
        "exact_match_map": {"map": ports},
    }}}})
}

fn workload(waypoint: &Waypoint, number: usize, direct: &Direct, chains: &mut Vec<Value>) -> Value {
    let policies: Vec<_> = waypoint.policies.iter().collect();
    let plain = direct.identities.is_empty();
    // Where to, and who must be there.
    let mut on = vec![state(LOCAL_ADDRESS, &format!("%FILTER_STATE({LOCAL_ADDRESS}:PLAIN)%"), None)];
    if !plain {
        on.push(state(EXPECTED_NAMES, &joined(&direct.identities), None));
    }
    let on = json!({"on_new_connection": on});
    let before = vec![json!({"name": "way", "typed_config": config("filters.network.set_filter_state.v3.Config", on)})];
    let name = format!("workload/{number}");
    let cluster = if plain { DIRECT_PLAIN } else { DIRECT };
    let chain = Chain { waypoint, name: &name, cluster, before, policies: &policies };
    let ranges: Vec<_> = direct.addresses.iter().copied().map(block).collect();
    json!({"ranges": ranges, "on_match": chain.way(Protocol::Sniffed, chains)})
}

/// What the chains of one destination have in common.
struct Chain<'a> {
    waypoint: &'a Waypoint,
    name: &'a str,
    cluster: &'a str,
    /// Network filters that go first.
    before: Vec<Value>,
    policies: &'a [&'a Policy],
}

// === impl Chain ===

impl Chain<'_> {
    /// Adds the chains that `protocol` needs, and gives the matcher's answer that leads there.
    fn way(&self, protocol: Protocol, chains: &mut Vec<Value>) -> Value {
        let mut add = |kind: &str, filters: Vec<Value>| {
            let name = format!("{}/{kind}", self.name);
            chains.push(json!({"name": name, "filters": filters}));
            let chosen = of_type("google.protobuf.StringValue", json!({"value": name}));
            json!({"action": {"name": name, "typed_config": chosen}})
        };
        match protocol {
            Protocol::Http => add("http", self.http()),
            Protocol::Tcp => add("tcp", self.tcp()),
            Protocol::Sniffed => {
                let http = add("http", self.http());
                // The inspector's own spelling, with the quotes.
                let found = json!({"'http/1.0'": http, "'http/1.1'": http, "'h2c'": http});
                json!({"matcher": {
                    "matcher_tree": {
                        "input": input("protocol", "ApplicationProtocolInput"),
                        "exact_match_map": {"map": found},
                    },
                    "on_no_match": add("tcp", self.tcp()),
                }})
            }
        }
    }

    fn http(&self) -> Vec<Value> {
        let mut filters = vec![self.mark()];
        filters.extend(
            rbac::filters(self.policies, Layer::Http)
                .into_iter()
                .map(|rules| named("envoy.filters.http.rbac", "filters.http.rbac.v3.RBAC", json!({"rules": rules}))),
        );
        filters.push(router());
        let route = json!({
            "match": {"prefix": "/"},
            "route": {
                "cluster": self.cluster,
                "timeout": "0s",
                // The server's side may close a kept connection in the moment that a request is sent on it.
                "retry_policy": {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 2},
            },
        });
        let mut manager = json!({
            "stat_prefix": self.name,
            "stream_idle_timeout": "0s",
            "server_header_transformation": "PASS_THROUGH",
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "normalize_path": true,
            "route_config": {"virtual_hosts": [{"name": self.name, "domains": ["*"], "routes": [route]}]},
            "http_filters": filters,
        });
        // A rule must see the path that the server will make of it. Where none looks, paths stay as they are.
        if self.policies.iter().any(|policy| policy.looks_at_paths()) {
            manager["merge_slashes"] = true.into();
            manager["path_with_escaped_slashes_action"] = "REJECT_REQUEST".into();
        }
        let mut all = self.before.clone();
        all.push(named(
            "envoy.filters.network.http_connection_manager",
            "filters.network.http_connection_manager.v3.HttpConnectionManager",
            manager,
        ));
        all
    }

    fn tcp(&self) -> Vec<Value> {
        let mut all: Vec<_> = rbac::filters(self.policies, Layer::Tcp)
            .into_iter()
            .map(|rules| {
                let fields = json!({"stat_prefix": self.name, "rules": rules});
                named("envoy.filters.network.rbac", "filters.network.rbac.v3.RBAC", fields)
            })
            .collect();
        all.extend(self.before.iter().cloned());
        let fields = json!({"stat_prefix": self.name, "cluster": self.cluster, "idle_timeout": "0s"});
        all.push(named("envoy.filters.network.tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy", fields));
        all
    }

    /// Says in each answer who stood between, and to the server who asked.
    fn mark(&self) -> Value {
        let set = |key: &str, value: &str| {
            let header = json!({"key": key, "value": value});
            json!({"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}})
        };
        let Waypoint { namespace, name, peer_header, .. } = self.waypoint;
        let mut mutations = json!({"response_mutations": [set(MARK, &format!("{namespace}/{name}"))]});
        if let Some(header) = peer_header {
            mutations["request_mutations"] = json!([set(header, &format!("%FILTER_STATE({PEER}:PLAIN)%"))]);
        }
        let message = "filters.http.header_mutation.v3.HeaderMutation";
        named("envoy.filters.http.header_mutation", message, json!({"mutations": mutations}))
    }
}

fn input(name: &str, message: &str) -> Value {
    json!({"name": name, "typed_config": config(&format!("matching.common_inputs.network.v3.{message}"), json!({}))})
}

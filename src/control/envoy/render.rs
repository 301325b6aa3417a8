//! All parts together.

use serde_json::{Value, json};

use super::extension::{config, socket_address};
use super::{Waypoint, chains, originate, terminate};

/// What an internal connection holds before its writer waits.
const INTERNAL_BUFFER_KB: u32 = 64;

/// The static configuration of an Envoy that is this waypoint. Equal values give equal text.
pub fn render(waypoint: &Waypoint) -> Value {
    let Waypoint { namespace, name, .. } = waypoint;
    let mut clusters = vec![terminate::cluster()];
    for served in waypoint.services.iter().filter(|served| served.is_reachable()) {
        for port in &served.ports {
            clusters.push(originate::cluster(&chains::port_name(served, port.port), port));
        }
    }
    clusters.extend(originate::clusters(waypoint));
    let listeners = [Some(terminate::listener(waypoint)), chains::listener(waypoint), Some(originate::listener())];
    json!({
        "node": {"id": format!("waypoint/{namespace}/{name}"), "cluster": format!("{namespace}/{name}")},
        "admin": {"address": socket_address(waypoint.admin)},
        "bootstrap_extensions": [{
            "name": "envoy.bootstrap.internal_listener",
            "typed_config": config(
                "bootstrap.internal_listener.v3.InternalListener",
                json!({"buffer_size_kb": INTERNAL_BUFFER_KB}),
            ),
        }],
        "static_resources": {
            "listeners": listeners.into_iter().flatten().collect::<Vec<_>>(),
            "clusters": clusters,
        },
    })
}

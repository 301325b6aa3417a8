//! The labels and annotations by which waypoints are declared and named. All but the last are Istio's.

/// Names a Gateway, or says [`NONE`].
pub(super) const USE: &str = "istio.io/use-waypoint";
/// Namespace of that Gateway; the object's own when it is absent.
pub(super) const USE_NAMESPACE: &str = "istio.io/use-waypoint-namespace";
/// Opts an object out of what its namespace says.
pub(super) const NONE: &str = "none";
/// A second waypoint, for a part of the connections.
pub(super) const CANARY: &str = "istio.io/use-waypoint-canary";
pub(super) const CANARY_NAMESPACE: &str = "istio.io/use-waypoint-canary-namespace";
/// Annotation: the canary's part, 0 to 100 per cent. 0 when it is absent.
pub(super) const CANARY_WEIGHT: &str = "istio.io/use-waypoint-canary-weight";
/// `true`: ingress gateways go through the waypoint as well.
pub(super) const INGRESS: &str = "istio.io/ingress-use-waypoint";
/// On a Gateway or its class: `service` (when it is absent), `workload`, `all` or `none`.
pub(super) const FOR: &str = "istio.io/waypoint-for";
/// Annotation on a Gateway or its class: `PROXY/<port>` has HBONE ended before the waypoint, which then gets a PROXY
/// protocol header on that port.
pub(super) const INBOUND_BINDING: &str = "ambient.istio.io/waypoint-inbound-binding";
/// The flat network that a Gateway's address belongs to.
pub(super) const NETWORK: &str = "topology.istio.io/network";
/// Who made an object for a Gateway.
pub(super) const MANAGED: &str = "gateway.istio.io/managed";
/// Values of [`MANAGED`] that stand for waypoints and for gateways between networks.
pub(super) const MANAGERS: [&str; 2] = ["istio.io-mesh-controller", "istio.io-eastwest-controller"];
/// A list with `http` in it: the pod speaks HBONE itself.
pub(super) const TUNNEL: &str = "networking.istio.io/tunnel";
/// On a pod, a Service or a namespace: `true` refuses every peer that is not the waypoint.
pub(super) const ENFORCE: &str = "culvert.dev/enforce-waypoint";

/// The class that Istio makes for waypoints.
pub(super) const CLASS: &str = "istio-waypoint";
/// Who serves that class, in `spec.controllerName`.
pub(super) const CONTROLLER: &str = "istio.io/mesh-controller";

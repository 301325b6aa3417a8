//! Settings of the seams: where mesh, certificates and pods come from.

use super::super::value::Kind;
use super::{Setting, setting};

/// Where mesh, certificates and pods come from.
pub(super) const ALL: &[Setting] = &[
    setting(
        "manifests",
        Kind::OptionalPath,
        "",
        "Directory of Kubernetes manifests, required unless others give mesh and pods",
        "The mesh is what they say and pods are enrolled as they say; the directory is watched. Others are xds-address or local-xds for the mesh, with zds-socket for the pods",
    ),
    setting(
        "ca-dir",
        Kind::Path,
        "/var/lib/culvert/ca",
        "Directory of the CA, in Istio's cacerts layout",
        "Made with a root of its own when it is empty; nodes that share it trust each other, and it outlives a reboot",
    ),
    setting(
        "xds-address",
        Kind::Endpoint,
        "",
        "Control plane that gives the mesh, over delta xDS",
        "HTTPS alone. Empty: the mesh comes from local-xds, else from manifests",
    ),
    setting(
        "xds-roots",
        Kind::Roots,
        "/var/run/secrets/istio/root-cert.pem",
        "Roots that the control plane's certificate must lead to: a path, SYSTEM, or certificates in PEM",
        "Where Istio's DaemonSet mounts the mesh's root; a file is read again when it changes",
    ),
    setting(
        "xds-server-name",
        Kind::Text,
        "",
        "A further name that the control plane's certificate may be for",
        "Empty: only the name in xds-address",
    ),
    setting(
        "xds-on-demand",
        Kind::Bool,
        "false",
        "Ask the control plane for addresses when they are first called, instead of having the whole mesh",
        "Less memory in a large mesh, and a round trip for the first connection to an address",
    ),
    setting(
        "state-dir",
        Kind::OptionalPath,
        "/var/lib/culvert/state",
        "Directory in which the last accepted mesh is kept, for a restart without a control plane",
        "Addresses and policies, no key; only its owner may read it. Empty keeps nothing; a directory that cannot be written is told in one line and nothing fails",
    ),
    setting(
        "state-max-age",
        Kind::Period,
        "24h",
        "How old the kept mesh may be and still serve after a restart",
        "The lifetime of a certificate: beyond it no identity that is in the kept mesh can still be proven without the control plane's own CA. A longer one calls addresses that other pods may have by now, which their certificates refuse",
    ),
    setting(
        "ca-address",
        Kind::Endpoint,
        "",
        "CA that issues the pods' certificates, by Istio's certificate service",
        "HTTPS alone. Empty: the CA of ca-dir, in this process",
    ),
    setting(
        "ca-roots",
        Kind::Roots,
        "/var/run/secrets/istio/root-cert.pem",
        "Roots that the CA's own server certificate must lead to: a path, SYSTEM, or certificates in PEM",
        "As xds-roots",
    ),
    setting(
        "ca-server-name",
        Kind::Text,
        "",
        "A further name that the CA's server certificate may be for",
        "Empty: only the name in ca-address",
    ),
    setting(
        "token-file",
        Kind::OptionalPath,
        "/var/run/secrets/tokens/istio-token",
        "File with the token that is shown to control plane and CA",
        "Where Istio's DaemonSet mounts the service account's token; read again for each request. Empty shows none",
    ),
    setting(
        "zds-socket",
        Kind::OptionalPath,
        "",
        "Socket of the node agent (istio-cni) that says which pods to carry",
        "Empty: pods come from manifests. istio-cni's is /var/run/ztunnel/ztunnel.sock",
    ),
    setting(
        "local-xds",
        Kind::OptionalPath,
        "",
        "File of workloads, services and policies in ztunnel's format",
        "The mesh when there is no xds-address, an addition to it otherwise; read once at the start",
    ),
];

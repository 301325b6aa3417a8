//! The settings of the control plane.

use super::{
    CLUSTER, CLUSTER_DOMAIN, Kind, LOG_FORMAT, LOG_LEVEL, MANIFESTS, METRICS_SERIES, ROOT_NAMESPACE, Setting,
    TRUST_DOMAIN, TRUST_DOMAIN_ALIASES, required, setting,
};

/// The settings of `culvert control`, in the order of help and reference.
pub const CONTROL: &[Setting] = &[
    MANIFESTS,
    required(
        "tokens",
        Kind::Path,
        "File of callers: lines of TOKEN NODE",
        "Nobody gets the mesh or a certificate without a token; read again when it changes, and refused when others may \
         read it",
    ),
    required(
        "server-names",
        Kind::Hosts,
        "Names and addresses of this server, as nodes call it",
        "Its certificate names them, signed by the mesh's root; a node refuses a server of another name",
    ),
    setting(
        "listen-address",
        Kind::Address,
        "[::]:15012",
        "Where the mesh and certificates are served",
        "Istio's port, on every address: nodes are on other machines",
    ),
    setting(
        "ca-dir",
        Kind::Path,
        "/var/lib/culvert/ca",
        "Directory of the CA, in Istio's cacerts layout",
        "Made with a root of its own when it is empty; read again when it changes. Keep a copy: with the key gone, so is \
         the mesh",
    ),
    TRUST_DOMAIN,
    TRUST_DOMAIN_ALIASES,
    CLUSTER,
    CLUSTER_DOMAIN,
    setting(
        "network",
        Kind::Text,
        "",
        "Name of the network that the pods are on",
        "Empty is the only network there is; nodes must say the same",
    ),
    ROOT_NAMESPACE,
    setting(
        "leaf-ttl",
        Kind::Period,
        "24h",
        "Lifetime of a certificate whose request asks for none, and of this server's own",
        "A stolen key is of use for a day at most; requests may ask for up to 90 days",
    ),
    setting(
        "clients",
        Kind::Positive,
        "2000",
        "Clients of the mesh at once",
        "One a node, two while it is replaced; some 2 MiB each and all policies once while it is sent everything, and 100 KiB after that",
    ),
    setting(
        "connection-age",
        Kind::Period,
        "30m",
        "How long a client keeps its connection, give or take a tenth",
        "Istio's default; clients spread over replicas again, and lose nothing",
    ),
    setting(
        "drain-deadline",
        Kind::Duration,
        "5s",
        "How long answers may go on after SIGTERM",
        "Well within the 30 s that Kubernetes gives before SIGKILL",
    ),
    METRICS_SERIES,
    LOG_LEVEL,
    LOG_FORMAT,
    setting(
        "admin-address",
        Kind::Address,
        "127.0.0.1:15013",
        "Where the admin pages are served",
        "Loopback alone: the pages show the mesh to whoever can reach them",
    ),
    setting(
        "metrics-address",
        Kind::Address,
        "[::]:15014",
        "Where metrics are served",
        "istiod's port, on every address: the scraper is on another machine",
    ),
    setting(
        "ready-address",
        Kind::Address,
        "[::]:15022",
        "Where readiness is served",
        "Beside a node's own port, so that both run on one machine",
    ),
];

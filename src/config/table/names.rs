//! Settings of names: of this node, its cluster and what the whole mesh has in common; and of whom to trust.

use super::super::value::Kind;
use super::{
    CLUSTER, CLUSTER_DOMAIN, ROOT_NAMESPACE, Setting, TRUST_BUNDLES, TRUST_DOMAIN, TRUST_DOMAIN_ALIASES, required,
    setting,
};

/// Names.
pub(super) const ALL: &[Setting] = &[
    required(
        "node",
        Kind::Name,
        "Name of this node",
        "Pods whose spec.nodeName is this one are enrolled here; in a pod, take it from the downward API",
    ),
    TRUST_DOMAIN,
    TRUST_DOMAIN_ALIASES,
    TRUST_BUNDLES,
    setting(
        "key-exchange",
        Kind::Choice("any|post-quantum"),
        "any",
        "Key exchange groups of TLS",
        "any offers the hybrid post-quantum group first and takes others; post-quantum refuses peers that do not have it",
    ),
    setting(
        "crl-file",
        Kind::OptionalPath,
        "",
        "File of certificate revocation lists: PEM, one or many, or one in DER",
        "Empty checks none. Read again when it changes and when it comes; while the first one cannot be read every TLS handshake is refused",
    ),
    CLUSTER,
    CLUSTER_DOMAIN,
    setting(
        "network",
        Kind::Text,
        "",
        "Name of the network that this node's pods are on",
        "Empty is the only network there is; another one is reached through a gateway",
    ),
    ROOT_NAMESPACE,
];

//! Settings of what the node tells: log, metrics, pages.

use super::super::value::Kind;
use super::{LOG_FORMAT, LOG_LEVEL, METRICS_SERIES, Setting, setting};

/// What the node tells.
pub(super) const ALL: &[Setting] = &[
    METRICS_SERIES,
    setting(
        "flow-window",
        Kind::Period,
        "24h",
        "How long a connection counts in culvert strict-report",
        "A day sees most of what calls at all; counted in 24 parts, so that it may count a part of it longer",
    ),
    setting(
        "flow-limit",
        Kind::Count,
        "10000",
        "Clients of ports that culvert strict-report tells apart, on this node",
        "At most 1 KiB each and its identity's text, so 10 MiB; beyond it connections are counted without their client. \
         0 counts none",
    ),
    LOG_LEVEL,
    LOG_FORMAT,
    setting(
        "log-access",
        Kind::Bool,
        "true",
        "Write one line for each connection and reporter",
        "Some 500 bytes a connection; false where metrics are enough",
    ),
    setting(
        "admin-address",
        Kind::Address,
        "127.0.0.1:15000",
        "Where the admin pages are served",
        "Loopback alone: the pages show the mesh to whoever can reach them",
    ),
    setting(
        "metrics-address",
        Kind::Address,
        "[::]:15020",
        "Where metrics are served",
        "Every address, IPv4 too: the scraper is on another node",
    ),
    setting(
        "ready-address",
        Kind::Address,
        "[::]:15021",
        "Where readiness is served",
        "Every address: the kubelet asks the pod's or the node's own",
    ),
];

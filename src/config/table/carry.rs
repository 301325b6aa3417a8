//! Settings of connections: how they are carried, and how much of it.

use super::super::value::Kind;
use super::{Setting, setting};

/// How connections are carried.
pub(super) const ALL: &[Setting] = &[
    setting(
        "same-node-lane",
        Kind::Bool,
        "true",
        "Join connections between pods of this node in the kernel, without TLS",
        "Policy is judged all the same and nothing leaves the node; false for those who must have ciphertext on every hop",
    ),
    setting(
        "leaf-ttl",
        Kind::Period,
        "24h",
        "Lifetime of a workload's certificate",
        "A stolen key is of use for a day at most; renewed at half its life, so an outage of the CA may last 12 h",
    ),
    setting(
        "drain-deadline",
        Kind::Duration,
        "5s",
        "How long live connections may go on after SIGTERM",
        "Well within the 30 s that Kubernetes gives before SIGKILL",
    ),
    setting(
        "policy-wait",
        Kind::Duration,
        "2s",
        "How long a new connection waits for a policy that is referred to and missing",
        "Longer than a manifest's write takes; then it is refused",
    ),
    setting(
        "connect-timeout",
        Kind::Period,
        "10s",
        "How long a connection to an app or another node may take",
        "Two retransmissions of the first packet pass within 7 s",
    ),
    setting(
        "half-open-timeout",
        Kind::Duration,
        "1h",
        "How long a connection one of whose directions has ended may be silent in the other",
        "Every byte begins it anew. A peer that ends nothing would hold a place of max-connections-per-pod for ever; who waits longer for an answer has keepalives of its own. 0s never ends one; a connection that is open in both directions is never ended for its silence",
    ),
    setting(
        "window-budget",
        Kind::Bytes,
        "64MiB",
        "Receive windows of one pod's tunnels together",
        "Bounds a pod's buffered bytes: memory is at most pods × this, when every app stalls at once",
    ),
    setting(
        "pool-idle",
        Kind::Period,
        "5m",
        "How long an unused tunnel stays open",
        "Saves the handshake of a peer that calls again; an idle tunnel costs some 60 KiB on both ends together",
    ),
    setting(
        "pool-streams",
        Kind::Positive,
        "100",
        "Connections that share one tunnel, at most",
        "What a peer that says nothing of it allows, and the most that is used; fewer make more handshakes, and spread over more of a peer's threads",
    ),
    setting(
        "max-connections-per-pod",
        Kind::Positive,
        "20000",
        "Live connections of one pod, inbound and outbound together",
        "Below the 28,000 ports of a client; each costs two sockets and some 10 KiB, so a pod at the limit some 200 MiB",
    ),
    setting(
        "max-handshakes-per-pod",
        Kind::Positive,
        "500",
        "TLS handshakes a second that one pod may take part in as a server, and as many as a client",
        "One takes some half a millisecond of a processor, so a flooded pod costs a quarter of one; faster ones wait for up to 2 s",
    ),
    setting(
        "data-threads",
        Kind::Count,
        "0",
        "The most threads that carry connections",
        "0 is one for each pod, so that one that floods keeps no other from being served; with fewer than pods, several share one",
    ),
    setting(
        "data-busy-poll",
        Kind::Duration,
        "100us",
        "How long a thread that carries connections looks for the next message before it sleeps, at most",
        "Only while messages follow each other that closely: to be woken takes longer than to carry one. 0s never looks; 300us is for who wants latency across nodes above all",
    ),
];

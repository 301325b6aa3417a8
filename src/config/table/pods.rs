//! Settings of pods: how they are taken into the mesh and let go.

use super::super::value::Kind;
use super::{Setting, setting};

/// How pods are enrolled.
pub(super) const ALL: &[Setting] = &[
    setting(
        "reset-older-connections",
        Kind::Bool,
        "false",
        "Reset connections that are older than a pod's enrolment",
        "They go on outside the mesh, counted; resetting them cuts live traffic once",
    ),
    setting(
        "redirect-backend",
        Kind::Choice("auto|nftables|iptables|agent"),
        "auto",
        "How a pod's traffic is redirected",
        "auto takes nf_tables over netlink, which needs no program, and iptables where the kernel lacks it. agent lays nothing: the node agent behind zds-socket (istio-cni) has laid the rules",
    ),
    setting(
        "cgroup-exemption",
        Kind::Choice("auto|off"),
        "auto",
        "Ask for the daemon's cgroup, beside its mark, to pass the redirect",
        "A mark alone can be set by a pod with CAP_NET_RAW; auto uses it where the kernel can match a socket's cgroup",
    ),
    setting(
        "ipv6",
        Kind::Choice("auto|true|false"),
        "auto",
        "Redirect IPv6 as well",
        "auto follows each pod's namespace; false leaves IPv6 outside the mesh",
    ),
    setting(
        "dns-capture",
        Kind::Bool,
        "true",
        "Answer what pods ask name servers for, and forward what the mesh does not know",
        "As Istio's installation has it: without it the host of a ServiceEntry has no address, and nor has a service where no cluster's DNS runs; a pod's annotation ambient.istio.io/dns-capture overrides it",
    ),
    setting(
        "withdraw-deadline",
        Kind::Duration,
        "10m",
        "How long a withdrawn pod's captured connections may go on",
        "Most end by themselves; those that do not are cut, so that the pod's rules can be removed",
    ),
    setting(
        "verify-interval",
        Kind::Period,
        "5s",
        "How often each pod's rules, listeners and namespace are verified",
        "A pod that lost its rules is outside the mesh for this long at most; one read of a small table a pod",
    ),
    setting(
        "takeover-socket",
        Kind::OptionalPath,
        "/run/culvert/takeover.sock",
        "Socket at which the next process of this node takes the pods' listeners over",
        "So that an upgrade loses no connection; only root and this process's user may. Its directory is made; one that cannot be written is told in one line and nothing fails. Empty hands nothing over. Two nodes on one machine need two",
    ),
];

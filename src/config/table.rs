//! Every setting, once: flags, variables, file keys, help and the reference pages come from here.

use super::value::Kind;

mod control;

pub use control::CONTROL;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The flag without its dashes, and the key in a file.
    pub key: &'static str,
    pub kind: Kind,
    pub default: Default,
    /// What it is: a sentence without a full stop.
    pub about: &'static str,
    /// Why the default is what it is, and what a larger or smaller one costs.
    pub reason: &'static str,
}

/// What holds when nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// The process does not start.
    Required,
    Value(&'static str),
}

const fn setting(
    key: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
    reason: &'static str,
) -> Setting {
    Setting { key, kind, default: Default::Value(default), about, reason }
}

const fn required(key: &'static str, kind: Kind, about: &'static str, reason: &'static str) -> Setting {
    Setting { key, kind, default: Default::Required, about, reason }
}

const TRUST_DOMAIN: Setting = setting(
    "trust-domain",
    Kind::Name,
    "cluster.local",
    "Trust domain of every identity",
    "Istio's default, so that policies written for it hold",
);
const CLUSTER_DOMAIN: Setting =
    setting("cluster-domain", Kind::Name, "cluster.local", "DNS domain of services", "Kubernetes' default");
const ROOT_NAMESPACE: Setting = setting(
    "root-namespace",
    Kind::Name,
    "istio-system",
    "Namespace whose policies hold for the whole mesh",
    "Istio's default",
);

const CLUSTER: Setting =
    setting("cluster", Kind::Text, "Kubernetes", "Name of this cluster in metrics and logs", "Istio's default");
const METRICS_SERIES: Setting = setting(
    "metrics-series",
    Kind::Count,
    "10000",
    "Series that one metric may have",
    "About 1 KiB a pair of workloads, so 10 MiB for traffic; beyond it everything counts into one series named overflow",
);
const LOG_LEVEL: Setting = setting(
    "log-level",
    Kind::Levels,
    "info",
    "What is logged: a level, or MODULE=LEVEL, joined by commas",
    "info has a line for each change and none for each packet",
);
const LOG_FORMAT: Setting = setting(
    "log-format",
    Kind::Choice("text|json"),
    "text",
    "How a line of the log is written",
    "text for people; json for a collector",
);
const MANIFESTS: Setting = required(
    "manifests",
    Kind::Path,
    "Directory of Kubernetes manifests",
    "The mesh is what they say; the directory is watched",
);

/// The settings that say what a policy means, for commands that look at manifests without a node.
pub const MESH: &[Setting] = &[TRUST_DOMAIN, CLUSTER_DOMAIN, ROOT_NAMESPACE];

/// The settings of `culvert node`, in the order of help and reference.
pub const NODE: &[Setting] = &[
    MANIFESTS,
    required(
        "node",
        Kind::Name,
        "Name of this node",
        "Pods whose spec.nodeName is this one are enrolled here; in a pod, take it from the downward API",
    ),
    setting(
        "ca-dir",
        Kind::Path,
        "/var/lib/culvert/ca",
        "Directory of the CA, in Istio's cacerts layout",
        "Made with a root of its own when it is empty; nodes that share it trust each other, and it outlives a reboot",
    ),
    TRUST_DOMAIN,
    setting(
        "trust-domain-aliases",
        Kind::Text,
        "",
        "Other names of the trust domain, joined by commas",
        "Their identities are accepted under the same roots, and policies for one name hold for all; for a trust domain that is renamed, or clusters that share a root",
    ),
    setting(
        "trust-bundles",
        Kind::Text,
        "",
        "Trust domains of others with their roots: DOMAIN=FILE, joined by commas",
        "Their identities must chain to that PEM file and to nothing else, and only principals match them; each file is read again when it changes",
    ),
    setting(
        "crl-file",
        Kind::Text,
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
    setting(
        "same-node-lane",
        Kind::Bool,
        "true",
        "Join connections between pods of this node in the kernel, without TLS",
        "Policy is judged all the same and nothing leaves the node; false for those who must have ciphertext on every hop",
    ),
    setting(
        "reset-older-connections",
        Kind::Bool,
        "false",
        "Reset connections that are older than a pod's enrolment",
        "They go on outside the mesh, counted; resetting them cuts live traffic once",
    ),
    setting(
        "redirect-backend",
        Kind::Choice("auto|nftables|iptables"),
        "auto",
        "How a pod's traffic is redirected",
        "auto takes nf_tables over netlink, which needs no program, and iptables where the kernel lacks it",
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
    setting(
        "data-threads",
        Kind::Count,
        "0",
        "Threads that carry connections",
        "0 is half of the processors that the process may use: the pods' programs run on the same ones",
    ),
    setting(
        "data-busy-poll",
        Kind::Duration,
        "100us",
        "How long a thread that carries connections looks for the next message before it sleeps, at most",
        "Only while messages follow each other that closely: to be woken takes longer than to carry one. 0s never looks; 300us is for who wants latency across nodes above all",
    ),
];

/// The setting of a key.
pub fn find(table: &'static [Setting], key: &str) -> Option<&'static Setting> {
    table.iter().find(|setting| setting.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sound() {
        let places = |table: &'static [Setting]| table.iter().enumerate().map(move |(place, it)| (table, place, it));
        let all = [NODE, CONTROL].into_iter().flat_map(places);
        for (table, place, setting) in all {
            let Setting { key, kind, default, about, reason } = setting;
            assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{key}");
            assert!(table[..place].iter().all(|other| other.key != *key), "{key} is there twice");
            if let Default::Value(text) = default {
                assert_eq!(kind.check(text), Ok(()), "{key}");
            }
            for text in [about, reason] {
                assert!(!text.is_empty() && !text.ends_with('.') && !text.contains('\n'), "{key}: {text}");
            }
            // Taken by the command line itself.
            assert!(!["config", "show-config", "help"].contains(key), "{key}");
        }
    }
}

//! Every variable that ztunnel reads, once, with what becomes of it here. docs/reference/ztunnel.md is written from it.

/// One variable, or all with a beginning when its name ends in `*`.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    /// ztunnel's default, for the reference page; empty when there is none.
    pub default: &'static str,
    pub fate: Fate,
}

/// What becomes of a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is the setting of this key.
    Setting(&'static str),
    /// It says something that no setting says: this.
    Heard(&'static str),
    /// Here it is always so. Another value is named at the start, with the reason.
    Always { value: &'static str, why: &'static str },
    /// It changes nothing and is named at the start, with the reason.
    Unused(&'static str),
}

const fn setting(name: &'static str, default: &'static str, key: &'static str) -> Variable {
    Variable { name, default, fate: Fate::Setting(key) }
}

const fn heard(name: &'static str, default: &'static str, what: &'static str) -> Variable {
    Variable { name, default, fate: Fate::Heard(what) }
}

const fn always(name: &'static str, value: &'static str, why: &'static str) -> Variable {
    Variable { name, default: value, fate: Fate::Always { value, why } }
}

const fn unused(name: &'static str, default: &'static str, why: &'static str) -> Variable {
    Variable { name, default, fate: Fate::Unused(why) }
}

const EACH_POD: &str = "each pod has a thread of its own, and the container's limit bounds what they use together; \
    ZTUNNEL_WORKER_THREADS makes pods share fewer";

/// All of them, in the order of their names.
pub const ALL: &[Variable] = &[
    heard("ALT_CA_HOSTNAME", "", "the setting `ca-server-name`"),
    heard("ALT_XDS_HOSTNAME", "", "the setting `xds-server-name`"),
    unused("AUTHZ_POLICY_INFO_LOGGING", "false", "the access log names the policy that decided in any case"),
    heard(
        "AUTH_TOKEN",
        "./var/run/secrets/tokens/istio-token",
        "the setting `token-file` when it names a file, else the token itself; a path (`/…`, `./…`) without its file ends the start. Without a file at the default place no token is sent",
    ),
    heard(
        "CA_ADDRESS",
        "https://istiod.istio-system.svc:15012",
        "the setting `ca-address`; `https://localhost:15012` outside Kubernetes",
    ),
    heard("CA_HEADER_*", "", "a header of each request to the CA; its value is never shown"),
    setting("CA_ROOT_CA", "./var/run/secrets/istio/root-cert.pem", "ca-roots"),
    setting("CLUSTER_DOMAIN", "cluster.local", "cluster-domain"),
    heard("CLUSTER_ID", "Kubernetes", "the setting `cluster`, unless ISTIO_META_CLUSTER_ID says another"),
    heard(
        "COMPLIANCE_POLICY",
        "",
        "`pqc` is the setting `key-exchange` post-quantum; anything else changes nothing and is named at the start",
    ),
    setting("CONNECTION_TERMINATION_DEADLINE", "5s", "drain-deadline"),
    setting("CRL_PATH", "", "crl-file"),
    Variable {
        name: "ENABLE_ORIG_SRC",
        // Best effort.
        default: "",
        fate: Fate::Always { value: "true", why: "an application always sees its client's own address" },
    },
    heard("ENABLE_PROXY", "true", "`false` ends the start: names are answered beside the proxy and not without it"),
    always("ENABLE_RESPONSE_BAGGAGE", "true", "answers always say who has answered"),
    always("FAKE_CA", "false", "a CA of its own is what an empty CA_ADDRESS gives"),
    heard(
        "HTTP2_CONNECTION_WINDOW_SIZE",
        "16777216",
        "bytes that all streams of a connection may be sent together, 65535 to 2147483647. Not set: 2147483647, so that no stream stops another; window-budget bounds a pod's bytes",
    ),
    heard(
        "HTTP2_FRAME_SIZE",
        "1048576",
        "the largest frame that peers may send, 16384 to 16777215. Not set: 262144; larger ones make every other stream wait",
    ),
    heard(
        "HTTP2_STREAM_WINDOW_SIZE",
        "4194304",
        "bytes that a stream's window may grow to, 1 to 2147483647, within window-budget. It begins with 262144, or here when this is less",
    ),
    always("INPOD_ENABLED", "true", "this process serves the pods of its node"),
    heard("INPOD_PORT_REUSE", "true", "listeners beside another proxy's on the same pods, once ready"),
    setting("INPOD_UDS", "/var/run/ztunnel/ztunnel.sock", "zds-socket"),
    heard(
        "INSTANCE_IP",
        "",
        "this pod's address, or several joined by commas, in what the control plane is told, and where peers reach this process",
    ),
    heard(
        "IPV6_ENABLED",
        "true",
        "the setting `ipv6`: `auto` for true, `false` for false; then metrics and readiness listen on IPv4 alone",
    ),
    heard(
        "ISTIO_METAJSON_*",
        "",
        "metadata for the control plane, as JSON; what is not JSON is named at the start and left out",
    ),
    heard(
        "ISTIO_META_*",
        "",
        "metadata for the control plane. CLUSTER_ID is the setting `cluster`; DNS_CAPTURE is the setting `dns-capture`, in letters of any case, any other word than `true` being false; DNS_PROXY_ADDR is where in each pod its name server listens, `0.0.0.0` and `[::]` meaning loopback; ISTIO_VERSION is shown in the dump",
    ),
    heard("KEEPALIVE_ENABLED", "true", "TCP keepalive of our sockets in pods"),
    heard("KEEPALIVE_INTERVAL", "180s", "between its probes"),
    heard("KEEPALIVE_RETRIES", "9", "probes without an answer that end a connection"),
    heard("KEEPALIVE_TIME", "180s", "silence before its first probe"),
    heard("KUBERNETES_SERVICE_HOST", "", "its presence chooses default addresses"),
    always("LOCALHOST_APP_TUNNEL", "true", "a program that believes PROXY headers is called on loopback alone"),
    heard("LOCAL_XDS", "", "the text of such a file; not beside LOCAL_XDS_PATH"),
    setting("LOCAL_XDS_PATH", "", "local-xds"),
    heard(
        "LOG_FORMAT",
        "plain",
        "the setting `log-format`: `json`, anything else is `text`, both in ztunnel's shape; what is neither `json` nor `plain` is named at the start",
    ),
    setting("NETWORK", "", "network"),
    setting("NODE_NAME", "", "node"),
    heard("PACKET_MARK", "1337", "the mark of our sockets in pods"),
    heard(
        "POD_NAME",
        "",
        "this pod, in what the control plane is told; with POD_NAMESPACE and SERVICE_ACCOUNT, peers reach metrics and readiness by HBONE on port 15008",
    ),
    heard("POD_NAMESPACE", "", "this pod's namespace, as POD_NAME"),
    setting("POOL_MAX_STREAMS_PER_CONNECTION", "100", "pool-streams"),
    setting("POOL_UNUSED_RELEASE_TIMEOUT", "5m", "pool-idle"),
    unused(
        "PREFERED_SERVICE_NAMESPACE",
        "",
        "of several services with one name that of the caller's namespace is meant, then the canonical one",
    ),
    heard(
        "PROXY_CONFIG",
        "",
        "over ./etc/istio/config/mesh: discoveryAddress, proxyAdminPort, statsPort, concurrency, proxyMetadata",
    ),
    heard("PROXY_MODE", "shared", "`dedicated` ends the start: one process serves all pods of its node"),
    unused("PROXY_WORKLOAD_INFO", "", "it names the one pod of a dedicated proxy"),
    heard(
        "RUST_LOG",
        "info",
        "the setting `log-level`, with `ztunnel` for `culvert` in modules; the access log needs `access` at `info`",
    ),
    setting("SECRET_TTL", "24h", "leaf-ttl"),
    heard("SERVICE_ACCOUNT", "", "this pod's service account, as POD_NAME"),
    heard(
        "TERMINATION_GRACE_PERIOD_SECONDS",
        "",
        "the setting `drain-deadline` unless CONNECTION_TERMINATION_DEADLINE is set: 5 s less, or 1 s less from 10 s down, at least 1 s",
    ),
    always("TLS12_ENABLED", "false", "TLS 1.3 is the only one between proxies"),
    unused(
        "TRANSPARENT_NETWORK_POLICIES",
        "false",
        "tunnels go to port 15008, which is what network policies have to allow",
    ),
    setting("TRUST_DOMAIN", "cluster.local", "trust-domain"),
    always("UNSTABLE_ENABLE_SOCKS5", "false", "there is no SOCKS5 entry: pods' traffic is captured"),
    heard("USER_TIMEOUT_ENABLED", "false", "TCP_USER_TIMEOUT of our sockets in pods: KEEPALIVE_TIME and all probes"),
    heard(
        "XDS_ADDRESS",
        "https://istiod.istio-system.svc:15012",
        "the setting `xds-address`; empty is none. Over discoveryAddress; `https://localhost:15012` outside Kubernetes",
    ),
    heard("XDS_HEADER_*", "", "a header of each request to the control plane; its value is never shown"),
    setting("XDS_ON_DEMAND", "false", "xds-on-demand"),
    setting("XDS_ROOT_CA", "./var/run/secrets/istio/root-cert.pem", "xds-roots"),
    heard("ZTUNNEL_CPU_LIMIT", "", "how many processors `N%` and 0 of ZTUNNEL_WORKER_THREADS count with"),
    unused("ZTUNNEL_RESOURCE_CPU_LIMIT", "", EACH_POD),
    unused("ZTUNNEL_RESOURCE_CPU_REQUEST", "", EACH_POD),
    heard(
        "ZTUNNEL_WORKER_THREADS",
        "",
        "the setting `data-threads`, also by proxyConfig's concurrency: a number, `N%` of the processors (`12.5%`, at most 100%), or 0 for one a processor. Without it each pod has a thread of its own",
    ),
];

/// The variable of a name.
pub fn find(name: &str) -> Option<&'static Variable> {
    ALL.iter().find(|variable| variable.name == name)
}

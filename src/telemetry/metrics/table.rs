//! Every metric, once. docs/reference/metrics.md is written from this table.

/// A counter's declaration, with the number of its labels.
#[derive(Clone, Copy, Debug)]
pub struct Counters<const N: usize>(pub(super) usize);

/// A gauge's declaration, with the number of its labels.
#[derive(Clone, Copy, Debug)]
pub struct Gauges<const N: usize>(pub(super) usize);

/// A histogram's declaration, with the number of its labels. All have the same [`BUCKETS`].
#[derive(Clone, Copy, Debug)]
pub struct Histograms<const N: usize>(pub(super) usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Upper bounds of the buckets of a histogram, in seconds: those of Istio's node proxy. What is longer is in a last one.
pub const BUCKETS: [f64; 6] = [0.0005, 0.001, 0.01, 0.1, 1.0, 5.0];

/// The labels of the `istio_dns_*` families, in the order that Istio's own have.
pub const DNS: [&str; 4] =
    ["request_query_type", "request_protocol", "source_canonical_service", "source_canonical_revision"];

/// The labels of `istio_on_demand_dns_total`, in the order that Istio's own have.
pub const ON_DEMAND: [&str; 9] = joined(&[&SOURCE, &["hostname"]]);

/// What a scraper and the reference page are told.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// As it is scraped; counters end in `_total`.
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// A sentence with its unit, without a full stop.
    pub help: &'static str,
}

/// The labels of the `istio_tcp_*` families, in the order that Istio's own have.
pub const TRAFFIC: [&str; 27] = joined(&[
    &["reporter"],
    &SOURCE,
    &[
        "destination_service",
        "destination_service_namespace",
        "destination_service_name",
        "destination_workload",
        "destination_canonical_service",
        "destination_canonical_revision",
        "destination_workload_namespace",
        "destination_principal",
        "destination_app",
        "destination_version",
        "destination_cluster",
        "request_protocol",
        "response_flags",
        "connection_security_policy",
        "source_region",
        "source_zone",
        "destination_region",
        "destination_zone",
    ],
]);

/// Who opened a connection.
const SOURCE: [&str; 8] = [
    "source_workload",
    "source_canonical_service",
    "source_canonical_revision",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
];

/// All of `parts`, one after the other; as many as `N`, or it is no constant.
const fn joined<const N: usize>(parts: &[&[&'static str]]) -> [&'static str; N] {
    let (mut all, mut at, mut part) = ([""; N], 0, 0);
    while part < parts.len() {
        let mut place = 0;
        while place < parts[part].len() {
            all[at] = parts[part][place];
            (at, place) = (at + 1, place + 1);
        }
        part += 1;
    }
    assert!(at == N, "too few labels");
    all
}

macro_rules! declare {
    ($($id:ident: $family:ident $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        #[expect(non_camel_case_types, clippy::upper_case_acronyms, reason = "the variants number the constants of the same name")]
        enum Index { $($id),* }
        $(
            #[doc = $help]
            pub const $id: $family<{ ($labels as &[&str]).len() }> = $family(Index::$id as usize);
        )*
        /// All of them.
        pub const ALL: &[Description] =
            &[$(Description { name: $name, kind: Kind::$kind, labels: $labels, help: $help }),*];
    };
}

declare! {
    TCP_OPENED: Counters Counter "istio_tcp_connections_opened_total" &TRAFFIC,
        "TCP connections opened";
    TCP_CLOSED: Counters Counter "istio_tcp_connections_closed_total" &TRAFFIC,
        "TCP connections closed, refused and failed ones among them";
    TCP_FAILED: Counters Counter "istio_tcp_connections_failed_total" &TRAFFIC,
        "TCP connections closed with a response flag";
    TCP_RECEIVED: Counters Counter "istio_tcp_received_bytes_total" &TRAFFIC,
        "Bytes from client to server";
    TCP_SENT: Counters Counter "istio_tcp_sent_bytes_total" &TRAFFIC,
        "Bytes from server to client";
    TCP_SOCKETS_OPEN: Gauges Gauge "istio_tcp_sockets_open" &["reporter"],
        "TCP connections that are open now";
    ON_DEMAND_DNS: Counters Counter "istio_on_demand_dns_total" &ON_DEMAND,
        "Connections that needed the address of a workload with a host name and no address; source_principal is unknown, since nothing is proven yet";
    XDS_TERMINATIONS: Counters Counter "istio_xds_connection_terminations_total" &["reason"],
        "Ends of the stream to the control plane; reason is ConnectionError (never opened), Error, Reconnect (cut) or Complete (closed by its server)";
    XDS_MESSAGES: Counters Counter "istio_xds_message_total" &["url"],
        "Responses of the control plane, by the URL of their type";
    XDS_MESSAGE_BYTES: Counters Counter "istio_xds_message_bytes_total" &["url"],
        "Bytes of the control plane's responses, by the URL of their type";
    DNS_REQUESTS: Counters Counter "istio_dns_requests_total" &DNS,
        "DNS requests of captured pods";
    DNS_UPSTREAM_REQUESTS: Counters Counter "istio_dns_upstream_requests_total" &DNS,
        "DNS requests forwarded to a name server";
    DNS_UPSTREAM_FAILURES: Counters Counter "istio_dns_upstream_failures_total" &DNS,
        "Forwarded DNS requests that no name server answered";
    DNS_UPSTREAM_DURATION: Histograms Histogram "istio_dns_upstream_request_duration_seconds" &DNS,
        "Seconds until a forwarded DNS request was answered or given up";
    CRL_REJECTIONS: Counters Counter "istio_crl_policy_rejections_total" &["reporter"],
        "TLS handshakes refused, and connections ended, because a certificate of the peer is revoked";
    BUILD: Gauges Gauge "istio_build" &["component", "tag"],
        "Always 1; the labels name the build";
    CERTIFICATE_EXPIRY: Gauges Gauge "culvert_certificate_expiry_seconds" &["kind", "identity"],
        "Seconds until a certificate expires; kind is leaf, root, signer or server, negative once it has expired";
    CERTIFICATE_RENEWALS: Counters Counter "culvert_certificate_renewals_total" &["result"],
        "Renewals of leaf certificates; result is ok or failed";
    CERTIFICATES_REVOKED: Counters Counter "culvert_certificates_revoked_total" &[],
        "Certificates of this node's own pods found on a revocation list; each is renewed at once";
    CA_RELOADS: Counters Counter "culvert_ca_reloads_total" &["what", "result"],
        "Changes of the CA's directory and of the file of tokens; what is ca or tokens, result is taken or refused";
    CA_REQUESTS: Counters Counter "culvert_ca_requests_total" &["result"],
        "Requests for certificates that were answered; result is issued or why not";
    CONNECTIONS: Gauges Gauge "culvert_connections" &["connection_security_policy", "reporter"],
        "Connections that are open now, by how they are secured";
    CRL_LISTS: Gauges Gauge "culvert_crl_lists" &["state"],
        "Revocation lists in force; state is current, or overdue once nextUpdate has passed";
    CRL_REVOKED: Gauges Gauge "culvert_crl_revoked_certificates" &[],
        "Certificates that the revocation lists in force name";
    CRL_UNREADABLE: Gauges Gauge "culvert_crl_unreadable" &[],
        "1 while there are revocation lists that cannot be read and none before them, so that every TLS handshake is refused";
    HANDSHAKES: Counters Counter "culvert_tls_handshakes_total" &["reporter", "kind"],
        "TLS handshakes of tunnels that succeeded; kind is full or resumed";
    RETRIES: Counters Counter "culvert_connection_retries_total" &["reason"],
        "Attempts at connections that failed and were followed by another, by why they failed";
    SET_ASIDE: Counters Counter "culvert_endpoints_set_aside_total" &["reason"],
        "Endpoints set aside for a while because they did not take a connection";
    DNS_CACHE_HITS: Counters Counter "culvert_dns_cache_hits_total" &[],
        "DNS requests answered from what a name server said before";
    DNS_UNANSWERED: Counters Counter "culvert_dns_unanswered_total" &["reason"],
        "DNS requests that got an error of our own or nothing; reason is malformed, limit, no_servers, unreachable or timeout";
    GRPC_REFUSALS: Counters Counter "culvert_grpc_refusals_total" &["reason"],
        "Connections and requests that the gRPC server refused; reason is caller (it has too many connections), full, handshake, silent (no token in time) or token";
    LOG_LINES_DROPPED: Counters Counter "culvert_log_lines_dropped_total" &[],
        "Log lines dropped because the output stalled";
    MANIFEST_ERRORS: Gauges Gauge "culvert_manifest_errors" &[],
        "Manifest documents that are broken now; the last good state of each is in force";
    POD_HELD_BACK: Counters Counter "culvert_pod_held_back_total" &["namespace", "pod"],
        "Times that a stream of a pod waited because bytes that no peer takes have filled the pod's window-budget";
    POD_OLDER_CONNECTIONS: Gauges Gauge "culvert_pod_older_connections" &["namespace", "pod"],
        "Connections of a pod that are older than its enrolment and go on outside the mesh";
    POD_UNCARRIED_PACKETS: Counters Counter "culvert_pod_uncarried_packets_total" &["namespace", "pod", "protocol", "direction"],
        "Packets of an enrolled pod that the mesh does not carry, such as UDP and SCTP";
    POD_VERIFICATIONS: Counters Counter "culvert_pod_verifications_total" &["result"],
        "Checks of a pod's rules, listeners and namespace; result is ok, healed or failed";
    POD_REFUSALS: Counters Counter "culvert_pod_namespaces_refused_total" &["reason"],
        "Network namespaces refused for a pod; reason is host or own (the node's or the daemon's), claimed (another pod has it) or address (it does not hold the pod's address), no_address (the pod has none yet)";
    PODS: Gauges Gauge "culvert_pods" &["state"],
        "Pods of this node by state";
    POLICIES_NOT_ENFORCED: Gauges Gauge "culvert_policies_not_enforced" &[],
        "Policies of which nothing can be enforced at this layer";
    POLICY_OBSERVATIONS: Counters Counter "culvert_policy_observations_total" &["policy", "source_principal", "action", "outcome", "decision"],
        "Connections on which a policy that decides nothing fired: AUDIT, and dry runs; outcome is audited, would_allow or would_deny, decision what became of the connection (allowed, refused)";
    REFUSALS: Counters Counter "culvert_refusals_total" &["reporter", "reason", "policy"],
        "Connections refused; policy is empty when none decided";
    TASK_PANICS: Counters Counter "culvert_task_panics_total" &[],
        "Panics of single tasks, caught; each is a bug to report";
    WORKLOAD_PROXIES: Gauges Gauge "workload_manager_active_proxy_count" &[],
        "Pods that this node serves now (unstable)";
    WORKLOAD_PROXIES_PENDING: Gauges Gauge "workload_manager_pending_proxy_count" &[],
        "Pods that this node should serve and does not yet; they are tried again (unstable)";
    WORKLOAD_PROXIES_STARTED: Counters Counter "workload_manager_proxies_started_total" &[],
        "Pods that this node has begun to serve (unstable)";
    WORKLOAD_PROXIES_STOPPED: Counters Counter "workload_manager_proxies_stopped_total" &[],
        "Pods that this node has ended to serve (unstable)";
    XDS_REFUSED: Counters Counter "culvert_xds_resources_refused_total" &["url"],
        "Resources of the control plane that could not be taken, by the URL of their type; what was held before stays";
    XDS_STATE_AGE: Gauges Gauge "culvert_xds_state_age_seconds" &[],
        "Seconds since the state was last known to be the control plane's; 0 while connected to it, -1 while there is no state";
    XDS_CLIENTS: Gauges Gauge "culvert_xds_clients" &[],
        "Streams of clients of the xDS server that are open now";
    XDS_NACKS: Counters Counter "culvert_xds_nacks_total" &["type"],
        "Responses that clients of the xDS server refused, or a part of them";
    XDS_RESOURCES: Gauges Gauge "culvert_xds_resources" &["type"],
        "Resources that the xDS server has now";
    XDS_RESPONSE_BYTES: Counters Counter "culvert_xds_response_bytes_total" &["type"],
        "Bytes of responses of the xDS server";
    XDS_RESPONSES: Counters Counter "culvert_xds_responses_total" &["type"],
        "Responses of the xDS server";
    PROCESS_MAX_FDS: Gauges Gauge "process_max_fds" &[],
        "Files that the process may have open";
    PROCESS_OPEN_FDS: Gauges Gauge "process_open_fds" &[],
        "Files that the process has open";
    PROCESS_RESIDENT_MEMORY: Gauges Gauge "process_resident_memory_bytes" &[],
        "Resident memory of the process in bytes";
    TOKIO_ALIVE_TASKS: Gauges Gauge "tokio_num_alive_tasks" &[],
        "Tasks of the pods' threads that have not ended";
    TOKIO_QUEUE_DEPTH: Gauges Gauge "tokio_global_queue_depth" &[],
        "Tasks that other threads have put into the queues of the pods' threads";
    TOKIO_WORKER_BUSY: Counters Counter "tokio_worker_total_busy_duration_seconds_total" &["worker"],
        "Whole seconds that a pods' thread was busy";
    TOKIO_WORKER_PARKS: Counters Counter "tokio_worker_park_count_total" &["worker"],
        "Times that a pods' thread went to sleep";
    TOKIO_WORKER_TURNS: Counters Counter "tokio_worker_park_unpark_count_total" &["worker"],
        "Times that a pods' thread went to sleep or woke";
    TOKIO_WORKERS: Gauges Gauge "tokio_num_workers" &[],
        "The pods' threads";
}

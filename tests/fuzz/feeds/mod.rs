//! What each target does with its input: it feeds it to a reader and asserts what must hold whatever came.
//!
//! The fuzzer and the test beside share these files, so that a target that does not compile, or fails on its own seeds,
//! is found without a fuzzer. A feed answers whether the reader took its input, so that what is asserted of it was asked.

pub mod authority;
pub mod baggage;
pub mod ca_answer;
pub mod csr;
pub mod dns_answer;
pub mod dns_query;
pub mod forwarded;
pub mod local_xds;
pub mod manifests;
pub mod pem_bundle;
pub mod proxy_header;
pub mod traceparent;
pub mod xds_address;
pub mod xds_policy;
pub mod xds_response;
pub mod zds_packet;

/// A target's name, and what it does with an input.
pub type Feed = (&'static str, fn(&[u8]) -> bool);

/// Every target.
pub const ALL: [Feed; 16] = [
    ("authority", authority::feed),
    ("baggage", baggage::feed),
    ("ca_answer", ca_answer::feed),
    ("csr", csr::feed),
    ("dns_answer", dns_answer::feed),
    ("dns_query", dns_query::feed),
    ("forwarded", forwarded::feed),
    ("local_xds", local_xds::feed),
    ("manifests", manifests::feed),
    ("pem_bundle", pem_bundle::feed),
    ("proxy_header", proxy_header::feed),
    ("traceparent", traceparent::feed),
    ("xds_address", xds_address::feed),
    ("xds_policy", xds_policy::feed),
    ("xds_response", xds_response::feed),
    ("zds_packet", zds_packet::feed),
];

//! What is asked.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use crate::model::spiffe::Identity;

/// A connection that has arrived at a workload.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who the peer proved to be; nobody for plaintext.
    pub peer: Option<&'a Identity>,
    /// The peer is of a federated trust domain: its namespace and service account are names of another mesh.
    pub foreign: bool,
    /// The peer's address, as the application would see it.
    pub source: IpAddr,
    /// Where the connection is going.
    pub destination: SocketAddr,
    /// When: policies may speak of the time of day.
    pub now: SystemTime,
}

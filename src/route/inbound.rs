//! Whether a connection that arrives at a pod is for that pod.

use std::net::{IpAddr, SocketAddr};

use crate::model::ports;

/// The answer for an arriving connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// To the application at this address.
    Here(SocketAddr),
    /// To a listener of ours: it would call itself. 503.
    Loop,
    /// Another address than the pod's. 400.
    NotOurs,
}

/// Judges the destination `to` of a connection that arrived at the pod with `addresses`.
///
/// It holds for plaintext as well: redirection also catches what is merely routed through the pod,
/// and the pod's policies and identity say nothing about other destinations.
pub fn inbound(to: SocketAddr, addresses: &[IpAddr]) -> Inbound {
    if !addresses.contains(&to.ip()) {
        Inbound::NotOurs
    } else if ports::is_ours(to.port()) {
        Inbound::Loop
    } else {
        Inbound::Here(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pods_own_addresses_and_never_our_ports() {
        let addresses = ["10.0.0.7".parse().unwrap(), "fd00::7".parse().unwrap()];
        for (to, expect) in [
            ("10.0.0.7:80", Inbound::Here("10.0.0.7:80".parse().unwrap())),
            ("[fd00::7]:80", Inbound::Here("[fd00::7]:80".parse().unwrap())),
            ("10.0.0.8:80", Inbound::NotOurs),
            ("127.0.0.1:80", Inbound::NotOurs),
            ("[fd00::8]:15008", Inbound::NotOurs),
            ("10.0.0.7:15001", Inbound::Loop),
            ("10.0.0.7:15006", Inbound::Loop),
            ("[fd00::7]:15008", Inbound::Loop),
        ] {
            assert_eq!(inbound(to.parse().unwrap(), &addresses), expect, "{to}");
        }
    }
}

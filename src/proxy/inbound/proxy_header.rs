//! The PROXY protocol's header, version 2 (haproxy's `proxy-protocol.txt`, section 2.2): whom a connection comes from and
//! whom it was meant for, told to a program that gets it from us.

use std::net::{IpAddr, SocketAddr};

use crate::model::spiffe::Identity;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command PROXY.
const VERSION: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;
/// The peer's SPIFFE identity in ASCII; Istio's number.
const IDENTITY: u8 = 0xd0;

/// The header for a connection of `client` to `destination` by a peer that has proven `identity`. Addresses of two
/// families fit no form of it and are left out, as the protocol has it. At most 16 + 36 + 3 + 2048 bytes: an identity
/// that was parsed is no longer than that.
pub fn header(client: SocketAddr, destination: SocketAddr, identity: &Identity) -> Vec<u8> {
    let (family, mut rest) = match (client.ip(), destination.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (TCP_V4, [from.octets(), to.octets()].concat()),
        (IpAddr::V6(from), IpAddr::V6(to)) => (TCP_V6, [from.octets(), to.octets()].concat()),
        _ => (UNSPECIFIED, Vec::new()),
    };
    if family != UNSPECIFIED {
        rest.extend(client.port().to_be_bytes());
        rest.extend(destination.port().to_be_bytes());
    }
    let identity = identity.to_string();
    // One that does not fit its length, which none does that was proven, is not told at all.
    if let Ok(length) = u16::try_from(identity.len())
        && usize::from(length) + rest.len() + 3 <= usize::from(u16::MAX)
    {
        rest.push(IDENTITY);
        rest.extend(length.to_be_bytes());
        rest.extend(identity.as_bytes());
    }
    let length = u16::try_from(rest.len()).unwrap_or_default();
    let mut header = Vec::with_capacity(16 + rest.len());
    header.extend(SIGNATURE);
    header.extend([VERSION, family]);
    header.extend(length.to_be_bytes());
    header.extend(rest);
    header
}

#[cfg(test)]
mod tests;

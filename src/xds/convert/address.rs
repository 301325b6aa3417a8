//! Addresses as bytes, 4 or 16 of them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::outcome::{Checked, Fault};

pub(super) fn encode(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// IPv4 written as IPv6 is IPv4: in that form addresses are looked up and compared.
pub(super) fn decode(bytes: &[u8]) -> Checked<IpAddr> {
    exact(bytes).map(|ip| ip.to_canonical())
}

/// With a prefix, which keeps what is written behind it; without one, a single address.
pub(super) fn decode_net(bytes: &[u8], length: Option<u32>) -> Checked<IpNet> {
    let ip = exact(bytes).map_err(|fault| fault.within("address"))?;
    let Some(length) = length else { return Ok(IpNet::from(ip.to_canonical())) };
    let net = u8::try_from(length).ok().and_then(|length| IpNet::new(ip, length).ok());
    match net.ok_or_else(|| Fault::new(length, "a prefix is at most 32 or 128 bits").within("length"))? {
        IpNet::V6(net) if net.prefix_len() >= 96 => match net.addr().to_ipv4_mapped() {
            Some(v4) => Ok(Ipv4Net::new(v4, net.prefix_len() - 96).map_or(IpNet::V6(net), IpNet::V4)),
            None => Ok(IpNet::V6(net)),
        },
        net => Ok(net),
    }
}

fn exact(bytes: &[u8]) -> Checked<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .map_err(|_| Fault::new(bytes, "an address has 4 or 16 bytes"))
}

//! The header that a program in a pod gets before the bytes of its peer. Only its writer is ours; a reader written here
//! after `proxy-protocol.txt` finds in it what the writer was told.
//!
//! The input: a byte whose bits say which of the two addresses are IPv6, both addresses and ports, and the text of an
//! identity.

use std::net::{IpAddr, SocketAddr};

use culvert::model::spiffe::Identity;
use culvert::proxy::fuzzing::proxy_header;

/// Istio's number for the peer's identity.
const IDENTITY: u8 = 0xd0;

pub fn feed(data: &[u8]) -> bool {
    let Some((&[families], rest)) = data.split_first_chunk() else { return false };
    let Some((client, rest)) = address(families & 1 == 1, rest) else { return false };
    let Some((destination, rest)) = address(families & 2 == 2, rest) else { return false };
    let Ok(Ok(identity)) = std::str::from_utf8(rest).map(str::parse::<Identity>) else { return false };

    let header = proxy_header(client, destination, &identity);
    let (found, tlv) = read(&header);
    let told = (client.is_ipv4() == destination.is_ipv4()).then_some((client, destination));
    assert_eq!(found, told);
    assert_eq!(tlv, [(IDENTITY, identity.to_string().into_bytes())]);
    true
}

fn address(v6: bool, data: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (ip, rest): (IpAddr, _) = if v6 {
        let (octets, rest) = data.split_first_chunk::<16>()?;
        ((*octets).into(), rest)
    } else {
        let (octets, rest) = data.split_first_chunk::<4>()?;
        ((*octets).into(), rest)
    };
    let (port, rest) = rest.split_first_chunk()?;
    Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), rest))
}

/// Addresses, and what stands behind them by its number.
type Read = (Option<(SocketAddr, SocketAddr)>, Vec<(u8, Vec<u8>)>);

/// Sections 2.2 and 2.2.1 to 2.2.8 of `proxy-protocol.txt`, for streams.
fn read(header: &[u8]) -> Read {
    let rest = header.strip_prefix(b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a").expect("the signature");
    let [version, family, high, low, body @ ..] = rest else { panic!("sixteen bytes") };
    assert_eq!((*version, body.len()), (0x21, usize::from(*high) << 8 | usize::from(*low)));
    let octets = match family {
        0x00 => 0,
        0x11 => 4,
        0x21 => 16,
        other => panic!("family and protocol {other:#x}"),
    };
    let at = |from: usize, port: usize| {
        let ip = &body[from..from + octets];
        let ip = <[u8; 4]>::try_from(ip).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(ip).map(IpAddr::from));
        SocketAddr::new(ip.expect("4 or 16 bytes"), u16::from(body[port]) << 8 | u16::from(body[port + 1]))
    };
    let addresses = (octets > 0).then(|| (at(0, 2 * octets), at(octets, 2 * octets + 2)));
    let mut rest = &body[if octets > 0 { 2 * octets + 4 } else { 0 }..];
    let mut tlv = Vec::new();
    while let [kind, high, low, more @ ..] = rest {
        let (value, after) = more.split_at(usize::from(*high) << 8 | usize::from(*low));
        tlv.push((*kind, value.to_vec()));
        rest = after;
    }
    assert!(rest.is_empty());
    (addresses, tlv)
}

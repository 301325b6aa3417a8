//! Ethernet, IP and TCP headers as far as a capture needs them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A TCP segment inside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub sequence: u32,
    pub syn: bool,
    pub payload: &'a [u8],
}

const ETHERNET: usize = 14;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;
const SYN: u8 = 0x02;

/// The TCP segment in an Ethernet frame. None for anything else, for later fragments, and for
/// IPv6 with extension headers; the bytes of such frames are still searched as they are.
pub(super) fn segment(frame: &[u8]) -> Option<Segment<'_>> {
    let packet = frame.get(ETHERNET..)?;
    match *frame.get(12..ETHERNET)?.first_chunk()? {
        ETHERTYPE_IPV4 => ipv4(packet),
        ETHERTYPE_IPV6 => ipv6(packet),
        _ => None,
    }
}

/// RFC 791, section 3.1.
fn ipv4(packet: &[u8]) -> Option<Segment<'_>> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes(*packet.get(2..)?.first_chunk()?));
    let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?) & 0x1fff;
    if packet[0] >> 4 != 4 || header < 20 || fragment != 0 || *packet.get(9)? != TCP {
        return None;
    }
    let source = Ipv4Addr::from(*packet.get(12..)?.first_chunk::<4>()?);
    let destination = Ipv4Addr::from(*packet.get(16..)?.first_chunk::<4>()?);
    // BIG TCP leaves the length zero; short frames are padded past it.
    let end = if total == 0 { packet.len() } else { total.min(packet.len()) };
    tcp(source.into(), destination.into(), packet.get(header..end)?)
}

/// RFC 8200, section 3.
fn ipv6(packet: &[u8]) -> Option<Segment<'_>> {
    let length = usize::from(u16::from_be_bytes(*packet.get(4..)?.first_chunk()?));
    if packet[0] >> 4 != 6 || *packet.get(6)? != TCP {
        return None;
    }
    let source = Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?);
    let destination = Ipv6Addr::from(*packet.get(24..)?.first_chunk::<16>()?);
    let end = if length == 0 { packet.len() } else { (40 + length).min(packet.len()) };
    tcp(source.into(), destination.into(), packet.get(40..end)?)
}

/// RFC 9293, section 3.1.
fn tcp(source: IpAddr, destination: IpAddr, bytes: &[u8]) -> Option<Segment<'_>> {
    let port = |at: usize| Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
    let header = usize::from(bytes.get(12)? >> 4) * 4;
    if header < 20 {
        return None;
    }
    Some(Segment {
        source: SocketAddr::new(source, port(0)?),
        destination: SocketAddr::new(destination, port(2)?),
        sequence: u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?),
        syn: bytes.get(13)? & SYN != 0,
        payload: bytes.get(header..)?,
    })
}

#[cfg(test)]
pub(super) mod tests;

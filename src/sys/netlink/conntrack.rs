//! Connection tracking: where a datagram was going before it was redirected (linux/netfilter/nfnetlink_conntrack.h).
//!
//! A redirected TCP connection tells its destination by `SO_ORIGINAL_DST`; UDP has no such option, and the ancillary
//! `IP_RECVORIGDSTADDR` shows the address after translation. The table of connections has it, under both ends.

use std::net::{IpAddr, SocketAddr};

use super::attribute::{Attributes, attribute};
use super::netfilter::{GENERIC_HEADER, NLM_F_ACK, NLM_F_REQUEST, write};
use super::socket::{Message, NetlinkError, NetlinkSocket};

/// `NFNL_SUBSYS_CTNETLINK` and `IPCTNL_MSG_CT_GET`.
const GET: u16 = (1 << 8) | 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const UDP: u8 = 17;
/// `enum ctattr_type`, `ctattr_tuple`, `ctattr_ip`, `ctattr_l4proto`.
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const V4_SOURCE: u16 = 1;
const V4_DESTINATION: u16 = 2;
const V6_SOURCE: u16 = 3;
const V6_DESTINATION: u16 = 4;
const NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;

/// Where the datagrams that came to `local` from `client` were sent by it, in the namespace of a [`NetlinkSocket`] of
/// `Protocol::Netfilter`. `None` when tracking does not know them. Both addresses are of one family.
///
/// # Errors
/// The kernel has no `CONFIG_NF_CT_NETLINK`, or the process no CAP_NET_ADMIN there.
pub fn datagram_destination(
    socket: &mut NetlinkSocket,
    local: SocketAddr,
    client: SocketAddr,
) -> Result<Option<SocketAddr>, NetlinkError> {
    const CALL: &str = "looking a connection up";
    let sequence = socket.sequence();
    let mut request = Vec::with_capacity(128);
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    // The answers go from here to the client: that is the reply's direction.
    let wanted = Attributes::new().nested(TUPLE_REPLY, &tuple(local, client));
    write(&mut request, GET, NLM_F_REQUEST | NLM_F_ACK, sequence, [family, 0, 0, 0], wanted.as_bytes());
    match socket.exchange(CALL, &request, sequence, sequence) {
        Ok(answers) => Ok(answers.iter().find_map(destination)),
        Err(error) if error.errno() == Some(nix::libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn tuple(source: SocketAddr, destination: SocketAddr) -> Attributes {
    let addresses = match (source.ip(), destination.ip()) {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Attributes::new().bytes(V6_SOURCE, &source.octets()).bytes(V6_DESTINATION, &destination.octets())
        }
        (source, destination) => {
            Attributes::new().bytes(V4_SOURCE, &v4(source)).bytes(V4_DESTINATION, &v4(destination))
        }
    };
    let protocol = Attributes::new()
        .bytes(NUMBER, &[UDP])
        .bytes(SOURCE_PORT, &source.port().to_be_bytes())
        .bytes(DESTINATION_PORT, &destination.port().to_be_bytes());
    Attributes::new().nested(TUPLE_IP, &addresses).nested(TUPLE_PROTOCOL, &protocol)
}

/// Families that do not fit each other name nothing that the kernel has.
fn v4(ip: IpAddr) -> [u8; 4] {
    match ip {
        IpAddr::V4(ip) => ip.octets(),
        IpAddr::V6(_) => [0; 4],
    }
}

fn destination(answer: &Message) -> Option<SocketAddr> {
    let attributes = answer.payload.get(GENERIC_HEADER..)?;
    let original = attribute(attributes, TUPLE_ORIGINAL)?;
    let addresses = attribute(original, TUPLE_IP)?;
    let ip = match (attribute(addresses, V4_DESTINATION), attribute(addresses, V6_DESTINATION)) {
        (Some(v4), _) => IpAddr::from(<[u8; 4]>::try_from(v4).ok()?),
        (None, Some(v6)) => IpAddr::from(<[u8; 16]>::try_from(v6).ok()?),
        (None, None) => return None,
    };
    let port = attribute(attribute(original, TUPLE_PROTOCOL)?, DESTINATION_PORT)?;
    Some(SocketAddr::new(ip, u16::from_be_bytes(port.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(client: SocketAddr, server: SocketAddr) -> Message {
        let mut payload = vec![AF_INET, 0, 0, 0];
        payload.extend(Attributes::new().nested(TUPLE_ORIGINAL, &tuple(client, server)).as_bytes());
        Message { kind: 1 << 8, flags: 0, sequence: 1, payload }
    }

    #[test]
    fn the_destination_is_read_in_both_families() {
        for (client, server) in [("10.0.0.2:4000", "10.96.0.10:53"), ("[fd00::2]:4000", "[fd00::a]:53")] {
            let server = server.parse().unwrap();
            assert_eq!(destination(&answer(client.parse().unwrap(), server)), Some(server));
        }
    }

    proptest! {
        #[test]
        fn any_bytes(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            destination(&Message { kind: 1 << 8, flags: 0, sequence: 1, payload });
        }
    }
}

//! The addresses of a namespace's interfaces.

use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};

use super::rtnetlink;
use super::socket::{NetlinkError, NetlinkSocket};

/// Every address of every interface in the socket's namespace, loopback's among them.
pub fn addresses(socket: &mut NetlinkSocket) -> Result<Vec<IpAddr>, NetlinkError> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let answers = rtnetlink::list(socket, "listing addresses", &request)?;
    Ok(answers.iter().filter_map(address).collect())
}

fn address(answer: &RouteNetlinkMessage) -> Option<IpAddr> {
    let RouteNetlinkMessage::NewAddress(message) = answer else { return None };
    // On a point-to-point link `Address` is the other end's, and `Local` is ours.
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(address) => found = found.or(Some(*address)),
            AddressAttribute::Local(address) => return Some(*address),
            _ => {}
        }
    }
    found
}

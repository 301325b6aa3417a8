//! Routes that deliver everything in a table to this namespace's own sockets.

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::rtnetlink;
use super::socket::{NetlinkError, NetlinkSocket};

/// `ip route replace local default dev INTERFACE table TABLE protocol PROTOCOL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalDefault {
    /// The index of the interface; loopback is 1 in every namespace (`LOOPBACK_IFINDEX`).
    pub interface: u32,
    /// Who made it (`rtm_protocol`).
    pub protocol: u8,
    /// Below 256.
    pub table: u8,
    pub v6: bool,
}

/// Adds the route, or replaces the default route of its table.
pub fn add_local_default(socket: &mut NetlinkSocket, route: LocalDefault) -> Result<(), NetlinkError> {
    let message = RouteNetlinkMessage::NewRoute(message(route));
    rtnetlink::change(socket, "adding a local route", message, NLM_F_CREATE | NLM_F_REPLACE)
}

/// Removes the route; absence is success. True when it was there.
pub fn remove_local_default(socket: &mut NetlinkSocket, route: LocalDefault) -> Result<bool, NetlinkError> {
    let message = RouteNetlinkMessage::DelRoute(message(route));
    match rtnetlink::change(socket, "removing a local route", message, 0) {
        Ok(()) => Ok(true),
        // ESRCH: no such route. ENOENT: no such table. EAFNOSUPPORT: no such family.
        Err(error) if matches!(error.errno(), Some(nix::libc::ESRCH | nix::libc::ENOENT | nix::libc::EAFNOSUPPORT)) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The local default routes of one family, in all tables.
pub fn local_defaults(socket: &mut NetlinkSocket, v6: bool) -> Result<Vec<LocalDefault>, NetlinkError> {
    let mut request = RouteMessage::default();
    request.header.address_family = family(v6);
    let answers = rtnetlink::list(socket, "listing routes", &RouteNetlinkMessage::GetRoute(request))?;
    Ok(answers.iter().filter_map(|answer| local_default(answer, v6)).collect())
}

fn local_default(answer: &RouteNetlinkMessage, v6: bool) -> Option<LocalDefault> {
    let RouteNetlinkMessage::NewRoute(message) = answer else { return None };
    let header = &message.header;
    let matches = header.address_family == family(v6)
        && header.kind == RouteType::Local
        && header.destination_prefix_length == 0
        && header.source_prefix_length == 0;
    matches.then_some(())?;
    let (mut interface, mut table) = (None, header.table);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Table(value) => table = u8::try_from(*value).ok()?,
            _ => {}
        }
    }
    Some(LocalDefault { interface: interface?, protocol: header.protocol.into(), table, v6 })
}

fn message(route: LocalDefault) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.v6);
    message.header.table = route.table;
    message.header.protocol = RouteProtocol::from(route.protocol);
    // IPv6 has no scopes and ignores this.
    message.header.scope = RouteScope::Host;
    message.header.kind = RouteType::Local;
    message.attributes = vec![RouteAttribute::Oif(route.interface)];
    message
}

fn family(v6: bool) -> AddressFamily {
    if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet }
}

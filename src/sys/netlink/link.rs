//! Links of one namespace, with their addresses and routes: what a laboratory is built from.
//!
//! The rules and routes of a pod that is enrolled are laid elsewhere; nothing here is used on a
//! namespace that culvert did not make.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::{Message, NetlinkError, NetlinkSocket, Protocol};
use super::wire::perform;
use crate::sys::netns::{Netns, NetnsError};

/// The links of one namespace.
pub struct Links {
    socket: NetlinkSocket,
    /// Where the namespace was opened; for messages.
    netns: PathBuf,
}

/// One end of a pair of virtual Ethernet links.
#[derive(Clone, Copy, Debug)]
pub struct VethEnd<'a> {
    pub name: &'a str,
    pub netns: &'a Netns,
}

/// A route in the main table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRoute<'a> {
    pub to: IpNet,
    /// The next hop, taken as reachable on `link` whatever its address is (`onlink`). None when
    /// `to` is on the link itself.
    pub via: Option<IpAddr>,
    pub link: &'a str,
    /// The address that the namespace's own connections along this route start from.
    pub source: Option<IpAddr>,
}

/// A failed change of a link, an address or a route.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The name cannot be a link's. Us, or the caller's names are too long.
    #[error("'{name}' cannot name a link: use 1 to 15 bytes without '/', ':', a blank or a control character")]
    Name { name: String },
    /// The namespace cannot be entered. Configuration or kernel; see the source.
    #[error("cannot reach the links of {}", netns.display())]
    Netns {
        netns: PathBuf,
        #[source]
        source: NetnsError,
    },
    /// The kernel refused: no CAP_NET_ADMIN, the name is taken, or the kind is missing (veth and
    /// bridge are modules). Configuration or kernel.
    #[error("cannot change {what} in {}: run as root on a kernel with veth and bridge", netns.display())]
    Refused {
        what: String,
        netns: PathBuf,
        #[source]
        source: NetlinkError,
    },
}

/// `RTM_NEWLINK`, the answer to a question about links (linux/rtnetlink.h).
const RTM_NEWLINK: u16 = 16;
/// `struct ifinfomsg`, ahead of a link's attributes.
const IFINFOMSG: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const LOOKING: &str = "looking a link up";
/// `IFNAMSIZ` with its closing zero taken off.
const NAME_MAX: usize = 15;

// === impl Links ===

impl Links {
    /// Opens the door to the links of `netns`.
    pub fn open(netns: &Netns) -> Result<Self, LinkError> {
        let path = netns.path().to_owned();
        let socket = netns
            .run(|| NetlinkSocket::open(Protocol::Route))
            .map_err(|source| LinkError::Netns { netns: path.clone(), source })?
            .map_err(|source| LinkError::Refused { what: "links".into(), netns: path.clone(), source })?;
        Ok(Self { socket, netns: path })
    }

    /// Makes a pair: the end `name` here, the other end straight in `peer.netns`. Both are down.
    /// `mtu` is in bytes, without the Ethernet header.
    pub fn add_veth(&mut self, name: &str, peer: VethEnd<'_>, mtu: u32) -> Result<(), LinkError> {
        checked(name)?;
        checked(peer.name)?;
        let body = veth(name, peer.name, peer.netns.as_fd().as_raw_fd(), mtu);
        self.perform(format!("the pair {name}, {}", peer.name), "making a pair", body, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a bridge, down, without spanning tree.
    pub fn add_bridge(&mut self, name: &str, mtu: u32) -> Result<(), LinkError> {
        checked(name)?;
        let mut link = LinkMessage::default();
        link.attributes = vec![
            LinkAttribute::IfName(name.into()),
            LinkAttribute::Mtu(mtu),
            LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
        ];
        let body = RouteNetlinkMessage::NewLink(link);
        self.perform(format!("the bridge {name}"), "making a bridge", body, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes `link` a port of `bridge`.
    pub fn enslave(&mut self, link: &str, bridge: &str) -> Result<(), LinkError> {
        let controller = self.index(bridge)?;
        let mut message = self.existing(link)?;
        message.attributes = vec![LinkAttribute::Controller(controller)];
        let body = RouteNetlinkMessage::SetLink(message);
        self.perform(format!("the bridge of {link}"), "adding a port", body, 0)
    }

    pub fn set_up(&mut self, link: &str) -> Result<(), LinkError> {
        self.set_state(link, LinkFlags::Up)
    }

    pub fn set_down(&mut self, link: &str) -> Result<(), LinkError> {
        self.set_state(link, LinkFlags::empty())
    }

    /// Removes `link`, and with it the other end of a pair.
    pub fn delete(&mut self, link: &str) -> Result<(), LinkError> {
        let body = RouteNetlinkMessage::DelLink(self.existing(link)?);
        self.perform(format!("the link {link}"), "deleting a link", body, 0)
    }

    /// Gives `link` an address that works at once: no duplicate address detection in IPv6.
    pub fn add_address(&mut self, link: &str, address: IpNet) -> Result<(), LinkError> {
        let body = RouteNetlinkMessage::NewAddress(address_message(self.index(link)?, address));
        self.perform(format!("the address {address} of {link}"), "adding an address", body, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Adds a route to the main table. Its link must be up.
    pub fn add_route(&mut self, route: &LinkRoute<'_>) -> Result<(), LinkError> {
        let body = RouteNetlinkMessage::NewRoute(route_message(self.index(route.link)?, route));
        let what = format!("the route to {} on {}", route.to, route.link);
        self.perform(what, "adding a route", body, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// The index of `link` in its namespace.
    pub fn index(&mut self, link: &str) -> Result<u32, LinkError> {
        let answer = self.look_up(link)?;
        index_in(&answer).ok_or_else(|| self.garbled(link))
    }

    fn look_up(&mut self, link: &str) -> Result<Message, LinkError> {
        checked(link)?;
        let mut question = LinkMessage::default();
        question.attributes = vec![LinkAttribute::IfName(link.into())];
        let answers =
            perform(&mut self.socket, LOOKING, RouteNetlinkMessage::GetLink(question), 0).map_err(|source| {
                LinkError::Refused { what: format!("the link {link}"), netns: self.netns.clone(), source }
            })?;
        let answer = answers.into_iter().find(|answer| answer.kind == RTM_NEWLINK);
        answer.ok_or_else(|| self.garbled(link))
    }

    fn garbled(&self, link: &str) -> LinkError {
        let source = NetlinkError::Garbled { call: LOOKING };
        LinkError::Refused { what: format!("the link {link}"), netns: self.netns.clone(), source }
    }

    /// True when `link` is up, has a carrier and passes frames (`IFF_RUNNING`, RFC 2863).
    pub fn is_running(&mut self, link: &str) -> Result<bool, LinkError> {
        let flags = flags_in(&self.look_up(link)?);
        Ok(flags.is_some_and(|flags| LinkFlags::from_bits_retain(flags).contains(LinkFlags::Running)))
    }

    /// Bytes that a frame of `link` carries, without its Ethernet header.
    pub fn mtu(&mut self, link: &str) -> Result<u32, LinkError> {
        let answer = self.look_up(link)?;
        let value = attribute_in(&answer, IFLA_MTU).and_then(|value| value.first_chunk());
        value.map(|value| u32::from_ne_bytes(*value)).ok_or_else(|| self.garbled(link))
    }

    /// The names of all links, sorted.
    pub fn names(&mut self) -> Result<Vec<String>, LinkError> {
        let body = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = perform(&mut self.socket, "listing links", body, NLM_F_DUMP).map_err(|source| {
            LinkError::Refused { what: "the list of links".into(), netns: self.netns.clone(), source }
        })?;
        let mut names: Vec<String> =
            answers.iter().filter(|answer| answer.kind == RTM_NEWLINK).filter_map(name_in).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn set_state(&mut self, link: &str, state: LinkFlags) -> Result<(), LinkError> {
        let mut message = self.existing(link)?;
        message.header.flags = state;
        message.header.change_mask = LinkFlags::Up;
        let body = RouteNetlinkMessage::SetLink(message);
        self.perform(format!("the state of {link}"), "setting a link's state", body, 0)
    }

    fn existing(&mut self, link: &str) -> Result<LinkMessage, LinkError> {
        let mut message = LinkMessage::default();
        message.header.index = self.index(link)?;
        Ok(message)
    }

    fn perform(
        &mut self,
        what: String,
        call: &'static str,
        body: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), LinkError> {
        match perform(&mut self.socket, call, body, flags) {
            Ok(_) => Ok(()),
            Err(source) => Err(LinkError::Refused { what, netns: self.netns.clone(), source }),
        }
    }
}

fn checked(name: &str) -> Result<(), LinkError> {
    let length = (1..=NAME_MAX).contains(&name.len());
    let spelled = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
    if length && spelled && name != "." && name != ".." { Ok(()) } else { Err(LinkError::Name { name: name.into() }) }
}

fn veth(name: &str, peer_name: &str, peer_netns: RawFd, mtu: u32) -> RouteNetlinkMessage {
    let mut peer = LinkMessage::default();
    peer.attributes =
        vec![LinkAttribute::IfName(peer_name.into()), LinkAttribute::Mtu(mtu), LinkAttribute::NetNsFd(peer_netns)];
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    RouteNetlinkMessage::NewLink(link)
}

fn address_message(index: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = index;
    if address.addr().is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    } else if is_link_local(address.addr()) {
        // A gateway's address, the same on many links: never a source towards elsewhere.
        message.header.scope = AddressScope::Link;
    }
    message.attributes = vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    message
}

fn route_message(index: u32, route: &LinkRoute<'_>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(route.to.addr()),
        destination_prefix_length: route.to.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Static,
        scope: if route.via.is_some() { RouteScope::Universe } else { RouteScope::Link },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes.push(RouteAttribute::Oif(index));
    if route.to.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::from(route.to.network())));
    }
    if let Some(via) = route.via {
        message.header.flags |= RouteFlags::Onlink;
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::from(via)));
    }
    if let Some(source) = route.source {
        message.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(source)));
    }
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => Ipv4Addr::is_link_local(&v4),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// `ifi_index`, at offset 4 of `struct ifinfomsg`.
fn index_in(answer: &Message) -> Option<u32> {
    Some(u32::from_ne_bytes(*answer.payload.get(4..8)?.first_chunk()?))
}

/// `ifi_flags`, at offset 8 of `struct ifinfomsg`.
fn flags_in(answer: &Message) -> Option<u32> {
    Some(u32::from_ne_bytes(*answer.payload.get(8..12)?.first_chunk()?))
}

fn name_in(answer: &Message) -> Option<String> {
    let value = attribute_in(answer, IFLA_IFNAME)?;
    Some(String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned())
}

/// The value of one attribute of a link. Read here rather than by the crate's parser: that one refuses a
/// whole link for one attribute it finds odd, and a link that is not listed is a link that leaks.
fn attribute_in(answer: &Message, wanted: u16) -> Option<&[u8]> {
    let mut rest = answer.payload.get(IFINFOMSG..)?;
    loop {
        let length = u16::from_ne_bytes(*rest.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*rest.get(2..4)?.first_chunk()?);
        let value = rest.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests;

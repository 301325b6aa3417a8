//! The TCP connections of a namespace, and their end by order (`man 7 sock_diag`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::netlink::{NetlinkError, NetlinkSocket};

/// `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP: u8 = 6;
/// `TCP_ESTABLISHED`, `TCP_SYN_SENT` and `TCP_CLOSE_WAIT` of net/tcp_states.h, as a mask: what
/// still carries bytes, or is about to.
const CARRYING: u32 = (1 << 1) | (1 << 2) | (1 << 8);

/// One connection as the kernel names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Tells this socket from a later one with the same addresses.
    pub cookie: u64,
    /// The inode of the socket; 0 when no process holds it.
    pub inode: u32,
    pub local: SocketAddr,
    /// Its packet mark; 0 is none. Told to who has CAP_NET_ADMIN (Linux 4.9).
    pub mark: u32,
    pub remote: SocketAddr,
    pub uid: u32,
    /// `struct inet_diag_sockid` as it came, to name the socket in an order.
    id: [u8; ID],
    family: u8,
}

const ID: usize = 48;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
/// `INET_DIAG_MARK` of linux/inet_diag.h.
const MARK: u16 = 15;
/// `struct rtattr`: length and kind, each of two bytes.
const ATTRIBUTE: usize = 4;

/// The connections in the socket's namespace that carry bytes, both families. Those of a pod with
/// itself are left out: rules do not touch them.
pub fn connections(socket: &mut NetlinkSocket) -> Result<Vec<Connection>, NetlinkError> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let sequence = socket.sequence();
        let request = request(BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, sequence, family, CARRYING, &[0; ID]);
        let answers = socket.exchange("listing connections", &request, sequence, sequence)?;
        found.extend(answers.iter().filter_map(|answer| parse(&answer.payload)).filter(|c| !c.is_own()));
    }
    Ok(found)
}

/// Resets the connection: its process reads ECONNABORTED, its peer a RST. False when it had ended.
/// Needs `CONFIG_INET_DIAG_DESTROY` (Linux 4.5) and CAP_NET_ADMIN.
pub fn destroy(socket: &mut NetlinkSocket, connection: &Connection) -> Result<bool, NetlinkError> {
    let sequence = socket.sequence();
    let flags = NLM_F_REQUEST | NLM_F_ACK;
    let request = request(DESTROY, flags, sequence, connection.family, CARRYING, &connection.id);
    match socket.exchange("resetting a connection", &request, sequence, sequence) {
        Ok(_) => Ok(true),
        // ESTALE: another socket has the addresses now.
        Err(error) if matches!(error.errno(), Some(nix::libc::ENOENT | nix::libc::ESTALE)) => Ok(false),
        Err(error) => Err(error),
    }
}

// === impl Connection ===

impl Connection {
    /// Both ends in this namespace.
    fn is_own(&self) -> bool {
        self.remote.ip().is_loopback() || self.remote.ip() == self.local.ip()
    }
}

/// `struct inet_diag_req_v2` behind the netlink header.
fn request(kind: u16, flags: u16, sequence: u32, family: u8, states: u32, id: &[u8; ID]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(72);
    bytes.extend_from_slice(&72u32.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(&[family, TCP, 0, 0]);
    bytes.extend_from_slice(&states.to_ne_bytes());
    bytes.extend_from_slice(id);
    bytes
}

/// Reads one `struct inet_diag_msg`. `None` when it is short or of another family.
fn parse(payload: &[u8]) -> Option<Connection> {
    let message = payload.get(..MESSAGE)?;
    let family = message[0];
    let id: [u8; ID] = message[4..4 + ID].try_into().ok()?;
    let port = |at: usize| u16::from_be_bytes([id[at], id[at + 1]]);
    let word = |at: usize| Some(u32::from_ne_bytes(*message.get(at..)?.first_chunk()?));
    let cookie = u64::from(word(4 + 40)?) | (u64::from(word(4 + 44)?) << 32);
    Some(Connection {
        cookie,
        inode: word(68)?,
        local: SocketAddr::new(ip(family, &id[4..20])?, port(0)),
        mark: mark(&payload[MESSAGE..]).unwrap_or(0),
        remote: SocketAddr::new(ip(family, &id[20..36])?, port(2)),
        uid: word(64)?,
        id,
        family,
    })
}

/// The packet mark among the attributes behind a message.
fn mark(mut attributes: &[u8]) -> Option<u32> {
    loop {
        let half = |at: usize| Some(u16::from_ne_bytes(*attributes.get(at..)?.first_chunk()?));
        let (length, kind) = (usize::from(half(0)?), half(2)?);
        let value = attributes.get(ATTRIBUTE..length)?;
        if kind == MARK {
            return value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        }
        // Each begins at a multiple of four.
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// IPv4 on an IPv6 socket is shown as IPv4.
fn ip(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        AF_INET6 => Some(IpAddr::from(Ipv6Addr::from(*bytes.first_chunk::<16>()?)).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

//! nfnetlink: transactions and dumps of nf_tables (linux/netfilter/nfnetlink.h).

use std::io;

use super::attribute::Attributes;
use super::socket::{Message, NetlinkError, NetlinkSocket};

/// `NFPROTO_INET`: the family that holds IPv4 and IPv6.
const FAMILY_INET: u8 = 1;
const SUBSYSTEM_NFTABLES: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// `struct nfgenmsg`: family, version, resource.
pub(super) const GENERIC_HEADER: usize = 4;

pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP: u16 = 0x300;
/// Create, and refuse nothing that is there already.
const NLM_F_CREATE: u16 = 0x400;
/// At the end of the list (`NLM_F_APPEND`).
const NLM_F_APPEND: u16 = 0x800;
/// How often a dump that another writer disturbed is asked for again.
const DUMP_ATTEMPTS: usize = 8;

/// What one message does, with nf_tables' own numbers (`enum nf_tables_msg_types`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `NFT_MSG_NEWCHAIN`.
    AddChain,
    /// `NFT_MSG_NEWRULE`, at the end of its chain.
    AddRule,
    /// `NFT_MSG_NEWTABLE`.
    AddTable,
    /// `NFT_MSG_DELRULE`; without a handle, every rule of the chain or table that is named.
    DeleteRules,
    /// `NFT_MSG_DELTABLE`.
    DeleteTable,
}

/// What a dump lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    Chains,
    Rules,
    Tables,
}

/// One transaction: the kernel performs all of it or nothing.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    messages: Vec<(Operation, Attributes)>,
}

// === impl Transaction ===

impl Transaction {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, operation: Operation, attributes: Attributes) {
        self.messages.push((operation, attributes));
    }

    /// Commits the transaction in the socket's namespace. An error's `index` counts from 1, as
    /// the messages do; 0 is the commit itself.
    pub fn commit(&self, socket: &mut NetlinkSocket, call: &'static str) -> Result<(), NetlinkError> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let mut request = Vec::new();
        let resource = SUBSYSTEM_NFTABLES.to_be_bytes();
        let first = socket.sequence();
        write(&mut request, BATCH_BEGIN, NLM_F_REQUEST, first, [0, 0, resource[0], resource[1]], &[]);
        let mut last = first;
        for (at, (operation, attributes)) in self.messages.iter().enumerate() {
            last = socket.sequence();
            // The end of a batch is acknowledged by Linux 6.10 and newer only, so the last real
            // message asks. Failures are reported for every message, asked or not.
            let ack = if at + 1 == self.messages.len() { NLM_F_ACK } else { 0 };
            let (kind, flags) = operation.numbers();
            let kind = (SUBSYSTEM_NFTABLES << 8) | kind;
            let flags = NLM_F_REQUEST | ack | flags;
            write(&mut request, kind, flags, last, [FAMILY_INET, 0, 0, 0], attributes.as_bytes());
        }
        let end = socket.sequence();
        write(&mut request, BATCH_END, NLM_F_REQUEST, end, [0, 0, resource[0], resource[1]], &[]);
        match socket.exchange(call, &request, first, last) {
            Ok(_) => Ok(()),
            Err(NetlinkError::Refused { call, index, source }) => {
                // The exchange counts the opening of the batch as its first message.
                Err(NetlinkError::Refused { call, index: index.saturating_sub(1), source })
            }
            Err(error) => Err(error),
        }
    }
}

// === impl Operation ===

impl Operation {
    const fn numbers(self) -> (u16, u16) {
        match self {
            Self::AddChain => (3, NLM_F_CREATE),
            Self::AddRule => (6, NLM_F_CREATE | NLM_F_APPEND),
            Self::AddTable => (0, NLM_F_CREATE),
            Self::DeleteRules => (8, 0),
            Self::DeleteTable => (2, 0),
        }
    }
}

/// Lists tables, chains or rules of family inet as the attributes of each. `filter` may name the
/// table; kernels before 4.20 ignore it for chains, so the reader looks again.
pub fn list(socket: &mut NetlinkSocket, listing: Listing, filter: &Attributes) -> Result<Vec<Vec<u8>>, NetlinkError> {
    let (call, kind) = match listing {
        Listing::Chains => ("listing chains", 4),
        Listing::Rules => ("listing rules", 7),
        Listing::Tables => ("listing tables", 1),
    };
    let kind = (SUBSYSTEM_NFTABLES << 8) | kind;
    dump(socket, call, |socket| {
        let sequence = socket.sequence();
        let mut request = Vec::new();
        let flags = NLM_F_REQUEST | NLM_F_DUMP;
        write(&mut request, kind, flags, sequence, [FAMILY_INET, 0, 0, 0], filter.as_bytes());
        socket.exchange(call, &request, sequence, sequence)
    })
    .map(|messages| messages.into_iter().filter_map(attributes_of).collect())
}

/// Runs a dump again when something changed while it ran (`NLM_F_DUMP_INTR`).
pub(super) fn dump(
    socket: &mut NetlinkSocket,
    call: &'static str,
    mut ask: impl FnMut(&mut NetlinkSocket) -> Result<Vec<Message>, NetlinkError>,
) -> Result<Vec<Message>, NetlinkError> {
    for _ in 0..DUMP_ATTEMPTS {
        match ask(socket) {
            Err(error) if error.errno() == Some(nix::libc::EINTR) => {}
            answer => return answer,
        }
    }
    Err(NetlinkError::Socket { call, source: io::Error::from_raw_os_error(nix::libc::EINTR) })
}

/// The attributes behind the generic header. `None` for a message of another subsystem or family.
fn attributes_of(message: Message) -> Option<Vec<u8>> {
    let ours = message.kind >> 8 == SUBSYSTEM_NFTABLES && message.payload.first() == Some(&FAMILY_INET);
    ours.then(|| message.payload.get(GENERIC_HEADER..).unwrap_or_default().to_vec())
}

/// Appends one message with its generic header.
pub(super) fn write(request: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, generic: [u8; 4], attributes: &[u8]) {
    let length = (16 + GENERIC_HEADER + attributes.len()) as u32;
    request.extend_from_slice(&length.to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&flags.to_ne_bytes());
    request.extend_from_slice(&sequence.to_ne_bytes());
    request.extend_from_slice(&0u32.to_ne_bytes());
    request.extend_from_slice(&generic);
    request.extend_from_slice(attributes);
}

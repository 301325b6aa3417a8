//! The expressions of nf_tables that our rules use, to and from netlink
//! (linux/netfilter/nf_tables.h). Everything passes through one register.

use std::fmt;

use crate::sys::netlink::attribute::{
    Attributes, attribute, attribute_string, attribute_u32, attribute_u64, attributes,
};

/// `NFT_REG_1`: 16 bytes, enough for everything that is compared here.
const REGISTER: u32 = 1;
/// `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;
/// `NF_NAT_RANGE_PROTO_SPECIFIED` of linux/netfilter/nf_nat.h: the port is given.
const PORT_GIVEN: u32 = 2;
/// `NFT_PAYLOAD_TRANSPORT_HEADER`.
const TRANSPORT: u32 = 2;
/// `NFT_CT_ZONE` and `IP_CT_DIR_ORIGINAL`.
const ZONE: u32 = 17;
const ORIGINAL: u8 = 0;
/// `NFTA_LIST_ELEM`, `NFTA_EXPR_NAME`, `NFTA_EXPR_DATA`, `NFTA_DATA_VALUE`, `NFTA_DATA_VERDICT`.
const ELEMENT: u16 = 1;
const NAME: u16 = 1;
const DATA: u16 = 2;
const VALUE: u16 = 1;
const VERDICT: u16 = 2;

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redirect) enum Expression {
    /// register = (register & mask) ^ xor; both as long as what is in the register.
    Bitwise {
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    Compare {
        equal: bool,
        value: Vec<u8>,
    },
    ConnectionLoad(ConnectionKey),
    ConnectionStore(ConnectionKey),
    Counter {
        bytes: u64,
        packets: u64,
    },
    /// Puts a constant into the register.
    Immediate(Vec<u8>),
    MetaLoad(MetaKey),
    MetaStore(MetaKey),
    /// Bytes of the TCP or UDP header.
    PayloadLoad {
        length: u32,
        offset: u32,
    },
    /// To this namespace, at the port in the register.
    Redirect,
    /// The id of the cgroup, at this depth, of the socket that the packet belongs to.
    SocketCgroup {
        level: u32,
    },
    /// Something that we never write.
    Unknown {
        data: Vec<u8>,
        name: String,
    },
    Verdict(Verdict),
    /// The connection tracking zone in which the packet's own direction is looked up.
    ZoneStore,
}

/// `enum nft_meta_keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redirect) enum MetaKey {
    InInterface,
    L4Protocol,
    Mark,
    OutInterface,
}

/// `enum nft_ct_keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redirect) enum ConnectionKey {
    Direction,
    Mark,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::redirect) enum Verdict {
    Accept,
    Return,
}

// === impl Expression ===

impl Expression {
    /// Writes a rule's expressions as the content of `NFTA_RULE_EXPRESSIONS`.
    pub(super) fn encode_list(list: &[Self]) -> Attributes {
        list.iter().fold(Attributes::new(), |all, expression| {
            let (name, data) = expression.encode();
            let body = match data {
                Encoded::List(list) => Attributes::new().string(NAME, name).nested(DATA, &list),
                Encoded::Raw(bytes) => Attributes::new().string(NAME, name).bytes(DATA, bytes),
            };
            all.nested(ELEMENT, &body)
        })
    }

    /// Reads them. What we would not have written so is `Unknown`, never an error.
    pub(super) fn decode_list(bytes: &[u8]) -> Vec<Self> {
        let elements = attributes(bytes).filter(|(kind, _)| *kind == ELEMENT);
        elements
            .map(|(_, element)| {
                let name = attribute_string(element, NAME).unwrap_or_default();
                let data = attribute(element, DATA).unwrap_or_default();
                Self::decode(&name, data).unwrap_or_else(|| Self::Unknown { data: data.to_vec(), name })
            })
            .collect()
    }

    fn encode(&self) -> (&str, Encoded<'_>) {
        let list = Attributes::new;
        let (name, data) = match self {
            Self::Bitwise { mask, xor } => {
                let length = mask.len() as u32;
                let head = list().u32(1, REGISTER).u32(2, REGISTER).u32(3, length);
                ("bitwise", head.nested(4, &value(mask)).nested(5, &value(xor)))
            }
            Self::Compare { equal, value: data } => {
                ("cmp", list().u32(1, REGISTER).u32(2, u32::from(!equal)).nested(3, &value(data)))
            }
            Self::ConnectionLoad(key) => ("ct", list().u32(1, REGISTER).u32(2, key.number())),
            Self::ConnectionStore(key) => ("ct", list().u32(2, key.number()).u32(4, REGISTER)),
            Self::Counter { bytes, packets } => ("counter", list().u64(1, *bytes).u64(2, *packets)),
            Self::Immediate(data) => ("immediate", list().u32(1, REGISTER).nested(2, &value(data))),
            Self::MetaLoad(key) => ("meta", list().u32(1, REGISTER).u32(2, key.number())),
            Self::MetaStore(key) => ("meta", list().u32(2, key.number()).u32(3, REGISTER)),
            Self::PayloadLoad { length, offset } => {
                ("payload", list().u32(1, REGISTER).u32(2, TRANSPORT).u32(3, *offset).u32(4, *length))
            }
            Self::Redirect => ("redir", list().u32(1, REGISTER).u32(3, PORT_GIVEN)),
            // NFT_SOCKET_CGROUPV2.
            Self::SocketCgroup { level } => ("socket", list().u32(1, 3).u32(2, REGISTER).u32(3, *level)),
            Self::Unknown { data, name } => return (name, Encoded::Raw(data)),
            Self::Verdict(verdict) => {
                let code = list().nested(VERDICT, &list().u32(1, verdict.code()));
                ("immediate", list().u32(1, VERDICT_REGISTER).nested(2, &code))
            }
            Self::ZoneStore => ("ct", list().u32(2, ZONE).bytes(3, &[ORIGINAL]).u32(4, REGISTER)),
        };
        (name, Encoded::List(data))
    }

    fn decode(name: &str, data: &[u8]) -> Option<Self> {
        let number = |kind| attribute_u32(data, kind);
        let register = |kind| (number(kind)? == REGISTER).then_some(());
        let bytes = |kind| Some(attribute(attribute(data, kind)?, VALUE)?.to_vec());
        match name {
            "bitwise" => {
                register(1)?;
                register(2)?;
                let (mask, xor) = (bytes(4)?, bytes(5)?);
                let whole = number(3)? as usize == mask.len() && mask.len() == xor.len();
                // Operation 0 is mask and xor; older kernels do not say.
                (whole && number(6).unwrap_or(0) == 0).then_some(Self::Bitwise { mask, xor })
            }
            "cmp" => {
                register(1)?;
                let operation = number(2)?;
                (operation < 2).then_some(Self::Compare { equal: operation == 0, value: bytes(3)? })
            }
            "counter" => Some(Self::Counter { bytes: attribute_u64(data, 1)?, packets: attribute_u64(data, 2)? }),
            "ct" => {
                let direction = attribute(data, 3);
                if number(2)? == ZONE {
                    let ours = direction == Some(&[ORIGINAL]) && number(1).is_none() && number(4) == Some(REGISTER);
                    return ours.then_some(Self::ZoneStore);
                }
                let key = ConnectionKey::from_number(number(2)?)?;
                // A direction would make it a question about one side's addresses.
                if direction.is_some() {
                    return None;
                }
                match (number(1), number(4)) {
                    (Some(REGISTER), None) => Some(Self::ConnectionLoad(key)),
                    (None, Some(REGISTER)) => Some(Self::ConnectionStore(key)),
                    _ => None,
                }
            }
            "immediate" => match number(1)? {
                REGISTER => Some(Self::Immediate(bytes(2)?)),
                VERDICT_REGISTER => {
                    let code = attribute_u32(attribute(attribute(data, 2)?, VERDICT)?, 1)?;
                    Verdict::from_code(code).map(Self::Verdict)
                }
                _ => None,
            },
            "meta" => {
                let key = MetaKey::from_number(number(2)?)?;
                match (number(1), number(3)) {
                    (Some(REGISTER), None) => Some(Self::MetaLoad(key)),
                    (None, Some(REGISTER)) => Some(Self::MetaStore(key)),
                    _ => None,
                }
            }
            "payload" => {
                register(1)?;
                let ours = number(2)? == TRANSPORT && attribute(data, 5).is_none();
                ours.then_some(Self::PayloadLoad { length: number(4)?, offset: number(3)? })
            }
            "redir" => {
                register(1)?;
                // The kernel repeats the port as the end of a range of one.
                let one = number(2).is_none_or(|end| end == REGISTER);
                (one && number(3)? == PORT_GIVEN).then_some(Self::Redirect)
            }
            "socket" => {
                register(2)?;
                (number(1)? == 3).then_some(Self::SocketCgroup { level: number(3)? })
            }
            _ => None,
        }
    }
}

enum Encoded<'a> {
    List(Attributes),
    Raw(&'a [u8]),
}

/// `NFTA_DATA_VALUE` around bytes.
fn value(bytes: &[u8]) -> Attributes {
    Attributes::new().bytes(VALUE, bytes)
}

// === impl MetaKey ===

impl MetaKey {
    const ALL: [Self; 4] = [Self::InInterface, Self::L4Protocol, Self::Mark, Self::OutInterface];

    const fn number(self) -> u32 {
        match self {
            Self::InInterface => 6,
            Self::L4Protocol => 16,
            Self::Mark => 3,
            Self::OutInterface => 7,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.number() == number)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::InInterface => "iifname",
            Self::L4Protocol => "l4proto",
            Self::Mark => "mark",
            Self::OutInterface => "oifname",
        }
    }
}

// === impl ConnectionKey ===

impl ConnectionKey {
    const fn number(self) -> u32 {
        match self {
            Self::Direction => 1,
            Self::Mark => 3,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        [Self::Direction, Self::Mark].into_iter().find(|key| key.number() == number)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Direction => "direction",
            Self::Mark => "mark",
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// `NF_ACCEPT` and `NFT_RETURN`.
    const fn code(self) -> u32 {
        match self {
            Self::Accept => 1,
            Self::Return => -5i32 as u32,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        [Self::Accept, Self::Return].into_iter().find(|verdict| verdict.code() == code)
    }
}

/// As `nft --debug=netlink` shows them, with the bytes of values as they lie in memory.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bitwise { mask, xor } => write!(f, "[ bitwise ( reg & {} ) ^ {} ]", Hex(mask), Hex(xor)),
            Self::Compare { equal, value } => {
                write!(f, "[ cmp {} reg {} ]", if *equal { "eq" } else { "neq" }, Hex(value))
            }
            Self::ConnectionLoad(key) => write!(f, "[ ct load {} ]", key.word()),
            Self::ConnectionStore(key) => write!(f, "[ ct set {} ]", key.word()),
            Self::Counter { bytes, packets } => write!(f, "[ counter packets {packets} bytes {bytes} ]"),
            Self::Immediate(value) => write!(f, "[ immediate reg {} ]", Hex(value)),
            Self::MetaLoad(key) => write!(f, "[ meta load {} ]", key.word()),
            Self::MetaStore(key) => write!(f, "[ meta set {} ]", key.word()),
            Self::PayloadLoad { length, offset } => {
                write!(f, "[ payload load {length}b @ transport header + {offset} ]")
            }
            Self::Redirect => write!(f, "[ redir to port in reg ]"),
            Self::SocketCgroup { level } => write!(f, "[ socket load cgroupv2 level {level} ]"),
            Self::Unknown { data, name } => write!(f, "[ {name:?} with {} bytes of its own ]", data.len()),
            Self::Verdict(Verdict::Accept) => write!(f, "[ accept ]"),
            Self::Verdict(Verdict::Return) => write!(f, "[ return ]"),
            Self::ZoneStore => write!(f, "[ ct set original zone ]"),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name's padding says nothing.
        let end = self.0.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        let shown = if self.0.len() > 8 { self.0.get(..end).unwrap_or(self.0) } else { self.0 };
        f.write_str("0x")?;
        shown.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests;

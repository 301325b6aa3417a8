//! A plan as the table that nf_tables shall hold. Pure.

use std::fmt;

use super::expression::{ConnectionKey, Expression, MetaKey, Verdict};
use crate::redirect::plan::{Action, Chain, ChainKind, Hook, MARK_MASK, Match, Plan, Rule};

/// `IP_CT_DIR_REPLY`.
const REPLY: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The destination port's offset, in both headers (RFC 9293, section 3.1; RFC 768).
const DESTINATION: u32 = 2;
/// Offset and bits of the TCP header (RFC 9293, section 3.1).
const TCP_FLAGS: u32 = 13;
const FIN_SYN_RST_ACK: u8 = 0x17;
const SYN: u8 = 0x02;
/// `IFNAMSIZ`: names are compared with their padding, so that no longer name matches.
const NAME_SIZE: usize = 16;

/// The content of the table, as planned or as read back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::redirect) struct Content {
    pub chains: Vec<BaseChain>,
    pub flags: u32,
}

/// A chain with its place in the kernel's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redirect) struct BaseChain {
    /// `enum nf_inet_hooks`; `None` for a chain that is only jumped to.
    pub hook: Option<u32>,
    pub kind: String,
    pub name: String,
    /// `NF_ACCEPT` is 1.
    pub policy: u32,
    pub priority: i32,
    pub rules: Vec<RenderedRule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::redirect) struct RenderedRule {
    pub comment: String,
    pub expressions: Vec<Expression>,
}

/// Translates the plan.
pub(in crate::redirect) fn render(plan: &Plan) -> Content {
    Content { chains: plan.chains.iter().map(chain).collect(), flags: 0 }
}

fn chain(chain: &Chain) -> BaseChain {
    // Priorities as the kernel's own tables have them (linux/netfilter_ipv4.h): mangle's -150 is
    // behind connection tracking (-200) and before nat (-100), raw's -300 before both.
    let (kind, priority) = match chain.kind {
        ChainKind::Filter => ("filter", 0),
        ChainKind::Nat => ("nat", -100),
        ChainKind::Raw => ("filter", -300),
        ChainKind::Route => ("route", -150),
    };
    let hook = match chain.hook {
        Hook::Input => 1,
        Hook::Output => 3,
        Hook::Prerouting => 0,
    };
    BaseChain {
        hook: Some(hook),
        kind: kind.to_owned(),
        name: chain.name.to_owned(),
        policy: 1,
        priority,
        rules: chain.rules.iter().map(rule).collect(),
    }
}

fn rule(rule: &Rule) -> RenderedRule {
    let mut expressions: Vec<_> = rule.matches.iter().flat_map(matching).collect();
    expressions.extend(action(rule.action));
    RenderedRule { comment: rule.name.to_owned(), expressions }
}

fn matching(one: &Match) -> Vec<Expression> {
    match one {
        Match::Cgroup(cgroup) => {
            vec![Expression::SocketCgroup { level: cgroup.level }, equal(&cgroup.id.to_ne_bytes())]
        }
        Match::ConnectionMark(mark) => {
            vec![Expression::ConnectionLoad(ConnectionKey::Mark), masked(), equal(&mark.to_ne_bytes())]
        }
        Match::FirstSyn => vec![
            Expression::MetaLoad(MetaKey::L4Protocol),
            equal(&[TCP]),
            Expression::PayloadLoad { length: 1, offset: TCP_FLAGS },
            Expression::Bitwise { mask: vec![FIN_SYN_RST_ACK], xor: vec![0] },
            equal(&[SYN]),
        ],
        Match::From(name) => vec![Expression::MetaLoad(MetaKey::InInterface), equal(&padded(name.as_str()))],
        Match::FromElsewhere => vec![
            Expression::MetaLoad(MetaKey::InInterface),
            Expression::Compare { equal: false, value: padded("lo").to_vec() },
        ],
        Match::FromLoopback => vec![Expression::MetaLoad(MetaKey::InInterface), equal(&padded("lo"))],
        Match::Mark(mark) => vec![Expression::MetaLoad(MetaKey::Mark), masked(), equal(&mark.to_ne_bytes())],
        Match::Protocol(number) => vec![Expression::MetaLoad(MetaKey::L4Protocol), equal(&[*number])],
        Match::Reply => vec![Expression::ConnectionLoad(ConnectionKey::Direction), equal(&[REPLY])],
        Match::TcpPort(port) => {
            vec![Expression::PayloadLoad { length: 2, offset: DESTINATION }, equal(&port.to_be_bytes())]
        }
        Match::TcpPortNot(port) => vec![
            Expression::PayloadLoad { length: 2, offset: DESTINATION },
            Expression::Compare { equal: false, value: port.to_be_bytes().to_vec() },
        ],
        Match::ToLoopback => vec![Expression::MetaLoad(MetaKey::OutInterface), equal(&padded("lo"))],
        Match::UdpPort(port) => vec![
            Expression::MetaLoad(MetaKey::L4Protocol),
            equal(&[UDP]),
            Expression::PayloadLoad { length: 2, offset: DESTINATION },
            equal(&port.to_be_bytes()),
        ],
    }
}

fn action(action: Action) -> Vec<Expression> {
    let counter = Expression::Counter { bytes: 0, packets: 0 };
    match action {
        Action::Accept => vec![Expression::Verdict(Verdict::Accept)],
        Action::Count => vec![counter, Expression::Verdict(Verdict::Return)],
        Action::MarkConnection(mark) => vec![
            Expression::ConnectionLoad(ConnectionKey::Mark),
            replaced(mark),
            Expression::ConnectionStore(ConnectionKey::Mark),
        ],
        Action::MarkPacket(mark) => {
            vec![Expression::MetaLoad(MetaKey::Mark), replaced(mark), Expression::MetaStore(MetaKey::Mark)]
        }
        Action::Redirect(port) => {
            vec![counter, Expression::Immediate(port.to_be_bytes().to_vec()), Expression::Redirect]
        }
        Action::Return => vec![Expression::Verdict(Verdict::Return)],
        Action::Zone(zone) => vec![Expression::Immediate(zone.to_ne_bytes().to_vec()), Expression::ZoneStore],
    }
}

fn equal(value: &[u8]) -> Expression {
    Expression::Compare { equal: true, value: value.to_vec() }
}

/// Marks lie in registers in the machine's order.
fn masked() -> Expression {
    Expression::Bitwise { mask: MARK_MASK.to_ne_bytes().to_vec(), xor: vec![0; 4] }
}

/// Keeps the bits that are not ours.
fn replaced(mark: u32) -> Expression {
    Expression::Bitwise { mask: (!MARK_MASK).to_ne_bytes().to_vec(), xor: mark.to_ne_bytes().to_vec() }
}

fn padded(name: &str) -> [u8; NAME_SIZE] {
    let mut bytes = [0; NAME_SIZE];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// For goldens and dumps: chains in order, one line an expression.
impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {} flags {:#x}", super::TABLE, self.flags)?;
        for chain in &self.chains {
            let BaseChain { kind, name, policy, priority, .. } = chain;
            let hook = match chain.hook {
                Some(0) => "prerouting",
                Some(1) => "input",
                Some(3) => "output",
                _ => "no hook of ours",
            };
            writeln!(f, "\nchain {name}: type {kind} hook {hook} priority {priority} policy {policy}")?;
            for rule in &chain.rules {
                writeln!(f, "  {}", rule.comment)?;
                rule.expressions.iter().try_for_each(|expression| writeln!(f, "    {expression}"))?;
            }
        }
        Ok(())
    }
}

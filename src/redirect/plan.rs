//! What is laid into a pod's namespace, as a value: chains of rules in a small language that every
//! back end can say. Pure.

use std::fmt;
use std::str::FromStr;

use crate::model::ports;

/// Compared and set under this mask; the other bits of a mark belong to the pod's owner.
pub const MARK_MASK: u32 = 0xfff;
/// `SO_MARK` of every socket of the daemon in a pod (Istio's number, so that its tools read ours).
pub const DAEMON_MARK: u32 = 0x539;
/// Connection mark of the daemon's dials to the app with the client's source address, and packet
/// mark of the app's answers on them, which chooses [`ROUTE_TABLE`].
pub const REPLY_MARK: u32 = 0x111;
/// The routing table that delivers the app's answers to the daemon.
pub const ROUTE_TABLE: u8 = 100;
/// Preference of the routing rule that chooses it, before main's 32766.
pub const RULE_PRIORITY: u32 = 32764;
/// Connection tracking zone of the daemon's dials to the app, and of its questions to name servers. A dial has the client's address, and
/// the kernel may give it the client's port too: then it has the very addresses that tracking knows
/// from the captured connection, and would be translated as that one is. A question leaves from a port that the pod may
/// have asked from a moment ago, and would be redirected to the daemon as that question was.
pub const DIAL_ZONE: u16 = 1;
/// Says "culvert" in `ip rule` and `ip route` (`protocol 117`); iproute2 gives it to nobody.
pub const ROUTE_PROTOCOL: u8 = 117;

/// The facts that a plan is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanInput {
    /// False for a pod that asked to be reached directly (an ingress): only what it dials is captured.
    pub capture_inbound: bool,
    /// The daemon's cgroup, where the kernel can match it: the exemption of the daemon's own
    /// sockets then needs the mark and the cgroup, and a pod cannot fake both.
    pub cgroup: Option<CgroupMatch>,
    /// What the pod asks name servers on port 53, by UDP and TCP, goes to the daemon, to this port of loopback.
    pub dns: Option<u16>,
    pub families: Families,
    /// Interfaces behind which virtual machines or nested containers sit: what comes from them
    /// leaves the pod, so it is captured as outbound.
    pub virtual_interfaces: Vec<InterfaceName>,
}

/// Which IP families the namespace has. Rules of nf_tables cover both always; routes and iptables
/// are written for those that exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    #[default]
    Both,
    V4Only,
}

/// A cgroup v2 as nf_tables and iptables name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMatch {
    /// Inode of the cgroup's directory.
    pub id: u64,
    /// Depth below the root, from 1.
    pub level: u32,
    /// From the root of the hierarchy, without the leading slash.
    pub path: String,
}

/// The name of a network interface: 1 to 15 bytes without a slash or white space (`dev_valid_name`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceName(String);

/// A text that names no interface. Configuration: correct the annotation.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no interface name: give 1 to 15 letters, digits, '-', '_' or '.'")]
pub struct NoInterfaceName(String);

/// Everything that is laid into one namespace. Equal plans make equal kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) chains: Vec<Chain>,
    pub(super) families: Families,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    pub hook: Hook,
    pub kind: ChainKind,
    pub name: &'static str,
    pub rules: Vec<Rule>,
}

/// What a chain may do, and so when it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainKind {
    /// Sees and counts.
    Filter,
    /// Sees the first packet of a connection and may translate it.
    Nat,
    /// Runs before connection tracking.
    Raw,
    /// May change the mark, after which the packet is routed again.
    Route,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Input,
    Output,
    Prerouting,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub action: Action,
    pub matches: Vec<Match>,
    /// Stands in the kernel as the rule's comment.
    pub name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    Cgroup(CgroupMatch),
    /// The connection's mark, under [`MARK_MASK`].
    ConnectionMark(u32),
    /// SYN without FIN, RST and ACK: the packet that opens a TCP connection.
    FirstSyn,
    From(InterfaceName),
    /// Came in by another interface than loopback.
    FromElsewhere,
    /// Came in by loopback.
    FromLoopback,
    /// The packet's mark, under [`MARK_MASK`].
    Mark(u32),
    /// IP protocol number.
    Protocol(u8),
    /// The packet answers the one that opened its connection.
    Reply,
    /// To this port; only behind `FirstSyn`.
    TcpPort(u16),
    /// Only behind `FirstSyn`.
    TcpPortNot(u16),
    /// Leaves by loopback: for an address of this namespace.
    ToLoopback,
    /// UDP to this port.
    UdpPort(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Accept,
    /// Count, and leave the chain.
    Count,
    MarkConnection(u32),
    MarkPacket(u32),
    Redirect(u16),
    /// Leave the chain.
    Return,
    /// Look the packet's own direction up apart from all other connections.
    Zone(u16),
}

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;
/// Where name servers listen.
const DOMAIN: u16 = 53;
const SCTP: u8 = 132;

/// The counting rules, by name: what each back end looks for when it is asked what was not carried.
pub(super) const COUNT_OTHER_IN: &str = "count-other-in";
pub(super) const COUNT_OTHER_OUT: &str = "count-other-out";
pub(super) const COUNT_SCTP_IN: &str = "count-sctp-in";
pub(super) const COUNT_SCTP_OUT: &str = "count-sctp-out";
pub(super) const COUNT_UDP_IN: &str = "count-udp-in";
pub(super) const COUNT_UDP_OUT: &str = "count-udp-out";

/// Makes the plan for one pod.
pub fn plan(input: &PlanInput) -> Plan {
    let chains = vec![
        Chain { hook: Hook::Prerouting, kind: ChainKind::Nat, name: "prerouting", rules: prerouting(input) },
        Chain { hook: Hook::Output, kind: ChainKind::Nat, name: "output", rules: output(input) },
        Chain { hook: Hook::Output, kind: ChainKind::Route, name: "mark_output", rules: mark_output(input) },
        Chain {
            hook: Hook::Input,
            kind: ChainKind::Filter,
            name: "uncarried_in",
            rules: uncarried(Match::FromLoopback, [COUNT_UDP_IN, COUNT_SCTP_IN, COUNT_OTHER_IN]),
        },
        Chain {
            hook: Hook::Output,
            kind: ChainKind::Filter,
            name: "uncarried_out",
            rules: uncarried(Match::ToLoopback, [COUNT_UDP_OUT, COUNT_SCTP_OUT, COUNT_OTHER_OUT]),
        },
        Chain { hook: Hook::Output, kind: ChainKind::Raw, name: "zone_output", rules: zone_output(input) },
    ];
    Plan { chains, families: input.families }
}

fn prerouting(input: &PlanInput) -> Vec<Rule> {
    let mut rules: Vec<_> = input
        .virtual_interfaces
        .iter()
        .map(|interface| Rule {
            action: Action::Redirect(ports::OUTBOUND),
            matches: vec![Match::From(interface.clone()), Match::FirstSyn],
            name: "redirect-virtual",
        })
        .collect();
    if input.capture_inbound {
        rules.push(Rule {
            action: Action::Redirect(ports::INBOUND_PLAINTEXT),
            // What looped through loopback was judged on its way out. 15008 speaks for itself.
            matches: vec![Match::FromElsewhere, Match::FirstSyn, Match::TcpPortNot(ports::HBONE)],
            name: "redirect-inbound",
        });
    }
    rules
}

fn output(input: &PlanInput) -> Vec<Rule> {
    let mut rules = vec![
        Rule { action: Action::Accept, matches: daemons(input), name: "accept-daemon" },
        Rule { action: Action::Accept, matches: vec![Match::ToLoopback], name: "accept-loopback" },
    ];
    if let Some(port) = input.dns {
        let redirect = |matches, name| Rule { action: Action::Redirect(port), matches, name };
        rules.push(redirect(vec![Match::UdpPort(DOMAIN)], "redirect-dns-udp"));
        rules.push(redirect(vec![Match::FirstSyn, Match::TcpPort(DOMAIN)], "redirect-dns-tcp"));
    }
    rules.push(Rule {
        action: Action::Redirect(ports::OUTBOUND),
        matches: vec![Match::FirstSyn],
        name: "redirect-outbound",
    });
    rules
}

fn mark_output(input: &PlanInput) -> Vec<Rule> {
    let mut dial = vec![Match::ToLoopback, Match::FirstSyn];
    dial.extend(daemons(input));
    vec![
        Rule { action: Action::MarkConnection(REPLY_MARK), matches: dial, name: "mark-dial" },
        Rule {
            action: Action::MarkPacket(REPLY_MARK),
            // Answers only: the daemon's own packets go to the app by the local table already.
            matches: vec![Match::Reply, Match::ConnectionMark(REPLY_MARK)],
            name: "mark-reply",
        },
    ]
}

fn zone_output(input: &PlanInput) -> Vec<Rule> {
    // Every packet of the dial, not its first alone: each one is looked up.
    let mut dial = vec![Match::ToLoopback, Match::Protocol(TCP)];
    dial.extend(daemons(input));
    let mut rules = vec![Rule { action: Action::Zone(DIAL_ZONE), matches: dial, name: "zone-dial" }];
    if input.dns.is_some() {
        let mut question = vec![Match::UdpPort(DOMAIN)];
        question.extend(daemons(input));
        rules.push(Rule { action: Action::Zone(DIAL_ZONE), matches: question, name: "zone-dns" });
    }
    rules
}

/// What makes a packet the daemon's own.
fn daemons(input: &PlanInput) -> Vec<Match> {
    let mut matches = vec![Match::Mark(DAEMON_MARK)];
    matches.extend(input.cgroup.clone().map(Match::Cgroup));
    matches
}

fn uncarried(loopback: Match, names: [&'static str; 3]) -> Vec<Rule> {
    let rule = |action, name, matches| Rule { action, matches, name };
    let [udp, sctp, other] = names;
    vec![
        rule(Action::Return, "skip-loopback", vec![loopback]),
        rule(Action::Return, "skip-tcp", vec![Match::Protocol(TCP)]),
        rule(Action::Return, "skip-icmp", vec![Match::Protocol(ICMP)]),
        rule(Action::Return, "skip-icmpv6", vec![Match::Protocol(ICMP_V6)]),
        rule(Action::Count, udp, vec![Match::Protocol(UDP)]),
        rule(Action::Count, sctp, vec![Match::Protocol(SCTP)]),
        rule(Action::Count, other, vec![]),
    ]
}

// === impl PlanInput ===

impl Default for PlanInput {
    /// A plain pod: both directions, both families, mark only, DNS left alone.
    fn default() -> Self {
        Self {
            capture_inbound: true,
            cgroup: None,
            dns: None,
            families: Families::Both,
            virtual_interfaces: Vec::new(),
        }
    }
}

// === impl Plan ===

impl Plan {
    /// The plan of a pod that is leaving: no new connection is redirected, while everything that
    /// those already captured need stays.
    #[must_use]
    pub fn withdrawn(mut self) -> Self {
        for chain in self.chains.iter_mut().filter(|chain| chain.kind == ChainKind::Nat) {
            chain.rules.clear();
        }
        self
    }

    pub fn families(&self) -> Families {
        self.families
    }

    /// True when a rule asks for the daemon's cgroup.
    pub fn matches_cgroup(&self) -> bool {
        let mut matches = self.chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.matches);
        matches.any(|one| matches!(one, Match::Cgroup(_)))
    }
}

// === impl Families ===

impl Families {
    /// `false` for IPv4, `true` for IPv6.
    pub(super) fn v6(self) -> &'static [bool] {
        match self {
            Self::Both => &[false, true],
            Self::V4Only => &[false],
        }
    }
}

// === impl InterfaceName ===

impl InterfaceName {
    /// `IFNAMSIZ` without the closing NUL.
    const LONGEST: usize = 15;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InterfaceName {
    type Err = NoInterfaceName;

    fn from_str(text: &str) -> Result<Self, NoInterfaceName> {
        // Stricter than the kernel: the name also stands in a line that iptables-restore reads,
        // where a trailing '+' would match every name that begins so.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let fits = (1..=Self::LONGEST).contains(&text.len()) && !matches!(text, "." | "..");
        if fits && !text.starts_with('-') && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoInterfaceName(text.to_owned()))
        }
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;

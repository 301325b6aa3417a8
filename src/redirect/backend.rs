//! What a back end can do, and what it answers.

use super::error::RedirectError;
use super::plan::{self, Plan};
use crate::sys::netns::Netns;

/// Writes a plan's chains into a namespace. Routing rules and routes are not its business.
///
/// Every call blocks for some milliseconds (a netlink exchange, or programs): call it from a
/// blocking task.
pub trait Backend: Send + Sync + 'static {
    /// For logs: `nf_tables`, `iptables-nft`, `iptables-legacy`, `iptables`.
    fn name(&self) -> &'static str;

    /// Makes the namespace equal to the plan in one transaction (per table with iptables), and
    /// writes nothing when it is equal already. Counters keep their values.
    fn apply(&self, netns: &Netns, plan: &Plan) -> Result<Change, RedirectError>;

    /// Takes everything of ours away. True when there was something.
    fn remove(&self, netns: &Netns) -> Result<bool, RedirectError>;

    /// What the pod sent and received past the mesh since it was enrolled.
    fn uncarried(&self, netns: &Netns) -> Result<Uncarried, RedirectError>;

    /// Reads the namespace back and compares chain by chain and rule by rule. Counts are ignored.
    fn verify(&self, netns: &Netns, plan: &Plan) -> Result<Verdict, RedirectError>;

    /// Stops redirecting new connections, in one transaction. Hooks, translations of live
    /// connections and marks stay. What is not there is no error.
    fn withdraw(&self, netns: &Netns) -> Result<(), RedirectError>;
}

/// Whether an apply wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing of ours was there.
    Laid,
    /// Something of ours was there and differed.
    Healed,
    /// Nothing was written.
    None,
}

/// What verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Differs(Vec<Difference>),
    Same,
}

/// One place where the kernel and the plan disagree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    #[error("chain {chain} has another type, hook, priority or policy")]
    ChainChanged { chain: String },
    #[error("chain {chain} is missing")]
    ChainMissing { chain: String },
    #[error("chain {chain} is not of the plan")]
    ChainUnknown { chain: String },
    #[error("{family} traffic is led {times} times into chain {chain}, not once")]
    Jumps { chain: String, family: &'static str, times: usize },
    #[error("the {family} route of table {table} is missing")]
    RouteMissing { family: &'static str, table: u8 },
    #[error("the {family} routing rule that leads to table {table} is missing")]
    RoutingRuleMissing { family: &'static str, table: u8 },
    #[error("chain {chain}, rule {position} ({rule}) has changed")]
    RuleChanged { chain: String, position: usize, rule: String },
    #[error("chain {chain} has {found} rules instead of {planned}")]
    RuleCount { chain: String, found: usize, planned: usize },
    #[error("there is no table of ours")]
    TableMissing,
    #[error("the table has flags {flags:#x}")]
    TableFlags { flags: u32 },
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub bytes: u64,
    pub packets: u64,
}

/// What the mesh does not carry: neither encrypted nor judged by policy. The values survive a
/// second apply and a healing (what arrives in the microseconds of the change is not counted), and
/// begin at zero with each enrolment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uncarried {
    /// Everything that is not TCP, UDP, SCTP or ICMP.
    pub other_in: Count,
    pub other_out: Count,
    pub sctp_in: Count,
    pub sctp_out: Count,
    pub udp_in: Count,
    pub udp_out: Count,
}

// === impl Verdict ===

impl Verdict {
    pub(super) fn of(differences: Vec<Difference>) -> Self {
        if differences.is_empty() { Self::Same } else { Self::Differs(differences) }
    }

    pub fn is_same(&self) -> bool {
        *self == Self::Same
    }
}

// === impl Count ===

impl Count {
    pub(super) fn add(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.packets = self.packets.saturating_add(other.packets);
    }
}

// === impl Uncarried ===

impl Uncarried {
    /// Adds what the counting rule of that name has counted; other names count nothing here.
    pub(super) fn add(&mut self, rule: &str, count: Count) {
        let field = match rule {
            plan::COUNT_OTHER_IN => &mut self.other_in,
            plan::COUNT_OTHER_OUT => &mut self.other_out,
            plan::COUNT_SCTP_IN => &mut self.sctp_in,
            plan::COUNT_SCTP_OUT => &mut self.sctp_out,
            plan::COUNT_UDP_IN => &mut self.udp_in,
            plan::COUNT_UDP_OUT => &mut self.udp_out,
            _ => return,
        };
        field.add(count);
    }
}

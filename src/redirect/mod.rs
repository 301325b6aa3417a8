//! Redirection: the rules in a pod's network namespace that bring its TCP connections to the daemon.
//!
//! Owns: one nf_tables table (or, as the fallback, the `CULVERT_*` chains of iptables), two policy
//! routing rules and two routes in each enrolled namespace; refusing the wrong namespace; reading
//! back what was laid; taking it away. `plan` decides, the back ends perform.
//! Where a node agent lays the rules, only the refusing is used. Never: a listener, a policy, a decision about which pods are in. It writes nothing into a
//! kernel that a later process could not recognise as ours, and nothing outside of a pod.

mod backend;
mod error;
mod guard;
mod iptables;
mod lay;
mod nftables;
mod plan;
mod probe;
mod routes;
mod sweep;
mod warden;

pub use backend::{Backend, Change, Count, Difference, Uncarried, Verdict};
pub use error::RedirectError;
pub use guard::{Claim, Claims, Facts, Refusal, admit};
pub use iptables::{Iptables, Variant};
pub use lay::{Laid, Redirector, Target};
pub use nftables::Nftables;
pub use plan::{CgroupMatch, DAEMON_MARK, Families, InterfaceName, Plan, PlanInput, plan};
pub use probe::{Choice, Wanted, probe};
pub use routes::families;
pub use sweep::{Swept, sweep};
pub use warden::Warden;

#[cfg(test)]
mod goldens;
#[cfg(test)]
mod kernel_tests;

//! Metrics: a table of what exists, bounded storage of its series, and the text that a scraper reads.
//!
//! Owns: every metric's name, labels and help ([`table`]), the budget of series a family, their expiry, the
//! per-connection handle [`Traffic`].
//! Never: a listener (`admin` has it), a global: [`Metrics`] is made by the assembly and handed on.
//!
//! Memory: a set of traffic labels costs 27 pointers of 16 bytes once, shared by its four families, and each
//! series some 150 bytes: about 1 KiB a pair of workloads, and the text of names that nobody else holds. The
//! default budget of 10,000 series a family thus bounds the traffic families at about 10 MiB.

mod expose;
mod family;
mod reference;
mod registry;
pub mod table;
mod traffic;

pub use expose::Exposition;
pub use family::{Counter, Gauge, Histogram, Hold};
pub use reference::reference;
pub use registry::{Config, Metrics};
pub use traffic::{Peer, Reporter, ResponseFlags, SecurityPolicy, Traffic, TrafficLabels};

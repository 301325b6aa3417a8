//! The real program in network namespaces, judged from outside: nodes, pods and the fabric between them are
//! namespaces, the daemon is the binary that users run, and what is asserted is what applications, the wire, the log,
//! the metrics and the kernel's own listings show.
//!
//! Each test builds a lab of its own under a name of its own and takes it away, also when it fails. Needs root; without
//! it each test says that it was skipped, and fails where `CI=true`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test: what fails is shown where it fails"
)]

mod bed;
mod beside;
mod by_hand;
mod ca_away;
mod certificates;
mod control;
mod crash;
mod daemonset;
mod demand;
mod dials;
mod dns;
mod entries;
mod exempt;
mod goaway;
mod hostile;
mod input;
mod iptables;
mod istio;
mod life;
mod load;
mod networks;
mod odd;
mod own_listener;
mod policy;
mod ports;
mod remote;
mod revocation;
mod roads;
mod sandwich;
mod seen;
mod services;
mod shutdown;
mod strict_report;
mod takeover;
mod unbelieving;
mod vips;
mod warm;
mod waypoint;
mod wire;

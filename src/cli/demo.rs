//! `culvert demo`.

use std::path::PathBuf;

/// Build two nodes with pods in network namespaces, send real traffic, and print a table of what held.
///
/// Needs root. Ends with 1 when a row is not as expected. Everything it made is removed at the end, and after Ctrl-C.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Leave the lab running and say how to play in it
    #[arg(long)]
    pub keep: bool,
    /// The Envoy to run as a waypoint; without it the system's `envoy`, and without that no waypoint
    #[arg(long, value_name = "PATH")]
    pub envoy: Option<PathBuf>,
}

/// The arguments of a program in a pod of the demonstration.
pub use crate::role::demo::app::Args as DemoAppArgs;

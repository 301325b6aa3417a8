//! The program: its arguments, its environment, its exit code.

use std::process::ExitCode;

use culvert::cli::{self, CleanupArgs, DemoArgs, Roles};
use culvert::config::env::Environment;
use culvert::config::node::NodeSettings;

/// A build without roles: it shows its settings and its version.
struct NoRoles;

// === impl NoRoles ===

impl Roles for NoRoles {
    fn cleanup(&self, _: CleanupArgs) -> anyhow::Result<ExitCode> {
        anyhow::bail!("this build has no clean-up")
    }

    fn demo(&self, _: DemoArgs) -> anyhow::Result<ExitCode> {
        anyhow::bail!("this build has no demonstration")
    }

    fn node(&self, _: NodeSettings) -> anyhow::Result<ExitCode> {
        anyhow::bail!("this build has no node daemon")
    }
}

fn main() -> ExitCode {
    cli::run(std::env::args_os(), &Environment::process(), &NoRoles, &mut anstream::stderr())
}

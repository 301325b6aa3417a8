//! `culvert policy`: commands about policies that need no node.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::daemon::MeshArgs;
use super::{Roles, report};
use crate::config::env::Environment;
use crate::role::policy::lint::{Lint, Output, Report};

/// Look at policies before they are applied
#[derive(Clone, Debug, clap::Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum PolicyCommand {
    Lint(LintArgs),
}

const EXAMPLE: &str = "\
Example:
  culvert policy lint manifests/
  culvert policy lint manifests/ --strict --output json | jq '.findings[].code'

Exit codes:
  0   nothing of level error (with --strict: nor a warning)
  1   something was found, or the directory cannot be read
  64  the arguments or settings are wrong";

/// Say what in a directory of manifests will not do what its author thinks.
///
/// Reads the *.yaml, *.yml and *.json files of DIR as the node does, with the pods and namespaces that policies speak
/// of, and changes nothing. Each finding has a level, a code, a place and a mend; the codes are listed in
/// docs/features/lint.md.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub struct LintArgs {
    /// Directory of Kubernetes manifests
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How findings are written: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "text|json", hide_possible_values = true)]
    output: Output,
    /// End with 1 for warnings too
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    mesh: MeshArgs,
}

// === impl PolicyArgs ===

impl PolicyArgs {
    pub(super) fn run(self, environment: &Environment, roles: &impl Roles) -> anyhow::Result<ExitCode> {
        let PolicyCommand::Lint(LintArgs { directory, output, strict, mesh }) = self.command;
        let mesh = mesh.resolve(environment)?;
        let Report { text, code } = roles.lint(&Lint { directory, output, strict, mesh })?;
        report::print(&text)?;
        Ok(code)
    }
}

//! `culvert policy`: commands about policies that need no node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Subcommand};

use super::{Roles, daemon, report};
use crate::config::env::Environment;
use crate::config::mesh::MeshSettings;
use crate::config::raw::Effective;
use crate::config::table::MESH;
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

/// The settings of the mesh, as they were given.
#[derive(Clone, Debug)]
struct MeshArgs(BTreeMap<&'static str, String>);

// === impl PolicyArgs ===

impl PolicyArgs {
    pub(super) fn run(self, environment: &Environment, roles: &impl Roles) -> anyhow::Result<ExitCode> {
        let PolicyCommand::Lint(LintArgs { directory, output, strict, mesh: MeshArgs(flags) }) = self.command;
        let mesh = MeshSettings::try_from(&Effective::resolve(MESH, &flags, environment, None)?)?;
        let Report { text, code } = roles.lint(&Lint { directory, output, strict, mesh })?;
        report::print(&text)?;
        Ok(code)
    }
}

// === impl MeshArgs ===

impl clap::FromArgMatches for MeshArgs {
    fn from_arg_matches(found: &ArgMatches) -> Result<Self, clap::Error> {
        let flag = |key: &'static str| Some((key, found.get_one::<String>(key)?.clone()));
        Ok(Self(MESH.iter().filter_map(|setting| flag(setting.key)).collect()))
    }

    fn update_from_arg_matches(&mut self, found: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(found)?;
        Ok(())
    }
}

impl clap::Args for MeshArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(MESH.iter().map(daemon::argument))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

//! `culvert node`: its flags come from the table of settings.

use std::io::Write;
use std::process::ExitCode;

use clap::ArgMatches;

use super::Roles;
use super::daemon::{self, Given};
use crate::config::env::Environment;
use crate::config::node::NodeSettings;
use crate::config::table::{NODE, heading};

const ABOUT: &str = "Run the node daemon: enrol this node's pods, carry their connections, enforce policy";
const LONG_ABOUT: &str = "Run the node daemon: enrol this node's pods, carry their connections, enforce policy.\n\n\
    Every setting is a flag, a variable and a key of the YAML file named by --config. Flags win, then the environment, \
    then the file.\n\n\
    SIGTERM or SIGINT stops accepting, lets connections end until drain-deadline and then cuts them; a second one cuts \
    at once.";

const EXAMPLES: &str = "\
Examples:
  culvert node --node node-1 --manifests ./mesh
  culvert node --node node-1 --xds-address istiod.istio-system.svc:15012 --zds-socket /var/run/ztunnel/ztunnel.sock
  culvert node --config culvert.yaml --show-config";

/// The flags as they were given.
#[derive(Clone, Debug)]
pub struct NodeArgs(Given);

// === impl NodeArgs ===

impl NodeArgs {
    pub(super) fn run(
        self,
        environment: &Environment,
        roles: &impl Roles,
        errors: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        self.0.run(environment, errors, |settings: NodeSettings| roles.node(settings))
    }
}

impl clap::FromArgMatches for NodeArgs {
    fn from_arg_matches(found: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(Given::new(NODE, found)))
    }

    fn update_from_arg_matches(&mut self, found: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(found)?;
        Ok(())
    }
}

impl clap::Args for NodeArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = daemon::augment(command.about(ABOUT).long_about(LONG_ABOUT), NODE, EXAMPLES);
        command.mut_args(|flag| match heading(flag.get_id().as_str()) {
            Some(part) => flag.help_heading(part),
            None => flag,
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

//! `culvert control`: its flags come from the table of settings.

use std::io::Write;
use std::process::ExitCode;

use clap::ArgMatches;

use super::Roles;
use super::daemon::{self, Given};
use crate::config::control::ControlSettings;
use crate::config::env::Environment;
use crate::config::table::CONTROL;

const ABOUT: &str =
    "Run the control plane: serve a directory of manifests as a mesh, and certificates, to nodes on other machines";
const LONG_ABOUT: &str = "Run the control plane: serve a directory of manifests as a mesh, and certificates, to nodes on other machines.\n\n\
    Nodes ask by Istio's own protocols: incremental xDS (istio.workload.Address, istio.security.Authorization) and the \
    certificate service, both over TLS at listen-address. Culvert's node is one such client and Istio's ztunnel another.\n\n\
    Each caller shows a bearer token, which the file named by --tokens maps to its node. A node gets certificates for the \
    pods that its manifests place there (spec.nodeName) and for no others. A pair of token and line is made with\n\n  \
    umask 077\n  t=$(openssl rand -hex 32)\n  printf %s $t > node-1.token\n  h=$(sha256sum < node-1.token | cut -c-64)\n  echo sha256:$h node-1 >> tokens\n\n\
    The manifests, the tokens and the CA's directory are read again when they change; what is broken is told and changes \
    nothing. Nodes need root-cert.pem of ca-dir, to know this server.\n\n\
    Every setting is a flag, a variable and a key of the YAML file named by --config. Flags win, then the environment, \
    then the file.\n\n\
    SIGTERM or SIGINT ends streams cleanly within drain-deadline; nodes keep what they have. A second one cuts at once.";

const EXAMPLES: &str = "\
Examples:
  culvert control --manifests ./mesh --tokens tokens --server-names control.example.com
  culvert control --config control.yaml --show-config";

/// The flags as they were given.
#[derive(Clone, Debug)]
pub struct ControlArgs(Given);

// === impl ControlArgs ===

impl ControlArgs {
    pub(super) fn run(
        self,
        environment: &Environment,
        roles: &impl Roles,
        errors: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        self.0.run(environment, errors, |settings: ControlSettings| roles.control(settings))
    }
}

impl clap::FromArgMatches for ControlArgs {
    fn from_arg_matches(found: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(Given::new(CONTROL, found)))
    }

    fn update_from_arg_matches(&mut self, found: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(found)?;
        Ok(())
    }
}

impl clap::Args for ControlArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        daemon::augment(command.about(ABOUT).long_about(LONG_ABOUT), CONTROL, EXAMPLES)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

//! `culvert proxy ztunnel`: the node in ztunnel's place. Its settings are in the environment of Istio's DaemonSet.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Context;
use clap::CommandFactory as _;

use super::{Roles, report, table};
use crate::config::drop_in::DropIn;
use crate::config::env::Environment;
use crate::config::node::NodeSettings;
use crate::config::raw::{ConfigError, Effective, File};
use crate::config::show;
use crate::config::table::NODE;
use crate::config::ztunnel::{self, Host, proxy_config};

/// Run the node daemon in the place of Istio's ztunnel: settings from ztunnel's environment, Istio's seams
///
/// `culvert proxy ztunnel` is what Istio's DaemonSet says. Every variable of ztunnel is heard, or named at the start
/// when it does not apply; the CULVERT_… variables of `culvert node` and the file named by CULVERT_CONFIG win.
///
/// Those that matter most: NODE_NAME says whose pods are carried (required), XDS_ADDRESS and CA_ADDRESS where mesh and
/// certificates come from (istiod), INPOD_UDS the socket of istio-cni, RUST_LOG the log's levels.
///
/// --show-config among the arguments prints every setting with where its value came from, and ends. All variables are in
/// docs/reference/ztunnel.md.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", report::EXIT_CODES))]
pub struct ProxyArgs {
    /// Kept for the dump; only --show-config and --help change something
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  culvert proxy ztunnel
  kubectl -n istio-system exec ds/ztunnel -- culvert proxy ztunnel --show-config";

/// Prints the settings instead of starting.
const SHOW: &str = "--show-config";
/// Where what is no setting comes from.
const ENVIRONMENT: &str = "ztunnel's environment";

// === impl ProxyArgs ===

impl ProxyArgs {
    pub(super) fn run(
        self,
        environment: &Environment,
        roles: &impl Roles,
        errors: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        if let Some(word) = self.asked(&["-h", "--help"]) {
            return help(word == "--help");
        }
        let show = self.asked(&[SHOW]).is_some();
        let (effective, drop_in) = self.resolve(environment)?;
        for warning in effective.warnings().iter().chain(&drop_in.unused_line()) {
            report::warning(warning, errors);
        }
        if show {
            report::print(&shown(&effective, &drop_in))?;
        }
        let settings = NodeSettings::build(&effective, Some(drop_in))?;
        if show { Ok(ExitCode::SUCCESS) } else { roles.node(settings) }
    }

    /// The first of `words` among the arguments. ztunnel gives them no meaning, and whoever types one in a pod that runs
    /// wants to look, not a second process that takes the first one's listeners over.
    fn asked(&self, words: &[&str]) -> Option<&str> {
        self.arguments.iter().map(String::as_str).find(|argument| words.contains(argument))
    }

    fn resolve(self, environment: &Environment) -> Result<(Effective, DropIn), ConfigError> {
        let mesh_config = proxy_config::file()?;
        let host = Host {
            processors: available_parallelism().map_or(1, std::num::NonZero::get),
            mesh_config: mesh_config.as_deref(),
            exists: &|path: &Path| path.is_file(),
        };
        let found = ztunnel::read(environment, host, self.arguments)?;
        let file = File::named(None, environment, NODE)?;
        ztunnel::resolve(environment, file.as_ref(), found)
    }
}

/// As if it stood before every argument.
fn help(long: bool) -> anyhow::Result<ExitCode> {
    let mut culvert = super::Culvert::command();
    culvert.build();
    let proxy = culvert.find_subcommand_mut("proxy").context("there is no command proxy")?;
    let text = if long { proxy.render_long_help() } else { proxy.render_help() };
    report::print(&text.ansi().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Every setting and where its value came from, and what the environment says beside them.
fn shown(effective: &Effective, drop_in: &DropIn) -> String {
    let facts = drop_in.facts().into_iter().map(|(name, value)| [name, value.to_string(), ENVIRONMENT.to_owned()]);
    let rows: Vec<Vec<String>> = show::rows(effective).into_iter().chain(facts).map(Vec::from).collect();
    table::plain(&["setting", "value", "from"], &rows)
}

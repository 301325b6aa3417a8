//! `culvert proxy ztunnel`: the node in ztunnel's place. Its settings are in the environment of Istio's DaemonSet.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;

use super::{Roles, report};
use crate::config::env::{Environment, variable};
use crate::config::node::NodeSettings;
use crate::config::raw::{ConfigError, Effective, File};
use crate::config::table::NODE;
use crate::config::ztunnel::{self, Found, Host, proxy_config};

/// Run the node daemon in the place of Istio's ztunnel: settings from ztunnel's environment, Istio's seams
///
/// `culvert proxy ztunnel` is what Istio's DaemonSet says. Every variable of ztunnel is heard, or named at the start
/// when it does not apply; the CULVERT_… variables of `culvert node` and the file named by CULVERT_CONFIG win.
#[derive(Clone, Debug, clap::Args)]
pub struct ProxyArgs {
    /// Kept for the dump; they change nothing
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

// === impl ProxyArgs ===

impl ProxyArgs {
    pub(super) fn run(
        self,
        environment: &Environment,
        roles: &impl Roles,
        errors: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        let (effective, found) = self.resolve(environment)?;
        let unused = found.drop_in.unused_line();
        for warning in effective.warnings().iter().chain(&unused) {
            report::warning(warning, errors);
        }
        roles.node(NodeSettings::build(&effective, Some(found.drop_in))?)
    }

    fn resolve(self, environment: &Environment) -> Result<(Effective, Found), ConfigError> {
        let mesh_config = proxy_config::file()?;
        let host = Host {
            processors: available_parallelism().map_or(1, std::num::NonZero::get),
            mesh_config: mesh_config.as_deref(),
            exists: &|path: &Path| path.is_file(),
        };
        let found = ztunnel::read(environment, host, self.arguments)?;
        let named = environment.value(&variable("config")).map(Path::new);
        let file = named.map(|path| File::read(path, NODE)).transpose()?;
        let effective = Effective::resolve_over(NODE, &BTreeMap::new(), environment, file.as_ref(), &found.underlay)?;
        Ok((effective, found))
    }
}

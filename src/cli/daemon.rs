//! Flags that come from a table of settings: a daemon's, and those of the mesh.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{BoolishValueParser, StyledStr};
use clap::{Arg, ArgAction, ArgMatches};

use super::{report, table};
use crate::config::env::{Environment, variable};
use crate::config::mesh::MeshSettings;
use crate::config::raw::{ConfigError, Effective, File};
use crate::config::show;
use crate::config::table::{CONTROL, Default, MESH, NODE, Setting};
use crate::config::value::Kind;

/// A daemon's flags as they were given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    table: &'static [Setting],
    config: Option<PathBuf>,
    show: bool,
    flags: BTreeMap<&'static str, String>,
}

/// The settings of the mesh as they were given, for commands that read manifests without a node.
#[derive(Clone, Debug)]
pub(super) struct MeshArgs {
    config: Option<PathBuf>,
    flags: BTreeMap<&'static str, String>,
}

// === impl Given ===

impl Given {
    pub(super) fn new(table: &'static [Setting], found: &ArgMatches) -> Self {
        let flag = |setting: &Setting| Some((setting.key, found.get_one::<String>(setting.key)?.clone()));
        Self {
            table,
            config: found.get_one::<PathBuf>(CONFIG).cloned(),
            show: found.get_flag("show-config"),
            flags: table.iter().filter_map(flag).collect(),
        }
    }

    /// Shows the settings if that is what was asked for, else hands them to `work`. What `S` refuses ends both; only a
    /// required setting that is missing is no error of what is shown, which says so itself.
    pub(super) fn run<S: for<'a> TryFrom<&'a Effective, Error = ConfigError>>(
        &self,
        environment: &Environment,
        errors: &mut dyn Write,
        work: impl FnOnce(S) -> anyhow::Result<ExitCode>,
    ) -> anyhow::Result<ExitCode> {
        let effective = self.resolve(environment)?;
        for warning in effective.warnings() {
            report::warning(warning, errors);
        }
        if self.show {
            let rows = show::rows(&effective).map_rows();
            report::print(&table::plain(&["setting", "value", "from"], &rows))?;
            return match S::try_from(&effective) {
                Ok(_) | Err(ConfigError::Missing { .. }) => Ok(ExitCode::SUCCESS),
                Err(error) => Err(error.into()),
            };
        }
        work(S::try_from(&effective)?)
    }

    fn resolve(&self, environment: &Environment) -> Result<Effective, ConfigError> {
        let file = File::named(self.config.as_deref(), environment, self.table)?;
        Effective::resolve(self.table, &self.flags, environment, file.as_ref())
    }
}

// === impl MeshArgs ===

impl MeshArgs {
    /// With what the environment and the daemon's file of settings say, and the defaults.
    ///
    /// # Errors
    /// A value is not of its setting's kind, or the file is not one of settings.
    pub(super) fn resolve(&self, environment: &Environment) -> Result<MeshSettings, ConfigError> {
        let file = |table| File::named(self.config.as_deref(), environment, table);
        // A node's file, or a control plane's: both have the mesh's settings among others.
        let file = file(NODE).or_else(|error| file(CONTROL).map_err(|_| error))?;
        MeshSettings::try_from(&Effective::resolve(MESH, &self.flags, environment, file.as_ref())?)
    }

    /// The first flag that was given, without its dashes.
    pub(super) fn given(&self) -> Option<&'static str> {
        let config = self.config.as_ref().map(|_| CONFIG);
        config.or_else(|| self.flags.keys().next().copied())
    }
}

impl clap::FromArgMatches for MeshArgs {
    fn from_arg_matches(found: &ArgMatches) -> Result<Self, clap::Error> {
        let flag = |key: &'static str| Some((key, found.get_one::<String>(key)?.clone()));
        Ok(Self {
            config: found.get_one::<PathBuf>(CONFIG).cloned(),
            flags: MESH.iter().filter_map(|setting| flag(setting.key)).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, found: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(found)?;
        Ok(())
    }
}

impl clap::Args for MeshArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.arg(config()).args(MESH.iter().map(argument))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

/// Adds the flags to a command, and what stands below them.
pub(super) fn augment(command: clap::Command, table: &'static [Setting], examples: &str) -> clap::Command {
    let show = Arg::new("show-config")
        .long("show-config")
        .action(ArgAction::SetTrue)
        .value_parser(BoolishValueParser::new())
        .help("Print every setting with where its value came from, and end");
    let command = command.arg(config()).arg(show).args(table.iter().map(argument));
    command.after_help(format!("{examples}\n\n{}", report::EXIT_CODES))
}

const CONFIG: &str = "config";

fn config() -> Arg {
    Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("YAML file of settings, one key a setting [env: CULVERT_CONFIG]")
}

/// The flag of a setting.
pub(super) fn argument(setting: &Setting) -> Arg {
    let Setting { key, kind, default, about, reason } = setting;
    let default = match default {
        Default::Required => "[required]".to_owned(),
        Default::Value("") => "[default: empty]".to_owned(),
        Default::Value(text) => format!("[default: {text}]"),
    };
    let short = format!("{about} {default}");
    let long = format!("{about}. {reason}.\n\n{default} [env: {}]", variable(key));
    let argument = Arg::new(*key)
        .long(*key)
        .value_name(kind.placeholder())
        .help(StyledStr::from(short))
        .long_help(StyledStr::from(long))
        .value_parser(clap::builder::NonEmptyStringValueParser::new());
    match kind {
        // `--log-access` alone means true; a value is joined by `=`, so that it cannot swallow the next word.
        Kind::Bool => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        // Nothing is a value of theirs: it takes back what the environment or a file says.
        Kind::Text | Kind::Names | Kind::Files | Kind::OptionalPath | Kind::Endpoint => {
            argument.value_parser(clap::builder::StringValueParser::new())
        }
        _ => argument,
    }
}

/// Rows of a fixed width as the table takes them.
trait MapRows {
    fn map_rows(self) -> Vec<Vec<String>>;
}

impl<const N: usize> MapRows for Vec<[String; N]> {
    fn map_rows(self) -> Vec<Vec<String>> {
        self.into_iter().map(|row| row.to_vec()).collect()
    }
}

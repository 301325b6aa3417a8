//! `culvert node`: its flags come from the table of settings.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{BoolishValueParser, StyledStr};
use clap::{Arg, ArgAction, ArgMatches};

use super::{Roles, report, table};
use crate::config::env::{Environment, variable};
use crate::config::node::NodeSettings;
use crate::config::raw::{ConfigError, Effective, File};
use crate::config::show;
use crate::config::table::{Default, NODE, Setting};
use crate::config::value::Kind;

const ABOUT: &str = "Run the node daemon: enrol this node's pods, carry their connections, enforce policy";
const LONG_ABOUT: &str = "Run the node daemon: enrol this node's pods, carry their connections, enforce policy.\n\n\
    Every setting is a flag, a variable and a key of the YAML file named by --config. Flags win, then the environment, \
    then the file.\n\n\
    SIGTERM or SIGINT stops accepting, lets connections end until drain-deadline and then cuts them; a second one cuts \
    at once.";

/// The flags as they were given.
#[derive(Clone, Debug)]
pub struct NodeArgs {
    config: Option<PathBuf>,
    show: bool,
    flags: BTreeMap<&'static str, String>,
}

// === impl NodeArgs ===

impl NodeArgs {
    pub(super) fn run(
        self,
        environment: &Environment,
        roles: &impl Roles,
        errors: &mut dyn Write,
    ) -> anyhow::Result<ExitCode> {
        let effective = self.resolve(environment)?;
        for warning in effective.warnings() {
            report::warning(warning, errors);
        }
        if self.show {
            let rows = show::rows(&effective).map_rows();
            report::print(&table::plain(&["setting", "value", "from"], &rows))?;
            return Ok(ExitCode::SUCCESS);
        }
        roles.node(NodeSettings::try_from(&effective)?)
    }

    fn resolve(&self, environment: &Environment) -> Result<Effective, ConfigError> {
        let named = self.config.as_deref().or_else(|| environment.value(&variable("config")).map(Path::new));
        let file = named.map(|path| File::read(path, NODE)).transpose()?;
        Effective::resolve(NODE, &self.flags, environment, file.as_ref())
    }
}

impl clap::FromArgMatches for NodeArgs {
    fn from_arg_matches(found: &ArgMatches) -> Result<Self, clap::Error> {
        let flag = |setting: &Setting| Some((setting.key, found.get_one::<String>(setting.key)?.clone()));
        Ok(Self {
            config: found.get_one::<PathBuf>("config").cloned(),
            show: found.get_flag("show-config"),
            flags: NODE.iter().filter_map(flag).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, found: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(found)?;
        Ok(())
    }
}

impl clap::Args for NodeArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("YAML file of settings, one key a setting [env: CULVERT_CONFIG]");
        let show = Arg::new("show-config")
            .long("show-config")
            .action(ArgAction::SetTrue)
            .value_parser(BoolishValueParser::new())
            .help("Print every setting with where its value came from, and end");
        let settings = NODE.iter().map(argument);
        command.about(ABOUT).long_about(LONG_ABOUT).arg(config).arg(show).args(settings)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
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
        Kind::Text => argument.value_parser(clap::builder::StringValueParser::new()),
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

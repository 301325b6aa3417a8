//! The flags of a daemon, which come from its table of settings.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::{BoolishValueParser, StyledStr};
use clap::{Arg, ArgAction, ArgMatches};

use super::{report, table};
use crate::config::env::{Environment, variable};
use crate::config::raw::{ConfigError, Effective, File};
use crate::config::show;
use crate::config::table::{Default, Setting};
use crate::config::value::Kind;

/// The flags as they were given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    table: &'static [Setting],
    config: Option<PathBuf>,
    show: bool,
    flags: BTreeMap<&'static str, String>,
}

// === impl Given ===

impl Given {
    pub(super) fn new(table: &'static [Setting], found: &ArgMatches) -> Self {
        let flag = |setting: &Setting| Some((setting.key, found.get_one::<String>(setting.key)?.clone()));
        Self {
            table,
            config: found.get_one::<PathBuf>("config").cloned(),
            show: found.get_flag("show-config"),
            flags: table.iter().filter_map(flag).collect(),
        }
    }

    /// Shows the settings if that is what was asked for, else hands them to `work`.
    pub(super) fn run(
        &self,
        environment: &Environment,
        errors: &mut dyn Write,
        work: impl FnOnce(&Effective) -> anyhow::Result<ExitCode>,
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
        work(&effective)
    }

    fn resolve(&self, environment: &Environment) -> Result<Effective, ConfigError> {
        let named = self.config.as_deref().or_else(|| environment.value(&variable("config")).map(Path::new));
        let file = named.map(|path| File::read(path, self.table)).transpose()?;
        Effective::resolve(self.table, &self.flags, environment, file.as_ref())
    }
}

/// Adds the flags to a command.
pub(super) fn augment(command: clap::Command, table: &'static [Setting]) -> clap::Command {
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
    command.arg(config).arg(show).args(table.iter().map(argument))
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

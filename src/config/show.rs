//! The settings as a person sees them: what holds and why, and the reference page.

use std::fmt::Write as _;

use serde_json::Value;

use super::env::variable;
use super::raw::Effective;
use super::table::{Default, Setting};
use super::value::{self, Kind};

/// A line of `--show-config`: key, value, origin.
pub fn rows(all: &Effective) -> Vec<[String; 3]> {
    let row = |setting: &Setting| match all.value(setting.key) {
        Some((text, origin)) => [setting.key.to_owned(), shown(text), origin.to_string()],
        None => [setting.key.to_owned(), "(not set)".to_owned(), "required".to_owned()],
    };
    all.table.iter().map(row).collect()
}

/// Every setting as it was read, for programs: switches and numbers are what they are, the rest is text as it was
/// written, and what is not set is null.
pub fn values(all: &Effective) -> Vec<(&'static str, Value)> {
    let value = |setting: &Setting| {
        let Some((text, _)) = all.value(setting.key) else { return Value::Null };
        let typed = match setting.kind {
            Kind::Bool => value::bool(text).ok().map(Value::from),
            Kind::Count | Kind::Positive => text.parse::<u64>().ok().map(Value::from),
            _ => None,
        };
        typed.unwrap_or_else(|| text.into())
    };
    all.table.iter().map(|setting| (setting.key, value(setting))).collect()
}

/// The text of a reference page for `table`, the settings of `command`.
pub fn reference(command: &str, table: &[Setting]) -> String {
    let mut page = format!(
        "# Settings of `culvert {command}`\n\nWritten from `src/config/table`; `make docs` writes it again.\n\n\
         A setting is taken from the first of: its flag, its variable, its key in the YAML file named by `--config` \
         (or `CULVERT_CONFIG`), its default. `culvert {command} --show-config` prints what holds and where each value \
         came from. Durations carry a unit (`500ms`, `10s`, `5m`, `24h`), sizes are bytes or `KiB`, `MiB`, `GiB`.\n",
    );
    for Setting { key, kind, default, about, reason } in table {
        let default = match default {
            Default::Required => "required".to_owned(),
            Default::Value(text) => format!("default `{}`", shown(text)),
        };
        // Writing to a String does not fail.
        write!(
            page,
            "\n## {key}\n\n`--{key}{}` · `{}` · {default}\n\n{about}. {reason}.\n",
            match kind {
                // A value is joined, so that it cannot swallow the next word.
                Kind::Bool => format!("[={}]", kind.placeholder()),
                kind => format!(" {}", kind.placeholder()),
            },
            variable(key)
        )
        .ok();
    }
    page
}

fn shown(text: &str) -> String {
    if text.is_empty() { "\"\"".to_owned() } else { text.to_owned() }
}

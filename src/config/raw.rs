//! Each setting's text and where it came from.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::env::{Environment, PREFIX, variable};
use super::table::{Default, Setting, find};
use super::value::BadValue;
use super::yaml;
use crate::model::nearest::nearest;

/// The largest settings file. Ours has some 40 lines; a path that names a device or a log is not read whole.
const MAX_FILE: u64 = 1 << 20;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// What holds in the mode that was asked for, when nothing is said.
    Mode(&'static str),
    /// The variable's name.
    Environment(String),
    File {
        path: PathBuf,
        key: &'static str,
    },
    /// The flag without its dashes.
    Flag(&'static str),
    /// A key of a document that is no settings file of ours: `PROXY_CONFIG: statsPort`.
    Foreign(String),
}

/// Values that are in force where neither flags, nor the environment, nor a file say anything.
pub type Underlay = BTreeMap<&'static str, (String, Origin)>;

/// Why the settings cannot be used. All are the configuration's fault.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value is not of its setting's kind.
    #[error("{origin}")]
    BadValue {
        origin: Origin,
        #[source]
        source: BadValue,
    },
    /// What was found in the environment of another program's image cannot be used.
    #[error(transparent)]
    Ztunnel(#[from] super::ztunnel::ZtunnelError),
    /// Two settings contradict each other.
    #[error("{0}")]
    Contradiction(String),
    /// The file is not a YAML mapping of keys to plain values.
    #[error("the settings file {} is not a YAML mapping of settings to plain values", path.display())]
    FileShape {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file that was named is not one of settings.
    #[error("{by}")]
    File {
        /// What named it.
        by: String,
        #[source]
        source: Box<Self>,
    },
    /// The file is far larger than settings are.
    #[error("the settings file {} is larger than 1 MiB: name a file of settings", path.display())]
    FileSize { path: PathBuf },
    /// A required setting has no value.
    #[error("{} is not set: give --{key}, the variable {}, or the key in a file named by --config", key, variable(key))]
    Missing { key: &'static str },
    /// The file is not there or not readable.
    #[error("cannot read the settings file {}", path.display())]
    ReadFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// What a setting names or holds was looked at and is of no use.
    #[error("cannot use {name}")]
    Unusable {
        /// What a person calls the setting.
        name: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file has a key that no setting has.
    #[error("the settings file {} has the unknown key {key:?}{}", path.display(), hint(*nearest))]
    UnknownKey { path: PathBuf, key: String, nearest: Option<&'static str> },
}

/// A settings file as it was read.
#[derive(Clone, Debug)]
pub struct File {
    path: PathBuf,
    values: BTreeMap<&'static str, String>,
}

/// Each setting's text with its origin; every text is of its setting's kind.
#[derive(Clone, Debug)]
pub struct Effective {
    pub(super) table: &'static [Setting],
    values: BTreeMap<&'static str, (String, Origin)>,
    warnings: Vec<String>,
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Foreign(place) => f.write_str(place),
            Self::Mode(mode) => write!(f, "default of {mode}"),
            Self::Environment(name) => f.write_str(name),
            Self::File { path, key } => write!(f, "{}: {key}", path.display()),
            Self::Flag(flag) => write!(f, "--{flag}"),
        }
    }
}

// === impl File ===

impl File {
    /// The file that the flag `--config` names, else the variable `CULVERT_CONFIG`; [`None`] when neither does. Set to
    /// nothing, as a template leaves it, the variable names none.
    pub fn named(
        flag: Option<&Path>,
        environment: &Environment,
        table: &'static [Setting],
    ) -> Result<Option<Self>, ConfigError> {
        let variable = variable("config");
        let (path, by) = match (flag, environment.value(&variable).filter(|path| !path.is_empty())) {
            (Some(path), _) => (path, "--config".to_owned()),
            (None, Some(path)) => (Path::new(path), variable),
            (None, None) => return Ok(None),
        };
        Self::read(path, table).map(Some).map_err(|source| ConfigError::File { by, source: Box::new(source) })
    }

    pub fn read(path: &Path, table: &'static [Setting]) -> Result<Self, ConfigError> {
        let failed = |source| ConfigError::ReadFile { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
            return Err(ConfigError::FileSize { path: path.to_owned() });
        }
        Self::parse(path, &std::fs::read_to_string(path).map_err(failed)?, table)
    }

    /// `path` is for messages.
    pub fn parse(path: &Path, text: &str, table: &'static [Setting]) -> Result<Self, ConfigError> {
        let shape = |source: yaml::YamlError| ConfigError::FileShape { path: path.to_owned(), source: source.into() };
        // A file of comments alone is an empty mapping, not an error.
        let read: BTreeMap<String, String> =
            if yaml::is_blank(text) { BTreeMap::new() } else { yaml::read(text).map_err(shape)? };
        let mut values = BTreeMap::new();
        for (key, value) in read {
            let Some(setting) = find(table, &key) else {
                let nearest = nearest(&key, table.iter().map(|setting| setting.key));
                return Err(ConfigError::UnknownKey { path: path.to_owned(), key, nearest });
            };
            values.insert(setting.key, value);
        }
        Ok(Self { path: path.to_owned(), values })
    }
}

// === impl Effective ===

impl Effective {
    /// Takes each setting from the first of: `flags`, `environment`, `file`, the table's default. Every value is
    /// checked, also one that another outweighs: a mistake that shows up only when a flag is removed is a trap.
    pub fn resolve(
        table: &'static [Setting],
        flags: &BTreeMap<&'static str, String>,
        environment: &Environment,
        file: Option<&File>,
    ) -> Result<Self, ConfigError> {
        Self::resolve_over(table, flags, environment, file, &Underlay::new())
    }

    /// As [`Self::resolve`], with `underlay` between the file and the table's defaults.
    pub fn resolve_over(
        table: &'static [Setting],
        flags: &BTreeMap<&'static str, String>,
        environment: &Environment,
        file: Option<&File>,
        underlay: &Underlay,
    ) -> Result<Self, ConfigError> {
        let mut values = BTreeMap::new();
        for setting in table {
            let key = setting.key;
            let name = variable(key);
            let sources = [
                flags.get(key).map(|text| (text.as_str(), Origin::Flag(key))),
                environment.value(&name).map(|text| (text, Origin::Environment(name.clone()))),
                file.and_then(|file| {
                    file.values.get(key).map(|text| (text.as_str(), Origin::File { path: file.path.clone(), key }))
                }),
                underlay.get(key).map(|(text, origin)| (text.as_str(), origin.clone())),
                match setting.default {
                    Default::Required => None,
                    Default::Value(text) => Some((text, Origin::Default)),
                },
            ];
            for (text, origin) in sources.into_iter().flatten() {
                setting.kind.check(text).map_err(|source| ConfigError::BadValue { origin: origin.clone(), source })?;
                values.entry(key).or_insert_with(|| (text.to_owned(), origin));
            }
        }
        Ok(Self { table, values, warnings: misspelt(table, environment) })
    }

    /// What a person should hear and what stops nothing.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where each key that has a value got it.
    pub(super) fn origins(&self) -> impl Iterator<Item = (&'static str, Origin)> {
        self.values.iter().map(|(key, (_, origin))| (*key, origin.clone()))
    }

    pub fn value(&self, key: &str) -> Option<(&str, &Origin)> {
        self.values.get(key).map(|(text, origin)| (text.as_str(), origin))
    }

    /// The text of `key`, read by `parse`.
    pub(super) fn read<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, BadValue>,
    ) -> Result<T, ConfigError> {
        let (text, origin) = self.value(key).ok_or(ConfigError::Missing { key })?;
        parse(text).map_err(|source| ConfigError::BadValue { origin: origin.clone(), source })
    }
}

/// Variables that are nearly a setting's. Others that begin with our prefix are not ours to judge: Kubernetes makes
/// `CULVERT_PORT` and the like of a Service that is called culvert.
fn misspelt(table: &'static [Setting], environment: &Environment) -> Vec<String> {
    let key = |name: &str| name.trim_start_matches(PREFIX).to_ascii_lowercase().replace('_', "-");
    let keys = || table.iter().map(|setting| setting.key).chain(["config"]);
    let unknown = environment.names().filter(|name| !keys().any(|known| variable(known) == **name));
    let near = unknown.filter_map(|name| {
        let near = nearest(&key(name), keys())?;
        Some(format!("the variable {name} is not a setting: did you mean {}?", variable(near)))
    });
    near.collect()
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!(": did you mean {nearest:?}?"))
}

#[cfg(test)]
mod tests;

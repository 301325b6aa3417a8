//! One thing to say about one object.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::model::name::NamespacedName;

use super::Code;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something that was written is not enforced, or refuses everybody.
    Error,
    /// It is enforced, and surely not as it was meant.
    Warning,
    /// It may well be meant; somebody should have looked at it.
    Note,
}

/// What a finding is about: a kind and a name, each empty when there is none (a file that cannot be
/// read, the directory).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Object {
    pub kind: String,
    /// `<namespace>/<name>`, or a name alone for what stands in no namespace.
    pub name: String,
}

/// Where an object is written. Document and line count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub file: PathBuf,
    pub document: Option<usize>,
    pub line: Option<usize>,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    pub code: Code,
    #[serde(flatten)]
    pub object: Object,
    /// Where in the object, such as `spec.rules[1].from[0].source.principals[0]`; empty for all of it.
    pub path: String,
    pub at: Option<Place>,
    pub what: String,
    /// What it leads to.
    pub why: String,
    pub mend: String,
}

// === impl Finding ===

impl Finding {
    /// A finding of its code's own level.
    pub(super) fn new(code: Code, object: Object, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            level: code.level(),
            code,
            object,
            path: path.into(),
            at: None,
            what: what.into(),
            why: String::new(),
            mend: code.mend().to_owned(),
        }
    }

    pub(super) fn level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    pub(super) fn why(self, why: impl Into<String>) -> Self {
        Self { why: why.into(), ..self }
    }

    pub(super) fn mend(self, mend: impl Into<String>) -> Self {
        Self { mend: mend.into(), ..self }
    }
}

// === impl Level ===

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Note => "note",
            Self::Warning => "warning",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Object ===

impl Object {
    pub(super) fn new(kind: &str, key: &NamespacedName) -> Self {
        Self { kind: kind.to_owned(), name: key.to_string() }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind.as_str(), self.name.as_str()) {
            ("", name) | (name, "") => f.write_str(name),
            (kind, name) => write!(f, "{kind} {name}"),
        }
    }
}

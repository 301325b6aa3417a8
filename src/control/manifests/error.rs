//! What is wrong with a directory of manifests, one line a mistake.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// How many mistakes of one directory are told; the rest is counted.
const MAX_ERRORS: usize = 100;
/// How many characters of a reason and its mend are told: it may quote the manifest.
const MAX_REASON: usize = 600;

/// All that is wrong with a directory.
#[derive(Debug, Default)]
pub struct LoadErrors {
    pub errors: Vec<LoadError>,
    /// How many more there were.
    pub more: usize,
}

/// One mistake: the thing, the place and the mend.
#[derive(Debug)]
pub struct LoadError {
    pub file: PathBuf,
    pub document: Option<DocumentPlace>,
    /// `<kind> <namespace>/<name>`, as far as it is known.
    pub object: Option<String>,
    /// Where in the object; empty when that says nothing.
    pub path: String,
    pub fault: Fault,
}

/// Where in a file a document is; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentPlace {
    pub number: usize,
    pub line: usize,
}

/// What kind of mistake it is. All are the fault of who wrote or mounted the manifests.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Two objects of one kind, namespace and name.
    #[error("the same object is in {first} already; remove one of the two")]
    Duplicate { first: String },
    /// The fields are there and their values make no sense.
    #[error("{reason}; {mend}")]
    Invalid { reason: String, mend: String },
    /// The file or directory cannot be read.
    #[error("cannot be read; check the path and its permissions")]
    Io(#[source] io::Error),
    /// A field is missing, unknown or of another type.
    #[error("{reason}; {mend}")]
    Shape { reason: String, mend: &'static str },
    /// It is not YAML or JSON.
    #[error("{reason}; {mend}")]
    Syntax { reason: String, mend: &'static str },
    /// A bound that keeps the daemon's memory.
    #[error("{what} is over the limit of {limit}; split it or remove what is not needed")]
    TooLarge { what: &'static str, limit: u64 },
}

// === impl LoadErrors ===

impl LoadErrors {
    pub(super) fn push(&mut self, error: LoadError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        } else {
            self.more += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }
}

impl fmt::Display for LoadErrors {
    /// One line an error, each with its cause, because a list has no one `source`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.errors.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
            if let Some(cause) = std::error::Error::source(error) {
                write!(f, ": {cause}")?;
            }
        }
        if self.more > 0 {
            write!(f, "\n… and {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

// === impl LoadError ===

impl LoadError {
    pub(super) fn file(file: impl Into<PathBuf>, fault: Fault) -> Self {
        Self { file: file.into(), document: None, object: None, path: String::new(), fault }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(DocumentPlace { number, line }) = self.document {
            write!(f, " document {number} (line {line})")?;
        }
        if let Some(object) = &self.object {
            write!(f, ", {}", OneLine(object))?;
        }
        if !self.path.is_empty() {
            write!(f, ", {}", OneLine(&self.path))?;
        }
        write!(f, ": {}", OneLine(&self.fault.to_string()))
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.fault)
    }
}

/// Text that may quote a manifest: no control character reaches a log, and its length is bounded.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, c) in self.0.chars().enumerate() {
            match c {
                _ if i == MAX_REASON => return f.write_str("…"),
                _ if c.is_control() => write!(f, "{}", c.escape_debug())?,
                _ => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

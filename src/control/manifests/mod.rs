//! A directory of Kubernetes manifests: the input of a mesh without an API server.
//!
//! Owns: finding the files, splitting them into documents, typing and checking each object, and
//! noticing that the directory has changed. Never: what objects mean together (`index`), a task or
//! a timer. All of a directory is read or none of it: a caller keeps its last good state otherwise.

mod check;
mod error;
mod json;
mod kinds;
mod object;
mod objects;
mod read;
mod split;
mod survey;
pub mod watch;

use std::path::{Path, PathBuf};

pub use error::{DocumentPlace, Fault, LoadError, LoadErrors};
pub use objects::Objects;
pub use survey::{Places, Survey, survey, survey_of};

/// The annotation with which a static pod names its network namespace.
pub const NETNS: &str = "culvert.dev/netns";

/// How many unknown kinds are remembered for the warning.
pub const MAX_IGNORED: usize = 32;

/// A file's path, as it is shown, and its bytes.
pub type Source = (PathBuf, Vec<u8>);

/// Reads all `*.yaml`, `*.yml` and `*.json` of a directory, in order of their names.
///
/// # Errors
/// All that is wrong with all files, up to a bound. Nothing is taken over then.
pub fn load(directory: &Path) -> Result<Objects, LoadErrors> {
    parse(&read::files(directory)?)
}

/// Reads manifests that are in memory already.
///
/// # Errors
/// As [`load`].
pub fn parse(sources: &[Source]) -> Result<Objects, LoadErrors> {
    let mut collector = object::Collector::default();
    for (path, bytes) in sources {
        collector.file(path, bytes);
    }
    collector.finish()
}

#[cfg(test)]
mod tests;

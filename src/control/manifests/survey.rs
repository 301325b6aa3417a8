//! A set of manifests as it is, mistakes and all: for who looks for mistakes and takes nothing over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{DocumentPlace, LoadErrors, Objects, Source, object, read};

/// Kind, namespace and name of an object → the file and document in which it is written.
pub type Places = BTreeMap<(&'static str, Arc<str>, Arc<str>), (PathBuf, DocumentPlace)>;

/// What is sound beside what is not.
#[derive(Debug, Default)]
pub struct Survey {
    pub objects: Objects,
    pub errors: LoadErrors,
    pub places: Places,
    /// How many documents there were; a List counts as one.
    pub documents: usize,
}

/// Looks through a directory, as `load` does.
///
/// # Errors
/// The files cannot be read.
pub fn survey(directory: &Path) -> Result<Survey, LoadErrors> {
    Ok(survey_of(&read::files(directory)?))
}

/// Looks through manifests that are in memory already.
pub fn survey_of(sources: &[Source]) -> Survey {
    let mut collector = object::Collector::default();
    for (path, bytes) in sources {
        collector.file(path, bytes);
    }
    collector.survey()
}

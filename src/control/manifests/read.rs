//! The files of a directory, bounded.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Source;
use super::error::{Fault, LoadError, LoadErrors};

/// Bytes of one file. A dump of 5,000 pods is about 40 MB; somebody who has more splits it.
const MAX_FILE: u64 = 64 << 20;
/// Bytes of all files together: they are in memory at once.
const MAX_TOTAL: u64 = 256 << 20;
/// Files of the directory.
const MAX_FILES: usize = 10_000;

/// True for a file's name that is read. Hidden files are not: Kubernetes keeps its own links of a
/// mounted ConfigMap (`..data`) beside the files, and editors keep swap files there.
pub(super) fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    !name.starts_with('.') && matches!(extension, Some("json" | "yaml" | "yml"))
}

/// Names of the manifests of a directory, sorted. A name that is not UTF-8 is not a manifest.
pub(super) fn names(directory: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        if let Ok(name) = entry?.file_name().into_string()
            && is_manifest(&name)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Reads all manifests of a directory. Links are followed, directories are skipped.
pub(super) fn files(directory: &Path) -> Result<Vec<Source>, LoadErrors> {
    let mut errors = LoadErrors::default();
    let names = match names(directory) {
        Ok(names) => names,
        Err(error) => {
            errors.push(LoadError::file(directory, Fault::Io(error)));
            return Err(errors);
        }
    };
    if names.len() > MAX_FILES {
        let fault = Fault::TooLarge { what: "the number of files", limit: MAX_FILES as u64 };
        errors.push(LoadError::file(directory, fault));
        return Err(errors);
    }
    let mut files = Vec::with_capacity(names.len());
    let mut left = MAX_TOTAL;
    for name in names {
        let path = directory.join(name);
        match file(&path, left) {
            Ok(Some(bytes)) => {
                left = left.saturating_sub(bytes.len() as u64);
                files.push((path, bytes));
            }
            Ok(None) => {}
            Err(fault) => errors.push(LoadError::file(path, fault)),
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

/// The bytes of one file; nothing for a directory. Asks for the kind before it opens: to open a
/// pipe would wait for its writer.
fn file(path: &PathBuf, left: u64) -> Result<Option<Vec<u8>>, Fault> {
    let kind = fs::metadata(path).map_err(Fault::Io)?.file_type();
    if kind.is_dir() {
        return Ok(None);
    }
    if !kind.is_file() {
        return Err(Fault::Invalid {
            reason: "it is not a regular file".to_owned(),
            mend: "replace it with a file, or rename it".to_owned(),
        });
    }
    let limit = MAX_FILE.min(left);
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large, even while it grows.
    File::open(path).map_err(Fault::Io)?.take(limit + 1).read_to_end(&mut bytes).map_err(Fault::Io)?;
    if bytes.len() as u64 > limit {
        let (what, limit) = if limit == MAX_FILE {
            ("the file's size in bytes", MAX_FILE)
        } else {
            ("the directory's size in bytes", MAX_TOTAL)
        };
        return Err(Fault::TooLarge { what, limit });
    }
    Ok(Some(bytes))
}

//! Whose a lab is: a locked file that lists what was made, so that a run which was killed can be
//! cleaned up after by the next one.
//!
//! The lock is the kernel's (`flock`), which ends with the process whatever ends it; a process
//! number in a name could be another's by now. A name is written down before it is made.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::sys::inhabitants;
use crate::sys::named_netns::{self, NamedNetnsError};
use crate::sys::netns::Netns;

/// Why a lab could not be claimed or taken away.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The file cannot be made, read or written: not root, or /run is read-only. Configuration.
    #[error("cannot {call} {}: run as root with /run writable", path.display())]
    File {
        call: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A process that runs now has a lab of that name. Configuration.
    #[error("a lab called '{prefix}' is in use by a process that runs now: choose another name, or end that process")]
    InUse { prefix: String },
    /// A lab of that name was left on purpose. Configuration.
    #[error("a lab called '{prefix}' was kept by an earlier run: remove it first, or choose another name")]
    Kept { prefix: String },
    /// A namespace could not be made, or its name not taken away. Kernel or configuration.
    #[error("the namespaces of the lab '{prefix}' are not as they should be")]
    Netns {
        prefix: String,
        #[source]
        source: Box<NamedNetnsError>,
    },
}

/// Whether a sweep takes labs that were kept on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Remove,
    Spare,
}

/// A lab's name, held by this process until it is released or dropped.
pub(super) struct Claim {
    prefix: String,
    path: PathBuf,
    file: Flock<File>,
    names: Vec<String>,
    held: bool,
}

const DIRECTORY: &str = "/run/culvert-lab";
const SUFFIX: &str = ".lab";
/// The line that marks a lab as kept. No namespace can have the name.
const KEPT: &str = "# kept";

// === impl Claim ===

impl Claim {
    /// Takes the name `prefix`, cleaning up after a run of that name which was killed.
    pub(super) fn take(prefix: &str) -> Result<Self, ClaimError> {
        let directory = Path::new(DIRECTORY);
        std::fs::create_dir_all(directory).map_err(file("make the directory", directory))?;
        let path = directory.join(format!("{prefix}{SUFFIX}"));
        let Some(mut locked) = lock(&path, true)? else { return Err(ClaimError::InUse { prefix: prefix.into() }) };
        let left = Left::read(&mut locked, &path, prefix)?;
        if left.kept {
            return Err(ClaimError::Kept { prefix: prefix.into() });
        }
        left.remove(prefix)?;
        locked.set_len(0).map_err(file("empty", &path))?;
        Ok(Self { prefix: prefix.into(), path, file: locked, names: Vec::new(), held: true })
    }

    /// Makes a namespace that goes away with the lab.
    pub(super) fn namespace(&mut self, name: &str) -> Result<Netns, ClaimError> {
        // Only a name that we made is ours to delete: one that exists belongs to somebody else, and
        // must not even be on the list.
        let path = named_netns::path_of(name);
        if path.exists() {
            return Err(netns(&self.prefix)(NamedNetnsError::Exists { path }));
        }
        self.note(name)?;
        let netns = named_netns::create(name).map_err(netns(&self.prefix))?;
        self.names.push(name.into());
        Ok(netns)
    }

    /// Takes everything away. All of it is tried; the first failure is told.
    pub(super) fn release(mut self) -> Result<(), ClaimError> {
        self.remove()
    }

    /// Leaves everything where it is, marked as left on purpose.
    pub(super) fn keep(mut self) -> Result<(), ClaimError> {
        self.note(KEPT)?;
        self.held = false;
        Ok(())
    }

    fn note(&mut self, line: &str) -> Result<(), ClaimError> {
        writeln!(&*self.file, "{line}").map_err(file("write", &self.path))
    }

    fn remove(&mut self) -> Result<(), ClaimError> {
        if !std::mem::replace(&mut self.held, false) {
            return Ok(());
        }
        let deleted: Vec<_> = self.names.drain(..).rev().map(|name| named_netns::delete(&name)).collect();
        for result in deleted {
            // The list stays where it is, so that a sweep can try again.
            result.map_err(netns(&self.prefix))?;
        }
        std::fs::remove_file(&self.path).map_err(file("remove", &self.path))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Nobody is left to tell; the list stays for the next sweep.
        drop(self.remove());
    }
}

/// Takes away the labs whose name starts with `prefix` and whose process is gone, with the programs
/// that still run in them. Says which. Labs in use are left alone.
pub fn sweep(prefix: &str, kept: Kept) -> Result<Vec<String>, ClaimError> {
    let directory = Path::new(DIRECTORY);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(file("list", directory)(source)),
    };
    let mut swept = Vec::new();
    for entry in entries {
        let entry = entry.map_err(file("list", directory))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Some(lab) = name.strip_suffix(SUFFIX).filter(|lab| lab.starts_with(prefix)) else { continue };
        let path = entry.path();
        let Some(mut locked) = lock(&path, false)? else { continue };
        let left = Left::read(&mut locked, &path, lab)?;
        if left.kept && kept == Kept::Spare {
            continue;
        }
        left.remove(lab)?;
        std::fs::remove_file(&path).map_err(file("remove", &path))?;
        swept.push(lab.to_string());
    }
    swept.sort_unstable();
    Ok(swept)
}

/// What a list says of a lab whose process is gone.
struct Left {
    kept: bool,
    names: Vec<String>,
}

// === impl Left ===

impl Left {
    fn read(locked: &mut File, path: &Path, prefix: &str) -> Result<Self, ClaimError> {
        let mut text = String::new();
        locked.read_to_string(&mut text).map_err(file("read", path))?;
        // A line that names no namespace of this lab is not ours to act on.
        let ours = |line: &&str| line.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-'));
        let names = text.lines().filter(ours).map(Into::into).collect();
        Ok(Self { kept: text.lines().any(|line| line == KEPT), names })
    }

    fn remove(&self, prefix: &str) -> Result<(), ClaimError> {
        // A name written down before a crash may never have been made.
        let made: Vec<Netns> =
            self.names.iter().filter_map(|name| Netns::open(named_netns::path_of(name)).ok()).collect();
        let ids: BTreeSet<_> = made.iter().map(Netns::id).collect();
        drop(made);
        if !ids.is_empty() {
            // A program left in there would keep its namespace, and the links with it.
            inhabitants::evict(&ids);
        }
        for name in self.names.iter().rev() {
            named_netns::delete(name).map_err(netns(prefix))?;
        }
        Ok(())
    }
}

/// Opens and locks a list. None when it is locked by another process, or gone.
fn lock(path: &Path, create: bool) -> Result<Option<Flock<File>>, ClaimError> {
    loop {
        let opened = OpenOptions::new().read(true).append(true).create(create).open(path);
        let opened = match opened {
            Ok(opened) => opened,
            Err(source) if source.kind() == io::ErrorKind::NotFound && !create => return Ok(None),
            Err(source) => return Err(file("open", path)(source)),
        };
        let locked = match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => locked,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(file("lock", path)(errno.into())),
        };
        // Between the opening and the lock its owner may have removed it: then the lock holds nothing.
        let inode = locked.metadata().map_err(file("read", path))?.ino();
        if std::fs::metadata(path).is_ok_and(|meta| meta.ino() == inode) {
            return Ok(Some(locked));
        }
    }
}

fn file(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClaimError {
    let path = path.to_owned();
    move |source| ClaimError::File { call, path, source }
}

fn netns(prefix: &str) -> impl FnOnce(NamedNetnsError) -> ClaimError {
    let prefix = prefix.to_owned();
    move |source| ClaimError::Netns { prefix, source: Box::new(source) }
}

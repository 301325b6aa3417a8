//! The cgroup v2 of this process: what the kernel's `socket cgroupv2` match compares.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

/// `PROC_CGROUP_INIT_INO` of linux/proc_ns.h: the inode of the first cgroup namespace.
const INIT_NAMESPACE: u64 = 0xefff_fffb;
/// No hierarchy in use is near this deep; the kernel's match takes 255.
const DEEPEST: usize = 255;

/// A cgroup v2, as the kernel's matches name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The inode of its directory, which is `cgroup_id()` on 64-bit kernels (5.5 and newer).
    pub id: u64,
    /// How deep it is below the root, which is 0.
    pub level: u32,
    /// From the root of the hierarchy, without the leading slash.
    pub path: String,
}

/// Why the process's cgroup cannot stand for the process. None of these is a fault: callers fall
/// back to a weaker match and show the reason.
#[derive(Debug, thiserror::Error)]
pub enum NoCgroup {
    /// No cgroup v2 is mounted whole. Configuration: mount the host's /sys/fs/cgroup.
    #[error("no cgroup v2 hierarchy is mounted with its root: mount the host's /sys/fs/cgroup")]
    NotMounted,
    /// Nobody asked for it. Configuration.
    #[error("the setting cgroup-exemption is off")]
    Off,
    /// The process sees a part of the hierarchy as its root. Configuration.
    #[error("the process has a cgroup namespace of its own: run it with the host's (a privileged container has it)")]
    PrivateNamespace,
    /// The process is in the root, which every process is below. Configuration: start it as a unit.
    #[error("the process is in the root cgroup, which every process is part of: start it in a cgroup of its own")]
    Root,
    /// A file of /proc or of the hierarchy. Kernel or configuration.
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

// === impl Cgroup ===

impl Cgroup {
    /// The cgroup of the calling thread.
    pub fn own() -> Result<Self, NoCgroup> {
        let read = |path: &str| {
            std::fs::read_to_string(path).map_err(|source| NoCgroup::Unreadable { path: path.into(), source })
        };
        let namespace = Path::new("/proc/thread-self/ns/cgroup");
        if inode(namespace)? != INIT_NAMESPACE {
            return Err(NoCgroup::PrivateNamespace);
        }
        let path = own_path(&read("/proc/thread-self/cgroup")?).ok_or(NoCgroup::NotMounted)?;
        let mount = mount_point(&read("/proc/self/mountinfo")?).ok_or(NoCgroup::NotMounted)?;
        let level = level(&path).ok_or(NoCgroup::Root)?;
        let directory = mount.join(&path);
        let kind = statfs(&directory)
            .map_err(|errno| NoCgroup::Unreadable { path: directory.clone(), source: errno.into() })?
            .filesystem_type();
        if kind != CGROUP2_SUPER_MAGIC {
            return Err(NoCgroup::NotMounted);
        }
        Ok(Self { id: inode(&directory)?, level, path })
    }
}

fn inode(path: &Path) -> Result<u64, NoCgroup> {
    let meta = std::fs::metadata(path).map_err(|source| NoCgroup::Unreadable { path: path.into(), source })?;
    Ok(meta.ino())
}

/// The process's cgroup v2 in /proc/PID/cgroup: the line `0::/path`, without the leading slash.
fn own_path(text: &str) -> Option<String> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    // The kernel says so when the process was left in a cgroup that was removed since.
    Some(path.strip_suffix(" (deleted)").unwrap_or(path).to_owned())
}

/// `None` for the root, and for a path that leaves the hierarchy that we can see.
fn level(path: &str) -> Option<u32> {
    let depth = path.split('/').filter(|part| !part.is_empty()).count();
    let outside = path.split('/').any(|part| part == "..");
    (depth > 0 && depth <= DEEPEST && !outside).then_some(depth as u32)
}

/// Where the whole cgroup v2 hierarchy is mounted, from /proc/PID/mountinfo (`man 5 proc`).
fn mount_point(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let whole = root == "/" && kind.split(' ').next() == Some("cgroup2");
        whole.then(|| PathBuf::from(unescape(point)))
    })
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> String {
    let marks = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    marks.iter().fold(field.to_owned(), |text, (mark, real)| text.replace(mark, real))
}

#[cfg(test)]
mod tests;

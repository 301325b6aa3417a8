//! Named network namespaces under /run/netns, made and deleted as iproute2 does.
//!
//! A name is a file onto which the namespace is mounted, so that it outlives the thread that made
//! it and `ip netns exec NAME` finds it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use super::netlink::{LinkError, Links};
use super::netns::{Netns, NetnsError};

/// Where iproute2 keeps names (`NETNS_RUN_DIR`).
pub const DIRECTORY: &str = "/run/netns";

/// Why a name could not be made or deleted.
#[derive(Debug, thiserror::Error)]
pub enum NamedNetnsError {
    /// The name is in use. Somebody else's, or left by a run that was killed.
    #[error("the network namespace {} exists already: delete it, or choose another name", path.display())]
    Exists { path: PathBuf },
    /// The new namespace's loopback stays down. Kernel.
    #[error("cannot bring lo up in the new network namespace {}", path.display())]
    Loopback {
        path: PathBuf,
        #[source]
        source: LinkError,
    },
    /// The name cannot be a file's. The caller.
    #[error("'{name}' cannot name a network namespace: use 1 to 200 letters, digits, '.', '_' or '-'")]
    Name { name: String },
    /// What was just made cannot be opened. Kernel.
    #[error("the new network namespace {} cannot be opened", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: NetnsError,
    },
    /// A system call failed: not root, no CAP_SYS_ADMIN, or a read-only /run. Configuration or kernel.
    #[error("cannot {call} {}: run as root with /run writable", path.display())]
    System {
        call: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Where the namespace called `name` is, or would be.
pub fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes a namespace called `name` with its loopback up. Nothing is left behind by a failure.
pub fn create(name: &str) -> Result<Netns, NamedNetnsError> {
    let path = checked(name)?;
    let directory = Path::new(DIRECTORY);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(system("make the directory", directory))?;
    share(directory)?;
    // Mode 000, as iproute2: the file is only a place to mount onto.
    match OpenOptions::new().write(true).create_new(true).mode(0o0).open(&path) {
        Ok(_) => {}
        Err(source) if source.kind() == io::ErrorKind::AlreadyExists => return Err(NamedNetnsError::Exists { path }),
        Err(source) => return Err(system("make the file", &path)(source)),
    }
    let made = populate(&path);
    if made.is_err() {
        drop(delete(name));
    }
    made
}

/// Takes the name away. The namespace itself ends with its last process, socket and open file.
/// False when there was no such name.
pub fn delete(name: &str) -> Result<bool, NamedNetnsError> {
    let path = checked(name)?;
    // Again until nothing is mounted there: a failed run may have mounted twice.
    loop {
        match umount2(&path, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => return Err(system("unmount", &path)(errno.into())),
        }
    }
    match std::fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(system("remove the file", &path)(source)),
    }
}

/// The names that start with `prefix`, sorted. None when nobody ever made one.
pub fn list(prefix: &str) -> Result<Vec<String>, NamedNetnsError> {
    let directory = Path::new(DIRECTORY);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(system("list", directory)(source)),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn populate(path: &Path) -> Result<Netns, NamedNetnsError> {
    let target = path.to_owned();
    // A thread of its own: unshare(2) moves the caller, and this one ends in the new namespace.
    let thread = std::thread::Builder::new().name("culvert-new-netns".into()).spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| system("make the namespace", &target)(errno.into()))?;
        let own = Path::new("/proc/thread-self/ns/net");
        mount(Some(own), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|errno| system("mount the namespace onto", &target)(errno.into()))
    });
    let ended = || system("make the namespace", path)(io::Error::other("its thread ended early"));
    thread.map_err(system("start a thread for", path))?.join().map_err(|_panic| ended())??;
    let netns = Netns::open(path).map_err(|source| NamedNetnsError::Open { path: path.into(), source })?;
    let up = Links::open(&netns).and_then(|mut links| links.set_up("lo"));
    up.map_err(|source| NamedNetnsError::Loopback { path: path.into(), source })?;
    Ok(netns)
}

/// Makes the directory a shared mount, so that namespaces named here are seen by services with a
/// mount namespace of their own, and deleting one takes it away from them too.
fn share(directory: &Path) -> Result<(), NamedNetnsError> {
    let failed = |errno: Errno| system("share the mounts of", directory)(errno.into());
    // iproute2 takes the same lock: two first users would stack one mount on the other.
    let file = File::open(directory).map_err(system("open", directory))?;
    let _lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno))?;
    let make_shared =
        || mount(None::<&str>, directory, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match make_shared() {
        Ok(()) => Ok(()),
        // EINVAL: no mount point yet.
        Err(Errno::EINVAL) => {
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(directory), directory, None::<&str>, bind, None::<&str>).map_err(failed)?;
            make_shared().map_err(failed)
        }
        Err(errno) => Err(failed(errno)),
    }
}

fn checked(name: &str) -> Result<PathBuf, NamedNetnsError> {
    let spelled = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if (1..=200).contains(&name.len()) && spelled && !name.starts_with('.') {
        Ok(path_of(name))
    } else {
        Err(NamedNetnsError::Name { name: name.into() })
    }
}

fn system(call: &'static str, path: &Path) -> impl FnOnce(io::Error) -> NamedNetnsError {
    let path = path.to_owned();
    move |source| NamedNetnsError::System { call, path, source }
}

#[cfg(test)]
mod tests;

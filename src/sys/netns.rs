//! Network namespaces: opening, telling apart, and running a closure inside one.
//!
//! `setns(2)` changes the calling thread, so the work is done on threads of our own. Nothing of
//! tokio ever runs on them: a runtime's worker that came back in the wrong namespace would open
//! every later socket there.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use nix::sched::{CloneFlags, setns};
use nix::sys::statfs::{FsType, fstatfs};

use super::sched::{BRIEF, ThreadId};

/// `NSFS_MAGIC` of linux/magic.h: the file system of namespace files.
const NSFS_MAGIC: FsType = FsType(0x6e73_6673);

/// An open network namespace. It exists as long as a clone of this handle does.
#[derive(Clone, Debug)]
pub struct Netns {
    file: Arc<File>,
    id: NetnsId,
    path: PathBuf,
}

/// What tells one namespace from another on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsId {
    pub device: u64,
    pub inode: u64,
}

/// Why a namespace could not be opened or entered.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// CAP_SYS_ADMIN is missing, or the namespace is being torn down. Configuration or kernel.
    #[error("cannot enter the network namespace {}: run as root or give the process CAP_SYS_ADMIN", path.display())]
    Enter {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// CAP_NET_ADMIN is missing. Configuration.
    #[error("cannot bring lo up in a new network namespace: run as root or give the process CAP_NET_ADMIN")]
    Loopback(#[source] io::Error),
    /// The path is a file of another kind. Configuration.
    #[error("{} is not a network namespace: name a file such as /run/netns/NAME or /proc/PID/ns/net", path.display())]
    NotANamespace { path: PathBuf },
    /// Missing file or no permission. Configuration.
    #[error("cannot open the network namespace {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A worker thread is gone. Us.
    #[error("the namespace worker ended before it answered for {}", path.display())]
    Worker { path: PathBuf },
}

// === impl Netns ===

impl Netns {
    /// Opens the namespace file at `path` and checks that it is a network namespace.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, NetnsError> {
        let path = path.into();
        let file = File::open(&path).map_err(|source| NetnsError::Open { path: path.clone(), source })?;
        Self::of(file, path)
    }

    /// Takes a descriptor that another process sent, after checking that it is a network namespace.
    pub fn from_descriptor(descriptor: OwnedFd) -> Result<Self, NetnsError> {
        let mut netns = Self::of(File::from(descriptor), PathBuf::from("a descriptor that was sent"))?;
        netns.path = format!("net:[{}]", netns.id.inode).into();
        Ok(netns)
    }

    /// The namespace that a socket is of, whoever made it. Needs CAP_NET_ADMIN in it.
    pub fn of_socket(socket: BorrowedFd<'_>) -> Result<Self, NetnsError> {
        let of = super::nsfs::of_socket(socket);
        Self::from_descriptor(of.map_err(|source| NetnsError::Open { path: "of a socket".into(), source })?)
    }

    fn of(file: File, path: PathBuf) -> Result<Self, NetnsError> {
        let open = |source| NetnsError::Open { path: path.clone(), source };
        let kind = fstatfs(&file).map_err(|e| open(e.into()))?.filesystem_type();
        if kind != NSFS_MAGIC || !super::nsfs::is_network(file.as_fd()) {
            return Err(NetnsError::NotANamespace { path });
        }
        let meta = file.metadata().map_err(open)?;
        let id = NetnsId { device: meta.dev(), inode: meta.ino() };
        Ok(Self { file: Arc::new(file), id, path })
    }

    /// True for the namespace that the kernel booted with. It alone has the settings of `net_core_table`
    /// (net/core/sysctl_net_core.c, `register_net_sysctl(&init_net, …)`), so this needs no look at process 1, which a
    /// container does not see. Blocks.
    pub fn is_initial(&self) -> Result<bool, NetnsError> {
        self.run(|| Path::new("/proc/sys/net/core/netdev_max_backlog").exists())
    }

    /// A new namespace without a name, loopback up. It ends when the last clone of the handle does:
    /// for trying what a kernel can do, and for tests. Needs CAP_SYS_ADMIN.
    pub fn fresh() -> Result<Self, NetnsError> {
        let path = PathBuf::from("a new network namespace");
        let of = path.clone();
        let failed = move |source| NetnsError::Enter { path: of.clone(), source };
        // The thread is in the new namespace for the rest of its life, so it is one of its own.
        let make = move || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| failed(errno.into()))?;
            super::nsfs::loopback_up().map_err(NetnsError::Loopback)?;
            File::open("/proc/thread-self/ns/net").map_err(failed)
        };
        let thread = std::thread::Builder::new().name("culvert-netns-new".into()).spawn(make);
        let thread = thread.map_err(|source| NetnsError::Enter { path: path.clone(), source })?;
        let ended = |_| Err(NetnsError::Worker { path: path.clone() });
        let file = thread.join().unwrap_or_else(ended)?;
        let meta = file.metadata().map_err(|source| NetnsError::Open { path, source })?;
        let id = NetnsId { device: meta.dev(), inode: meta.ino() };
        Ok(Self { file: Arc::new(file), id, path: format!("net:[{}]", id.inode).into() })
    }

    /// The namespace of this process.
    pub fn own() -> Result<Self, NetnsError> {
        // The calling thread's, not the main thread's: /proc/self/ns is the thread group leader's.
        Self::open("/proc/thread-self/ns/net")
    }

    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// Where it was opened; for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Runs `work` inside the namespace on a worker thread and waits for it. Blocks the caller:
    /// call it from blocking code, or use [`Netns::run_async`].
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NetnsError> {
        let (send, receive) = std::sync::mpsc::sync_channel(1);
        self.submit(move |result: Result<T, NetnsError>| drop(send.send(result)), work);
        receive.recv().unwrap_or_else(|_| Err(NetnsError::Worker { path: self.path.clone() }))
    }

    /// As [`Netns::run`], on a thread of its own: for work that may take seconds, such as another program. The shared
    /// workers make the sockets of every pod, and must not wait for it. There are as many as callers that wait.
    pub fn run_apart<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, NetnsError> {
        let (file, of) = (Arc::clone(&self.file), self.path.clone());
        let failed = move |source| NetnsError::Enter { path: of.clone(), source };
        let not_started = failed.clone();
        let inside = move || enter(&file).map_err(failed).map(|()| work());
        let thread = std::thread::Builder::new().name("culvert-netns-one".into()).spawn(inside);
        let ended = |_| Err(NetnsError::Worker { path: self.path.clone() });
        thread.map_err(not_started)?.join().unwrap_or_else(ended)
    }

    /// As [`Netns::run`], for tasks.
    pub async fn run_async<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NetnsError> {
        let (send, receive) = tokio::sync::oneshot::channel();
        self.submit(move |result: Result<T, NetnsError>| drop(send.send(result)), work);
        receive.await.unwrap_or_else(|_| Err(NetnsError::Worker { path: self.path.clone() }))
    }

    /// Runs `work` inside the namespace some time soon; nobody hears when that fails.
    pub fn run_later(&self, work: impl FnOnce() + Send + 'static) {
        self.submit(|result: Result<(), NetnsError>| drop(result), work);
    }

    fn submit<T: Send + 'static>(
        &self,
        answer: impl FnOnce(Result<T, NetnsError>) + Send + 'static,
        work: impl FnOnce() -> T + Send + 'static,
    ) {
        let netns = self.clone();
        let workers = match Workers::shared() {
            Ok(workers) => workers,
            Err(source) => return answer(Err(NetnsError::Enter { path: self.path.clone(), source })),
        };
        workers.push(Box::new(move || {
            answer(match enter(&netns.file) {
                Ok(()) => Ok(work()),
                Err(source) => Err(NetnsError::Enter { path: netns.path.clone(), source }),
            });
        }));
    }
}

/// The threads that enter namespaces. They are started on demand, up to [`Workers::MAX`], and live
/// as long as the process: a thread start for each new connection would cost more than the work.
struct Workers {
    /// The namespace that idle threads rest in.
    home: File,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
}

type Job = Box<dyn FnOnce() + Send>;

// === impl Workers ===

impl Workers {
    /// Jobs are short (a socket, a netlink exchange); more threads would only queue in the kernel.
    const MAX: usize = 4;

    fn shared() -> io::Result<&'static Arc<Self>> {
        static SHARED: std::sync::OnceLock<Arc<Workers>> = std::sync::OnceLock::new();
        if let Some(workers) = SHARED.get() {
            return Ok(workers);
        }
        let home = File::open("/proc/thread-self/ns/net")?;
        let state = Mutex::new(State { jobs: VecDeque::new(), idle: 0, threads: 0 });
        Ok(SHARED.get_or_init(|| Arc::new(Self { home, state, wake: Condvar::new() })))
    }

    fn push(self: &Arc<Self>, job: Job) {
        let mut state = self.lock();
        state.jobs.push_back(job);
        if state.idle < state.jobs.len() && state.threads < Self::MAX {
            let workers = Arc::clone(self);
            let started = std::thread::Builder::new().name("culvert-netns".into()).spawn(move || workers.work());
            // Without a thread the jobs wait for one that is there; with none at all they are
            // dropped, and each caller is told that the worker ended.
            match started {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads == 0 => state.jobs.clear(),
                Err(_) => {}
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    fn work(&self) {
        // Connections wait for sockets. Where the kernel forbids it, they wait longer.
        _ = ThreadId::current().ask_for_turns(BRIEF);
        loop {
            let job = {
                let mut state = self.lock();
                loop {
                    if let Some(job) = state.jobs.pop_front() {
                        break job;
                    }
                    // An idle thread must not keep a dead pod's namespace alive. One that cannot
                    // go home ends, which gives the namespace back all the same.
                    if enter(&self.home).is_err() {
                        state.threads -= 1;
                        return;
                    }
                    state.idle += 1;
                    state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
            };
            // A panic ends one job, whose caller sees its channel close, and never the thread.
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every network namespace that can be found on this machine, each once: those with a name in /run/netns and those
/// that a process lives in. One that only a mount elsewhere or an open file keeps alive is not found.
pub fn every() -> Vec<Netns> {
    let named = std::fs::read_dir("/run/netns").into_iter().flatten().flatten().map(|entry| entry.path());
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = processes.filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let of_processes = numbered.map(|entry| entry.path().join("ns/net"));
    let mut seen = std::collections::BTreeSet::new();
    // What cannot be opened has ended meanwhile or is no namespace.
    named
        .chain(of_processes)
        .filter_map(|path| Netns::open(path).ok())
        .filter(|netns| seen.insert(netns.id()))
        .collect()
}

/// Moves the calling thread into `namespace`.
#[expect(clippy::disallowed_methods, reason = "the one place that enters a namespace")]
fn enter(namespace: &File) -> io::Result<()> {
    Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
}

#[cfg(test)]
mod tests;

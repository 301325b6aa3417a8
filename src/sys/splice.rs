//! Moving bytes from socket to socket inside the kernel (`splice(2)`) through pipes that are leased.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};

/// A non-blocking pipe. It is empty whenever it lies in the pool.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Bytes inside.
    held: usize,
    /// Counts the wide pipes that are out; `None` for a narrow one.
    wide: Option<Wide>,
}

/// One of the wide pipes that are out at once.
#[derive(Debug)]
struct Wide(Arc<AtomicUsize>);

/// Pipes between two uses. Cloning shares the pool.
#[derive(Clone, Debug)]
pub struct PipePool {
    idle: Arc<Mutex<Vec<Pipe>>>,
    wide: Arc<AtomicUsize>,
}

/// What a wide pipe is asked to hold: /proc/sys/fs/pipe-max-size, 1 MiB by default. Pages are only allocated while bytes
/// are in it.
const CAPACITY: usize = 1024 * 1024;
/// Wide pipes at once. Readers that stall hold theirs full: 64 MiB at the most. Further pipes keep the kernel's 64 KiB.
const MAX_WIDE: usize = 64;
/// Idle pipes kept for the next burst: two descriptors and, empty, about 10 KiB of kernel memory each.
const MAX_IDLE: usize = 16;

// === impl Pipe ===

impl Pipe {
    fn new(wide: Option<Wide>) -> io::Result<Self> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        if wide.is_some() {
            // An unprivileged process past its share of pipe pages keeps the default.
            let _default_size = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY as i32));
        }
        Ok(Self { read, write, held: 0, wide })
    }

    /// Bytes that wait inside.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Takes what `source` has. `Ok(0)` is the end of its stream. `WouldBlock` means that the source
    /// is empty only if the pipe is empty too: a pipe without a free page answers the same.
    pub fn fill(&mut self, source: impl AsFd) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        let moved = splice(source, None, &self.write, None, CAPACITY, flags)?;
        self.held += moved;
        Ok(moved)
    }

    /// Gives what it holds to `sink`; returns the bytes that left the pipe.
    pub fn drain(&mut self, sink: impl AsFd, more: bool) -> io::Result<usize> {
        let mut flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        if more {
            flags |= SpliceFFlags::SPLICE_F_MORE;
        }
        let moved = splice(&self.read, None, sink, None, self.held, flags)?;
        self.held -= moved;
        Ok(moved)
    }
}

// === impl PipePool ===

impl PipePool {
    pub fn new() -> Self {
        Self { idle: Arc::default(), wide: Arc::default() }
    }

    /// An empty pipe. Fails when the process is out of descriptors.
    pub fn lease(&self) -> io::Result<Pipe> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| Pipe::new(Wide::take(&self.wide)), Ok)
    }

    /// Takes a pipe back. One that still holds bytes is closed, never reused: they would come out
    /// of somebody else's connection.
    pub fn give_back(&self, pipe: Pipe) {
        if pipe.held == 0 && pipe.wide.is_some() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MAX_IDLE {
                idle.push(pipe);
            }
        }
    }
}

// === impl Wide ===

impl Wide {
    fn take(count: &Arc<AtomicUsize>) -> Option<Self> {
        let more = |wide: usize| (wide < MAX_WIDE).then_some(wide + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok().map(|_| Self(Arc::clone(count)))
    }
}

impl Drop for Wide {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for PipePool {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;

//! Moving bytes from socket to socket inside the kernel (`splice(2)`) through pipes that are leased.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};

/// A non-blocking pipe. It is empty whenever it lies in the pool.
#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Bytes inside.
    held: usize,
}

/// Pipes between two uses. Cloning shares the pool.
#[derive(Clone, Debug)]
pub struct PipePool {
    idle: Arc<Mutex<Vec<Pipe>>>,
}

/// What a pipe is asked to hold. A pipe's pages are only allocated while bytes are in it; 256 KiB
/// is a quarter of /proc/sys/fs/pipe-max-size, which CAP_SYS_RESOURCE would be needed to exceed.
const CAPACITY: usize = 1024 * 1024;
/// Idle pipes kept for the next burst: two descriptors and, empty, about 1 KiB of kernel memory each.
const MAX_IDLE: usize = 64;

// === impl Pipe ===

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)?;
        // An unprivileged process past its share of pipe pages keeps the default of 64 KiB.
        let _default_size = fcntl(&write, FcntlArg::F_SETPIPE_SZ(CAPACITY as i32));
        Ok(Self { read, write, held: 0 })
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
        Self { idle: Arc::new(Mutex::new(Vec::new())) }
    }

    /// An empty pipe. Fails when the process is out of descriptors.
    pub fn lease(&self) -> io::Result<Pipe> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(Pipe::new, Ok)
    }

    /// Takes a pipe back. One that still holds bytes is closed, never reused: they would come out
    /// of somebody else's connection.
    pub fn give_back(&self, pipe: Pipe) {
        if pipe.held == 0 {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MAX_IDLE {
                idle.push(pipe);
            }
        }
    }
}

impl Default for PipePool {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;

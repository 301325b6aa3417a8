//! The process's own limits and use: open files and resident memory.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{SysconfVar, sysconf};

/// `RLIMIT_NOFILE` as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    pub soft: u64,
    pub hard: u64,
}

/// What the process uses, from /proc/self. A part that cannot be read is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub open_files: u64,
    pub max_files: u64,
    pub resident_bytes: u64,
}

/// Raises the soft limit of open files to the hard one and answers what holds now. The soft limit
/// of 1024 that most systems start a process with is for programs that use select(2); two sockets a
/// connection are gone after 500 connections.
pub fn raise_open_files() -> io::Result<OpenFiles> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(OpenFiles { soft: hard, hard })
}

/// Reads the use of this process. Costs one directory listing: call it once a scrape, not more.
pub fn usage() -> Usage {
    // The listing itself has one open.
    let open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1) as u64);
    let max_files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    Usage { open_files, max_files, resident_bytes: resident() }
}

/// Resident memory of this process, bytes; 0 where it cannot be read.
pub fn resident() -> u64 {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096);
    // proc_pid_statm(5): the second field is resident pages.
    std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()))
        .map_or(0, |pages| pages.saturating_mul(page))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_is_raised_and_shown() {
        let limit = super::raise_open_files().unwrap();
        assert_eq!(limit.soft, limit.hard);
        assert_eq!(super::usage().max_files, limit.soft);
    }

    #[test]
    fn use_grows_with_open_files() {
        let before = super::usage();
        let files: Vec<_> = (0..64).map(|_| std::fs::File::open("/proc/self/stat").unwrap()).collect();
        let after = super::usage();
        // Other tests open and close files at the same time; 64 stand out from a handful.
        assert!(after.open_files > before.open_files + 16, "{before:?} {after:?}");
        assert!(after.resident_bytes > 1 << 20, "{after:?}");
        drop(files);
    }
}

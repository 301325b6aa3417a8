//! The processes that live in a network namespace, and putting them out of it.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::netns::NetnsId;

/// How long an evicted process may take to leave by itself, and then to be gone when it was killed.
const GRACE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);

/// The processes whose main thread is in one of `namespaces`, without this one.
pub fn of(namespaces: &BTreeSet<NetnsId>) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|&pid| pid != std::process::id() && lives_in(pid, namespaces)).collect()
}

/// SIGTERM to every process in `namespaces`, then SIGKILL. Blocks up to 4 s; says who is still there.
///
/// Only for namespaces that nobody else uses: whatever lives there is ended.
pub fn evict(namespaces: &BTreeSet<NetnsId>) -> Vec<u32> {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        for pid in of(namespaces) {
            // It may have ended by itself since it was listed.
            let _gone = kill(Pid::from_raw(pid.cast_signed()), signal);
        }
        for _ in 0..GRACE.as_millis() / LOOK.as_millis() {
            if of(namespaces).is_empty() {
                return Vec::new();
            }
            std::thread::sleep(LOOK);
        }
    }
    of(namespaces)
}

/// A process that has ended, or is a zombie, has no namespace any more.
fn lives_in(pid: u32, namespaces: &BTreeSet<NetnsId>) -> bool {
    let meta = std::fs::metadata(format!("/proc/{pid}/ns/net"));
    meta.is_ok_and(|meta| namespaces.contains(&NetnsId { device: meta.dev(), inode: meta.ino() }))
}

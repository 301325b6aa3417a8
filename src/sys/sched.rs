//! How a thread shares its processor with others: what it used, and how long a turn it asks for.

use std::io;
use std::mem::size_of;
use std::time::Duration;

use nix::libc;
use nix::unistd::gettid;

/// A thread of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadId(libc::pid_t);

/// What a thread did since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// It was on a processor.
    pub ran: Duration,
    /// It could have been, and others were.
    pub waited: Duration,
}

/// Turns of a thread that answers: the shortest that a kernel gives (Linux 6.12). It takes the processor from whoever asks for
/// longer ones as soon as it wakes up.
pub const BRIEF: Duration = Duration::from_micros(100);
/// Turns of a thread that always has work, or whose work nobody waits for: longer than those of programs that ask for none
/// (0.7 to 2.8 ms, Linux 6.13), so that these and the other threads are let in at once.
pub const LONG: Duration = Duration::from_millis(5);

// === impl ThreadId ===

impl ThreadId {
    /// The calling thread's.
    pub fn current() -> Self {
        Self(gettid().as_raw())
    }

    /// Reads `/proc/self/task/TID/schedstat` (Linux, Documentation/scheduler/sched-stats.rst): nanoseconds on a processor,
    /// nanoseconds in a run queue, number of turns. A kernel without CONFIG_SCHED_INFO has no such file.
    pub fn used(self) -> io::Result<Used> {
        let path = format!("/proc/self/task/{}/schedstat", self.0);
        let text = std::fs::read_to_string(&path)?;
        parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{path} says {text:?}")))
    }

    /// Asks for turns of `length`, 100 µs to 100 ms. Who asks for shorter ones than the thread that runs takes its
    /// processor from it on waking up, as long as it has used less than its share; the shares stay the same. Linux has it since
    /// 6.12 (sched_setattr(2), `sched_runtime` of SCHED_OTHER); an older kernel takes the call and does nothing.
    ///
    /// # Errors
    /// The thread is gone, or a seccomp filter forbids the call.
    pub fn ask_for_turns(self, length: Duration) -> io::Result<()> {
        let mut attributes = self.attributes()?;
        // Whoever gave it a real-time policy knows better.
        if !matches!(attributes.sched_policy.cast_signed(), libc::SCHED_OTHER | libc::SCHED_BATCH) {
            return Ok(());
        }
        attributes.sched_runtime = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        attributes.sched_flags = 0;
        // SAFETY: the kernel reads `size` bytes of the struct, which is its own size, during the call alone.
        #[expect(unsafe_code, reason = "a system call that libc does not wrap")]
        let result = unsafe { libc::syscall(libc::SYS_sched_setattr, self.0, &raw const attributes, 0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// What it asks for now. Kernels before 6.12 say zero.
    #[cfg(test)]
    pub(crate) fn turns(self) -> io::Result<Duration> {
        Ok(Duration::from_nanos(self.attributes()?.sched_runtime))
    }

    fn attributes(self) -> io::Result<libc::sched_attr> {
        let mut attributes = libc::sched_attr {
            size: 0,
            sched_policy: 0,
            sched_flags: 0,
            sched_nice: 0,
            sched_priority: 0,
            sched_runtime: 0,
            sched_deadline: 0,
            sched_period: 0,
        };
        let size = size_of::<libc::sched_attr>();
        // SAFETY: the kernel writes at most `size` bytes into the struct, which is its own size, during the call alone.
        #[expect(unsafe_code, reason = "a system call that libc does not wrap")]
        let result = unsafe { libc::syscall(libc::SYS_sched_getattr, self.0, &raw mut attributes, size, 0) };
        if result == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
    }
}

fn parse(text: &str) -> Option<Used> {
    let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().map(Duration::from_nanos));
    Some(Used { ran: numbers.next()?.ok()?, waited: numbers.next()?.ok()? })
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn what_is_used_is_read() {
        assert_eq!(parse("12 34 5\n"), Some(Used { ran: Duration::from_nanos(12), waited: Duration::from_nanos(34) }));
        for broken in ["", "1", "a b c", "1 x"] {
            assert_eq!(parse(broken), None, "{broken:?}");
        }
        let own = ThreadId::current();
        let before = own.used().unwrap();
        let begin = Instant::now();
        while own.used().unwrap().ran < before.ran + Duration::from_millis(20) {
            assert!(begin.elapsed() < Duration::from_secs(60), "{:?} → {:?}", before, own.used());
        }
    }

    #[test]
    fn turns_are_asked_for_and_nothing_else_changes() {
        let work = || {
            let own = ThreadId::current();
            let before = own.attributes().unwrap();
            own.ask_for_turns(Duration::from_micros(700)).unwrap();
            let after = own.attributes().unwrap();
            assert_eq!((after.sched_policy, after.sched_nice), (before.sched_policy, before.sched_nice));
            own.turns().unwrap()
        };
        let turns = std::thread::spawn(work).join().unwrap();
        // A kernel before 6.12 has none.
        assert!(turns.is_zero() || turns == Duration::from_micros(700), "{turns:?}");
    }

    #[test]
    fn a_thread_that_is_gone_is_an_error() {
        let gone = std::thread::spawn(ThreadId::current).join().unwrap();
        // The kernel takes the thread away some moments after the join.
        let begin = Instant::now();
        while gone.used().is_ok() && begin.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        assert!(gone.used().is_err());
        assert!(gone.ask_for_turns(Duration::from_millis(1)).is_err());
    }
}

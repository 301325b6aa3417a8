//! What processes and the kernel use, from /proc. Times are of the scheduler, in ticks of 10 ms; a span of a second
//! on two processors is known to a hundredth.

use std::collections::BTreeSet;
use std::io;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::unistd::{SysconfVar, sysconf};

/// Of the calling process, both user and system.
pub(crate) fn own_cpu_seconds() -> io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}

/// Of these processes together. One that has ended counts nothing.
pub(crate) fn cpu_seconds(pids: &[u32]) -> f64 {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
    let ticks = pids.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    ticks.map(|stat| stat_ticks(&stat) as f64 / per_second).sum()
}

/// utime and stime of proc_pid_stat(5), fields 14 and 15. The second field is a name in parentheses that may hold
/// anything, so fields are counted after its end.
fn stat_ticks(stat: &str) -> u64 {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Resident memory of these processes together, bytes.
pub(crate) fn resident(pids: &[u32]) -> u64 {
    let statuses = pids.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
    statuses.filter_map(|status| kib_of(&status, "VmRSS:")).sum::<u64>() << 10
}

/// Kernel memory in slabs that is only freed by who took it: sockets, files, connection tracking. Bytes, of the whole
/// machine.
pub(crate) fn kernel_slab() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(kib_of(&text, "SUnreclaim:")? << 10)
}

fn kib_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// The kernel's threads that take packets which nobody's own time took.
pub(crate) fn packet_threads() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let name = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pids.filter(|pid| name(pid).starts_with("ksoftirqd/")).collect()
}

/// Processor seconds that the whole machine has worked since it started, whoever asked for it; time that a
/// hypervisor took away counts too.
pub(crate) fn machine_seconds() -> f64 {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    busy_ticks(&stat) as f64 / per_second
}

/// user, nice, system, irq, softirq and steal of proc_stat(5); idle and iowait are not work, and the guests' time is
/// within user.
fn busy_ticks(stat: &str) -> u64 {
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8).enumerate();
    fields.filter(|(at, _)| ![3, 4].contains(at)).filter_map(|(_, field)| field.parse::<u64>().ok()).sum()
}

/// Processors of this machine.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// This machine in one line.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let models = cpuinfo.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let models: BTreeSet<&str> = models.map(|(_, model)| model).collect();
    let models = models.into_iter().collect::<Vec<_>>().join(", ");
    let cores = processors();
    let gib = kib_of(&read("/proc/meminfo"), "MemTotal:").unwrap_or_default() as f64 / f64::from(1 << 20);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("?");
    format!("{cores} × {models}, {gib:.1} GiB, Linux {}, load {load} at the start", kernel.trim())
}

#[cfg(test)]
mod tests {
    #[test]
    fn fields_are_found() {
        // The name of a process may hold anything.
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 1 0 100";
        assert_eq!(super::stat_ticks(stat), 300);
        assert_eq!(super::stat_ticks(""), 0);
        assert_eq!(super::busy_ticks("cpu  1 20 300 4000 50000 600000 7000000 80000000 9 9\ncpu0 1"), 87_600_321);
        assert_eq!(super::kib_of("MemTotal:  8 kB\nSUnreclaim:      42392 kB\n", "SUnreclaim:"), Some(42392));
        assert_eq!(super::kib_of("MemTotal:  8 kB\n", "SUnreclaim:"), None);
    }

    #[test]
    fn work_is_seen() {
        let own = [std::process::id()];
        let (before, machine) = (super::own_cpu_seconds().unwrap(), super::machine_seconds());
        let work = tokio::time::Instant::now();
        while super::own_cpu_seconds().unwrap() < before + 0.05 {
            assert!(work.elapsed().as_secs() < 60, "work counts nothing");
        }
        assert!(super::cpu_seconds(&own) >= 0.03, "the ticks of this process are not found");
        assert!(super::machine_seconds() > machine);
        assert!(super::resident(&own) > 1 << 20);
        assert!(super::kernel_slab().is_some());
        assert!(super::machine().contains("Linux"));
        assert!(super::packet_threads().iter().all(|pid| !own.contains(pid)));
    }
}

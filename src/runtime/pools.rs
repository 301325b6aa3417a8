//! The two tokio runtimes of the process.

use std::io;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use super::busy::{Pulse, look_again};

/// The control pool's workers: one is enough for timers, watches and the admin pages, and leaves
/// the processor to the pods.
const CONTROL_WORKERS: usize = 1;
/// Threads for blocking calls (file reads, netlink exchanges) in each pool; more wait in a queue.
const BLOCKING_THREADS: usize = 16;

/// How the pools are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Workers of the data pool; `None` takes half of the processors that the process may use.
    pub data_threads: Option<NonZeroUsize>,
    /// How long the data pool looks for the next message before it sleeps, at most; zero: it sleeps at once.
    pub busy_poll: Duration,
}

/// The control pool (manifests, certificates, admin) and the data pool (pods' connections).
#[must_use = "dropping the pools ends every task in them"]
#[derive(Debug)]
pub struct Pools {
    control: Runtime,
    data: Runtime,
    pulse: Pulse,
}

// === impl Pools ===

impl Pools {
    /// Starts the threads, named `culvert-ctl` and `culvert-data`.
    pub fn build(config: Config) -> io::Result<Self> {
        let data_threads = config.data_threads.map_or_else(half_of_the_processors, NonZeroUsize::get);
        let control = pool("culvert-ctl", CONTROL_WORKERS)?;
        let data = pool("culvert-data", data_threads)?;
        let pulse = Pulse::default();
        if !config.busy_poll.is_zero() {
            data.spawn(look_again(pulse.clone(), config.busy_poll));
        }
        Ok(Self { control, data, pulse })
    }

    pub fn control(&self) -> &Handle {
        self.control.handle()
    }

    pub fn data(&self) -> &Handle {
        self.data.handle()
    }

    /// To be told of every message that the data pool carries.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Runs `work` on the calling thread, in the control pool's context.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.control.block_on(work)
    }

    /// Ends both pools, waiting at most `wait` for each one's blocking calls.
    pub fn shutdown(self, wait: Duration) {
        self.data.shutdown_timeout(wait);
        self.control.shutdown_timeout(wait);
    }
}

/// The pods' own programs run on the same processors. Of two workers on two processors the second one kept waking for
/// events that the first was about to see (docs/performance.md has the figures).
fn half_of_the_processors() -> usize {
    available_parallelism().map_or(1, |all| all.get().div_ceil(2))
}

fn pool(name: &str, workers: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name(name)
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_carry_the_pool_in_their_name() {
        let pools = Pools::build(Config { data_threads: NonZeroUsize::new(2), ..Config::default() }).unwrap();
        let name = || std::thread::current().name().map(str::to_owned);
        let control = pools.control().spawn(async move { name() });
        let data = pools.data().spawn(async move { name() });
        let (control, data) = pools.block_on(async { (control.await.unwrap(), data.await.unwrap()) });
        assert_eq!(control.as_deref(), Some("culvert-ctl"));
        assert_eq!(data.as_deref(), Some("culvert-data"));
        assert_eq!(pools.data().metrics().num_workers(), 2);
        pools.shutdown(Duration::from_secs(1));
    }
}

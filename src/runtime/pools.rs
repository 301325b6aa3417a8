//! What the process runs on: the control pool, the pods' threads, and a server's pool.

use std::io;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

use super::threads::{self, Threads};

/// The control pool's workers: one is enough for timers, watches and the admin pages, and leaves
/// the processor to the pods.
const CONTROL_WORKERS: usize = 1;
/// Threads for blocking calls (file reads, netlink exchanges) in each pool; more wait in a queue.
const BLOCKING_THREADS: usize = 16;

/// The control pool (manifests, certificates, admin) and what carries connections.
#[must_use = "dropping the pools ends every task in them"]
#[derive(Debug)]
pub struct Pools<C> {
    control: Runtime,
    carrying: C,
}

/// A server's workers, for connections of which each is as good as another.
#[derive(Debug)]
pub struct Workers(Runtime);

// === impl Pools ===

impl Pools<Threads> {
    /// Of a node. The pods' threads start with the pods; those of the control pool are named `culvert-ctl`.
    pub fn of_node(config: threads::Config) -> io::Result<Self> {
        Ok(Self { control: control()?, carrying: Threads::new(config) })
    }

    pub fn threads(&self) -> &Threads {
        &self.carrying
    }

    /// Ends everything, waiting at most `wait` for the pods' threads and as long for the control pool's blocking calls.
    pub fn shutdown(self, wait: Duration) {
        self.carrying.shutdown(wait);
        self.control.shutdown_timeout(wait);
    }
}

impl Pools<Workers> {
    /// Of a server, whose workers are named `culvert-srv`: half of the processors, as the other half has its callers' work.
    pub fn of_server() -> io::Result<Self> {
        let workers = available_parallelism().map_or(1, |all| all.get().div_ceil(2));
        Ok(Self { control: control()?, carrying: Workers(pool("culvert-srv", workers)?) })
    }

    pub fn workers(&self) -> &Handle {
        self.carrying.0.handle()
    }

    /// Ends both pools, waiting at most `wait` for each one's blocking calls.
    pub fn shutdown(self, wait: Duration) {
        self.carrying.0.shutdown_timeout(wait);
        self.control.shutdown_timeout(wait);
    }
}

impl<C> Pools<C> {
    pub fn control(&self) -> &Handle {
        self.control.handle()
    }

    /// Runs `work` on the calling thread, in the control pool's context.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.control.block_on(work)
    }
}

fn control() -> io::Result<Runtime> {
    pool("culvert-ctl", CONTROL_WORKERS)
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
        let name = || std::thread::current().name().map(str::to_owned);
        let pools = Pools::of_server().unwrap();
        let control = pools.control().spawn(async move { name() });
        let server = pools.workers().spawn(async move { name() });
        let (control, server) = pools.block_on(async { (control.await.unwrap(), server.await.unwrap()) });
        assert_eq!(control.as_deref(), Some("culvert-ctl"));
        assert_eq!(server.as_deref(), Some("culvert-srv"));
        pools.shutdown(Duration::from_secs(1));

        let pools = Pools::of_node(threads::Config { limit: 1, busy_poll: Duration::ZERO }).unwrap();
        let place = pools.threads().place().unwrap();
        let data = place.runtime().spawn(async move { name() });
        assert_eq!(pools.block_on(data).unwrap().as_deref(), Some("culvert-data-0"));
        pools.shutdown(Duration::from_secs(1));
    }
}

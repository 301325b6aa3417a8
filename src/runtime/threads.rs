//! The threads that carry pods' connections.
//!
//! A pod has a thread of its own while there are enough. What one pod floods its thread with the kernel weighs against the
//! other pods' threads, and it takes the processor away in the middle of whatever is done; tasks of one pool would have to
//! give it up by themselves (docs/decisions/0021-a-thread-a-pod.md).

mod turns;

use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::turns::Turns;
use super::busy::{Looked, look_again};
use crate::sys::sched::{BRIEF, ThreadId};

/// How many threads there are, and how they wait.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The most threads; pods beyond that share them.
    pub limit: usize,
    /// How long a thread looks for the next message before it sleeps, at most; zero: it sleeps at once.
    pub busy_poll: Duration,
}

/// The threads of the process. Clones are the same threads.
#[derive(Clone, Debug)]
pub struct Threads {
    set: Arc<Set>,
}

/// A pod's place on a thread. Its drop makes room for another's.
#[derive(Debug)]
pub struct Place {
    runtime: Handle,
    number: usize,
    set: Arc<Set>,
}

#[derive(Debug)]
struct Set {
    config: Config,
    threads: Mutex<Vec<Thread>>,
}

#[derive(Debug)]
struct Thread {
    runtime: Handle,
    /// How many are taken.
    places: usize,
    /// None for one that is not ours.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    id: ThreadId,
    looked: Looked,
    /// Its drop ends the thread.
    _stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

/// Threads where nothing limits them: more than a kubelet runs pods by far.
pub const MANY: usize = 1024;

/// Calls that block (reading a file), for each thread; more wait in a queue.
const BLOCKING: usize = 2;
/// How often threads that work are looked at, and how often when all of them sleep.
const TICK: Duration = Duration::from_millis(100);
const CALM: Duration = Duration::from_millis(500);
/// How often a shutdown looks whether a thread has ended.
const LAST_LOOK: Duration = Duration::from_millis(1);

// === impl Threads ===

impl Threads {
    /// Starts none yet: the first pod does.
    pub fn new(config: Config) -> Self {
        Self { set: Arc::new(Set { config, threads: Mutex::default() }) }
    }

    /// All places are on a runtime that is there already.
    pub fn within(runtime: Handle) -> Self {
        let threads = Self::new(Config { limit: 1, busy_poll: Duration::ZERO });
        threads.set.lock().push(Thread { runtime, places: 0, own: None });
        threads
    }

    /// A place on the thread that has the fewest; on a new one when none is empty and there may be more.
    ///
    /// # Errors
    /// There is no thread and the kernel gives none.
    pub fn place(&self) -> io::Result<Place> {
        let mut threads = self.set.lock();
        let fewest = (0..threads.len()).min_by_key(|number| threads[*number].places);
        let number = match fewest {
            Some(number) if threads[number].places == 0 || threads.len() >= self.set.config.limit => number,
            fewest => match (Thread::start(threads.len(), self.set.config.busy_poll), fewest) {
                (Ok(thread), _) => {
                    threads.push(thread);
                    threads.len() - 1
                }
                (Err(error), Some(number)) => {
                    tracing::warn!(
                        %error, threads = threads.len(),
                        "no thread for another pod, which shares one: raise the container's limit of processes"
                    );
                    number
                }
                (Err(error), None) => return Err(error),
            },
        };
        threads[number].places += 1;
        Ok(Place { runtime: threads[number].runtime.clone(), number, set: Arc::clone(&self.set) })
    }

    /// The threads' runtimes, by their numbers.
    pub fn runtimes(&self) -> Vec<Handle> {
        self.set.lock().iter().map(|thread| thread.runtime.clone()).collect()
    }

    /// Sees to it that threads that always have work let those in that answer, until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        // By number; threads are only added.
        let mut watched: Vec<(Turns, u64)> = Vec::new();
        loop {
            let mut all_sleep = true;
            for (number, (runtime, id, looked)) in self.set.own().into_iter().enumerate() {
                if number == watched.len() {
                    watched.push((Turns::new(), 0));
                }
                let (turns, before) = &mut watched[number];
                // Odd while a thread sleeps (tokio, `RuntimeMetrics::worker_park_unpark_count`).
                let count = runtime.metrics().worker_park_unpark_count(0);
                let has_slept = std::mem::replace(before, count) == count && !count.is_multiple_of(2);
                if has_slept && turns.are_brief() {
                    continue;
                }
                all_sleep = false;
                // Without it nothing is known, and nothing is asked for.
                let Ok(used) = id.used() else { continue };
                if let Some(length) = turns.judge(Instant::now(), used, looked.total()) {
                    ask(id, length);
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(if all_sleep { CALM } else { TICK }) => {}
            }
        }
    }

    /// Ends every thread, with the tasks that are left there, waiting at most `wait` for the slowest.
    pub fn shutdown(self, wait: Duration) {
        let until = Instant::now() + wait;
        let threads = std::mem::take(&mut *self.set.lock());
        // All of them are told before the first is waited for.
        let ending: Vec<_> = threads.into_iter().filter_map(|thread| thread.own).map(|own| own.thread).collect();
        for thread in ending {
            while !thread.is_finished() && Instant::now() < until {
                std::thread::sleep(LAST_LOOK);
            }
        }
    }
}

// === impl Place ===

impl Place {
    /// What runs there. Tasks outlive the place: the thread is another pod's next.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(thread) = self.set.lock().get_mut(self.number) {
            thread.places -= 1;
        }
    }
}

// === impl Set ===

impl Set {
    fn lock(&self) -> MutexGuard<'_, Vec<Thread>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own(&self) -> Vec<(Handle, ThreadId, Looked)> {
        let threads = self.lock();
        let own = threads.iter().filter_map(|thread| Some((&thread.runtime, thread.own.as_ref()?)));
        own.map(|(runtime, own)| (runtime.clone(), own.id, own.looked.clone())).collect()
    }
}

// === impl Thread ===

impl Thread {
    /// Named `culvert-data-N`.
    fn start(number: usize, busy_poll: Duration) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().max_blocking_threads(BLOCKING).enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let (say, begun) = mpsc::channel();
        let looked = Looked::default();
        let of = looked.clone();
        let work = move || {
            // Nobody waits for it when it could not be started.
            _ = say.send(ThreadId::current());
            ask(ThreadId::current(), BRIEF);
            run(runtime, stopped, busy_poll, of);
        };
        let thread = std::thread::Builder::new().name(format!("culvert-data-{number}")).spawn(work)?;
        let id = begun.recv().map_err(io::Error::other)?;
        Ok(Self { runtime: handle, places: 0, own: Some(Own { id, looked, _stop: stop, thread }) })
    }
}

/// A thread's life.
fn run(runtime: Runtime, stopped: oneshot::Receiver<()>, busy_poll: Duration, looked: Looked) {
    runtime.block_on(async {
        tokio::select! {
            // Its sender is dropped.
            _ = stopped => {}
            () = look_again(busy_poll, looked), if !busy_poll.is_zero() => {}
        }
    });
    runtime.shutdown_background();
}

fn ask(id: ThreadId, length: Duration) {
    if let Err(error) = id.ask_for_turns(length) {
        tracing::debug!(%error, "a thread keeps the turns that the kernel gives it: allow sched_setattr in the seccomp profile");
    }
}

#[cfg(test)]
mod tests;

//! The log's thread and its bounded queue.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::sys::sched::{LONG, ThreadId};

/// Lines between the tasks and the output. A line has some 500 bytes, so a full queue holds about 5 MB.
const QUEUE: usize = 10_000;
/// How long the end of the process waits for the queue to be written: a stalled output must not hold it.
const FLUSH: Duration = Duration::from_secs(2);
/// Bytes joined into one write.
const BATCH: usize = 64 * 1024;

/// The tasks' end of the queue.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    queue: SyncSender<Message>,
    dropped: Dropped,
}

/// How many lines were dropped because the queue was full.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

/// Ends the log's thread when dropped, after what was queued is written or two seconds have passed.
#[must_use = "dropping the guard ends the log"]
#[derive(Debug)]
pub struct Guard {
    lines: Lines,
    done: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Message {
    End,
    Line(String),
}

pub(super) fn start(output: impl Write + Send + 'static) -> io::Result<(Lines, Guard)> {
    let (queue, messages) = sync_channel(QUEUE);
    let (ended, done) = sync_channel::<()>(1);
    let lines = Lines { queue, dropped: Dropped::default() };
    let dropped = lines.dropped.clone();
    let thread = std::thread::Builder::new().name("culvert-log".into()).spawn(move || {
        // Nobody waits for a line.
        _ = ThreadId::current().ask_for_turns(LONG);
        write_lines(output, &messages, &dropped);
        drop(ended);
    })?;
    Ok((lines.clone(), Guard { lines, done, thread: Some(thread) }))
}

fn write_lines(mut output: impl Write, messages: &Receiver<Message>, dropped: &Dropped) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut told = 0;
    while let Ok(Message::Line(line)) = messages.recv() {
        batch.extend_from_slice(line.as_bytes());
        let mut end = false;
        while batch.len() < BATCH && !end {
            match messages.try_recv() {
                Ok(Message::Line(line)) => batch.extend_from_slice(line.as_bytes()),
                Ok(Message::End) => end = true,
                Err(_) => break,
            }
        }
        let lost = dropped.count();
        if lost > told {
            batch.extend_from_slice(
                format!("… {} log lines were dropped: the output stalled\n", lost - told).as_bytes(),
            );
            told = lost;
        }
        // A closed output (a pipe whose reader has gone) is nothing that a line could tell anybody.
        drop(output.write_all(&batch).and_then(|()| output.flush()));
        batch.clear();
        if end {
            return;
        }
    }
}

// === impl Lines ===

impl Lines {
    pub(super) fn push(&self, line: String) {
        if self.queue.try_send(Message::Line(line)).is_err() {
            self.dropped.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// === impl Dropped ===

impl Dropped {
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Guard ===

impl Guard {
    pub fn dropped(&self) -> Dropped {
        self.lines.dropped.clone()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A full queue with a stalled output never takes the end: the wait below is then over at its deadline.
        let asked = (0..20).any(|_| {
            let sent = self.lines.queue.try_send(Message::End).is_ok();
            if !sent {
                std::thread::sleep(FLUSH / 20);
            }
            sent
        });
        if asked
            && self.done.recv_timeout(FLUSH) == Err(RecvTimeoutError::Disconnected)
            && let Some(thread) = self.thread.take()
        {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Condvar, Mutex};

    use super::*;

    /// An output that stalls until it is opened.
    #[derive(Clone, Default)]
    struct Gate(Arc<(Mutex<State>, Condvar)>);

    type State = (bool, Vec<u8>);

    impl Gate {
        fn open(&self) {
            self.0.0.lock().unwrap().0 = true;
            self.0.1.notify_all();
        }
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut state = self.0.1.wait_while(self.0.0.lock().unwrap(), |state| !state.0).unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_output_drops_and_says_so() {
        let gate = Gate::default();
        let (lines, guard) = start(gate.clone()).unwrap();
        // The thread may hold a batch of lines outside of the queue.
        let sent = QUEUE + BATCH / 2 + 100;
        for _ in 0..sent {
            lines.push("x\n".into());
        }
        let dropped = guard.dropped().count();
        assert!(dropped >= 99, "{dropped}");
        gate.open();
        drop(guard);
        let text = String::from_utf8(gate.0.0.lock().unwrap().1.clone()).unwrap();
        assert_eq!(text.matches("x\n").count() as u64, sent as u64 - dropped);
        // It is told in one line or in two, as the thread found it.
        let told = text.lines().filter_map(|line| line.strip_prefix("… ")?.split(' ').next()?.parse::<u64>().ok());
        assert_eq!(told.sum::<u64>(), dropped);
    }

    #[test]
    fn the_guard_writes_everything_out() {
        let gate = Gate::default();
        gate.open();
        let (lines, guard) = start(gate.clone()).unwrap();
        (0..1000).for_each(|n| lines.push(format!("{n}\n")));
        drop(guard);
        let text = String::from_utf8(gate.0.0.lock().unwrap().1.clone()).unwrap();
        assert_eq!(text.lines().count(), 1000);
        assert_eq!(text.lines().last(), Some("999"));
    }
}

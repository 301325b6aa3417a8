//! What is going on, for a person who waits: a moving line on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::claims::duration;

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A line at the start and one at the end.
    Lines,
    /// One line that moves.
    Moving,
}

/// A step that goes on. Dropping it without a word says that it was left unfinished.
#[must_use = "a step that is dropped says that it was left unfinished"]
pub struct Step {
    label: String,
    start: Instant,
    progress: Progress,
    spinner: Option<(Sender<()>, JoinHandle<()>)>,
    told: bool,
}

const FRAMES: [char; 4] = ['-', '\\', '|', '/'];
const FRAME: Duration = Duration::from_millis(120);
/// Goes to the start of the line and clears it (ECMA-48: CR, EL).
const CLEAR: &str = "\r\u{1b}[2K";

// === impl Progress ===

impl Progress {
    /// Moving when stderr is a terminal.
    pub fn on_stderr() -> Self {
        if std::io::stderr().is_terminal() { Self::Moving } else { Self::Lines }
    }

    /// Begins a step, said in a few words such as "building two nodes".
    pub fn step(self, label: impl Into<String>) -> Step {
        let label = label.into();
        let start = Instant::now();
        let spinner = match self {
            Self::Lines => {
                show(&format!("{label} ...\n"));
                None
            }
            Self::Moving => spin(label.clone(), start),
        };
        Step { label, start, progress: self, spinner, told: false }
    }
}

// === impl Step ===

impl Step {
    pub fn done(self) {
        self.end("done");
    }

    pub fn failed(self) {
        self.end("FAILED");
    }

    fn end(mut self, result: &str) {
        self.tell(result);
    }

    fn tell(&mut self, result: &str) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        if let Some((stop, thread)) = self.spinner.take() {
            drop(stop);
            // It only draws; there is nothing to learn from how it ended.
            drop(thread.join());
        }
        show(&last_line(self.progress, &self.label, result, self.start.elapsed()));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.tell("left unfinished");
    }
}

fn spin(label: String, start: Instant) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = channel();
    let draw = move || {
        for tick in 0.. {
            show(&frame(tick, &label, start.elapsed()));
            if stopped.recv_timeout(FRAME) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    // Without a thread the line does not move, and the end is still told.
    let thread = std::thread::Builder::new().name("culvert-progress".into()).spawn(draw).ok()?;
    Some((stop, thread))
}

fn frame(tick: usize, label: &str, elapsed: Duration) -> String {
    format!("{CLEAR}{} {label} ({:.0} s)", FRAMES[tick % FRAMES.len()], elapsed.as_secs_f64().floor())
}

fn last_line(progress: Progress, label: &str, result: &str, elapsed: Duration) -> String {
    let clear = if progress == Progress::Moving { CLEAR } else { "" };
    format!("{clear}{label}: {result} ({})\n", duration(elapsed))
}

/// Progress that cannot be shown must not stop what it tells of.
fn show(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_one_line_that_is_replaced_and_others_plain_text() {
        let (label, time) = ("building", Duration::from_millis(2345));
        assert_eq!(frame(5, label, time), "\r\u{1b}[2K\\ building (2 s)");
        assert_eq!(last_line(Progress::Moving, label, "done", time), "\r\u{1b}[2Kbuilding: done (2.3 s)\n");
        assert_eq!(last_line(Progress::Lines, label, "FAILED", time), "building: FAILED (2.3 s)\n");
    }
}

//! Running a program of the host, with a deadline. Only fallbacks and tests need one.
#![expect(clippy::disallowed_methods, reason = "the one place that runs a program")]

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// What a program may print before the rest is thrown away: a rule listing of a busy node is
/// below 1 MiB, and a program that prints for ever must not take our memory.
const OUTPUT_LIMIT: u64 = 8 << 20;
/// How often a program that has closed its output is asked whether it ended.
const REAP_EVERY: Duration = Duration::from_millis(2);

/// A program to run. It inherits the calling thread's network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub arguments: Vec<String>,
    pub name: String,
    pub stdin: Vec<u8>,
    pub timeout: Duration,
}

/// What a program that ended with code 0 printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub stderr: String,
    pub stdout: String,
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It ended with another code or by a signal. Kernel, or us; what it said is here.
    #[error("{name} ended with {status}: {said}")]
    Failed { name: String, said: String, status: ExitStatus },
    /// It is not installed, or its pipes broke. Configuration.
    #[error("cannot run {name}: is it installed and in PATH?")]
    Start {
        name: String,
        #[source]
        source: io::Error,
    },
    /// It did not end in time and was killed. Kernel or host: look for a held lock.
    #[error("{name} did not end within {} s and was killed", timeout.as_secs())]
    Timeout { name: String, timeout: Duration },
}

// === impl Program ===

impl Program {
    /// A minute would hide a stuck lock; rule programs take milliseconds.
    pub const TIMEOUT: Duration = Duration::from_secs(20);

    pub fn new(name: impl Into<String>, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { arguments, name: name.into(), stdin: Vec::new(), timeout: Self::TIMEOUT }
    }

    #[must_use]
    pub fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// Runs the program and waits. Blocks the calling thread.
    pub fn run(&self) -> Result<Output, ExecError> {
        let start = |source| ExecError::Start { name: self.name.clone(), source };
        let mut child = Command::new(&self.name)
            .args(&self.arguments)
            // Messages are read by people and by tests: no translation.
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(start)?;
        let outcome = self.attend(&mut child);
        if outcome.is_err() {
            // Already gone is fine; a child that was not waited for would stay a zombie.
            drop(child.kill());
            drop(child.wait());
        }
        let (status, output) = outcome?;
        if status.success() {
            return Ok(output);
        }
        let said = output.stderr.lines().next().unwrap_or("it said nothing").trim().to_owned();
        Err(ExecError::Failed { name: self.name.clone(), said, status })
    }

    fn attend(&self, child: &mut Child) -> Result<(ExitStatus, Output), ExecError> {
        let start = |source| ExecError::Start { name: self.name.clone(), source };
        let late = || ExecError::Timeout { name: self.name.clone(), timeout: self.timeout };
        let stdout = drain(child.stdout.take()).map_err(start)?;
        let stderr = drain(child.stderr.take()).map_err(start)?;
        if let Some(mut pipe) = child.stdin.take() {
            let text = self.stdin.clone();
            let writer = move || {
                // A program that ends without reading shows it by its code.
                drop(pipe.write_all(&text));
            };
            std::thread::Builder::new().name("culvert-stdin".into()).spawn(writer).map_err(start)?;
        }
        let stdout = collect(&stdout, self.timeout).ok_or_else(late)?;
        let stderr = collect(&stderr, self.timeout).ok_or_else(late)?;
        let mut waited = Duration::ZERO;
        loop {
            if let Some(status) = child.try_wait().map_err(start)? {
                return Ok((status, Output { stderr, stdout }));
            }
            if waited >= self.timeout {
                return Err(late());
            }
            std::thread::sleep(REAP_EVERY);
            waited += REAP_EVERY;
        }
    }
}

/// Reads a pipe to its end on a thread of its own, so that neither pipe fills while the other is
/// waited for.
fn drain(pipe: Option<impl Read + Send + 'static>) -> io::Result<Receiver<String>> {
    let (send, receive) = sync_channel(1);
    let read = move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            drop(pipe.by_ref().take(OUTPUT_LIMIT).read_to_end(&mut bytes));
            // Beyond the limit the program must still be able to end.
            drop(io::copy(&mut pipe, &mut io::sink()));
        }
        drop(send.send(String::from_utf8_lossy(&bytes).into_owned()));
    };
    std::thread::Builder::new().name("culvert-exec".into()).spawn(read)?;
    Ok(receive)
}

fn collect(from: &Receiver<String>, timeout: Duration) -> Option<String> {
    match from.recv_timeout(timeout) {
        Ok(text) => Some(text),
        Err(RecvTimeoutError::Disconnected) => Some(String::new()),
        Err(RecvTimeoutError::Timeout) => None,
    }
}

#[cfg(test)]
mod tests;

//! Programs that run beside us, inside a namespace, and end with us.
#![expect(unsafe_code, reason = "prctl between fork and exec")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid};

use super::netns::{Netns, NetnsError};

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Program {
    /// For messages.
    pub name: String,
    pub path: PathBuf,
    pub arguments: Vec<String>,
    /// The whole environment besides PATH: the caller's own is not passed on, so that a setting
    /// in somebody's shell changes no result.
    pub environment: Vec<(String, String)>,
    pub netns: Netns,
    pub output: Output,
    pub bond: Bond,
}

/// What becomes of the program when this process ends, however it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond {
    /// It goes on, and dropping its handle leaves it alone.
    Free,
    /// It is killed.
    Ours,
}

/// Where the program's stdout and stderr go. Its stdin is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Both, appended to one file.
    File(PathBuf),
    Nothing,
    /// One pipe each. The reader must keep up: a program that writes to a full pipe stops.
    Pipe,
}

/// Why a program could not be started, signalled or waited for.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The namespace cannot be entered. Configuration or kernel.
    #[error("cannot start {name}")]
    Netns {
        name: String,
        #[source]
        source: NetnsError,
    },
    /// The output file cannot be opened. Configuration.
    #[error("cannot write the output of {name} to {}", path.display())]
    Output {
        name: String,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The signal was refused. Kernel.
    #[error("cannot send {signal} to {name}")]
    Signal {
        name: String,
        signal: Signal,
        #[source]
        source: io::Error,
    },
    /// There is no such program, it cannot be executed, or there is no room for a process.
    #[error("cannot run {} as {name}", path.display())]
    Start {
        name: String,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Somebody else reaped it. Us.
    #[error("cannot wait for {name}")]
    Wait {
        name: String,
        #[source]
        source: io::Error,
    },
}

/// A running program. Dropping it ends the program, unless its bond is [`Bond::Free`].
#[must_use = "a program ends when its handle is dropped"]
#[derive(Debug)]
pub struct Child {
    child: std::process::Child,
    name: String,
    bond: Bond,
}

/// What a program finds without asking anybody's shell.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a dropped program may take to leave by itself. A drop blocks its thread this long.
const DROP_GRACE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(10);

/// Where a program of that name is, among the places that every program started here finds.
pub fn find(name: &str) -> Option<PathBuf> {
    PATH.split(':').map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

// === impl Child ===

impl Child {
    pub fn start(program: &Program) -> Result<Self, ChildError> {
        let name = || program.name.clone();
        let (stdout, stderr) = match &program.output {
            Output::File(path) => {
                let failed = |source| ChildError::Output { name: name(), path: path.clone(), source };
                let file = append(path).map_err(failed)?;
                (Stdio::from(file.try_clone().map_err(failed)?), Stdio::from(file))
            }
            Output::Nothing => (Stdio::null(), Stdio::null()),
            Output::Pipe => (Stdio::piped(), Stdio::piped()),
        };
        let mut command = command(program);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        // A child is born in the namespace of the thread that forks it. That thread must also live
        // as long as this process, because PR_SET_PDEATHSIG watches the thread and not the process:
        // the namespace workers do.
        let child = program
            .netns
            .run(move || command.spawn())
            .map_err(|source| ChildError::Netns { name: name(), source })?
            .map_err(|source| ChildError::Start { name: name(), path: program.path.clone(), source })?;
        Ok(Self { child, name: name(), bond: program.bond })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The reading end of its stdout, once, for [`Output::Pipe`].
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The reading end of its stderr, once, for [`Output::Pipe`].
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// How it ended, when it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, ChildError> {
        self.child.try_wait().map_err(|source| ChildError::Wait { name: self.name.clone(), source })
    }

    /// Sends `signal`. Nothing happens to a program that has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<(), ChildError> {
        // Asked first: the number of a process that was waited for may be another's by now.
        if self.ended()?.is_some() {
            return Ok(());
        }
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap_or(i32::MAX));
        kill(pid, signal).map_err(|errno| ChildError::Signal { name: self.name.clone(), signal, source: errno.into() })
    }

    /// SIGTERM, then SIGKILL after `grace`. Blocks until it has ended.
    pub fn stop(&mut self, grace: Duration) -> Result<ExitStatus, ChildError> {
        self.signal(Signal::SIGTERM)?;
        match self.wait(grace)? {
            Some(status) => Ok(status),
            None => self.kill(),
        }
    }

    /// SIGKILL. Blocks until it has ended.
    pub fn kill(&mut self) -> Result<ExitStatus, ChildError> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait().map_err(|source| ChildError::Wait { name: self.name.clone(), source })
    }

    /// Waits for its end, up to `patience`. Blocks.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>, ChildError> {
        let looks = patience.as_millis() / LOOK.as_millis();
        for _ in 0..looks {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            std::thread::sleep(LOOK);
        }
        self.ended()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.bond == Bond::Ours {
            // There is nobody left to tell; what cannot be killed dies with this process.
            drop(self.stop(DROP_GRACE));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that starts a program to run beside us")]
fn command(program: &Program) -> Command {
    let mut command = Command::new(&program.path);
    command.args(&program.arguments).env_clear().env("PATH", PATH);
    command.envs(program.environment.iter().map(|(name, value)| (name, value)));
    if program.bond == Bond::Ours {
        let parent = getpid();
        let tie = move || {
            set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the line above.
            if getppid() == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(nix::libc::ESRCH)) }
        };
        // SAFETY: between fork and exec only prctl and getppid are called, which are
        // async-signal-safe system calls; no memory is allocated and no lock is taken.
        unsafe { command.pre_exec(tie) };
    }
    command
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests;

//! SIGTERM and SIGINT: the first drains, the second cuts.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::shutdown::{Phase, Shutdown};

/// Both signals, caught from the moment this is made.
#[must_use = "signals that are caught and not awaited are lost"]
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

// === impl Signals ===

impl Signals {
    /// Starts to catch both; needs a runtime's context. Do this first: a signal that comes while parts are
    /// built is then kept and not fatal.
    pub fn catch() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next signal and answers its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Moves the process through its phases: never returns before the life has ended.
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut phase = shutdown.watch();
        loop {
            tokio::select! {
                signal = self.next() => {
                    let next = after_signal(shutdown.phase());
                    tracing::info!(signal, "signal");
                    shutdown.advance(next);
                }
                ended = phase.wait_for(|phase| *phase == Phase::Ended) => {
                    drop(ended);
                    return;
                }
            }
        }
    }
}

/// What a signal moves the process to.
fn after_signal(phase: Phase) -> Phase {
    match phase {
        Phase::Starting | Phase::Ready => Phase::Draining,
        Phase::Draining | Phase::Forcing => Phase::Forcing,
        Phase::Ended => Phase::Ended,
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal as Number, raise};

    use super::*;

    #[test]
    fn the_second_signal_cuts() {
        assert_eq!(after_signal(Phase::Starting), Phase::Draining);
        assert_eq!(after_signal(after_signal(Phase::Ready)), Phase::Forcing);
        assert_eq!(after_signal(Phase::Forcing), Phase::Forcing);
        assert_eq!(after_signal(Phase::Ended), Phase::Ended);
    }

    #[tokio::test]
    async fn a_real_signal_drains_and_a_second_forces() {
        let shutdown = Shutdown::new();
        let run = Signals::catch().unwrap().run(shutdown.clone());
        let person = async {
            let mut phase = shutdown.watch();
            raise(Number::SIGTERM).unwrap();
            phase.wait_for(|phase| *phase == Phase::Draining).await.unwrap();
            raise(Number::SIGINT).unwrap();
            phase.wait_for(|phase| *phase == Phase::Forcing).await.unwrap();
            shutdown.advance(Phase::Ended);
        };
        tokio::join!(run, person);
    }
}

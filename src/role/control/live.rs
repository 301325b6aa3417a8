//! The life of a control plane, from its settings to its last log line.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::parts::Parts;
use crate::config::control::ControlSettings;
use crate::runtime::pools::{Pools, Workers};
use crate::runtime::shutdown::{Phase, Shutdown};
use crate::runtime::signal::Signals;
use crate::runtime::supervise::{Need, Supervisor};
use crate::runtime::{Panics, ready::Readiness};
use crate::sys::limits;
use crate::telemetry::log;

/// After the drain, what single blocking calls may still take.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// Runs a control plane until SIGTERM or SIGINT. Comes back with an error when it could not start, or when a part that
/// it cannot do without has ended.
pub fn run(settings: &ControlSettings, colour: bool) -> anyhow::Result<ExitCode> {
    let log = log::Config {
        format: settings.log_format,
        level: settings.log_level.clone(),
        access: log::Access::Never,
        colour: colour && std::io::stdout().is_terminal(),
    };
    let (guard, _) = log::init(&log, std::io::stdout())?;
    let pools = Pools::of_server().context("cannot start threads")?;
    let result = pools.block_on(live(settings, &pools, guard.dropped()));
    pools.shutdown(LAST_CALLS);
    drop(guard);
    result
}

async fn live(settings: &ControlSettings, pools: &Pools<Workers>, dropped: log::Dropped) -> anyhow::Result<ExitCode> {
    let signals = Signals::catch().context("cannot catch signals")?;
    if let Err(error) = limits::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let (shutdown, panics) = (Shutdown::new(), Panics::default());
    let (supervisor, mut ends) = Supervisor::new(shutdown.clone(), panics.clone());
    let readiness = Readiness::default();
    // A broken setting, manifest, token or directory ends the process here, before anybody is served.
    let parts = Parts::build(settings, pools, &shutdown, &panics, &readiness, dropped)?;
    supervisor.spawn(pools.control(), "signals", Need::Useful, {
        let shutdown = shutdown.clone();
        async move {
            signals.run(shutdown).await;
            Ok(())
        }
    });
    tracing::info!(address = %parts.address()?, names = settings.server_names.join(","), "serving the mesh and certificates");
    let connections = parts.connections();
    let stop = CancellationToken::new();
    parts.spawn(&supervisor, pools, &stop);
    shutdown.advance(Phase::Ready);

    let ended = tokio::select! {
        end = ends.first() => Err(end),
        () = shutdown.drain().cancelled() => Ok(()),
    };
    shutdown.advance(Phase::Draining);
    connections.drain(settings.drain_deadline).await;
    shutdown.advance(Phase::Forcing);
    stop.cancel();
    shutdown.advance(Phase::Ended);
    if tokio::time::timeout(LAST_CALLS, supervisor.ended()).await.is_err() {
        tracing::debug!("a task did not end in time");
    }
    tracing::info!("nodes keep the mesh that they have until a control plane is back");
    ended?;
    Ok(ExitCode::SUCCESS)
}

//! The life of a node daemon, from its settings to its last log line.

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::config::drop_in::Keepalive;
use crate::config::node::{KeyExchange, NodeSettings};
use crate::runtime::pools::Pools;
use crate::runtime::shutdown::{Phase, Shutdown};
use crate::runtime::signal::Signals;
use crate::runtime::supervise::{Need, Supervisor};
use crate::runtime::threads::{self, Threads};
use crate::runtime::{Panics, ready::Readiness};
use crate::sys::{limits, socket};
use crate::telemetry::cause::chain;
use crate::telemetry::log;
use crate::tls;

use super::parts::Parts;
use super::seen;
use super::takeover::{self, Predecessor};

/// After the drain, what single blocking calls may still take.
const LAST_CALLS: Duration = Duration::from_secs(1);

/// Runs a node until SIGTERM or SIGINT. Comes back with an error when it could not start, or when a part that it
/// cannot do without has ended.
pub fn run(settings: &NodeSettings, colour: bool) -> anyhow::Result<ExitCode> {
    let istio = settings.drop_in.as_ref();
    let log = log::Config {
        format: match (settings.log_format, istio) {
            (log::Format::Json, Some(_)) => log::Format::IstioJson,
            (log::Format::Text, Some(_)) => log::Format::IstioText,
            (format, _) => format,
        },
        level: settings.log_level.clone(),
        access: match (settings.log_access, istio) {
            (false, _) => log::Access::Never,
            (true, Some(drop_in)) if drop_in.access_log_by_level => log::Access::ByLevel,
            (true, _) => log::Access::Always,
        },
        colour: colour && std::io::stdout().is_terminal(),
    };
    if let Some(Keepalive { enabled, idle, interval, probes, user_timeout }) = istio.map(|istio| istio.keepalive) {
        socket::set_probes(enabled.then_some(socket::Probes { idle, interval, count: probes, user_timeout }));
    }
    if settings.key_exchange == KeyExchange::PostQuantum {
        tls::post_quantum_alone();
    }
    let (guard, levels) = log::init(&log, std::io::stdout())?;
    if let Some(told) = seen::settings::dumped(settings) {
        let lines = seen::settings::lines(&told);
        for (place, line) in lines.iter().enumerate() {
            tracing::info!("settings {} of {}: {line}", place + 1, lines.len());
        }
    }
    let limit = settings.data_threads.map_or(threads::MANY, NonZeroUsize::get);
    let pools = Pools::of_node(threads::Config { limit, busy_poll: settings.data_busy_poll })
        .context("cannot start threads")?;
    let result = pools.block_on(live(settings, &pools, guard.dropped(), levels));
    pools.shutdown(LAST_CALLS);
    drop(guard);
    result
}

async fn live(
    settings: &NodeSettings,
    pools: &Pools<Threads>,
    dropped: log::Dropped,
    levels: log::Levels,
) -> anyhow::Result<ExitCode> {
    let signals = Signals::catch().context("cannot catch signals")?;
    if let Err(error) = limits::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let (shutdown, panics) = (Shutdown::new(), Panics::default());
    let (supervisor, mut ends) = Supervisor::new(shutdown.clone(), panics.clone());
    let readiness = Readiness::default();
    let predecessor = predecessor(settings).await;
    // A broken setting, manifest or directory ends the process here, before a pod is touched.
    let parts = Parts::build(settings, pools, &shutdown, &panics, &readiness, (dropped, levels), predecessor)?;
    supervisor.spawn(pools.control(), "signals", Need::Useful, {
        let shutdown = shutdown.clone();
        async move {
            signals.run(shutdown).await;
            Ok(())
        }
    });
    let (shared, retired) = (Arc::clone(&parts.shared), parts.retired());
    let stop_control = CancellationToken::new();
    parts.spawn(&supervisor, pools, &shutdown, &readiness, &stop_control);
    shutdown.advance(Phase::Ready);

    let ended = tokio::select! {
        end = ends.first() => Err(end),
        () = shutdown.drain().cancelled() => Ok(()),
    };
    shutdown.advance(Phase::Draining);
    // Every pod at once: each has the whole deadline.
    let deadline = settings.drain_deadline;
    let pods = shared.local.all();
    let closing = pods.into_iter().map(|pod| async move { pod.close(deadline).await });
    let mut closing: tokio::task::JoinSet<()> = closing.collect();
    while closing.join_next().await.is_some() {}
    shutdown.advance(Phase::Forcing);
    stop_control.cancel();
    shutdown.advance(Phase::Ended);
    if tokio::time::timeout(LAST_CALLS, supervisor.ended()).await.is_err() {
        tracing::debug!("a task did not end in time");
    }
    if retired.is_cancelled() {
        tracing::info!("the rules stay: the next process serves them");
    } else {
        tracing::info!(
            "the rules stay: pods of the mesh are refused until the next start (culvert cleanup removes them)"
        );
    }
    ended?;
    Ok(ExitCode::SUCCESS)
}

/// The process that serves this node's pods until now.
async fn predecessor(settings: &NodeSettings) -> Option<Predecessor> {
    let found = Predecessor::find(settings.takeover_socket.as_deref()?, takeover::Node::of(settings)).await;
    found.unwrap_or_else(|error| {
        tracing::warn!(error = %chain(&error), "there is another process, and nothing can be taken over from it: end it, and pods are served once it has left their ports");
        None
    })
}

//! The log: one subscriber, one writer thread, text or JSON lines on one output.

mod format;
mod levels;
mod writer;

use std::io::Write;

use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, reload};

pub use levels::{LevelError, Levels};
pub use writer::{Dropped, Guard};

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, with ztunnel's keys.
    IstioJson,
    /// Time, level, target, message and fields, parted by tabs, with strings in quotes: ztunnel's lines.
    IstioText,
    /// One JSON object a line.
    Json,
    /// `time level target: message key=value …`
    Text,
}

/// What is logged and how.
#[derive(Clone, Debug)]
pub struct Config {
    pub format: Format,
    /// Directives as of `tracing_subscriber::EnvFilter`: `info`, `info,culvert::hbone=debug`.
    pub level: String,
    pub access: Access,
    /// Whether levels are coloured; never in JSON.
    pub colour: bool,
}

/// When lines of the access log are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whatever the levels say.
    Always,
    /// As the levels say of the target `access` at `info`.
    ByLevel,
    Never,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level's text does not parse. Configuration.
    #[error(
        "log-level {level:?} is not a list of levels: write error, warn, info, debug, trace or MODULE=LEVEL, joined by commas"
    )]
    Level {
        level: String,
        #[source]
        source: LevelError,
    },
    /// A subscriber is already there. Us.
    #[error("the log was set up twice")]
    Twice,
    /// The system gives no thread. Kernel.
    #[error("cannot start the log's thread")]
    Thread {
        #[source]
        source: std::io::Error,
    },
}

/// Sets up the process's log on `output`. Lines are handed to a thread of its own through a queue of
/// 10,000 lines; when the output stalls and the queue is full, lines (access lines too) are dropped and counted,
/// because a reader of the log that stops must not stop the pods' connections. The guard writes out what
/// is queued when it is dropped: keep it to the end of `main`. The levels can be changed later.
pub fn init(config: &Config, output: impl Write + Send + 'static) -> Result<(Guard, Levels), LogError> {
    let (subscriber, guard, levels) = subscriber(config, output)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    Ok((guard, levels))
}

/// As [`init`], without making it the process's.
pub fn subscriber(
    config: &Config,
    output: impl Write + Send + 'static,
) -> Result<(impl Subscriber + Send + Sync + 'static, Guard, Levels), LogError> {
    let level = |source| LogError::Level { level: config.level.clone(), source };
    let start = match config.access {
        Access::Always => format!("{},access=info", config.level),
        Access::ByLevel => config.level.clone(),
        Access::Never => format!("{},access=off", config.level),
    };
    let (filter, handle) = reload::Layer::new(EnvFilter::new("off"));
    let set = handle.clone();
    let (levels, first) = Levels::new(&start, move |filter| set.reload(filter).is_ok()).map_err(level)?;
    let (lines, guard) = writer::start(output).map_err(|source| LogError::Thread { source })?;
    let layer = format::Lines::new(config.format, config.colour, lines);
    let subscriber = tracing_subscriber::registry().with(filter).with(layer);
    // It holds the filter just made: the handle finds it.
    handle.reload(first).map_err(|_| LogError::Twice)?;
    Ok((subscriber, guard, levels))
}

#[cfg(test)]
mod tests;

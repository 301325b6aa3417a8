//! The levels of the log, which can be changed while the process runs.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Directives at once; each is a string compared with every new kind of event.
const MOST: usize = 100;
/// The longest name of a module.
const LONGEST: usize = 200;

/// Directives, the last for a target counts: `target=level`, or a level for the rest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Directives(Vec<(String, LevelFilter)>);

/// A handle on the levels. Clones change the same ones.
#[derive(Clone)]
pub struct Levels {
    shared: Arc<Shared>,
}

struct Shared {
    now: Mutex<Directives>,
    start: Directives,
    /// Puts a filter in force; false when the log has ended.
    set: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
}

/// Why levels are not changed. The caller's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    #[error("{directive:?} is not a level: write error, warn, info, debug, trace, off, or MODULE=LEVEL")]
    Directive { directive: String },
    #[error("there are {MOST} levels already: reset them")]
    Many,
    #[error("the log has ended")]
    Ended,
}

// === impl Directives ===

impl Directives {
    fn add(&mut self, text: &str) -> Result<(), LevelError> {
        for directive in text.split(',').map(str::trim) {
            let (target, level) = parse(directive)
                .ok_or_else(|| LevelError::Directive { directive: directive.chars().take(LONGEST).collect() })?;
            self.0.retain(|(known, _)| *known != target);
            self.0.push((target, level));
        }
        if self.0.len() > MOST { Err(LevelError::Many) } else { Ok(()) }
    }

    fn filter(&self) -> Result<EnvFilter, LevelError> {
        let parsed = EnvFilter::builder().with_regex(false).parse(self.to_string());
        // What is in the list was checked; a text that the library takes otherwise is refused here.
        parsed.map_err(|_| LevelError::Directive { directive: self.to_string() })
    }
}

/// A target before the level is ended by `=` or, as Istio's tool writes it, by one colon.
fn parse(directive: &str) -> Option<(String, LevelFilter)> {
    let single = directive.rfind(':').filter(|at| !directive[..*at].ends_with(':'));
    let (target, level) = match directive.split_once('=') {
        Some(parts) => parts,
        None => single.map_or(("", directive), |at| (&directive[..at], &directive[at + 1..])),
    };
    let module = |byte: u8| byte.is_ascii_alphanumeric() || b"_:-".contains(&byte);
    let good = target.len() <= LONGEST && target.bytes().all(module) && !(target.is_empty() && directive.contains('='));
    let level = match level.to_ascii_lowercase().as_str() {
        "off" => LevelFilter::OFF,
        "critical" | "error" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    };
    // Modules of ztunnel are those of ours of the same name.
    let target = match target.strip_prefix("ztunnel") {
        Some(rest) if rest.is_empty() || rest.starts_with("::") => format!("culvert{rest}"),
        _ => target.to_owned(),
    };
    good.then_some((target, level))
}

impl fmt::Display for Directives {
    /// Targets in the order in which they were said, then the level of the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(target, level): &(String, LevelFilter)| {
            let level = level.to_string();
            if target.is_empty() { level } else { format!("{target}={level}") }
        };
        let (rest, targets): (Vec<_>, Vec<_>) = self.0.iter().partition(|(target, _)| target.is_empty());
        f.write_str(&targets.into_iter().chain(rest).map(one).collect::<Vec<_>>().join(","))
    }
}

// === impl Levels ===

impl Levels {
    /// `start` is what the log begins with, and what a reset goes back to.
    pub(super) fn new(
        start: &str,
        set: impl Fn(EnvFilter) -> bool + Send + Sync + 'static,
    ) -> Result<(Self, EnvFilter), LevelError> {
        let mut directives = Directives::default();
        directives.add(start)?;
        let filter = directives.filter()?;
        let shared = Shared { now: Mutex::new(directives.clone()), start: directives, set: Box::new(set) };
        Ok((Self { shared: Arc::new(shared) }, filter))
    }

    /// What holds now, as directives.
    pub fn current(&self) -> String {
        self.shared.now.lock().unwrap_or_else(PoisonError::into_inner).to_string()
    }

    /// Goes back to the start's levels when `reset` says so, and then adds `more`, directives joined by commas. All of
    /// it or nothing.
    ///
    /// # Errors
    /// A directive without a level, or too many of them.
    pub fn change(&self, reset: bool, more: Option<&str>) -> Result<(), LevelError> {
        let mut now = self.shared.now.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = if reset { self.shared.start.clone() } else { now.clone() };
        if let Some(more) = more {
            next.add(more)?;
        }
        if !(self.shared.set)(next.filter()?) {
            return Err(LevelError::Ended);
        }
        *now = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

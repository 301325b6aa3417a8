//! `RUST_LOG` as our levels.

use tracing::level_filters::LevelFilter;

/// The directives with the names of our modules, which are ztunnel's but for the first word. What is no directive stays
/// as it is: the setting's own check names it.
pub fn levels(text: &str) -> String {
    let ours = |directive: &str| match directive.trim().split_once('=') {
        Some((target, level)) => format!("{}={}", module(target), level.trim()),
        None => directive.trim().to_owned(),
    };
    text.split(',').filter(|directive| !directive.trim().is_empty()).map(ours).collect::<Vec<_>>().join(",")
}

/// Ours for the module of another proxy.
pub fn module(target: &str) -> String {
    match target.trim() {
        "ztunnel" => "culvert".to_owned(),
        target => target.strip_prefix("ztunnel::").map_or_else(|| target.to_owned(), |rest| format!("culvert::{rest}")),
    }
}

/// Whether lines of the access log are written under these levels: they are `info` of the target `access`. The longest
/// target counts, then the last directive.
pub fn writes_access(levels: &str) -> bool {
    let level = |text: &str| text.parse::<LevelFilter>().unwrap_or(LevelFilter::OFF);
    let mut found = (0, LevelFilter::ERROR);
    for directive in levels.split(',') {
        let (target, level) = match directive.split_once('=') {
            Some((target, text)) => (target, level(text)),
            None => ("", level(directive)),
        };
        if "access".starts_with(target) && target.len() >= found.0 {
            found = (target.len(), level);
        }
    }
    found.1 >= LevelFilter::INFO
}

#[cfg(test)]
mod tests;

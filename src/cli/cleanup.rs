//! `culvert cleanup`.

use std::path::PathBuf;

/// Remove every rule and route that culvert laid on this machine.
///
/// Live connections that a redirect carries are cut. Rules of others are not touched. Run it after `culvert node` has
/// ended for good; while it runs, its next verification would lay the rules again.
#[derive(Clone, Debug, clap::Args)]
pub struct CleanupArgs {
    /// Clean this network namespace as well, by its file; may be given several times
    #[arg(long = "netns", value_name = "PATH")]
    pub netns: Vec<PathBuf>,
}

//! What the environment says, under our own settings.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Found, MODE};
use crate::config::drop_in::DropIn;
use crate::config::env::Environment;
use crate::config::raw::{ConfigError, Effective, File, Origin, Underlay};
use crate::config::table::NODE;

/// The settings that hold: `CULVERT_…`, the file, ztunnel's environment, the defaults; and what only the environment says.
pub fn resolve(
    environment: &Environment,
    file: Option<&File>,
    found: Found,
) -> Result<(Effective, DropIn), ConfigError> {
    let Found { mut underlay, drop_in } = found;
    let over = |underlay: &Underlay| Effective::resolve_over(NODE, &BTreeMap::new(), environment, file, underlay);
    // Both pods of an upgrade have the agent's directory of the host, wherever that was said.
    let agent = over(&underlay)?.value("zds-socket").map(|(path, _)| path.to_owned());
    let directory = agent.as_deref().and_then(|path| Path::new(path).parent());
    if let Some(directory) = directory.filter(|directory| !directory.as_os_str().is_empty()) {
        let path = directory.join("culvert-takeover.sock").display().to_string();
        underlay.insert("takeover-socket", (path, Origin::Mode(MODE)));
    }
    let effective = over(&underlay)?;
    let drop_in = drop_in.outweighed(&effective);
    Ok((effective, drop_in))
}

//! What the environment says, under our own settings.

use std::collections::BTreeMap;

use super::Found;
use crate::config::drop_in::DropIn;
use crate::config::env::Environment;
use crate::config::raw::{ConfigError, Effective, File};
use crate::config::table::NODE;

/// The settings that hold: `CULVERT_…`, the file, ztunnel's environment, the defaults; and what only the environment says.
pub fn resolve(
    environment: &Environment,
    file: Option<&File>,
    found: Found,
) -> Result<(Effective, DropIn), ConfigError> {
    let Found { underlay, drop_in } = found;
    let effective = Effective::resolve_over(NODE, &BTreeMap::new(), environment, file, &underlay)?;
    let drop_in = drop_in.outweighed(&effective);
    Ok((effective, drop_in))
}

//! A pod's network namespace, opened.

use crate::model::pod::PodNetns;
use crate::sys::netns::{Netns, NetnsError};

/// The namespace as it is named now.
pub(super) fn open(named: &PodNetns) -> Result<Netns, NetnsError> {
    match named {
        PodNetns::Path(path) => Netns::open(path.clone()),
        PodNetns::Handle(netns) => Ok(netns.clone()),
    }
}

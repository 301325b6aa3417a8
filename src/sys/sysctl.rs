//! Network settings of a namespace (`/proc/sys/net`).

use std::io;
use std::path::PathBuf;

use super::netns::{Netns, NetnsError};

/// A setting that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// The namespace cannot be entered. Configuration or kernel.
    #[error("cannot set {key} in {}", netns.display())]
    Netns {
        key: String,
        netns: PathBuf,
        #[source]
        source: NetnsError,
    },
    /// The kernel has no such setting, /proc/sys is read-only, or the process is not root.
    #[error("cannot write '{value}' to /proc/sys/net/{key} in {}: run as root with /proc/sys writable", netns.display())]
    Write {
        key: String,
        value: String,
        netns: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Writes `value` to `/proc/sys/net/<key>` of `netns`. `key` is spelled with slashes, as in
/// `ipv4/ip_forward`.
///
/// /proc/sys/net shows the namespace of the task that opens the file (`net_ctl_header_lookup`,
/// Linux 2.6.29), so the file is opened by a thread inside it.
pub fn set(netns: &Netns, key: &str, value: &str) -> Result<(), SysctlError> {
    let path = PathBuf::from("/proc/sys/net").join(key);
    let bytes = value.as_bytes().to_vec();
    match netns.run(move || std::fs::write(path, bytes)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(source)) => {
            let (key, value, netns) = (key.into(), value.into(), netns.path().into());
            Err(SysctlError::Write { key, value, netns, source })
        }
        Err(source) => Err(SysctlError::Netns { key: key.into(), netns: netns.path().into(), source }),
    }
}

/// Whether the calling thread's namespace has IPv6 on loopback. What cannot be read counts as yes, as with Istio's node
/// proxy: whoever then cannot bind `::1` learns it from the kernel.
pub fn ipv6_on_loopback() -> bool {
    let disabled = std::fs::read_to_string("/proc/sys/net/ipv6/conf/lo/disable_ipv6");
    disabled.map_or(true, |text| text.trim() != "1")
}

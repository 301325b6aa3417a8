//! What is asked of sockets and of peers.

use std::time::Duration;

use super::Reading;
use crate::config::drop_in::Keepalive;
use crate::config::ztunnel::ZtunnelError;
use crate::config::ztunnel::error::bad;
use crate::hbone::settings::Sizes;

// === impl Reading ===

impl Reading<'_> {
    pub(super) fn keepalive(&self) -> Result<Keepalive, ZtunnelError> {
        const SECOND: Duration = Duration::from_secs(1);
        let usual = Keepalive::default();
        let positive = |variable: &'static str, usual: Duration| match self.duration(variable)? {
            // The kernel counts in whole seconds and takes 1 to 32767 (tcp(7)).
            Some(given) if given < SECOND || given > SECOND * 32_767 => {
                Err(bad(variable, self.all.value(variable).unwrap_or_default(), "a duration from 1s to 9h"))
            }
            given => Ok(given.unwrap_or(usual)),
        };
        // The kernel's largest (TCP_KEEPCNT, tcp(7)).
        let probes = |text: &str| text.parse().ok().filter(|probes| (1..=127).contains(probes));
        Ok(Keepalive {
            enabled: self.bool("KEEPALIVE_ENABLED", usual.enabled)?,
            idle: positive("KEEPALIVE_TIME", usual.idle)?,
            interval: positive("KEEPALIVE_INTERVAL", usual.interval)?,
            probes: self.parsed("KEEPALIVE_RETRIES", "a number from 1 to 127", probes)?.unwrap_or(usual.probes),
            user_timeout: self.bool("USER_TIMEOUT_ENABLED", usual.user_timeout)?,
        })
    }

    /// Within the ranges of the protocol.
    pub(super) fn http2(&self) -> Result<Sizes, ZtunnelError> {
        let bytes = |variable, least: u32, most: u32, usual| {
            let within = |text: &str| text.parse().ok().filter(|bytes| (least..=most).contains(bytes));
            let expected = format!("a number of bytes from {least} to {most}");
            Ok(self.parsed(variable, &expected, within)?.unwrap_or(usual))
        };
        let (usual, least, most) = (Sizes::default(), Sizes::LEAST_CONNECTION_WINDOW, Sizes::MOST_WINDOW);
        Ok(Sizes {
            stream_window: bytes("HTTP2_STREAM_WINDOW_SIZE", 1, most, usual.stream_window)?,
            connection_window: bytes("HTTP2_CONNECTION_WINDOW_SIZE", least, most, usual.connection_window)?,
            frame: bytes("HTTP2_FRAME_SIZE", Sizes::LEAST_FRAME, Sizes::MOST_FRAME, usual.frame)?,
        })
    }
}

//! What settings say together: contradictions, and what is missing.

use std::time::Duration;

use super::{NodeSettings, RedirectBackend};
use crate::config::drop_in::DnsAddress;
use crate::config::raw::ConfigError;
use crate::hbone::settings::STREAM_WINDOW;

/// The mark that the redirection's rules exempt, Istio's as well as ours.
const USUAL_MARK: u32 = 1337;

/// Beyond it a wake-up is no part worth saving.
const LONGEST_BUSY_POLL: Duration = Duration::from_millis(1);

// === impl NodeSettings ===

impl NodeSettings {
    pub(super) fn consistent(self) -> Result<Self, ConfigError> {
        let name = |key| self.named.name(key);
        if self.window_budget < u64::from(STREAM_WINDOW) {
            return contradiction(format!(
                "{} must be at least 256KiB: the window of one stream",
                name("window-budget")
            ));
        }
        if self.data_busy_poll > LONGEST_BUSY_POLL {
            return contradiction(format!(
                "{} must be at most 1ms: a thread that looks for longer keeps a processor from the pods",
                name("data-busy-poll")
            ));
        }
        crate::config::mesh::one_meaning(&self.trust_domain, &self.trust_domain_aliases, &self.trust_bundles)?;
        self.has_sources()?;
        self.has_rules()?;
        self.is_asked_for()?;
        self.named.apart(&[
            ("admin-address", self.admin_address),
            ("metrics-address", self.metrics_address),
            ("ready-address", self.ready_address),
        ])?;
        Ok(self)
    }

    /// Mesh and pods come from somewhere.
    fn has_sources(&self) -> Result<(), ConfigError> {
        let name = |key| self.named.name(key);
        let inline = self.drop_in.as_ref().is_some_and(|drop_in| drop_in.local_mesh.is_some());
        let mesh = self.xds_address.is_some() || self.local_xds.is_some() || inline;
        if self.redirect_backend == RedirectBackend::Agent && self.zds_socket.is_none() {
            return contradiction(format!(
                "{} agent needs {}: without a node agent nobody lays the rules",
                name("redirect-backend"),
                name("zds-socket")
            ));
        }
        match &self.manifests {
            Some(_) => Ok(()),
            None if mesh && self.zds_socket.is_some() => Ok(()),
            None if self.drop_in.is_none() => Err(ConfigError::Missing { key: "manifests" }),
            None if mesh => contradiction(format!(
                "there are no pods: {} is empty, set it or CULVERT_MANIFESTS",
                name("zds-socket")
            )),
            None => contradiction(
                "there is no mesh: set XDS_ADDRESS, LOCAL_XDS_PATH, LOCAL_XDS or CULVERT_MANIFESTS".to_owned(),
            ),
        }
    }

    /// What rules of ours cannot do is left to the agent's.
    fn has_rules(&self) -> Result<(), ConfigError> {
        let Some(drop_in) = self.drop_in.as_ref().filter(|_| self.redirect_backend != RedirectBackend::Agent) else {
            return Ok(());
        };
        let backend = self.named.name("redirect-backend");
        if drop_in.packet_mark.is_some_and(|mark| mark != USUAL_MARK) {
            return contradiction(format!(
                "PACKET_MARK is 1337 in rules of ours: take it away, or leave {backend} to the agent"
            ));
        }
        match drop_in.dns_address {
            DnsAddress::At(address) if !drop_in.dns_address.can_be_redirected_to() => contradiction(format!(
                "DNS_PROXY_ADDR {address} is not on loopback, where rules of ours lead questions: write 127.0.0.1:{0}, or leave \
                 {backend} to the agent",
                address.port()
            )),
            _ => Ok(()),
        }
    }

    /// Nothing is said of a server that is not asked.
    fn is_asked_for(&self) -> Result<(), ConfigError> {
        let name = |key| self.named.name(key);
        if self.xds_on_demand && self.xds_address.is_none() {
            return contradiction(format!(
                "{} needs {}: there is nobody to ask",
                name("xds-on-demand"),
                name("xds-address")
            ));
        }
        let servers = [
            ("xds-server-name", &self.xds_server_name, "xds-address", &self.xds_address),
            ("ca-server-name", &self.ca_server_name, "ca-address", &self.ca_address),
        ];
        for (key, server_name, address, endpoint) in servers {
            // Of another program's environment it is read and named.
            if server_name.is_some() && endpoint.is_none() && self.named.is_ours(key) {
                return contradiction(format!("{} is of no use without {}", name(key), name(address)));
            }
        }
        Ok(())
    }
}

fn contradiction<T>(text: String) -> Result<T, ConfigError> {
    Err(ConfigError::Contradiction(text))
}

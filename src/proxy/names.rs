//! Addresses of workloads that have a host name and no address, by DNS.
//!
//! Asked for from the daemon's own namespace and by its own `/etc/resolv.conf`, as Istio's node proxy does: the mesh
//! names them, and not the pod. The resolver is made when the first of them is called, on the runtime of that call.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverOpts};
use tokio::time::timeout;

/// Looks names up and remembers the answers.
#[derive(Default)]
pub struct Names {
    resolver: OnceLock<TokioResolver>,
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// No answer in time. The name server, or the way to it.
    #[error("no answer for {name} within {} s: look at the name servers in /etc/resolv.conf", limit.as_secs())]
    Timeout { name: String, limit: Duration },
    /// The name server says no, or cannot be asked.
    #[error("{name} cannot be looked up")]
    Lookup {
        name: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// `/etc/resolv.conf` is not there or does not parse. Configuration.
    #[error("no name servers: /etc/resolv.conf cannot be read")]
    Configuration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An answer without an address that can be called: there is none, or it means this machine or a group.
    #[error("{name} has no address that can be called")]
    None { name: String },
}

/// Answers that are remembered for as long as their TTL says, at most a day: 4096, a few hundred bytes each.
const CACHE: u64 = 4096;
/// A whole look-up, 5 s: as long as a resolver's one try by default.
const LIMIT: Duration = Duration::from_secs(5);
/// One try of one server, so that a second one is asked within the limit.
const TRY: Duration = Duration::from_secs(2);

// === impl Names ===

impl Names {
    /// One address of `name`, of the family that is preferred where there is one; of several, `random` decides.
    ///
    /// # Errors
    /// See [`NameError`]. No answer ever outlives its TTL.
    pub async fn lookup(&self, name: &str, ipv4: bool, random: u64) -> Result<IpAddr, NameError> {
        // Whole names alone: one that the search list completes would be another's.
        let whole = format!("{}.", name.trim_end_matches('.'));
        let answer = match timeout(LIMIT, self.resolver()?.lookup_ip(whole)).await {
            Ok(answer) => {
                answer.map_err(|error| NameError::Lookup { name: name.to_owned(), source: Box::new(error) })?
            }
            Err(_) => return Err(NameError::Timeout { name: name.to_owned(), limit: LIMIT }),
        };
        let mut found: Vec<_> = answer.iter().map(|ip| ip.to_canonical()).filter(can_be_called).collect();
        if found.iter().any(|ip| ip.is_ipv4() == ipv4) {
            found.retain(|ip| ip.is_ipv4() == ipv4);
        }
        let count = u64::try_from(found.len()).unwrap_or(u64::MAX).max(1);
        let chosen = usize::try_from(random % count).ok().and_then(|chosen| found.get(chosen).copied());
        chosen.ok_or_else(|| NameError::None { name: name.to_owned() })
    }

    fn resolver(&self) -> Result<&TokioResolver, NameError> {
        if let Some(resolver) = self.resolver.get() {
            return Ok(resolver);
        }
        let made = TokioResolver::builder_tokio().and_then(|mut builder| {
            options(builder.options_mut());
            builder.build()
        });
        let made = made.map_err(|error| NameError::Configuration(Box::new(error)))?;
        Ok(self.resolver.get_or_init(|| made))
    }
}

fn options(options: &mut ResolverOpts) {
    options.cache_size = CACHE;
    options.timeout = TRY;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
}

/// A name must not lead into the calling pod itself.
fn can_be_called(ip: &IpAddr) -> bool {
    !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests;

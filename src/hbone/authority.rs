//! The `:authority` of a CONNECT: where the stream wants to go.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// A destination: `ip:port`, `[v6]:port` or `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    /// IPv4-mapped IPv6 addresses are IPv4 here, so that one address is one value.
    Address(SocketAddr),
    /// A DNS name in lower case, without a final dot.
    Host { host: Arc<str>, port: u16 },
}

/// Why a text is no authority. Peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// Neither an address nor a DNS name (RFC 1123): labels of 1 to 63 letters, digits, `-` and `_`, at most 253 in all.
    #[error("the host is neither an IP address nor a DNS name")]
    Host,
    /// Not 1 to 65535 in plain decimal.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// No `host:port`, or an IPv6 address without brackets.
    #[error("an authority reads host:port, with an IPv6 address in brackets")]
    Shape,
}

/// Longest name that DNS carries.
const MAX_HOST: usize = 253;

// === impl Authority ===

impl Authority {
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Host { port, .. } => *port,
        }
    }
}

impl From<SocketAddr> for Authority {
    fn from(address: SocketAddr) -> Self {
        Self::Address(SocketAddr::new(address.ip().to_canonical(), address.port()))
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    /// Strict: no user part, no zone, no spaces, no sign or leading zero in the port, no `127.1`.
    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        let (host, port) = text.rsplit_once(':').ok_or(AuthorityError::Shape)?;
        let port = parse_port(port)?;
        if let Some(v6) = host.strip_prefix('[') {
            let v6 = v6.strip_suffix(']').ok_or(AuthorityError::Shape)?;
            let v6: Ipv6Addr = v6.parse().map_err(|_| AuthorityError::Host)?;
            return Ok(SocketAddr::new(IpAddr::V6(v6), port).into());
        }
        if host.contains(':') {
            return Err(AuthorityError::Shape);
        }
        if let Ok(v4) = host.parse::<Ipv4Addr>() {
            return Ok(SocketAddr::new(IpAddr::V4(v4), port).into());
        }
        Ok(Self::Host { host: parse_host(host)?, port })
    }
}

fn parse_port(text: &str) -> Result<u16, AuthorityError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().map_err(|_| AuthorityError::Port) } else { Err(AuthorityError::Port) }
}

fn parse_host(text: &str) -> Result<Arc<str>, AuthorityError> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // A last label of digits alone would be an address in some other parser's eyes (`10.1`, `0x7f.1`).
    let numeric = text.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if text.len() > MAX_HOST || numeric || !text.split('.').all(label) {
        return Err(AuthorityError::Host);
    }
    Ok(text.to_ascii_lowercase().into())
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests;

//! What a message calls a setting: where a person said it, so that the mend is looked for in the right place.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::env::{PREFIX, variable};
use super::raw::{ConfigError, Effective, Origin};

/// Where each setting was said.
#[derive(Clone)]
pub struct Named {
    origins: BTreeMap<&'static str, Origin>,
    /// The command has a flag for each.
    flags: bool,
}

// === impl Named ===

impl Named {
    pub(super) fn of(all: &Effective, flags: bool) -> Self {
        Self { origins: all.origins().collect(), flags }
    }

    /// `--leaf-ttl`, `CULVERT_LEAF_TTL`, `culvert.yaml: leaf-ttl`, `SECRET_TTL (leaf-ttl)`; of what nobody said the key.
    pub fn name(&self, key: &str) -> String {
        match self.origins.get(key) {
            None | Some(Origin::Default | Origin::Mode(_)) => key.to_owned(),
            Some(origin) if origin.is_ours() => origin.to_string(),
            Some(origin) => format!("{origin} ({key})"),
        }
    }

    /// As [`Self::name`]; of what nobody said, where it can be said.
    pub fn place(&self, key: &str) -> String {
        match self.origins.get(key) {
            None | Some(Origin::Default | Origin::Mode(_)) if self.flags => format!("--{key}"),
            None | Some(Origin::Default | Origin::Mode(_)) => variable(key),
            Some(_) => self.name(key),
        }
    }

    /// A flag, a variable or a file of ours said it.
    pub(super) fn is_ours(&self, key: &str) -> bool {
        self.origins.get(key).is_some_and(Origin::is_ours)
    }

    /// No two of these can be listened on together.
    pub(super) fn apart(&self, addresses: &[(&'static str, SocketAddr)]) -> Result<(), ConfigError> {
        for (at, (key, address)) in addresses.iter().enumerate() {
            if let Some((other, _)) = addresses[..at].iter().find(|(_, other)| clash(*address, *other)) {
                let (one, other) = (self.name(other), self.name(key));
                return Err(ConfigError::Contradiction(format!(
                    "{one} and {other} must differ: both would listen on port {}",
                    address.port()
                )));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Named")
    }
}

// === impl Origin ===

impl Origin {
    /// It says the key itself: a flag, a variable or a file of ours.
    fn is_ours(&self) -> bool {
        match self {
            Self::Environment(name) => name.starts_with(PREFIX),
            Self::File { .. } | Self::Flag(_) => true,
            Self::Default | Self::Mode(_) | Self::Foreign(_) => false,
        }
    }
}

/// The kernel gives the second one EADDRINUSE. A socket on `::` takes IPv4 as well, as Linux has it (ipv6(7), bindv6only).
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: IpAddr, narrow: IpAddr| match wide {
        every if every == Ipv6Addr::UNSPECIFIED => true,
        every if every == Ipv4Addr::UNSPECIFIED => narrow.is_ipv4(),
        one => one == narrow,
    };
    let (here, there) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() != 0 && one.port() == other.port() && (covers(here, there) || covers(there, here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_clash_as_the_kernel_has_it() {
        let check = |one: &str, other: &str, expected: bool| {
            let (one, other): (SocketAddr, SocketAddr) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((clash(one, other), clash(other, one)), (expected, expected), "{one} {other}");
        };
        check("127.0.0.1:9", "127.0.0.1:9", true);
        check("127.0.0.1:9", "127.0.0.1:8", false);
        check("127.0.0.1:9", "127.0.0.2:9", false);
        check("127.0.0.1:9", "0.0.0.0:9", true);
        check("127.0.0.1:9", "[::]:9", true);
        check("[::1]:9", "[::]:9", true);
        check("0.0.0.0:9", "[::]:9", true);
        check("0.0.0.0:9", "[::1]:9", false);
        check("127.0.0.1:9", "[::1]:9", false);
        check("[::ffff:127.0.0.1]:9", "127.0.0.1:9", true);
        check("127.0.0.1:0", "[::]:0", false);
    }
}

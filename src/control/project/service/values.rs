//! Single values of ServiceEntry and WorkloadEntry: text to a checked type, or why not, with the mend.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

/// DNS: a name has at most 253 characters, a label 63.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

pub(in crate::control::project) type Checked<T> = Result<T, String>;

/// A DNS name in lower case. `*.` may stand before it.
///
/// # Errors
/// A sentence that quotes the text and says what would be right.
pub(in crate::control::project) fn host(text: &str) -> Checked<Arc<str>> {
    if text.parse::<IpAddr>().is_ok() {
        return Err(format!("`{text}` is an address and no host name; write it in spec.addresses"));
    }
    let name = text.to_ascii_lowercase();
    let rest = name.strip_prefix("*.").unwrap_or(&name);
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |label: &str| {
        (1..=MAX_LABEL).contains(&label.len())
            && label.bytes().all(|b| inner(b) || b == b'-')
            && label.bytes().next().is_some_and(inner)
            && label.bytes().next_back().is_some_and(inner)
    };
    if name.len() > MAX_HOST || !rest.split('.').all(is_label) {
        return Err(format!("`{text}` is not a host name; write it as example.com, or *.example.com"));
    }
    Ok(name.into())
}

/// True for `*.example.com`.
pub(super) fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// 1 to 65535.
pub(super) fn port(number: u32) -> Checked<u16> {
    match u16::try_from(number) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(format!("{number} is not a port; write a number from 1 to 65535")),
    }
}

/// An address of one workload. IPv4 in IPv6 is IPv4.
///
/// # Errors
/// A sentence that quotes the text and says what would be right.
pub(in crate::control::project) fn ip(text: &str) -> Checked<IpAddr> {
    let Ok(ip) = text.parse::<IpAddr>().map(|ip| ip.to_canonical()) else {
        return Err(format!("`{text}` is not an address; write it as 10.1.2.3 or fd00::1"));
    };
    if ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() {
        return Err(format!("`{text}` cannot be a workload's address; write the address of its interface"));
    }
    Ok(ip)
}

/// An address or a CIDR, masked. IPv4 in IPv6 is IPv4.
pub(super) fn net(text: &str) -> Checked<IpNet> {
    let parsed = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (Ok(net), _) => net.trunc(),
        (_, Ok(ip)) => IpNet::from(ip),
        _ => {
            return Err(format!(
                "`{text}` is neither an address nor a CIDR; write it as 10.1.2.3, 10.0.0.0/8, fd00::1 or fd00::/8"
            ));
        }
    };
    Ok(match parsed {
        IpNet::V6(net) if net.prefix_len() >= 96 => match net.addr().to_ipv4_mapped() {
            Some(v4) => Ipv4Net::new(v4, net.prefix_len() - 96).map_or(parsed, IpNet::V4),
            None => parsed,
        },
        IpNet::V4(_) | IpNet::V6(_) => parsed,
    })
}

/// Names of a service's ports → ports, as a WorkloadEntry and an endpoint have them.
pub(in crate::control::project) type NamedPorts<'a> = BTreeMap<&'a str, u16>;

/// The ports that are sound. For each of the others a sentence is given to `wrong`.
pub(in crate::control::project) fn named_ports(
    ports: &BTreeMap<String, u32>,
    mut wrong: impl FnMut(String),
) -> NamedPorts<'_> {
    let mut named = NamedPorts::new();
    for (name, number) in ports {
        match port(*number) {
            Ok(port) => {
                named.insert(name, port);
            }
            Err(refusal) => wrong(format!("ports[{name}]: {refusal}; until then it does not count")),
        }
    }
    named
}

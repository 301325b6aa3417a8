//! The `:authority` of a CONNECT: what is taken is written and read again as the same, and is one spelling of it.

use std::net::IpAddr;

use culvert::hbone::authority::Authority;

pub fn feed(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(authority) = text.parse::<Authority>() else { return false };
    assert_ne!(authority.port(), 0);
    assert_eq!(authority.to_string().parse::<Authority>().as_ref(), Ok(&authority));
    match authority {
        Authority::Address(address) => assert_eq!(address.ip(), address.ip().to_canonical(), "one address, one value"),
        Authority::Host { host, .. } => {
            assert!((1..=253).contains(&host.len()) && host.is_ascii() && !host.ends_with('.'), "{host}");
            assert!(host.parse::<IpAddr>().is_err() && !host.bytes().any(|b| b.is_ascii_uppercase()), "{host}");
        }
    }
    true
}

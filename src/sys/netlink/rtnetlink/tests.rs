use proptest::prelude::*;

use super::*;
use crate::sys::netlink::Protocol;
use crate::sys::netlink::{address, route, rule};

#[test]
fn this_namespace_lists_what_every_namespace_has() {
    let mut socket = NetlinkSocket::open(Protocol::Route).unwrap();
    assert!(address::addresses(&mut socket).unwrap().iter().any(std::net::IpAddr::is_loopback));
    // No rule of the kernel's own chooses by mark, and no route of its own delivers everything.
    assert!(rule::mark_rules(&mut socket, false).unwrap().iter().all(|found| found.mark != 0));
    assert!(route::local_defaults(&mut socket, false).unwrap().iter().all(|found| found.table != 254));
}

proptest! {
    /// Addresses, routes and rules are kinds 20 to 34 (linux/rtnetlink.h).
    #[test]
    fn any_answer_is_read_without_a_panic(kind in 16u16..40, payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let message = Message { kind, flags: 2, sequence: 1, payload };
        if let Some(parsed) = parse(&message) {
            prop_assert_eq!(parsed.clone(), parsed);
        }
    }
}

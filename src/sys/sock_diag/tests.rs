use std::io::Read;
use std::net::{TcpListener, TcpStream};

use proptest::prelude::*;

use super::*;
use crate::sys::netlink::Protocol;

fn message(family: u8, local: &[u8], remote: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; MESSAGE];
    bytes[0] = family;
    bytes[4..6].copy_from_slice(&443u16.to_be_bytes());
    bytes[6..8].copy_from_slice(&50000u16.to_be_bytes());
    bytes[8..8 + local.len()].copy_from_slice(local);
    bytes[24..24 + remote.len()].copy_from_slice(remote);
    bytes[44..48].copy_from_slice(&7u32.to_ne_bytes());
    bytes[48..52].copy_from_slice(&1u32.to_ne_bytes());
    bytes[64..68].copy_from_slice(&1000u32.to_ne_bytes());
    bytes[68..72].copy_from_slice(&99u32.to_ne_bytes());
    bytes
}

#[test]
fn messages_are_read_for_both_families() {
    let v4 = parse(&message(AF_INET, &[10, 0, 0, 1], &[10, 0, 0, 2])).unwrap();
    assert_eq!((v4.local, v4.remote), ("10.0.0.1:443".parse().unwrap(), "10.0.0.2:50000".parse().unwrap()));
    assert_eq!((v4.cookie, v4.uid, v4.inode), ((1 << 32) | 7, 1000, 99));
    let mapped = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
    let v6 = parse(&message(AF_INET6, &mapped, &mapped)).unwrap();
    assert_eq!(v6.local, "10.0.0.1:443".parse().unwrap());
    assert!(v6.is_own() && !v4.is_own());
    assert!(parse(&message(1, &[], &[])).is_none(), "another family");
}

#[test]
fn the_mark_is_found_among_attributes() {
    let attribute =
        |length: u16, kind: u16, value: &[u8]| [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    let marked = |attributes: &[Vec<u8>]| {
        parse(&[message(AF_INET, &[10, 0, 0, 1], &[10, 0, 0, 2]), attributes.concat()].concat()).unwrap().mark
    };
    // One byte and three of padding before it.
    let shutdown = attribute(5, 8, &[0; 4]);
    let mark = attribute(8, MARK, &0x539u32.to_ne_bytes());
    assert_eq!(marked(&[shutdown.clone(), mark.clone()]), 0x539);
    assert_eq!(marked(&[mark.clone(), shutdown.clone()]), 0x539);
    assert_eq!(marked(&[shutdown]), 0);
    for broken in [0, 3, 7, 9, u16::MAX] {
        assert_eq!(marked(&[attribute(broken, MARK, &[1; 4])]), 0, "{broken}");
    }
}

#[test]
fn a_connection_of_this_process_is_listed_as_own_and_left_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    let mut socket = NetlinkSocket::open(Protocol::SockDiag).unwrap();
    let found = connections(&mut socket).unwrap();
    assert!(found.iter().all(|c| c.local != peer && c.remote != peer), "{found:?}");
    drop(server);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
        if let Some(connection) = parse(&bytes) {
            prop_assert!(bytes.len() >= MESSAGE);
            prop_assert!(!connection.local.ip().to_string().is_empty());
        }
    }
}

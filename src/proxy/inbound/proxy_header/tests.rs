use proptest::prelude::*;

use super::*;

#[test]
fn a_header_is_as_the_protocol_has_it() {
    let identity: Identity = "spiffe://td/ns/a/sa/b".parse().unwrap();
    let bytes = header("10.0.0.1:1000".parse().unwrap(), "10.96.0.1:80".parse().unwrap(), &identity);
    let mut expect = b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x24\x0a\x00\x00\x01\x0a\x60\x00\x01\x03\xe8\x00\x50".to_vec();
    expect.extend(b"\xd0\x00\x15spiffe://td/ns/a/sa/b");
    assert_eq!(bytes, expect);
}

/// Types and values that come after the addresses.
type Values = Vec<(u8, Vec<u8>)>;

/// What a reader makes of a header, with nothing left over.
fn read(bytes: &[u8]) -> (Option<(SocketAddr, SocketAddr)>, Values) {
    assert_eq!((&bytes[..12], bytes[12]), (&SIGNATURE[..], 0x21));
    let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let mut rest = &bytes[16..];
    assert_eq!(rest.len(), length, "the length covers the rest");
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count);
        rest = left;
        taken.to_vec()
    };
    let addresses = match bytes[13] {
        0x00 => None,
        0x11 | 0x21 => {
            let mut ip = || match bytes[13] {
                0x11 => IpAddr::from(<[u8; 4]>::try_from(take(4)).unwrap()),
                _ => IpAddr::from(<[u8; 16]>::try_from(take(16)).unwrap()),
            };
            let (from, to) = (ip(), ip());
            let mut port = || u16::from_be_bytes(take(2).try_into().unwrap());
            let (from_port, to_port) = (port(), port());
            Some((SocketAddr::new(from, from_port), SocketAddr::new(to, to_port)))
        }
        other => panic!("family {other}"),
    };
    let mut values = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[1], rest[2]]));
        values.push((rest[0], rest[3..3 + length].to_vec()));
        rest = &rest[3 + length..];
    }
    (addresses, values)
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        client: (IpAddr, u16),
        destination: (IpAddr, u16),
        part in "[a-z0-9.-]{1,300}",
    ) {
        let (client, destination) = (SocketAddr::from(client), SocketAddr::from(destination));
        let identity = Identity::new("cluster.local", part.as_str(), part.as_str());
        let (addresses, values) = read(&header(client, destination, &identity));
        let same_family = client.is_ipv4() == destination.is_ipv4();
        prop_assert_eq!(addresses, same_family.then_some((client, destination)));
        prop_assert_eq!(values, vec![(0xd0, identity.to_string().into_bytes())]);
    }
}

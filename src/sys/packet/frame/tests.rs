use super::*;
use proptest::prelude::*;

/// An Ethernet frame with one TCP segment, both addresses of one family.
pub(crate) fn tcp_frame(from: SocketAddr, to: SocketAddr, sequence: u32, syn: bool, payload: &[u8]) -> Vec<u8> {
    let mut tcp = from.port().to_be_bytes().to_vec();
    tcp.extend(to.port().to_be_bytes());
    tcp.extend(sequence.to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend([5 << 4, if syn { SYN } else { 0x10 }]);
    tcp.extend([0; 6]);
    tcp.extend(payload);
    let mut frame = vec![2; 12];
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            frame.extend(ETHERTYPE_IPV4);
            frame.extend([0x45, 0]);
            frame.extend(((20 + tcp.len()) as u16).to_be_bytes());
            frame.extend([0, 0, 0x40, 0, 64, TCP, 0, 0]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            frame.extend(ETHERTYPE_IPV6);
            frame.extend([0x60, 0, 0, 0]);
            frame.extend((tcp.len() as u16).to_be_bytes());
            frame.extend([TCP, 64]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        _ => panic!("one family"),
    }
    frame.extend(tcp);
    frame
}

fn check(from: &str, to: &str) {
    let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
    let mut frame = tcp_frame(from, to, 0xfffffffe, true, b"payload");
    frame.extend([0; 6]); // padding is no payload
    let segment = segment(&frame).unwrap();
    assert_eq!(
        segment,
        Segment { source: from, destination: to, sequence: 0xfffffffe, syn: true, payload: b"payload" }
    );
}

#[test]
fn segments_of_both_families_are_read() {
    check("10.88.1.10:40000", "10.88.2.10:15008");
    check("[fd88:0:0:1::10]:40000", "[fd88:0:0:2::10]:15008");
}

#[test]
fn what_is_no_first_tcp_segment_is_none() {
    let frame = tcp_frame("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap(), 1, false, b"x");
    let change = |at: usize, to: u8| {
        let mut frame = frame.clone();
        frame[at] = to;
        frame
    };
    for (name, frame) in [
        ("an ARP frame", change(13, 0x06)),
        ("UDP", change(ETHERNET + 9, 17)),
        ("a later fragment", change(ETHERNET + 7, 1)),
        ("a short IP header", change(ETHERNET, 0x44)),
        ("a short TCP header", change(ETHERNET + 20 + 12, 4 << 4)),
        ("a total length inside the TCP header", change(ETHERNET + 3, 30)),
    ] {
        assert_eq!(segment(&frame), None, "{name}");
    }
    for length in 0..ETHERNET + 20 + 20 {
        assert_eq!(segment(&frame[..length]), None, "headers that end after {length} bytes");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_segment_or_none(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), v6 in any::<bool>()) {
        if let Some(kind) = bytes.get_mut(12..14) {
            kind.copy_from_slice(if v6 { &ETHERTYPE_IPV6 } else { &ETHERTYPE_IPV4 });
        }
        if let Some(segment) = segment(&bytes) {
            prop_assert!(segment.payload.len() <= bytes.len());
        }
    }
}

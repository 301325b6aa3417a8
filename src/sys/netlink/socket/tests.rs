use super::*;
use proptest::prelude::*;

fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = (HEADER + payload.len()) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(0u16.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn dumps_the_loopback_link() {
    let mut socket = NetlinkSocket::open(Protocol::Route).unwrap();
    let sequence = socket.sequence();
    let mut request = message(18 /* RTM_GETLINK */, sequence, &[0; 16]);
    request[6..8].copy_from_slice(&0x0301u16.to_ne_bytes()); // NLM_F_REQUEST | NLM_F_DUMP
    let links = socket.exchange("listing links", &request, sequence, sequence).unwrap();
    assert!(links.iter().any(|link| link.payload.windows(3).any(|w| w == b"lo\0")), "{links:?}");
}

#[test]
fn a_refusal_names_the_call_and_the_errno() {
    let mut socket = NetlinkSocket::open(Protocol::Route).unwrap();
    let sequence = socket.sequence();
    let mut request =
        message(17 /* RTM_DELLINK */, sequence, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0]);
    request[6..8].copy_from_slice(&0x0005u16.to_ne_bytes()); // NLM_F_REQUEST | NLM_F_ACK
    let error = socket.exchange("deleting a link", &request, sequence, sequence).unwrap_err();
    assert_eq!(error.errno(), Some(nix::libc::ENODEV), "{error:?}");
    assert!(error.to_string().contains("deleting a link"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_split_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut rest = bytes.as_slice();
        while let Some((_, tail)) = split(rest) {
            prop_assert!(tail.len() < rest.len());
            rest = tail;
        }
    }

    #[test]
    fn messages_come_back_as_they_went(parts in proptest::collection::vec((3u16..90, any::<u32>(), proptest::collection::vec(any::<u8>(), 0..40)), 1..6)) {
        let bytes: Vec<u8> = parts.iter().flat_map(|(kind, sequence, payload)| message(*kind, *sequence, payload)).collect();
        let mut rest = bytes.as_slice();
        for (kind, sequence, payload) in &parts {
            let (message, tail) = split(rest).unwrap();
            prop_assert_eq!(message, Message { kind: *kind, flags: 0, sequence: *sequence, payload: payload.clone() });
            rest = tail;
        }
        prop_assert!(rest.is_empty());
    }
}

use hickory_proto::op::{Message as Library, ResponseCode};
use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use super::*;
use crate::dns::message::tests::{query, read};

fn v4(count: u8) -> Vec<IpAddr> {
    (0..count).map(|n| IpAddr::from([10, 0, 0, n])).collect()
}

fn library(bytes: &[u8]) -> Library {
    Library::from_vec(bytes).unwrap_or_else(|error| panic!("{error}: {bytes:x?}"))
}

#[test]
fn an_answer_is_whole() {
    let bytes = query("Web.Shop", A, Some((1232, &[])));
    let answer = found(&read(&bytes), &Found { stripped: None, addresses: v4(2) }, 1232);
    let read = library(&answer);
    assert_eq!(&answer[12..26], &bytes[12..26], "the question as it was asked, its letters too");
    let head = &read.metadata;
    assert_eq!((head.id, head.response_code), (0xabcd, ResponseCode::NoError));
    assert!(head.authoritative && head.recursion_available && head.recursion_desired && !head.truncation);
    assert_eq!(read.answers.len(), 2);
    for record in &read.answers {
        assert_eq!((record.name.to_string(), record.ttl), ("Web.Shop".to_owned() + ".", 30));
        assert_eq!(record.record_type(), RecordType::A);
    }
    let edns = read.edns.expect("echoed");
    assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, true));
}

#[test]
fn what_a_search_list_made_is_an_alias() {
    let bytes = query("api.example.com.shop.svc.cluster.local", AAAA, None);
    let addresses = vec!["fd00::1".parse().unwrap()];
    let stripped = Some("api.example.com".to_owned());
    let read = library(&found(&read(&bytes), &Found { stripped, addresses }, 512));
    let shown: Vec<_> = read.answers.iter().map(|r| format!("{} {} {}", r.name, r.record_type(), r.data)).collect();
    assert_eq!(
        shown,
        ["api.example.com.shop.svc.cluster.local. CNAME api.example.com.", "api.example.com. AAAA fd00::1"]
    );
    assert!(read.edns.is_none());
}

#[test]
fn nothing_of_the_family_is_no_error() {
    let bytes = query("web", AAAA, None);
    let read = library(&found(&read(&bytes), &Found { stripped: None, addresses: Vec::new() }, 512));
    assert_eq!(read.metadata.response_code, ResponseCode::NoError);
    assert!(read.answers.is_empty() && read.metadata.authoritative);
}

#[test]
fn what_does_not_fit_is_left_out_and_said() {
    for edns in [None, Some((512u16, &[][..]))] {
        let bytes = query("web", A, edns);
        let of = |count, limit| found(&read(&bytes), &Found { stripped: None, addresses: v4(count) }, limit);
        let cut = of(100, 512);
        assert!(cut.len() <= 512 && cut.len() > 512 - 16, "{}", cut.len());
        let read = library(&cut);
        assert!(read.metadata.truncation);
        assert_eq!(read.answers.len(), (512 - bytes.len()) / 16);
        assert!(!library(&of(100, 65_535)).metadata.truncation);
        assert_eq!(library(&of(100, 65_535)).answers.len(), 100);
    }
}

#[test]
fn another_version_of_edns_is_refused() {
    let mut bytes = query("web", A, Some((1232, &[])));
    let at = bytes.len() - 5;
    bytes[at] = 1;
    let read = library(&found(&read(&bytes), &Found { stripped: None, addresses: v4(1) }, 512));
    assert_eq!(u16::from(read.metadata.response_code), 16, "BADVERS");
    assert!(read.answers.is_empty());
}

#[test]
fn errors_carry_the_question_where_there_is_one() {
    let bytes = query("web", A, Some((1232, &[])));
    let of = |bytes: &[u8], code| library(&error(Message::new(bytes).unwrap(), code));
    let read = of(&bytes, Code::ServFail);
    assert_eq!((read.metadata.response_code, read.queries.len()), (ResponseCode::ServFail, 1));
    assert!(!read.metadata.authoritative);
    let read = of(&bytes[..14], Code::FormErr);
    assert_eq!((read.metadata.response_code, read.queries.len()), (ResponseCode::FormErr, 0));
}

proptest! {
    #[test]
    fn answers_are_read_by_others_and_fit(
        name in "([a-z0-9]{1,20}\\.){0,8}[a-z0-9]{1,20}",
        stripped in proptest::option::of("([a-z0-9]{1,20}\\.){0,8}[a-z0-9]{1,20}"),
        count in 0u8..200,
        payload in 0u16..4096,
        edns in any::<bool>(),
    ) {
        let bytes = query(&name, A, edns.then_some((payload, &[])));
        let query = read(&bytes);
        let answer = found(&query, &Found { stripped: stripped.clone(), addresses: v4(count) }, query.largest());
        prop_assert!(answer.len() <= query.largest());
        let read = library(&answer);
        let owner = stripped.unwrap_or(name) + ".";
        prop_assert!(read.answers.iter().filter(|r| r.record_type() == RecordType::A).all(|r| r.name.to_string() == owner));
        let all = read.answers.iter().filter(|r| r.record_type() == RecordType::A).count() == usize::from(count);
        prop_assert_eq!(read.metadata.truncation, !all);
    }

    #[test]
    fn errors_to_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 12..80)) {
        let message = Message::new(&bytes).unwrap();
        for code in [Code::FormErr, Code::ServFail] {
            let answer = error(message, code);
            prop_assert_eq!(&answer[..2], &bytes[..2]);
            prop_assert!(Message::new(&answer).unwrap().is_response());
        }
    }
}

use proptest::prelude::*;

use super::*;

/// A query by hand: an id, "recursion desired", one question of class IN, and an OPT record of this payload and data.
pub(in crate::dns) fn query(name: &str, kind: u16, edns: Option<(u16, &[u8])>) -> Vec<u8> {
    let mut bytes = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())];
    push_name(&mut bytes, name);
    bytes.extend(kind.to_be_bytes());
    bytes.extend(IN.to_be_bytes());
    if let Some((payload, data)) = edns {
        bytes.push(0);
        bytes.extend(OPT.to_be_bytes());
        bytes.extend(payload.to_be_bytes());
        bytes.extend([0, 0, 0x80, 0]);
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

/// An answer to `query` (without an OPT record): records of section, type, TTL and data, all of the question's name.
pub(in crate::dns) fn reply(query: &[u8], rcode: u8, records: &[(Section, u16, u32, &[u8])]) -> Vec<u8> {
    let end = Message::new(query).unwrap().question().unwrap().end;
    let mut bytes = query[..end].to_vec();
    bytes[2] |= 0x80;
    bytes[3] = 0x80 | rcode;
    bytes[10..12].fill(0);
    for (section, kind, ttl, data) in records {
        bytes[match section {
            Section::Answer => 7,
            Section::Authority => 9,
            Section::Additional => 11,
        }] += 1;
        bytes.extend([0xc0, 12]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(IN.to_be_bytes());
        bytes.extend(ttl.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(*data);
    }
    bytes
}

fn push_name(bytes: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
}

pub(in crate::dns) fn read(bytes: &[u8]) -> Query<'_> {
    match Asked::read(bytes) {
        Asked::Query(query) => query,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_query_is_read() {
    let bytes = query("Web.Shop.svc", AAAA, Some((1232, &[])));
    let query = read(&bytes);
    assert_eq!(query.question.text().as_deref(), Some("web.shop.svc"));
    assert_eq!((query.question.kind, query.question.class), (AAAA, IN));
    assert_eq!(query.edns, Some(Edns { payload: 1232, version: 0, dnssec_ok: true }));
    assert!(query.plain);
    assert_eq!(query.largest(), 1232);
    let with_option = self::query("a.b", A, Some((100, &[0, 10, 0, 1, 7])));
    let query = read(&with_option);
    assert!(!query.plain, "an option may change the answer");
    assert_eq!(query.largest(), 512, "every client takes as much");
    let root = self::query("", A, None);
    assert_eq!(read(&root).question.text().as_deref(), Some(""));
    for odd in ["*.example.com", "a b.com", "ä.com", "a\0.com"] {
        assert_eq!(read(&self::query(odd, A, None)).question.text(), None, "{odd}");
    }
    let mut trailing = self::query("a.b", A, None);
    trailing.push(0);
    assert!(!read(&trailing).plain);
}

#[test]
fn what_is_not_one_question_is_told_apart() {
    let whole = query("a.b", A, Some((1232, &[])));
    assert!(matches!(Asked::read(&whole[..11]), Asked::Nothing));
    for cut in 12..whole.len() {
        assert!(matches!(Asked::read(&whole[..cut]), Asked::Malformed), "{cut}");
    }
    let changed = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        bytes
    };
    assert!(matches!(Asked::read(&changed(2, 0x81)), Asked::Malformed), "a response");
    assert!(matches!(Asked::read(&changed(12, 0xc0)), Asked::Malformed), "a compressed question");
    for (at, value, what) in [(2, 0x28, "UPDATE"), (2, 0x20, "NOTIFY"), (5, 0, "no question"), (5, 2, "two questions")]
    {
        assert!(matches!(Asked::read(&changed(at, value)), Asked::Opaque), "{what}");
    }
    let mut two = whole.clone();
    two[11] = 2;
    two.extend_from_slice(&whole[whole.len() - 11..]);
    assert!(matches!(Asked::read(&two), Asked::Malformed), "two OPT records");
    let mut long = query(&"a.".repeat(127), A, None);
    assert!(matches!(Asked::read(&long), Asked::Query(_)), "255 bytes");
    long = query(&"a.".repeat(128), A, None);
    assert!(matches!(Asked::read(&long), Asked::Malformed), "257 bytes");
}

#[test]
fn an_answer_is_known_by_its_id_and_question() {
    let asked = query("a.b", A, None);
    let good = reply(&asked, 0, &[(Section::Answer, A, 9, &[1, 2, 3, 4])]);
    let answers = |answer: &[u8]| Message::new(answer).unwrap().answers(Message::new(&asked).unwrap());
    assert!(answers(&good));
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert!(answers(&changed(13, b'A')), "letters in another case");
    for (at, value, what) in [
        (0, 1, "id"),
        (2, 0x01, "no response"),
        (2, 0xa8, "opcode"),
        (13, b'x', "name"),
        (18, 28, "type"),
        (5, 0, "none"),
    ] {
        assert!(!answers(&changed(at, value)), "{what}");
    }
    let mut refused = good[..12].to_vec();
    refused[3] = 4;
    refused[4..12].fill(0);
    assert!(answers(&refused), "a server that does not understand leaves the question out");
    let mut update = asked.clone();
    update[2] = 0x28;
    let bare = [0xab, 0xcd, 0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(Message::new(&bare).unwrap().answers(Message::new(&update).unwrap()), "RFC 2136, section 3.8");
}

proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        all(&bytes);
    }

    #[test]
    fn spoilt_queries(
        name in "([a-z]{1,8}\\.){0,6}[a-z]{1,8}",
        spoil in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = query(&name, A, Some((1232, &[0, 3, 0, 0])));
        for (at, value) in spoil {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        all(&bytes);
        all(&bytes[..cut.index(bytes.len())]);
    }

    /// What is taken here as a question, another reader takes so too.
    #[test]
    fn reads_as_a_library_does(name in "([a-zA-Z0-9_-]{1,12}\\.){0,6}[a-zA-Z0-9_-]{1,12}", kind in 1u16..300) {
        prop_assume!(kind != OPT);
        let bytes = query(&name, kind, Some((900, &[])));
        let library = hickory_proto::op::Message::from_vec(&bytes).unwrap();
        let query = read(&bytes);
        prop_assert_eq!(library.queries.len(), 1);
        prop_assert_eq!(u16::from(library.queries[0].query_type()), query.question.kind);
        let text = library.queries[0].name().to_lowercase().to_string().replace('\\', "");
        prop_assert_eq!(text.trim_end_matches('.'), query.question.text().unwrap());
        prop_assert_eq!(library.max_payload(), query.edns.unwrap().payload);
    }
}

/// Everything that reads, on bytes of a stranger.
fn all(bytes: &[u8]) {
    let asked = Asked::read(bytes);
    let Some(message) = Message::new(bytes) else {
        assert!(matches!(asked, Asked::Nothing));
        return;
    };
    let records = message.records();
    if let Some((records, end)) = records {
        assert!(end <= bytes.len());
        assert!(records.iter().all(|record| record.ttl_at + 6 <= bytes.len()));
    }
    if let Some(question) = message.question() {
        assert!(question.end <= bytes.len() && question.name.len() <= 255);
        question.text();
    }
    message.answers(message);
}

use proptest::prelude::*;

use super::*;

fn asks() -> impl Strategy<Value = Ask> {
    prop_oneof![
        (any::<u32>(), ".{0,60}", ".{0,60}")
            .prop_map(|(version, name, cluster)| Ask::Hello { version, node: Node { name, cluster } }),
        (".{0,60}", any::<u64>(), any::<u64>()).prop_map(|(uid, device, inode)| Ask::Pod { uid, device, inode }),
        Just(Ask::Wait),
        any::<bool>().prop_map(|pages| Ask::Serve { pages }),
    ]
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Welcome),
        ".{0,60}".prop_map(|why| Answer::Refused { why }),
        any::<usize>().prop_map(|count| Answer::Sockets { count }),
        Just(Answer::Retired),
    ]
}

proptest! {
    #[test]
    fn what_is_said_is_heard(ask in asks(), answer in answers()) {
        prop_assert_eq!(decode::<Ask>(&encode(&ask).unwrap()).unwrap(), ask);
        prop_assert_eq!(decode::<Answer>(&encode(&answer).unwrap()).unwrap(), answer);
    }

    #[test]
    fn noise_is_refused_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(decode::<Ask>(&bytes));
        drop(decode::<Answer>(&bytes));
    }

    #[test]
    fn a_message_that_is_cut_is_refused(ask in asks(), at in any::<prop::sample::Index>()) {
        let bytes = encode(&ask).unwrap();
        prop_assert!(decode::<Ask>(&bytes[..at.index(bytes.len())]).is_err());
    }
}

#[test]
fn the_words_stay_what_they_are() {
    let hello = Ask::Hello { version: VERSION, node: Node { name: "a".into(), cluster: "c".into() } };
    for (ask, text) in [
        (hello, r#"{"ask":"hello","version":1,"node":{"name":"a","cluster":"c"}}"#),
        (Ask::pod("u", NetnsId { device: 4, inode: 7 }), r#"{"ask":"pod","uid":"u","device":4,"inode":7}"#),
        (Ask::Wait, r#"{"ask":"wait"}"#),
        (Ask::Serve { pages: true }, r#"{"ask":"serve","pages":true}"#),
    ] {
        assert_eq!(String::from_utf8(encode(&ask).unwrap()).unwrap(), text);
    }
    for (answer, text) in [
        (Answer::Welcome, r#"{"answer":"welcome"}"#),
        (Answer::Refused { why: "no".into() }, r#"{"answer":"refused","why":"no"}"#),
        (Answer::Sockets { count: 6 }, r#"{"answer":"sockets","count":6}"#),
        (Answer::Retired, r#"{"answer":"retired"}"#),
    ] {
        assert_eq!(String::from_utf8(encode(&answer).unwrap()).unwrap(), text);
    }
    // What a later version adds is left out; a word of its own is refused.
    assert_eq!(decode::<Ask>(br#"{"ask":"serve","pages":false,"more":[1]}"#).unwrap(), Ask::Serve { pages: false });
    decode::<Ask>(br#"{"ask":"dance"}"#).unwrap_err();
    assert!(matches!(encode(&Ask::pod(&"u".repeat(LONGEST), NetnsId { device: 0, inode: 0 })), Err(Garbled::Long)));
}

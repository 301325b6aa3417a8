use proptest::prelude::*;

use super::*;

fn data() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 1..=16)
}

fn expression() -> impl Strategy<Value = Expression> {
    let meta = prop::sample::select(MetaKey::ALL.to_vec());
    let connection = prop::sample::select(vec![ConnectionKey::Direction, ConnectionKey::Mark]);
    prop_oneof![
        data().prop_map(|mask| Expression::Bitwise { xor: mask.iter().map(|b| !b).collect(), mask }),
        (any::<bool>(), data()).prop_map(|(equal, value)| Expression::Compare { equal, value }),
        connection.clone().prop_map(Expression::ConnectionLoad),
        connection.prop_map(Expression::ConnectionStore),
        any::<(u64, u64)>().prop_map(|(bytes, packets)| Expression::Counter { bytes, packets }),
        data().prop_map(Expression::Immediate),
        meta.clone().prop_map(Expression::MetaLoad),
        meta.prop_map(Expression::MetaStore),
        any::<(u32, u32)>().prop_map(|(length, offset)| Expression::PayloadLoad { length, offset }),
        Just(Expression::Redirect),
        Just(Expression::ZoneStore),
        any::<u32>().prop_map(|level| Expression::SocketCgroup { level }),
        ("x_[a-z]{0,12}", prop::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(name, data)| Expression::Unknown { data, name }),
        prop::sample::select(vec![Verdict::Accept, Verdict::Return]).prop_map(Expression::Verdict),
    ]
}

#[test]
fn what_we_would_not_have_written_is_unknown() {
    let list = Attributes::new;
    for (name, data) in [
        ("cmp", list().u32(1, 2).u32(2, 0).nested(3, &value(&[1]))),
        ("cmp", list().u32(1, 1).u32(2, 3).nested(3, &value(&[1]))),
        ("ct", list().u32(1, 1).u32(2, 3).bytes(3, &[0])),
        ("meta", list().u32(1, 1).u32(2, 10)),
        ("payload", list().u32(1, 1).u32(2, 1).u32(3, 0).u32(4, 1)),
        ("redir", list().u32(1, 1).u32(3, 6)),
        ("redir", list()),
        ("immediate", list().u32(1, 0).nested(2, &list().nested(2, &list().u32(1, 0)))),
        ("limit", list()),
    ] {
        assert_eq!(Expression::decode(name, data.as_bytes()), None, "{name} {data:?}");
    }
}

#[test]
fn shown_as_nft_shows_them() {
    for (expression, text) in [
        (Expression::MetaLoad(MetaKey::Mark), "[ meta load mark ]"),
        (Expression::Compare { equal: false, value: vec![0x3a, 0x98] }, "[ cmp neq reg 0x3a98 ]"),
        (
            Expression::Compare { equal: true, value: b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec() },
            "[ cmp eq reg 0x6c6f ]",
        ),
        (Expression::SocketCgroup { level: 2 }, "[ socket load cgroupv2 level 2 ]"),
        (Expression::Verdict(Verdict::Return), "[ return ]"),
    ] {
        assert_eq!(expression.to_string(), text);
    }
}

proptest! {
    #[test]
    fn any_rule_is_read_as_written(list in prop::collection::vec(expression(), 0..12)) {
        let written = Expression::encode_list(&list);
        prop_assert_eq!(Expression::decode_list(written.as_bytes()), list);
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        for expression in Expression::decode_list(&bytes) {
            prop_assert!(expression.to_string().starts_with('['));
        }
    }

    #[test]
    fn any_damage_to_a_rule_is_decoded_without_a_panic(
        list in prop::collection::vec(expression(), 1..6),
        damage in prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..8),
    ) {
        let mut bytes = Expression::encode_list(&list).as_bytes().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        prop_assert!(Expression::decode_list(&bytes).len() <= bytes.len());
    }
}

use proptest::prelude::*;

use super::*;

#[test]
fn written_attributes_are_padded_and_read_back() {
    let inner = Attributes::new().u32(7, 0x0102_0304);
    let list = Attributes::new().string(1, "lo").nested(2, &inner).u64(3, 9).bytes(4, &[1]);
    assert_eq!(list.as_bytes().len() % 4, 0);
    assert_eq!(attribute_string(list.as_bytes(), 1).as_deref(), Some("lo"));
    let nested = attribute(list.as_bytes(), 2).unwrap();
    assert_eq!(attribute_u32(nested, 7), Some(0x0102_0304));
    assert_eq!(attribute_u64(list.as_bytes(), 3), Some(9));
    assert_eq!(attribute(list.as_bytes(), 4), Some(&[1][..]));
    assert_eq!(attribute(list.as_bytes(), 5), None);
    assert_eq!(attribute_u32(list.as_bytes(), 3), None, "eight bytes are no u32");
}

#[test]
fn the_walk_ends_at_a_length_that_does_not_fit() {
    // A length below the header would make no progress; one beyond the end would read foreign bytes.
    for bad in [[0u8, 0, 1, 0], [3, 0, 1, 0], [200, 0, 1, 0]] {
        assert_eq!(attributes(&bad).count(), 0, "{bad:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_walked_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        prop_assert!(attributes(&bytes).count() <= bytes.len() / 4 + 1);
    }

    #[test]
    fn any_list_is_read_as_written(list in prop::collection::vec((0u16..KIND, prop::collection::vec(any::<u8>(), 0..40)), 0..8)) {
        let written = list.iter().fold(Attributes::new(), |all, (kind, value)| all.bytes(*kind, value));
        let read: Vec<_> = attributes(written.as_bytes()).map(|(kind, value)| (kind, value.to_vec())).collect();
        prop_assert_eq!(read, list);
    }
}

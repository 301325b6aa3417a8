//! A policy of a control plane: what is taken is written and read again as the same, with nothing left out; a refusal is
//! short.

use culvert::xds::convert::{Decoded, decode_policy, encode_policy, read_policy};

pub fn feed(data: &[u8]) -> bool {
    let Decoded { value, left_out } = match read_policy("resource", data) {
        Ok(decoded) => decoded,
        Err(refused) => {
            assert!(refused.to_string().len() < 4096, "{refused}");
            return false;
        }
    };
    assert!(left_out.first.len() <= left_out.count);
    let again = decode_policy("resource", encode_policy(&value)).expect("what was taken can be written and read again");
    assert_eq!((again.value, again.left_out.count), (value, 0));
    true
}

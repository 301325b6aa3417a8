//! A workload or service of a control plane: what is taken is written and read again as the same, with nothing left out;
//! a refusal is short.

use culvert::xds::convert::{Addressed, Decoded, decode_address, encode_service, encode_workload, read_address};

pub fn feed(data: &[u8]) -> bool {
    let Decoded { value, left_out } = match read_address("resource", data) {
        Ok(decoded) => decoded,
        Err(refused) => {
            assert!(refused.to_string().len() < 4096, "{refused}");
            return false;
        }
    };
    assert!(left_out.first.len() <= left_out.count);
    let message = match &value {
        Addressed::Workload(workload) => encode_workload(workload),
        Addressed::Service(service) => encode_service(service),
    };
    let again = decode_address("resource", message).expect("what was taken can be written and read again");
    assert_eq!((again.value, again.left_out.count), (value, 0));
    true
}

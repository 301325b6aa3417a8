//! `forwarded`: what is taken is written and read again as the same.

use culvert::hbone::headers::{Forwarded, MAX_VALUE};

pub fn feed(data: &[u8]) -> bool {
    let read = Forwarded::parse(data);
    assert!(read.host.as_ref().is_none_or(|host| (1..=MAX_VALUE).contains(&host.len())));
    let Some(written) = read.format() else {
        assert_eq!(read, Forwarded::default());
        return false;
    };
    assert_eq!(Forwarded::parse(written.as_bytes()), read, "{written}");
    true
}

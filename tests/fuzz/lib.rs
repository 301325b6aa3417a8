//! What the fuzzer links: the feeds, and a bound on what one input may cost in memory.

pub mod feeds;
pub mod weight;

/// The fuzzer's entry for the feed of this name, with the bytes that one input may cost if it is not [`weight::FLOOR`].
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::target!($name, $crate::weight::FLOOR);
    };
    ($name:ident, $floor:expr) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| $crate::weight::within($floor, data, $crate::feeds::$name::feed));
    };
}

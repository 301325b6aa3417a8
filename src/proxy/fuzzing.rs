//! A door for the fuzzer to what is pure and private here; the program does not use it (`docs/fuzzing.md`).

pub use super::inbound::proxy_header::header as proxy_header;

//! The rules in a real kernel, each test in namespaces of its own.

mod backends;
mod lab;
mod live;
mod nftables;

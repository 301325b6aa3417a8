//! Moving the bytes of one connection, both ways, until both directions have ended.
//!
//! Owns: half-close, resets, back-pressure, the count of bytes. Never: where they go or whether they may.

pub mod joined;
mod meter;
mod silence;
pub mod tunnelled;

pub use meter::{Broken, Early, Ended, Meter, Side, unless_ended};

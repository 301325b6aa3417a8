//! The programs in a lab's pods: real HTTP and raw TCP, at both ends.
//!
//! Owns: a server that says whom it saw, transfers whose every byte is checked, and clients that
//! name how they were refused. Never: anything of the mesh; to these programs there is none.

mod args;
mod client;
mod flood;
pub mod page;
mod pattern;
mod server;
mod trickle;

pub use args::{Args, program, run};
pub use client::{Refusal, Refused, Reply, Stage, await_listening, exchange, get, get_path};
pub use flood::{FloodReport, Held, flood, hold};
pub use pattern::{Mismatch, Pattern};
pub use server::{Answer, ECHO_PORT, HTTP_PORT, STREAM_PORT, Server};
pub use trickle::{Cut, Trickle, Way};

#[cfg(test)]
mod tests;

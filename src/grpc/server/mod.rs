//! The server's side: TLS connections, who calls, and which service answers.
//!
//! Owns: accepting with its bounds and deadlines, the life of a connection (age, drain), the token of a request.
//! Never: which tokens there are ([`Authenticate`] is given), what a service does, the socket's making.
//!
//! A connection is bounded in number, in all and for each caller, in the time of its handshake, in the time until its first good token, in streams,
//! in header bytes and in age. Nothing is read of a request's body before its token was found good.

mod caller;
mod crowd;
mod metered;
mod router;
mod serve;

pub use caller::{Authenticate, Caller, Unauthenticated, Who};
pub use metered::{Largest, Metered, Progress};
pub use router::{Answering, Body, Closing, Router, Service};
pub use serve::{Config, Server};

#[cfg(test)]
pub(crate) mod calling;
#[cfg(test)]
mod tests;

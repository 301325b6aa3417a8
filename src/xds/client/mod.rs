//! The client of incremental xDS: what a node knows of the mesh, from a control plane.
//!
//! Owns: subscriptions, versions, answers, reconnection, demands, and the state that is kept on disk. Never: the mesh
//! (`mesh`), how a connection is made (`grpc`).
//!
//! | page | what |
//! | --- | --- |
//! | `protocol`, `outcome` | the state machine: responses go in, an [`Update`] and requests come out. Pure |
//! | `first` | what is known of a type's first answer: what is missing, what is still to be named. Pure |
//! | `intake`, `envelope`, `requests` | one response, resource by resource; requests of bounded size |
//! | `held`, `version`, `sharing` | the names and versions that are held; one copy of each text. Pure |
//! | `demand`, `ask` | waiting for one resource, and the handle that others wait with |
//! | `absent` | what is not there and stays asked for. Pure |
//! | `backoff`, `complaints` | when to connect again, what to complain of and how often. Pure |
//! | `driver`, `engine`, `stream` | the task: connects, feeds the machine, hands updates to the [`Sink`] |
//! | `status`, `observe` | what others see of it: readiness, age, counters |
//! | `keep/` | the state on disk |
//!
//! A resource is known by its name alone, and the name must be the one inside it. What was accepted is replaced only
//! by what is accepted; what is refused changes nothing and is told to the control plane by name.

mod absent;
mod ask;
mod backoff;
mod complaints;
mod demand;
mod driver;
mod engine;
mod envelope;
mod first;
#[doc(hidden)]
pub mod fuzzing;
mod held;
mod intake;
mod keep;
mod kind;
mod observe;
mod outcome;
mod protocol;
mod requests;
mod sharing;
mod status;
mod stream;
mod update;
mod version;

pub use ask::{DemandError, Demander};
pub use demand::{Answer, Key};
pub use driver::{Client, Settings};
pub use keep::{Keep, KeepSettings};
pub use kind::Kind;
pub use observe::{Observer, Termination, Unobserved, expose_age};
pub use status::{Status, TypeStatus};
pub use stream::{Connect, ConnectError, Dialled};
pub use update::{Removed, Sink, Update};

#[cfg(test)]
mod simulated;

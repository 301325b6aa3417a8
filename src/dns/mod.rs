//! The DNS proxy of a pod: names of the mesh from the mesh, everything else from the server that the pod asked.
//!
//! Owns: what is answered and what is forwarded, the listeners on loopback of a pod's namespace, the questions that it
//! puts to name servers from there, and what it remembers of their answers.
//! Never: which pods have one (`role` asks the pod and the settings), a redirect, the mesh itself.
//!
//! `names` and `answer` decide, `message`, `reply` and `cache` know the bytes; all five are pure. `origin` and `servers`
//! say whom the pod asked, `upstream` asks. What is not answered from the mesh is never taken apart and put together
//! again: its bytes go on as they came, and so does the answer, so that UPDATE, NOTIFY, unknown types and options live.

mod answer;
mod cache;
mod connections;
mod counted;
mod datagrams;
mod demand;
#[doc(hidden)]
pub mod fuzzing;
mod listeners;
mod message;
mod names;
mod origin;
mod pod;
mod reply;
mod servers;
mod upstream;

pub use demand::Demand;
pub use listeners::{ListenError, Listeners};
pub use pod::{Config, PodDns, Shared};
pub use servers::Servers;

//! The server of incremental xDS: the projection of a mesh, to any client that speaks delta ADS.
//!
//! Owns: what each client has, wants and is sent ([`Session`], pure), the resources with their versions ([`Snapshot`],
//! pure), the stream that joins the two, the service. Never: where resources come from (`control`), who may ask
//! (`grpc::server::Authenticate`), a socket.
//!
//! | rule | why |
//! | --- | --- |
//! | a version is the hash of the resource's bytes | it holds over restarts and replicas: a client that comes back is sent the difference |
//! | of a wildcard client nothing is kept but the number of the snapshot that it has | a list of 100,000 names a client is memory that clients choose |
//! | a response has some 2 MiB at most, and the next waits for its answer | a slow client is not buried, and limits of 4 MiB hold |
//! | policies go out when all addresses have gone out and were answered, the first ones in one piece | a client is ready at the first answer of every type, and must not be so with a part of the mesh |
//! | on demand, the first answer has the workloads of the client's own node | a node then knows its own pods at once, and no others before they are asked for |
//! | who falls so far behind that what was removed is no longer known is sent away | it comes back with what it has, and is sent the difference |

mod asking;
mod clients;
mod debounce;
mod entry;
mod hash;
mod incoming;
mod lookup;
mod publish;
mod response;
mod service;
mod session;
mod snapshot;
mod stream;
mod subscription;

pub use clients::ClientReport;
pub use entry::{Entry, Type};
pub use publish::{Inbox, Resources, Store};
pub use response::Response;
pub use service::{Config, Discovery};
pub use session::{Heard, Limits, Refusal, Session};
pub use snapshot::Snapshot;

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;

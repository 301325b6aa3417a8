//! The pure parts of `make bench`, tested with everything else. The bench itself begins in mesh.rs.

mod figures;
#[path = "peer/local.rs"]
mod local;
#[path = "peer/messages.rs"]
mod messages;
mod usage;

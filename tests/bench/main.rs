//! The pure parts of `make bench`, tested with everything else. The bench itself begins in mesh.rs.

mod figures;
mod usage;

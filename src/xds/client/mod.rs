//! The client of incremental xDS: what a node knows of the mesh, from a control plane.
//!
//! Owns: subscriptions, versions, answers, reconnection, demands, and the state that is kept on disk. Never: the mesh
//! (`mesh`), how a connection is made (`grpc`).

//! The server of incremental xDS: the projection of a mesh, to any client that speaks delta ADS.
//!
//! Owns: what each client has, wants and is sent. Never: where resources come from (`control`), who may ask (`role`).

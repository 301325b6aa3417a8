//! culvert: a node-level zero-trust daemon for Kubernetes.
//!
//! The layers, from those that know nothing of a mesh to those that assemble one. A module may use
//! modules of its own and of higher groups in this list; features never use each other, `role`
//! joins them. `tests/tidy` holds the table of allowed imports and fails on a new arrow.
//!
//! | group | modules |
//! | --- | --- |
//! | words and kit | [`model`], [`runtime`], [`telemetry`], [`sys`] |
//! | protocols | [`proto`], `tls`, [`grpc`], `hbone`, [`xds`], [`zds`], `kube` |
//! | state and decisions | `mesh`, `authz`, `route`, `identity` |
//! | features | `redirect`, `enroll`, `proxy`, [`dns`], `control`, `ca`, `admin` |
//! | assembly | `config`, `role`, `cli` |

pub mod admin;
pub mod authz;
pub mod ca;
pub mod cli;
pub mod config;
pub mod control;
pub mod dns;
pub mod enroll;
pub mod grpc;
pub mod hbone;
pub mod identity;
pub mod kube;
pub mod mesh;
pub mod model;
pub mod proto;
pub mod proxy;
pub mod redirect;
pub mod role;
pub mod route;
pub mod runtime;
pub mod sys;
pub mod telemetry;
pub mod tls;
pub mod xds;
pub mod zds;

//! The pages that the process serves about itself: admin and dumps, metrics, readiness.
//!
//! Owns: the HTTP server for them, its bounds, the index page.
//! Never: a fact of another feature (dumps are given as closures), a change of state (every page is read only), a
//! private key, a bind (the listener is given).

mod pages;
mod server;
mod sites;

pub use pages::{Asked, NoAnswer, Page, Pages};
pub use server::{Answer, Site, serve, tasks};
pub use sites::{MetricsSite, ReadySite};

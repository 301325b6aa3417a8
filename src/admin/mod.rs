//! The pages that the process serves about itself: admin and dumps, metrics, readiness.
//!
//! Owns: the HTTP server for them, its bounds, the index page.
//! Never: a fact of another feature (dumps are given as closures), a change of state by itself (pages are read only; an order hands on what was asked), a
//! private key, a bind (the listener is given).

mod body;
mod coding;
pub mod istio;
mod pages;
mod server;
mod sites;

pub use body::{Body, Sink};
pub use pages::{Asked, MakeDump, NoAnswer, Order, Page, Pages};
pub use server::{Answer, Places, Site, Verb, places, serve};
pub use sites::{MetricsSite, ReadySite, ReadyWords};

//! Announced pods in a real kernel: a fake agent with istio-cni's own rules, the real client, manager and data plane.

mod agent;
mod lab;

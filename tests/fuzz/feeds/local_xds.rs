//! A mesh in a file: what is taken has no key twice, and can be put on the wire.

use std::collections::HashSet;

use culvert::config::local::{Settings, parse};
use culvert::xds::convert::{encode_policy, encode_service, encode_workload};

pub fn feed(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let settings = Settings { trust_domain: "cluster.local".into(), cluster: "Kubernetes".into() };
    let state = match parse("mesh.yaml", text, &settings) {
        Ok(state) => state,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    let mut seen = HashSet::new();
    for workload in &state.workloads {
        assert!(!workload.uid.is_empty() && seen.insert(workload.uid.to_string()), "{}", workload.uid);
        encode_workload(workload);
    }
    let mut seen = HashSet::new();
    for service in &state.services {
        assert!(seen.insert(service.key()), "{}", service.key());
        encode_service(service);
    }
    let mut seen = HashSet::new();
    for policy in &state.policies {
        assert!(seen.insert(&policy.key), "{}", policy.key);
        encode_policy(policy);
    }
    !state.services.is_empty()
}

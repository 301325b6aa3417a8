//! An address that is a workload's and a service's. One look-up decides, so that no road is half the one and half the other.

use super::*;

#[test]
fn an_address_that_is_a_workloads_and_a_services_is_the_workloads_alone() {
    let (tried, aside) = none();
    let avoid = Avoid { tried: &tried, aside: &aside };
    let mut state = mesh();
    // At the address of a pod of the mesh, of a plain one, and of one that is behind a waypoint.
    for (name, address) in [("on-meshed", "10.0.0.1"), ("on-plain", "10.0.0.2"), ("on-behind", "10.0.0.40")] {
        state.services.push(Service { waypoint: by_name("nobody"), ..service(name, address) });
        state.workloads.push(endpoint(&[name], workload(name, "10.0.7.7", Tunnel::None)));
    }
    for destination in ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.40:80"] {
        let alone = words(&decide(&mesh(), CLIENT, destination, &avoid, 0));
        let (decision, missing) = decide_and_miss(&state, CLIENT, destination, &avoid, 0);
        assert_eq!((words(&decision), missing), (alone, Vec::new()), "{destination}");
    }
}

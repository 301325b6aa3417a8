//! What two things claim at a time: an address that is a workload's and a service's, where one look-up decides so that no road
//! is half the one and half the other; a service that is another one by the end of a dial.

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

/// While a plain dial takes its seconds the mesh may give the service endpoints to choose from: the bytes would go in clear.
#[test]
fn a_passthrough_that_is_none_any_more_does_not_hold() {
    let (mut writer, reader) = mesh::channel();
    let (tried, aside) = none();
    let avoid = Avoid { tried: &tried, aside: &aside };
    let with = |mode: Mode| {
        let mut state = mesh();
        state.services.iter_mut().filter(|s| *s.name == *"web").for_each(|s| s.balancing.mode = mode);
        state
    };
    for (then, now, holds) in [
        (Mode::Passthrough, Mode::Passthrough, true),
        (Mode::Passthrough, Mode::Any, false),
        (Mode::Any, Mode::Passthrough, false),
    ] {
        let decision = decide(&with(then), CLIENT, "10.96.0.1:80", &avoid, 0);
        assert_eq!(decision.route == Route::Passthrough, then == Mode::Passthrough);
        writer.replace(with(now));
        assert_eq!(decision.holds("", "shop", "10.96.0.1".parse().unwrap(), &reader.view()), holds, "{then:?} {now:?}");
    }
}

//! Tables of what a client is sent; the properties stand beside (`simulated/properties.rs`).

use prost::Message;

use super::simulated::{Client, LIMITS, World, member, names, policy, service, workload};
use super::{Heard, Limits, Refusal, Resources, Session, Snapshot, Type};
use crate::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use crate::xds::convert::{Addressed, read_address};

/// Three workloads on two nodes, a service of the first two, a policy.
fn shop() -> Resources {
    Resources {
        workloads: vec![member(workload(1, "a"), &[1]), member(workload(2, "b"), &[1]), workload(3, "b")],
        services: vec![service(1)],
        policies: vec![policy(1, false)],
    }
}

fn everything(kind: Type, world: &World) -> Client {
    let mut client = Client::new(kind, "a", None, LIMITS);
    client.reconnect(world, LIMITS);
    client
}

fn on_demand(names: &[&str], node: &str, world: &World) -> Client {
    let mut client = Client::new(Type::Address, node, Some(names), LIMITS);
    client.reconnect(world, LIMITS);
    client
}

const W1: &str = "c//Pod/shop/w1";
const W2: &str = "c//Pod/shop/w2";
const W3: &str = "c//Pod/shop/w3";

#[test]
fn wildcard_first_everything_then_what_changes() {
    let mut world = World::new(&shop());
    let mut client = everything(Type::Address, &world);
    let first = client.settle(&world);
    assert_eq!(first.len(), 1);
    // Services first; no aliases, which only serve who asks by them.
    assert_eq!(names(&first[0]), (vec!["shop/s1", W1, W2, W3], vec![]));
    assert!(first[0].resources.iter().all(|resource| resource.aliases.is_empty()));
    let any = first[0].resources[1].resource.as_ref().unwrap();
    let read = read_address(W1, &any.value).unwrap().value;
    assert_eq!(read, Addressed::Workload(shop().workloads[0].clone()));

    let mut next = shop();
    next.workloads[2].healthy = false;
    next.workloads.remove(1);
    next.services.push(service(2));
    world.set(&next);
    let push = client.settle(&world);
    assert_eq!(names(&push[0]), (vec!["shop/s2", W3], vec![W2]));
    assert_eq!(client.held, world.all(Type::Address));

    // The same once more is no change.
    world.set(&next);
    assert_eq!(client.settle(&world), []);
}

#[test]
fn each_type_has_its_own() {
    let world = World::new(&shop());
    let mut workloads = everything(Type::Workload, &world);
    let first = workloads.settle(&world).remove(0);
    assert_eq!(names(&first).0, [W1, W2, W3]);
    let any = first.resources[0].resource.as_ref().unwrap();
    let bare = crate::proto::workload::Workload::decode(any.value.as_slice()).unwrap();
    assert_eq!((bare.uid.as_str(), bare.name.as_str()), (W1, "w1"));
    let mut policies = everything(Type::Authorization, &world);
    assert_eq!(names(&policies.settle(&world)[0]).0, ["shop/p1"]);
}

#[test]
fn an_empty_mesh_is_answered_too() {
    let world = World::new(&Resources::default());
    for kind in Type::ALL {
        let all = everything(kind, &world).settle(&world);
        assert!(all.len() == 1 && names(&all[0]) == (vec![], vec![]), "{kind:?}");
    }
}

#[test]
fn the_first_request_fixes_the_kind() {
    let world = World::new(&shop());
    let check = |subscribe: &[&str], unsubscribe: &[&str], expected: Option<usize>| {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let request = DeltaDiscoveryRequest {
            type_url: Type::Address.url().to_owned(),
            resource_names_subscribe: list(subscribe),
            resource_names_unsubscribe: list(unsubscribe),
            // Of an earlier stream: means nothing.
            response_nonce: "7.7".to_owned(),
            ..DeltaDiscoveryRequest::default()
        };
        let mut session = Session::new(LIMITS, "".into());
        assert_eq!(session.request(request.clone(), &world.now), Ok(Heard::Subscribed));
        assert_eq!(session.names(Type::Address), expected, "{subscribe:?} {unsubscribe:?}");
        // A wildcard later changes nothing.
        session.next(&world.now).unwrap().unwrap();
        let later =
            DeltaDiscoveryRequest { resource_names_subscribe: list(&["*"]), response_nonce: String::new(), ..request };
        session.request(later, &world.now).unwrap();
        assert_eq!(session.names(Type::Address).is_none(), expected.is_none());
    };
    check(&[], &[], None);
    check(&["*"], &[], None);
    check(&["*", W1], &[], None);
    check(&["*"], &["*"], Some(0));
    check(&["*", W1], &["*"], Some(1));
    check(&[W1], &[], Some(1));
    check(&[W1, W2], &[W2], Some(1));
}

#[test]
fn who_comes_back_is_sent_the_difference() {
    let mut world = World::new(&shop());
    let mut client = everything(Type::Address, &world);
    client.settle(&world);
    client.held.insert("c//Pod/shop/gone".to_owned(), "0123456789abcdef".to_owned());
    let mut next = shop();
    next.workloads[0].healthy = false;
    // A server that has just started: versions hold all the same.
    world = World::new(&next);
    client.reconnect(&world, LIMITS);
    let all = client.settle(&world);
    assert_eq!(all.len(), 1);
    assert_eq!(names(&all[0]), (vec![W1], vec!["c//Pod/shop/gone"]));
    assert_eq!(client.held, world.all(Type::Address));
    // With nothing different there is an answer all the same: it says that this is so.
    client.reconnect(&world, LIMITS);
    let all = client.settle(&world);
    assert!(all.len() == 1 && names(&all[0]) == (vec![], vec![]));
}

#[test]
fn versions_are_of_contents_alone() {
    let (a, b) = (World::new(&shop()), World::new(&shop()));
    assert_eq!(a.all(Type::Address), b.all(Type::Address));
    let mut turned = shop();
    turned.workloads.reverse();
    assert_eq!(World::new(&turned).all(Type::Address), a.all(Type::Address));
    turned.workloads[0].capacity = 7;
    assert_ne!(World::new(&turned).all(Type::Address), a.all(Type::Address));
}

#[test]
fn of_two_with_one_name_the_later_counts() {
    let mut twice = shop();
    twice.workloads.push(workload(1, "z"));
    let world = World::new(&twice);
    assert_eq!(world.now.len(Type::Workload), 3);
    let mut client = on_demand(&[], "z", &world);
    assert_eq!(names(&client.settle(&world)[0]).0, [W1]);
}

#[test]
fn one_push_at_a_time_and_later_ones_merge() {
    let mut world = World::new(&shop());
    let mut client = everything(Type::Address, &world);
    let first = client.pull(&world).unwrap();
    let mut next = shop();
    for capacity in 2..10 {
        next.workloads[0].capacity = capacity;
        next.services.push(service(u8::try_from(capacity).unwrap()));
        world.set(&next);
        assert_eq!(client.pull(&world), None, "unanswered");
    }
    next.services.truncate(2);
    world.set(&next);
    client.apply(&first);
    client.acknowledge(&first.nonce, &world);
    let merged = client.settle(&world);
    assert_eq!(merged.len(), 1);
    assert_eq!(names(&merged[0]).0, ["shop/s2", W1]);
    assert_eq!(client.held, world.all(Type::Address));
}

#[test]
fn a_large_mesh_comes_in_pieces_and_policies_after_all_of_them() {
    let mut large = shop();
    large.workloads.extend((4..=200).map(|n| workload(n, "a")));
    let world = World::new(&large);
    let limits = Limits { response: 2000, ..LIMITS };
    let mut client = Client::new(Type::Address, "", None, limits);
    client.reconnect(&world, limits);
    let first = client.pull(&world).unwrap();
    // The other type's subscription shares the stream.
    let policies = DeltaDiscoveryRequest { type_url: Type::Authorization.url().to_owned(), ..client.request() };
    client.session.request(policies, &world.now).unwrap();
    assert!(first.encoded_len() < 2300);
    let mut response = first;
    let mut pieces = 0;
    while response.type_url == Type::Address.url() {
        pieces += 1;
        assert_eq!(client.session.next(&world.now).unwrap().map(|response| response.kind), None);
        client.apply(&response);
        // A part that is refused does not hold up the others.
        let answer = client.acknowledgement(&response.nonce, (pieces == 2).then_some("w5: no"));
        client.session.request(answer, &world.now).unwrap();
        let Some(next) = client.pull(&world) else { panic!("policies are still to come") };
        response = next;
    }
    assert!(pieces > 10, "{pieces}");
    assert_eq!(client.held, world.all(Type::Address), "policies came before all addresses");
    assert_eq!(names(&response).0, ["shop/p1"]);
}

/// A client is ready at the first of them.
#[test]
fn the_first_policies_come_in_one_piece() {
    let many = |dry: bool| Resources { policies: (0..200).map(|n| policy(n, dry)).collect(), ..Resources::default() };
    let mut world = World::new(&many(false));
    let limits = Limits { response: 500, ..LIMITS };
    let mut client = Client::new(Type::Authorization, "", None, limits);
    client.reconnect(&world, limits);
    let first = client.settle(&world);
    assert_eq!((first.len(), first[0].resources.len()), (1, 200));
    world.set(&many(true));
    assert!(client.settle(&world).len() > 10, "later ones in pieces");
    // A client that comes back is ready already, or begins with a state of its own: all at once again.
    world.set(&many(false));
    client.reconnect(&world, limits);
    assert_eq!(client.settle(&world).len(), 1);
    assert_eq!(client.held, world.all(Type::Authorization));
}

#[test]
fn the_first_policies_are_marshalled_once() {
    let mut world = World::new(&shop());
    let marshalled = |world: &World| {
        let mut client = everything(Type::Authorization, world);
        client.session.next(&world.now).unwrap().unwrap().encode(&world.now)
    };
    let (first, second) = (marshalled(&world), marshalled(&world));
    assert!(!first.last_ref().is_empty());
    assert_eq!(first.last_ref().as_ptr(), second.last_ref().as_ptr());
    let mut more = shop();
    more.policies.push(policy(2, false));
    world.set(&more);
    let response = DeltaDiscoveryResponse::decode(marshalled(&world)).unwrap();
    assert_eq!(names(&response).0, ["shop/p1", "shop/p2"], "another snapshot has its own");
}

#[test]
fn a_resource_larger_than_a_response_goes_alone() {
    let world = World::new(&shop());
    let limits = Limits { response: 1, ..LIMITS };
    let mut client = Client::new(Type::Address, "", None, limits);
    client.reconnect(&world, limits);
    assert_eq!(client.settle(&world).len(), 4);
    assert_eq!(client.held, world.all(Type::Address));
}

#[test]
fn refused_is_told_and_not_sent_again_until_it_changes() {
    let mut world = World::new(&shop());
    let mut client = everything(Type::Address, &world);
    let first = client.pull(&world).unwrap();
    let nack = client.acknowledgement(&first.nonce, Some("c//Pod/shop/w1: bad address"));
    let heard = client.session.request(nack, &world.now).unwrap();
    assert_eq!(heard, Heard::Refused { kind: Type::Address, message: "c//Pod/shop/w1: bad address".to_owned() });
    assert_eq!(client.pull(&world), None);
    let mut next = shop();
    next.workloads[0].capacity = 3;
    world.set(&next);
    assert_eq!(names(&client.pull(&world).unwrap()).0, [W1]);
}

#[test]
fn a_stale_answer_frees_nothing_and_loses_nothing() {
    let mut world = World::new(&shop());
    let mut client = on_demand(&[W1], "", &world);
    let first = client.pull(&world).unwrap();
    client.apply(&first);
    client.ask(&[W2], &world).unwrap();
    let second = client.pull(&world).unwrap();
    client.apply(&second);
    // The answer to the first carries a name, which counts.
    let mut stale = client.acknowledgement(&first.nonce, None);
    stale.resource_names_subscribe = vec![W3.to_owned()];
    client.asked.as_mut().unwrap().insert(W3.to_owned());
    assert_eq!(client.session.request(stale, &world.now), Ok(Heard::Stale));
    let third = client.pull(&world).unwrap();
    assert_eq!(names(&third).0, [W3]);
    client.apply(&third);
    let mut next = shop();
    next.workloads[0].capacity = 5;
    world.set(&next);
    assert_eq!(client.pull(&world), None, "the third is not answered");
    assert_eq!(client.acknowledge(&second.nonce, &world), Heard::Stale);
    assert_eq!(client.pull(&world), None);
    assert_eq!(client.acknowledge(&third.nonce, &world), Heard::Acknowledged);
    assert_eq!(names(&client.settle(&world)[0]).0, [W1]);
}

#[test]
fn on_demand_answers_what_is_asked() {
    let mut resources = shop();
    let mut block = service(9);
    block.addresses[0].net = "10.9.0.0/16".parse().unwrap();
    resources.services.push(block);
    let mut host = workload(7, "b");
    host.host_network = true;
    resources.workloads.push(host);
    let world = World::new(&resources);
    let check = |name: &str, expected: &[&str], removed: &[&str]| {
        let mut client = on_demand(&[], "", &world);
        assert_eq!(names(&client.settle(&world)[0]), (vec![], vec![]), "starts with nothing");
        client.ask(&[name], &world).unwrap();
        let answers = client.settle(&world);
        assert_eq!(answers.len(), 1, "{name}");
        assert_eq!(names(&answers[0]), (expected.to_vec(), removed.to_vec()), "{name}");
        for resource in &answers[0].resources {
            let known = resource.name == name || resource.aliases.iter().any(|alias| alias == name);
            assert!(known || resource.name.starts_with("c//"), "{name} is not found in {resource:?}");
        }
        // What was asked for before is not sent again.
        client.ask(&[W3], &world).unwrap();
        assert_eq!(names(&client.settle(&world)[0]).0, [W3]);
    };
    check(W1, &[W1], &[]);
    check("/10.0.0.2", &[W2], &[]);
    check("shop/s1", &["shop/s1", W1, W2], &[]);
    check("/10.1.0.1", &["shop/s1", W1, W2], &[]);
    check("/10.9.3.3", &["shop/s9"], &[]);
    check("/10.9.0.0/16", &["shop/s9"], &[]);
    check("/10.0.0.7", &[], &["/10.0.0.7"]);
    check("other/10.0.0.2", &[], &["other/10.0.0.2"]);
    check("shop/none", &[], &["shop/none"]);
    check("shop/p1", &[], &["shop/p1"]);
    check("", &[], &[""]);
}

#[test]
fn on_demand_starts_with_the_nodes_own_workloads_and_keeps_them_coming() {
    let mut world = World::new(&shop());
    let mut client = on_demand(&[], "b", &world);
    assert_eq!(names(&client.settle(&world)[0]).0, [W2, W3]);
    let mut next = shop();
    next.workloads.push(workload(4, "b"));
    next.workloads.push(workload(5, "a"));
    next.workloads.remove(1);
    world.set(&next);
    let push = client.settle(&world);
    assert_eq!(names(&push[0]), (vec!["c//Pod/shop/w4"], vec![W2]));
}

#[test]
fn on_demand_hears_of_what_it_asked_for_and_of_nothing_else() {
    let mut world = World::new(&shop());
    let mut client = on_demand(&["shop/s1", "/10.0.0.4"], "", &world);
    assert_eq!(names(&client.settle(&world)[0]).1, ["/10.0.0.4"]);
    let mut next = shop();
    // Leaves the service, joins it, is new at an address that was asked for; and three that are nobody's matter.
    next.workloads[1].services.clear();
    next.workloads[2] = member(workload(3, "b"), &[1]);
    next.workloads.push(workload(4, "b"));
    next.workloads.push(workload(5, "b"));
    next.services.push(service(2));
    world.set(&next);
    let push = client.settle(&world);
    assert_eq!(push.len(), 1);
    assert_eq!(names(&push[0]), (vec![W2, W3, "c//Pod/shop/w4"], vec![]));
    assert_eq!(client.aliases["c//Pod/shop/w4"], ["/10.0.0.4"]);

    next.workloads.pop();
    world.set(&next);
    assert_eq!(client.settle(&world), [], "nobody here asked for it");
    client.leave(W3, &world);
    next.workloads[2].capacity = 9;
    next.workloads[2].services.clear();
    world.set(&next);
    assert_eq!(client.settle(&world), [], "left");
}

#[test]
fn on_demand_comes_back_with_what_it_has() {
    let mut world = World::new(&shop());
    let mut client = on_demand(&["shop/s1"], "", &world);
    client.settle(&world);
    let mut next = shop();
    next.workloads.remove(0);
    world.set(&next);
    // Asked for and not answered before the cut: retained without a version, and answered now.
    client.asked = Some(Default::default());
    client.held.insert("/10.0.0.3".to_owned(), String::new());
    client.reconnect(&world, LIMITS);
    let all = client.settle(&world);
    assert_eq!(all.len(), 1);
    // Of what it has only the service is the same.
    assert_eq!(names(&all[0]), (vec![W3], vec![W1]));
}

#[test]
fn limits_end_the_stream() {
    let world = World::new(&shop());
    let limits = Limits { names: 3, ..LIMITS };
    let mut client = Client::new(Type::Address, "", Some(&[]), limits);
    client.reconnect(&world, limits);
    client.settle(&world);
    assert_eq!(client.ask(&["a", "b", "c"], &world), Ok(Heard::Subscribed));
    client.settle(&world);
    assert_eq!(client.ask(&["a", "b"], &world), Ok(Heard::Subscribed), "known already");
    client.settle(&world);
    assert!(matches!(client.ask(&["d"], &world), Err(Refusal::TooManyNames { names: 3, .. })));
    client.leave("a", &world);
    let long = "x".repeat(LIMITS.name_bytes);
    assert!(matches!(client.ask(&[&long], &world), Err(Refusal::TooManyNames { .. })));
    // A service's workloads count, too.
    let mut client = Client::new(Type::Address, "", Some(&[]), Limits { names: 2, ..LIMITS });
    client.reconnect(&world, Limits { names: 2, ..LIMITS });
    assert!(client.ask(&["shop/s1"], &world).is_err());
    // And in a wildcard stream nothing is kept, so nothing is too many.
    let mut client = everything(Type::Address, &world);
    client.settle(&world);
    let many: Vec<_> = (0..5000).map(|n| format!("none/{n}")).collect();
    client.ask(&many.iter().map(String::as_str).collect::<Vec<_>>(), &world).unwrap();
    let answers = client.settle(&world);
    assert_eq!(answers.iter().map(|answer| answer.removed_resources.len()).sum::<usize>(), 5000);
    assert_eq!(client.session.names(Type::Address), None);
}

/// One name a hundred thousand times, and a service by each address of its block: neither costs more than once.
#[test]
fn a_name_costs_once_however_often_it_is_said() {
    let mut large = shop();
    let mut block = service(9);
    block.addresses[0].net = "10.9.0.0/16".parse().unwrap();
    large.services.push(block);
    let endpoint = |n: u32| {
        let mut workload = member(workload(1, "a"), &[1, 9]);
        (workload.uid, workload.addresses) = (format!("c//Pod/shop/e{n}").into(), Vec::new());
        workload
    };
    large.workloads.extend((0..900).map(endpoint));
    let world = World::new(&large);
    let limits = Limits { names: 2000, ..LIMITS };
    let fresh = || {
        let mut client = Client::new(Type::Address, "", Some(&[]), limits);
        client.reconnect(&world, limits);
        client.settle(&world);
        client
    };
    let mut client = fresh();
    let began = tokio::time::Instant::now();
    client.ask(&vec!["shop/s1"; 100_000], &world).unwrap();
    assert_eq!(client.settle(&world).iter().map(|answer| answer.resources.len()).sum::<usize>(), 903);
    let addresses: Vec<_> = (0..1000).map(|n| format!("/10.9.{}.{}", n / 250, n % 250)).collect();
    let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
    let mut client = fresh();
    client.ask(&addresses, &world).unwrap();
    let answers = client.settle(&world);
    assert_eq!(answers.iter().map(|answer| answer.resources.len()).sum::<usize>(), 901);
    assert!(answers[0].resources[0].aliases.len() > 1000, "the service is found by each of them");
    // Millions of look-ups took minutes.
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
    // What a wildcard client asks for is bounded, too.
    let mut client = everything(Type::Address, &world);
    client.settle(&world);
    let many: Vec<_> = (0..9000).map(|n| format!("none/{n}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert!(matches!(client.ask(&many, &world), Err(Refusal::TooManyNames { .. })));
}

/// The addresses by which services were asked for count in the size of a response.
#[test]
fn addresses_in_a_block_count_in_a_responses_size() {
    let block = |n: u8| {
        let mut block = service(n);
        block.addresses[0].net = format!("10.{n}.0.0/16").parse().unwrap();
        block
    };
    let world = World::new(&Resources { services: (1..10).map(block).collect(), ..Resources::default() });
    let limits = Limits { response: 3500, ..LIMITS };
    let mut client = Client::new(Type::Address, "", Some(&[]), limits);
    client.reconnect(&world, limits);
    client.settle(&world);
    let addresses: Vec<_> = (1..10).flat_map(|n| (0..100).map(move |at| format!("/10.{n}.0.{at}"))).collect();
    client.ask(&addresses.iter().map(String::as_str).collect::<Vec<_>>(), &world).unwrap();
    let answers = client.settle(&world);
    assert_eq!(answers.len(), 5);
    assert!(answers.iter().all(|answer| answer.encoded_len() < 3700));
}

#[test]
fn the_longest_block_around_an_address_counts() {
    let block = |n: u8, net: &str| {
        let mut block = service(n);
        block.addresses[0].net = net.parse().unwrap();
        block
    };
    let services = vec![
        block(1, "10.0.0.0/8"),
        block(2, "10.9.0.0/16"),
        block(3, "10.9.0.0/16"),
        block(4, "fd00::/8"),
        block(5, "0.0.0.0/0"),
    ];
    let world = World::new(&Resources { services, ..Resources::default() });
    for (name, expected) in [
        ("/10.8.0.1", &["shop/s1"][..]),
        ("/10.9.255.1", &["shop/s2", "shop/s3"]),
        ("/fd12::1", &["shop/s4"]),
        ("/11.0.0.1", &["shop/s5"]),
        ("/2001:db8::1", &[]),
        ("other/10.9.0.1", &[]),
    ] {
        let mut client = on_demand(&[], "", &world);
        client.settle(&world);
        client.ask(&[name], &world).unwrap();
        assert_eq!(names(&client.settle(&world)[0]).0, expected, "{name}");
    }
}

#[test]
fn a_type_that_nobody_has_is_not_answered() {
    let world = World::new(&shop());
    let mut session = Session::new(LIMITS, "".into());
    let foreign = "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned();
    let request = DeltaDiscoveryRequest { type_url: foreign.clone(), ..DeltaDiscoveryRequest::default() };
    assert_eq!(session.request(request, &world.now), Ok(Heard::Foreign(foreign)));
    assert!(session.next(&world.now).unwrap().is_none());
}

#[test]
fn who_is_too_far_behind_is_sent_away() {
    let many = |from: u32| Resources {
        workloads: (from..from + 40_000)
            .map(|n| crate::model::workload::Workload { uid: format!("c//{n}").into(), ..Default::default() })
            .collect(),
        ..Resources::default()
    };
    let mut world = World::new(&many(0));
    let mut client = everything(Type::Address, &world);
    let first = client.pull(&world).unwrap();
    world.set(&many(40_000));
    world.set(&many(80_000));
    client.acknowledge(&first.nonce, &world);
    // What it is being sent is sent to its end, and then what was removed is no longer known.
    let end = loop {
        match client.session.next(&world.now) {
            Ok(Some(response)) => {
                let nonce = DeltaDiscoveryResponse::decode(response.encode(&world.now)).unwrap().nonce;
                client.acknowledge(&nonce, &world);
            }
            Ok(None) => panic!("it was told of 40,000 removals"),
            Err(end) => break end,
        }
    };
    assert_eq!(end, Refusal::Behind);
    client.reconnect(&world, LIMITS);
    client.settle(&world);
    assert_eq!(client.held, world.all(Type::Address));
}

#[test]
fn what_is_the_same_is_shared_between_snapshots() {
    let first = Snapshot::default().next(&shop()).unwrap();
    let mut next = shop();
    next.workloads[0].capacity = 2;
    let second = first.next(&next).unwrap();
    let same = first.of(Type::Address).iter().zip(second.of(Type::Address));
    let shared: Vec<_> = same.map(|(a, b)| std::sync::Arc::ptr_eq(a, b)).collect();
    assert_eq!(shared, [true, false, true, true]);
}

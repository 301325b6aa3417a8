mod property;

use std::time::Duration;

use tokio::time::Instant;

use super::super::first::{QUIET, SETTLED};
use super::super::simulated::{
    World, broken, envelope, of_policy, of_service, of_workload, policy, resource, response, service, workload,
};
use super::*;
use crate::proto::discovery::{DeltaDiscoveryResponse, Resource};

type Client = Protocol<u32>;

const ADDRESS: Kind = Kind::Address;
const AUTHORIZATION: Kind = Kind::Authorization;

fn client(on_demand: bool) -> Client {
    Protocol::new(Node { id: "ztunnel~1.1.1.1~z.i~i.svc.cluster.local".into(), metadata: None }, on_demand)
}

fn take(client: &mut Client, now: Instant, response: &DeltaDiscoveryResponse) -> Taken<u32> {
    let mut intake = client.begin(envelope(response));
    while client.take(&mut intake, 2, &mut |_| {}) {}
    client.finish(intake, now, &mut |_| {})
}

fn workloads(range: std::ops::Range<usize>) -> Vec<Resource> {
    range.map(|n| of_workload(&workload(&format!("uid-{n}"), "10.0.0.1"), "ab")).collect()
}

fn key(text: &str) -> Key {
    Key::uid(text).unwrap()
}

#[test]
fn both_types_are_asked_for_with_what_is_held() {
    let mut client = client(false);
    let requests = client.open();
    let urls: Vec<_> = requests.iter().map(|request| request.type_url.as_str()).collect();
    assert_eq!(urls, [ADDRESS.url(), AUTHORIZATION.url()]);
    for request in &requests {
        assert!(request.node.is_some() && request.response_nonce.is_empty());
        assert!(request.resource_names_subscribe.is_empty() && request.initial_resource_versions.is_empty());
    }
    let now = Instant::now();
    let shop = service("web.shop", "10.9.0.1");
    let resources = vec![of_workload(&workload("a", "10.0.0.1"), "f1"), of_service(&shop, "0f"), broken(ADDRESS, "b")];
    take(&mut client, now, &response(ADDRESS, "n1", resources, &[]));
    take(&mut client, now, &response(AUTHORIZATION, "n2", vec![of_policy(&policy("p"))], &[]));
    let requests = client.open();
    let versions = |at: usize| {
        let versions = requests[at].initial_resource_versions.iter();
        versions.map(|(name, version)| format!("{name}={version}")).collect::<Vec<_>>()
    };
    assert_eq!(versions(0), ["a=f1", "shop/web.shop=0f"], "and not what was refused");
    assert_eq!(versions(1), ["shop/p="]);
    assert!(requests.iter().all(|request| request.response_nonce.is_empty() && request.node.is_some()));
}

#[test]
fn what_is_good_is_taken_and_what_is_not_is_named() {
    let mut client = client(false);
    client.open();
    let now = Instant::now();
    let first = take(&mut client, now, &response(ADDRESS, "n1", workloads(0..3), &[]));
    assert_eq!(first.requests.len(), 1);
    assert_eq!((first.requests[0].response_nonce.as_str(), &first.requests[0].error_detail), ("n1", &None));
    assert!(first.requests[0].node.is_none());

    let mut strange = of_workload(&workload("uid-1", "10.0.0.1"), "cd");
    strange.name = "uid-7".into();
    let mut untyped = of_workload(&workload("uid-8", "10.0.0.1"), "cd");
    untyped.resource.as_mut().unwrap().type_url = AUTHORIZATION.url().into();
    let empty = Resource { resource: None, ..of_workload(&workload("uid-9", "10.0.0.1"), "cd") };
    let resources = vec![
        broken(ADDRESS, "uid-0"),
        of_workload(&workload("uid-1", "10.0.0.9"), "cd"),
        strange,
        untyped,
        empty,
        of_workload(&workload("uid-4", "10.0.0.4"), "cd"),
    ];
    let second = take(&mut client, now, &response(ADDRESS, "n2", resources, &["uid-2"]));
    assert!(second.accepted);
    let uids: Vec<_> = second.update.workloads.iter().map(|workload| &*workload.uid).collect();
    assert_eq!(uids, ["uid-1", "uid-4"]);
    assert_eq!(second.update.removed, [super::super::Removed::Workload("uid-2".into())]);
    let error = second.requests[0].error_detail.clone().unwrap();
    assert_eq!((second.requests[0].response_nonce.as_str(), error.code), ("n2", INVALID_ARGUMENT));
    for part in ["uid-0: ", "; uid-7: name is", "; uid-8: resource.type_url is", "; uid-9: resource is"] {
        assert!(error.message.contains(part), "{part} is not in {}", error.message);
    }
    let versions = client.open().swap_remove(0).initial_resource_versions;
    let versions: Vec<_> = versions.iter().map(|(name, version)| format!("{name}={version}")).collect();
    assert_eq!(versions, ["uid-0=ab", "uid-1=cd", "uid-4=cd"], "a refused resource keeps its version");
}

#[test]
fn a_response_of_which_nothing_can_be_taken_is_not_accepted() {
    let mut client = client(false);
    client.open();
    let now = Instant::now();
    assert!(
        !take(&mut client, now, &response(AUTHORIZATION, "n", vec![broken(AUTHORIZATION, "shop/p")], &[])).accepted
    );
    assert!(take(&mut client, now, &response(AUTHORIZATION, "n", vec![], &[])).accepted, "there is nothing");
}

/// Until it was sent again and taken, or is gone; and whatever else comes meanwhile.
#[test]
fn what_was_refused_and_is_not_held_is_missing() {
    let mut client = client(false);
    client.open();
    let now = Instant::now();
    let mut take = |nonce, resources, removed: &[&str]| {
        take(&mut client, now, &response(AUTHORIZATION, nonce, resources, removed));
        client.firsts[AUTHORIZATION].missing()
    };
    let bad = |name: &str| broken(AUTHORIZATION, name);
    assert_eq!(take("1", vec![of_policy(&policy("a")), bad("shop/b"), bad("shop/c")], &[]), 2);
    assert_eq!(take("2", vec![of_policy(&policy("d")), bad("shop/a")], &[]), 2, "a is held as it was");
    assert_eq!(take("3", vec![of_policy(&policy("b"))], &[]), 1);
    assert_eq!(take("4", vec![], &["shop/c"]), 0);
    let many = (0..20_000).map(|n| bad(&format!("shop/{n}"))).collect();
    assert!((16_384..20_000).contains(&take("5", many, &[])), "bounded");
    client.open();
    assert_eq!(client.firsts[AUTHORIZATION].missing(), 0, "the server sends it again");
}

#[test]
fn what_is_no_resource_at_all_is_refused_alone() {
    let mut client = client(false);
    client.open();
    let mut response = envelope(&response(ADDRESS, "n", workloads(0..1), &[]));
    response.resources.insert(0, Bytes::from_static(&[0x0a, 0xff]));
    let mut intake = client.begin(response);
    while client.take(&mut intake, 9, &mut |_| {}) {}
    let taken = client.finish(intake, Instant::now(), &mut |_| {});
    assert_eq!((taken.update.workloads.len(), taken.refused.count()), (1, 1));
    assert!(taken.requests[0].error_detail.as_ref().unwrap().message.starts_with("?: "));
}

#[test]
fn an_unknown_type_is_refused_and_changes_nothing() {
    let mut client = client(false);
    client.open();
    let unknown = DeltaDiscoveryResponse {
        type_url: "x/y.Z".into(),
        nonce: "n".into(),
        resources: workloads(0..2),
        ..Default::default()
    };
    let taken = take(&mut client, Instant::now(), &unknown);
    assert!(taken.update.is_empty() && !taken.accepted && taken.kind.is_none());
    let [reply] = taken.requests.as_slice() else { panic!("{:?}", taken.requests) };
    assert_eq!((reply.type_url.as_str(), reply.response_nonce.as_str()), ("x/y.Z", "n"));
    assert!(reply.error_detail.as_ref().unwrap().message.contains("x/y.Z"));
    let known = take(&mut client, Instant::now(), &response(ADDRESS, "n", workloads(0..2), &[]));
    assert_eq!(known.update.workloads.len(), 2);
}

#[test]
fn what_cannot_be_answered_is_not() {
    let mut client = client(false);
    client.open();
    let none = take(&mut client, Instant::now(), &response(ADDRESS, "", workloads(0..1), &[]));
    assert!(none.requests.is_empty() && none.update.workloads.len() == 1);
    let long = take(&mut client, Instant::now(), &response(ADDRESS, &"n".repeat(9999), workloads(0..1), &[]));
    assert!(long.requests.is_empty());
}

#[test]
fn refusals_in_a_row_are_answered_slowly() {
    let mut client = client(false);
    client.open();
    let start = Instant::now();
    let bad = |nonce: usize| response(ADDRESS, &nonce.to_string(), vec![broken(ADDRESS, "b")], &[]);
    let at_once = (0..100).filter(|n| !take(&mut client, start, &bad(*n)).requests.is_empty()).count();
    assert_eq!(at_once, 10);
    assert_eq!(client.next_at(), Some(start + Duration::from_secs(1)));
    assert!(client.tick(start, &mut |_| {}).requests.is_empty());
    let later = client.tick(start + Duration::from_secs(1), &mut |_| {}).requests;
    assert_eq!(later.iter().map(|request| request.response_nonce.as_str()).collect::<Vec<_>>(), ["99"]);
    // A good one is answered at once, behind the refusal that waits.
    take(&mut client, start, &bad(100));
    let good = take(&mut client, start, &response(ADDRESS, "101", workloads(0..1), &[])).requests;
    assert_eq!(good.iter().map(|request| request.response_nonce.as_str()).collect::<Vec<_>>(), ["100", "101"]);
    assert_eq!(client.next_at(), None);
    // Nothing of an old stream is said on a new one.
    take(&mut client, start, &bad(102));
    client.open();
    assert_eq!(client.next_at(), None);
}

#[test]
fn one_by_one_begins_with_nothing() {
    let mut client = client(true);
    let requests = client.open();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].resource_names_subscribe, ["*"]);
    assert_eq!(requests[0].resource_names_unsubscribe, ["*"]);
    assert!(requests[1].resource_names_subscribe.is_empty() && requests[1].resource_names_unsubscribe.is_empty());
}

#[test]
fn who_waits_is_answered_by_name_alias_address_or_removal() {
    let now = Instant::now();
    let late = now + Duration::from_secs(9);
    let mut client = client(true);
    // Before there is a stream, nothing is sent; the stream asks.
    assert_eq!(client.demand(&key("uid-1"), late, 1), Asked::Waits(vec![]));
    let requests = client.open();
    assert_eq!(requests[1].resource_names_subscribe, ["uid-1"], "behind the first request of its type");
    assert!(requests[1].node.is_none() && requests[1].type_url == ADDRESS.url());
    let asked = |client: &mut Client, text: &str, ticket| match client.demand(&key(text), late, ticket) {
        Asked::Waits(requests) => requests.first().map(|request| request.resource_names_subscribe.concat()),
        other => panic!("{other:?}"),
    };
    assert_eq!(asked(&mut client, "uid-1", 2), None, "asked for once");
    assert_eq!(asked(&mut client, "net/10.0.0.1", 3).as_deref(), Some("net/10.0.0.1"));
    assert_eq!(asked(&mut client, "an/alias", 4).as_deref(), Some("an/alias"));
    assert_eq!(asked(&mut client, "shop/web", 5).as_deref(), Some("shop/web"));
    assert_eq!(asked(&mut client, "gone", 6).as_deref(), Some("gone"));
    assert_eq!(asked(&mut client, "shop/bad", 7).as_deref(), Some("shop/bad"));
    let mut found = of_workload(&workload("uid-1", "10.0.0.1"), "1");
    found.aliases = vec!["an/alias".into()];
    let resources = vec![found, of_service(&service("web", "10.9.0.1"), "1"), broken(ADDRESS, "shop/bad")];
    let mut taken = take(&mut client, now, &response(ADDRESS, "n", resources, &["gone", "unasked"]));
    taken.answers.sort_by_key(|(ticket, _)| *ticket);
    use Answer::{Found, Missing, Refused};
    assert_eq!(taken.answers, [(1, Found), (2, Found), (3, Found), (4, Found), (5, Found), (6, Missing), (7, Refused)]);
    assert_eq!(taken.update.removed, []);
    // What is held needs no question.
    assert_eq!(client.demand(&key("uid-1"), late, 8), Asked::Held(8));
    assert_eq!(client.demand(&key("shop/web"), late, 9), Asked::Held(9));
    // What is missing stays asked for. A name that is nobody's own is given up: the addresses in a block are many.
    assert_eq!(taken.requests.len(), 2);
    assert_eq!(taken.requests[1].resource_names_unsubscribe, ["an/alias"]);
}

/// A control plane pushes what a client is subscribed to. So an address that was nobody's is known when it is somebody's,
/// with no question.
#[test]
fn what_is_not_there_stays_asked_for() {
    let now = Instant::now();
    let late = now + Duration::from_secs(9);
    let mut client = client(true);
    client.open();
    let names = |requests: &[Request], of: fn(&Request) -> &Vec<String>| {
        requests.iter().flat_map(of).cloned().collect::<Vec<_>>()
    };
    let left = |requests: &[Request]| names(requests, |request| &request.resource_names_unsubscribe);
    let asked = |requests: &[Request]| names(requests, |request| &request.resource_names_subscribe);
    let missing = |client: &mut Client, name: &str, ticket: u32| {
        let Asked::Waits(requests) = client.demand(&key(name), late, ticket) else { panic!("{name}") };
        assert_eq!(asked(&requests), [name]);
        let taken = take(client, now, &response(ADDRESS, name, vec![], &[name]));
        assert_eq!(taken.answers, [(ticket, Answer::Missing)]);
        (requests, taken.requests)
    };
    assert_eq!(missing(&mut client, "/10.0.0.1", 1).1.len(), 1, "an answer and nothing else");
    // Asked again it is left first: the server has answered it already.
    let (requests, _) = missing(&mut client, "/10.0.0.1", 2);
    assert_eq!((requests.len(), left(&requests[..1])), (2, vec!["/10.0.0.1".to_owned()]));
    // It appears, and nobody waits.
    let mut found = of_workload(&workload("uid-1", "10.0.0.1"), "1");
    found.aliases = vec!["/10.0.0.1".into()];
    let taken = take(&mut client, now, &response(ADDRESS, "a", vec![found], &[]));
    assert_eq!(
        (taken.update.workloads.len(), left(&taken.requests)),
        (1, vec!["/10.0.0.1".to_owned()]),
        "by its uid now"
    );
    assert!(client.absent.is_empty());
    // A new stream asks for what was not there on the old one, and is told the same.
    missing(&mut client, "/10.0.0.2", 3);
    client.closed();
    assert_eq!(asked(&client.open()), ["*", "/10.0.0.2"]);
    take(&mut client, now, &response(ADDRESS, "b", vec![], &["/10.0.0.2"]));
    assert_eq!(client.absent.iter().map(|name| &**name).collect::<Vec<_>>(), ["/10.0.0.2"]);
    // They do not pile up: the oldest is left.
    let given_up = (0..Absent::MOST).map(|n| left(&missing(&mut client, &format!("other-{n}"), 4).1));
    assert_eq!(given_up.flatten().collect::<Vec<_>>(), ["/10.0.0.2"]);
}

#[test]
fn nobody_waits_longer_than_his_deadline() {
    let now = Instant::now();
    let mut client = client(true);
    client.open();
    client.demand(&key("a"), now + Duration::from_secs(1), 1);
    client.demand(&key("a"), now + Duration::from_secs(2), 2);
    assert_eq!(client.next_at(), Some(now + Duration::from_secs(1)));
    let tick = client.tick(now + Duration::from_secs(1), &mut |_| {});
    assert_eq!((tick.expired, tick.requests.len()), (vec![1], 0));
    client.closed();
    assert!(client.open().iter().any(|request| request.resource_names_subscribe == ["a"]), "asked for again");
    let tick = client.tick(now + Duration::from_secs(2), &mut |_| {});
    assert_eq!(tick.expired, [2]);
    assert_eq!(tick.requests[0].resource_names_unsubscribe, ["a"]);
    // When it comes all the same it is held, and so its changes are wanted.
    let late = response(ADDRESS, "m", vec![of_workload(&workload("a", "10.0.0.3"), "1")], &[]);
    assert_eq!(take(&mut client, now, &late).requests[1].resource_names_subscribe, ["a"]);
    take(&mut client, now, &response(ADDRESS, "o", vec![], &["a"]));
    assert!(!client.open().iter().any(|request| request.resource_names_subscribe == ["a"]));
}

/// So many that their names do not fit into one request.
const MANY: usize = 50_000;

fn many(client: &mut Client, now: Instant) {
    let uid = |n: usize| {
        format!("cluster-number-one//Pod/some-namespace-{}/deployment-of-something-7c5ddbdf54-{n:05}", n % 100)
    };
    let resources = (0..MANY).map(|n| of_workload(&workload(&uid(n), "10.0.0.1"), "ab54a98ceb1f0ad2")).collect();
    let taken = take(client, now, &response(ADDRESS, "n", resources, &[]));
    assert_eq!(taken.update.workloads.len(), MANY);
}

/// A new stream, on which policies are answered: they may come first where addresses come in one response.
fn open_with_policies(client: &mut Client, now: Instant) -> Request {
    let first = client.open().swap_remove(0);
    take(client, now, &response(AUTHORIZATION, "p", vec![], &[]));
    first
}

fn size(request: &Request) -> usize {
    prost::Message::encoded_len(request)
}

#[test]
fn a_first_sync_comes_in_parts() {
    let mut client = client(false);
    client.open();
    let mut world = World::default();
    let resources = workloads(0..2 * PART + 10);
    let mut intake = client.begin(envelope(&response(ADDRESS, "n", resources, &["uid-0", "uid-20000"])));
    let mut parts = Vec::new();
    while client.take(&mut intake, 1000, &mut |_| {}) {
        if let Some(part) = client.part(&mut intake) {
            parts.push(part.workloads.len());
            world.take(part);
        }
    }
    world.take(client.finish(intake, Instant::now(), &mut |_| {}).update);
    assert_eq!(parts, [17_000]);
    assert_eq!((world.updates, world.workloads.len()), (2, 2 * PART + 8));
}

#[test]
fn a_first_request_is_bounded_and_what_the_server_does_not_name_goes() {
    let now = Instant::now();
    let mut client = client(false);
    client.open();
    many(&mut client, now);
    let request = open_with_policies(&mut client, now);
    let told = request.initial_resource_versions.len();
    assert!(size(&request) <= 4 << 20 && size(&request) > 2 << 20, "{}", size(&request));
    assert!(told > 10_000 && told < MANY);
    assert_eq!(client.firsts[ADDRESS].unconfirmed.len(), MANY - told);
    // Nothing goes before the server has said anything.
    assert_eq!(client.next_at(), None);
    // It sends what it was not told of, in two responses; one resource it does not have any more, one is refused.
    let mut unconfirmed: Vec<_> = client.firsts[ADDRESS].unconfirmed.iter().cloned().collect();
    let gone = unconfirmed.pop().unwrap();
    let refused = unconfirmed.pop().unwrap();
    let of = |uid: &Arc<str>| of_workload(&workload(uid, "10.0.0.2"), "ab54a98ceb1f0ad2");
    let (first, second) = unconfirmed.split_at(100);
    let mut sent: Vec<_> = first.iter().map(of).collect();
    sent.push(broken(ADDRESS, &refused));
    take(&mut client, now, &response(ADDRESS, "1", sent, &[]));
    assert_eq!(client.next_at(), Some(now + QUIET));
    let later = now + Duration::from_secs(5);
    take(&mut client, later, &response(ADDRESS, "2", second.iter().map(of).collect(), &[]));
    let tick = client.tick(now + QUIET, &mut |_| {});
    assert_eq!((tick.update.removed.len(), client.next_at()), (0, Some(later + QUIET)));
    let mut kept = Vec::new();
    let tick = client.tick(later + QUIET, &mut |record| kept.push((record.name.to_owned(), record.value.is_none())));
    assert_eq!(tick.update.removed, [super::super::Removed::Workload(Arc::clone(&gone))]);
    assert_eq!(kept, [(gone.to_string(), true)]);
    assert_eq!((client.held(ADDRESS), client.next_at()), (MANY - 1, None));
}

#[test]
fn a_busy_server_puts_it_off_for_a_minute_and_no_longer() {
    let start = Instant::now();
    let mut client = client(false);
    client.open();
    many(&mut client, start);
    open_with_policies(&mut client, start);
    for seconds in 0..59 {
        take(&mut client, start + Duration::from_secs(seconds), &response(ADDRESS, "n", vec![], &[]));
    }
    assert_eq!(client.next_at(), Some(start + SETTLED));
    // A name that cannot be read may be any of them, so none goes.
    let mut nameless = envelope(&response(ADDRESS, "n", vec![], &[]));
    nameless.resources.push(Bytes::from_static(&[0xff]));
    let mut intake = client.begin(nameless);
    client.take(&mut intake, 9, &mut |_| {});
    client.finish(intake, start, &mut |_| {});
    assert!(client.tick(start + SETTLED, &mut |_| {}).update.is_empty());
}

#[test]
fn a_thin_line_has_the_time_that_it_needs() {
    let start = Instant::now();
    let mut client = client(false);
    client.open();
    many(&mut client, start);
    open_with_policies(&mut client, start);
    let unconfirmed: Vec<_> = client.firsts[ADDRESS].unconfirmed.iter().cloned().collect();
    let mut now = start;
    for some in unconfirmed.chunks(unconfirmed.len().div_ceil(30)) {
        now += Duration::from_secs(9);
        assert!(client.tick(now, &mut |_| {}).update.is_empty(), "{:?} after the beginning", now - start);
        let named = some.iter().map(|uid| of_workload(&workload(uid, "10.0.0.2"), "ab54a98ceb1f0ad2")).collect();
        take(&mut client, now, &response(ADDRESS, "n", named, &[]));
    }
    assert!(now - start > 4 * SETTLED && client.firsts[ADDRESS].unconfirmed.is_empty());
    assert!(client.tick(now + SETTLED, &mut |_| {}).update.is_empty());
    assert_eq!(client.held(ADDRESS), MANY);
}

/// Each piece takes longer than anything that is waited for; policies come behind the last one.
#[test]
fn a_piece_may_take_its_time_before_policies() {
    let start = Instant::now();
    let mut client = client(false);
    client.open();
    many(&mut client, start);
    client.open();
    let mut unconfirmed: Vec<_> = client.firsts[ADDRESS].unconfirmed.iter().cloned().collect();
    let gone = unconfirmed.pop().unwrap();
    let mut now = start;
    for some in unconfirmed.chunks(unconfirmed.len().div_ceil(5)) {
        let named = some.iter().map(|uid| of_workload(&workload(uid, "10.0.0.2"), "ab54a98ceb1f0ad2")).collect();
        take(&mut client, now, &response(ADDRESS, "n", named, &[]));
        now += SETTLED * 2;
        assert_eq!(client.next_at(), None);
        assert!(client.tick(now, &mut |_| {}).update.is_empty(), "{:?} after the beginning", now - start);
    }
    take(&mut client, now, &response(AUTHORIZATION, "p", vec![], &[]));
    assert!(client.tick(now, &mut |_| {}).update.is_empty(), "a piece beside them may still come");
    assert_eq!(client.next_at(), Some(now + QUIET));
    let removed = client.tick(now + QUIET, &mut |_| {}).update.removed;
    assert_eq!(removed, [super::super::Removed::Workload(gone)]);
    assert_eq!((client.held(ADDRESS), client.next_at()), (MANY - 1, None));
}

#[test]
fn one_by_one_every_name_is_in_some_request() {
    let now = Instant::now();
    let mut client = client(true);
    client.open();
    many(&mut client, now);
    let requests = client.open();
    assert!(requests.len() >= 3, "one of them is only for what had no room");
    assert!(requests.iter().all(|request| size(request) <= 4 << 20));
    let named =
        requests.iter().map(|request| request.initial_resource_versions.len() + request.resource_names_subscribe.len());
    assert_eq!(named.sum::<usize>(), MANY + 1, "and the star");
    assert!(client.firsts[ADDRESS].unconfirmed.is_empty());
}

#[test]
fn a_restored_state_is_known_to_the_server() {
    let mut client = client(false);
    let mut update = Update::default();
    let value = of_workload(&workload("a", "10.0.0.1"), "").resource.unwrap().value;
    let record = |name, value| Record { kind: ADDRESS, name, version: "f7", value: Some(value) };
    client.restore(record("a", &value), &mut update).unwrap();
    assert!(client.restore(record("b", &value), &mut update).is_err(), "another name");
    assert!(client.restore(record("c", &[0xff]), &mut update).is_err());
    assert_eq!(update.workloads.len(), 1);
    let versions = client.open().swap_remove(0).initial_resource_versions;
    assert_eq!(versions.into_iter().collect::<Vec<_>>(), [("a".to_owned(), "f7".to_owned())]);
}

#[test]
fn a_name_that_is_sent_twice_in_one_response_is_what_it_was_last() {
    let mut client = client(false);
    client.open();
    let now = Instant::now();
    let mut world = World::default();
    let host = service("web", "10.9.0.1");
    let mut other = workload("shop/web", "10.0.0.1");
    let as_service = || of_service(&host, "1");
    let as_workload = of_workload(&other, "1");
    world.take(take(&mut client, now, &response(ADDRESS, "1", vec![as_service()], &[])).update);
    world.take(take(&mut client, now, &response(ADDRESS, "2", vec![as_workload.clone(), as_service()], &[])).update);
    assert_eq!((world.workloads.len(), world.services.len()), (0, 1));
    world.take(take(&mut client, now, &response(ADDRESS, "3", vec![as_workload], &[])).update);
    assert_eq!((world.workloads.len(), world.services.len()), (1, 0));
    other.addresses.clear();
    world.take(take(&mut client, now, &response(ADDRESS, "4", vec![of_workload(&other, "2")], &["shop/web"])).update);
    assert_eq!(world.names(), [""; 0]);
    // Something that is no message of the other type, under a policy's name.
    let bad = resource(AUTHORIZATION, "shop/web", "", encode(&other));
    assert!(!take(&mut client, now, &response(AUTHORIZATION, "5", vec![bad], &[])).accepted);
}

fn encode(workload: &crate::model::workload::Workload) -> Vec<u8> {
    prost::Message::encode_to_vec(&crate::xds::convert::encode_workload(workload))
}

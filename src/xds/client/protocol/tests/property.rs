//! Any responses at all, and any history of a server with streams that end anywhere.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::time::Instant;

use super::super::super::simulated::{
    World, envelope, of_policy, of_service, of_workload, policy, response, service, workload,
};
use super::super::*;
use crate::proto::discovery::{DeltaDiscoveryResponse, Resource};

/// Names that meet each other.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec!["a", "b", "shop/a", "shop/b", "net/10.0.0.1", "", "*", "/"]).prop_map(str::to_owned),
        "\\PC{0,6}",
    ]
}

fn any_resource() -> impl Strategy<Value = Resource> {
    let good = (select(vec!["a", "b", "shop/a", "shop/b"]), 0_u8..4).prop_map(|(name, what)| match what {
        0 => of_workload(&workload(name, "10.0.0.1"), "1"),
        1 => of_service(&service(name.trim_start_matches("shop/"), "10.0.0.1"), "1"),
        _ => of_policy(&policy(name.trim_start_matches("shop/"))),
    });
    let value = vec(any::<u8>(), 0..8);
    let url = select(vec![Kind::Address.url(), Kind::Authorization.url(), ""]);
    let bad = (name(), "\\PC{0,3}", proptest::option::of((url, value)), vec(name(), 0..3)).prop_map(
        |(name, version, body, aliases)| {
            let resource = body.map(|(url, value)| crate::proto::google::Any { type_url: url.to_owned(), value });
            Resource { version, resource, name, aliases }
        },
    );
    prop_oneof![3 => good, 1 => bad]
}

#[derive(Clone, Debug)]
enum Event {
    Response(DeltaDiscoveryResponse, Vec<Vec<u8>>),
    Demand(String, u64),
    Wait(u64),
    Reopen,
    Close,
}

fn event() -> impl Strategy<Value = Event> {
    let url = select(vec![Kind::Address.url(), Kind::Address.url(), Kind::Authorization.url(), "unknown", ""]);
    let response = (url, name(), vec(any_resource(), 0..4), vec(name(), 0..3), vec(vec(any::<u8>(), 0..6), 0..2));
    let response = response.prop_map(|(url, nonce, resources, removed_resources, raw)| {
        let type_url = url.to_owned();
        let response = DeltaDiscoveryResponse { nonce, resources, type_url, removed_resources, ..Default::default() };
        Event::Response(response, raw)
    });
    prop_oneof![
        6 => response,
        2 => (name(), 0_u64..20).prop_map(|(name, seconds)| Event::Demand(name, seconds)),
        2 => (0_u64..20).prop_map(Event::Wait),
        1 => Just(Event::Reopen),
        1 => Just(Event::Close),
    ]
}

proptest! {
    /// It never panics, what the mesh has is what is held, every ticket is answered once, and no more is kept than was
    /// sent.
    #[test]
    fn any_responses(events in vec(event(), 0..40), on_demand: bool) {
        let mut client = super::client(on_demand);
        let (mut now, mut world, mut sent) = (Instant::now(), World::default(), 0_usize);
        let (mut kept, mut open) = (BTreeMap::new(), HashMap::new());
        for (number, event) in (0_u32..).zip(events) {
            let mut keep = |record: Record<'_>| {
                let key = (record.kind.url(), record.name.to_owned());
                match record.value {
                    Some(value) => drop(kept.insert(key, value.to_vec())),
                    None => assert!(kept.remove(&key).is_some()),
                }
            };
            match event {
                Event::Response(response, raw) => {
                    let mut response = envelope(&response);
                    response.resources.extend(raw.into_iter().map(Bytes::from));
                    sent += response.resources.len();
                    let mut intake = client.begin(response);
                    while client.take(&mut intake, 1, &mut keep) {}
                    let taken = client.finish(intake, now, &mut keep);
                    world.take(taken.update);
                    for (ticket, _) in taken.answers {
                        prop_assert!(open.remove(&ticket).is_some());
                    }
                }
                Event::Demand(name, seconds) => {
                    let Some(key) = Key::uid(&name) else { continue };
                    let deadline = now + Duration::from_secs(seconds);
                    if let Asked::Waits(_) = client.demand(&key, deadline, number) {
                        open.insert(number, deadline);
                    }
                }
                Event::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    let tick = client.tick(now, &mut keep);
                    world.take(tick.update);
                    for ticket in tick.expired {
                        prop_assert!(open.remove(&ticket).is_some_and(|deadline| deadline <= now));
                    }
                    prop_assert!(open.values().all(|deadline| *deadline > now));
                    prop_assert!(client.next_at().is_none_or(|at| at > now));
                }
                Event::Reopen => drop(client.open()),
                Event::Close => client.closed(),
            }
            let held = client.held(Kind::Address) + client.held(Kind::Authorization);
            prop_assert_eq!(held, world.names().len());
            prop_assert_eq!(held, kept.len());
            prop_assert!(held <= sent && client.let_go.len() <= LET_GO && client.absent.iter().count() <= Absent::MOST);
        }
    }
}

/// A control plane: resources with versions, and what it thinks that its client has.
#[derive(Default)]
struct Server {
    resources: BTreeMap<String, Resource>,
    at_client: BTreeMap<String, String>,
}

impl Server {
    fn set(&mut self, name: &str, version: u8) {
        let version = version.to_string();
        let resource = match name.strip_prefix("shop/") {
            Some(host) => of_service(&service(host, &format!("10.9.0.{version}")), &version),
            None => of_workload(&workload(name, &format!("10.0.0.{version}")), &version),
        };
        self.resources.insert(name.to_owned(), resource);
    }

    /// A stream has begun.
    fn first(&mut self, request: &Request) {
        self.at_client = request.initial_resource_versions.clone();
    }

    /// The next response, of at most `most` changes; `None` when there is nothing to say.
    fn next(&mut self, most: usize) -> Option<DeltaDiscoveryResponse> {
        let known = |resource: &&Resource| self.at_client.get(&resource.name) == Some(&resource.version);
        let changed: Vec<_> = self.resources.values().filter(|resource| !known(resource)).take(most).cloned().collect();
        let gone = self.at_client.keys().filter(|name| !self.resources.contains_key(*name));
        let gone: Vec<_> = gone.take(most).cloned().collect();
        if changed.is_empty() && gone.is_empty() {
            return None;
        }
        self.at_client.extend(changed.iter().map(|resource| (resource.name.clone(), resource.version.clone())));
        gone.iter().for_each(|name| drop(self.at_client.remove(name)));
        let gone: Vec<_> = gone.iter().map(String::as_str).collect();
        Some(response(Kind::Address, "n", changed, &gone))
    }
}

proptest! {
    /// Streams end before, between and after any messages, and in the end the client has what the server has.
    #[test]
    fn a_stream_that_is_cut_anywhere(
        steps in vec((select(vec!["a", "b", "c", "shop/d", "shop/e"]), proptest::option::of(1_u8..9), 0_u8..4, 1_usize..3), 1..40),
    ) {
        let (mut client, mut server, mut world) = (super::client(false), Server::default(), World::default());
        let now = Instant::now();
        server.first(&client.open()[0]);
        for (name, version, what, most) in steps {
            match version {
                Some(version) => server.set(name, version),
                None => drop(server.resources.remove(name)),
            }
            match what {
                // Lost on its way: the server believes that the client has it.
                0 => {
                    drop(server.next(most));
                    server.first(&client.open()[0]);
                }
                1 => {
                    client.closed();
                    server.first(&client.open()[0]);
                }
                2 => {
                    if let Some(response) = server.next(most) {
                        world.take(super::take(&mut client, now, &response).update);
                    }
                }
                _ => {}
            }
        }
        while let Some(response) = server.next(2) {
            world.take(super::take(&mut client, now, &response).update);
        }
        let expected: std::collections::BTreeSet<_> = server.resources.keys().cloned().collect();
        prop_assert_eq!(world.names().into_iter().collect::<std::collections::BTreeSet<_>>(), expected);
        for workload in world.workloads.values() {
            let resource = &server.resources[&*workload.uid];
            prop_assert_eq!(&of_workload(&Arc::new(workload.clone()), &resource.version), resource);
        }
    }
}

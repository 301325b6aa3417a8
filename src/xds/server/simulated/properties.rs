//! After any sequence of changes, cuts and delays a client holds exactly what there is.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// What happens next between a server and one client.
#[derive(Clone, Debug)]
enum Step {
    /// The mesh becomes another one.
    Change(Mesh),
    /// The server sends, if it has something to send.
    Send,
    /// The client takes the oldest message on its way, and answers; or refuses it.
    Take { refuse: bool },
    /// The server reads the client's oldest message.
    Read,
    /// The stream is cut: everything on its way is lost.
    Cut,
    /// On demand: asks for a name.
    Ask(u8),
}

/// Which of a few resources there are, and in which variant.
type Mesh = (Vec<(u8, bool, u8)>, Vec<u8>, Vec<(u8, bool)>);

fn resources((workloads, services, policies): &Mesh) -> Resources {
    let one = |(n, moved, place): &(u8, bool, u8)| {
        let node = if *moved { "b" } else { "a" };
        // Two places for one address: it may be another workload's later.
        let mut workload = member(workload(*n, node), if place % 2 == 0 { &[1] } else { &[] });
        workload.addresses = vec![[10, 0, 0, *place].into()];
        workload
    };
    Resources {
        workloads: workloads.iter().map(one).collect(),
        services: services.iter().map(|n| service(*n)).collect(),
        policies: policies.iter().map(|(n, dry)| policy(*n, *dry)).collect(),
    }
}

fn mesh() -> impl Strategy<Value = Mesh> {
    (vec((0..6_u8, any::<bool>(), 0..8_u8), 0..6), vec(0..4_u8, 0..3), vec((0..3_u8, any::<bool>()), 0..3))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => mesh().prop_map(Step::Change),
        4 => Just(Step::Send),
        4 => proptest::bool::weighted(0.1).prop_map(|refuse| Step::Take { refuse }),
        4 => Just(Step::Read),
        1 => Just(Step::Cut),
        1 => (0..24_u8).prop_map(Step::Ask),
    ]
}

fn name(n: u8) -> String {
    match n / 8 {
        0 => format!("c//Pod/shop/w{}", n % 8),
        1 => format!("/10.0.0.{}", n % 8),
        _ => format!("shop/s{}", n % 8),
    }
}

/// A client, and both directions of its stream.
struct Wire {
    client: Client,
    limits: Limits,
    down: VecDeque<DeltaDiscoveryResponse>,
    up: VecDeque<DeltaDiscoveryRequest>,
}

impl Wire {
    fn new(client: Client, limits: Limits) -> Self {
        let up = VecDeque::from([client.first()]);
        Self { client, limits, down: VecDeque::new(), up }
    }

    fn step(&mut self, step: &Step, world: &mut World) {
        match step {
            Step::Change(mesh) => world.set(&resources(mesh)),
            Step::Send => self.down.extend(self.client.pull(world)),
            Step::Take { refuse } => {
                if let Some(response) = self.down.pop_front() {
                    // Refused is kept all the same here: what is refused is the client's matter, and is not sent again.
                    self.client.apply(&response);
                    let answer = self.client.acknowledgement(&response.nonce, refuse.then_some("no"));
                    self.up.push_back(answer);
                }
            }
            Step::Read => {
                if let Some(request) = self.up.pop_front() {
                    self.client.session.request(request, &world.now).unwrap();
                }
            }
            Step::Cut => {
                self.client.session = Session::new(self.limits, self.client.node.as_str().into());
                self.down.clear();
                self.up = VecDeque::from([self.client.first()]);
            }
            Step::Ask(n) => {
                let Some(asked) = &mut self.client.asked else { return };
                asked.insert(name(*n));
                let request =
                    DeltaDiscoveryRequest { resource_names_subscribe: vec![name(*n)], ..self.client.request() };
                self.up.push_back(request);
            }
        }
    }

    /// Everything on its way arrives.
    fn settle(&mut self, world: &mut World) {
        let mut idle = 0;
        while idle < 3 {
            let before = (self.client.responses, self.up.len(), self.down.len());
            for step in [Step::Read, Step::Send, Step::Take { refuse: false }] {
                self.step(&step, world);
            }
            idle = if before == (self.client.responses, self.up.len(), self.down.len()) { idle + 1 } else { 0 };
        }
    }
}

/// What an on-demand client holds is what there is, and it has all that it asked for.
fn is_right_on_demand(client: &Client, world: &World) {
    let all = world.all(Type::Address);
    for (name, version) in &client.held {
        assert_eq!(all.get(name), Some(version), "{name} is stale");
    }
    let own = world.now.of(Type::Workload).iter().filter(|entry| *entry.node == *client.node);
    let mut wanted: Vec<_> = own.map(|entry| entry.name().to_string()).collect();
    for name in client.asked.iter().flatten() {
        match world.now.get(Type::Address, name) {
            Some(entry) => wanted.push(entry.name().to_string()),
            None => wanted.extend(world.now.lookup().at(name).iter().map(|entry| entry.name().to_string())),
        }
        if name.starts_with("shop/") && all.contains_key(name) {
            wanted.extend(world.now.lookup().of_service(name).iter().map(|entry| entry.name().to_string()));
        }
    }
    for name in wanted {
        assert!(client.held.contains_key(&name), "{name} is missing");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_wildcard_client_holds_exactly_what_there_is(
        kind in prop_oneof![Just(Type::Address), Just(Type::Workload), Just(Type::Authorization)],
        start in mesh(),
        steps in vec(step(), 0..60),
        response in prop_oneof![Just(1_usize), Just(400), Just(2 << 20)],
    ) {
        let limits = Limits { response, ..LIMITS };
        let mut world = World::new(&resources(&start));
        let mut wire = Wire::new(Client::new(kind, "a", None, limits), limits);
        for step in &steps {
            wire.step(step, &mut world);
        }
        wire.settle(&mut world);
        prop_assert_eq!(&wire.client.held, &world.all(kind));
        prop_assert!(!wire.client.session.is_waiting());
    }

    #[test]
    fn an_on_demand_client_holds_what_it_asked_for(
        start in mesh(),
        steps in vec(step(), 0..60),
        response in prop_oneof![Just(1_usize), Just(400), Just(2 << 20)],
    ) {
        let limits = Limits { response, ..LIMITS };
        let mut world = World::new(&resources(&start));
        let mut wire = Wire::new(Client::new(Type::Address, "a", Some(&[]), limits), limits);
        for step in &steps {
            wire.step(step, &mut world);
        }
        wire.settle(&mut world);
        is_right_on_demand(&wire.client, &world);
    }

    #[test]
    fn garbage_of_a_client_ends_nothing_but_its_own_names(
        names in vec("\\PC{0,12}", 0..8),
        left in vec("\\PC{0,12}", 0..8),
        nonce in "\\PC{0,8}",
        first in any::<bool>(),
    ) {
        let world = World::new(&resources(&(vec![(1, false, 1)], vec![1], vec![])));
        let mut client = Client::new(Type::Address, "a", Some(&[]), LIMITS);
        if !first {
            client.reconnect(&world, LIMITS);
            client.settle(&world);
        }
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: names,
            resource_names_unsubscribe: left,
            response_nonce: nonce,
            ..client.request()
        };
        client.session.request(request, &world.now).unwrap();
        client.settle(&world);
    }
}

/// One conversation, cut at each of its messages in turn: it always ends with what there is.
#[test]
fn a_stream_cut_at_any_message_converges() {
    let meshes: [Mesh; 3] = [
        (vec![(1, false, 1), (2, true, 2), (3, false, 4)], vec![1], vec![(1, false)]),
        (vec![(1, false, 3), (3, false, 4), (4, true, 2)], vec![1, 2], vec![(1, true)]),
        (vec![(4, true, 2)], vec![], vec![(2, false)]),
    ];
    for asked in [None, Some(&["shop/s1", "/10.0.0.2"][..])] {
        for cut in 0..60 {
            let limits = Limits { response: 200, ..LIMITS };
            let mut world = World::new(&resources(&meshes[0]));
            let mut wire = Wire::new(Client::new(Type::Address, "b", asked, limits), limits);
            let round = [Step::Read, Step::Send, Step::Take { refuse: false }];
            for (number, step) in round.iter().cycle().take(60).enumerate() {
                if number == cut {
                    wire.step(&Step::Cut, &mut world);
                }
                match number {
                    15 => world.set(&resources(&meshes[1])),
                    33 => world.set(&resources(&meshes[2])),
                    _ => {}
                }
                wire.step(step, &mut world);
            }
            wire.settle(&mut world);
            match asked {
                None => assert_eq!(wire.client.held, world.all(Type::Address), "cut at {cut}"),
                Some(_) => is_right_on_demand(&wire.client, &world),
            }
        }
    }
}

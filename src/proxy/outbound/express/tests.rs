use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::*;
use crate::mesh;
use crate::model::workload::Workload;
use crate::proxy::pod::tests::{facts, shared_with, stall, start};
use crate::route::balance::EndpointId;
use crate::route::outbound::{Decision, Route};
use crate::sys::socket;

const LIMIT: Duration = Duration::from_secs(20);

/// Both ends of a connection in this process, the accepted one first.
async fn connected() -> (TcpStream, TcpStream) {
    let listener = socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let to = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let (accepted, dialled) = tokio::join!(listener.accept(), stall(to));
    (accepted.unwrap().0, dialled.unwrap())
}

#[tokio::test]
async fn who_copied_the_list_before_the_connection_was_open_ends_it_all_the_same() {
    let (_writer, mesh) = mesh::channel();
    let shared = shared_with(mesh);
    let ((till, _), (cart, _)) = (start(&shared, "till"), start(&shared, "cart"));
    let ((stream, _app), (server, _served)) = (connected().await, connected().await);
    let (client, listener) = (stream.peer_addr().unwrap(), stream.local_addr().unwrap());
    let judged = cart.arrived.register(Connection::new(facts(), Instant::now(), Arc::default()));
    let place = cart.tasks.place().unwrap();
    let near = Near { server, neighbour: Arc::clone(&cart), judged, place };
    let destination = facts().destination;
    let captured = Captured { pod: Arc::clone(&till), stream, client, destination, listener, accepted: Instant::now() };
    // Labels alone are made of it.
    let attempted = Attempted { decision: Decision { route: Route::Passthrough, service: None }, source: None };

    // Policy has changed: the live connections are looked at one after the other.
    let copied = cart.arrived.all();
    let judge = async {
        while cart.arrived.all().iter().any(|listed| Arc::ptr_eq(listed, &copied[0])) || till.opened.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!((cart.arrived.len(), till.opened.len()), (1, 1));
        copied.iter().for_each(|connection| connection.end(Failure::Drained));
    };
    let ended = timeout(LIMIT, async { tokio::join!(carry(captured, near, &attempted), judge) }).await;
    assert!(ended.is_ok(), "nobody told the connection that is open");
    assert!(cart.is_idle() && till.is_idle());
}

#[tokio::test]
async fn a_pod_that_has_its_connections_takes_none_of_its_neighbours() {
    let (mut writer, mesh) = mesh::channel();
    let shared = shared_with(mesh);
    let ((till, _), (cart, _)) = (start(&shared, "till"), start(&shared, "cart"));
    let record = Workload {
        uid: "cart".into(),
        name: "cart".into(),
        namespace: "shop".into(),
        addresses: vec![facts().destination.ip()],
        ..Workload::default()
    };
    writer.apply(mesh::Changes { workloads: vec![record], ..mesh::Changes::default() });
    let workload = Arc::clone(shared.mesh.view().workload_by_uid("cart").unwrap());
    let target =
        Target { at: facts().destination, id: EndpointId::new(&workload, 80), workload, others: false, further: false };
    let (stream, _app) = connected().await;
    let (client, listener) = (stream.peer_addr().unwrap(), stream.local_addr().unwrap());
    let captured = Captured { pod: till, stream, client, destination: target.at, listener, accepted: Instant::now() };
    let decision = Decision { route: Route::Express(target.clone()), service: None };
    let attempted = Attempted { decision, source: None };
    let limit = shared.config.connections_per_pod;
    let held: Vec<_> = (0..limit).map(|_| cart.tasks.place().unwrap()).collect();
    let refused = timeout(LIMIT, open(&captured, &attempted, &target)).await.unwrap().err().unwrap();
    assert!(matches!(refused.why, Failure::Limit { limit: of } if of == limit), "{:?}", refused.why);
    assert_eq!(refused.blame, Blame::Endpoint);
    drop(held);
    assert!(cart.tasks.is_empty() && cart.arrived.is_empty());
}

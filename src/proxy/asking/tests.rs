use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::*;
use crate::mesh::demand::OnDemand;
use crate::mesh::demand::simulated::{Plane, ROOM};
use crate::mesh::{self, Changes};
use crate::model::spiffe::Identity;
use crate::model::workload::{Tunnel, Workload};
use crate::proxy::pod::tests::shared_with;
use crate::route::balance::Avoid;
use crate::route::missing::missing;
use crate::route::outbound::{Facts, Route, outbound};

const LIMIT: Duration = Duration::from_secs(5);

fn at(ip: &str) -> Sought {
    Sought::address("", ip.parse().unwrap()).unwrap()
}

fn workload(ip: &str) -> Changes {
    let workload = Workload {
        uid: ip.into(),
        name: "web".into(),
        tunnel: Tunnel::Hbone,
        addresses: vec![ip.parse().unwrap()],
        ..Workload::default()
    };
    Changes { workloads: vec![workload], ..Changes::default() }
}

fn bed() -> (Arc<Plane>, Arc<Shared>) {
    let (writer, mesh) = mesh::channel();
    let plane = Arc::new(Plane::new(writer));
    let mut shared = shared_with(mesh.clone());
    Arc::get_mut(&mut shared).unwrap().demand = Some(Arc::new(OnDemand::new(plane.clone(), mesh)));
    (plane, shared)
}

/// What a pod's connection does before it dials.
async fn decided(shared: &Shared, share: &Share, to: &str) -> Result<Route, Failure> {
    let destination: SocketAddr = format!("{to}:80").parse().unwrap();
    let identity = Identity::new("cluster.local", "shop", "client");
    let facts = Facts {
        network: &shared.config.network,
        namespace: "shop",
        identity: &identity,
        source: None,
        client: "10.0.0.7".parse().unwrap(),
        destination,
        listener: "127.0.0.1:15001".parse().unwrap(),
        is_here: &|_: IpAddr, _: &Identity| false,
        own: &[],
        resolved: &[],
    };
    let mut asking = Asking::new(shared, share, LIMIT);
    let avoid = Avoid { tried: &[], aside: &Default::default() };
    loop {
        let view = shared.mesh.view();
        let decision = outbound(&facts, &view, &avoid, 0);
        let missing = missing(&facts, &decision, &view);
        if !asking.about(missing, view.version()).await? {
            return Ok(decision.route);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_first_connections_wait_for_the_answer() {
    let (plane, shared) = bed();
    plane.has(at("10.0.0.1"), workload("10.0.0.1"));
    let share = Share::new(1);
    let began = Instant::now();
    // Some begin while the answer is on its way.
    let connections = (0..100_u64).map(|n| {
        let (shared, share) = (&shared, &share);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10 * (n % 5))).await;
            let route = decided(shared, share, "10.0.0.1").await;
            assert!(began.elapsed() >= Duration::from_millis(50), "before the answer");
            route
        })
    });
    assert_eq!(ended(connections).await, [("a tunnel", 100)]);
    assert!(began.elapsed() < Duration::from_millis(60), "none waits for an answer of its own");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_passes_and_what_is_not_known_does_not() {
    let (plane, shared) = bed();
    let share = Share::new(SHARE);
    assert_eq!(decided(&shared, &share, "192.168.0.9").await.unwrap(), Route::Passthrough);
    assert_eq!(decided(&shared, &share, "192.168.0.9").await.unwrap(), Route::Passthrough);
    assert_eq!(decided(&shared, &share, "127.0.0.1").await.unwrap(), Route::Passthrough);
    assert_eq!(plane.asked(), [at("192.168.0.9")]);
    plane.is_away(true);
    let began = Instant::now();
    let refused = decided(&shared, &share, "192.168.0.10").await.unwrap_err();
    assert_eq!((refused.reason(), refused.status(), began.elapsed()), ("no_mesh_answer", 503, LIMIT));
    // What was said before is not unsaid.
    assert_eq!(decided(&shared, &share, "192.168.0.9").await.unwrap(), Route::Passthrough);
    *plane.fails.lock().unwrap() = Some(Silence::Unreadable);
    assert_eq!(decided(&shared, &share, "192.168.0.10").await.unwrap_err().reason(), "unreadable_answer");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_addresses_is_refused() {
    let (plane, shared) = bed();
    plane.is_away(true);
    // By one pod.
    let share = Share::new(SHARE);
    let to: Vec<_> = (0..1500).map(|n| format!("10.1.{}.{}", n / 250, n % 250)).collect();
    let flood = to.iter().map(|to| Box::pin(decided(&shared, &share, to)));
    assert_eq!(ended(flood).await, [("demand_limit", 1500 - SHARE), ("no_mesh_answer", SHARE)]);
    // By many.
    let shares: Vec<_> = to.iter().map(|_| Share::new(1)).collect();
    let flood = to.iter().zip(&shares).map(|(to, share)| Box::pin(decided(&shared, share, to)));
    assert_eq!(ended(flood).await, [("demand_limit", 1500 - ROOM), ("no_mesh_answer", ROOM)]);
}

/// What became of connections that run side by side, or why they were refused.
async fn ended<F: Future<Output = Result<Route, Failure>> + Unpin>(
    flood: impl Iterator<Item = F>,
) -> Vec<(&'static str, usize)> {
    let mut flood: Vec<_> = flood.collect();
    let mut reasons = std::collections::BTreeMap::new();
    std::future::poll_fn(|context| {
        flood.retain_mut(|connection| match std::pin::Pin::new(connection).poll(context) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(decided) => {
                let reason = match decided {
                    Ok(Route::Hbone(_)) => "a tunnel",
                    Ok(_) => "past the mesh",
                    Err(why) => why.reason(),
                };
                *reasons.entry(reason).or_default() += 1;
                false
            }
        });
        if flood.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    reasons.into_iter().collect()
}

#[tokio::test(start_paused = true)]
async fn a_mesh_that_never_stands_still_is_given_up() {
    let (plane, shared) = bed();
    let share = Share::new(SHARE);
    let mut asking = Asking::new(&shared, &share, LIMIT);
    for n in 1..=ROUNDS {
        let sought = format!("10.0.0.{n}");
        plane.has(at(&sought), workload(&sought));
        assert!(asking.about(vec![at(&sought)], shared.mesh.view().version()).await.unwrap());
    }
    let refused = asking.about(vec![at("10.0.0.99")], 0).await.unwrap_err();
    assert_eq!(refused.reason(), "no_mesh_answer");
}

#[tokio::test]
async fn nothing_is_asked_where_the_mesh_has_everything() {
    let (_writer, mesh) = mesh::channel();
    let shared = shared_with(mesh);
    let route = decided(&shared, &Share::new(0), "10.0.0.1").await.unwrap();
    assert_eq!(route, Route::Passthrough);
}

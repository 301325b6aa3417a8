use super::*;
use crate::mesh::demand::simulated::Plane;
use crate::mesh::{self, Changes};
use crate::model::workload::Workload;
use crate::proxy::pod::tests::{shared_with, start};

#[tokio::test(start_paused = true)]
async fn a_pods_own_record_is_asked_for_until_it_is_there() {
    let (writer, mesh) = mesh::channel();
    let plane = Arc::new(Plane::new(writer));
    let mut shared = shared_with(mesh.clone());
    Arc::get_mut(&mut shared).unwrap().demand = Some(Arc::new(OnDemand::new(plane.clone(), mesh)));
    let (cart, _) = start(&shared, "cart");
    let own = Sought::address("", cart.addresses()[0]).unwrap();
    assert_eq!(plane.asked(), std::slice::from_ref(&own), "as it starts");

    let stop = CancellationToken::new();
    let mut asking = std::pin::pin!(run(Arc::clone(&shared), stop.clone()));
    let mut during = async |seconds| {
        tokio::select! {
            () = &mut asking => panic!("nobody stopped it"),
            () = sleep(Duration::from_secs(seconds)) => plane.asked(),
        }
    };
    let asked = during(60).await;
    assert!((6..=10).contains(&asked.len()) && asked.iter().all(|sought| *sought == own), "{asked:?}");
    let record = Workload {
        uid: "w".into(),
        name: "cart".into(),
        namespace: "shop".into(),
        addresses: cart.addresses().to_vec(),
        ..Workload::default()
    };
    plane.apply(Changes { workloads: vec![record], ..Changes::default() });
    assert_eq!(during(600).await, []);
    plane.apply(Changes { removed: vec![mesh::Removed::Workload("w".into())], ..Changes::default() });
    let again = during(1).await.len();
    assert!((1..=2).contains(&again), "at once when it goes, and once more half a second later: {again}");
    stop.cancel();
    asking.await;
}

use super::*;
use crate::mesh::demand::simulated::Plane;
use crate::mesh::{self, Changes, Removed};
use crate::model::name::NamespacedName;
use crate::model::workload::Workload;

const LIMIT: Duration = Duration::from_secs(5);

fn at(ip: &str) -> Sought {
    Sought::address("", ip.parse().unwrap()).unwrap()
}

fn workload(ip: &str) -> Changes {
    let workload = Workload { uid: ip.into(), addresses: vec![ip.parse().unwrap()], ..Workload::default() };
    Changes { workloads: vec![workload], ..Changes::default() }
}

fn gone(ip: &str) -> Changes {
    Changes { removed: vec![Removed::Workload(ip.into())], ..Changes::default() }
}

struct Bed {
    plane: Arc<Plane>,
    demand: OnDemand,
    mesh: Reader,
    share: Share,
}

fn bed() -> Bed {
    let (writer, mesh) = mesh::channel();
    let plane = Arc::new(Plane::new(writer));
    let demand = OnDemand::new(plane.clone(), mesh.clone());
    Bed { plane, demand, mesh, share: Share::new(4) }
}

impl Bed {
    async fn ask(&self, ip: &str) -> Result<(), Silence> {
        self.demand.ask(&self.share, vec![at(ip)], LIMIT).await.map_err(|unanswered| {
            assert_eq!(unanswered.sought, at(ip));
            unanswered.why
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_there_is_is_in_the_mesh_when_it_was_asked_for() {
    let bed = bed();
    bed.plane.has(at("10.0.0.1"), workload("10.0.0.1"));
    bed.ask("10.0.0.1").await.unwrap();
    assert!(at("10.0.0.1").is_held(&bed.mesh.view()));
    // It goes, and comes again: what was held is no answer.
    bed.plane.apply(gone("10.0.0.1"));
    bed.ask("10.0.0.1").await.unwrap();
    assert_eq!(bed.plane.asked().len(), 2);
    assert!(at("10.0.0.1").is_held(&bed.mesh.view()));
}

#[tokio::test(start_paused = true)]
async fn that_there_is_nothing_is_believed_for_a_while() {
    let bed = bed();
    let began = Instant::now();
    bed.ask("10.0.0.1").await.unwrap();
    for _ in 0..1000 {
        bed.ask("10.0.0.1").await.unwrap();
    }
    assert_eq!((bed.plane.asked().len(), began.elapsed()), (1, Duration::from_millis(50)));
    tokio::time::advance(FRESH).await;
    bed.plane.has(at("10.0.0.1"), workload("10.0.0.1"));
    bed.ask("10.0.0.1").await.unwrap();
    assert_eq!(bed.plane.asked().len(), 1);
    assert!(at("10.0.0.1").is_held(&bed.mesh.view()));
}

#[tokio::test(start_paused = true)]
async fn what_came_by_another_way_is_asked_for_again_when_it_goes() {
    let bed = bed();
    bed.ask("10.0.0.1").await.unwrap();
    bed.plane.apply(workload("10.0.0.1"));
    bed.demand.forget_held();
    bed.plane.apply(gone("10.0.0.1"));
    bed.ask("10.0.0.1").await.unwrap();
    assert_eq!(bed.plane.asked().len(), 2);
    // What is not in the mesh is not forgotten by that.
    bed.demand.forget_held();
    bed.ask("10.0.0.1").await.unwrap();
    assert_eq!(bed.plane.asked().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_no_answer() {
    let bed = bed();
    bed.plane.is_away(true);
    let began = Instant::now();
    assert_eq!(bed.ask("10.0.0.1").await, Err(Silence::Deadline));
    assert_eq!(began.elapsed(), LIMIT);
    assert!(bed.demand.is_silent());
    for why in [Silence::Ended, Silence::TooMany, Silence::Unreadable] {
        *bed.plane.fails.lock().unwrap() = Some(why);
        assert_eq!(bed.ask("10.0.0.1").await, Err(why), "and none of them is remembered");
    }
    *bed.plane.fails.lock().unwrap() = None;
    bed.plane.is_away(false);
    bed.ask("10.0.0.1").await.unwrap();
    assert!(!bed.demand.is_silent());
}

#[tokio::test(start_paused = true)]
async fn an_old_answer_stands_while_nothing_is_said_and_not_while_somebody_floods() {
    let bed = bed();
    bed.ask("10.0.0.1").await.unwrap();
    tokio::time::advance(FRESH).await;
    *bed.plane.fails.lock().unwrap() = Some(Silence::TooMany);
    assert_eq!(bed.ask("10.0.0.1").await, Err(Silence::TooMany));
    *bed.plane.fails.lock().unwrap() = None;
    bed.plane.is_away(true);
    for _ in 0..10 {
        let began = Instant::now();
        bed.ask("10.0.0.1").await.unwrap();
        assert_eq!(began.elapsed(), LIMIT, "one that waits");
        bed.ask("10.0.0.1").await.unwrap();
        assert_eq!(began.elapsed(), LIMIT, "and then none for a while");
        tokio::time::advance(FRESH).await;
    }
    bed.plane.is_away(false);
    bed.plane.has(at("10.0.0.1"), workload("10.0.0.1"));
    bed.ask("10.0.0.1").await.unwrap();
    assert!(at("10.0.0.1").is_held(&bed.mesh.view()));
}

#[tokio::test(start_paused = true)]
async fn what_comes_by_another_name_ends_the_wait() {
    let bed = bed();
    bed.plane.is_away(true);
    let began = Instant::now();
    let (asked, ()) = tokio::join!(bed.ask("10.0.0.1"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bed.plane.apply(workload("10.0.0.1"));
    });
    asked.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn several_are_asked_for_at_once_and_one_that_fails_is_enough() {
    let bed = bed();
    let began = Instant::now();
    let service = Sought::Service(NamespacedName::new("shop", "web"));
    bed.demand.ask(&bed.share, vec![at("10.0.0.1"), service.clone()], LIMIT).await.unwrap();
    assert_eq!(
        (began.elapsed(), bed.plane.asked()),
        (Duration::from_millis(50), vec![at("10.0.0.1"), service.clone()])
    );
    *bed.plane.fails.lock().unwrap() = Some(Silence::Unreadable);
    let unanswered = bed.demand.ask(&bed.share, vec![service, at("10.0.0.2")], LIMIT).await.unwrap_err();
    assert_eq!(unanswered.sought, at("10.0.0.2"));
    assert!(unanswered.to_string().starts_with("the control plane has not said what is at 10.0.0.2: "));
}

#[tokio::test(start_paused = true)]
async fn one_pod_that_scans_leaves_room_for_others() {
    let bed = bed();
    bed.plane.is_away(true);
    let scan: Vec<_> = (1..=4).map(|n| at(&format!("10.0.0.{n}"))).collect();
    let mut scanning = Box::pin(bed.demand.ask(&bed.share, scan, LIMIT));
    tokio::select! {
        biased;
        _ = &mut scanning => panic!("nobody answers"),
        refused = bed.ask("10.0.0.9") => assert_eq!(refused, Err(Silence::TooMany)),
    }
    // The one that is asked for already needs no room.
    tokio::select! {
        biased;
        _ = bed.ask("10.0.0.1") => panic!("nobody answers"),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    bed.plane.is_away(false);
    bed.demand.ask(&Share::new(4), vec![at("10.0.0.9")], LIMIT).await.unwrap();
    assert_eq!(scanning.await.unwrap_err().why, Silence::Deadline);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_in_passing_is_bounded_and_not_repeated() {
    let bed = bed();
    for n in 0..=255 {
        for _ in 0..3 {
            bed.demand.hint(at(&format!("10.0.0.{n}")));
        }
    }
    assert_eq!(bed.plane.asked().len(), 64);
    tokio::time::advance(Duration::from_secs(1)).await;
    bed.demand.hint(at("10.0.0.0"));
    assert_eq!(bed.plane.asked().len(), 0, "a moment ago");
    bed.demand.hint(at("10.0.0.200"));
    assert_eq!(bed.plane.asked().len(), 1);
    tokio::time::advance(HINTED).await;
    bed.demand.hint(at("10.0.0.0"));
    assert_eq!(bed.plane.asked().len(), 1);
}

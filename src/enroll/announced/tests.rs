//! The agent's pods through the real manager, over a simulated plane, with paused time.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::enroll::manager::{Manager, Plane, Verified};
use crate::runtime::ready::Readiness;

/// Enrols what it is not told to refuse.
#[derive(Default)]
struct Simulated {
    log: Mutex<Vec<String>>,
    /// How many enrolments fail from now on.
    fails: Mutex<u32>,
    found: Mutex<Option<Verified>>,
}

#[derive(Debug, thiserror::Error)]
#[error("port 15008 is taken")]
struct Taken;

impl Plane for Simulated {
    type Enrolled = Arc<Pod>;
    type Error = Taken;

    async fn enrol(&self, pod: Arc<Pod>) -> Result<Arc<Pod>, Taken> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.log.lock().unwrap().push(format!("enrol {} as {}", pod.uid, pod.service_account));
        let mut fails = self.fails.lock().unwrap();
        if *fails > 0 {
            *fails -= 1;
            return Err(Taken);
        }
        Ok(pod)
    }
    async fn verify(&self, _: Arc<Arc<Pod>>) -> Result<Verified, Taken> {
        Ok(self.found.lock().unwrap().take().unwrap_or(Verified::Same))
    }
    async fn release(&self, pod: Arc<Arc<Pod>>) -> Result<(), Taken> {
        self.log.lock().unwrap().push(format!("release {}", pod.uid));
        Ok(())
    }
    async fn drained(&self, _: Arc<Arc<Pod>>) {}
    async fn remove(&self, pod: Arc<Arc<Pod>>) -> Result<(), Taken> {
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.log.lock().unwrap().push(format!("remove {}", pod.uid));
        Ok(())
    }
    async fn sweep(&self, _: Arc<Pod>) -> Result<bool, Taken> {
        Ok(false)
    }
}

struct Node {
    plane: Arc<Simulated>,
    announced: Announced,
    readiness: Readiness,
    stop: CancellationToken,
}

impl Node {
    fn start() -> Self {
        let plane = Arc::new(Simulated::default());
        let (wanted, receive) = watch::channel(Arc::default());
        let every = Duration::from_secs(5);
        let (manager, statuses) = Manager::build(Arc::clone(&plane), receive, every, Box::new(|_, _| {}));
        let (stop, readiness) = (CancellationToken::new(), Readiness::default());
        let own = Netns::own().unwrap().id();
        let admits: Admits =
            Arc::new(move |netns| if netns.id() == own { Err("it is the host's".into()) } else { Ok(()) });
        let named = readiness.condition("pods announced");
        let announced = Announced::new("node-a".into(), wanted, statuses, admits, named);
        #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
        tokio::spawn(manager.run(stop.clone(), CancellationToken::new()));
        Self { plane, announced, readiness, stop }
    }

    async fn add(&self, uid: &str, account: &str, netns: &Netns) -> Result<(), String> {
        let who = Who { name: uid.into(), namespace: "shop".into(), service_account: account.into() };
        self.announced.add(uid.into(), who, netns.clone()).await
    }

    fn snapshot(&self, named: &[&str]) {
        self.announced.snapshot(&named.iter().map(|uid| Arc::from(*uid)).collect());
    }

    /// What was asked of the plane, after everything that needs at most `time`.
    async fn after(&self, time: Duration) -> Vec<String> {
        tokio::time::sleep(time).await;
        std::mem::take(&mut *self.plane.log.lock().unwrap())
    }

    fn state(&self, uid: &str) -> Option<State> {
        let statuses = self.announced.statuses.borrow();
        statuses.iter().find(|status| &*status.pod.uid == uid).map(|status| status.state.clone())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const SHORT: Duration = Duration::from_millis(100);

/// Namespaces that are not this process's, and differ: `None` where they cannot be made.
fn namespaces() -> Option<[Netns; 2]> {
    crate::sys::kernel_tests::may_run("announced pods").then(|| [Netns::fresh().unwrap(), Netns::fresh().unwrap()])
}

#[tokio::test(start_paused = true)]
async fn an_add_ends_when_the_pod_serves_and_the_same_one_again_changes_nothing() {
    let Some([one, other]) = namespaces() else { return };
    let node = Node::start();
    let asked = Instant::now();
    assert_eq!(node.add("u1", "sa", &one).await, Ok(()));
    assert!(asked.elapsed() >= Duration::from_millis(5), "it was waited for");
    assert_eq!(node.add("u1", "sa", &one).await, Ok(()));
    assert_eq!(node.after(SHORT).await, ["enrol u1 as sa"]);
    // Another namespace, another account: the old one goes at once, without waiting for its connections.
    assert_eq!(node.add("u1", "sa", &other).await, Ok(()));
    assert_eq!(node.after(SHORT).await, ["remove u1", "enrol u1 as sa"]);
    assert_eq!(node.add("u1", "root", &other).await, Ok(()));
    assert_eq!(node.after(SHORT).await, ["remove u1", "enrol u1 as root"]);
    node.announced.del("u1");
    node.announced.del("nobody");
    assert_eq!(node.after(SHORT).await, ["remove u1"]);
    assert_eq!(node.state("u1"), None);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_withdraws_what_it_does_not_name_and_keeps_what_it_keeps() {
    let Some([one, other]) = namespaces() else { return };
    let node = Node::start();
    for (uid, netns) in [("u1", &one), ("u2", &other), ("u3", &one)] {
        assert_eq!(node.add(uid, "sa", netns).await, Ok(()));
    }
    assert!(!node.readiness.is_ready());
    node.snapshot(&["u1", "u2", "u3"]);
    assert!(node.readiness.is_ready());
    assert_eq!(node.after(SHORT).await.len(), 3);
    node.announced.lost("the agent is gone");
    assert_eq!(node.readiness.pending(), ["pods announced (the agent is gone)"]);
    assert_eq!(node.after(Duration::from_secs(60)).await, Vec::<String>::new(), "pods that run are left alone");
    // The next conversation.
    assert_eq!(node.add("u1", "sa", &one).await, Ok(()));
    node.announced.keep("u2");
    node.announced.keep("u9");
    node.snapshot(&["u1", "u2", "u9"]);
    assert_eq!(node.after(SHORT).await, ["remove u3"]);
    assert_eq!(
        (node.state("u1"), node.state("u2"), node.state("u9")),
        (Some(State::Enrolled), Some(State::Enrolled), None)
    );
    assert!(node.readiness.is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_could_not_be_served_is_refused_with_the_reason_and_tried_again() {
    let Some([one, _]) = namespaces() else { return };
    let node = Node::start();
    *node.plane.fails.lock().unwrap() = 7;
    assert_eq!(node.add("u1", "sa", &one).await, Err("port 15008 is taken".into()));
    assert!(matches!(node.state("u1"), Some(State::Failed(_))), "it is pending");
    // Whoever asks again has it tried at once.
    assert_eq!(node.add("u1", "sa", &one).await, Err("port 15008 is taken".into()));
    assert_eq!(node.after(Duration::from_millis(50)).await, ["enrol u1 as sa", "enrol u1 as sa"]);
    // 1, 2, 4, 5, 5 s: at least as often as the agent's own proxy would.
    assert_eq!(node.after(Duration::from_millis(12_500)).await.len(), 4);
    assert_eq!(node.after(Duration::from_millis(5_100)).await.len(), 1);
    assert_eq!(node.after(Duration::from_millis(5_100)).await.len(), 1);
    assert_eq!(node.state("u1"), Some(State::Enrolled));
    // A pending pod goes with its Del.
    *node.plane.fails.lock().unwrap() = 1;
    node.add("u2", "sa", &one).await.unwrap_err();
    node.announced.del("u2");
    assert_eq!(node.after(Duration::from_secs(60)).await, ["enrol u2 as sa"]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_no_pod_can_have_is_refused_at_once_and_never_pending() {
    let node = Node::start();
    let answer = node.add("u1", "sa", &Netns::own().unwrap()).await;
    assert_eq!(answer, Err("it is the host's".into()));
    assert_eq!(node.after(Duration::from_secs(60)).await, Vec::<String>::new());
    assert_eq!(node.state("u1"), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_found_in_anothers_namespace_is_withdrawn_and_tried_anew() {
    let Some([one, _]) = namespaces() else { return };
    let node = Node::start();
    node.add("u1", "sa", &one).await.unwrap();
    *node.plane.found.lock().unwrap() = Some(Verified::Mispaired);
    *node.plane.fails.lock().unwrap() = 1;
    assert_eq!(node.after(Duration::from_millis(5_100)).await, ["enrol u1 as sa", "remove u1", "enrol u1 as sa"]);
    assert!(matches!(node.state("u1"), Some(State::Failed(_))));
}

#[tokio::test(start_paused = true)]
async fn the_next_pod_of_a_namespace_waits_until_the_one_before_has_left() {
    let Some([one, other]) = namespaces() else { return };
    let node = Node::start();
    assert_eq!(node.add("u1", "sa", &one).await, Ok(()));
    node.announced.del("u1");
    assert_eq!(node.add("u2", "sa", &one).await, Ok(()));
    assert_eq!(node.after(SHORT).await, ["enrol u1 as sa", "remove u1", "enrol u2 as sa"]);
    // Moved elsewhere under its own uid.
    let asked = Instant::now();
    assert_eq!(node.add("u2", "sa", &other).await, Ok(()));
    assert_eq!(node.add("u3", "sa", &one).await, Ok(()));
    assert!(asked.elapsed() < Duration::from_secs(1));
    // One that stays is not waited for: the plane refuses the claim.
    let asked = Instant::now();
    drop(node.add("u4", "sa", &one).await);
    assert!(asked.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_comes_back_while_it_leaves_is_served_in_the_end() {
    let Some([one, _]) = namespaces() else { return };
    let node = Node::start();
    for _ in 0..3 {
        assert_eq!(node.add("u1", "sa", &one).await, Ok(()));
        node.announced.del("u1");
        assert_eq!(node.add("u1", "sa", &one).await, Ok(()), "at once");
        node.announced.del("u1");
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(node.add("u1", "sa", &one).await, Ok(()), "while it is removed");
        node.announced.del("u1");
    }
    assert_eq!(node.after(SHORT).await.last().unwrap(), "remove u1");
}

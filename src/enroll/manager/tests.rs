//! The manager against a simulated plane, with paused time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::model::membership::InReason;
use crate::model::name::NamespacedName;

/// A plane that writes down what it is asked and answers what it is told to.
#[derive(Default)]
struct Simulated {
    log: Mutex<Vec<String>>,
    enrolments_that_fail: Mutex<u32>,
    verified: Mutex<Option<Verified>>,
    live_connections: watch::Sender<u32>,
    /// A step for the pod is being taken.
    working: AtomicBool,
    panics: AtomicBool,
    sweeps_that_fail: Mutex<u32>,
}

/// Two steps for one pod at once are a defect of the manager.
struct Step<'a>(&'a AtomicBool);

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[derive(Debug, thiserror::Error)]
#[error("it is only a simulation")]
struct Refused;

impl Simulated {
    fn note(&self, what: &str, pod: &Pod) {
        self.log.lock().unwrap().push(format!("{what} {}", pod.key.name));
    }

    /// Takes a moment for a step on `pod`.
    async fn step(&self, pod: &Pod) {
        if self.working.swap(true, Ordering::Relaxed) {
            self.note("two steps at once for", pod);
        }
        let _step = Step(&self.working);
        tokio::task::yield_now().await;
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

impl Plane for Simulated {
    type Enrolled = Arc<Pod>;
    type Error = Refused;

    async fn enrol(&self, pod: Arc<Pod>) -> Result<Arc<Pod>, Refused> {
        self.note("enrol", &pod);
        let mut fail = self.enrolments_that_fail.lock().unwrap();
        if *fail > 0 {
            *fail -= 1;
            return Err(Refused);
        }
        drop(fail);
        assert!(!self.panics.swap(false, Ordering::Relaxed), "as planned");
        Ok(pod)
    }
    async fn verify(&self, pod: Arc<Arc<Pod>>) -> Result<Verified, Refused> {
        self.step(&pod).await;
        let found = self.verified.lock().unwrap().take().unwrap_or(Verified::Same);
        if found != Verified::Same {
            self.note("mend", &pod);
        }
        Ok(found)
    }
    async fn release(&self, pod: Arc<Arc<Pod>>) -> Result<(), Refused> {
        self.note("release", &pod);
        Ok(())
    }
    async fn drained(&self, _: Arc<Arc<Pod>>) {
        drop(self.live_connections.subscribe().wait_for(|live| *live == 0).await);
    }
    async fn remove(&self, pod: Arc<Arc<Pod>>) -> Result<(), Refused> {
        self.step(&pod).await;
        self.note("remove", &pod);
        Ok(())
    }
    async fn sweep(&self, pod: Arc<Pod>) -> Result<bool, Refused> {
        self.note("sweep", &pod);
        let mut fail = self.sweeps_that_fail.lock().unwrap();
        if *fail > 0 {
            *fail -= 1;
            return Err(Refused);
        }
        Ok(true)
    }
}

struct Node {
    plane: Arc<Simulated>,
    wanted: watch::Sender<Arc<Wanted>>,
    status: watch::Receiver<Arc<Vec<PodStatus>>>,
    stop: CancellationToken,
    retired: CancellationToken,
}

const IN: Membership = Membership::In(InReason::NamespaceLabel);
const OUT: Membership = Membership::Out(OutReason::NoLabel);

fn pod(name: &str, account: &str) -> Arc<Pod> {
    Arc::new(Pod {
        key: NamespacedName::new("shop", name),
        uid: name.into(),
        service_account: account.into(),
        node: "a".into(),
        addresses: vec!["10.0.0.1".parse().unwrap()],
        host_network: false,
        finished: false,
        dataplane_mode: None,
        has_sidecar: false,
        dns_capture: None,
        netns: Some("/run/netns/x".into()),
    })
}

impl Node {
    fn start(wanted: Wanted) -> Self {
        let plane = Arc::new(Simulated::default());
        let (send, receive) = watch::channel(Arc::new(wanted));
        let every = Duration::from_secs(5);
        let (manager, status) = Manager::build(Arc::clone(&plane), receive, every, Box::new(|_, _| {}));
        let (stop, retired) = (CancellationToken::new(), CancellationToken::new());
        #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
        tokio::spawn(manager.run(stop.clone(), retired.clone()));
        Self { plane, wanted: send, status, stop, retired }
    }

    /// Lets everything happen that needs at most `time`; what was asked of the plane meanwhile.
    async fn after(&self, time: Duration) -> Vec<String> {
        tokio::time::sleep(time).await;
        self.plane.taken()
    }

    async fn want(&self, wanted: Wanted) -> Vec<String> {
        self.wanted.send_replace(Arc::new(wanted));
        self.after(Duration::from_millis(1)).await
    }

    fn state(&self, name: &str) -> Option<State> {
        self.status.borrow().iter().find(|s| &*s.pod.key.name == name).map(|s| s.state.clone())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const SHORT: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn in_and_out_and_in_again_waits_for_live_connections() {
    let node = Node::start(vec![(pod("cart", "one"), IN), (pod("plain", "one"), OUT)]);
    assert_eq!(node.after(SHORT).await, ["enrol cart", "sweep plain"]);
    assert_eq!((node.state("cart"), node.state("plain")), (Some(State::Enrolled), Some(State::Out)));

    node.plane.live_connections.send_replace(1);
    assert_eq!(node.want(vec![(pod("cart", "one"), OUT)]).await, ["release cart"]);
    assert_eq!(node.state("cart"), Some(State::Withdrawing));
    // Wanted again while a connection lives: nothing is removed, the redirects are laid again.
    *node.plane.verified.lock().unwrap() = Some(Verified::Healed);
    assert_eq!(node.want(vec![(pod("cart", "one"), IN)]).await, ["mend cart"]);
    assert_eq!(node.state("cart"), Some(State::Enrolled));

    assert_eq!(node.want(vec![(pod("cart", "one"), OUT)]).await, ["release cart"]);
    assert_eq!(node.after(Duration::from_secs(60)).await, Vec::<String>::new(), "a connection is alive");
    node.plane.live_connections.send_replace(0);
    assert_eq!(node.after(SHORT).await, ["remove cart", "sweep cart"]);
    assert_eq!(node.state("cart"), Some(State::Out));
}

#[tokio::test(start_paused = true)]
async fn a_failed_enrolment_is_tried_again_ever_more_slowly() {
    let node = Node::start(Vec::new());
    *node.plane.enrolments_that_fail.lock().unwrap() = 3;
    assert_eq!(node.want(vec![(pod("cart", "one"), IN)]).await, ["enrol cart"]);
    assert_eq!(node.state("cart"), Some(State::Failed("it is only a simulation".into())));
    assert_eq!(node.after(Duration::from_millis(450)).await, Vec::<String>::new());
    assert_eq!(node.after(Duration::from_millis(100)).await, ["enrol cart"]);
    assert_eq!(node.after(Duration::from_millis(900)).await, Vec::<String>::new());
    assert_eq!(node.after(Duration::from_millis(200)).await, ["enrol cart"]);
    assert_eq!(node.after(Duration::from_secs(3)).await, ["enrol cart"]);
    assert_eq!(node.state("cart"), Some(State::Enrolled));
}

#[tokio::test(start_paused = true)]
async fn another_identity_or_namespace_under_the_same_uid_inherits_nothing() {
    let node = Node::start(vec![(pod("cart", "one"), IN)]);
    assert_eq!(node.after(SHORT).await, ["enrol cart"]);
    node.plane.live_connections.send_replace(1);
    assert_eq!(node.want(vec![(pod("cart", "two"), IN)]).await, ["remove cart", "enrol cart"]);
    *node.plane.verified.lock().unwrap() = Some(Verified::Replaced);
    assert_eq!(node.after(Duration::from_secs(6)).await, ["mend cart", "remove cart", "enrol cart"]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_object_is_gone_is_withdrawn_and_forgotten() {
    let node = Node::start(vec![(pod("cart", "one"), IN)]);
    assert_eq!(node.after(SHORT).await, ["enrol cart"]);
    assert_eq!(node.want(Vec::new()).await, ["release cart", "remove cart"]);
    assert_eq!(node.state("cart"), None);
}

#[tokio::test(start_paused = true)]
async fn wanted_again_in_the_moment_of_the_last_connections_end() {
    // Which of the two the manager sees first is chosen at random.
    for _ in 0..64 {
        let node = Node::start(vec![(pod("cart", "one"), IN)]);
        assert_eq!(node.after(SHORT).await, ["enrol cart"]);
        node.plane.live_connections.send_replace(1);
        assert_eq!(node.want(vec![(pod("cart", "one"), OUT)]).await, ["release cart"]);
        node.plane.live_connections.send_replace(0);
        let steps = node.want(vec![(pod("cart", "one"), IN)]).await;
        assert!(steps.is_empty() || steps == ["remove cart", "enrol cart"], "{steps:?}");
        assert_eq!(node.state("cart"), Some(State::Enrolled));
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_failed_is_tried_again_with_the_next_verification() {
    let node = Node::start(Vec::new());
    *node.plane.sweeps_that_fail.lock().unwrap() = 1;
    assert_eq!(node.want(vec![(pod("plain", "one"), OUT)]).await, ["sweep plain"]);
    assert_eq!(node.after(Duration::from_secs(4)).await, Vec::<String>::new());
    assert_eq!(node.after(Duration::from_secs(2)).await, ["sweep plain"]);
    assert_eq!(node.after(Duration::from_secs(60)).await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_is_forgotten_with_its_sweep() {
    let node = Node::start(Vec::new());
    let out = || vec![(pod("plain", "one"), OUT)];
    assert_eq!(node.want(out()).await, ["sweep plain"]);
    assert_eq!(node.want(Vec::new()).await, Vec::<String>::new());
    // Nothing is known of it any more.
    assert_eq!(node.want(out()).await, ["sweep plain"]);
}

#[tokio::test(start_paused = true)]
async fn an_enrolled_pod_whose_addresses_are_gone_for_a_moment_stays_in() {
    let node = Node::start(vec![(pod("cart", "one"), IN)]);
    assert_eq!(node.after(SHORT).await, ["enrol cart"]);
    let lost = Arc::new(Pod { addresses: Vec::new(), ..Pod::clone(&pod("cart", "one")) });
    let nowhere = Membership::Out(OutReason::NoAddress);
    assert_eq!(node.want(vec![(Arc::clone(&lost), nowhere)]).await, Vec::<String>::new());
    assert_eq!(node.state("cart"), Some(State::Enrolled));
    assert_eq!(node.want(vec![(pod("cart", "one"), IN)]).await, Vec::<String>::new());
    // Opted out, it leaves.
    assert_eq!(node.want(vec![(lost, OUT)]).await, ["release cart", "remove cart", "sweep cart"]);
}

#[tokio::test(start_paused = true)]
async fn a_step_that_panics_is_a_failed_one() {
    let node = Node::start(Vec::new());
    node.plane.panics.store(true, Ordering::Relaxed);
    assert_eq!(node.want(vec![(pod("cart", "one"), IN)]).await, ["enrol cart"]);
    assert!(matches!(node.state("cart"), Some(State::Failed(_))));
    assert_eq!(node.after(Duration::from_secs(1)).await, ["enrol cart"]);
    assert_eq!(node.state("cart"), Some(State::Enrolled));
}

#[tokio::test(start_paused = true)]
async fn once_another_process_has_the_pods_nothing_is_done_to_them() {
    let node = Node::start(vec![(pod("a", "x"), IN)]);
    assert_eq!(node.after(Duration::from_secs(1)).await, ["enrol a"]);
    node.retired.cancel();
    node.plane.verified.lock().unwrap().replace(Verified::Healed);
    node.wanted.send_replace(Arc::new(vec![(pod("a", "x"), OUT), (pod("b", "x"), IN)]));
    assert_eq!(node.after(Duration::from_secs(600)).await, [""; 0]);
    node.stop.cancel();
    assert_eq!(node.after(Duration::from_secs(5)).await, [""; 0]);
}

/// A pod that is dropped has no drain.
#[tokio::test(start_paused = true)]
async fn what_is_enrolled_is_held_beyond_the_stop() {
    let one = pod("web", "web");
    let (wanted, receive) = watch::channel(Arc::new([(Arc::clone(&one), IN)].into_iter().collect::<Wanted>()));
    let plane = Arc::new(Simulated::default());
    let (manager, mut status) = Manager::build(plane, receive, Duration::from_secs(5), Box::new(|_, _| {}));
    let stop = CancellationToken::new();
    let stopping = async {
        let enrolled = |all: &Arc<Vec<PodStatus>>| all.iter().any(|status| status.state == State::Enrolled);
        drop(status.wait_for(enrolled).await.unwrap());
        stop.cancel();
    };
    let (held, ()) = tokio::join!(manager.run(stop.clone(), CancellationToken::new()), stopping);
    let entries = Arc::strong_count(&one);
    drop((held, status));
    assert!(Arc::strong_count(&one) < entries - 1, "it was held as enrolled, not only as wanted");
    drop(wanted);
}

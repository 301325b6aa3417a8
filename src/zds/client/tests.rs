//! The client against a fake agent, with paused time.

use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;

use super::*;
use crate::proto::zds::{KeepWorkload, SnapshotSent, WorkloadRequestPayload};
use crate::zds::fake_agent::{FakeAgent, add, encoded};

/// Writes down what it is asked.
#[derive(Default)]
struct Noted {
    log: Mutex<Vec<String>>,
    refuses: AtomicBool,
    never_answers: AtomicBool,
}

impl Noted {
    fn note(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

impl Pods for Noted {
    async fn add(&self, uid: Arc<str>, who: Who, netns: Netns) -> Result<(), String> {
        assert_eq!(netns.id(), Netns::own().unwrap().id());
        self.note(format!("add {uid} {}/{} as {}", who.namespace, who.name, who.service_account));
        if self.never_answers.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.refuses.load(Ordering::Relaxed) { Err("the port is taken".into()) } else { Ok(()) }
    }
    fn del(&self, uid: &str) {
        self.note(format!("del {uid}"));
    }
    fn keep(&self, uid: &str) {
        self.note(format!("keep {uid}"));
    }
    fn snapshot(&self, named: &BTreeSet<Arc<str>>) {
        self.note(format!("snapshot {}", named.iter().map(|uid| &**uid).collect::<Vec<_>>().join(",")));
    }
    fn lost(&self, why: &str) {
        self.note(format!("lost: {}", why.split(':').next().unwrap()));
    }
}

struct Bed {
    directory: tempfile::TempDir,
    pods: Arc<Noted>,
    stop: CancellationToken,
    client: tokio::task::JoinHandle<()>,
}

impl Bed {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (pods, stop) = (Arc::new(Noted::default()), CancellationToken::new());
        let config = Config { path: directory.path().join("agent.sock") };
        #[expect(clippy::disallowed_methods, reason = "a test owns its task")]
        let client = tokio::spawn(run(config, Arc::clone(&pods), || 0.5, stop.clone()));
        Self { directory, pods, stop, client }
    }

    fn agent(&self) -> FakeAgent {
        FakeAgent::listen(&self.directory.path().join("agent.sock"))
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_and_what_follows_are_answered_in_order() {
    let bed = Bed::start();
    let agent = bed.agent();
    let proxy = agent.accept().await;
    let own = Netns::own().unwrap();
    assert_eq!(proxy.add("u1", "shop/cart", own.as_fd()).await, "");
    assert_eq!(proxy.keep("u2").await, "");
    assert_eq!(proxy.del("u3").await, "");
    assert_eq!(proxy.snapshot_sent().await, "");
    bed.pods.refuses.store(true, Ordering::Relaxed);
    assert_eq!(proxy.add("u4", "shop/web", own.as_fd()).await, "pod shop/web: the port is taken");
    bed.pods.refuses.store(false, Ordering::Relaxed);
    // Sent before the answer to the first is read: answered one by one.
    proxy.tell(&add("u5", "shop/a"), &[own.as_fd().as_raw_fd()]);
    proxy.tell(&add("u6", "shop/b"), &[own.as_fd().as_raw_fd()]);
    assert_eq!((proxy.answer().await, proxy.answer().await), (Some(String::new()), Some(String::new())));
    let seen: Vec<_> = bed.pods.taken().into_iter().filter(|line| !line.starts_with("lost")).collect();
    assert_eq!(
        seen,
        [
            "add u1 shop/cart as cart",
            "keep u2",
            "del u3",
            "snapshot u1,u2",
            "add u4 shop/web as web",
            "add u5 shop/a as a",
            "add u6 shop/b as b"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_add_that_takes_long_is_answered_before_the_agent_gives_up() {
    let bed = Bed::start();
    bed.pods.never_answers.store(true, Ordering::Relaxed);
    let proxy = bed.agent().accept().await;
    let asked = Instant::now();
    let answer = proxy.add("u1", "shop/cart", Netns::own().unwrap().as_fd()).await;
    assert!(answer.contains("still being enrolled"), "{answer}");
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(proxy.snapshot_sent().await, "", "the conversation goes on");
}

#[tokio::test(start_paused = true)]
async fn a_bad_pod_costs_that_pod_alone() {
    let bed = Bed::start();
    let proxy = bed.agent().accept().await;
    let file = tempfile::tempfile().unwrap();
    let answer = proxy.add("u1", "shop/cart", std::os::fd::AsFd::as_fd(&file)).await;
    assert!(answer.contains("is not a network namespace"), "{answer}");
    let answer = proxy.add("u1", "sh/op/cart", Netns::own().unwrap().as_fd()).await;
    assert!(answer.contains("its name is empty"), "{answer}");
    assert_eq!(proxy.snapshot_sent().await, "");
    assert_eq!(bed.pods.taken().last().unwrap(), "snapshot u1", "it exists");
}

#[tokio::test(start_paused = true)]
async fn a_broken_protocol_ends_the_conversation_and_a_new_one_begins() {
    let bed = Bed::start();
    let agent = bed.agent();
    let own = Netns::own().unwrap();
    let fd = own.as_fd().as_raw_fd();
    let snapshot = || encoded(WorkloadRequestPayload::SnapshotSent(SnapshotSent {}));
    let keep = encoded(WorkloadRequestPayload::Keep(KeepWorkload { uid: "u".into() }));
    let long = vec![0x0a; crate::sys::seqpacket::LONGEST + 1];
    for (why, packet, descriptors, after_snapshot) in [
        ("no request of this protocol", vec![0xff], vec![], false),
        ("brings 0 descriptors, and has to bring", add("u", "a/b"), vec![], false),
        ("brings 2 descriptors, and has to bring", add("u", "a/b"), vec![fd, fd], false),
        ("adds no pod brings 1 descriptors", snapshot(), vec![fd], false),
        ("4 at most are taken", add("u", "a/b"), vec![fd; 5], false),
        ("longer than", long, vec![], false),
        ("kept after the snapshot", keep, vec![], true),
        ("second snapshot", snapshot(), vec![], true),
    ] {
        let proxy = agent.accept().await;
        if after_snapshot {
            assert_eq!(proxy.snapshot_sent().await, "");
        }
        proxy.tell(&packet, &descriptors);
        let answer = proxy.answer().await.unwrap();
        assert!(answer.contains(why), "{answer}");
        assert_eq!(proxy.answer().await, None, "{why}: the conversation has ended");
    }
    let proxy = agent.accept().await;
    assert_eq!(proxy.add("u1", "shop/cart", own.as_fd()).await, "");
    assert!(!bed.client.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_breaks_the_protocol_each_time_is_asked_ever_more_slowly() {
    let bed = Bed::start();
    let agent = bed.agent();
    let mut waits = Vec::new();
    for _ in 0..14 {
        let began = Instant::now();
        let proxy = agent.accept().await;
        waits.push(began.elapsed());
        assert_eq!(proxy.snapshot_sent().await, "");
        tokio::time::sleep(Duration::from_secs(2)).await;
        // A packet that is too long is as bad as one that cannot be read.
        let long = vec![0; crate::sys::seqpacket::LONGEST + 1];
        proxy.tell(if waits.len() % 2 == 0 { &[0xff] } else { &long }, &[]);
        while proxy.answer().await.is_some() {}
    }
    assert!(waits.last().unwrap() > &Duration::from_secs(10), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_goes_is_found_again_when_it_comes_back() {
    let bed = Bed::start();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let lost = bed.pods.taken();
    assert!(lost.len() > 10 && lost.len() < 40, "{lost:?}");
    assert!(lost[0].starts_with("lost: cannot connect to the node agent"), "{lost:?}");
    let agent = bed.agent();
    let began = Instant::now();
    let proxy = agent.accept().await;
    assert!(began.elapsed() <= Duration::from_secs(15));
    assert_eq!(proxy.snapshot_sent().await, "");
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop((proxy, agent));
    let agent = bed.agent();
    let began = Instant::now();
    drop(agent.accept().await);
    assert!(began.elapsed() < Duration::from_secs(1), "a restart is over soon: {:?}", began.elapsed());
    assert!(bed.pods.taken().contains(&"lost: the node agent closed the connection".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_conversation_cut_at_any_boundary_begins_anew() {
    let bed = Bed::start();
    let agent = bed.agent();
    let own = Netns::own().unwrap();
    for cut in 0..4 {
        let proxy = agent.accept().await;
        if cut > 0 {
            assert_eq!(proxy.add("u1", "shop/cart", own.as_fd()).await, "");
        }
        if cut > 1 {
            // Its answer is never read.
            proxy.tell(&add("u2", "shop/web"), &[own.as_fd().as_raw_fd()]);
        }
        if cut > 2 {
            drop(proxy.answer().await);
        }
    }
    assert_eq!(agent.accept().await.snapshot_sent().await, "");
    let log = bed.pods.taken();
    assert_eq!(log.iter().filter(|line| line.starts_with("snapshot")).collect::<Vec<_>>(), ["snapshot "], "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn it_stops_when_it_is_told_to_and_hangs_up() {
    let mut bed = Bed::start();
    let proxy = bed.agent().accept().await;
    bed.stop.cancel();
    assert_eq!(proxy.answer().await, None);
    (&mut bed.client).await.unwrap();
}

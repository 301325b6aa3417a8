use super::*;
use std::collections::VecDeque;

use tokio::time::{Instant, sleep};

use crate::identity::access::AccessError;
use crate::tls::fixture::{TestCa, id};
use crate::tls::{Domains, Lists, Revocation};

const HOUR: Duration = Duration::from_secs(3600);

/// What the simulated CA does with one request; [`Act::Issue`] when nothing was planned.
#[derive(Clone, Debug)]
enum Act {
    Away,
    For(&'static str),
    Foreign,
    Issue,
    Panic,
    /// Dated back by two minutes, as CAs do, and valid for this long from now.
    Short(Duration),
    Slow(Duration),
}

struct Ca {
    ca: TestCa,
    foreign: TestCa,
    clock: Clock,
    plan: Mutex<VecDeque<Act>>,
    log: Mutex<Vec<Identity>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Source(Arc<Ca>);

struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CertSource for Source {
    async fn fetch(&self, identity: &Identity) -> Result<Issued, SourceError> {
        let ca = &self.0;
        ca.log.lock().unwrap().push(identity.clone());
        ca.most.fetch_max(ca.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let _busy = Busy(&ca.now);
        let act = ca.plan.lock().unwrap().pop_front().unwrap_or(Act::Issue);
        let now = (ca.clock)();
        match act {
            Act::Away => Err(SourceError::Unavailable("away".into())),
            Act::For(other) => Ok(ca.ca.issue(&id(other), now, 24 * HOUR)),
            Act::Foreign => {
                Ok(Issued { roots: vec![ca.foreign.root.clone()], ..ca.ca.issue(identity, now, 24 * HOUR) })
            }
            Act::Issue => Ok(ca.ca.issue(identity, now, 24 * HOUR)),
            Act::Panic => panic!("a source that panics, as planned"),
            Act::Short(life) => {
                let back = Duration::from_secs(120);
                Ok(ca.ca.issue(identity, now - back, life + back))
            }
            Act::Slow(wait) => {
                sleep(wait).await;
                Ok(ca.ca.issue(identity, now, 24 * HOUR))
            }
        }
    }
}

struct Lab {
    ca: Arc<Ca>,
    certs: Certs,
    revoked: Arc<AtomicUsize>,
    trust: Trust,
    /// Ends the manager when it is dropped.
    _manager: JoinSet<()>,
}

fn lab(plan: impl IntoIterator<Item = Act>) -> Lab {
    let (begun, wall) = (Instant::now(), SystemTime::now());
    // Wall time that follows the paused clock.
    let clock: Clock = Arc::new(move || wall + begun.elapsed());
    let ca = Arc::new(Ca {
        ca: TestCa::new(),
        foreign: TestCa::new(),
        clock: Arc::clone(&clock),
        plan: Mutex::new(plan.into_iter().collect()),
        log: Mutex::default(),
        now: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    let trust = Trust::new(Domains::default(), Arc::clone(&clock));
    let (revoked, told) = (Arc::<AtomicUsize>::default(), trust.clone());
    let count = Arc::clone(&revoked);
    let on_revoked: Arc<dyn Fn(&Identity) + Send + Sync> = Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let config = Config { clock, jitter: Arc::new(|| 0.5), on_revoked, trust: told, ..Config::system() };
    let (certs, manager) = Manager::build(config, Source(Arc::clone(&ca)));
    let mut tasks = JoinSet::new();
    tasks.spawn(manager.run(CancellationToken::new()));
    Lab { ca, certs, revoked, trust, _manager: tasks }
}

impl Lab {
    fn asked(&self) -> usize {
        self.ca.log.lock().unwrap().len()
    }

    fn plan(&self, acts: &[Act]) {
        self.ca.plan.lock().unwrap().extend(acts.iter().cloned());
    }
}

#[tokio::test(start_paused = true)]
async fn two_pods_of_one_account_share_and_the_last_takes_it_away() {
    let lab = lab([]);
    let (one, two) = (lab.certs.acquire(&id("cart")), lab.certs.acquire(&id("cart")));
    let (a, b) = (one.wait(HOUR).await.unwrap(), two.wait(HOUR).await.unwrap());
    assert_eq!((a.identity(), a.not_after()), (&id("cart"), b.not_after()));
    assert_eq!(lab.asked(), 1);
    assert_eq!(lab.certs.report()[0].references, 2);
    drop(one);
    assert!(two.certificate().is_ok());
    drop(two);
    assert!(lab.certs.report().is_empty());
    lab.certs.acquire(&id("cart")).wait(HOUR).await.unwrap();
    assert_eq!(lab.asked(), 2, "nothing was kept");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_renewed_at_half_its_life() {
    let lab = lab([]);
    let mut pod = lab.certs.acquire(&id("cart"));
    let first = pod.wait(HOUR).await.unwrap();
    pod.changed().await;
    sleep(11 * HOUR).await;
    assert_eq!(lab.asked(), 1);
    let begun = Instant::now();
    let next = pod.changed().await;
    assert!(begun.elapsed() <= HOUR + Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(next.not_after() > first.not_after());
    assert_eq!(pod.certificate().unwrap().not_after(), next.not_after());
}

#[tokio::test(start_paused = true)]
async fn a_leaf_that_is_dated_back_lives_half_of_what_is_left() {
    let minute = Duration::from_secs(60);
    let lab = lab([Act::Short(minute), Act::Short(minute)]);
    let mut pod = lab.certs.acquire(&id("cart"));
    pod.wait(HOUR).await.unwrap();
    pod.changed().await;
    let begun = Instant::now();
    pod.changed().await;
    let waited = begun.elapsed();
    assert!(waited > minute / 3 && waited <= minute / 2 + Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_verify_never_replaces_what_does() {
    let lab = lab([]);
    let pod = lab.certs.acquire(&id("cart"));
    let first = pod.wait(HOUR).await.unwrap();
    lab.plan(&[Act::For("till"), Act::Foreign, Act::Away, Act::Panic, Act::Slow(HOUR)]);
    // Half life, then 1, 2, 4, 8 s of backoff, and the slow one is cut after 15 s.
    for (wait, asked, error) in [
        (12 * HOUR + Duration::from_millis(100), 2, "WrongIdentity"),
        (Duration::from_secs(1), 3, "UnknownRoot"),
        (Duration::from_secs(2), 4, "Unavailable"),
        (Duration::from_secs(4), 5, "Cut"),
        (Duration::from_secs(23), 6, "Deadline"),
    ] {
        sleep(wait).await;
        assert_eq!(lab.asked(), asked, "{error}");
        let report = lab.certs.report().swap_remove(0);
        assert!(format!("{:?}", report.last_error).contains(error), "{:?}, not {error}", report.last_error);
        assert_eq!(report.failures as usize, asked - 1);
        assert_eq!(pod.certificate().unwrap().not_after(), first.not_after());
    }
    sleep(Duration::from_secs(17)).await;
    let report = lab.certs.report().swap_remove(0);
    assert!(report.last_error.is_none() && report.failures == 0, "{report:?}");
    assert!(report.not_after.unwrap() > first.not_after());
}

#[tokio::test(start_paused = true)]
async fn an_expired_certificate_is_not_served_and_the_reason_is_told() {
    let lab = lab([]);
    let pod = lab.certs.acquire(&id("cart"));
    pod.wait(HOUR).await.unwrap();
    lab.plan(&vec![Act::Away; 1000]);
    sleep(24 * HOUR - Duration::from_secs(1)).await;
    assert!(pod.certificate().is_ok());
    sleep(Duration::from_secs(2)).await;
    let error = pod.certificate().unwrap_err();
    assert!(matches!(&error, AccessError::Expired { source: Some(_), .. }), "{error:?}");
    let begun = Instant::now();
    assert!(pod.wait(Duration::from_secs(5)).await.is_err());
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    let asked = lab.asked();
    assert!((290..330).contains(&asked), "one attempt every 150 s for 12 h: {asked}");
    lab.ca.plan.lock().unwrap().clear();
    pod.wait(HOUR).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_ca_waits_as_long_as_it_is_told_and_then_says_why() {
    let lab = lab([Act::Away, Act::Away, Act::Issue]);
    let pod = lab.certs.acquire(&id("cart"));
    assert!(matches!(pod.certificate(), Err(AccessError::Missing { source: None, .. })));
    let error = pod.wait(Duration::from_millis(500)).await.unwrap_err();
    assert!(matches!(&error, AccessError::Missing { source: Some(_), .. }), "{error:?}");
    pod.wait(Duration::from_secs(10)).await.unwrap();
    assert_eq!(lab.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn fetches_are_bounded_and_a_waiting_pod_goes_first() {
    let lab = lab(vec![Act::Slow(Duration::from_secs(1)); 100]);
    let quiet: Vec<_> = (0..30).map(|i| lab.certs.acquire(&id(&format!("quiet-{i}")))).collect();
    let urgent = lab.certs.acquire(&id("urgent"));
    let begun = Instant::now();
    urgent.wait(HOUR).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(2), "31 fetches of 1 s, 8 at once: {:?}", begun.elapsed());
    for pod in &quiet {
        pod.wait(HOUR).await.unwrap();
    }
    assert_eq!(lab.ca.most.load(Ordering::Relaxed), 8);
}

#[tokio::test(start_paused = true)]
async fn renewals_leave_room_for_a_new_pod() {
    let lab = lab([]);
    let pods: Vec<_> = (0..30).map(|i| lab.certs.acquire(&id(&format!("pod-{i}")))).collect();
    for pod in &pods {
        pod.wait(HOUR).await.unwrap();
    }
    // All fall due together; the CA has become slow.
    lab.plan(&vec![Act::Slow(Duration::from_secs(10)); 31]);
    sleep(12 * HOUR + Duration::from_secs(1)).await;
    let begun = Instant::now();
    lab.certs.acquire(&id("new")).wait(HOUR).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_result_that_nobody_wants_any_more_is_dropped() {
    let lab = lab([Act::Slow(Duration::from_secs(5))]);
    let pod = lab.certs.acquire(&id("cart"));
    sleep(Duration::from_secs(1)).await;
    drop(pod);
    sleep(Duration::from_secs(10)).await;
    assert!(lab.certs.report().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_revoked_certificate_of_ours_is_replaced_at_once() {
    let lab = lab([]);
    let (one, other) = (lab.certs.acquire(&id("cart")), lab.certs.acquire(&id("till")));
    let first = one.wait(HOUR).await.unwrap();
    other.wait(HOUR).await.unwrap();
    assert_eq!(lab.asked(), 2);
    let list = |serials: &[Vec<u8>]| {
        lab.trust.set_revocation(&Revocation::Lists(Arc::new(Lists::parse(&lab.ca.ca.crl(serials)).unwrap())));
    };
    list(&[vec![7, 7]]);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(lab.asked(), 2, "a list of others asks for nothing");
    let revoked = first.serial();
    list(std::slice::from_ref(&revoked));
    sleep(Duration::from_secs(5)).await;
    assert_eq!((lab.asked(), lab.revoked.load(Ordering::Relaxed)), (3, 1), "one identity, once");
    let second = one.certificate().unwrap();
    assert!(first.is_revoked() && !second.is_revoked());

    // A CA that is away meanwhile: the old one stays, and is asked for again as after any failure.
    lab.plan(&[Act::Away, Act::Away]);
    list(&[revoked, second.serial()]);
    sleep(Duration::from_millis(1)).await;
    assert!(one.certificate().unwrap().is_revoked());
    sleep(Duration::from_secs(10)).await;
    assert!(!one.certificate().unwrap().is_revoked());
    // A list that cannot be read says nothing of our own.
    lab.trust.set_revocation(&Revocation::Unknown);
    let before = lab.asked();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(lab.asked(), before);
    assert!(one.certificate().is_ok());
}

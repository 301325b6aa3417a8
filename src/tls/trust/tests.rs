use super::*;
use std::sync::atomic::Ordering;

use rustls::pki_types::CertificateDer;

use crate::tls::fixture::{TestCa, clock, id, serial};
use crate::tls::path::{Of, verify};

fn names(all: &[&str]) -> Vec<Arc<str>> {
    all.iter().map(|name| (*name).into()).collect()
}

fn trust() -> Trust {
    let domains = Domains { aliases: names(&["old.example"]), federated: names(&["partner.example"]) };
    Trust::new(domains, Arc::new(SystemTime::now))
}

fn store(ca: &TestCa) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.root.clone().into()).unwrap();
    Arc::new(roots)
}

#[test]
fn each_domain_has_its_own_roots_and_no_others() {
    let (own, partner) = (TestCa::new(), TestCa::new());
    let (trust, ours) = (trust(), store(&own));
    let roots = |domain| trust.roots("cluster.local", &ours, domain);
    assert!(Arc::ptr_eq(&roots("cluster.local").unwrap(), &ours));
    assert!(Arc::ptr_eq(&roots("old.example").unwrap(), &ours));
    assert!(roots("partner.example").unwrap().is_empty(), "until its bundle has come");
    assert!(roots("else.example").is_none());
    let domain = Arc::from("partner.example");
    trust.set_bundle(&domain, &[vec![1, 2], partner.root.clone()]).unwrap();
    assert_eq!(roots("partner.example").unwrap().roots, store(&partner).roots);
    assert_eq!(trust.set_bundle(&domain, &[vec![1, 2]]), Err(NoRoots));
    assert_eq!(roots("partner.example").unwrap().roots, store(&partner).roots, "what was there stays");
}

#[test]
fn an_alias_is_the_same_domain_and_a_bundle_is_another() {
    let trust = trust();
    let of = |domain: &str| Identity::new(domain, "shop", "cart");
    let same = |one, other| trust.is_same("cluster.local", &of(one), &of(other));
    assert!(same("cluster.local", "old.example") && same("old.example", "cluster.local"));
    assert!(same("partner.example", "partner.example") && same("else.example", "else.example"));
    assert!(!same("cluster.local", "partner.example") && !same("else.example", "cluster.local"));
    assert!(!trust.is_same("cluster.local", &of("cluster.local"), &id("till")));
    assert!(trust.is_foreign(&of("partner.example")));
    assert!(!trust.is_foreign(&of("cluster.local")) && !trust.is_foreign(&of("old.example")));
}

fn proof(ca: &TestCa, expires: SystemTime) -> (Proof, Vec<u8>) {
    let issued = ca.issue(&id("cart"), SystemTime::now(), Duration::from_secs(3600));
    let leaf = CertificateDer::from(issued.chain[0].as_slice());
    let path = verify(Of::Client, &leaf, &[], &store(ca).roots, unix(SystemTime::now()), |_| Ok(())).unwrap();
    (Proof { path, expires, federated: None }, serial(&issued.chain[0]))
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_revocation_hears_of_it_and_of_no_other() {
    let ca = TestCa::new();
    let trust = trust();
    let (proof, number) = proof(&ca, SystemTime::now());
    let set = |serials: &[Vec<u8>]| {
        trust.set_revocation(&Revocation::Lists(Arc::new(Lists::parse(&ca.crl(serials)).unwrap())));
    };
    let mut revoked = Box::pin(trust.revoked(&proof));
    assert!(futures_poll(revoked.as_mut()).await.is_none());
    set(&[vec![77]]);
    assert!(futures_poll(revoked.as_mut()).await.is_none());
    // Nobody knows whom a list names that cannot be read: what lives goes on.
    trust.set_revocation(&Revocation::Unknown);
    assert!(futures_poll(revoked.as_mut()).await.is_none());
    set(std::slice::from_ref(&number));
    assert!(futures_poll(revoked.as_mut()).await.is_some());
    // It was revoked before anybody waited.
    trust.revoked(&proof).await;
    assert!(trust.is_revoked(&proof));
    set(&[]);
    assert!(!trust.is_revoked(&proof), "a list that no longer names it takes that back");
}

#[test]
fn a_root_of_a_bundle_counts_until_it_ends() {
    const HOUR: Duration = Duration::from_secs(3600);
    let (later, clock) = clock();
    let domain: Arc<str> = "partner.example".into();
    let trust = Trust::new(Domains { federated: vec![Arc::clone(&domain)], ..Domains::default() }, clock);
    let (first, second, own) = (TestCa::new(), TestCa::new(), store(&TestCa::new()));
    let count = || trust.roots("cluster.local", &own, &domain).unwrap().len();
    let now = trust.now();
    assert_eq!(trust.set_bundle(&domain, &[first.root_until(now - HOUR)]), Err(NoRoots));
    let roots = [first.root_until(now - HOUR), first.root_until(now + HOUR), second.root_until(now + 2 * HOUR)];
    trust.set_bundle(&domain, &roots).unwrap();
    assert_eq!(count(), 2);
    let mut changes = trust.changes();
    for (hours, left) in [(1, 1), (2, 0)] {
        later.store(hours * 3600 + 1, Ordering::Relaxed);
        assert_eq!((count(), count()), (left, left));
        assert!(changes.has_changed().unwrap(), "findings and tickets are made anew");
        changes.mark_unchanged();
    }
    count();
    assert!(!changes.has_changed().unwrap(), "once for each");
    trust.set_bundle(&domain, &[second.root_until(now + 3 * HOUR)]).unwrap();
    assert_eq!(count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_lives_under_a_root_that_is_taken_out_of_its_bundle_ends() {
    let (old, new) = (TestCa::new(), TestCa::new());
    let domain: Arc<str> = "partner.example".into();
    let trust = trust();
    trust.set_bundle(&domain, std::slice::from_ref(&old.root)).unwrap();
    let (ours, _) = proof(&old, SystemTime::now());
    let proof =
        Proof { federated: trust.federated("cluster.local", &Identity::new("partner.example", "a", "b")), ..ours };
    let mut ended = Box::pin(trust.revoked(&proof));
    assert!(futures_poll(ended.as_mut()).await.is_none());
    trust.set_bundle(&domain, &[new.root.clone(), old.root.clone()]).unwrap();
    assert!(futures_poll(ended.as_mut()).await.is_none(), "a rotation begins");
    assert!(trust.set_bundle(&domain, &[]).is_err());
    assert!(futures_poll(ended.as_mut()).await.is_none());
    trust.set_bundle(&domain, std::slice::from_ref(&new.root)).unwrap();
    assert!(futures_poll(ended.as_mut()).await.is_some());
    assert_eq!(trust.federated("cluster.local", &id("cart")), None, "ours has no bundle");
    assert_eq!(trust.federated("cluster.local", &Identity::new("else.example", "a", "b")), None);
}

async fn futures_poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    tokio::time::timeout(Duration::from_millis(1), future).await.ok()
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_certificate_is_met_also_when_the_clock_is_set() {
    let (later, clock) = clock();
    let trust = Trust::new(Domains::default(), clock);
    let (proof, _) = proof(&TestCa::new(), trust.now() + Duration::from_secs(3600));
    let mut expired = Box::pin(trust.expired(&proof));
    assert!(futures_poll(expired.as_mut()).await.is_none());
    later.store(3601, Ordering::Relaxed);
    let begun = tokio::time::Instant::now();
    expired.await;
    assert!(begun.elapsed() <= MAX_SLEEP);
}

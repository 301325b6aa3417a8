use super::*;
use tempfile::TempDir;

use crate::tls::fixture::TestCa;
use crate::tls::trust::Domains;

struct Lab {
    ca: TestCa,
    directory: TempDir,
    trust: Trust,
}

impl Lab {
    fn new() -> Self {
        let domains = Domains { federated: vec!["partner.example".into()], ..Domains::default() };
        let trust = Trust::new(domains, Arc::new(std::time::SystemTime::now));
        Self { ca: TestCa::new(), directory: TempDir::new().unwrap(), trust }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As a careful writer does it.
    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path("new"), bytes).unwrap();
        fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    fn follow(&self) -> Follower {
        let bundles = vec![(Arc::from("partner.example"), self.path("partner.pem"))];
        Follower::build(&Files { crl: Some(self.path("crl.pem")), bundles }, &self.trust)
    }

    /// What is in force: none, unknown, or the number of certificates that are named.
    fn state(&self) -> String {
        match self.trust.revocation() {
            Revocation::None => "none".to_owned(),
            Revocation::Unknown => "unknown".to_owned(),
            Revocation::Lists(lists) => lists.revoked().to_string(),
        }
    }

    fn list(&self, count: u8) -> Vec<u8> {
        self.ca.crl(&(1..=count).map(|number| vec![number]).collect::<Vec<_>>())
    }
}

#[test]
fn a_list_that_is_not_there_is_read_when_it_comes() {
    let lab = Lab::new();
    let mut follower = lab.follow();
    assert_eq!(lab.state(), "none");
    follower.look();
    lab.put("crl.pem", &lab.list(1));
    follower.look();
    assert_eq!(lab.state(), "1");
    lab.put("crl.pem", &lab.list(2));
    follower.look();
    assert_eq!(lab.state(), "2");
}

#[test]
fn a_list_that_is_broken_at_start_shuts_the_door_and_is_tried_again() {
    let lab = Lab::new();
    lab.put("crl.pem", b"not a list");
    let mut follower = lab.follow();
    assert_eq!(lab.state(), "unknown");
    follower.look();
    assert_eq!(lab.state(), "unknown");
    lab.put("crl.pem", &lab.list(1));
    follower.look();
    assert_eq!(lab.state(), "1");
}

#[test]
fn the_first_list_that_comes_broken_shuts_the_door_until_it_goes() {
    let lab = Lab::new();
    let mut follower = lab.follow();
    lab.put("crl.pem", b"");
    follower.look();
    assert_eq!(lab.state(), "unknown");
    fs::remove_file(lab.path("crl.pem")).unwrap();
    follower.look();
    assert_eq!(lab.state(), "none");
}

#[test]
fn a_list_that_breaks_or_goes_later_stays_in_force() {
    let lab = Lab::new();
    lab.put("crl.pem", &lab.list(1));
    let mut follower = lab.follow();
    assert_eq!(lab.state(), "1");
    for broken in [&b"broken"[..], b""] {
        lab.put("crl.pem", broken);
        follower.look();
        assert_eq!(lab.state(), "1");
    }
    fs::remove_file(lab.path("crl.pem")).unwrap();
    follower.look();
    assert_eq!(lab.state(), "1");
    fs::create_dir(lab.path("crl.pem")).unwrap();
    follower.look();
    assert_eq!(lab.state(), "1");
    fs::remove_dir(lab.path("crl.pem")).unwrap();
    // The same bytes as before: what was seen in between does not count for them.
    lab.put("crl.pem", &lab.list(3));
    follower.look();
    assert_eq!(lab.state(), "3");
}

/// Kubernetes mounts `crl.pem → ..data/crl.pem` and `..data → ..1`, and replaces the second link.
#[test]
fn the_links_of_a_mounted_configmap_are_followed() {
    use std::os::unix::fs::symlink;
    let lab = Lab::new();
    for (version, count) in [("..1", 1), ("..2", 2)] {
        fs::create_dir(lab.path(version)).unwrap();
        fs::write(lab.path(version).join("crl.pem"), lab.list(count)).unwrap();
    }
    symlink("..1", lab.path("..data")).unwrap();
    symlink("..data/crl.pem", lab.path("crl.pem")).unwrap();
    let mut follower = lab.follow();
    assert_eq!(lab.state(), "1");
    symlink("..2", lab.path("..next")).unwrap();
    fs::rename(lab.path("..next"), lab.path("..data")).unwrap();
    follower.look();
    assert_eq!(lab.state(), "2");
}

#[test]
fn nothing_changes_while_the_file_does_not() {
    let lab = Lab::new();
    lab.put("crl.pem", &lab.list(1));
    let mut follower = lab.follow();
    let mut changes = lab.trust.changes();
    changes.mark_unchanged();
    follower.look();
    follower.look();
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn a_bundle_is_read_when_it_comes_and_kept_when_it_breaks() {
    let (lab, partner) = (Lab::new(), TestCa::new());
    let none = Arc::new(rustls::RootCertStore::empty());
    let roots = || lab.trust.roots("cluster.local", &none, "partner.example").unwrap().len();
    let mut follower = lab.follow();
    assert_eq!(roots(), 0);
    let (one, other) = (partner.root.as_slice(), lab.ca.root.as_slice());
    lab.put("partner.pem", crate::tls::encode_certificates([one, other]).as_bytes());
    follower.look();
    assert_eq!(roots(), 2);
    lab.put("partner.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    follower.look();
    assert_eq!(roots(), 2);
    lab.put("partner.pem", crate::tls::encode_certificates([one]).as_bytes());
    follower.look();
    assert_eq!(roots(), 1);
}

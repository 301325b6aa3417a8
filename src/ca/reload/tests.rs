use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber,
};

use super::*;
use crate::tls::pem_certificates;

/// A directory of a CA of its own.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    Root::load_or_create(dir.path(), "cluster.local").unwrap();
    dir
}

fn text(dir: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(name)).unwrap()
}

fn put(dir: &tempfile::TempDir, name: &str, text: &str) {
    let (path, beside) = (dir.path().join(name), dir.path().join("beside"));
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

fn looks(reloader: &mut Reloader) -> Look {
    assert!(matches!(reloader.look(SystemTime::now()), Look::Same), "somebody may still be writing");
    let look = reloader.look(SystemTime::now());
    assert!(matches!(reloader.look(SystemTime::now()), Look::Same), "told once");
    look
}

/// As a mesh changes its root: the new one beside the old one, then the signer, then the old one goes.
#[test]
fn a_root_is_changed_in_three_steps() {
    let (dir, next) = (directory(), directory());
    let (mut reloader, current) = Reloader::open(dir.path(), "cluster.local").unwrap();
    assert!(matches!(reloader.look(SystemTime::now()), Look::Same));
    let signer = |name: &str| text(&next, name);
    let old = text(&dir, "root-cert.pem");

    put(&dir, "root-cert.pem", &(old.clone() + &signer("root-cert.pem")));
    assert!(matches!(looks(&mut reloader), Look::Taken { foreign: false }));
    assert_eq!(current.borrow().roots().len(), 2);

    for name in ["ca-cert.pem", "ca-key.pem", "cert-chain.pem"] {
        put(&dir, name, &signer(name));
    }
    assert!(matches!(looks(&mut reloader), Look::Taken { foreign: false }));

    put(&dir, "root-cert.pem", &signer("root-cert.pem"));
    assert!(matches!(looks(&mut reloader), Look::Taken { foreign: false }));
    assert_eq!(current.borrow().roots(), pem_certificates(signer("root-cert.pem").as_bytes()).unwrap());
}

#[test]
fn what_is_not_whole_or_does_not_fit_is_not_taken() {
    let (dir, other) = (directory(), directory());
    let (mut reloader, current) = Reloader::open(dir.path(), "cluster.local").unwrap();
    let before = current.borrow().roots().to_vec();
    let mut check = |name: &str, new: Option<String>, part: &str| {
        let old = text(&dir, name);
        match new {
            Some(new) => put(&dir, name, &new),
            None => fs::remove_file(dir.path().join(name)).unwrap(),
        }
        let Look::Refused(error) = looks(&mut reloader) else { panic!("{name} was taken") };
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(current.borrow().roots(), before);
        put(&dir, name, &old);
        assert!(matches!(looks(&mut reloader), Look::Taken { .. }), "it is as it was");
    };
    check("ca-key.pem", None, "ca-key.pem is missing");
    check("ca-key.pem", Some(text(&other, "ca-key.pem")), "not the private key");
    check("root-cert.pem", Some(text(&other, "root-cert.pem")), "does not lead to a root");
    check("ca-cert.pem", Some("half a fi".into()), "not a PEM file");
    assert!(fs::read_dir(dir.path()).unwrap().count() >= 4, "and nothing was made in its place");
}

#[test]
fn another_ca_altogether_is_refused_and_a_signer_that_comes_with_its_root_is_warned_of() {
    let (dir, other) = (directory(), directory());
    let (mut reloader, current) = Reloader::open(dir.path(), "cluster.local").unwrap();
    let old = text(&dir, "root-cert.pem");
    for name in FILES {
        put(&dir, name, &text(&other, name));
    }
    let Look::Refused(CaError::RootsReplaced { .. }) = looks(&mut reloader) else { panic!("it was taken") };
    put(&dir, "root-cert.pem", &(text(&other, "root-cert.pem") + &old));
    assert!(matches!(looks(&mut reloader), Look::Taken { foreign: true }));
    assert_eq!(current.borrow().roots().len(), 2);
}

/// A clock that is behind, or a signer that was put there ahead of its time.
#[test]
fn a_signer_that_is_not_valid_yet_is_taken_when_it_is() {
    let (dir, next) = (directory(), tempfile::tempdir().unwrap());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "later");
    params.not_before = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let key = KeyPair::generate().unwrap();
    let later = params.self_signed(&key).unwrap().pem();
    put(&next, "ca-key.pem", &key.serialize_pem());
    let (mut reloader, current) = Reloader::open(dir.path(), "cluster.local").unwrap();
    let own = text(&dir, "root-cert.pem");
    put(&dir, "root-cert.pem", &(own + &later));
    put(&dir, "ca-cert.pem", &later);
    put(&dir, "cert-chain.pem", &later);
    put(&dir, "ca-key.pem", &text(&next, "ca-key.pem"));
    let Look::Refused(CaError::NotYetValid { .. }) = looks(&mut reloader) else { panic!("it is early") };
    let then = SystemTime::now() + std::time::Duration::from_secs(3700);
    assert!(matches!(reloader.look(then), Look::Taken { .. }), "and no file has changed");
    assert!(matches!(reloader.look(then), Look::Same));
    assert_eq!(current.borrow().roots().len(), 2);
}

/// What was right when it was written need not wait for a root that nobody believes any more.
#[test]
fn a_root_that_has_expired_since_is_nobodys_loss() {
    let (dir, next) = (directory(), directory());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let short = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    let own = text(&dir, "root-cert.pem");
    put(&dir, "root-cert.pem", &(own.clone() + &short));
    let (mut reloader, current) = Reloader::open(dir.path(), "cluster.local").unwrap();
    assert_eq!(current.borrow().roots().len(), 2);
    put(&dir, "root-cert.pem", &(own + &text(&next, "root-cert.pem")));
    let Look::Refused(CaError::RootsReplaced { .. }) = looks(&mut reloader) else { panic!("it was taken") };
    // An hour later, and nobody has touched a file.
    let later = SystemTime::now() + std::time::Duration::from_secs(7200);
    assert!(matches!(reloader.look(later), Look::Taken { foreign: false }));
    assert_eq!(current.borrow().roots().len(), 2);
}

#[test]
fn a_signer_that_its_own_list_revokes_does_not_sign() {
    // A root that signs lists, with an intermediate that signs leaves.
    let dir = tempfile::tempdir().unwrap();
    let ca = |name: &str, serial: u64| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(SerialNumber::from(serial));
        params
    };
    let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let root = ca("root", 1).self_signed(&root_key).unwrap();
    let issuer = Issuer::new(ca("root", 1), root_key);
    let signer = ca("signer", 77).signed_by(&key, &issuer).unwrap();
    put(&dir, "root-cert.pem", &root.pem());
    put(&dir, "ca-cert.pem", &signer.pem());
    put(&dir, "cert-chain.pem", &signer.pem());
    put(&dir, "ca-key.pem", &key.serialize_pem());
    let list = |serials: &[u64]| {
        let now = time::OffsetDateTime::now_utc();
        let one = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: now + time::Duration::days(1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(one).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&issuer).unwrap().pem().unwrap()
    };
    let (mut reloader, _current) = Reloader::open(dir.path(), "cluster.local").unwrap();
    put(&dir, CRL, &list(&[5, 78]));
    assert!(matches!(looks(&mut reloader), Look::Taken { .. }));
    put(&dir, CRL, &list(&[5, 77]));
    assert!(matches!(looks(&mut reloader), Look::Refused(CaError::Revoked { .. })));
    put(&dir, CRL, "nonsense");
    assert!(matches!(looks(&mut reloader), Look::Refused(CaError::Crl { .. })));
    assert!(matches!(Reloader::open(dir.path(), "cluster.local"), Err(CaError::Crl { .. })));
}

use super::*;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, PKCS_ECDSA_P384_SHA384};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn made(now: SystemTime) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    Root::load_or_create_at(dir.path(), "cluster.local", now).unwrap();
    dir
}

#[test]
fn a_root_is_made_once_and_kept() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("ca");
    let first = Root::load_or_create(&dir, "cluster.local").unwrap();
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join(CA_KEY)), 0o600);
    assert!(!dir.join(MAKING).exists());
    let again = Root::load_or_create(&dir, "cluster.local").unwrap();
    assert_eq!(first.roots(), again.roots());
    let left = first.not_after().duration_since(SystemTime::now()).unwrap();
    assert!(left > 3649 * DAY && left <= 3650 * DAY);
}

#[test]
fn many_starts_at_once_agree_on_one_root() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("ca");
    let roots: Vec<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| Root::load_or_create(&dir, "cluster.local").unwrap().roots().to_vec());
        let threads: Vec<_> = (0..8).map(|_| start()).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(roots.windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn an_incomplete_set_is_named_and_not_repaired_unless_it_is_ours() {
    for name in FILES {
        let dir = made(SystemTime::now());
        fs::remove_file(dir.path().join(name)).unwrap();
        let error = Root::load_or_create(dir.path(), "cluster.local").unwrap_err();
        assert!(matches!(error, CaError::Incomplete { missing, .. } if missing == name), "{error}");
        assert!(error.to_string().contains(name) && !dir.path().join(name).exists());

        fs::write(dir.path().join(MAKING), "").unwrap();
        Root::load_or_create(dir.path(), "cluster.local").unwrap();
        assert!(!dir.path().join(MAKING).exists());
    }
}

#[test]
fn each_thing_wrong_has_its_own_line() {
    let now = SystemTime::now();
    let check = |spoil: &dyn Fn(&Path), at: SystemTime, kind: &str, file: &str| {
        let dir = made(now);
        spoil(dir.path());
        let error = Root::load_or_create_at(dir.path(), "cluster.local", at).unwrap_err();
        assert!(format!("{error:?}").starts_with(kind), "{kind}: {error:?}");
        assert!(error.to_string().contains(file) && !error.to_string().contains('\n'), "{error}");
    };
    let other = made(now);
    let put = |name: &'static str, text: String| move |dir: &Path| fs::write(dir.join(name), &text).unwrap();
    let foreign = |name: &'static str| put(name, fs::read_to_string(other.path().join(name)).unwrap());

    check(&foreign(CA_KEY), now, "KeyMismatch", CA_KEY);
    check(&foreign(ROOT_CERT), now, "NotAnchored", CERT_CHAIN);
    check(&|_| {}, now + 3651 * DAY, "Expired", ROOT_CERT);
    check(&|_| {}, now - DAY, "NotYetValid", CA_CERT);
    check(&put(CA_KEY, "hello".into()), now, "Pem", CA_KEY);
    check(&put(CA_KEY, encode_key(b"nonsense")), now, "Key ", CA_KEY);
    check(&put(CA_CERT, String::new()), now, "Pem", CA_CERT);
    check(&put(CA_CERT, encode_certificates([&b"nonsense"[..]])), now, "Pem", CA_CERT);
    check(&put(ROOT_CERT, "-----BEGIN CERTIFICATE-----\n".into()), now, "Pem", ROOT_CERT);
    check(&put(CERT_CHAIN, "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----".into()), now, "Pem", CERT_CHAIN);
    check(&put(ROOT_CERT, "x".repeat(MAX_PEM + 1)), now, "Pem", ROOT_CERT);
    let leaf = |dir: &Path| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.not_before = (now - DAY).into();
        params.not_after = (now + DAY).into();
        let cert = params.self_signed(&key).unwrap();
        fs::write(dir.join(CA_CERT), cert.pem()).unwrap();
        fs::write(dir.join(CA_KEY), key.serialize_pem()).unwrap();
    };
    check(&leaf, now, "NotACa", CA_CERT);
}

/// Root → intermediate, as a company that plugs its own CA in would have it.
#[test]
fn an_intermediate_with_another_kind_of_key_works_and_is_sent() {
    let now = SystemTime::now();
    let dir = tempfile::tempdir().unwrap();
    let name = |text: &str| {
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "Example Ltd");
        name.push(DnType::CommonName, text);
        name
    };
    let ca = |text: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(text);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let root_key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let root = ca("root").self_signed(&root_key).unwrap();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let intermediate = ca("node").signed_by(&key, &Issuer::new(ca("root"), root_key)).unwrap();
    for (name, text) in [
        (ROOT_CERT, root.pem()),
        (CA_CERT, intermediate.pem()),
        (CA_KEY, key.serialize_pem()),
        (CERT_CHAIN, intermediate.pem() + &root.pem()),
    ] {
        fs::write(dir.path().join(name), text).unwrap();
    }
    // Mode 0644, as a mounted secret has: a warning and not an error.
    let authority = Root::load_or_create_at(dir.path(), "cluster.local", now).unwrap();
    let issued = authority.issue(&Identity::new("cluster.local", "a", "b"), DEFAULT_TTL, now).unwrap();
    assert_eq!(issued.chain[1..], [intermediate.der().to_vec()]);
    assert_eq!(issued.roots, [root.der().to_vec()]);
}

use super::*;

use std::time::Duration;

use crate::tls::encode_certificates;
use crate::tls::fixture::TestCa;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn roots_end_by_the_clock_also_when_their_file_stays() {
    let (old, new) = (TestCa::new(), TestCa::new());
    let now = SystemTime::now();
    let (first, second) = (old.root_until(now + HOUR), new.root_until(now + 3 * HOUR));
    let text = encode_certificates([first.as_slice(), &second]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("roots");
    std::fs::write(&path, text).unwrap();
    let roots = Roots::new(RootSource::File(path.clone()), now).unwrap();
    let both = roots.read(now).unwrap();
    assert_eq!(both.roots().ders().len(), 2);
    assert!(roots.read(now).unwrap() == both);
    let one = roots.read(now + 2 * HOUR).unwrap();
    assert_eq!(one.roots().ders(), [second]);
    // The last reading is kept while a root of it holds, and no longer.
    std::fs::remove_file(&path).unwrap();
    assert!(roots.read(now + 2 * HOUR).unwrap() == one);
    assert!(roots.lock().broken);
    assert!(matches!(roots.read(now + 4 * HOUR), Err(TrustError::Read { .. })));
}

#[test]
fn a_bundle_with_one_bad_root_is_used() {
    let ca = TestCa::new();
    let bad = "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n";
    let roots = Roots::new(RootSource::Pem(format!("{bad}{}{bad}", ca.pem())), SystemTime::now()).unwrap();
    assert_eq!(roots.read(SystemTime::now()).unwrap().roots().ders(), std::slice::from_ref(&ca.root));
    for (text, pem) in [(String::new(), false), (bad.to_owned(), false), (" ".repeat(MAX_PEM + 1), true)] {
        let error = Roots::new(RootSource::Pem(text), SystemTime::now()).err().unwrap();
        assert_eq!(matches!(error, TrustError::Pem { .. }), pem, "{error}");
    }
}

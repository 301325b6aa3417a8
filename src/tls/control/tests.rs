use super::*;

use std::time::SystemTime;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use crate::tls::fixture::TestCa;

async fn meet(ca: &TestCa, names: &[&str], host: &str, also: Option<&str>) -> Result<(), TlsError> {
    let roots = TrustedRoots::of(std::slice::from_ref(&ca.root), SystemTime::now()).unwrap();
    let connector = ControlConnector::new(&roots, host, also).unwrap();
    let (near, far) = duplex(64 << 10);
    let server = ca.server(names);
    let accept = async {
        let mut stream = server.accept(far).await?;
        stream.write_all(b"!").await?;
        stream.flush().await
    };
    let connect = async {
        let mut stream = connector.connect(near).await?;
        stream.read_u8().await.map_err(TlsError::from_io).map(drop)
    };
    tokio::join!(accept, connect).1
}

#[tokio::test(start_paused = true)]
async fn a_server_is_one_of_the_names_that_are_accepted() {
    let ca = TestCa::new();
    for (names, host, also, good) in [
        (&["istiod.test"][..], "istiod.test", None, true),
        (&["istiod.test"], "ISTIOD.test.", None, true),
        (&["other", "istiod.test"], "istiod.test", None, true),
        (&["*.system.test"], "istiod.system.test", None, true),
        (&["*.system.test"], "a.istiod.system.test", None, false),
        (&["istiod.other"], "istiod.test", None, false),
        (&["istiod.other"], "istiod.test", Some("istiod.other"), true),
        (&["10.0.0.1"], "10.0.0.1", None, true),
        (&["2001:db8::1"], "2001:db8::1", None, true),
        (&["10.0.0.2"], "10.0.0.1", None, false),
        (&["istiod.test"], "10.0.0.1", None, false),
        (&["istiod.test"], "10.0.0.1", Some("istiod.test"), true),
    ] {
        match meet(&ca, names, host, also).await {
            Ok(()) => assert!(good, "{names:?} is not {host}"),
            Err(TlsError::WrongName { expected }) => assert!(!good && expected[0] == host, "{names:?} is {host}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_of_another_root_is_not_believed() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let roots = TrustedRoots::of(std::slice::from_ref(&other.root), SystemTime::now()).unwrap();
    let connector = ControlConnector::new(&roots, "istiod.test", None).unwrap();
    let (near, far) = duplex(64 << 10);
    let server = ca.server(&["istiod.test"]);
    let (_, connected) = tokio::join!(server.accept(far), connector.connect(near));
    assert!(matches!(connected.err(), Some(TlsError::UnknownRoot)));
}

#[test]
fn what_no_certificate_can_name_is_refused() {
    for name in ["", "a b", "-", "a..b", "[::1]"] {
        assert_eq!(ControlConnector::check_name(name), Err(ControlNameError { name: name.to_owned() }));
    }
}

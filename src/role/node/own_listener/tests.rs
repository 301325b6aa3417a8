use super::*;
use crate::mesh::{State, channel};
use crate::model::name::NamespacedName;
use crate::model::spiffe::Identity;
use crate::model::workload::Workload;

const UID: &str = "Kubernetes//Pod/istio-system/ztunnel-abcde";

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn record(uid: &str, name: &str, addresses: &[&str], host_network: bool) -> Workload {
    Workload {
        uid: uid.into(),
        name: name.into(),
        namespace: "istio-system".into(),
        addresses: ips(addresses),
        host_network,
        ..Workload::default()
    }
}

#[test]
fn only_addresses_that_are_here_and_told_are_its_own() {
    let inside = ips(&["127.0.0.1", "::1", "fe80::1", "169.254.0.1", "10.0.0.9", "fd00::9", "172.17.0.1"]);
    let check = |told: Option<&str>, records: Vec<Workload>, expected: &[&str]| {
        let (mut writer, reader) = channel();
        writer.replace(State { workloads: records.clone(), ..State::default() });
        let own = OwnWorkload {
            key: NamespacedName::new("istio-system", "ztunnel-abcde"),
            identity: Identity::new("cluster.local", "istio-system", "ztunnel"),
            uid: UID.into(),
            addresses: told.map(|told| told.parse().unwrap()).into_iter().collect(),
        };
        assert_eq!(own_addresses(&inside, &own, "", &reader.view()), ips(expected), "{told:?} {records:?}");
    };
    let both = || record(UID, "ztunnel-abcde", &["10.0.0.9", "fd00::9"], false);
    check(Some("10.0.0.9"), vec![], &["10.0.0.9"]);
    check(Some("::ffff:10.0.0.9"), vec![], &["10.0.0.9"]);
    check(Some("10.0.0.9"), vec![both()], &["10.0.0.9", "fd00::9"]);
    check(Some("10.0.0.9"), vec![record("other", "ztunnel-abcde", &["fd00::9"], false)], &["10.0.0.9", "fd00::9"]);
    check(Some("10.0.0.9"), vec![record("other", "other", &["fd00::9"], false)], &["10.0.0.9"]);
    // A record of the host's network is found by its uid alone.
    check(Some("10.0.0.9"), vec![record(UID, "ztunnel-abcde", &["fd00::9"], true)], &["10.0.0.9", "fd00::9"]);
    check(None, vec![], &["10.0.0.9", "172.17.0.1", "fd00::9"]);
    // Nobody's word makes another's address, or a loopback's, one of ours.
    check(Some("10.0.0.8"), vec![], &[]);
    check(Some("127.0.0.1"), vec![record(UID, "ztunnel-abcde", &["127.0.0.1", "::1", "10.0.0.7"], false)], &[]);
}

/// The mesh or the certificate never comes: the other process has left the port, and this one must not hold it.
#[tokio::test(start_paused = true)]
async fn what_was_handed_over_and_cannot_be_served_is_closed() {
    if !crate::sys::kernel_tests::may_run("a listener that was handed over and is not served") {
        return;
    }
    let listener = crate::sys::socket::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    let handed = Mutex::new(Handed::new(vec![listener.into()], Netns::own().unwrap().id()).unwrap());
    let (begin, is_open) = (CancellationToken::new(), || std::net::TcpStream::connect(at).is_ok());
    let looks = async {
        tokio::time::sleep(10 * UNSERVED).await;
        assert!(is_open(), "the process before this one serves it");
        begin.cancel();
        tokio::time::sleep(UNSERVED - LOOK).await;
        assert!(is_open(), "this one has a moment");
        tokio::time::sleep(2 * LOOK).await;
        assert!(!is_open(), "refused, and not left to wait");
    };
    tokio::select! {
        () = looks => {}
        never = let_go(&handed, &begin) => match never {},
    }
    assert!(take(&handed).is_empty());
}

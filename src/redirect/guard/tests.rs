use super::*;

const fn id(inode: u64) -> NetnsId {
    NetnsId { device: 4, inode }
}

#[test]
fn a_namespace_is_admitted_by_an_address_of_the_pod() {
    let check = |host: Option<u64>, own: u64, inside: &[&str], pod: &[&str]| {
        let parse = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
        let (inside, pod) = (parse(inside), parse(pod));
        admit(&Facts { host: host.map(id), inside, own: id(own), pod, target: id(1) })
    };
    let none = |pod: &[&str]| Refusal::NoAddress { pod: pod.iter().map(|a| a.parse().unwrap()).collect() };
    assert_eq!(check(None, 2, &["127.0.0.1", "10.0.0.5"], &["10.0.0.5"]), Ok(()));
    assert_eq!(check(Some(3), 2, &["10.0.0.5"], &["fd00::5", "10.0.0.5"]), Ok(()));
    assert_eq!(check(Some(3), 2, &["10.0.0.5"], &["::ffff:10.0.0.5"]), Ok(()), "mapped");
    assert_eq!(check(Some(1), 2, &["10.0.0.5"], &["10.0.0.5"]), Err(Refusal::Host));
    assert_eq!(check(Some(1), 1, &["10.0.0.5"], &["10.0.0.5"]), Err(Refusal::Host), "both: the host's is named");
    assert_eq!(check(None, 1, &["10.0.0.5"], &["10.0.0.5"]), Err(Refusal::Own));
    assert_eq!(check(None, 2, &["10.0.0.5"], &[]), Err(Refusal::NoPodAddress));
    assert_eq!(check(None, 2, &["10.0.0.6"], &["10.0.0.5"]), Err(none(&["10.0.0.5"])));
    assert_eq!(check(None, 2, &["127.0.0.1"], &["127.0.0.1"]), Err(none(&["127.0.0.1"])), "proves nothing");
}

#[test]
fn the_device_tells_namespaces_of_equal_inodes_apart() {
    let target = id(1);
    let other = NetnsId { device: 5, inode: 1 };
    let address: IpAddr = "10.0.0.5".parse().unwrap();
    let facts = Facts { host: Some(other), inside: vec![address], own: other, pod: vec![address], target };
    assert_eq!(admit(&facts), Ok(()));
}

#[test]
fn one_namespace_has_one_pod_at_a_time() {
    let claims = Claims::new();
    let first = claims.claim(id(1), "a").unwrap();
    assert_eq!((first.namespace(), first.pod()), (id(1), "a"));
    let refusal = claims.clone().claim(id(1), "b").unwrap_err();
    assert_eq!(refusal, Refusal::Claimed { asker: "b".into(), holder: "a".into() });
    let _other = claims.claim(id(2), "b").unwrap();
    drop(first);
    assert!(claims.claim(id(1), "b").is_ok());
}

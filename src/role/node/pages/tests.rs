use std::collections::BTreeMap;

use super::*;
use crate::config::drop_in::DropIn;
use crate::config::env::Environment;
use crate::config::raw::Effective;
use crate::config::table::NODE;
use crate::sys::{kernel_tests, named_netns};

fn settings(drop_in: bool, pairs: &[(&'static str, &str)]) -> NodeSettings {
    let mut flags = BTreeMap::from([("manifests", "m".to_owned()), ("node", "a".to_owned())]);
    flags.extend(pairs.iter().map(|(key, value)| (*key, (*value).to_owned())));
    let effective = Effective::resolve(NODE, &flags, &Environment::default(), None).unwrap();
    NodeSettings::build(&effective, drop_in.then(DropIn::default)).unwrap()
}

#[test]
fn in_ztunnels_place_the_admin_pages_are_on_both_loopback_addresses() {
    let at = |drop_in, pairs: &[_], ipv6| beside(&settings(drop_in, pairs), ipv6).map(|address| address.to_string());
    assert_eq!(at(true, &[], true).as_deref(), Some("[::1]:15000"));
    assert_eq!(at(true, &[("admin-address", "127.0.0.1:7")], true).as_deref(), Some("[::1]:7"));
    assert_eq!(at(true, &[], false), None, "IPv6 is off on loopback");
    assert_eq!(at(true, &[("ipv6", "false")], true), None, "nothing of ours has IPv6");
    assert_eq!(at(true, &[("admin-address", "10.0.0.1:7")], true), None, "somebody said where");
    assert_eq!(at(false, &[], true), None, "culvert node has one address");
}

#[test]
fn the_kernel_says_whether_loopback_has_ipv6() {
    if !kernel_tests::may_run("admin pages on both loopback addresses") {
        return;
    }
    let name = format!("culvert-t-pages-{}", std::process::id());
    let netns = named_netns::create(&name).unwrap();
    let bound = || {
        let settings = settings(true, &[]);
        let ports = netns.run(move || Ports::bind(&settings, false)).unwrap().unwrap();
        let [admin, metrics, ready] = &ports.0;
        assert_eq!((metrics.len(), ready.len()), (1, 1));
        let address = |port: &Port| match port {
            Port::Bound(listener) => listener.local_addr().unwrap().to_string(),
            awaited @ Port::Awaited { .. } => panic!("{awaited:?}"),
        };
        admin.iter().map(address).collect::<Vec<_>>()
    };
    sysctl::set(&netns, "ipv6/conf/lo/disable_ipv6", "0").unwrap();
    assert_eq!(bound(), ["127.0.0.1:15000", "[::1]:15000"]);
    sysctl::set(&netns, "ipv6/conf/lo/disable_ipv6", "1").unwrap();
    assert_eq!(bound(), ["127.0.0.1:15000"]);
    sysctl::set(&netns, "ipv6/conf/lo/disable_ipv6", "0").unwrap();
    let taken = netns.run(|| TcpListener::bind("[::1]:15000")).unwrap().unwrap();
    let settings = settings(true, &[]);
    let error = netns.run(move || Ports::bind(&settings, false).map(drop)).unwrap().unwrap_err();
    assert!(format!("{error:#}").contains("cannot listen on [::1]:15000"), "{error:#}");
    assert!(format!("{error:#}").contains("choose another with CULVERT_ADMIN_ADDRESS"), "there is no flag: {error:#}");
    drop(taken);
    named_netns::delete(&name).unwrap();
}

/// Probes and scrapes of either family, also where the machine's default is one family a socket.
#[test]
fn the_wildcard_address_of_ipv6_takes_ipv4_whatever_the_namespace_says() {
    if !kernel_tests::may_run("pages at the wildcard address of IPv6") {
        return;
    }
    let name = format!("culvert-t-pages6-{}", std::process::id());
    let netns = named_netns::create(&name).unwrap();
    let up = crate::sys::exec::Program::new("ip", &["link", "set", "lo", "up"]);
    netns.run(move || up.run()).unwrap().unwrap();
    for setting in ["0", "1"] {
        sysctl::set(&netns, "ipv6/bindv6only", setting).unwrap();
        let settings = settings(false, &[("metrics-address", "[::]:15020"), ("ready-address", "[::]:15021")]);
        let ports = netns.run(move || Ports::bind(&settings, false)).unwrap().unwrap();
        for at in ["127.0.0.1:15020", "127.0.0.1:15021", "[::1]:15021", "127.0.0.1:15000"] {
            let connected = netns.run(move || std::net::TcpStream::connect(at)).unwrap();
            connected.unwrap_or_else(|error| panic!("bindv6only={setting}, {at}: {error}"));
        }
        drop(ports);
    }
    named_netns::delete(&name).unwrap();
}

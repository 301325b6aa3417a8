use super::*;
use crate::sys::kernel_tests;
use proptest::prelude::*;

fn answer(payload: Vec<u8>) -> Message {
    Message { kind: RTM_NEWLINK, flags: 0, sequence: 1, payload }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[test]
fn names_that_no_link_can_have_are_refused() {
    for (name, good) in [
        ("eth0", true),
        ("a", true),
        ("exactly-15-byte", true),
        ("sixteen-bytes-ab", false),
        ("", false),
        (".", false),
        ("..", false),
        ("a/b", false),
        ("a:b", false),
        ("a b", false),
        ("a\n", false),
        ("é", false),
    ] {
        assert_eq!(checked(name).is_ok(), good, "{name:?}");
    }
}

#[test]
fn a_route_through_a_gateway_is_onlink_and_one_without_is_not() {
    let route = |to: &str, via: Option<&str>, source: Option<&str>| LinkRoute {
        to: to.parse().unwrap(),
        via: via.map(|via| via.parse().unwrap()),
        link: "eth0",
        source: source.map(|source| source.parse().unwrap()),
    };
    let default = route_message(7, &route("0.0.0.0/0", Some("169.254.1.1"), None));
    assert_eq!(default.header.destination_prefix_length, 0);
    assert_eq!(default.header.flags, RouteFlags::Onlink);
    assert_eq!(default.header.scope, RouteScope::Universe);
    assert_eq!(
        default.attributes,
        [RouteAttribute::Oif(7), RouteAttribute::Gateway(RouteAddress::Inet(Ipv4Addr::new(169, 254, 1, 1)))]
    );
    let pod = route_message(3, &route("fd88:0:0:1::10/128", None, Some("fd88::1")));
    assert_eq!(pod.header.flags, RouteFlags::empty());
    assert_eq!(pod.header.scope, RouteScope::Link);
    assert_eq!(
        pod.attributes,
        [
            RouteAttribute::Oif(3),
            RouteAttribute::Destination(RouteAddress::Inet6("fd88:0:0:1::10".parse().unwrap())),
            RouteAttribute::PrefSource(RouteAddress::Inet6("fd88::1".parse().unwrap())),
        ]
    );
}

#[test]
fn only_the_gateways_address_is_of_link_scope() {
    let scope = |address: &str| address_message(2, address.parse().unwrap()).header.scope;
    assert_eq!(scope("169.254.1.1/32"), AddressScope::Link);
    assert_eq!(scope("10.88.1.10/32"), AddressScope::Universe);
    let v6 = address_message(2, "fe80::1/64".parse().unwrap());
    assert_eq!(v6.header.flags, AddressHeaderFlags::Nodad);
}

#[test]
fn the_namespace_of_this_process_lists_its_loopback() {
    if !kernel_tests::may_run("links of a namespace") {
        return;
    }
    let mut links = Links::open(&Netns::own().unwrap()).unwrap();
    assert!(links.names().unwrap().contains(&"lo".to_string()));
    assert_eq!(links.index("lo").unwrap(), 1);
}

#[test]
fn a_missing_link_is_named_with_its_namespace() {
    if !kernel_tests::may_run("links of a namespace") {
        return;
    }
    let mut links = Links::open(&Netns::own().unwrap()).unwrap();
    let error = links.index("no-such-link").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no-such-link") && text.contains("/ns/net"), "{text}");
    let LinkError::Refused { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.errno(), Some(nix::libc::ENODEV));
}

proptest! {
    #[test]
    fn any_bytes_give_a_name_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        let answer = answer(bytes);
        let _name = name_in(&answer);
        let _index = index_in(&answer);
    }

    #[test]
    fn a_name_is_found_behind_other_attributes(
        before in proptest::collection::vec((4u16..60, proptest::collection::vec(any::<u8>(), 0..20)), 0..5),
        name in "[a-z0-9-]{1,15}",
    ) {
        let mut payload = vec![0; IFINFOMSG];
        for (kind, value) in before {
            payload.extend(attribute(kind, &value));
        }
        payload.extend(attribute(IFLA_IFNAME, format!("{name}\0").as_bytes()));
        prop_assert_eq!(name_in(&answer(payload)), Some(name));
    }
}

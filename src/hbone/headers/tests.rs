use super::*;
use proptest::prelude::*;

fn full() -> Baggage {
    Baggage {
        cluster: "c1".into(),
        namespace: "shop".into(),
        workload: Some((WorkloadKind::Deployment, "cart".into())),
        service: "cart".into(),
        revision: "v1".into(),
        region: "r".into(),
        zone: "z".into(),
    }
}

#[test]
fn baggage_has_istio_s_order() {
    let text = "k8s.cluster.name=c1,k8s.namespace.name=shop,k8s.deployment.name=cart,service.name=cart,\
                service.version=v1,cloud.region=r,cloud.availability_zone=z";
    assert_eq!(full().format(), text);
    assert_eq!(Baggage::parse([text.as_bytes()]), full());
    assert_eq!(Baggage::default().format(), "");
}

#[test]
fn baggage_reads_what_it_can() {
    let check = |headers: &[&str], namespace: &str, service: &str| {
        let baggage = Baggage::parse(headers.iter().map(|h| h.as_bytes()));
        assert_eq!((&*baggage.namespace, &*baggage.service), (namespace, service), "{headers:?}");
    };
    check(&["k8s.namespace.name=a", "service.name=b"], "a", "b");
    check(&["k8s.namespace.name=a,k8s.namespace.name=b"], "a", "");
    check(&[" k8s.namespace.name = a ;p=1, x=y,service.name=,=,,"], "a", "");
    check(&["k8s.namespace.name=\u{e9}", "service.name=b"], "", "b");
    check(&[&format!("k8s.namespace.name={}", "a".repeat(254))], "", "");
    check(&[&format!("{}k8s.namespace.name=a", ",".repeat(MAX_HEADER))], "", "");
    check(&["service.name=a=b"], "", "a=b");
}

#[test]
fn forwarded_names_client_and_service() {
    let check = |text: &str, client: Option<&str>, host: Option<&str>| {
        let forwarded = Forwarded::parse(text.as_bytes());
        assert_eq!(forwarded.client, client.map(|c| c.parse().unwrap()), "{text}");
        assert_eq!(forwarded.host.as_deref(), host, "{text}");
    };
    check("for=\"10.0.0.1:80\";host=a.b.svc", Some("10.0.0.1:80"), Some("a.b.svc"));
    check("For=\"[::1]:80\"; Host=\"a.b\"", Some("[::1]:80"), Some("a.b"));
    check("for=\"10.0.0.1:80\"", Some("10.0.0.1:80"), None);
    check("for=unknown;host=", None, None);
    check("host=a;host=b, host=c", None, Some("a"));
    check("for=10.0.0.1:99999;host=a b", None, None);
    check("", None, None);
    check("host=\u{e9}", None, None);
    let forwarded = Forwarded { client: Some("[::1]:80".parse().unwrap()), host: Some("a.b".into()) };
    assert_eq!(forwarded.format().unwrap(), "for=\"[::1]:80\";host=a.b");
    assert_eq!(Forwarded::default().format(), None);
}

#[test]
fn traceparent_is_version_zero_only() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(TraceParent::parse(good.as_bytes()).unwrap().format(), good);
    for bad in [
        "",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
        // 55 bytes with too few fields.
        "0000af7651916cd43dd8448eb211c80319c0b7ad6b71692033310010",
        "00-0af7651916cd43dd8448eb211c80319c0b7ad6b7169203331-001",
    ] {
        assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn names_never_add_an_entry_and_always_fit_a_header(names in proptest::array::uniform6(".{0,40}"), kind in 0usize..4) {
        let [cluster, namespace, workload, service, revision, region] = names.map(Arc::<str>::from);
        let workload = (!workload.is_empty()).then_some((WorkloadKind::ALL[kind], workload));
        let baggage = Baggage { cluster, namespace, workload, service, revision, region, zone: "z".into() };
        let text = baggage.format();
        prop_assert!(http::HeaderValue::try_from(&text).is_ok());
        let said = [&baggage.cluster, &baggage.namespace, &baggage.service, &baggage.revision, &baggage.region];
        let entries = said.iter().filter(|s| !s.is_empty()).count() + usize::from(baggage.workload.is_some()) + 1;
        prop_assert_eq!(text.split(',').count(), entries);
        let back = Baggage::parse([text.as_bytes()]);
        prop_assert_eq!(back.format(), text);
        prop_assert_eq!(&*back.zone, "z");
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        drop(Baggage::parse([&bytes[..]]));
        let forwarded = Forwarded::parse(&bytes);
        if let Some(text) = forwarded.format() {
            prop_assert_eq!(Forwarded::parse(text.as_bytes()), forwarded);
        }
        prop_assert!(TraceParent::parse(&bytes).is_none_or(|it| it.format().as_bytes() == bytes));
    }

    #[test]
    fn traceparent_survives(trace in any::<[u8; 16]>(), parent in any::<[u8; 8]>(), flags in any::<u8>()) {
        prop_assume!(trace != [0; 16] && parent != [0; 8]);
        let it = TraceParent { trace, parent, flags };
        prop_assert_eq!(TraceParent::parse(it.format().as_bytes()), Some(it));
    }

    #[test]
    fn near_misses_of_traceparent_never_panic(text in "[0-9a-f-]{55}") {
        if let Some(it) = TraceParent::parse(text.as_bytes()) {
            prop_assert_eq!(it.format(), text);
        }
    }

    #[test]
    fn forwarded_survives(ip in any::<std::net::IpAddr>(), port in 1u16.., host in "[a-z.-]{1,40}") {
        let it = Forwarded { client: Some(SocketAddr::new(ip.to_canonical(), port)), host: Some(host.into()) };
        prop_assert_eq!(Forwarded::parse(it.format().unwrap().as_bytes()), it);
    }
}

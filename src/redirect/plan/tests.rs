use super::*;

fn input(change: impl FnOnce(&mut PlanInput)) -> PlanInput {
    let mut input = PlanInput::default();
    change(&mut input);
    input
}

fn redirects(plan: &Plan) -> Vec<(&'static str, u16)> {
    let rules = plan.chains.iter().flat_map(|chain| &chain.rules);
    let ports = rules.filter_map(|rule| match rule.action {
        Action::Redirect(port) => Some((rule.name, port)),
        _ => None,
    });
    ports.collect()
}

#[test]
fn every_redirect_is_of_first_packets_only() {
    let all = input(|i| i.virtual_interfaces = vec!["tap0".parse().unwrap()]);
    let plan = plan(&all);
    assert_eq!(
        redirects(&plan),
        [("redirect-virtual", 15001), ("redirect-inbound", 15006), ("redirect-outbound", 15001)]
    );
    // UDP has no first packet to be told by; its rule is in the test of DNS.
    for rule in plan.chains.iter().flat_map(|chain| &chain.rules) {
        if matches!(rule.action, Action::Redirect(_)) {
            assert!(rule.matches.contains(&Match::FirstSyn), "{rule:?}");
        }
    }
}

#[test]
fn dns_is_redirected_before_what_else_the_pod_dials() {
    let with = plan(&input(|i| i.dns = Some(15053)));
    let found = redirects(&with);
    assert_eq!(
        found,
        [
            ("redirect-inbound", 15006),
            ("redirect-dns-udp", 15053),
            ("redirect-dns-tcp", 15053),
            ("redirect-outbound", 15001)
        ]
    );
    let rules = || with.chains.iter().flat_map(|chain| &chain.rules);
    let zone = rules().find(|rule| rule.name == "zone-dns").expect("the daemon's own questions have their zone");
    assert!(zone.matches.contains(&Match::Mark(DAEMON_MARK)), "{zone:?}");
    assert!(redirects(&with.withdrawn()).is_empty(), "a pod that leaves asks its servers itself");
    let elsewhere = redirects(&plan(&input(|i| i.dns = Some(5353))));
    assert_eq!(elsewhere[1..3], [("redirect-dns-udp", 5353), ("redirect-dns-tcp", 5353)], "where it listens");
}

#[test]
fn an_ingress_is_captured_outbound_only() {
    assert_eq!(redirects(&plan(&input(|i| i.capture_inbound = false))), [("redirect-outbound", 15001)]);
}

#[test]
fn the_cgroup_joins_the_mark_wherever_the_daemon_is_exempt() {
    let cgroup = CgroupMatch { id: 9, level: 2, path: "a/b".into() };
    let with = plan(&input(|i| i.cgroup = Some(cgroup.clone())));
    assert!(with.matches_cgroup() && !plan(&PlanInput::default()).matches_cgroup());
    for rule in with.chains.iter().flat_map(|chain| &chain.rules) {
        let mark = rule.matches.contains(&Match::Mark(DAEMON_MARK));
        assert_eq!(mark, rule.matches.contains(&Match::Cgroup(cgroup.clone())), "{rule:?}");
    }
}

#[test]
fn a_withdrawn_plan_keeps_hooks_and_marks() {
    let before = plan(&PlanInput::default());
    let after = before.clone().withdrawn();
    assert!(redirects(&after).is_empty());
    assert_eq!(before.chains.len(), after.chains.len());
    for (old, new) in before.chains.iter().zip(&after.chains) {
        assert_eq!((old.name, old.kind), (new.name, new.kind));
        assert!(old.kind == ChainKind::Nat || old.rules == new.rules, "{}", old.name);
    }
}

#[test]
fn interface_names() {
    for good in ["eth0", "tap-1.2_3", "a", "fifteen-letters"] {
        assert_eq!(good.parse::<InterfaceName>().unwrap().as_str(), good);
    }
    for bad in ["", "sixteen-letters-", "a b", "a/b", "tap+", "-j", "eth0\n", "..", "é"] {
        let error = bad.parse::<InterfaceName>().unwrap_err();
        assert!(error.to_string().contains("no interface name"), "{bad}");
    }
}

//! The default back end against what `nft` says of the same kernel.

use super::lab::{can_run, feed, lab, pod_addresses, run, state};
use crate::redirect::goldens::{cases, compare_listing};
use crate::redirect::plan::{Families, PlanInput, plan};
use crate::redirect::{Backend, Change, Nftables, Redirector, Verdict, families, sweep};
use crate::sys::netns::Netns;

#[test]
fn applied_twice_is_the_same_and_what_nft_lists() {
    if !can_run() {
        return;
    }
    for (name, input) in cases() {
        if input.cgroup.is_some() {
            continue; // nft shows the path of a cgroup that must exist
        }
        let netns = Netns::fresh().unwrap();
        let version = run(&netns, "nft --version");
        let plan = plan(&input);
        assert_eq!(Nftables.apply(&netns, &plan).unwrap(), Change::Laid);
        let listed = run(&netns, "nft -nn list table inet culvert");
        // Handles tell whether anything was written again.
        let handles = run(&netns, "nft -nn -a list table inet culvert");
        assert_eq!(Nftables.apply(&netns, &plan).unwrap(), Change::None);
        assert_eq!(run(&netns, "nft -nn -a list table inet culvert"), handles);
        assert_eq!(Nftables.verify(&netns, &plan).unwrap(), Verdict::Same);
        compare_listing(&format!("{name}.nft-list"), &version, &listed);
        Nftables.withdraw(&netns).unwrap();
        assert_eq!(Nftables.verify(&netns, &plan.clone().withdrawn()).unwrap(), Verdict::Same);
        if name == "default" {
            let listed = run(&netns, "nft -nn list table inet culvert");
            compare_listing("default_withdrawn.nft-list", &version, &listed);
        }
    }
}

#[test]
fn a_foreign_hand_is_noticed_and_healed() {
    let Some(lab) = lab() else { return };
    let redirector = Redirector::new(std::sync::Arc::new(Nftables)).unwrap();
    let plan = plan(&PlanInput::default());
    let addresses = pod_addresses();
    assert_eq!(redirector.lay(lab.target(&addresses), &plan).unwrap().change(), Change::Laid);
    let laid = state(&lab.pod);
    for (line, expected) in [
        ("nft flush chain inet culvert output", "chain output has 0 rules instead of 3"),
        ("nft add rule inet culvert output tcp dport 1 accept", "chain output has 4 rules instead of 3"),
        ("nft insert rule inet culvert mark_output accept", "chain mark_output has 3 rules instead of 2"),
        ("nft add chain inet culvert extra", "chain extra is not of the plan"),
        ("nft add table inet culvert { flags dormant ; }", "the table has flags 0x1"),
        ("nft delete table inet culvert", "there is no table of ours"),
        ("ip rule del pref 32764", "the IPv4 routing rule that leads to table 100 is missing"),
        ("ip -6 route flush table 100", "the IPv6 route of table 100 is missing"),
    ] {
        run(&lab.pod, line);
        let Verdict::Differs(differences) = redirector.verify(&lab.pod, &plan).unwrap() else {
            panic!("{line}: not noticed")
        };
        assert_eq!(differences.iter().map(ToString::to_string).next().unwrap(), expected, "{line}");
        let again = redirector.lay(lab.target(&addresses), &plan).unwrap();
        assert_ne!(again.change(), Change::None, "{line}");
        assert_eq!(state(&lab.pod), laid, "{line}");
        assert_eq!(redirector.lay(lab.target(&addresses), &plan).unwrap().change(), Change::None, "{line}");
    }
    assert!(run(&lab.pod, "ip rule").contains("proto 117"), "rules say whose they are");
}

#[test]
fn removal_and_sweep_leave_what_was_there() {
    let Some(lab) = lab() else { return };
    feed(
        &lab.pod,
        "nft",
        &["-f", "-"],
        "table inet other { chain c { type nat hook output priority -90; tcp dport 7 accept; }; }\n",
    );
    run(&lab.pod, "ip rule add fwmark 0x222 pref 100 lookup 200");
    run(&lab.pod, "ip route add local default dev lo table 200");
    let before = state(&lab.pod);
    let redirector = Redirector::new(std::sync::Arc::new(Nftables)).unwrap();
    let plan = plan(&PlanInput::default());
    let addresses = pod_addresses();
    assert!(!redirector.remove(&lab.pod).unwrap(), "absence is no error");
    assert!(sweep(&lab.pod).unwrap().is_empty());
    redirector.lay(lab.target(&addresses), &plan).map(drop).unwrap();
    assert_ne!(state(&lab.pod), before);
    assert!(redirector.remove(&lab.pod).unwrap());
    assert_eq!(state(&lab.pod), before);
    redirector.lay(lab.target(&addresses), &plan).map(drop).unwrap();
    let swept = sweep(&lab.pod).unwrap();
    assert_eq!((swept.nftables, swept.rules, swept.routes, swept.iptables.len()), (true, 2, 2, 0));
    assert_eq!(state(&lab.pod), before);
}

#[test]
fn anothers_equal_routing_rule_stays() {
    let Some(lab) = lab() else { return };
    // As istio-cni lays it: the same rule, not by us.
    run(&lab.pod, "ip rule add fwmark 0x111/0xfff pref 32764 lookup 100");
    let before = run(&lab.pod, "ip rule");
    let redirector = Redirector::new(std::sync::Arc::new(Nftables)).unwrap();
    let addresses = pod_addresses();
    let plan = plan(&PlanInput::default());
    redirector.lay(lab.target(&addresses), &plan).map(drop).unwrap();
    redirector.remove(&lab.pod).unwrap();
    assert_eq!(run(&lab.pod, "ip rule"), before);
}

#[test]
fn a_namespace_without_ipv6_gets_ipv4_only() {
    let Some(lab) = lab() else { return };
    assert_eq!(families(&lab.pod).unwrap(), Families::Both);
    let off = || std::fs::write("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "1");
    lab.pod.run(off).unwrap().unwrap();
    let found = families(&lab.pod).unwrap();
    assert_eq!(found, Families::V4Only);
    let redirector = Redirector::new(std::sync::Arc::new(Nftables)).unwrap();
    let addresses = pod_addresses();
    let plan = plan(&PlanInput { families: found, ..PlanInput::default() });
    redirector.lay(lab.target(&addresses), &plan).map(drop).unwrap();
    assert!(!run(&lab.pod, "ip -6 rule").contains("0x111"));
}
